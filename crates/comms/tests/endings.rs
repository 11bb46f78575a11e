//! Nothing waits for ever: what ends calls, stops and dials when things don't go as planned.
#![allow(clippy::unwrap_used, reason = "a test whose helpers fail has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use mosaic_comms::{CommsManager, Config, Context, Event, Execution, HandlerError, Methods, Reason};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Far more than anything here should take, on the virtual clock where there is one.
const LONG: Duration = Duration::from_secs(60);

fn simulated() -> Config {
    Config::default().context(Context::simulated(7))
}

async fn monitor(config: &Config) -> (CommsManager, Config) {
    let monitor = CommsManager::start("monitor", Methods::new(), config.clone()).await.unwrap();
    let joining = config.clone().monitor(monitor.address(), monitor.port());
    (monitor, joining)
}

async fn gone(events: &mut mosaic_comms::Events) -> Reason {
    loop {
        if let Event::Disconnected { reason, .. } = events.next().await.unwrap() {
            return reason;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_to_someone_who_was_dialled_in_vain_ends() {
    let head = CommsManager::start("head", Methods::new(), simulated()).await.unwrap();
    timeout(LONG, head.connect_send("ghost", "nowhere", 9)).await.unwrap().unwrap_err();
    let error = timeout(LONG, head.send_recv::<()>("ghost", "add", ())).await.expect("it ends").unwrap_err();
    assert_eq!(error.execution(), Execution::NotRun, "{error}");
    let dropped = timeout(Duration::from_millis(10), head.connect_send("spirit", "nowhere", 9)).await;
    assert!(dropped.is_err());
    let error = timeout(LONG, head.send_recv::<()>("spirit", "add", ())).await.expect("it ends").unwrap_err();
    assert_eq!(error.execution(), Execution::NotRun, "{error}");
    head.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_though_a_computation_fails_after_it() {
    let config = Config::default().address("127.0.0.1").context(Context::builder().build().unwrap());
    let (monitor, joining) = monitor(&config).await;
    let (release, released) = mpsc::channel::<()>();
    let (released, started) = (Mutex::new(released), Arc::new(Notify::new()));
    let starts = started.clone();
    let methods = Methods::new().compute("fail", move |_, _| {
        starts.notify_one();
        let _ = released.lock().recv();
        Err::<(), _>(HandlerError::new("error", "on purpose"))
    });
    let joining = joining.drain_within(Duration::from_millis(50));
    let worker = CommsManager::start("worker:0", methods, joining).await.unwrap();
    monitor.send("worker:0", "fail", ()).await.unwrap();
    started.notified().await;
    let mut events = worker.events();
    let stop = tokio::spawn(async move { worker.stop().await });
    while events.next().await.is_some() {}
    release.send(()).unwrap();
    timeout(LONG, stop).await.expect("the stop ends").unwrap();
    monitor.stop().await;
}

#[test]
fn a_stop_ends_though_nobody_runs_the_executor() {
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = Config::default().address("127.0.0.1").context(Context::builder().build().unwrap());
    let config = config.drain_within(Duration::from_millis(50));
    let comms = executor.block_on(CommsManager::start("monitor", Methods::new(), config)).unwrap();
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || {
        comms.blocking_stop();
        done.send(()).unwrap();
    });
    ended.recv_timeout(Duration::from_secs(15)).expect("the stop ends");
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_is_dropped_with_the_last_handle_goes_on() {
    let (monitor, joining) = monitor(&simulated()).await;
    let worker = CommsManager::start("worker:0", Methods::new(), joining).await.unwrap();
    let mut events = monitor.events();
    assert!(timeout(Duration::ZERO, worker.stop()).await.is_err());
    drop(worker);
    let reason = timeout(LONG, gone(&mut events)).await.unwrap();
    assert_eq!(reason, Reason::Left { why: "stopped".to_owned() });
    monitor.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_handlers_of_one_way_messages() {
    let (monitor, joining) = monitor(&simulated()).await;
    let dropped = Arc::new(AtomicBool::new(false));
    struct Tells(Arc<AtomicBool>);
    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    let (flag, started) = (dropped.clone(), Arc::new(Notify::new()));
    let starts = started.clone();
    let methods = Methods::new().method("never", move |_, _| {
        let (tells, starts) = (Tells(flag.clone()), starts.clone());
        async move {
            let _tells = tells;
            starts.notify_one();
            std::future::pending::<Result<(), HandlerError>>().await
        }
    });
    let worker = CommsManager::start("worker:0", methods, joining).await.unwrap();
    monitor.send("worker:0", "never", ()).await.unwrap();
    started.notified().await;
    timeout(LONG, worker.stop()).await.expect("the stop ends");
    assert!(dropped.load(Ordering::Acquire));
    monitor.stop().await;
}
