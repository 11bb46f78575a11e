//! A network of processes under random faults, for as many minutes as one likes: `cargo xtask chaos --minutes 5`.
//!
//! In rounds: a head sends numbered messages to workers and calls them, while they are stopped for up to 2.5 s, cut off
//! again and again (their connections led through a proxy), kept computing on all threads, and some of them killed. What
//! must not happen is counted: calls that hang, messages lost or doubled, workers declared dead that are not.

#![allow(clippy::print_stdout, reason = "it is a program, and this is its report")]
#![allow(clippy::unwrap_used, reason = "what can't be set up ends the program")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mosaic_comms::local::{Network, Worker, worker};
use mosaic_comms::{CommsManager, Event, HandlerError, Methods, Reason, kwargs};
use mosaic_testkit::{Proxy, Which};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{sleep, timeout};

const WORKERS: usize = 6;

/// How many of them are killed in a round.
const KILLED: usize = 2;

/// How long a round goes on before the killing.
const ROUND: Duration = Duration::from_secs(8);

/// A call that takes longer hangs: no fault lasts as long.
const HANGS_AFTER: Duration = Duration::from_secs(30);

/// What was counted over all rounds.
#[derive(Default)]
struct Tally {
    calls: AtomicU64,
    hung: AtomicU64,
    lost: AtomicU64,
    doubled: AtomicU64,
    false_deaths: AtomicU64,
    failed: AtomicU64,
    faults: AtomicU64,
    detections: Mutex<Vec<Duration>>,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn main() {
    worker(|_| methods()).unwrap();
    let mut arguments = std::env::args().skip(1);
    let minutes: f64 = arguments.next().map_or(1.0, |minutes| minutes.parse().unwrap());
    let seed: u64 = arguments.next().map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("{minutes} minutes from seed {seed}");
    let executor = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let tally = Arc::new(Tally::default());
    let until = Instant::now() + Duration::from_secs_f64(60.0 * minutes);
    let mut rounds = 0;
    while Instant::now() < until {
        executor.block_on(round(seed.wrapping_add(rounds), &tally));
        rounds += 1;
    }
    let harmless = report(rounds, &tally);
    std::process::exit(if harmless { 0 } else { 1 });
}

/// Prints what was counted; false if something has happened that must not.
fn report(rounds: u64, tally: &Tally) -> bool {
    let counters = [
        ("hung", &tally.hung),
        ("lost", &tally.lost),
        ("doubled or out of order", &tally.doubled),
        ("false deaths", &tally.false_deaths),
        ("failed", &tally.failed),
    ];
    println!("{rounds} rounds, {} faults", tally.faults.load(Ordering::Relaxed));
    println!("calls: {}", tally.calls.load(Ordering::Relaxed));
    for (name, counter) in counters {
        println!("{name}: {}", counter.load(Ordering::Relaxed));
    }
    let mut detections = tally.detections.lock();
    detections.sort_unstable();
    if let (Some(middle), Some(last)) = (detections.get(detections.len() / 2), detections.last()) {
        println!("deaths: {}, detected after {middle:.1?} (median), {last:.1?} (longest)", detections.len());
    }
    println!("peak memory of the head: {}", peak_memory());
    counters.iter().all(|(_, counter)| counter.load(Ordering::Relaxed) == 0)
}

fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.map_or_else(|| "unknown".to_owned(), |peak| peak.trim().to_owned())
}

/// What a worker has been sent, and what became of it.
struct Target {
    worker: Worker,
    noted: AtomicU32,
    killed: Mutex<Option<Instant>>,
}

async fn round(seed: u64, tally: &Arc<Tally>) {
    let network = Network::builder().workers(WORKERS).start().await.unwrap();
    let head = network.head().clone();
    let targets: Vec<Arc<Target>> = network
        .workers()
        .iter()
        .map(|worker| {
            Arc::new(Target { worker: worker.clone(), noted: AtomicU32::new(0), killed: Mutex::default() })
        })
        .collect();
    let watching = tokio::spawn(watch(head.clone(), targets.clone(), tally.clone()));
    let calling: Vec<_> = targets
        .iter()
        .map(|target| tokio::spawn(call(head.clone(), target.clone(), tally.clone())))
        .collect();
    let mut random = fastrand::Rng::with_seed(seed);
    let harming = targets.iter().map(|target| harm(&head, target, random.fork(), tally));
    futures_util::future::join_all(harming).await;
    for target in &targets[..KILLED] {
        *target.killed.lock() = Some(Instant::now());
        target.worker.kill();
    }
    // The dead end their callers; the others are told by a last number.
    for (number, task) in calling.into_iter().enumerate() {
        if number >= KILLED {
            task.abort();
        }
        let _ = task.await;
    }
    for target in &targets[KILLED..] {
        check(&head, target, tally).await;
    }
    network.stop().await;
    watching.await.unwrap();
}

/// Sends numbered messages and calls until the worker has been killed.
async fn call(head: CommsManager, target: Arc<Target>, tally: Arc<Tally>) {
    let uid = target.worker.uid();
    loop {
        let number = target.noted.fetch_add(1, Ordering::AcqRel);
        let note = async {
            head.send(uid, "note", kwargs! { number: number }).await?;
            head.send_recv::<u32>(uid, "echo", kwargs! { number: number }).await
        };
        count(&tally.calls);
        match timeout(HANGS_AFTER, note).await {
            Ok(Ok(echo)) => assert_eq!(echo, number),
            Ok(Err(_)) if target.killed.lock().is_some() => return,
            Ok(Err(error)) => {
                println!("{uid}: {error}");
                return count(&tally.failed);
            }
            Err(_) => {
                println!("{uid}: a call hangs");
                return count(&tally.hung);
            }
        }
    }
}

/// Harms one worker for a round.
async fn harm(head: &CommsManager, target: &Target, mut random: fastrand::Rng, tally: &Tally) {
    let begun = Instant::now();
    let (uid, pid) = (target.worker.uid(), Pid::from_raw(target.worker.pid().cast_signed()).unwrap());
    let port = head.uid_port(uid).unwrap();
    let mut proxies = Vec::new();
    while begun.elapsed() < ROUND {
        count(&tally.faults);
        match random.u32(0..5) {
            0 => {
                kill_process(pid, Signal::STOP).unwrap();
                sleep(Duration::from_millis(random.u64(10..2500))).await;
                kill_process(pid, Signal::CONT).unwrap();
                // Two stops without an answer between them are one, of up to 5 s: then it is unreachable rightly.
                let _ = timeout(HANGS_AFTER, head.ping(uid)).await;
            }
            1 => {
                for _ in 0..8 {
                    // Whether it is accepted is the callers' matter.
                    let _ = head.send(uid, "compute", kwargs! { milliseconds: random.u64(10..300) }).await;
                }
            }
            2 => {
                let proxy = Proxy::unix(port).await;
                let _ = head.connect_send(uid, "127.0.0.1", proxy.port()).await;
                proxies.push(proxy);
            }
            _ => proxies.iter().for_each(|proxy| proxy.cut(Which::All)),
        }
        sleep(Duration::from_millis(random.u64(0..200))).await;
    }
    let _ = head.connect_send(uid, "127.0.0.1", port).await;
}

/// Hears who is gone until the head stops.
async fn watch(head: CommsManager, targets: Vec<Arc<Target>>, tally: Arc<Tally>) {
    let mut events = head.events();
    while let Some(event) = events.next().await {
        let (uid, reason) = match event {
            Event::Disconnected { uid, reason } if !reason.is_departure() => (uid, reason),
            Event::Unreachable { uid, reason } => (uid, reason),
            _ => continue,
        };
        let killed = targets
            .iter()
            .find(|target| *target.worker.uid() == uid)
            .and_then(|target| *target.killed.lock());
        match killed {
            Some(at) if matches!(reason, Reason::Exited { .. } | Reason::Refused { .. }) => {
                tally.detections.lock().push(at.elapsed());
            }
            _ => {
                println!("{uid}: {reason}, after:");
                head.records()
                    .iter()
                    .filter(|record| record.peer == uid)
                    .for_each(|record| println!("  {record}"));
                count(&tally.false_deaths);
            }
        }
    }
}

/// Whether a worker that lives has had every message once, in order.
async fn check(head: &CommsManager, target: &Target, tally: &Tally) {
    let uid = target.worker.uid();
    // A caller that was ended may have drawn its number and not sent it.
    let sent = target.noted.load(Ordering::Acquire);
    let noted = head.send_recv::<(u32, u32)>(uid, "noted", ());
    match timeout(HANGS_AFTER, noted).await {
        Ok(Ok((count_noted, strange))) => {
            tally.lost.fetch_add(u64::from(sent.saturating_sub(count_noted + 1)), Ordering::Relaxed);
            tally.doubled.fetch_add(u64::from(strange), Ordering::Relaxed);
        }
        Ok(Err(error)) => {
            println!("{uid}: {error}");
            count(&tally.failed);
        }
        Err(_) => count(&tally.hung),
    }
}

fn methods() -> Methods {
    // The number that comes next, and how often another one came.
    let noted = Arc::new(Mutex::new((0_u32, 0_u32)));
    let told = noted.clone();
    Methods::new()
        .method("note", move |args, _| {
            let number = args.get::<u32>("number");
            let noted = noted.clone();
            async move {
                let (number, mut noted) = (number?, noted.lock());
                noted.1 += u32::from(number != noted.0);
                noted.0 = number + 1;
                Ok(())
            }
        })
        .method("noted", move |_, _| {
            let told = *told.lock();
            async move { Ok(told) }
        })
        .method("echo", |args, _| async move { args.get::<u32>("number").map_err(HandlerError::from) })
        .method("compute", |args, _| async move {
            // It blocks a thread of the executor, as no handler should.
            let until = Instant::now() + Duration::from_millis(args.get("milliseconds")?);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
            Ok(())
        })
}
