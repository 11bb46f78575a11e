//! Calls between runtimes: results, errors, order, deadlines, cancellation, over every transport.

use std::time::Duration;

use mosaic_comms::{Array, CallError, Execution, RemoteError, kwargs};
use mosaic_testkit::{Transport, network};

#[tokio::test]
async fn a_call_returns_its_result_over_every_transport() {
    for transport in Transport::ALL {
        let net = network(transport, 1).await;
        let sum: f64 = net.head.send_recv("worker:0", "add", kwargs! { a: 1.5, b: 2 }).await.unwrap();
        assert_eq!(sum, 3.5, "{transport:?}");
        net.stop().await;
    }
}

#[tokio::test]
async fn arrays_of_every_size_come_back_as_they_were_sent() {
    for transport in Transport::ALL {
        let net = network(transport, 1).await;
        for len in [0, 1, 1000, 100_000, 3_000_000] {
            let sent: Vec<f64> = (0..len).map(f64::from).collect();
            let array = Array::from(sent.clone());
            let back: Array<f64> =
                net.head.send_recv("worker:0", "echo", kwargs! { value: &array }).await.unwrap();
            assert_eq!(back.as_slice(), sent, "{transport:?}");
        }
        net.stop().await;
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_call_is_said_with_what_exists() {
    let net = network(Transport::Unix, 1).await;
    let error = net.head.send_recv::<f64>("worker:7", "add", ()).await.unwrap_err();
    assert!(matches!(&error, CallError::UnknownPeer { similar, .. } if *similar == ["worker:0"]), "{error}");
    let error = net.head.send_recv::<f64>("worker:0", "ad", ()).await.unwrap_err();
    assert!(error.to_string().contains("there is no method `ad`, only `add`"), "{error}");
    assert_eq!(error.execution(), Execution::NotRun);
    let error = net.head.send_recv::<f64>("worker:0", "add", kwargs! { a: 1 }).await.unwrap_err();
    assert!(matches!(&error, CallError::Remote(remote) if remote.kind == RemoteError::ARGUMENT), "{error}");
    assert!(error.to_string().contains("`b`"), "{error}");
    let error = net.head.send_recv::<f64>("worker:0", "panic", ()).await.unwrap_err();
    assert!(matches!(&error, CallError::Remote(remote) if remote.kind == RemoteError::PANIC), "{error}");
    assert_eq!(error.execution(), Execution::Ran);
    let error = net.head.send_recv::<String>("worker:0", "add", kwargs! { a: 1, b: 2 }).await.unwrap_err();
    assert!(matches!(error, CallError::Decode { .. }), "{error}");
    net.stop().await;
}

#[tokio::test]
async fn a_deadline_ends_a_call_and_the_handler() {
    let net = network(Transport::Unix, 1).await;
    let call = net.head.send_recv::<()>("worker:0", "never", ()).deadline(Duration::from_millis(50));
    let error = call.await.unwrap_err();
    assert!(matches!(error, CallError::Timeout { execution: Execution::MayHaveRun, .. }), "{error}");
    net.worker_dropped(0).await;
    net.stop().await;
}

#[tokio::test]
async fn dropping_a_call_cancels_its_handler() {
    let net = network(Transport::Memory, 1).await;
    let reply = net.head.send("worker:0", "never", ()).reply::<()>().await.unwrap();
    net.worker_started(0).await;
    drop(reply);
    net.worker_dropped(0).await;
    net.stop().await;
}

#[tokio::test]
async fn one_way_messages_are_handled_in_order() {
    for transport in Transport::ALL {
        let net = network(transport, 1).await;
        for n in 0..1000_u32 {
            net.head.send("worker:0", "note", kwargs! { n: n }).await.unwrap();
        }
        let noted: Vec<u32> = net.head.send_recv("worker:0", "noted", ()).await.unwrap();
        assert!(noted.into_iter().eq(0..1000), "{transport:?}");
        net.stop().await;
    }
}
