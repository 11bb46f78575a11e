//! The protocol's own handlers, called by the program itself.

use mosaic_comms::{
    CommsManager, Event, HandlerError, Instance, Methods, Notify, Place, RemoteError, Topology, Uid, kwargs,
};
use mosaic_testkit::{Transport, config, methods, network};

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
