//! More than anybody can take: receivers that stand still, runtimes that flood each other, with the memory measured.
//!
//! The processes are this program again, told to run the test at the end. Who floods whom without a process is on a
//! virtual clock: what would hang ends by its limit.

#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use mosaic_comms::local::{Network, worker};
use mosaic_comms::{Blob, CallError, CommsManager, Config, Context, HandlerError, Methods, kwargs};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

const MIB: u64 = 1 << 20;

// ---- a receiver that stands still ----

/// What a process has of memory now and had at most, in bytes.
fn memory(pid: u32) -> [u64; 2] {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    ["VmRSS:", "VmHWM:"].map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    })
}

#[test]
fn a_flood_of_a_receiver_that_stands_still_stays_within_its_window() {
    const SIZE: usize = 64 * 1024;
    let executor = tokio::runtime::Runtime::new().unwrap();
    executor.block_on(async {
        let builder = Network::builder().workers(1);
        let network = builder.arguments(["--exact", "worker_process", "--nocapture"]).start().await.unwrap();
        let (head, pid) = (network.head(), network.workers()[0].pid());
        // What is touched once for the first messages is no growth.
        head.send_recv::<u64>("worker:0", "take", kwargs! { data: Blob::from(vec![0_u8; SIZE]) })
            .await
            .unwrap();
        let before = memory(std::process::id());
        let signal = |signal| kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
        signal(Signal::STOP);
        let mut accepted = 0_u64;
        // It stands still for less than the time after which it is out of reach.
        let flood = async {
            loop {
                let note = head.send("worker:0", "take", kwargs! { data: Blob::from(vec![1_u8; SIZE]) });
                note.await.unwrap();
                accepted += 1;
            }
        };
        let _ = timeout(Duration::from_secs(2), flood).await;
        let grown = memory(std::process::id())[1].saturating_sub(before[0]);
        signal(Signal::CONT);
        let taken = head.send_recv::<u64>("worker:0", "taken", ());
        assert_eq!(timeout(PATIENCE, taken.into_future()).await.unwrap().unwrap(), accepted + 1);
        let receiver = memory(pid)[1];
        eprintln!(
            "{} KiB were accepted; the sender grew by {} MiB, the receiver had {} MiB at most",
            accepted * SIZE as u64 / 1024,
            grown / MIB,
            receiver / MIB
        );
        assert!(accepted * SIZE as u64 <= 16 * MIB, "{accepted} messages were accepted");
        assert!(grown < 64 * MIB && receiver < 128 * MIB, "{grown} and {receiver} bytes");
        network.stop().await;
    });
}

/// Is not a test: what the worker runs.
#[test]
fn worker_process() {
    worker(|_| {
        let taken = Arc::new(AtomicU64::new(0));
        let told = taken.clone();
        Methods::new()
            .method("take", move |_, _| {
                let taken = taken.fetch_add(1, Ordering::AcqRel) + 1;
                async move { Ok(taken) }
            })
            .method("taken", move |_, _| {
                let told = told.load(Ordering::Acquire);
                async move { Ok(told) }
            })
    })
    .unwrap();
}

// ---- runtimes that flood each other ----

fn simulate<F: Future>(scenario: impl FnOnce() -> F) -> F::Output {
    let executor =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    executor.block_on(scenario())
}

/// Calls itself on at the next of the ring until it has gone far enough; everything carries `size` bytes.
fn ring() -> Methods {
    Methods::new().method("pass", |args, call| async move {
        let (steps, ring) = (args.get::<usize>("steps")?, args.get::<Vec<String>>("ring")?);
        let reply = args.get::<usize>("reply")?;
        let here = ring.iter().position(|uid| **uid == **call.comms().uid()).unwrap();
        if steps > 0 {
            let next = ring[(here + 1) % ring.len()].clone();
            let args =
                kwargs! { steps: steps - 1, ring: ring, reply: reply, data: args.get::<Blob>("data")? };
            call.comms().send_recv::<Blob>(next, "pass", args).await.map_err(HandlerError::from)?;
        }
        Ok(Blob::from(vec![2_u8; reply]))
    })
}

struct Flood {
    uids: &'static [&'static str],
    calls: usize,
    steps: usize,
    size: usize,
    reply: usize,
    budget: u64,
    /// How many handlers each runs at most.
    handlers: usize,
}

/// Everybody calls its neighbour as often as it is said, all at once. Gives the outcomes, and checks that nobody has
/// lent more than its budget.
async fn flood(flood: Flood) -> Vec<Result<(), CallError>> {
    let network = Context::simulated(1);
    let config = |context| Config::default().context(context);
    let monitor = CommsManager::start("monitor", Methods::new(), config(network.clone())).await.unwrap();
    let mut all = Vec::new();
    for uid in flood.uids {
        let config =
            config(network.simulated_beside(flood.budget)).monitor(monitor.address(), monitor.port());
        let config = config.running_handlers(flood.handlers);
        all.push(CommsManager::start(uid, ring(), config).await.unwrap());
    }
    for comms in &all {
        for uid in flood.uids {
            comms.wait_for(*uid).await.unwrap();
        }
    }
    let mut calls = Vec::new();
    for (here, comms) in all.iter().enumerate() {
        let next = flood.uids[(here + 1) % flood.uids.len()];
        for _ in 0..flood.calls {
            let data = Blob::from(vec![1_u8; flood.size]);
            let args = kwargs! { steps: flood.steps, ring: flood.uids, reply: flood.reply, data: data };
            let call = comms.send_recv::<Blob>(next, "pass", args);
            calls.push(async move { call.await.map(drop) });
        }
    }
    let outcomes = timeout(Duration::from_secs(600), join_all(calls)).await.unwrap();
    for comms in &all {
        assert!(comms.context().lent() <= flood.budget, "{} has lent too much", comms.uid());
        comms.inspect();
        comms.stop().await;
    }
    monitor.stop().await;
    outcomes
}

fn all_succeed(outcomes: Vec<Result<(), CallError>>) {
    for outcome in outcomes {
        outcome.unwrap();
    }
}

#[test]
fn two_that_flood_each_other_with_nested_calls_get_on() {
    let uids = &["a", "b"];
    let calls = Flood { uids, calls: 300, steps: 3, size: 2000, reply: 10, budget: 8 << 20, handlers: 4096 };
    all_succeed(simulate(|| flood(calls)));
}

#[test]
fn three_that_flood_each_other_in_a_cycle_get_on() {
    let uids = &["a", "b", "c"];
    let calls =
        Flood { uids, calls: 200, steps: 5, size: 2000, reply: 2000, budget: 8 << 20, handlers: 4096 };
    all_succeed(simulate(|| flood(calls)));
}

/// Nested calls may be refused, which comes back as the error of the handler that made them; but everything ends.
fn all_end(outcomes: Vec<Result<(), CallError>>) {
    for outcome in outcomes {
        match outcome {
            Ok(()) => {}
            Err(CallError::Remote(error)) => assert!(error.message.contains("overloaded"), "{error}"),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn two_whose_handlers_all_wait_for_each_other_get_on_though_their_windows_are_full() {
    let uids = &["a", "b"];
    let calls = Flood { uids, calls: 300, steps: 3, size: 10_000, reply: 10, budget: 8 << 20, handlers: 4 };
    all_end(simulate(|| flood(calls)));
}

#[test]
fn three_whose_handlers_all_wait_for_the_next_get_on_though_their_windows_are_full() {
    let uids = &["a", "b", "c"];
    let calls = Flood { uids, calls: 300, steps: 5, size: 300_000, reply: 10, budget: 2 << 20, handlers: 4 };
    all_end(simulate(|| flood(calls)));
}

#[test]
fn large_replies_get_on_against_large_requests() {
    let uids = &["a", "b"];
    let calls =
        Flood { uids, calls: 30, steps: 0, size: 900_000, reply: 900_000, budget: 4 << 20, handlers: 4096 };
    all_succeed(simulate(|| flood(calls)));
}

#[test]
fn a_crowd_with_one_large_message_each_takes_turns_at_the_budget() {
    const CROWD: usize = 1000;
    const SIZE: usize = 500_000;
    simulate(|| async {
        let network = Context::simulated(2);
        let budget = 4 << 20;
        let config = Config::default().context(network.simulated_beside(budget));
        let monitor = CommsManager::start("monitor", ring(), config).await.unwrap();
        let mut crowd = Vec::new();
        for number in 0..CROWD {
            let config = Config::default().context(network.simulated_beside(1 << 30));
            let config = config.monitor(monitor.address(), monitor.port());
            crowd.push(CommsManager::start(format!("w{number}"), Methods::new(), config).await.unwrap());
        }
        let calls = crowd.iter().map(|comms| {
            let data = Blob::from(vec![1_u8; SIZE]);
            let args = kwargs! { steps: 0, ring: ["monitor"], reply: 8, data: data };
            let call = comms.send_recv::<Blob>("monitor", "pass", args);
            let budget_of = monitor.context();
            async move {
                let outcome = call.await.map(drop);
                assert!(budget_of.lent() <= budget, "more is lent than there is");
                outcome
            }
        });
        all_succeed(timeout(Duration::from_secs(600), join_all(calls)).await.unwrap());
        join_all(crowd.iter().map(CommsManager::stop)).await;
        monitor.stop().await;
    });
}
