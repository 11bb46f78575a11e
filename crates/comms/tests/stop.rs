//! A runtime that is stopped by a peer: what was sent to it before is handled, everybody hears that it has left.

use mosaic_comms::{CallError, CommsManager, Event, Methods, kwargs};
use mosaic_testkit::{Transport, network};
use tokio::sync::mpsc;

#[tokio::test]
async fn a_stop_is_handled_behind_what_was_sent_before() {
    // In clear text it is refused: it could be anyone who asks.
    for transport in Transport::ALL.into_iter().filter(|transport| *transport != Transport::TcpV4) {
        let net = network(transport, 1).await;
        let mut events = net.monitor.events();
        let (tell, mut told) = mpsc::unbounded_channel();
        let methods = Methods::new().method("note", move |args, _| {
            let sent = args.get::<u32>("n").map(|n| tell.send(n));
            async move { Ok(sent.map(|_| ())?) }
        });
        let shared = net.monitor.context().clone();
        let config = mosaic_testkit::config(transport, &shared);
        let config = config.monitor(net.monitor.address(), net.monitor.port());
        let worker = CommsManager::start("worker:1", methods, config).await.unwrap();
        net.head.wait_for("worker:1").await.unwrap();
        for n in 0..500_u32 {
            net.head.send("worker:1", "note", kwargs! { n: n }).await.unwrap();
        }
        net.head.send_recv::<()>("worker:1", "stop", ()).await.unwrap();
        worker.wait().await;
        for n in 0..500 {
            assert_eq!(told.try_recv(), Ok(n), "{transport:?}");
        }
        loop {
            let event = events.next().await.expect("the monitor runs");
            if let Event::Disconnected { uid, reason } = event {
                assert_eq!(uid, *worker.uid());
                assert!(reason.is_departure(), "{transport:?}: {reason}");
                break;
            }
        }
        let error = net.head.send_recv::<()>("worker:1", "note", ()).await.unwrap_err();
        assert!(matches!(error, CallError::Disconnected { .. }), "{transport:?}: {error}");
        net.stop().await;
    }
}
