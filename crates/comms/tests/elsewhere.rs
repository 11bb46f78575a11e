//! Handlers that run where their runtime sees to it, as those of another language do.

use std::sync::{Arc, mpsc};

use mosaic_comms::{
    Args, Assignment, Call, CallError, CommsManager, Config, HandlerResult, Handling, Method, Methods,
    RemoteError, Runtime, TraceContext, encode_value,
};
use parking_lot::Mutex;
use tokio::sync::mpsc as channel;

/// What has been handed over.
struct Handed {
    method: String,
    assignment: Assignment,
    call: Call,
}

/// Hands everything over.
struct Elsewhere(Mutex<channel::UnboundedSender<Handed>>);

impl Runtime for Elsewhere {
    fn dispatch(self: Arc<Self>, method: &str, _args: Args, call: Call) -> Option<Handling> {
        let method = method.to_owned();
        Some(Handling::Elsewhere(Box::new(move |assignment| {
            assert_ne!(method, "panic");
            self.0.lock().send(Handed { method, assignment, call }).expect("the test waits for it");
        })))
    }

    fn methods(&self) -> Vec<Method> {
        Vec::new()
    }
}

fn encoded(number: u32) -> HandlerResult {
    Ok(encode_value(&number)?)
}

struct Net {
    head: CommsManager,
    worker: CommsManager,
    handed: channel::UnboundedReceiver<Handed>,
}

impl Net {
    async fn start() -> Net {
        let local = || Config::default().address("127.0.0.1");
        let head = CommsManager::start("monitor", Methods::new(), local()).await.expect("it starts");
        let (hand, handed) = channel::unbounded_channel();
        let config = local().monitor("127.0.0.1", head.port());
        let worker =
            CommsManager::start("worker:0", Elsewhere(Mutex::new(hand)), config).await.expect("it joins");
        head.wait_for("worker:0").await.expect("it has joined");
        Net { head, worker, handed }
    }

    async fn next(&mut self) -> Handed {
        self.handed.recv().await.expect("the worker runs")
    }

    async fn stop(self) {
        self.worker.stop().await;
        self.head.stop().await;
    }
}

#[tokio::test]
async fn results_come_from_any_thread_in_any_order() {
    let mut net = Net::start().await;
    let call =
        |method: &'static str| tokio::spawn(net.head.send_recv::<u32>("worker:0", method, ()).into_future());
    let calls = [call("one"), call("two"), call("three")];
    let handed = [net.next().await, net.next().await, net.next().await];
    assert_eq!(handed.each_ref().map(|handed| handed.method.as_str()), ["one", "two", "three"]);
    let answering = std::thread::spawn(move || {
        let numbered = handed.into_iter().zip([1, 2, 3]).rev();
        let finished = numbered.map(|(handed, number)| handed.assignment.finish(encoded(number)));
        let unwritten: Vec<_> = finished.map(|unwritten| unwritten.expect("it is a peer's")).collect();
        assert!(unwritten[1].is_written_with(&unwritten[0]));
        unwritten.into_iter().next().unwrap().write();
    });
    for (call, number) in calls.into_iter().zip([1, 2, 3]) {
        assert_eq!(call.await.unwrap().unwrap(), number);
    }
    answering.join().unwrap();
    net.stop().await;
}

#[tokio::test]
async fn whoever_handles_it_is_told_that_the_caller_has_given_up() {
    let mut net = Net::start().await;
    let call = tokio::spawn(net.head.send_recv::<u32>("worker:0", "slow", ()).into_future());
    let Handed { assignment, .. } = net.next().await;
    let (tell, told) = mpsc::channel();
    let again = tell.clone();
    assignment.when_given_up(move || tell.send("given up").unwrap());
    assert_eq!(net.worker.status().handlers, 1);
    call.abort();
    let told = tokio::task::spawn_blocking(move || (told.recv().unwrap(), told)).await.unwrap();
    assert_eq!(told.0, "given up");
    // Nobody counts it any more, and its result goes nowhere.
    assert_eq!(net.worker.status().handlers, 0);
    assignment.when_given_up(move || again.send("before").unwrap());
    assert_eq!(told.1.recv().unwrap(), "before");
    assert!(assignment.finish(encoded(0)).is_none());
    net.stop().await;
}

#[tokio::test]
async fn a_call_without_a_result_fails() {
    let mut net = Net::start().await;
    let call = tokio::spawn(net.head.send_recv::<()>("worker:0", "lost", ()).into_future());
    drop(net.next().await);
    let failed =
        |error: &CallError| matches!(error, CallError::Remote(remote) if remote.kind == RemoteError::STOPPED);
    let error = call.await.unwrap().unwrap_err();
    assert!(failed(&error), "{error}");
    let error = net.head.send_recv::<()>("worker:0", "panic", ()).await.unwrap_err();
    assert!(failed(&error), "{error}");
    net.stop().await;
}

#[tokio::test]
async fn a_stop_waits_for_the_result_and_delivers_it() {
    let mut net = Net::start().await;
    let call = tokio::spawn(net.head.send_recv::<u32>("worker:0", "last", ()).into_future());
    let Handed { assignment, .. } = net.next().await;
    let worker = net.worker.clone();
    let stopping = tokio::spawn(async move { worker.stop().await });
    // It stops when it refuses to send.
    while net.worker.try_send("monitor", "note", ()).is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!stopping.is_finished());
    assignment.finish(encoded(7)).unwrap().write();
    assert_eq!(call.await.unwrap().unwrap(), 7);
    stopping.await.unwrap();
    net.stop().await;
}

#[tokio::test]
async fn code_in_the_scope_of_a_call_belongs_to_its_trace() {
    let mut net = Net::start().await;
    let trace: TraceContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
    let traced = net.head.send_recv::<u32>("worker:0", "traced", ()).into_future();
    let traced = tokio::spawn(trace.scope(traced));
    let handed = net.next().await;
    let current = handed.call.in_scope(TraceContext::current).unwrap();
    assert_eq!(current.trace_id(), trace.trace_id());
    handed.assignment.finish(encoded(0)).unwrap().write();
    traced.await.unwrap().unwrap();
    net.stop().await;
}
