//! Programs that pull their messages instead of listening.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use mosaic_comms::{
    CallError, CommsManager, Config, Context, Event, HandlerError, Methods, ObjectRef, RecvError, kwargs,
};
use mosaic_testkit::{Transport, Witness, config, methods};

fn own() -> Config {
    Config::default().address("127.0.0.1").context(Context::builder().build().unwrap())
}

fn adding() -> Methods {
    Methods::new()
        .method("add", |args, _| async move { Ok(args.get::<f64>("a")? + args.get::<f64>("b")?) })
        .method("last", |_, _| async { Ok::<_, HandlerError>(()) })
}

/// A caller that listens, and a callee that has shaken hands and does not.
async fn two() -> (CommsManager, CommsManager) {
    let caller = CommsManager::start("monitor", Methods::new(), own()).await.unwrap();
    let callee = CommsManager::new("worker", adding(), own()).unwrap();
    callee.connect_recv().await.unwrap();
    callee.handshake("monitor", &caller.address(), caller.port()).await.unwrap();
    (caller, callee)
}

/// The loop of a program that does without `listen`.
async fn pull(comms: CommsManager) -> Vec<String> {
    let mut methods = Vec::new();
    while let Ok((sender, message)) = comms.recv().await {
        assert_eq!(sender, "monitor");
        methods.push(message.method());
        comms.process_msg(message).await;
    }
    methods
}

#[tokio::test]
async fn a_program_that_pulls_serves_calls_as_the_loop_does() {
    let (caller, callee) = two().await;
    let pulled = tokio::spawn(pull(callee.clone()));
    for n in 0..100_u32 {
        let sum: f64 = caller.send_recv("worker", "add", kwargs! { a: n, b: 1 }).await.unwrap();
        assert_eq!(sum, f64::from(n + 1));
    }
    let error = caller.send_recv::<()>("worker", "nothing", ()).await.unwrap_err();
    assert!(error.to_string().contains("there is no method"), "{error}");
    caller.send_recv::<()>("worker", "last", ()).await.unwrap();
    callee.stop().await;
    let methods = pulled.await.unwrap();
    assert_eq!(methods.len(), 102);
    assert_eq!(methods.last().unwrap(), "last");
    caller.stop().await;
}

/// Everything that a caller can see of a callee, in the order in which it sees it.
async fn course(transport: Transport, pulls: bool) -> Vec<String> {
    let shared = Context::builder().build().unwrap();
    let answering = Methods::new().method("double", |args, _| async move { Ok(args.get::<f64>("a")? * 2.0) });
    let caller = CommsManager::start("monitor", answering, config(transport, &shared)).await.unwrap();
    let witness = Arc::new(Witness::default());
    let serving = methods(&witness).method("ask_back", |_, call| async move {
        Ok(call.comms().send_recv::<f64>(call.sender(), "double", kwargs! { a: 21 }).await?)
    });
    let callee = CommsManager::new("worker", serving, config(transport, &shared)).unwrap();
    callee.objects().register("Adder", "1", adding());
    callee.connect_recv().await.unwrap();
    callee.handshake("monitor", &caller.address(), caller.port()).await.unwrap();
    let loops = match pulls {
        true => tokio::spawn(pull(callee.clone()).map(drop)),
        false => tokio::spawn(callee.listen().into_future()),
    };
    let mut events = caller.events();
    for n in 0..50 {
        caller.send("worker", "note", kwargs! { n: n }).await.unwrap();
    }
    let mut seen = vec![format!("{:?}", caller.send_recv::<Vec<u32>>("worker", "noted", ()).await)];
    for method in ["ask_back", "panic", "nothing", "add"] {
        seen.push(format!("{:?}", caller.send_recv::<f64>("worker", method, ()).await));
    }
    let sum = caller.cmd_recv::<f64>("worker", ObjectRef::new("Adder", "1"), "add", kwargs! { a: 1, b: 2 });
    seen.push(format!("{:?}", sum.express().await));
    caller.send("worker", "panic", ()).await.unwrap();
    while !matches!(events.next().await, Some(Event::Failed { .. })) {}
    let late = caller.send_recv::<()>("worker", "never", ()).deadline(Duration::from_millis(50)).await;
    seen.push(format!("{late:?}"));
    witness.started().await;
    witness.dropped().await;
    let reply = caller.send("worker", "never", ()).reply::<()>().await.unwrap();
    witness.started().await;
    drop(reply);
    witness.dropped().await;
    seen.push(format!("{:?}", caller.send_recv::<()>("worker", "stop", ()).await));
    callee.stop().await;
    loops.await.unwrap();
    caller.stop().await;
    seen
}

#[tokio::test]
async fn who_pulls_is_seen_to_do_the_same_as_who_listens() {
    for transport in Transport::ALL {
        let (listening, pulling) = (course(transport, false).await, course(transport, true).await);
        assert_eq!(listening, pulling, "{transport:?}");
        assert_eq!(listening[1], "Ok(42.0)");
    }
}

#[tokio::test]
async fn express_messages_are_pulled_too() {
    let (caller, callee) = two().await;
    let pulled = tokio::spawn(pull(callee.clone()));
    let sum: f64 = caller.send_recv("worker", "add", kwargs! { a: 1, b: 1 }).express().await.unwrap();
    assert_eq!(sum, 2.0);
    callee.stop().await;
    assert_eq!(pulled.await.unwrap(), ["add"]);
    caller.stop().await;
}

#[tokio::test]
async fn pulling_while_the_loop_runs_is_an_error() {
    let (caller, callee) = two().await;
    let waiting = tokio::spawn({
        let callee = callee.clone();
        async move { callee.recv().await.unwrap_err() }
    });
    tokio::task::yield_now().await;
    callee.listen();
    callee.listen();
    assert_eq!(waiting.await.unwrap(), RecvError::Listening);
    assert_eq!(callee.recv().await.unwrap_err(), RecvError::Listening);
    callee.stop().await;
    caller.stop().await;
}

#[tokio::test]
async fn pulling_after_the_stop_is_an_error() {
    let (caller, callee) = two().await;
    caller.send("worker", "last", ()).await.unwrap();
    let (_, message) = callee.recv().await.unwrap();
    let reply = caller.send("worker", "last", ()).reply::<()>().await.unwrap();
    let waiting = tokio::spawn({
        let callee = callee.clone();
        async move { while callee.recv().await.is_ok() {} }
    });
    callee.stop().await;
    waiting.await.unwrap();
    assert_eq!(callee.recv().await.unwrap_err(), RecvError::Stopped);
    // What was pulled and not handled does no harm.
    callee.process_msg(message).await;
    assert!(matches!(reply.await, Err(CallError::Disconnected { .. } | CallError::Remote(_))));
    caller.stop().await;
}

#[tokio::test]
async fn messages_of_a_peer_that_left_can_still_be_pulled() {
    let (caller, callee) = two().await;
    for _ in 0..3 {
        caller.send("worker", "last", ()).await.unwrap();
    }
    caller.stop().await;
    for _ in 0..3 {
        let (_, message) = callee.recv().await.unwrap();
        callee.process_msg(message).await;
    }
    callee.stop().await;
}
