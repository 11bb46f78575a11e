//! The synchronous twins: where they work, and where they panic with advice.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use mosaic_comms::{CommsManager, Config, Context, HandlerError, Methods, RecvError, kwargs};
use mosaic_testkit::{Network, Transport, network};
use tokio::runtime::{Builder, Runtime};

fn own() -> Config {
    Config::default().address("127.0.0.1").context(Context::builder().build().unwrap())
}

fn executors() -> [Runtime; 2] {
    let current = Builder::new_current_thread().enable_all().build().unwrap();
    let multi = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    [current, multi]
}

/// Uses every kind of twin.
fn use_all(head: &CommsManager) {
    head.blocking_wait_for("worker:0").unwrap();
    head.wait_for("worker:0").deadline(Duration::from_secs(5)).blocking_wait().unwrap();
    assert_eq!(head.blocking_wait_for_count("worker:*", 1).unwrap(), ["worker:0"]);
    head.blocking_send("worker:0", "note", kwargs! { n: 7 }).unwrap();
    assert_eq!(head.blocking_send_recv::<Vec<u32>>("worker:0", "noted", ()).unwrap(), [7]);
    let sum = head.send_recv::<f64>("worker:0", "add", kwargs! { a: 1, b: 2 });
    assert_eq!(sum.deadline(Duration::from_secs(5)).blocking_wait().unwrap(), 3.0);
    assert_eq!(head.blocking_recv().unwrap_err(), RecvError::Listening);
    head.blocking_disconnect_send();
    head.blocking_stop();
    head.blocking_wait();
    assert!(head.blocking_send("worker:0", "note", kwargs! { n: 7 }).is_err());
}

#[test]
fn twins_work_on_a_plain_thread() {
    for executor in executors() {
        executor.block_on(async {
            let net = network(Transport::Unix, 1).await;
            let head = net.head.clone();
            let (done, finished) = tokio::sync::oneshot::channel();
            let thread = std::thread::spawn(move || {
                use_all(&head);
                done.send(()).unwrap();
            });
            finished.await.unwrap();
            thread.join().unwrap();
            net.stop().await;
        });
    }
}

#[test]
fn twins_work_where_blocking_is_allowed() {
    for executor in executors() {
        executor.block_on(async {
            let net = network(Transport::Unix, 1).await;
            let head = net.head.clone();
            tokio::task::spawn_blocking(move || use_all(&head)).await.unwrap();
            net.stop().await;
        });
    }
}

/// What a panic says.
fn panic_of(operation: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(operation)).expect_err("it must panic");
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap()
}

fn check_advice(net: &Network) {
    let head = &net.head;
    let panics = [
        ("start", panic_of(|| drop(CommsManager::blocking_start("other", Methods::new(), own())))),
        ("send", panic_of(|| drop(head.blocking_send("worker:0", "note", ())))),
        ("send_recv", panic_of(|| drop(head.blocking_send_recv::<()>("worker:0", "note", ())))),
        ("wait_for", panic_of(|| drop(head.blocking_wait_for("worker:0")))),
        ("wait", panic_of(|| head.blocking_wait())),
        ("recv", panic_of(|| drop(head.blocking_recv()))),
        ("stop", panic_of(|| head.blocking_stop())),
    ];
    for (name, text) in panics {
        assert!(text.contains(&format!("`blocking_{name}`")), "{text}");
        assert!(text.contains(&format!("`{name}(..).await`")) && text.contains("spawn_blocking"), "{text}");
    }
}

#[test]
fn twins_panic_with_advice_on_an_async_thread() {
    for executor in executors() {
        executor.block_on(async {
            let net = network(Transport::Unix, 1).await;
            check_advice(&net);
            let (net, joined) = (std::sync::Arc::new(net), tokio::spawn(async {}));
            let within = net.clone();
            tokio::spawn(async move { check_advice(&within) }).await.unwrap();
            joined.await.unwrap();
            // Nothing has happened to the manager.
            let sum: f64 = net.head.send_recv("worker:0", "add", kwargs! { a: 1, b: 2 }).await.unwrap();
            assert_eq!(sum, 3.0);
            std::sync::Arc::into_inner(net).unwrap().stop().await;
        });
    }
}

#[test]
fn a_twin_panics_inside_a_handler_and_the_caller_is_told() {
    let methods = || {
        Methods::new()
            .method("wrong", |_, call| async move {
                call.comms().blocking_wait();
                Ok(())
            })
            .compute("right", |_, call| {
                let sum: u32 = call.comms().blocking_send_recv("monitor", "two", ())?;
                Ok(sum + 1)
            })
            .method("two", |_, _| async { Ok::<_, HandlerError>(2) })
    };
    let monitor = CommsManager::blocking_start("monitor", methods(), own()).unwrap();
    let config = own().monitor(monitor.address(), monitor.port());
    let worker = CommsManager::blocking_start("worker", methods(), config).unwrap();
    monitor.blocking_wait_for("worker").unwrap();
    let error = monitor.blocking_send_recv::<()>("worker", "wrong", ()).unwrap_err();
    assert!(error.to_string().contains("wait(..).await"), "{error}");
    assert_eq!(monitor.blocking_send_recv::<u32>("worker", "right", ()).unwrap(), 3);
    worker.blocking_stop();
    monitor.blocking_stop();
}

#[test]
fn a_program_without_an_executor_needs_none() {
    let note = Methods::new().method("twice", |args, _| async move { Ok(args.get::<u32>("n")? * 2) });
    let monitor = CommsManager::new("monitor", note, own()).unwrap();
    monitor.blocking_connect_recv().unwrap();
    monitor.listen();
    let head = CommsManager::new("head", Methods::new(), own()).unwrap();
    head.blocking_connect_recv().unwrap();
    head.blocking_connect_send("monitor", &monitor.address(), monitor.port()).unwrap();
    head.blocking_handshake("monitor", &monitor.address(), monitor.port()).unwrap();
    monitor.blocking_send("head", "pulled", ()).unwrap();
    let (sender, message) = head.blocking_recv().unwrap();
    assert_eq!((sender.as_str(), message.method().as_str()), ("monitor", "pulled"));
    head.blocking_process_msg(message);
    assert_eq!(head.blocking_send_recv::<u32>("monitor", "twice", kwargs! { n: 21 }).unwrap(), 42);
    head.blocking_disconnect("monitor");
    head.blocking_stop();
    monitor.blocking_stop();
}

#[test]
fn the_shared_context_serves_a_plain_program() {
    let comms = CommsManager::blocking_start("monitor", Methods::new(), Config::default()).unwrap();
    let waiting = std::thread::spawn({
        let comms = comms.clone();
        move || comms.blocking_wait()
    });
    comms.blocking_stop();
    waiting.join().unwrap();
}
