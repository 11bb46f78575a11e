//! Links through a proxy that harms them: cuts, holds, slowness, half-closed and corrupted connections, over TLS and Unix
//! sockets. The worker does not know where the head listens, so that every connection goes through the proxy.

#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mosaic_comms::{
    Array, CallError, CommsManager, Config, Context, Credential, Event, Events, Methods, Reason, Refusals,
    kwargs,
};
use mosaic_testkit::{Direction, Harm, Proxy, Transport, Which, Witness, config, methods};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How long anything may take before a test fails instead of waiting: long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

const CONTROL: Which = Which::Nth(0);
const DATA: Which = Which::Nth(1);

struct Net {
    worker: CommsManager,
    head: CommsManager,
    proxy: Proxy,
    /// The credential of a job that has no monitor to make it.
    _keys: TempDir,
}

impl Net {
    /// A head and a worker, and a proxy between them through which both lanes go already.
    async fn new(transport: Transport, dead_after: Duration) -> Net {
        let net = Net::unused(transport, dead_after).await;
        net.head.send_recv::<f64>("worker", "add", kwargs! { a: 1.0, b: 2.0 }).await.unwrap();
        net.proxy.connected(2).await;
        net
    }

    async fn unused(transport: Transport, dead_after: Duration) -> Net {
        let net = Net::strangers(transport, dead_after).await;
        net.head.connect_send("worker", "127.0.0.1", net.proxy.port()).await.unwrap();
        net
    }

    async fn strangers(transport: Transport, dead_after: Duration) -> Net {
        Net::configured(transport, dead_after, Refusals::default()).await
    }

    async fn configured(transport: Transport, dead_after: Duration, refusals: Refusals) -> Net {
        let context = Context::builder().build().unwrap();
        let keys = tempfile::tempdir().unwrap();
        let key = keys.path().join("job.key");
        Credential::create(&key).unwrap();
        let here = || config(transport, &context).dead_after(dead_after).refusals(refusals).key_file(&key);
        let serving = methods(&Arc::new(Witness::default()))
            .method("same", |args, _| async move { Ok(args.get::<Array<u8>>("value")?) })
            .method("size", |args, _| async move { Ok(args.get::<Array<u8>>("value")?.as_slice().len()) });
        let worker = CommsManager::start("worker", serving, here()).await.unwrap();
        let head = CommsManager::start("head", Methods::new(), here()).await.unwrap();
        let proxy = match transport {
            Transport::Unix => Proxy::unix(worker.port()).await,
            _ => Proxy::tcp(worker.port()).await,
        };
        Net { worker, head, proxy, _keys: keys }
    }

    async fn add(&self) -> f64 {
        let sum = self.head.send_recv("worker", "add", kwargs! { a: 1.0, b: 2.0 });
        timeout(PATIENCE, sum).await.unwrap().unwrap()
    }

    async fn stop(self) {
        self.head.stop().await;
        self.worker.stop().await;
    }
}

/// Nothing but arrivals has been told until the manager stopped.
async fn assert_calm(mut events: Events) {
    while let Some(event) = events.next().await {
        assert!(matches!(event, Event::Connected { .. } | Event::Disconnected { .. }), "{event:?}");
        if let Event::Disconnected { reason, .. } = event {
            assert!(reason.is_departure(), "{reason:?}");
        }
    }
}

#[tokio::test]
async fn a_cut_of_either_lane_or_of_both_loses_repeats_and_reorders_nothing() {
    for transport in [Transport::TlsV4, Transport::Unix] {
        for which in [Which::All, CONTROL, DATA] {
            let net = Net::new(transport, Duration::from_secs(4)).await;
            let events = net.head.events();
            for n in 0..500_u32 {
                net.head.send("worker", "note", kwargs! { n: n }).await.unwrap();
                if n == 250 {
                    net.proxy.cut(which);
                }
            }
            let noted: Vec<u32> =
                timeout(PATIENCE, net.head.send_recv("worker", "noted", ())).await.unwrap().unwrap();
            assert!(noted.iter().copied().eq(0..500), "{transport:?} {which:?}: {noted:?}");
            assert!(net.proxy.made() > 2, "{transport:?} {which:?}: it was cut");
            net.stop().await;
            assert_calm(events).await;
        }
    }
}

#[tokio::test]
async fn a_cut_in_the_middle_of_a_large_message_is_made_good() {
    const SIZE: usize = 256 << 20;
    let net = Net::new(Transport::TlsV4, Duration::from_secs(4)).await;
    let harm = Harm { cut_at: Some(SIZE as u64 / 2), ..Harm::default() };
    net.proxy.harm(DATA, Direction::Forth, &harm);
    let value = Array::from(vec![7_u8; SIZE]);
    let size = net.head.send_recv::<usize>("worker", "size", kwargs! { value: &value });
    assert_eq!(timeout(4 * PATIENCE, size).await.unwrap().unwrap(), SIZE);
    assert_eq!(net.proxy.made(), 3);
    net.stop().await;
}

#[tokio::test]
async fn a_data_connection_that_carries_nothing_is_made_anew() {
    for direction in [Direction::Forth, Direction::Back] {
        let net = Net::new(Transport::TlsV4, Duration::from_secs(2)).await;
        let events = net.head.events();
        net.proxy.harm(DATA, direction, &Harm { held: true, ..Harm::default() });
        // A large answer goes back by the data lane.
        let value = Array::from(vec![1.0_f64; 20_000]);
        let echo = net.head.send_recv::<Array<f64>>("worker", "echo", kwargs! { value: &value });
        assert_eq!(timeout(PATIENCE, echo).await.unwrap().unwrap().as_slice().len(), 20_000);
        assert_eq!(net.proxy.made(), 3);
        net.stop().await;
        assert_calm(events).await;
    }
}

#[tokio::test]
async fn who_is_cut_off_is_unreachable_and_comes_back() {
    let net = Net::new(Transport::TlsV4, Duration::from_secs(1)).await;
    let mut events = net.head.events();
    let call = net.head.send("worker", "never", ()).reply::<()>().await.unwrap();
    let hold = |held| {
        let harm = Harm { held, ..Harm::default() };
        [Direction::Forth, Direction::Back].map(|way| net.proxy.harm(Which::All, way, &harm))
    };
    hold(true);
    let error = timeout(PATIENCE, call).await.unwrap().unwrap_err();
    let CallError::Disconnected { reason: Reason::Unreachable { .. }, .. } = error else { panic!("{error}") };
    let mut heard = Vec::new();
    while !matches!(heard.last(), Some(Event::Unreachable { .. })) {
        heard.push(timeout(PATIENCE, events.next()).await.unwrap().unwrap());
    }
    let dead = heard.iter().any(|event| matches!(event, Event::Disconnected { .. }));
    assert!(!dead, "{heard:?}");
    hold(false);
    assert_eq!(net.add().await, 3.0);
    net.stop().await;
}

/// What is told of the worker once the proxy before it is gone, which refuses from then on.
async fn told_of_a_proxy_that_is_gone(refusals: Refusals) -> Event {
    let net = Net::configured(Transport::TlsV4, Duration::from_secs(1), refusals).await;
    net.head.connect_send("worker", "127.0.0.1", net.proxy.port()).await.unwrap();
    assert_eq!(net.add().await, 3.0);
    let mut events = net.head.events();
    let Net { head, worker, proxy, .. } = net;
    drop(proxy);
    let told = loop {
        let told = timeout(PATIENCE, events.next()).await.unwrap().unwrap();
        if matches!(told, Event::Unreachable { .. } | Event::Disconnected { .. }) {
            break told;
        }
    };
    head.stop().await;
    worker.stop().await;
    told
}

#[tokio::test]
async fn refusals_prove_nothing_where_a_proxy_may_be_in_between() {
    let told = told_of_a_proxy_that_is_gone(Refusals::ProveDeath).await;
    assert!(matches!(told, Event::Disconnected { reason: Reason::Refused { .. }, .. }), "{told:?}");
    let told = told_of_a_proxy_that_is_gone(Refusals::ProveNothing).await;
    assert!(matches!(told, Event::Unreachable { .. }), "{told:?}");
}

#[tokio::test]
async fn a_slow_network_is_no_silence() {
    let net = Net::new(Transport::TlsV4, Duration::from_secs(2)).await;
    let events = net.head.events();
    let slow = Harm { rate: Some(2 << 20), delay: Duration::from_millis(20), ..Harm::default() };
    net.proxy.harm(Which::All, Direction::Forth, &slow);
    let value = Array::from(vec![7_u8; 4 << 20]);
    let begun = Instant::now();
    let size = net.head.send_recv::<usize>("worker", "size", kwargs! { value: &value });
    assert_eq!(timeout(PATIENCE, size).await.unwrap().unwrap(), 4 << 20);
    assert!(begun.elapsed() > Duration::from_secs(1), "the network was slow");
    assert_eq!(net.proxy.made(), 2);
    net.stop().await;
    assert_calm(events).await;
}

#[tokio::test]
async fn a_half_closed_connection_is_made_anew() {
    for which in [CONTROL, DATA] {
        let net = Net::unused(Transport::TlsV4, Duration::from_secs(4)).await;
        let ends = Harm { end_at: Some(2000), ..Harm::default() };
        net.proxy.harm(which, Direction::Forth, &ends);
        for _ in 0..100 {
            assert_eq!(net.add().await, 3.0);
        }
        net.head.ping("worker").await.unwrap();
        assert!(net.proxy.made() > 2, "{which:?}");
        net.stop().await;
    }
}

#[tokio::test]
async fn corrupted_bytes_of_a_handshake_cost_its_connection() {
    for at in [0, 10, 64, 100] {
        let net = Net::strangers(Transport::TlsV4, Duration::from_secs(4)).await;
        let corrupt = Harm { corrupt_at: Some(at), ..Harm::default() };
        net.proxy.harm(CONTROL, Direction::Forth, &corrupt);
        let dialled = net.head.connect_send("worker", "127.0.0.1", net.proxy.port());
        timeout(PATIENCE, dialled).await.unwrap().unwrap();
        assert_eq!(net.add().await, 3.0);
        net.stop().await;
    }
}

#[tokio::test]
async fn corrupted_bytes_of_a_message_are_noticed_and_made_good() {
    const SIZE: usize = 8 << 20;
    let net = Net::new(Transport::TlsV4, Duration::from_secs(4)).await;
    let corrupt = Harm { corrupt_at: Some(SIZE as u64 / 2), ..Harm::default() };
    net.proxy.harm(DATA, Direction::Forth, &corrupt);
    let value: Array<u8> = (0..SIZE).map(|place| (place % 251) as u8).collect::<Vec<_>>().into();
    let echo = net.head.send_recv::<Array<u8>>("worker", "same", kwargs! { value: &value });
    let echo = timeout(4 * PATIENCE, echo).await.unwrap().unwrap();
    assert!(echo.as_slice() == value.as_slice(), "it has changed on its way");
    assert_eq!(net.proxy.made(), 3, "the connection that was harmed has been made anew");
    net.stop().await;
}

#[tokio::test]
async fn a_head_finds_a_worker_whose_every_executor_thread_computes() {
    let executor =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Arc::new(parking_lot::Mutex::new(released));
    let computing = Arc::new(Semaphore::new(0));
    let begun = computing.clone();
    let context = Context::builder().build().unwrap();
    let busy = Methods::new().method("compute", move |_, _| {
        let (released, begun) = (released.clone(), begun.clone());
        // It blocks its thread, as a long computation does that was not given to `compute`.
        async move {
            begun.add_permits(1);
            Ok(released.lock().recv().is_err())
        }
    });
    let here = || config(Transport::Unix, &context).dead_after(Duration::from_secs(1));
    let serving: Config = here().executor(executor.handle().clone());
    let worker = CommsManager::start("worker", busy, serving).await.unwrap();
    let head = CommsManager::start("head", Methods::new(), here()).await.unwrap();
    head.connect_send("worker", "127.0.0.1", worker.port()).await.unwrap();
    let mut events = head.events();
    let mut calls = Vec::new();
    for _ in 0..4 {
        // Express ones do not wait for each other.
        let call = head.send_recv::<bool>("worker", "compute", ()).express();
        calls.push(tokio::spawn(call.into_future()));
    }
    drop(timeout(PATIENCE, computing.acquire_many(2)).await.unwrap().unwrap());
    // Three times what silence may take: nobody is suspected, and hearts are answered.
    while let Ok(event) = timeout(Duration::from_secs(3), events.next()).await {
        assert!(matches!(event, Some(Event::Connected { .. })), "{event:?}");
    }
    timeout(PATIENCE, head.ping("worker")).await.unwrap().unwrap();
    // Questions are answered without an executor too.
    let status = timeout(PATIENCE, head.status_of("worker")).await.unwrap().unwrap();
    assert!(status.handlers >= 2, "{status:?}");
    assert_eq!(computing.available_permits(), 2, "both threads compute, and nobody else can");
    drop(release);
    for call in calls {
        assert!(timeout(PATIENCE, call).await.unwrap().unwrap().unwrap());
    }
    head.stop().await;
    worker.stop().await;
    executor.shutdown_background();
}
