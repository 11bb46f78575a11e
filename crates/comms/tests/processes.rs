//! What the processes of peers prove: killed, forked, stopped, busy.
//!
//! The processes are this program again, told to run the test at the end, which does nothing otherwise.

#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mosaic_comms::local::{Network, worker};
use mosaic_comms::{CallError, Event, Events, HandlerError, Methods, Reason, Uid};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Signal, getpid, kill_process, pidfd_getfd, pidfd_open,
};
use tokio::time::{timeout, timeout_at};

/// How long anything may take before a test fails instead of waiting: long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

const WORKER: &str = "worker:0";

async fn network(workers: usize) -> Network {
    let builder = Network::builder().workers(workers);
    builder.arguments(["--exact", "worker_process", "--nocapture"]).start().await.unwrap()
}

/// The first event about the worker that `wanted` takes.
async fn heard<T>(events: &mut Events, wanted: impl Fn(Event) -> Option<T>) -> T {
    let next = async {
        loop {
            if let Some(found) = wanted(events.next().await.unwrap()) {
                return found;
            }
        }
    };
    timeout(PATIENCE, next).await.unwrap()
}

fn end_of_worker(event: Event) -> Option<Reason> {
    match event {
        Event::Disconnected { uid, reason } if uid == WORKER => Some(reason),
        _ => None,
    }
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

/// A process that is killed with the test that made it, and the port of the runtime whose sockets it keeps.
struct Kept(u32, u16);

impl Drop for Kept {
    fn drop(&mut self) {
        signal(self.0, Signal::KILL);
        // As long as it listened there, nobody could take the file for stale.
        let folder = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(
            || format!("/tmp/mosaic-{}", rustix::process::geteuid().as_raw()).into(),
            |folder| std::path::PathBuf::from(folder).join("mosaic"),
        );
        let _ = std::fs::remove_file(folder.join(format!("{}.sock", self.1)));
    }
}

#[tokio::test]
#[expect(
    clippy::print_stdout,
    reason = "the time is of interest, and asserted by no test of a loaded machine"
)]
async fn a_killed_process_is_dead_though_a_child_keeps_its_sockets() {
    let network = network(1).await;
    let mut events = network.head().events();
    let child: u32 = network.head().send_recv(WORKER, "fork", ()).await.unwrap();
    let _child = Kept(child, network.head().uid_port(WORKER).unwrap());
    let call = network.head().send(WORKER, "never", ()).reply::<()>().await.unwrap();
    let begun = Instant::now();
    network.workers()[0].kill();
    let error = timeout(PATIENCE, call).await.unwrap().unwrap_err();
    println!("the call ended {:?} after the kill", begun.elapsed());
    let CallError::Disconnected { reason, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(reason, Reason::Exited { .. }), "{reason:?}");
    let announced = heard(&mut events, end_of_worker).await;
    assert!(matches!(announced, Reason::Exited { .. }), "{announced:?}");
    network.stop().await;
}

#[tokio::test]
async fn a_killed_process_is_announced_once_with_the_reason() {
    let network = network(2).await;
    let mut events = network.head().events();
    network.head().send_recv::<u32>(WORKER, "pid", ()).await.unwrap();
    network.workers()[0].kill();
    let reason = heard(&mut events, end_of_worker).await;
    assert!(matches!(reason, Reason::Exited { .. }), "{reason:?}");
    // What comes after is in order behind it.
    network.workers()[1].kill();
    let other = heard(&mut events, |event| match event {
        Event::Disconnected { uid, .. } => Some(uid),
        _ => None,
    });
    assert_eq!(other.await, "worker:1");
    network.stop().await;
}

#[tokio::test]
async fn a_process_that_stands_still_for_three_seconds_is_only_late() {
    let network = network(1).await;
    let mut events = network.head().events();
    let pid: u32 = network.head().send_recv(WORKER, "pid", ()).await.unwrap();
    signal(pid, Signal::STOP);
    let until = tokio::time::Instant::now() + Duration::from_secs(3);
    let call = network.head().send(WORKER, "pid", ()).reply::<u32>().await.unwrap();
    while let Ok(event) = timeout_at(until, events.next()).await {
        assert!(matches!(event, Some(Event::Suspected { .. } | Event::Connected { .. })), "{event:?}");
    }
    signal(pid, Signal::CONT);
    assert_eq!(timeout(PATIENCE, call).await.unwrap().unwrap(), pid);
    network.stop().await;
}

#[tokio::test]
async fn a_process_that_stands_still_for_longer_is_unreachable_and_comes_back() {
    let network = network(1).await;
    let mut events = network.head().events();
    let pid: u32 = network.head().send_recv(WORKER, "pid", ()).await.unwrap();
    let call = network.head().send(WORKER, "never", ()).reply::<()>().await.unwrap();
    signal(pid, Signal::STOP);
    let reason = heard(&mut events, |event| match event {
        Event::Disconnected { uid, .. } if uid == WORKER => panic!("it is not dead"),
        Event::Unreachable { uid, reason } if uid == WORKER => Some(reason),
        _ => None,
    });
    assert!(matches!(reason.await, Reason::Unreachable { .. }));
    let error = timeout(PATIENCE, call).await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::Disconnected { .. }), "{error:?}");
    assert!(network.head().connected(WORKER), "it is out of reach and not dead");
    signal(pid, Signal::CONT);
    assert_eq!(
        timeout(PATIENCE, network.head().send_recv::<u32>(WORKER, "pid", ())).await.unwrap().unwrap(),
        pid
    );
    network.stop().await;
}

#[test]
fn worker_process() {
    worker(|_: &Uid| methods()).unwrap();
}

fn methods() -> Methods {
    Methods::new()
        .method("pid", |_, _| async { Ok(std::process::id()) })
        .method("never", |_, _| std::future::pending::<Result<(), HandlerError>>())
        .method("fork", |_, _| async { Ok(fork()) })
}

/// Starts a process that inherits every socket of this one, as a forked child does.
fn fork() -> u32 {
    let own = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let mut kept = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        let entry = entry.unwrap();
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        if target.to_string_lossy().starts_with("socket:") {
            let number = entry.file_name().to_str().unwrap().parse().unwrap();
            let socket = pidfd_getfd(&own, number, PidfdGetfdFlags::empty()).unwrap();
            fcntl_setfd(&socket, FdFlags::empty()).unwrap();
            kept.push(socket);
        }
    }
    assert!(!kept.is_empty());
    let mut child = Command::new("sleep");
    child.arg("60").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    child.spawn().unwrap().id()
}
