//! One call to many: results as they come, failures among them.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{Stream, StreamExt};
use mosaic_comms::{Array, CallError, EncodeError, Uid, kwargs};
use mosaic_testkit::{Transport, network};
use serde::{Serialize, Serializer};

fn uids(names: &[&str]) -> Vec<Uid> {
    names.iter().map(|name| Uid::new(name).expect("a uid")).collect()
}

#[tokio::test]
async fn everybody_gets_the_arguments_and_answers() {
    for transport in Transport::ALL {
        let net = network(transport, 3).await;
        let found = net.head.wait_for_count("worker:*", 3).await.unwrap();
        let value = Array::from(vec![1.0; 100_000]);
        let sums = net.head.send_recv_all::<f64>(&found, "sum", kwargs! { value }).unwrap();
        assert_eq!(sums.size_hint(), (3, Some(3)));
        let mut sums: Vec<(Uid, f64)> = sums.map(|(uid, sum)| (uid, sum.unwrap())).collect().await;
        sums.sort_by(|one, other| one.0.cmp(&other.0));
        let expected: Vec<(Uid, f64)> = found.into_iter().map(|uid| (uid, 100_000.0)).collect();
        assert_eq!(sums, expected, "{transport:?}");
        net.stop().await;
    }
}

/// Counts how often it is encoded.
struct Counted<'a>(&'a AtomicUsize);

impl Serialize for Counted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
        serializer.serialize_f64(1.0)
    }
}

#[tokio::test]
async fn the_arguments_are_encoded_once_however_many_are_called() {
    let net = network(Transport::Unix, 3).await;
    let workers = net.head.wait_for_count("worker:*", 3).await.unwrap();
    let encoded = AtomicUsize::new(0);
    let args = kwargs! { a: Counted(&encoded), b: 2 };
    let sums: Vec<_> = net.head.send_recv_all::<f64>(&workers, "add", args).unwrap().collect().await;
    assert!(sums.iter().all(|(_, sum)| *sum.as_ref().unwrap() == 3.0));
    assert_eq!((sums.len(), encoded.into_inner()), (3, 1));
    net.stop().await;
}

#[tokio::test]
async fn failures_come_with_the_results() {
    let net = network(Transport::Unix, 2).await;
    let all = uids(&["worker:0", "nobody", "head", "worker:1"]);
    let args = || kwargs! { a: 1, b: 2 };
    let ends: Vec<_> = net.head.send_recv_all::<f64>(all.iter(), "add", args()).unwrap().collect().await;
    assert_eq!(ends.len(), 4);
    for (uid, end) in ends {
        match (uid.as_str(), end) {
            ("worker:0" | "worker:1", Ok(sum)) => assert_eq!(sum, 3.0),
            ("nobody", Err(CallError::UnknownPeer { .. })) | ("head", Err(CallError::Remote(_))) => {}
            (uid, end) => panic!("{uid} ended in {end:?}"),
        }
    }
    let head = net.head.clone();
    let blocking = tokio::task::spawn_blocking(move || {
        head.send_recv_all::<f64>(uids(&["worker:0"]), "add", args()).map(|calls| calls.blocking_wait())
    });
    assert_eq!(*blocking.await.unwrap().unwrap()[0].1.as_ref().unwrap(), 3.0);
    net.stop().await;
}

#[tokio::test]
async fn arguments_that_cannot_be_encoded_are_sent_to_nobody() {
    let net = network(Transport::Memory, 0).await;
    let error = net.head.send_recv_all::<f64>(uids(&["head"]), "add", 3.0).unwrap_err();
    assert!(matches!(error, EncodeError::NotNamed { .. }), "{error}");
    net.stop().await;
}

#[tokio::test]
async fn dropping_it_cancels_the_rest() {
    let net = network(Transport::Unix, 2).await;
    let all = uids(&["worker:0", "nobody", "worker:1"]);
    let mut ends = net.head.send_recv_all::<()>(all, "never", ()).unwrap();
    let (uid, end) = ends.next().await.unwrap();
    assert_eq!(uid.as_str(), "nobody");
    assert!(end.is_err());
    net.worker_started(0).await;
    net.worker_started(1).await;
    drop(ends);
    net.worker_dropped(0).await;
    net.worker_dropped(1).await;
    net.stop().await;
}
