//! The protocol's own handlers, called by the program itself.
#![allow(clippy::unwrap_used, reason = "a test whose helpers fail has failed")]

use std::pin::pin;

use mosaic_comms::{
    Array, CallError, CommsManager, Event, HandlerError, Instance, Methods, Notify, Place, RemoteError,
    ReplyId, Topology, Uid, kwargs,
};
use mosaic_testkit::{Network, Transport, config, methods, network};

fn uid(name: &str) -> Uid {
    Uid::new(name).expect("a uid")
}

async fn failure(comms: &CommsManager, run: impl Future<Output = ()>) -> RemoteError {
    let mut events = comms.events();
    run.await;
    loop {
        if let Event::Failed { error, .. } = events.next().await.expect("it has not stopped") {
            return *error;
        }
    }
}

#[tokio::test]
async fn who_is_connected_by_a_peers_word_can_be_called() {
    let net = network(Transport::Unix, 0).await;
    let alone = config(Transport::Unix, net.head.context());
    let witness = std::sync::Arc::default();
    let guest = CommsManager::start("guest", methods(&witness), alone).await.unwrap();
    let place = Place { address: guest.address(), port: guest.port(), instance: guest.instance() };
    net.head.protocol().connect(&uid("monitor"), &uid("guest"), place, Notify::Nobody).await.unwrap();
    assert!(net.head.connected("guest"));
    let sum: f64 = net.head.send_recv("guest", "add", kwargs! { a: 1, b: 2 }).await.unwrap();
    assert_eq!(sum, 3.0);
    net.head.protocol().disconnect(&uid("monitor"), &uid("guest"), Notify::Nobody).await;
    assert!(!net.head.connected("guest"));
    drop(guest);
    net.stop().await;
}

#[tokio::test]
async fn a_hand_and_a_shake_tell_who_is_there() {
    let net = network(Transport::Memory, 0).await;
    net.monitor.protocol().hand(&uid("guest"), "10.0.0.9", 7000).await;
    assert!(net.monitor.shaken("guest"));
    assert_eq!(net.monitor.uid_port("guest").unwrap(), 7000);
    net.monitor.protocol().disconnect(&uid("guest"), &uid("guest"), Notify::Nobody).await;
    assert!(!net.monitor.connected("guest"));
    let place = Place { address: "10.0.0.8".to_owned(), port: 7001, instance: Instance(8) };
    let known = net.head.topology();
    let known = known.iter().map(|(uid, place)| (uid.clone(), place.clone()));
    let wider: Topology = known.chain([(uid("late"), place)]).collect();
    net.head.protocol().shake(&uid("monitor"), &wider).await;
    assert!(net.head.shaken("late"));
    net.stop().await;
}

#[tokio::test]
async fn what_goes_wrong_is_sent_to_the_one_who_is_named() {
    let net = network(Transport::Unix, 1).await;
    let worker = &net.workers[0].0;
    net.head.send_recv::<f64>("worker:0", "add", kwargs! { a: 1, b: 2 }).await.unwrap();
    let head = uid("head");
    let error = failure(&net.head, async {
        worker.protocol().call_safe(&head, "panic", ()).await.unwrap();
    });
    assert_eq!(error.await.kind, RemoteError::PANIC);
    let error = failure(&net.head, async {
        let failed = async { Err::<(), _>(HandlerError::new("flood", "water in the cellar")) };
        assert!(worker.protocol().send_exception(&head, failed).await.is_none());
    });
    let error = error.await;
    assert_eq!((error.kind.as_str(), error.uid.as_str()), ("flood", "worker:0"));
    let kept = worker.protocol().send_exception(&head, async { Ok::<_, HandlerError>(5) }).await;
    assert_eq!(kept, Some(5));
    net.stop().await;
}

#[tokio::test]
async fn a_program_that_pulls_its_messages_is_stopped_by_a_peers_word() {
    let net = network(Transport::Unix, 0).await;
    let joining = config(Transport::Unix, net.head.context());
    let joining = joining.monitor(net.monitor.address(), net.monitor.port());
    let served = Methods::new().method("sender", |_, call| async move { Ok(call.sender().to_string()) });
    let puller = CommsManager::new("puller", served, joining).unwrap();
    puller.connect_recv().await.unwrap();
    puller.handshake("monitor", &net.monitor.address(), net.monitor.port()).await.unwrap();
    let reply = net.head.send("puller", "sender", ()).reply::<String>().await.unwrap();
    let (sender, message) = puller.recv().await.unwrap();
    puller.protocol().process_msg(&sender, message).await;
    assert_eq!(reply.await.unwrap(), "head");
    puller.protocol().stop(&sender);
    puller.wait().await;
    net.stop().await;
}

/// A head whose method `done` completes what is registered.
async fn head_that_hears(net: &Network) -> CommsManager {
    let done = Methods::new().method("done", |args, call| async move {
        let (id, field) = (args.get::<ReplyId>("id")?, args.get::<Array<f64>>("field")?);
        Ok(call.comms().protocol().reply(call.sender(), id, Ok(field)))
    });
    let joining = config(Transport::Unix, net.monitor.context());
    let joining = joining.monitor(net.monitor.address(), net.monitor.port());
    CommsManager::start("hearing", done, joining).await.unwrap()
}

#[tokio::test]
async fn a_registered_reply_finds_its_future_by_its_id() {
    let net = network(Transport::Unix, 2).await;
    let head = head_that_hears(&net).await;
    let worker = |number: usize| net.workers[number].0.clone();
    let register = || head.protocol().register_reply_future::<Array<f64>>("worker:0").unwrap();
    let (one, other) = (register(), register());
    for (id, value) in [(other.0, 2.0), (one.0, 1.0)] {
        let args = kwargs! { id, field: Array::from(vec![value; 10_000]) };
        assert!(worker(0).send_recv::<bool>("hearing", "done", args).await.unwrap());
    }
    assert_eq!(one.1.await.unwrap().as_slice(), [1.0; 10_000]);
    assert_eq!(other.1.await.unwrap().as_slice(), [2.0; 10_000]);
    let (id, failing) = register();
    let flood = Err::<(), _>(HandlerError::new("flood", "water in the cellar"));
    assert!(head.protocol().reply(&uid("worker:0"), id, flood));
    let error = failing.await.unwrap_err();
    let CallError::Remote(error) = error else { panic!("{error}") };
    assert_eq!((error.kind.as_str(), error.uid.as_str()), ("flood", "worker:0"));
    head.stop().await;
    net.stop().await;
}

#[tokio::test]
async fn a_registered_reply_that_is_late_or_from_a_stranger_is_dropped_and_counted() {
    let net = network(Transport::Unix, 2).await;
    let protocol = net.head.protocol();
    let (id, mut reply) = protocol.register_reply_future::<u8>("worker:0").unwrap();
    assert!(!protocol.reply(&uid("worker:1"), id, Ok(1)));
    assert!(futures_util::poll!(&mut reply).is_pending());
    assert!(protocol.reply(&uid("worker:0"), id, Ok(2)));
    assert!(!protocol.reply(&uid("worker:0"), id, Ok(3)), "it has had its reply");
    assert_eq!(reply.await.unwrap(), 2);
    let (id, reply) = protocol.register_reply_future::<u8>("worker:0").unwrap();
    drop(reply);
    assert!(!protocol.reply(&uid("worker:0"), id, Ok(4)));
    assert_eq!(net.head.dropped(), 3);
    net.stop().await;
}

#[tokio::test]
async fn a_registered_reply_ends_with_whoever_is_to_give_it_and_with_the_manager() {
    let net = network(Transport::Unix, 2).await;
    let protocol = net.head.protocol();
    let error = protocol.register_reply_future::<u8>("worker:7").unwrap_err();
    assert!(error.similar.iter().any(|uid| uid == "worker:0"), "{error}");
    let (_, reply) = protocol.register_reply_future::<u8>("worker:0").unwrap();
    let (_, other) = protocol.register_reply_future::<u8>("worker:1").unwrap();
    let mut other = pin!(other);
    net.workers[0].0.stop().await;
    assert!(matches!(reply.await, Err(CallError::Disconnected { .. })));
    assert!(futures_util::poll!(&mut other).is_pending());
    net.head.stop().await;
    assert!(matches!(other.await, Err(CallError::Stopped { .. })));
    let error = protocol.register_reply_future::<u8>("head");
    assert!(matches!(error.unwrap().1.await, Err(CallError::Stopped { .. })));
    net.stop().await;
}
