//! Every public async operation may be dropped at each of its awaits: the others go on, and it can be done again.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::future::{Future, IntoFuture};
use std::time::Duration;

use mosaic_comms::{CommsManager, Config, Context, HandlerError, Methods, kwargs};
use mosaic_testkit::{Transport, drop_after, network};

fn own() -> Config {
    Config::default().address("127.0.0.1").context(Context::builder().build().unwrap())
}

/// Polls of one operation at most: more means that it is woken for nothing.
const MOST: usize = 64;

/// Drops what `operation` makes after 0, 1, 2, .. polls, until it is done; checks after each.
async fn at_each_await<F: Future>(operation: impl Fn() -> F, check: impl AsyncFn()) {
    for polls in 0..MOST {
        let done = drop_after(polls, operation()).await.is_some();
        check().await;
        if done {
            return;
        }
    }
    panic!("it is not done after {MOST} polls");
}

#[tokio::test]
async fn calls_and_messages_may_be_dropped_at_each_await() {
    for transport in [Transport::Memory, Transport::Unix] {
        let net = network(transport, 1).await;
        let head = &net.head;
        let works = async || {
            let sum: f64 = head.send_recv("worker:0", "add", kwargs! { a: 1, b: 2 }).await.unwrap();
            assert_eq!(sum, 3.0);
        };
        let call = || head.send_recv::<f64>("worker:0", "add", kwargs! { a: 1, b: 2 }).into_future();
        at_each_await(call, works).await;
        let express =
            || head.send_recv::<f64>("worker:0", "add", kwargs! { a: 1, b: 2 }).express().into_future();
        at_each_await(express, works).await;
        at_each_await(|| head.send("worker:0", "note", kwargs! { n: 1 }).into_future(), works).await;
        let with_reply = || async { head.send("worker:0", "noted", ()).reply::<Vec<u32>>().await?.await };
        at_each_await(with_reply, works).await;
        at_each_await(|| head.send_recv::<f64>("nobody", "add", ()).into_future(), works).await;
        let own = || head.send_recv::<()>("head", "nothing", ()).into_future();
        at_each_await(own, works).await;
        net.stop().await;
    }
}

#[tokio::test]
async fn waits_may_be_dropped_at_each_await() {
    let net = network(Transport::Unix, 1).await;
    let head = &net.head;
    let works = async || head.wait_for("worker:0").await.unwrap();
    at_each_await(|| head.wait_for("worker:0").into_future(), works).await;
    at_each_await(|| head.wait_for_count("worker:*", 1).into_future(), works).await;
    let in_vain = || head.wait_for("worker:9").deadline(Duration::from_millis(5)).into_future();
    at_each_await(in_vain, works).await;
    assert!(drop_after(1, head.wait()).await.is_none());
    assert!(drop_after(1, head.listen_async()).await.is_none());
    works().await;
    net.stop().await;
}

#[tokio::test]
async fn connecting_may_be_dropped_at_each_await() {
    let net = network(Transport::Unix, 1).await;
    let (worker, _) = &net.workers[0];
    let works = async || {
        let sum: f64 = net.monitor.send_recv("worker:0", "add", kwargs! { a: 1, b: 2 }).await.unwrap();
        assert_eq!(sum, 3.0);
    };
    let other = CommsManager::new("other", Methods::new(), own()).unwrap();
    let bind = || other.connect_recv();
    for polls in 0..3 {
        drop_after(polls, bind()).await;
    }
    // It may have taken effect before it was dropped.
    let _ = other.connect_recv().await;
    assert_ne!(other.port(), 0);
    let (address, port) = (net.monitor.address(), net.monitor.port());
    at_each_await(|| other.handshake("monitor", &address, port), works).await;
    let (address, port) = (worker.address(), worker.port());
    at_each_await(|| other.connect_send("worker:0", &address, port), works).await;
    at_each_await(|| other.disconnect("worker:0"), works).await;
    at_each_await(|| other.disconnect_send(), works).await;
    other.stop().await;
    net.stop().await;
}

#[tokio::test]
async fn a_start_may_be_dropped_at_each_await() {
    let net = network(Transport::Unix, 0).await;
    for polls in 0..MOST {
        let config = own().monitor(net.monitor.address(), net.monitor.port());
        let uid = format!("joiner:{polls}");
        if drop_after(polls, CommsManager::start(&uid, Methods::new(), config)).await.is_some() {
            break;
        }
    }
    // Whoever was dropped is gone from the network, or never was there.
    let mut events = net.monitor.events();
    while !net.monitor.peers("joiner:*").is_empty() {
        events.next().await.unwrap();
    }
    net.stop().await;
}

#[tokio::test]
async fn pulling_may_be_dropped_at_each_await() {
    let net = network(Transport::Unix, 0).await;
    let methods = Methods::new().method("ping", |_, _| async { Ok::<_, HandlerError>(()) });
    let worker = CommsManager::new("worker", methods, own()).unwrap();
    worker.connect_recv().await.unwrap();
    worker.handshake("monitor", &net.monitor.address(), net.monitor.port()).await.unwrap();
    for n in 0..20_u32 {
        assert!(drop_after(1, worker.recv()).await.is_none());
        net.head.send("worker", "ping", kwargs! { n: n }).await.unwrap();
        let (_, message) = worker.recv().await.unwrap();
        assert_eq!(message.into_args().unwrap().get::<u32>("n").unwrap(), n);
    }
    let reply = net.head.send("worker", "ping", ()).reply::<()>().await.unwrap();
    let (_, message) = worker.recv().await.unwrap();
    drop_after(1, worker.process_msg(message)).await;
    reply.await.unwrap();
    worker.stop().await;
    net.stop().await;
}

#[tokio::test]
async fn a_stop_goes_on_when_it_is_dropped() {
    for polls in 1..4 {
        let net = network(Transport::Unix, 1).await;
        drop_after(polls, net.head.stop()).await;
        net.head.wait().await;
        net.stop().await;
    }
}
