//! What a typed proxy can do beside calling one runtime: one-way messages, objects, many at once.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::time::Duration;

use futures_util::StreamExt;
use mosaic_comms::{CallError, CommsManager, Context, Methods, ObjectRef, RemoteError, Uid, kwargs};
use mosaic_testkit::{Network, Transport, config, network};

/// What is counted, and by whom.
#[derive(Default)]
struct Counter {
    count: u32,
}

#[mosaic_comms::runtime]
impl Counter {
    pub async fn add(&mut self, amount: u32) -> u32 {
        self.count += amount;
        self.count
    }

    pub async fn step(&mut self, #[arg(default = 1)] amount: u32) -> u32 {
        self.count += amount;
        self.count
    }

    pub fn count(&self) -> u32 {
        self.count
    }
}

fn object() -> ObjectRef {
    ObjectRef::new("Counter", "1")
}

/// Workers with a counter each.
async fn counting(transport: Transport, workers: usize) -> (Network, Vec<Uid>) {
    let net = network(transport, workers).await;
    for (worker, _) in &net.workers {
        assert!(worker.objects().register("Counter", "1", Counter::default()).is_none());
    }
    let uids = net.head.wait_for_count("worker:*", workers).await.unwrap();
    (net, uids)
}

#[tokio::test]
async fn a_proxy_of_an_object_calls_it_over_every_transport() {
    for transport in Transport::ALL {
        let (net, _) = counting(transport, 1).await;
        let counter = CounterProxy::of_object(&net.head, "worker:0", object());
        assert_eq!(counter.add(2).deadline(Duration::from_secs(60)).await.unwrap(), 2, "{transport:?}");
        assert_eq!(counter.step().amount(3).express().await.unwrap(), 5, "{transport:?}");
        let missing = CounterProxy::of_object(&net.head, "worker:0", ObjectRef::new("Counter", "2"));
        let error = missing.count().await.unwrap_err();
        assert!(matches!(&error, CallError::Remote(error) if error.kind == RemoteError::UNKNOWN_OBJECT));
        net.stop().await;
    }
}

#[tokio::test]
async fn one_way_messages_keep_their_order_with_calls() {
    let (net, _) = counting(Transport::Unix, 1).await;
    let counter = CounterProxy::of_object(&net.head, "worker:0", object());
    for _ in 0..50 {
        counter.add(1).send().await.unwrap();
        counter.step().amount(2).send().await.unwrap();
    }
    assert_eq!(counter.count().await.unwrap(), 150);
    counter.add(1).try_send().unwrap();
    counter.step().try_send().unwrap();
    assert_eq!(counter.count().await.unwrap(), 152);
    let reply = counter.add(8).send().reply::<u32>().await.unwrap();
    assert_eq!(reply.await.unwrap(), 160);
    net.stop().await;
}

#[tokio::test]
async fn one_call_of_a_proxy_goes_to_many() {
    let (net, workers) = counting(Transport::Unix, 3).await;
    let counter = CounterProxy::of_object(&net.head, "worker:0", object());
    counter.add(10).await.unwrap();
    let mut counts: Vec<(Uid, u32)> = counter
        .step()
        .amount(5)
        .to_all(&workers)
        .unwrap()
        .map(|(uid, count)| (uid, count.unwrap()))
        .collect()
        .await;
    counts.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(counts.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [15, 5, 5]);
    let unlimited = counter.add(1).deadline(Duration::from_secs(60)).to_all(&workers).unwrap();
    assert!(unlimited.all(async |(_, count)| count.is_ok()).await);
    let named = net.head.send_recv::<f64>("worker:0", "add", kwargs! { a: 1, b: 2 });
    let sums: Vec<_> = named.to_all(&workers).unwrap().collect().await;
    assert!(sums.iter().all(|(_, sum)| *sum.as_ref().unwrap() == 3.0));
    net.stop().await;
}

#[tokio::test]
async fn a_proxy_of_a_runtime_does_the_same() {
    let context = Context::builder().build().unwrap();
    let here = config(Transport::Memory, &context);
    let monitor = CommsManager::start("monitor", Methods::new(), here.clone()).await.unwrap();
    let joining = here.monitor(monitor.address(), monitor.port());
    let worker = CommsManager::start("worker:0", Counter::default(), joining).await.unwrap();
    let counter = CounterProxy::new(&monitor, "worker:0");
    counter.step().send().await.unwrap();
    counter.add(2).try_send().unwrap();
    assert_eq!(counter.count().await.unwrap(), 3);
    assert!(matches!(
        CounterProxy::new(&monitor, "worker:9").step().send().await,
        Err(CallError::UnknownPeer { .. })
    ));
    worker.stop().await;
    monitor.stop().await;
}
