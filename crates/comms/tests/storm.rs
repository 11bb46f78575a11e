//! Many runtimes that join at once, while others leave and die.
//!
//! They live in worker processes, which are this program again, told to run the test at the end.

#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{FutureExt, join_all, try_join_all};
use mosaic_comms::local::{Network, worker};
use mosaic_comms::{CommsManager, Config, Events, HandlerError, Methods, kwargs};
use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::timeout;

/// How long anything may take before a test fails instead of waiting: long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

async fn network(workers: usize) -> Network {
    let builder = Network::builder().workers(workers);
    builder.arguments(["--exact", "worker_process", "--nocapture"]).start().await.unwrap()
}

/// As many descriptors as the system lets us have: a link takes up to four.
fn raise_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

/// A monitor that many join.
async fn monitor() -> CommsManager {
    let config = Config::default().address("127.0.0.1");
    CommsManager::start("monitor", Methods::new(), config).await.unwrap()
}

/// Waits until this many are in the network, oneself included.
async fn present(comms: &CommsManager, mut events: Events, count: usize) {
    let all_in = async {
        while comms.peers("*").len() + 1 != count {
            events.next().await.unwrap();
            // Whom a crowd has joined looks once, and not once for each.
            while let Some(Some(_)) = events.next().now_or_never() {}
        }
    };
    let waited = timeout(PATIENCE, all_in).await;
    assert!(waited.is_ok(), "{} instead of {count} are there", comms.topology().len());
}

/// Has a worker start this many runtimes, and gives how long it took until all were in.
async fn join(head: &CommsManager, monitor: &CommsManager, number: usize, count: usize) -> f64 {
    let args = kwargs! { count: count, address: monitor.address(), port: monitor.port() };
    head.send_recv(format!("worker:{number}"), "join", args).await.unwrap()
}

#[test]
fn a_thousand_runtimes_join_at_once() {
    const PROCESSES: usize = 8;
    const EACH: usize = 125;
    raise_limit();
    let executor = tokio::runtime::Runtime::new().unwrap();
    executor.block_on(async {
        let (network, monitor) = tokio::join!(network(PROCESSES), monitor());
        let events = monitor.events();
        let begun = Instant::now();
        let joins = (0..PROCESSES).map(|number| join(network.head(), &monitor, number, EACH));
        join_all(joins).await;
        present(&monitor, events, PROCESSES * EACH + 1).await;
        let took = begun.elapsed();
        let said = monitor.status().counters.bytes_sent / (PROCESSES * EACH) as u64;
        eprintln!(
            "{} runtimes joined within {took:.1?}, {said} bytes from the monitor each",
            PROCESSES * EACH
        );
        // Everybody has to hear of everybody: a name, an address, a port and an instance.
        assert!(said < 200 * (PROCESSES * EACH) as u64, "{said} bytes each");
        // Each knows all the others, not the monitor alone.
        let counts = (0..PROCESSES).map(|number| {
            let args = kwargs! { count: PROCESSES * EACH + 1 };
            network.head().send_recv::<()>(format!("worker:{number}"), "know", args)
        });
        timeout(PATIENCE, try_join_all(counts.map(IntoFuture::into_future))).await.unwrap().unwrap();
        network.stop().await;
        monitor.stop().await;
    });
}

#[test]
fn who_leaves_and_who_dies_in_a_storm_is_missed_by_nobody() {
    const EACH: usize = 100;
    raise_limit();
    let executor = tokio::runtime::Runtime::new().unwrap();
    executor.block_on(async {
        let (network, monitor) = tokio::join!(network(4), monitor());
        let head = network.head();
        let mut events = monitor.events();
        let doomed = tokio::spawn({
            let (head, args) =
                (head.clone(), kwargs! { count: EACH, address: monitor.address(), port: monitor.port() });
            async move { head.send_recv::<f64>("worker:3", "join", args).await }
        });
        let storm = join_all((0..3).map(|number| join(head, &monitor, number, EACH)));
        // The first are in: the storm goes on.
        let killing = async {
            timeout(PATIENCE, events.next()).await.unwrap();
            network.workers()[3].kill();
        };
        tokio::join!(storm, killing);
        let _ = doomed.await.unwrap();
        head.send_recv::<()>("worker:2", "leave", ()).await.unwrap();
        let events = monitor.events();
        present(&monitor, events, 2 * EACH + 1).await;
        for number in 0..2 {
            let know =
                head.send_recv::<()>(format!("worker:{number}"), "know", kwargs! { count: 2 * EACH + 1 });
            timeout(PATIENCE, know.into_future()).await.unwrap().unwrap();
        }
        network.stop().await;
        monitor.stop().await;
    });
    sweep();
}

/// Removes what the killed process had bound: of the runtimes that nobody knew yet, nobody else does.
fn sweep() {
    let folder = match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(folder) if !folder.is_empty() => Path::new(&folder).join("mosaic"),
        _ => format!("/tmp/mosaic-{}", rustix::process::geteuid().as_raw()).into(),
    };
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if UnixStream::connect(&path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
            std::fs::remove_file(&path).unwrap();
        }
    }
}

/// The runtimes of a worker process.
type Crowd = Arc<Mutex<Vec<CommsManager>>>;

fn crowd() -> Methods {
    let crowd = Crowd::default();
    let [joining, knowing, leaving] = [(); 3].map(|()| crowd.clone());
    Methods::new()
        .method("join", move |args, call| {
            let crowd = joining.clone();
            async move {
                let (count, port) = (args.get::<usize>("count")?, args.get::<u16>("port")?);
                let address = args.get::<String>("address")?;
                let config = Config::default().address("127.0.0.1").monitor(address, port);
                let config = config.handshake_within(PATIENCE);
                let begun = Instant::now();
                let uids = (0..count).map(|number| format!("{}.{number}", call.comms().uid()));
                let starts = uids.map(|uid| CommsManager::start(uid, Methods::new(), config.clone()));
                *crowd.lock() = try_join_all(starts).await.map_err(HandlerError::from)?;
                Ok(begun.elapsed().as_secs_f64())
            }
        })
        .method("know", move |args, _| {
            let crowd = knowing.lock().clone();
            async move {
                let count = args.get::<usize>("count")?;
                join_all(crowd.iter().map(|comms| present(comms, comms.events(), count))).await;
                Ok(())
            }
        })
        .method("leave", move |_, _| {
            let crowd = std::mem::take(&mut *leaving.lock());
            async move {
                join_all(crowd.iter().map(CommsManager::stop)).await;
                Ok(())
            }
        })
}

/// Is not a test: what the workers run.
#[test]
fn worker_process() {
    raise_limit();
    worker(|_| crowd()).unwrap();
}
