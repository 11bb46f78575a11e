//! Asking a runtime for its methods and calling them, with arrays out of files and into files.

use std::time::Duration;

use mosaic_comms::{Array, CommsManager, Config};

use crate::home::{Home, assert_told};

struct Solver;

#[mosaic_comms::runtime]
impl Solver {
    /// Scales a field.
    ///
    /// Each value is multiplied by the factor.
    pub async fn scale(&self, field: Array<f32>, #[arg(default = 1.0)] factor: f32) -> Array<f32> {
        field.as_slice().iter().map(|value| value * factor).collect::<Vec<_>>().into()
    }

    /// Says who is called what.
    pub async fn name(&self, first: String, #[arg(default = String::from("L."))] last: String) -> String {
        format!("{first} {last}")
    }

    /// Fails.
    #[error(kind = "no-such-shot")]
    pub async fn shoot(&self, shot: usize) -> Result<(), String> {
        Err(format!("there are 100 shots, and no shot {shot}"))
    }

    pub async fn never(&self) {
        std::future::pending().await
    }
}

/// What is done while there is a runtime `worker:0` in a network, in this process.
fn with_worker(home: &Home, act: impl FnOnce(&str)) {
    let (monitor, place) = home.monitor();
    let port = place.rsplit_once(':').unwrap().1;
    let executor = tokio::runtime::Runtime::new().unwrap();
    let key = home.path().join(format!(".mosaic/127.0.0.1-{port}.key"));
    let config =
        Config::default().address("127.0.0.1").key_file(key).monitor("127.0.0.1", port.parse().unwrap());
    let worker = executor.block_on(CommsManager::start("worker:0", Solver, config)).unwrap();
    worker.objects().register("Solver", "1", Solver);
    act(&place);
    executor.block_on(worker.stop());
    executor.shutdown_timeout(Duration::from_secs(1));
    monitor.end();
}

#[test]
fn methods_are_told_with_their_documentation() {
    let home = Home::new();
    with_worker(&home, |place| {
        let told = |more: &[&str]| home.told(&[&["methods", "worker:0", "--monitor", place], more].concat());
        assert_told!("methods", told(&[]));
        assert_told!("methods_as_json", told(&["--json"]));
        assert_told!("methods_of_an_object", told(&["--object", "Solver/1"]));
        assert_told!("methods_of_an_unknown_object", told(&["--object", "Solver/2"]));
        assert_told!("methods_of_nobody", home.told(&["methods", "worker:1", "--monitor", place]));
        assert_told!("methods_of_the_monitor", home.told(&["methods", "monitor", "--monitor", place]));
    });
}

#[test]
fn a_call_takes_json_and_prints_json() {
    let home = Home::new();
    with_worker(&home, |place| {
        let told = |more: &[&str]| home.told(&[&["call", "worker:0", "--monitor", place], more].concat());
        assert_told!("call", told(&["name", "first=\"Ada\"", "last=\"King\""]));
        assert_told!("call_with_a_list_as_array", told(&["scale", "field=[1, 2.5]", "factor=2"]));
        assert_told!("call_of_an_object", told(&["name", "first=\"Ada\"", "--object", "Solver/1"]));
        assert_told!("call_that_fails", told(&["shoot", "shot=101"]));
        assert_told!("call_without_an_argument", told(&["scale", "factor=2"]));
        assert_told!("call_with_an_argument_of_another_type", told(&["shoot", "shot=\"one\""]));
        assert_told!("call_with_an_unknown_argument", told(&["shoot", "shott=1"]));
        assert_told!("call_of_an_unknown_method", told(&["scales"]));
        // On a busy machine the deadline passes before the request is on its way.
        let late = told(&["never", "--deadline", "0.05"]).replace("was not run", "may have run");
        assert_told!("call_whose_deadline_passes", late);
    });
}

#[test]
fn arrays_go_out_of_files_and_into_files() {
    let home = Home::new();
    let (field, out) = (home.path().join("field.npy"), home.path().join("out.npy"));
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
    let npy = |header: &str, elements: &[u8]| {
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), elements].concat()
    };
    std::fs::write(&field, npy(header, bytes(&[1.0, 2.0]).as_slice())).unwrap();
    let argument = format!("field=@{}", field.display());
    with_worker(&home, |place| {
        let told = |more: &[&str]| home.told(&[&["call", "worker:0", "--monitor", place], more].concat());
        let saved = out.to_str().unwrap();
        assert_told!("call_with_an_array", told(&["scale", &argument, "factor=3"]));
        assert_told!("call_into_a_file", told(&["scale", &argument, "factor=3", "--out", saved]));
        assert!(std::fs::read(&out).unwrap().ends_with(&bytes(&[3.0, 6.0])));
        assert_told!("call_whose_result_is_no_array", told(&["name", "first=\"Ada\"", "--out", saved]));
        let many = format!("field={:?}", vec![0; 65]);
        let shown = told(&["scale", &many]);
        assert!(shown.contains(r#"{"dtype":"<f4","order":"C","shape":[65]}"#), "{shown}");
    });
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn a_bad_argument_is_told_before_anybody_is_called() {
    let home = Home::new();
    let text = home.path().join("text.npy");
    std::fs::write(&text, "no array").unwrap();
    let file = format!("field=@{}", text.display());
    let missing = format!("field=@{}", home.path().join("missing.npy").display());
    for (name, arguments) in [
        ("argument_without_a_value", &["call", "worker:0", "scale", "factor"][..]),
        ("argument_that_is_no_json", &["call", "worker:0", "name", "first=Ada"]),
        ("argument_of_a_file_that_is_missing", &["call", "worker:0", "scale", &missing]),
        ("argument_of_a_file_that_is_no_array", &["call", "worker:0", "scale", &file]),
        ("deadline_that_is_no_time", &["call", "worker:0", "never", "--deadline", "0"]),
        ("object_without_a_uid", &["call", "worker:0", "never", "--object", "Solver"]),
        ("method_that_is_missing", &["call", "worker:0"]),
    ] {
        assert_told!(name, home.told(arguments));
    }
}
