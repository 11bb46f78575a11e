//! Traces: what travels with a request, what surrounds a handler, and the example that shows one over three processes.

#![allow(clippy::unwrap_used, reason = "a test whose helpers fail has failed")]

use std::process::Command;

use mosaic_comms::{CommsManager, Config, Context, Methods, TraceContext, kwargs};

/// A network of a monitor and two workers, whose method `tell` tells the trace that surrounds it, there or one call further.
async fn network() -> [CommsManager; 3] {
    let here = Config::default().address("127.0.0.1").context(Context::builder().build().unwrap());
    let methods = || {
        let told = || TraceContext::current().map(|context| context.to_string());
        Methods::new().compute("compute", move |_, _| Ok(told())).method(
            "tell",
            move |args, call| async move {
                match args.get::<Vec<String>>("by")?.split_first() {
                    Some((next, rest)) => {
                        Ok(call.comms().send_recv(next, "tell", kwargs! { by: rest }).await?)
                    }
                    None => Ok(told()),
                }
            },
        )
    };
    let monitor = CommsManager::start("monitor", methods(), here.clone()).await.unwrap();
    let joining = here.monitor(monitor.address(), monitor.port());
    let one = CommsManager::start("worker:1", methods(), joining.clone()).await.unwrap();
    let two = CommsManager::start("worker:2", methods(), joining).await.unwrap();
    [monitor, one, two]
}

#[tokio::test]
async fn a_context_is_handed_on_from_call_to_call_where_nobody_listens() {
    let [monitor, one, two] = network().await;
    let context = TraceContext::new();
    for by in [vec![], vec!["worker:2"], vec!["worker:2", "worker:1", "worker:1", "monitor"]] {
        let args = kwargs! { by };
        let call = async { monitor.send_recv::<Option<String>>("worker:1", "tell", args).await.unwrap() };
        assert_eq!(context.scope(call).await, Some(context.to_string()));
        let args = kwargs! { by };
        let call = monitor.send_recv::<Option<String>>("worker:1", "tell", args).await.unwrap();
        assert_eq!(call, None, "outside of a scope");
    }
    let call = async { monitor.send_recv::<Option<String>>("worker:1", "compute", ()).await.unwrap() };
    assert_eq!(context.scope(call).await, Some(context.to_string()), "on the compute pool");
    assert_eq!(context.in_scope(TraceContext::current), Some(context));
    assert_eq!(TraceContext::current(), None);
    for comms in [one, two, monitor] {
        comms.stop().await;
    }
}

/// The line of the example's output that ends a path, each with how deep it lies.
fn depths(text: &str) -> Vec<(usize, &str)> {
    let lines = text.lines().filter_map(|line| Some(line.rsplit_once(" us")?.0));
    let cut =
        lines.map(|line| line.trim_end_matches(|character: char| character.is_ascii_digit()).trim_end());
    cut.map(|line| ((line.len() - line.trim_start().len()) / 2, line.trim_start())).collect()
}

#[test]
fn the_example_prints_one_trace_over_three_processes() {
    let test = std::env::current_exe().unwrap();
    let example = test.ancestors().nth(2).unwrap().join("examples").join("trace");
    let output = Command::new(example).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.starts_with("trace "), "{text}");
    assert_eq!(
        depths(&text),
        [
            (0, "head asks worker:0 to survey"),
            (1, "worker:0 serves survey"),
            (2, "worker:0 asks worker:1 to shoot"),
            (3, "worker:1 serves shoot"),
            (2, "worker:0 asks worker:1 to shoot"),
            (3, "worker:1 serves shoot"),
        ],
        "{text}"
    );
}
