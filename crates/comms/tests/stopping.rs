//! How managers end: what is drained, what others see of it, and that nothing is left.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::sync::Arc;
use std::time::Duration;

use mosaic_comms::{
    CallError, CommsManager, Config, Context, Event, Execution, HandlerError, Methods, Reason, kwargs,
};
use mosaic_testkit::{Transport, network};
use tokio::sync::{Mutex, Notify};

fn own() -> Config {
    Config::default().address("127.0.0.1").context(Context::builder().build().unwrap())
}

#[tokio::test]
async fn a_stop_drains_what_was_accepted() {
    for transport in Transport::ALL {
        let net = network(transport, 1).await;
        net.head.wait_for("worker:0").await.unwrap();
        for n in 0..5000_u32 {
            net.head.send("worker:0", "note", kwargs! { n: n }).await.unwrap();
        }
        net.head.stop().await;
        let noted: Vec<u32> = net.monitor.send_recv("worker:0", "noted", ()).await.unwrap();
        assert!(noted.iter().copied().eq(0..5000), "{transport:?}: {}", noted.len());
        net.stop().await;
    }
}

#[tokio::test]
async fn a_stop_finishes_the_handlers_that_run() {
    let gate = Arc::new(Notify::new());
    let started = Arc::new(Notify::new());
    let (passing, begun) = (gate.clone(), started.clone());
    let methods = Methods::new().method("pass", move |_, call| {
        let (gate, started) = (passing.clone(), begun.clone());
        async move {
            started.notify_one();
            gate.notified().await;
            // Handlers that are being finished may still call others.
            Ok(call.comms().send_recv::<u32>("monitor", "two", ()).await?)
        }
    });
    let two = Methods::new().method("two", |_, _| async { Ok::<_, HandlerError>(2) });
    let monitor = CommsManager::start("monitor", two, own()).await.unwrap();
    let config = own().monitor(monitor.address(), monitor.port());
    let worker = CommsManager::start("worker", methods, config).await.unwrap();
    let reply = monitor.send("worker", "pass", ()).reply::<u32>().await.unwrap();
    started.notified().await;
    let stopping = tokio::spawn({
        let worker = worker.clone();
        async move { worker.stop().await }
    });
    worker.wait_for("nobody").await.unwrap_err();
    assert!(matches!(worker.send("monitor", "two", ()).await, Err(CallError::Stopped { .. })));
    gate.notify_one();
    assert_eq!(reply.await.unwrap(), 2);
    stopping.await.unwrap();
    monitor.stop().await;
}

#[tokio::test]
async fn pending_calls_end_on_both_sides() {
    let net = network(Transport::Unix, 1).await;
    let (worker, _) = &net.workers[0];
    worker.wait_for("head").await.unwrap();
    let to_worker = net.head.send("worker:0", "never", ()).reply::<()>().await.unwrap();
    net.worker_started(0).await;
    let config = own().monitor(net.monitor.address(), net.monitor.port()).drain_within(Duration::ZERO);
    let other = CommsManager::start("other", Methods::new(), config).await.unwrap();
    let own = other.send("worker:0", "never", ()).reply::<()>().await.unwrap();
    net.worker_started(0).await;
    other.stop().await;
    let error = own.await.unwrap_err();
    assert!(matches!(error, CallError::Stopped { execution: Execution::MayHaveRun }), "{error:?}");
    net.worker_dropped(0).await;
    // Nobody waits for a handler that never ends beyond the time that was given for it.
    let stopping = tokio::spawn({
        let worker = worker.clone();
        async move { worker.stop().await }
    });
    let error = to_worker.await.unwrap_err();
    let CallError::Disconnected { peer, reason, execution } = &error else { panic!("{error:?}") };
    assert_eq!((peer.as_str(), *execution), ("worker:0", Execution::MayHaveRun));
    assert!(matches!(reason, Reason::Left { .. }), "{reason:?}");
    stopping.await.unwrap();
    net.stop().await;
}

#[tokio::test]
async fn after_the_stop_everything_says_so() {
    let net = network(Transport::Unix, 1).await;
    let mut events = net.head.events();
    net.head.stop().await;
    net.head.stop().await;
    net.head.wait().await;
    let stopped = |error: &CallError| matches!(error, CallError::Stopped { execution: Execution::NotRun });
    assert!(stopped(&net.head.send("worker:0", "note", ()).await.unwrap_err()));
    assert!(stopped(&net.head.send_recv::<()>("worker:0", "note", ()).await.unwrap_err()));
    assert!(stopped(&net.head.send_recv::<()>("head", "note", ()).await.unwrap_err()));
    net.head.try_send("worker:0", "note", ()).unwrap_err();
    net.head.connect_send("worker:0", "127.0.0.1", 9).await.unwrap_err();
    net.head.handshake("monitor", "127.0.0.1", 9).await.unwrap_err();
    net.head.disconnect("worker:0").await;
    net.head.disconnect_send().await;
    net.head.disconnect_recv();
    net.head.listen().await;
    while let Some(event) = events.next().await {
        assert!(!matches!(event, Event::Missed { .. }));
    }
    net.stop().await;
}

#[tokio::test]
async fn a_manager_that_did_nothing_stops() {
    let comms = CommsManager::new("head", Methods::new(), own()).unwrap();
    comms.stop().await;
    let comms = CommsManager::new("head", Methods::new(), own()).unwrap();
    comms.connect_recv().await.unwrap();
    comms.stop().await;
}

#[tokio::test]
async fn the_others_go_on_sending_while_one_stops() {
    let net = network(Transport::Unix, 1).await;
    net.head.wait_for("worker:0").await.unwrap();
    let sending = tokio::spawn({
        let head = net.head.clone();
        async move {
            let mut ended = 0;
            while ended < 10 {
                match head.send_recv::<f64>("worker:0", "add", kwargs! { a: 1, b: 2 }).await {
                    Ok(sum) => assert_eq!(sum, 3.0),
                    Err(CallError::Disconnected { .. }) => ended += 1,
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
    });
    net.head.send_recv::<f64>("worker:0", "add", kwargs! { a: 1, b: 2 }).await.unwrap();
    let begun = std::time::Instant::now();
    net.workers[0].0.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    sending.await.unwrap();
    net.stop().await;
}

#[tokio::test]
async fn the_last_handle_cuts_the_connections_and_the_peer_notices() {
    for transport in Transport::ALL {
        let net = network(transport, 1).await;
        net.monitor.wait_for("worker:0").await.unwrap();
        let mut events = net.monitor.events();
        let pending = net.monitor.send("head", "nothing", ()).reply::<()>().await.unwrap();
        assert!(pending.await.is_err());
        drop(net.head);
        loop {
            if let Event::Disconnected { uid, .. } = events.next().await.unwrap() {
                assert_eq!(uid, "head", "{transport:?}");
                break;
            }
        }
        net.workers[0].0.stop().await;
        net.monitor.stop().await;
    }
}

#[tokio::test]
async fn who_waits_for_the_end_of_the_loop_is_woken_by_it() {
    let net = network(Transport::Unix, 0).await;
    let waits = [tokio::spawn({
        let head = net.head.clone();
        async move { head.listen_async().await }
    })];
    net.head.stop().await;
    for wait in waits {
        wait.await.unwrap();
    }
    net.stop().await;
}

/// What the process holds.
fn holds() -> (Vec<String>, Vec<String>) {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
    let descriptors = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let mut descriptors: Vec<_> = descriptors.map(|path| path.display().to_string()).collect();
    descriptors.retain(|name| !name.starts_with("/proc/"));
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let threads = threads.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("comm")).ok());
    (descriptors, threads.filter(|name| name.starts_with("mosaic")).collect())
}

const ALONE: &str = "MOSAIC_TEST_ALONE";

/// Runs a test of this file in a process of its own, where nobody else opens anything.
fn alone(name: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

/// Waits until this process holds no more than that: threads that were told to end need a moment to be gone.
fn settles_at(descriptors: usize) {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        let (now, threads) = holds();
        if now.len() <= descriptors && threads.is_empty() {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{descriptors}: {now:#?} {threads:?}");
        std::thread::yield_now();
    }
}

#[test]
fn nothing_is_left_of_managers_that_stopped() {
    if !alone("nothing_is_left_of_managers_that_stopped") {
        return;
    }
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    executor.block_on(async { tokio::task::yield_now().await });
    let before = holds().0.len();
    for round in 0..10 {
        for transport in Transport::ALL {
            executor.block_on(async {
                let net = network(transport, 2).await;
                let sum = net.head.send_recv::<f64>("worker:0", "add", kwargs! { a: 1, b: 2 });
                assert_eq!(sum.await.unwrap(), 3.0);
                net.head.send("worker:1", "never", ()).reply::<()>().await.unwrap().detach();
                if round % 2 == 0 {
                    net.workers[1].0.disconnect_recv()
                }
                if round % 2 == 0 {
                    drop(net);
                } else {
                    let [one, other] = net.workers.try_into().ok().unwrap();
                    // Its handler never ends.
                    drop(other);
                    net.head.stop().await;
                    one.0.stop().await;
                    net.monitor.stop().await;
                }
            });
        }
    }
    // Blocking threads of the executor resolve names.
    drop(executor);
    settles_at(before);
}

#[tokio::test]
async fn the_socket_file_goes_with_the_manager() {
    let comms = CommsManager::start("head", Methods::new(), own()).await.unwrap();
    let folder = match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(folder) if !folder.is_empty() => std::path::Path::new(&folder).join("mosaic"),
        _ => format!("/tmp/mosaic-{}", rustix::process::geteuid().as_raw()).into(),
    };
    let path = folder.join(format!("{}.sock", comms.port()));
    assert!(path.exists());
    comms.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_handler_may_stop_its_own_runtime() {
    let order = Arc::new(Mutex::new(()));
    let methods = Methods::new().method("stop", move |_, call| {
        let order = order.clone();
        async move {
            let _held = order.lock().await;
            let comms = call.comms().clone();
            tokio::spawn(async move { comms.stop().await });
            Ok(())
        }
    });
    let monitor = CommsManager::start("monitor", Methods::new(), own()).await.unwrap();
    let config = own().monitor(monitor.address(), monitor.port());
    let worker = CommsManager::start("worker", methods, config).await.unwrap();
    monitor.send_recv::<()>("worker", "stop", ()).await.unwrap();
    worker.wait().await;
    monitor.stop().await;
}
