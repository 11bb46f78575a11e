//! Who is in the network: waiting, events and hooks, uids that are taken and given back.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::sync::Arc;
use std::time::Duration;

use mosaic_comms::{
    CallError, CommsManager, Config, Context, Event, Execution, HandlerError, Methods, Reason, WaitError,
    kwargs,
};
use mosaic_testkit::{Network, Transport, network};
use parking_lot::Mutex;

fn joining(net: &Network) -> Config {
    own().monitor(net.monitor.address(), net.monitor.port())
}

fn own() -> Config {
    Config::default().address("127.0.0.1").context(Context::builder().build().unwrap())
}

fn named(name: &'static str) -> Methods {
    Methods::new().method("name", move |_, _| async move { Ok::<_, HandlerError>(name) })
}

#[tokio::test]
async fn a_wait_is_woken_by_the_one_it_waits_for() {
    let net = network(Transport::Unix, 0).await;
    let late = async {
        tokio::task::yield_now().await;
        CommsManager::start("worker:0", Methods::new(), joining(&net)).await.unwrap()
    };
    let (waited, late) = tokio::join!(net.head.wait_for("worker:0").into_future(), late);
    waited.unwrap();
    assert!(net.head.connected("worker:0") && net.head.shaken("worker:0"));
    net.head.wait_for("head").await.unwrap();
    late.stop().await;
    net.stop().await;
}

#[tokio::test]
async fn a_count_is_waited_for_by_pattern() {
    let net = network(Transport::Unix, 2).await;
    let found = net.head.wait_for_count("worker:*", 2).await.unwrap();
    assert_eq!(found, ["worker:0", "worker:1"]);
    assert_eq!(net.head.peers("*"), ["monitor", "worker:0", "worker:1"]);
    assert_eq!(net.head.topology().iter().count(), 4);
    net.stop().await;
}

#[tokio::test]
async fn a_wait_that_is_too_long_says_who_is_there() {
    let net = network(Transport::Unix, 1).await;
    let limit = Duration::from_millis(20);
    let error = net.head.wait_for("worker:7").deadline(limit).await.unwrap_err();
    assert!(matches!(&error, WaitError::Timeout { present, .. } if present.len() == 2), "{error}");
    let there = "in the network are: monitor, worker:0";
    assert_eq!(error.to_string(), format!("`worker:7` did not come within 0.020 s; {there}"));
    let error = net.head.wait_for_count("worker:*", 9).deadline(limit).await.unwrap_err();
    assert_eq!(error.to_string(), format!("9 of `worker:*` did not come within 0.020 s; {there}"));
    net.head.wait_for("worker:0").deadline(limit).await.unwrap();
    assert!(matches!(net.head.wait_for("a b").await, Err(WaitError::InvalidUid(_))));
    net.stop().await;
}

#[tokio::test]
async fn a_wait_ends_with_the_manager() {
    let net = network(Transport::Unix, 0).await;
    let (waited, ()) = tokio::join!(net.head.wait_for("nobody").into_future(), net.head.stop());
    assert!(matches!(waited, Err(WaitError::Stopped)));
    net.stop().await;
}

#[tokio::test]
async fn the_address_of_an_unknown_uid_is_an_error_with_similar_ones() {
    let net = network(Transport::Unix, 1).await;
    net.head.wait_for("worker:0").await.unwrap();
    let error = net.head.uid_address("worker:9").unwrap_err();
    assert_eq!(error.similar, ["worker:0"]);
    assert_eq!(net.head.uid_port("worker:9").unwrap_err(), error);
    let (worker, _) = &net.workers[0];
    assert_eq!(net.head.uid_address("worker:0").unwrap(), worker.address());
    assert_eq!(net.head.uid_port("worker:0").unwrap(), worker.port());
    net.stop().await;
}

/// Notes hooks and calls in the order in which they come.
fn noting(log: &Arc<Mutex<Vec<String>>>) -> Methods {
    let (hook, farewell, call) = (log.clone(), log.clone(), log.clone());
    Methods::new()
        .on_connected(move |uid| hook.lock().push(format!("connected {uid}")))
        .on_disconnected(move |uid, reason| farewell.lock().push(format!("{} {uid}", reason.code())))
        .method("call", move |_, _| {
            call.lock().push("call".to_owned());
            async move { Ok(()) }
        })
}

#[tokio::test]
async fn an_unknown_caller_is_announced_before_its_first_message() {
    for express in [false, true] {
        let log = Arc::new(Mutex::new(Vec::new()));
        let callee = CommsManager::start("callee", noting(&log), own()).await.unwrap();
        let mut events = callee.events();
        let caller = CommsManager::start("caller", Methods::new(), own()).await.unwrap();
        caller.connect_send("callee", &callee.address(), callee.port()).await.unwrap();
        let call = caller.send_recv::<()>("callee", "call", ());
        if express { call.express().await } else { call.await }.unwrap();
        assert_eq!(*log.lock(), ["connected caller", "call"], "express: {express}");
        let event = events.next().await.unwrap();
        assert!(matches!(&event, Event::Connected { uid, .. } if uid == "caller"), "{event:?}");
        caller.stop().await;
        let event = events.next().await.unwrap();
        assert!(
            matches!(&event, Event::Disconnected { uid, reason: Reason::Left { .. } } if uid == "caller"),
            "{event:?}"
        );
        assert_eq!(log.lock().last().unwrap(), "left caller");
        callee.stop().await;
        assert_eq!(events.next().await, None);
    }
}

#[tokio::test]
async fn everybody_hears_of_everybody() {
    let net = network(Transport::Unix, 3).await;
    let all = [&net.monitor, &net.head, &net.workers[0].0, &net.workers[1].0, &net.workers[2].0];
    for comms in all {
        comms.wait_for_count("*", 4).await.unwrap();
    }
    let mut events: Vec<_> = all.iter().map(|comms| comms.events()).collect();
    net.workers[1].0.stop().await;
    for (comms, events) in all.iter().zip(&mut events).filter(|(comms, _)| comms.uid() != "worker:1") {
        let reason = loop {
            match events.next().await.unwrap() {
                Event::Disconnected { uid, reason } if uid == "worker:1" => break reason,
                Event::Connected { .. } => {}
                other => panic!("{} heard {other:?}", comms.uid()),
            }
        };
        assert!(matches!(reason, Reason::Left { .. }), "{} heard {reason:?}", comms.uid());
        assert!(!comms.connected("worker:1"));
    }
    net.stop().await;
}

#[tokio::test]
async fn a_uid_that_is_alive_elsewhere_is_refused_with_its_holder() {
    let net = network(Transport::Unix, 1).await;
    let (holder, _) = &net.workers[0];
    // It is told long before the time is over.
    let config = joining(&net).handshake_within(Duration::from_secs(600));
    let error = CommsManager::start("worker:0", Methods::new(), config).await.unwrap_err();
    let told = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(told.contains(&holder.instance().to_string()), "{told}");
    // The holder has not noticed.
    let sum: f64 = net.head.send_recv("worker:0", "add", kwargs! { a: 1, b: 2 }).await.unwrap();
    assert_eq!(sum, 3.0);
    net.stop().await;
}

#[tokio::test]
async fn a_uid_that_was_left_can_be_taken_at_once() {
    let net = network(Transport::Unix, 1).await;
    let (first, _) = &net.workers[0];
    net.head.connect_send("worker:0", &first.address(), first.port()).await.unwrap();
    net.head.send_recv::<f64>("worker:0", "add", kwargs! { a: 1, b: 2 }).await.unwrap();
    let gone = first.instance();
    first.stop().await;
    for turn in ["one", "two", "three"] {
        let next = CommsManager::start("worker:0", named(turn), joining(&net)).await.unwrap();
        assert_ne!(next.instance(), gone);
        let known = || net.head.topology().get("worker:0").map(|place| place.instance);
        let mut events = net.head.events();
        while known() != Some(next.instance()) {
            events.next().await.unwrap();
        }
        assert_eq!(net.head.send_recv::<String>("worker:0", "name", ()).await.unwrap(), turn);
        next.stop().await;
    }
    net.stop().await;
}

#[tokio::test]
async fn who_has_left_is_disconnected_with_the_reason() {
    let net = network(Transport::Unix, 1).await;
    let mut events = net.head.events();
    net.head.wait_for("worker:0").await.unwrap();
    net.workers[0].0.stop().await;
    while net.head.connected("worker:0") {
        events.next().await.unwrap();
    }
    let error = net.head.send_recv::<()>("worker:0", "add", ()).await.unwrap_err();
    let CallError::Disconnected { reason, execution, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(reason, Reason::Left { .. }), "{reason}");
    assert_eq!(*execution, Execution::NotRun);
    assert_eq!(net.head.dropped(), 0);
    net.head.send("worker:0", "add", ()).await.unwrap();
    net.head.try_send("worker:0", "add", ()).unwrap();
    assert_eq!(net.head.dropped(), 2);
    net.stop().await;
}

#[tokio::test]
async fn a_callee_of_whom_no_news_have_come_is_asked_for() {
    let net = network(Transport::Unix, 0).await;
    for round in 0..20 {
        let uid = format!("late:{round}");
        let late = CommsManager::start(&uid, named("late"), joining(&net)).await.unwrap();
        assert_eq!(net.head.send_recv::<String>(&uid, "name", ()).await.unwrap(), "late");
        late.stop().await;
    }
    net.stop().await;
}

#[tokio::test]
async fn messages_before_listen_are_kept_in_order() {
    let net = network(Transport::Unix, 0).await;
    let log = Arc::new(Mutex::new(Vec::new()));
    let noted = log.clone();
    let methods = Methods::new().method("note", move |args, _| {
        noted.lock().push(args.get::<u32>("n").unwrap());
        async move { Ok(()) }
    });
    let worker = CommsManager::new("worker:0", methods, own()).unwrap();
    worker.connect_recv().await.unwrap();
    worker.handshake("monitor", &net.monitor.address(), net.monitor.port()).await.unwrap();
    for n in 0..500_u32 {
        net.head.send("worker:0", "note", kwargs! { n: n }).await.unwrap();
    }
    let last = net.head.send("worker:0", "note", kwargs! { n: 500 }).reply::<()>().await.unwrap();
    worker.listen();
    net.head.send("worker:0", "note", kwargs! { n: 501 }).await.unwrap();
    last.await.unwrap();
    net.head.send_recv::<()>("worker:0", "note", kwargs! { n: 502 }).await.unwrap();
    assert!(log.lock().iter().copied().eq(0..=502));
    worker.stop().await;
    net.stop().await;
}

#[tokio::test]
async fn sixty_four_join_at_once() {
    let context = Context::builder().build().unwrap();
    let shared = || Config::default().address("127.0.0.1").context(context.clone());
    let monitor = CommsManager::start("monitor", Methods::new(), shared()).await.unwrap();
    let config = shared().monitor(monitor.address(), monitor.port());
    let starts = (0..64).map(|n| CommsManager::start(format!("worker:{n}"), Methods::new(), config.clone()));
    let workers = futures_util::future::try_join_all(starts).await.unwrap();
    monitor.wait_for_count("worker:*", 64).await.unwrap();
    for worker in &workers {
        worker.wait_for_count("*", 64).await.unwrap();
    }
    futures_util::future::join_all(workers.iter().map(CommsManager::stop)).await;
    monitor.stop().await;
}
