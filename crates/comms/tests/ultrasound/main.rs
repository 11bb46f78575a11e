//! The ultrasound example as a user runs it: whoever computes the shots, and whoever is killed over it, the picture is
//! the same to the bit. Its parts are here too, so that their own tests run: what cargo builds beside this program is
//! the example itself.

#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]
#![allow(dead_code, reason = "the example's main uses the parts")]

#[path = "../../examples/ultrasound/arguments.rs"]
mod arguments;
#[path = "../../examples/ultrasound/border.rs"]
mod border;
#[path = "../../examples/ultrasound/canvas.rs"]
mod canvas;
#[path = "../../examples/ultrasound/colours.rs"]
mod colours;
#[path = "../../examples/ultrasound/model.rs"]
mod model;
#[path = "../../examples/ultrasound/phantom.rs"]
mod phantom;
#[path = "../../examples/ultrasound/picture.rs"]
mod picture;
#[path = "../../examples/ultrasound/ring.rs"]
mod ring;
#[path = "../../examples/ultrasound/solver.rs"]
mod solver;
#[path = "../../examples/ultrasound/stencil.rs"]
mod stencil;
#[path = "../../examples/ultrasound/survey.rs"]
mod survey;
#[path = "../../examples/ultrasound/table.rs"]
mod table;
#[path = "../../examples/ultrasound/worker.rs"]
mod worker;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ndarray::Array2;
use ndarray_npy::WriteNpyExt;
use tempfile::TempDir;

/// Cells along each side of the map: few, for the solver is not optimised here.
const SIDE: usize = 48;

/// The example, which cargo builds before it runs the tests, beside the folder of this test's own program.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    profile.join("examples").join(format!("ultrasound{}", std::env::consts::EXE_SUFFIX))
}

/// Water with a stiffer block in it.
fn write_model(path: &Path) {
    let block = SIDE / 3..SIDE / 2;
    let speed =
        |(row, column)| if block.contains(&row) && block.contains(&column) { 1600_f32 } else { 1500.0 };
    let model = Array2::from_shape_fn((SIDE, SIDE), speed);
    model.write_npy(std::fs::File::create(path).unwrap()).unwrap();
}

fn run(folder: &TempDir, arguments: &[&str]) -> Output {
    let mut command = Command::new(example());
    command.current_dir(folder.path()).args(["--model", "map.npy", "--shots", "2"]).args(arguments);
    command.output().unwrap()
}

/// Runs the example and returns its picture and what it printed.
fn picture(folder: &TempDir, arguments: &[&str]) -> (Vec<u8>, String) {
    let output = run(folder, &[arguments, &["--out", "shots.png"]].concat());
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{}: {complaints}", output.status);
    let picture = std::fs::read(folder.path().join("shots.png")).unwrap();
    (picture, String::from_utf8(output.stdout).unwrap())
}

#[test]
fn picture_is_the_same_whoever_computes_it() {
    let folder = tempfile::tempdir().unwrap();
    write_model(&folder.path().join("map.npy"));
    let (alone, table) = picture(&folder, &["--workers", "1"]);
    assert!(table.contains("worker:0") && !table.contains("lost"), "{table}");
    let (shared, table) = picture(&folder, &["--workers", "2"]);
    assert!(table.contains("worker:1") && !table.contains("lost"), "{table}");
    assert!(alone == shared);
    let (bereft, table) = picture(&folder, &["--workers", "2", "--kill-one"]);
    assert!(table.contains("(lost)"), "{table}");
    assert!(alone == bereft);
}

#[test]
fn unusable_input_ends_with_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("map.npy"), "not an array").unwrap();
    let output = run(&folder, &["--workers", "2"]);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        complaint.starts_with("error: the sound-speed map `map.npy` is unusable: it is not a NumPy"),
        "{complaint}"
    );
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
}
