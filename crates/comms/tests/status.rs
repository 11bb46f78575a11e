//! How runtimes and links stand, as they say themselves, and what the flight recorder of a link keeps.
#![allow(clippy::unwrap_used, reason = "a test whose helpers fail has failed")]

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use mosaic_comms::{CommsManager, Config, Context, LinkCondition, Methods, Security, UnixSockets, kwargs};
use mosaic_testkit::{Transport, network};
use parking_lot::Mutex;
use tokio::sync::Notify;

#[tokio::test]
async fn a_link_tells_its_transports_and_what_it_has_carried() {
    for (transport, name) in [
        (Transport::Memory, "memory"),
        (Transport::Unix, "unix"),
        (Transport::TlsV4, "tls"),
        (Transport::TcpV4, "tcp"),
    ] {
        let net = network(transport, 1).await;
        assert!(net.head.link_state("worker:0").is_none(), "links are made at first use");
        let sum: f64 = net.head.send_recv("worker:0", "add", kwargs! { a: 1, b: 2 }).await.unwrap();
        assert_eq!(sum, 3.0);
        net.head.ping("worker:0").await.unwrap();
        let link = net.head.link_state("worker:0").unwrap();
        assert_eq!(link.condition, LinkCondition::Up);
        assert_eq!(link.lanes, [Some(name.to_owned()), Some(name.to_owned())]);
        assert_eq!(
            (link.counters.calls, link.counters.sent, link.counters.received, link.calls),
            (1, 1, 1, 0)
        );
        assert_eq!(link.instance, Some(net.workers[0].0.instance()));
        assert!(link.heard.is_some() && link.round_trip.is_some() && link.lag.is_some(), "{link:?}");
        assert!(link.counters.bytes_sent > 0 && link.counters.bytes_received > 0, "{link:?}");
        net.stop().await;
    }
}

#[tokio::test]
async fn a_runtime_tells_how_it_stands_whatever_its_handlers_do() {
    let context = Context::builder().build().unwrap();
    let here = Config::default().address("127.0.0.1").context(context);
    let started = Arc::new(Notify::new());
    let begun = started.clone();
    let busy = Methods::new().method("never", move |_, _| {
        begun.notify_one();
        std::future::pending::<Result<(), _>>()
    });
    let monitor = CommsManager::start("monitor", busy, here.clone().running_handlers(1)).await.unwrap();
    let joining = here.monitor(monitor.address(), monitor.port());
    let head = CommsManager::start("head", Methods::new(), joining).await.unwrap();
    let running = head.send("monitor", "never", ()).reply::<()>().await.unwrap();
    started.notified().await;
    assert!(head.send_recv::<()>("monitor", "never", ()).express().await.is_err());
    let status = head.status_of("monitor").await.unwrap();
    assert_eq!((&status.uid, status.instance), (monitor.uid(), monitor.instance()));
    assert_eq!((status.handlers, status.refused, status.pid), (1, 1, std::process::id()));
    assert_eq!(status.links.iter().map(|link| &*link.peer).collect::<Vec<_>>(), ["head"]);
    drop(running);
    let own = head.status_of("head").await.unwrap();
    assert_eq!((own.counters.calls, own.counters.errors), (3, 1));
    head.stop().await;
    monitor.stop().await;
}

#[tokio::test]
async fn what_an_ended_link_has_carried_and_recorded_is_kept() {
    let net = network(Transport::Unix, 1).await;
    for _ in 0..3 {
        net.head.send_recv::<f64>("worker:0", "add", kwargs! { a: 1, b: 2 }).await.unwrap();
    }
    let mut events = net.head.events();
    net.workers[0].0.stop().await;
    while !matches!(events.next().await, Some(mosaic_comms::Event::Disconnected { .. })) {}
    assert!(net.head.link_state("worker:0").is_none());
    assert_eq!(net.head.status().counters.calls, 3);
    let records = net.head.records();
    let record = records.iter().find(|record| &*record.peer == "worker:0").unwrap();
    let told: Vec<_> = record.entries.iter().map(|entry| entry.what.as_str()).collect();
    assert_eq!(told[..2], ["a session has begun", "control lane connected by unix"], "{record}");
    assert!(told.contains(&"over: it left: stopped") || told.contains(&"over: it was stopped"), "{record}");
    let last = record.entries.last().unwrap();
    assert_eq!((last.sent, last.received), (3, 3), "{record}");
    net.stop().await;
}

/// What is logged, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_verdict_logs_what_led_to_it() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::WARN)
        .with_writer(move || writer.clone())
        .finish();
    let executor =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let run = || executor.block_on(partitioned());
    tracing::subscriber::with_default(subscriber, run);
    let text = String::from_utf8(log.0.lock().clone()).unwrap();
    assert!(text.contains("link to monitor, absent:"), "{text}");
    for wanted in ["a session has begun", "suspected: nothing comes from the peer", "unreachable: "] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
}

/// Two runtimes between which nothing goes any more, until one calls the other unreachable.
async fn partitioned() {
    let context = Context::simulated(3);
    let here = Config::default()
        .address("127.0.0.1")
        .context(context.clone())
        .security(Security::Insecure)
        .unix_sockets(UnixSockets::Avoid)
        .drain_within(Duration::from_millis(1));
    let monitor = CommsManager::start("monitor", Methods::new(), here.clone()).await.unwrap();
    let joining = here.monitor(monitor.address(), monitor.port());
    let head = CommsManager::start("head", Methods::new(), joining).await.unwrap();
    let mut events = head.events();
    context.partition();
    while !matches!(events.next().await, Some(mosaic_comms::Event::Unreachable { .. })) {}
    let records = head.records();
    assert!(
        records[0].entries.iter().any(|entry| entry.what == "unreachable: silent for 4.0 s"),
        "{}",
        records[0]
    );
    context.heal();
    head.stop().await;
    monitor.stop().await;
}
