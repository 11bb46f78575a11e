//! Networks of real processes: who joins, who dies, and that nobody is left behind.
//!
//! The processes are this program again, told to run one of the tests at the end, which do nothing otherwise.

#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use mosaic_comms::local::{Builder, Network, StartError, worker};
use mosaic_comms::{CallError, Event, Execution, HandlerError, Methods, Reason, Uid, kwargs};
use tokio::time::timeout;

/// How long anything may take before a test fails instead of waiting: long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Says that this program is started by a test, to be a head.
const HEAD: &str = "MOSAIC_TEST_HEAD";

/// Says that this program is started as a worker.
const WORKER: &str = "MOSAIC_LOCAL_WORKER";

/// The exit code of a worker that has lost the network.
const LOST: i32 = 4;

fn builder(workers: usize, test: &str) -> Builder {
    Network::builder().workers(workers).arguments(["--exact", test, "--nocapture"])
}

async fn network(workers: usize) -> Network {
    builder(workers, "worker_process").start().await.unwrap()
}

async fn pid_of(network: &Network, uid: &Uid) -> u32 {
    network.head().send_recv(uid, "pid", kwargs! {}).await.unwrap()
}

/// Whether there is a process of this id, be it a zombie.
fn exists(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn all_workers_join_as_processes_of_their_own() {
    let network = network(4).await;
    let uids: Vec<_> = network.workers().iter().map(|worker| worker.uid().to_string()).collect();
    assert_eq!(uids, ["worker:0", "worker:1", "worker:2", "worker:3"]);
    for worker in network.workers() {
        assert_ne!(worker.pid(), std::process::id());
        assert_eq!(pid_of(&network, worker.uid()).await, worker.pid());
    }
    network.stop().await;
}

#[tokio::test]
async fn stop_leaves_no_process() {
    let network = network(2).await;
    let workers = network.workers().to_vec();
    network.stop().await;
    for worker in &workers {
        assert!(worker.ended().await.unwrap().success());
        assert!(!exists(worker.pid()));
    }
}

#[tokio::test]
async fn dropped_network_kills_its_workers() {
    use std::os::unix::process::ExitStatusExt;
    let network = network(2).await;
    let workers = network.workers().to_vec();
    drop(network);
    for worker in &workers {
        assert_eq!(worker.ended().await.unwrap().signal(), Some(9));
    }
}

#[tokio::test]
async fn killed_worker_ends_its_calls_and_is_announced() {
    let network = network(2).await;
    let mut events = network.head().events();
    let call = network.head().send("worker:0", "never", ()).reply::<()>().await.unwrap();
    pid_of(&network, network.workers()[0].uid()).await;
    network.workers()[0].kill();
    let error = timeout(PATIENCE, call).await.unwrap().unwrap_err();
    let CallError::Disconnected { peer, execution, .. } = &error else { panic!("{error}") };
    assert_eq!((peer.as_str(), *execution), ("worker:0", Execution::MayHaveRun));
    let (uid, reason) = timeout(PATIENCE, async {
        loop {
            if let Some(Event::Disconnected { uid, reason }) = events.next().await {
                return (uid, reason);
            }
        }
    })
    .await
    .unwrap();
    assert_eq!(uid.as_str(), "worker:0");
    assert!(!matches!(reason, Reason::Left { .. }), "{reason}");
    assert_eq!(pid_of(&network, network.workers()[1].uid()).await, network.workers()[1].pid());
    network.stop().await;
}

#[tokio::test]
async fn two_networks_stand_side_by_side() {
    let (one, other) = tokio::join!(network(2), network(2));
    for worker in one.workers() {
        assert_eq!(pid_of(&one, worker.uid()).await, worker.pid());
    }
    one.stop().await;
    for worker in other.workers() {
        assert_eq!(pid_of(&other, worker.uid()).await, worker.pid());
    }
    other.stop().await;
}

#[tokio::test]
async fn worker_that_ends_early_is_reported_with_its_status() {
    let error = builder(2, "ending_process").start().await.unwrap_err();
    let StartError::Ended { status, .. } = &error else { panic!("{error}") };
    assert_eq!(status.unwrap().code(), Some(3));
}

#[tokio::test]
async fn missing_workers_are_named_at_the_deadline() {
    let hanging = builder(2, "hanging_process").start_within(Duration::from_millis(200));
    let error = hanging.start().await.unwrap_err();
    let StartError::Late { missing, of: 2, .. } = &error else { panic!("{error}") };
    assert_eq!(missing.len(), 2);
    assert!(error.to_string().contains("worker:0, worker:1"), "{error}");
}

#[tokio::test]
async fn workers_end_without_their_monitor() {
    let network = network(2).await;
    network.monitor().stop().await;
    for worker in network.workers() {
        assert_eq!(timeout(PATIENCE, worker.ended()).await.unwrap().unwrap().code(), Some(LOST));
    }
}

#[test]
fn plain_threads_start_and_stop_a_network() {
    let network = builder(1, "worker_process").blocking_start().unwrap();
    let pid: u32 = network.head().blocking_send_recv("worker:0", "pid", ()).unwrap();
    assert_eq!(pid, network.workers()[0].pid());
    network.blocking_stop();
}

/// A head that is killed without warning, while all threads of all its workers compute. All of them have inherited the
/// pipe that is its standard output: it ends when the last of them is gone.
#[test]
fn killed_head_takes_all_its_workers_along() {
    // Nobody is left to remove the sockets of a head that is killed with all who knew it.
    let folder = tempfile::tempdir().unwrap();
    let mut head = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "head_process", "--nocapture"])
        .env(HEAD, "1")
        .env("XDG_RUNTIME_DIR", folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(head.stdout.take().unwrap());
    let (line, lines) = channel();
    std::thread::spawn(move || output.lines().try_for_each(|text| line.send(text.unwrap())));
    let mut busy = 0;
    while busy < 2 * SPINS {
        busy += lines.recv_timeout(PATIENCE).unwrap().matches("busy").count();
    }
    head.kill().unwrap();
    let end = std::iter::from_fn(|| Some(lines.recv_timeout(PATIENCE))).find_map(Result::err);
    assert_eq!(end, Some(RecvTimeoutError::Disconnected), "a worker has outlived its head");
    head.wait().unwrap();
}

/// Threads of a worker that are kept busy: more than its executor has on most machines.
const SPINS: usize = 16;

#[expect(clippy::print_stdout, reason = "the test that started the head reads it")]
fn methods() -> Methods {
    Methods::new()
        .method("pid", |_, _| async { Ok(std::process::id()) })
        .method("never", |_, _| std::future::pending::<Result<(), HandlerError>>())
        .compute("spin", |_, _| -> Result<(), HandlerError> {
            println!("busy");
            loop {
                std::hint::spin_loop();
            }
        })
}

#[test]
fn worker_process() {
    if worker(|_uid| methods()).is_err() {
        std::process::exit(LOST);
    }
}

#[test]
fn ending_process() {
    if std::env::var_os(WORKER).is_some() {
        std::process::exit(3);
    }
}

#[test]
fn hanging_process() {
    if std::env::var_os(WORKER).is_some() {
        // The lifeline is not read here: only SIGKILL ends this.
        std::thread::park();
    }
}

#[tokio::test]
async fn head_process() {
    if std::env::var_os(HEAD).is_none() {
        return;
    }
    let network = network(2).await;
    for worker in network.workers() {
        for _ in 0..SPINS {
            network.head().send(worker.uid(), "spin", ()).await.unwrap();
        }
    }
    std::future::pending::<()>().await;
}
