//! Two processes, each with a network of its own, joined by a virtual cable that is unplugged: packets are lost and no
//! connection is closed. Where the system does not let a test make network namespaces, it says so and does nothing.
//!
//! The processes are this program again, told to run the tests at the end, which do nothing otherwise.

#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]
#![expect(clippy::print_stdout, reason = "what is skipped and what was measured is of interest")]

use std::future::IntoFuture;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use mosaic_comms::{
    CallError, CommsManager, Config, Event, Events, HandlerError, Methods, Reason, UnixSockets, kwargs,
};
use tokio::time::{timeout, timeout_at};

/// How long anything may take before a test fails instead of waiting: long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

const HEAD: &str = "10.213.7.1";
const WORKER: &str = "10.213.7.2";

/// What the processes know of each other before they are connected.
const KEY_FILE: &str = "NAMESPACES_KEY_FILE";

fn ip(arguments: &str) -> bool {
    Command::new("ip").args(arguments.split(' ')).status().is_ok_and(|status| status.success())
}

/// Runs one of the tests below in a network namespace of its own.
fn unshared(flags: &str, test: &str) -> Command {
    let mut command = Command::new("unshare");
    command.arg(flags).arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]);
    command
}

#[test]
fn calls_outlive_an_unplugged_cable_for_a_while_and_then_the_peer_is_unreachable_until_it_is_back() {
    let possible = "ip link add here type veth peer name there && command -v nsenter";
    let tried = Command::new("unshare").args(["-rn", "sh", "-c", possible]).output();
    if !tried.as_ref().is_ok_and(|output| output.status.success()) {
        return println!("skipped: no network namespaces and cables can be made here: {tried:?}");
    }
    let keys = tempfile::tempdir().unwrap();
    let ended = unshared("-rn", "head_process").env(KEY_FILE, keys.path().join("job.key")).status().unwrap();
    assert!(ended.success(), "{ended}");
}

/// The other process, with the other end of the cable.
struct Worker {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Worker {
    fn start() -> Worker {
        let mut command = unshared("-n", "worker_process");
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let mut worker = Worker { process, input, output: BufReader::new(output) };
        worker.hear("unshared");
        worker
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// Waits for a line that ends so: the test harness may have put something before it.
    fn hear(&mut self, wanted: &str) {
        let mut line = String::new();
        while !line.trim_end().ends_with(wanted) {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the worker has ended before `{wanted}`");
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn config(address: &str, key_file: &Path) -> Config {
    Config::default().address(address).key_file(key_file).unix_sockets(UnixSockets::Avoid)
}

/// Is not a test: what the head runs, in a namespace of its own.
#[test]
fn head_process() {
    let Some(key_file) = std::env::var_os(KEY_FILE) else { return };
    let mut worker = Worker::start();
    assert!(ip("link add here type veth peer name there"));
    assert!(ip(&format!("link set there netns {}", worker.process.id())));
    assert!(ip(&format!("addr add {HEAD}/24 dev here")) && ip("link set lo up") && ip("link set here up"));
    worker.tell("plugged");
    worker.hear("configured");
    let executor = tokio::runtime::Runtime::new().unwrap();
    executor.block_on(async {
        let head =
            CommsManager::start("monitor", Methods::new(), config(HEAD, key_file.as_ref())).await.unwrap();
        worker.tell(&head.port().to_string());
        timeout(PATIENCE, head.wait_for("worker").into_future()).await.unwrap().unwrap();
        let mut events = head.events();
        assert_eq!(echo(&head).await, 7);
        assert_eq!(head.uid_address("worker").unwrap(), WORKER);
        outlives_a_second(&head, &mut events).await;
        is_unreachable_and_comes_back(&head, &mut events).await;
        head.stop().await;
    });
}

async fn echo(head: &CommsManager) -> u32 {
    let call = head.send_recv::<u32>("worker", "echo", kwargs! { n: 7 }).into_future();
    timeout(PATIENCE, call).await.unwrap().unwrap()
}

async fn outlives_a_second(head: &CommsManager, events: &mut Events) {
    assert!(ip("link set here down"));
    let until = tokio::time::Instant::now() + Duration::from_secs(1);
    let call = head.send("worker", "echo", kwargs! { n: 3 }).reply::<u32>().await.unwrap();
    while let Ok(event) = timeout_at(until, events.next()).await {
        assert!(matches!(event, Some(Event::Suspected { .. } | Event::Connected { .. })), "{event:?}");
    }
    assert_eq!(head.link_state("worker").unwrap().calls, 1, "the cable was unplugged");
    assert!(ip("link set here up"));
    assert_eq!(timeout(PATIENCE, call).await.unwrap().unwrap(), 3);
}

async fn is_unreachable_and_comes_back(head: &CommsManager, events: &mut Events) {
    let call = head.send("worker", "never", ()).reply::<()>().await.unwrap();
    assert_eq!(echo(head).await, 7);
    assert!(ip("link set here down"));
    let begun = Instant::now();
    let error = timeout(PATIENCE, call).await.unwrap().unwrap_err();
    let took = begun.elapsed();
    println!("unreachable {took:?} after the cable was unplugged");
    let CallError::Disconnected { reason: Reason::Unreachable { .. }, .. } = error else { panic!("{error}") };
    assert!(took > Duration::from_secs(3), "{took:?}");
    loop {
        match timeout(PATIENCE, events.next()).await.unwrap().unwrap() {
            Event::Unreachable { uid, .. } if uid == "worker" => break,
            Event::Disconnected { .. } => panic!("it is not dead"),
            _ => {}
        }
    }
    assert!(head.connected("worker"), "it is out of reach and not dead");
    assert!(ip("link set here up"));
    assert_eq!(echo(head).await, 7);
}

/// Is not a test: what the worker runs, in another namespace.
#[test]
fn worker_process() {
    let Some(key_file) = std::env::var_os(KEY_FILE) else { return };
    let mut lines = std::io::stdin().lines();
    println!("unshared");
    assert_eq!(lines.next().unwrap().unwrap(), "plugged");
    assert!(
        ip(&format!("addr add {WORKER}/24 dev there")) && ip("link set lo up") && ip("link set there up")
    );
    println!("configured");
    let port = lines.next().unwrap().unwrap().parse().unwrap();
    let methods = Methods::new()
        .method("echo", |args, _| async move { Ok(args.get::<u32>("n")?) })
        .method("never", |_, _| std::future::pending::<Result<(), HandlerError>>());
    let executor = tokio::runtime::Runtime::new().unwrap();
    executor.block_on(async {
        let config = config(WORKER, key_file.as_ref()).monitor(HEAD, port);
        let worker = CommsManager::start("worker", methods, config).await.unwrap();
        worker.wait().await;
    });
}
