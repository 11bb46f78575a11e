//! Objects that live in a runtime: reached by type and uid, replaced and removed while they are called.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use mosaic_comms::{CallError, Event, Execution, Methods, ObjectRef, RemoteError, kwargs};
use mosaic_testkit::{Transport, network};
use tokio::sync::{Notify, Semaphore};

fn named(name: &'static str) -> Methods {
    Methods::new()
        .method("name", move |_, _| async move { Ok(name) })
        .method("add", |args, _| async move { Ok(args.get::<f64>("a")? + args.get::<f64>("b")?) })
}

/// An object whose `wait` tells that it has begun, and ends when it may.
fn waiting(name: &'static str, begun: &Arc<Notify>, may_end: &Arc<Semaphore>) -> Methods {
    let (begun, may_end) = (begun.clone(), may_end.clone());
    Methods::new().method("wait", move |_, _| {
        let (begun, may_end) = (begun.clone(), may_end.clone());
        async move {
            begun.notify_one();
            may_end.acquire().await?.forget();
            Ok(name)
        }
    })
}

#[tokio::test]
async fn a_command_reaches_its_object_over_every_transport() {
    for transport in Transport::ALL {
        let net = network(transport, 1).await;
        let objects = net.workers[0].0.objects();
        objects.register("Solver", "1", named("one"));
        objects.register("Solver", "2", named("two"));
        for (uid, name) in [("1", "one"), ("2", "two")] {
            let object = ObjectRef::new("Solver", uid);
            let told: String = net.head.cmd_recv("worker:0", object, "name", ()).await.unwrap();
            assert_eq!(told, name, "{transport:?}");
        }
        let object = ObjectRef::new("Solver", "1");
        let sum =
            net.head.cmd_recv::<f64>("worker:0", object.clone(), "add", kwargs! { a: 1, b: 2 }).express();
        assert_eq!(sum.await.unwrap(), 3.0, "{transport:?}");
        let reply = net.head.cmd("worker:0", object, "name", ()).reply::<String>().await.unwrap();
        assert_eq!(reply.await.unwrap(), "one", "{transport:?}");
        net.stop().await;
    }
}

#[tokio::test]
async fn a_runtime_commands_its_own_objects() {
    let net = network(Transport::Memory, 0).await;
    net.head.objects().register("Solver", "1", named("own"));
    let name: String = net.head.cmd_recv("head", ObjectRef::new("Solver", "1"), "name", ()).await.unwrap();
    assert_eq!(name, "own");
    let head = net.head.clone();
    let blocking = tokio::task::spawn_blocking(move || {
        let object = ObjectRef::new("Solver", "1");
        head.blocking_cmd("head", object.clone(), "name", ())?;
        head.blocking_cmd_recv::<String>("head", object, "name", ())
    });
    assert_eq!(blocking.await.unwrap().unwrap(), "own");
    net.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_command_is_said_with_what_exists() {
    let net = network(Transport::Unix, 1).await;
    let call = async |kind: &str, uid: &str, method: &str| {
        net.head.cmd_recv::<String>("worker:0", ObjectRef::new(kind, uid), method, ()).await.unwrap_err()
    };
    let error = call("Solver", "left", "name").await;
    assert!(error.to_string().contains("the types here are: none"), "{error}");
    net.workers[0].0.objects().register("Solver", "left", named("left"));
    net.workers[0].0.objects().register("Solver", "right", named("right"));
    for (error, kind, said) in [
        (
            call("Solvr", "left", "name").await,
            RemoteError::UNKNOWN_OBJECT,
            "no object `left` of type `Solvr` (did you mean `Solver`?); the types here are: `Solver`",
        ),
        (
            call("Solver", "rigt", "name").await,
            RemoteError::UNKNOWN_OBJECT,
            "no object `rigt` of type `Solver` (did you mean `right`?); that type has the uids: `left`, `right`",
        ),
        (
            call("Solver", "left", "nam").await,
            RemoteError::UNKNOWN_METHOD,
            "no method `nam` of object `left` of type `Solver`, only `add`, `name`",
        ),
    ] {
        assert!(matches!(&error, CallError::Remote(remote) if remote.kind == kind), "{error}");
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(error.execution(), Execution::NotRun);
    }
    net.stop().await;
}

#[tokio::test]
async fn a_failed_one_way_command_comes_back_as_an_event() {
    let net = network(Transport::Unix, 1).await;
    let mut events = net.head.events();
    net.head.cmd("worker:0", ObjectRef::new("Solver", "1"), "name", ()).await.unwrap();
    loop {
        if let Some(Event::Failed { uid, error }) = events.next().await {
            assert_eq!((uid.as_str(), error.kind.as_str()), ("worker:0", RemoteError::UNKNOWN_OBJECT));
            break;
        }
    }
    net.stop().await;
}

#[tokio::test]
async fn running_calls_finish_on_the_object_that_was_replaced_or_removed() {
    let net = network(Transport::Unix, 1).await;
    let (begun, may_end) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let objects = net.workers[0].0.objects();
    let object = ObjectRef::new("Solver", "1");
    assert!(objects.register("Solver", "1", waiting("old", &begun, &may_end)).is_none());
    let old = net.head.cmd("worker:0", object.clone(), "wait", ()).reply::<String>().await.unwrap();
    begun.notified().await;
    assert!(objects.register("Solver", "1", waiting("new", &begun, &may_end)).is_some());
    let new = net.head.cmd("worker:0", object.clone(), "wait", ()).reply::<String>().await.unwrap();
    begun.notified().await;
    assert!(objects.remove("Solver", "1").is_some());
    assert!(objects.list().is_empty());
    assert!(net.head.cmd_recv::<String>("worker:0", object, "wait", ()).await.is_err());
    may_end.add_permits(2);
    assert_eq!((old.await.unwrap().as_str(), new.await.unwrap().as_str()), ("old", "new"));
    net.stop().await;
}

#[tokio::test]
async fn every_call_finds_an_object_while_it_is_replaced_and_others_come_and_go() {
    let net = network(Transport::Unix, 1).await;
    let objects = net.workers[0].0.objects().clone();
    objects.register("Solver", "1", named("before"));
    let mut calls = FuturesUnordered::new();
    for round in 0..100 {
        let reply = net.head.cmd("worker:0", ObjectRef::new("Solver", "1"), "name", ()).reply::<String>();
        calls.push(reply.await.unwrap());
        let name = if round % 2 == 0 { "even" } else { "odd" };
        assert!(objects.register("Solver", "1", named(name)).is_some());
        objects.register("Solver", "2", named("other"));
        assert!(objects.remove("Solver", "2").is_some());
        tokio::task::yield_now().await;
    }
    while let Some(name) = calls.next().await {
        assert!(["before", "even", "odd"].contains(&name.unwrap().as_str()));
    }
    net.stop().await;
}

#[tokio::test]
async fn methods_of_objects_may_be_named_as_those_of_the_protocol() {
    let net = network(Transport::Unix, 1).await;
    let names = ["stop", "connect", "disconnect", "hand", "news", "raise_exception"];
    let object = names
        .iter()
        .fold(Methods::new(), |methods, &name| methods.method(name, move |_, _| async move { Ok(name) }));
    net.workers[0].0.objects().register("Door", "1", object);
    for name in names {
        let door = ObjectRef::new("Door", "1");
        assert_eq!(net.head.cmd_recv::<String>("worker:0", door, name, ()).await.unwrap(), name);
    }
    net.stop().await;
}
