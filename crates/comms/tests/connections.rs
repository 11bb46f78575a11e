//! Connections by hand: dialling, dialling elsewhere, disconnecting, closing the door, and what others are told of it.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::time::Duration;

use mosaic_comms::{
    CallError, CommsManager, Config, ConnectError, Context, Event, Events, Execution, Methods, Notify, Place,
    Reason, Uid, kwargs,
};
use mosaic_testkit::{Direction, Harm, Network, Proxy, Transport, Which, config, methods, network};

fn uid(name: &str) -> Uid {
    Uid::new(name).unwrap()
}

fn over_tcp() -> Config {
    config(Transport::TcpV4, &Context::global().unwrap())
}

/// A head and a worker that have not met.
async fn two() -> (CommsManager, CommsManager) {
    let head = CommsManager::start("head", Methods::new(), over_tcp()).await.unwrap();
    let worker = CommsManager::start("worker", methods(&Default::default()), over_tcp()).await.unwrap();
    (head, worker)
}

async fn add(head: &CommsManager, to: &str) -> f64 {
    head.send_recv(to, "add", kwargs! { a: 1, b: 2 }).await.unwrap()
}

async fn told<T>(events: &mut Events, wanted: impl Fn(Event) -> Option<T>) -> T {
    loop {
        if let Some(found) = wanted(events.next().await.unwrap()) {
            return found;
        }
    }
}

#[tokio::test]
async fn a_changed_address_replaces_the_stale_connection() {
    let (head, worker) = two().await;
    let first = Proxy::tcp(worker.port()).await;
    let second = Proxy::tcp(worker.port()).await;
    head.connect_send("worker", "127.0.0.1", first.port()).await.unwrap();
    assert_eq!(add(&head, "worker").await, 3.0);
    let made = first.made();
    head.connect_send("worker", "127.0.0.1", first.port()).await.unwrap();
    assert_eq!((add(&head, "worker").await, first.made()), (3.0, made), "it is there already");
    head.connect_send("worker", "127.0.0.1", second.port()).await.unwrap();
    second.connected(1).await;
    first.harm(Which::All, Direction::Forth, &Harm { held: true, ..Harm::default() });
    assert_eq!(add(&head, "worker").await, 3.0);
    head.stop().await;
    worker.stop().await;
}

#[tokio::test]
async fn disconnecting_ends_pending_calls_on_both_sides_at_once() {
    for transport in Transport::ALL {
        let net = network(transport, 1).await;
        let mut events = net.workers[0].0.events();
        let pending = net.head.send("worker:0", "never", ()).reply::<()>().await.unwrap();
        net.worker_started(0).await;
        net.head.disconnect("worker:0").await;
        let error = pending.await.unwrap_err();
        let CallError::Disconnected { peer, reason, execution } = &error else { panic!("{error}") };
        assert_eq!((peer.as_str(), *execution), ("worker:0", Execution::MayHaveRun), "{transport:?}");
        assert!(matches!(reason, Reason::Left { .. }), "{transport:?}: {reason}");
        net.worker_dropped(0).await;
        let gone = |event| match event {
            Event::Disconnected { uid, reason } if *uid == *"head" => Some(reason),
            _ => None,
        };
        assert!(matches!(told(&mut events, gone).await, Reason::Left { .. }), "{transport:?}");
        net.stop().await;
    }
}

#[tokio::test]
async fn disconnecting_everybody_ends_every_call() {
    let net = network(Transport::Unix, 2).await;
    let mut pending = Vec::new();
    for worker in ["worker:0", "worker:1"] {
        pending.push(net.head.send(worker, "never", ()).reply::<()>().await.unwrap());
    }
    net.head.disconnect_send().await;
    for reply in pending {
        assert!(matches!(reply.await, Err(CallError::Disconnected { .. })));
    }
    net.stop().await;
}

#[tokio::test]
async fn nobody_new_comes_in_once_the_door_is_closed_and_those_inside_stay() {
    let (head, worker) = two().await;
    head.connect_send("worker", "127.0.0.1", worker.port()).await.unwrap();
    assert_eq!(add(&head, "worker").await, 3.0);
    worker.disconnect_recv();
    let late = over_tcp().handshake_within(Duration::from_millis(300));
    let late = CommsManager::start("late", Methods::new(), late).await.unwrap();
    let error = late.connect_send("worker", "127.0.0.1", worker.port()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    assert_eq!(add(&head, "worker").await, 3.0);
    for comms in [late, head, worker] {
        comms.stop().await;
    }
}

/// A runtime that has not shaken hands with anybody, and where it is.
async fn guest(name: &str) -> (CommsManager, Place) {
    let guest = CommsManager::start(name, Methods::new(), over_tcp()).await.unwrap();
    let place = Place { address: guest.address(), port: guest.port(), instance: guest.instance() };
    (guest, place)
}

#[tokio::test]
async fn what_a_peer_says_of_others_is_passed_on_if_it_says_so() {
    let net: Network = network(Transport::TcpV4, 1).await;
    let (unspoken, place) = guest("unspoken").await;
    let head = net.head.protocol();
    head.connect(&uid("unspoken"), &uid("unspoken"), place, Notify::Nobody).await.unwrap();
    let (spoken, place) = guest("spoken").await;
    head.connect(&uid("spoken"), &uid("spoken"), place, Notify::Others).await.unwrap();
    net.workers[0].0.wait_for("spoken").await.unwrap();
    assert!(net.head.connected("unspoken") && !net.workers[0].0.connected("unspoken"));
    let mut events = net.workers[0].0.events();
    head.disconnect(&uid("head"), &uid("spoken"), Notify::Others).await;
    let gone = |event| match event {
        Event::Disconnected { uid, .. } => Some(uid),
        _ => None,
    };
    assert_eq!(told(&mut events, gone).await, *"spoken");
    for guest in [unspoken, spoken] {
        guest.stop().await;
    }
    net.stop().await;
}

/// A head and a worker, and a proxy that carries nothing any more from the head to the worker.
async fn unheard() -> (CommsManager, CommsManager, Proxy) {
    let patient = || over_tcp().dead_after(Duration::from_secs(600));
    let head = CommsManager::start("head", Methods::new(), patient()).await.unwrap();
    let worker = CommsManager::start("worker", methods(&Default::default()), patient()).await.unwrap();
    let proxy = Proxy::tcp(worker.port()).await;
    head.connect_send("worker", "127.0.0.1", proxy.port()).await.unwrap();
    assert_eq!(add(&head, "worker").await, 3.0);
    proxy.harm(Which::All, Direction::Forth, &Harm { held: true, ..Harm::default() });
    (head, worker, proxy)
}

#[tokio::test]
async fn a_heart_that_came_by_another_way_is_answered() {
    let (head, worker, _proxy) = unheard().await;
    let mut ping = std::pin::pin!(head.ping("worker"));
    assert!(futures_util::poll!(ping.as_mut()).is_pending());
    worker.protocol().heart(&uid("nobody"));
    worker.protocol().heart(&uid("head"));
    ping.await.unwrap();
}

#[tokio::test]
async fn a_beat_that_came_by_another_way_is_the_answer() {
    let (head, _worker, _proxy) = unheard().await;
    let mut ping = std::pin::pin!(head.ping("worker"));
    assert!(futures_util::poll!(ping.as_mut()).is_pending());
    head.protocol().beat(&uid("nobody"));
    assert!(futures_util::poll!(ping.as_mut()).is_pending());
    head.protocol().beat(&uid("worker"));
    assert_eq!(ping.await.unwrap().lag, Duration::ZERO);
}
