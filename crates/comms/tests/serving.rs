//! How calls are served: order, nesting, the cap on handlers, oneself, replies, errors, large arrays.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::sync::Arc;
use std::time::Duration;

use mosaic_comms::{
    Array, CallError, CommsManager, Config, Context, Event, Execution, HandlerError, Methods, RemoteError,
    TrySendReason, kwargs,
};
use mosaic_testkit::{Transport, network};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

fn own() -> Config {
    Config::default().address("127.0.0.1").context(Context::builder().build().unwrap())
}

/// Two runtimes that know each other, with these methods.
async fn two(one: Methods, other: Methods, cap: usize) -> (CommsManager, CommsManager) {
    let monitor = CommsManager::start("monitor", one, own().running_handlers(cap)).await.unwrap();
    let config = own().running_handlers(cap).monitor(monitor.address(), monitor.port());
    let worker = CommsManager::start("worker", other, config).await.unwrap();
    monitor.wait_for("worker").await.unwrap();
    (monitor, worker)
}

/// Methods that wait at a gate, and note in which order they were started.
#[derive(Clone)]
struct Gate {
    open: Arc<Semaphore>,
    started: Arc<Mutex<Vec<u32>>>,
    changed: Arc<Notify>,
}

impl Gate {
    fn new() -> Gate {
        Gate { open: Arc::new(Semaphore::new(0)), started: Arc::default(), changed: Arc::new(Notify::new()) }
    }

    fn methods(&self) -> Methods {
        let gate = self.clone();
        Methods::new().method("pass", move |args, _| {
            let gate = gate.clone();
            async move {
                let n: u32 = args.get("n")?;
                gate.started.lock().push(n);
                gate.changed.notify_waiters();
                gate.open.acquire().await?.forget();
                Ok(n)
            }
        })
    }

    async fn started(&self, count: usize) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.started.lock().len() >= count {
                return;
            }
            changed.await;
        }
    }
}

#[tokio::test]
async fn a_pending_handler_does_not_stop_the_next() {
    let gate = Gate::new();
    let (head, worker) = two(Methods::new(), gate.methods(), 4096).await;
    let mut replies = Vec::new();
    for n in 0..100_u32 {
        replies.push(head.send("worker", "pass", kwargs! { n: n }).reply::<u32>().await.unwrap());
    }
    gate.started(100).await;
    assert!(gate.started.lock().iter().copied().eq(0..100));
    gate.open.add_permits(100);
    for (n, reply) in replies.into_iter().enumerate() {
        assert_eq!(reply.await.unwrap() as usize, n);
    }
    worker.stop().await;
    head.stop().await;
}

#[tokio::test]
async fn at_the_cap_requests_wait_in_order() {
    let gate = Gate::new();
    let (head, worker) = two(Methods::new(), gate.methods(), 2).await;
    let mut replies = Vec::new();
    for n in 0..10_u32 {
        replies.push(head.send("worker", "pass", kwargs! { n: n }).reply::<u32>().await.unwrap());
    }
    gate.started(2).await;
    // Express requests overtake what waits; at the cap they are refused, and so show that nothing else was started.
    let error = head.send_recv::<u32>("worker", "pass", kwargs! { n: 99 }).express().await.unwrap_err();
    assert!(matches!(error, CallError::Overloaded { .. }), "{error}");
    assert!(error.is_safe_to_retry());
    assert_eq!(*gate.started.lock(), [0, 1]);
    gate.open.add_permits(10);
    for reply in replies {
        reply.await.unwrap();
    }
    assert!(gate.started.lock().iter().copied().eq(0..10));
    worker.stop().await;
    head.stop().await;
}

#[tokio::test]
async fn an_express_call_overtakes_what_waits() {
    let gate = Gate::new();
    let methods = gate.methods().method("quick", |_, _| async { Ok(()) });
    let (head, worker) = two(Methods::new(), methods, 4096).await;
    let first = head.send("worker", "pass", kwargs! { n: 1 }).reply::<u32>().await.unwrap();
    let large = Array::from(vec![1_u8; 32 << 20]);
    let sent = kwargs! { n: 2, ballast: &large };
    let second = head.send("worker", "pass", sent).reply::<u32>().await.unwrap();
    head.send_recv::<()>("worker", "quick", ()).express().await.unwrap();
    gate.open.add_permits(2);
    first.await.unwrap();
    second.await.unwrap();
    let error = head.send("worker", "quick", kwargs! { large: &large }).express().await.unwrap_err();
    assert!(matches!(error, CallError::TooLarge { .. }), "{error}");
    worker.stop().await;
    head.stop().await;
}

/// Calls the other one, as deep as is asked.
fn nesting(other: &'static str) -> Methods {
    Methods::new().method("down", move |args, call| async move {
        let depth: u32 = args.get("depth")?;
        if depth == 0 {
            return Ok(0);
        }
        let below: u32 = call.comms().send_recv(other, "down", kwargs! { depth: depth - 1 }).await?;
        Ok(below + 1)
    })
}

#[tokio::test]
async fn calls_nest_to_a_depth_of_fifty() {
    let (head, worker) = two(nesting("worker"), nesting("monitor"), 4096).await;
    let depth: u32 = head.send_recv("worker", "down", kwargs! { depth: 50 }).await.unwrap();
    assert_eq!(depth, 50);
    worker.stop().await;
    head.stop().await;
}

/// What comes of a thousand calls each way at once, each of which nests three more.
async fn flood(head: &CommsManager, worker: &CommsManager) -> Vec<Result<u32, CallError>> {
    let calls = |from: CommsManager, to: &'static str| async move {
        let calls = (0..1000).map(|_| {
            let call = from.send_recv::<u32>(to, "down", kwargs! { depth: 3 });
            async move { call.await }
        });
        futures_util::future::join_all(calls).await
    };
    let (one, other) = tokio::join!(calls(head.clone(), "worker"), calls(worker.clone(), "monitor"));
    one.into_iter().chain(other).collect()
}

#[tokio::test]
async fn two_that_flood_each_other_with_nested_calls_make_progress() {
    let (head, worker) = two(nesting("worker"), nesting("monitor"), 1 << 16).await;
    assert!(flood(&head, &worker).await.iter().all(|result| matches!(result, Ok(3))));
    worker.stop().await;
    head.stop().await;
}

#[tokio::test]
async fn a_flood_of_nested_calls_at_the_cap_ends() {
    let (head, worker) = two(nesting("worker"), nesting("monitor"), 64).await;
    // Nested calls may be refused, all of them even: that comes back as the error of the handler that made them.
    for result in flood(&head, &worker).await {
        match result {
            Ok(depth) => assert_eq!(depth, 3),
            Err(CallError::Remote(error)) => assert!(error.message.contains("overloaded"), "{error}"),
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(head.send_recv::<u32>("worker", "down", kwargs! { depth: 3 }).await.unwrap(), 3);
    worker.stop().await;
    head.stop().await;
}

#[tokio::test]
async fn a_nested_request_at_the_cap_is_refused() {
    let gate = Gate::new();
    let relay = Methods::new().method("relay", |_, call| async move {
        Ok(call.comms().send_recv::<u32>("worker", "pass", kwargs! { n: 7 }).await?)
    });
    let (head, worker) = two(relay, gate.methods(), 1).await;
    let first = head.send("worker", "pass", kwargs! { n: 1 }).reply::<u32>().await.unwrap();
    gate.started(1).await;
    let error = worker.send_recv::<u32>("monitor", "relay", ()).await.unwrap_err();
    let CallError::Remote(error) = &error else { panic!("{error:?}") };
    assert!(error.message.contains("overloaded"), "{error}");
    gate.open.add_permits(1);
    first.await.unwrap();
    worker.stop().await;
    head.stop().await;
}

#[derive(Debug, thiserror::Error)]
#[error("the shot failed")]
struct ShotFailed(#[source] std::num::ParseIntError);

#[tokio::test]
async fn errors_come_with_their_causes_from_everywhere() {
    let failing = || {
        Methods::new()
            .method("fail", |_, _| async {
                "x".parse::<u8>().map_err(ShotFailed)?;
                Ok(())
            })
            .compute("own", |_, _| Err::<(), _>(HandlerError::new("bad-shot", "there is no shot 7")))
    };
    let (head, worker) = two(failing(), failing(), 4096).await;
    for to in ["worker", "monitor"] {
        let error = head.send_recv::<()>(to, "fail", ()).await.unwrap_err();
        let CallError::Remote(remote) = &error else { panic!("{error:?}") };
        assert_eq!(remote.message, "the shot failed");
        assert_eq!(remote.causes, ["invalid digit found in string"]);
        assert_eq!((remote.uid.as_str(), remote.method.as_str(), remote.ran), (to, "fail", true));
        let error = head.send_recv::<()>(to, "own", ()).await.unwrap_err();
        let own = matches!(&error, CallError::Remote(remote) if remote.kind == "bad-shot");
        assert!(own && error.execution() == Execution::Ran && !error.is_safe_to_retry(), "{error:?}");
    }
    worker.stop().await;
    head.stop().await;
}

#[tokio::test]
async fn the_failure_of_a_one_way_message_is_an_event() {
    let net = network(Transport::Unix, 1).await;
    let mut events = net.head.events();
    for (method, kind) in
        [("add", RemoteError::ARGUMENT), ("panic", RemoteError::PANIC), ("no", RemoteError::UNKNOWN_METHOD)]
    {
        net.head.send("worker:0", method, ()).await.unwrap();
        let (uid, error) = loop {
            if let Event::Failed { uid, error } = events.next().await.unwrap() {
                break (uid, error);
            }
        };
        assert_eq!((uid.as_str(), error.kind.as_str(), error.method.as_str()), ("worker:0", kind, method));
    }
    net.stop().await;
}

#[tokio::test]
async fn a_failure_of_ones_own_one_way_message_is_an_event() {
    let net = network(Transport::Unix, 0).await;
    let mut events = net.head.events();
    net.head.send("head", "nothing", ()).await.unwrap();
    loop {
        if let Event::Failed { uid, error } = events.next().await.unwrap() {
            assert_eq!((uid.as_str(), error.kind.as_str()), ("head", RemoteError::UNKNOWN_METHOD));
            break;
        }
    }
    net.stop().await;
}

#[tokio::test]
async fn a_runtime_calls_itself() {
    let net = network(Transport::Unix, 1).await;
    let own = &net.workers[0].0;
    let sum: f64 = own.send_recv("worker:0", "add", kwargs! { a: 1, b: 2 }).await.unwrap();
    assert_eq!(sum, 3.0);
    let sum: f64 = own.send_recv("worker:0", "add", kwargs! { a: 1, b: 2 }).express().await.unwrap();
    assert_eq!(sum, 3.0);
    let array = Array::from((0..100_000).map(f64::from).collect::<Vec<_>>());
    let back: Array<f64> = own.send_recv("worker:0", "echo", kwargs! { value: &array }).await.unwrap();
    assert_eq!(back.as_slice(), array.as_slice());
    let error = own.send_recv::<()>("worker:0", "panic", ()).await.unwrap_err();
    assert!(matches!(&error, CallError::Remote(remote) if remote.kind == RemoteError::PANIC), "{error}");
    for n in 0..1000_u32 {
        own.send("worker:0", "note", kwargs! { n: n }).await.unwrap();
    }
    let noted: Vec<u32> = own.send_recv("worker:0", "noted", ()).await.unwrap();
    assert!(noted.into_iter().eq(0..1000));
    let late = own.send_recv::<()>("worker:0", "never", ()).deadline(Duration::from_millis(20)).await;
    assert!(matches!(late, Err(CallError::Timeout { .. })), "{late:?}");
    net.worker_started(0).await;
    net.worker_dropped(0).await;
    let reply = own.send("worker:0", "never", ()).reply::<()>().await.unwrap();
    net.worker_started(0).await;
    drop(reply);
    net.worker_dropped(0).await;
    net.stop().await;
}

#[tokio::test]
async fn a_detached_call_runs_to_its_end() {
    let gate = Gate::new();
    let (head, worker) = two(Methods::new(), gate.methods(), 1).await;
    head.send("worker", "pass", kwargs! { n: 1 }).reply::<u32>().await.unwrap().detach();
    let next = head.send("worker", "pass", kwargs! { n: 2 }).reply::<u32>().await.unwrap();
    gate.started(1).await;
    gate.open.add_permits(1);
    gate.started(2).await;
    gate.open.add_permits(1);
    assert_eq!(next.await.unwrap(), 2);
    assert_eq!(*gate.started.lock(), [1, 2]);
    worker.stop().await;
    head.stop().await;
}

#[tokio::test]
async fn a_message_without_room_comes_back_and_can_be_sent_again() {
    let gate = Gate::new();
    let (head, worker) = two(Methods::new(), gate.methods(), 1).await;
    let first = head.send("worker", "pass", kwargs! { n: 0 }).reply::<u32>().await.unwrap();
    gate.started(1).await;
    let ballast = Array::from(vec![7_u8; 4096]);
    let mut accepted = 0_u32;
    let returned = loop {
        match head.try_send("worker", "pass", kwargs! { n: accepted + 1, ballast: &ballast }) {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted < 100_000, "there is always room");
    };
    assert!(matches!(returned.why, TrySendReason::Full { .. }), "{returned}");
    let again = head.send("worker", "pass", returned.args);
    gate.open.add_permits(accepted as usize + 2);
    again.await.unwrap();
    first.await.unwrap();
    gate.started(accepted as usize + 2).await;
    assert!(gate.started.lock().iter().copied().eq(0..accepted + 2));
    worker.stop().await;
    head.stop().await;
}

#[tokio::test]
async fn what_has_expired_before_its_turn_is_not_started() {
    let gate = Gate::new();
    let (head, worker) = two(Methods::new(), gate.methods(), 1).await;
    let first = head.send("worker", "pass", kwargs! { n: 1 }).reply::<u32>().await.unwrap();
    gate.started(1).await;
    let late = head.send_recv::<u32>("worker", "pass", kwargs! { n: 2 }).deadline(Duration::from_millis(30));
    let error = late.await.unwrap_err();
    assert!(matches!(error, CallError::Timeout { .. }), "{error:?}");
    gate.open.add_permits(2);
    first.await.unwrap();
    assert_eq!(head.send_recv::<u32>("worker", "pass", kwargs! { n: 3 }).await.unwrap(), 3);
    assert_eq!(*gate.started.lock(), [1, 3]);
    worker.stop().await;
    head.stop().await;
}

#[tokio::test]
async fn a_deadline_of_nothing_is_not_run() {
    let gate = Gate::new();
    let (head, worker) = two(Methods::new(), gate.methods(), 1).await;
    let call = head.send_recv::<u32>("worker", "pass", kwargs! { n: 2 }).deadline(Duration::ZERO);
    let error = call.await.unwrap_err();
    assert!(matches!(error, CallError::Timeout { .. }), "{error:?}");
    assert!(gate.started.lock().is_empty());
    worker.stop().await;
    head.stop().await;
}

#[tokio::test]
async fn large_arrays_are_equal_to_the_bit_over_every_transport() {
    for transport in Transport::ALL {
        let net = network(transport, 1).await;
        let len = (64 << 20) / size_of::<f64>();
        let mut random = fastrand::Rng::with_seed(1);
        let sent = Array::from((0..len).map(|_| f64::from_bits(random.u64(..))).collect::<Vec<_>>());
        let call = net.head.send_recv::<Array<f64>>("worker:0", "echo", kwargs! { value: &sent });
        let back = call.await.unwrap();
        let same = back.as_slice().iter().zip(sent.as_slice()).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same && back.as_slice().len() == len, "{transport:?}");
        net.stop().await;
    }
}

#[tokio::test]
async fn the_buffer_of_a_received_array_is_aligned_and_used_again() {
    for transport in Transport::ALL {
        let net = network(transport, 1).await;
        let sent = Array::from(vec![1.0_f64; 1 << 17]);
        let mut places = std::collections::BTreeSet::new();
        for _ in 0..10 {
            let call = net.head.send_recv::<Array<f64>>("worker:0", "echo", kwargs! { value: &sent });
            let place = call.await.unwrap().as_slice().as_ptr() as usize;
            assert_eq!(place % 64, 0, "{transport:?}");
            places.insert(place);
        }
        // With one context for both, the worker's buffers are among them.
        assert!(places.len() <= 4, "{transport:?}: {places:?}");
        net.stop().await;
    }
}
