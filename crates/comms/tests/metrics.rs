//! What is told to the `metrics` facade, and when.

#![allow(clippy::unwrap_used, reason = "a test whose helpers fail has failed")]

use std::collections::BTreeMap;

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use mosaic_comms::{CommsManager, Config, Context, Methods, kwargs};

/// What the recorder has, by runtime and name; of histograms what came since it was read before.
struct Told(BTreeMap<String, DebugValue>);

impl Told {
    fn read(snapshotter: &Snapshotter) -> Told {
        let named = |(key, _, _, value): (metrics_util::CompositeKey, _, _, DebugValue)| {
            let labels = key.key().labels().filter(|label| label.key() != "life").map(|label| label.value());
            let parts: Vec<_> = std::iter::once(key.key().name()).chain(labels).collect();
            (parts.join(" "), value)
        };
        Told(snapshotter.snapshot().into_vec().into_iter().map(named).collect())
    }

    fn samples(&self, name: &str) -> usize {
        match &self.0[name] {
            DebugValue::Histogram(values) => values.len(),
            other => panic!("{name} is {other:?}"),
        }
    }
}

#[test]
fn what_links_have_counted_is_published_when_it_is_asked_for() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().unwrap();
    let executor = tokio::runtime::Runtime::new().unwrap();
    executor.block_on(published(&snapshotter));
}

async fn published(snapshotter: &Snapshotter) {
    let here = Config::default().address("127.0.0.1").context(Context::builder().build().unwrap());
    let methods = Methods::new()
        .method("add", |args, _| async move { Ok(args.get::<f64>("a")? + args.get::<f64>("b")?) })
        .compute("compute", |_, _| Ok(()));
    let monitor = CommsManager::start("monitor", methods, here.clone()).await.unwrap();
    let joining = here.monitor(monitor.address(), monitor.port());
    let head = CommsManager::start("head", Methods::new(), joining).await.unwrap();
    head.send_recv::<f64>("monitor", "add", kwargs! { a: 1, b: 2 }).await.unwrap();
    assert!(Told::read(snapshotter).0.is_empty(), "nothing is told before somebody asks");

    monitor.publish_metrics();
    head.status().publish_metrics();
    let told = Told::read(snapshotter);
    assert_eq!(told.0["mosaic_calls_total head"], DebugValue::Counter(1));
    assert_eq!(told.0["mosaic_errors_total head"], DebugValue::Counter(0));
    assert_eq!(told.0["mosaic_links head up"], DebugValue::Gauge(1.0.into()));
    assert_eq!(told.0["mosaic_links head down"], DebugValue::Gauge(0.0.into()));
    assert_eq!(told.samples("mosaic_handler_seconds monitor"), 0, "nobody had asked");

    head.send_recv::<f64>("monitor", "add", kwargs! { a: 1, b: 2 }).await.unwrap();
    head.send_recv::<f64>("monitor", "add", kwargs! { a: 1 }).await.unwrap_err();
    head.send_recv::<()>("monitor", "compute", ()).await.unwrap();
    monitor.ping("head").await.unwrap();
    monitor.publish_metrics();
    head.status().publish_metrics();
    let told = Told::read(snapshotter);
    assert_eq!(told.0["mosaic_calls_total head"], DebugValue::Counter(4));
    assert_eq!(told.0["mosaic_errors_total head"], DebugValue::Counter(1));
    assert!(matches!(told.0["mosaic_bytes_received_total monitor"], DebugValue::Counter(1..)));
    assert_eq!(told.samples("mosaic_handler_seconds monitor"), 3);
    assert!(told.samples("mosaic_round_trip_seconds monitor") > 0);
    head.stop().await;
    monitor.stop().await;
}
