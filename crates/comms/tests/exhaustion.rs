//! A process that has no descriptor left: who is connected goes on, and who is not gets in as soon as there is one.
//!
//! The process is this program again, told to run the test at the end.

#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use mosaic_comms::local::{Network, worker};
use mosaic_comms::{CommsManager, Config, HandlerError, LinkRecord, Methods, kwargs};
use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

/// Few are soon used up.
const DESCRIPTORS: u64 = 256;

#[test]
fn a_process_without_descriptors_takes_and_makes_connections_once_it_has_some() {
    let executor = tokio::runtime::Runtime::new().unwrap();
    executor.block_on(async {
        let builder = Network::builder().workers(1);
        let network = builder.arguments(["--exact", "worker_process", "--nocapture"]).start().await.unwrap();
        let head = network.head();
        assert!(head.send_recv::<u64>("worker:0", "exhaust", ()).await.unwrap() > 10);
        let config = Config::default().address("127.0.0.1");
        let config = config.monitor(head.uid_address("monitor").unwrap(), head.uid_port("monitor").unwrap());
        let methods = Methods::new().method("echo", |args, _| async move { Ok(args.get::<u32>("n")?) });
        let other = CommsManager::start("other", methods, config).await.unwrap();
        head.wait_for("other").await.unwrap();
        // It has to accept this, and to dial for what it is asked to call.
        let accepted = tokio::spawn({
            let other = other.clone();
            async move { other.send_recv::<u32>("worker:0", "echo", kwargs! { n: 1_u32 }).await }
        });
        let dialled = tokio::spawn({
            let head = head.clone();
            async move { head.send_recv::<u32>("worker:0", "ask", kwargs! { uid: "other", n: 2_u32 }).await }
        });
        // Until it has found that it can't dial, who is connected already is served.
        timeout(PATIENCE, serves_until_it_has_failed(head)).await.unwrap();
        assert!(!accepted.is_finished() && !dialled.is_finished());
        head.send_recv::<()>("worker:0", "release", ()).await.unwrap();
        assert_eq!(timeout(PATIENCE, accepted).await.unwrap().unwrap().unwrap(), 1);
        assert_eq!(timeout(PATIENCE, dialled).await.unwrap().unwrap().unwrap(), 2);
        other.stop().await;
        network.stop().await;
    });
}

async fn serves_until_it_has_failed(head: &CommsManager) {
    let failed = |record: &LinkRecord| record.to_string().contains("Too many open files");
    while !head.records_of("worker:0").await.unwrap().iter().any(failed) {
        assert_eq!(head.send_recv::<u32>("worker:0", "echo", kwargs! { n: 3_u32 }).await.unwrap(), 3);
    }
}

/// Is not a test: what the worker runs.
#[test]
fn worker_process() {
    worker(|_| {
        let kept: Arc<Mutex<Vec<File>>> = Arc::default();
        let released = kept.clone();
        Methods::new()
            .method("echo", |args, _| async move { Ok(args.get::<u32>("n")?) })
            .method("ask", |args, call| async move {
                let (uid, n) = (args.get::<String>("uid")?, args.get::<u32>("n")?);
                call.comms().wait_for(&uid).await.map_err(HandlerError::from)?;
                let reply = call.comms().send_recv::<u32>(uid, "echo", kwargs! { n: n });
                reply.await.map_err(HandlerError::from)
            })
            .method("exhaust", move |_, _| {
                let maximum = getrlimit(Resource::Nofile).maximum;
                setrlimit(Resource::Nofile, Rlimit { current: Some(DESCRIPTORS), maximum }).unwrap();
                let mut kept = kept.lock();
                kept.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
                let count = kept.len() as u64;
                async move { Ok(count) }
            })
            .method("release", move |_, _| {
                released.lock().clear();
                async { Ok(()) }
            })
    })
    .unwrap();
}
