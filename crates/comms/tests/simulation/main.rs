//! Whole managers on a virtual clock: four runtimes talk for sixty seconds while connections are cut, held up and slowed
//! down, clocks jump, and runtimes are killed, vanish, leave and come back. After every step every invariant is checked.
//!
//! Each seed is one course. `MOSAIC_SEEDS` says how many are taken, `MOSAIC_SEED` which is the first: that of a failure
//! is printed with the command that takes the same course again, and its log.

#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod course;
mod faults;
mod invariants;
mod plant;
mod record;
mod traffic;
mod world;

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use plant::Plant;

/// Courses where nothing else is asked for: an unoptimised build takes a second for each.
const SEEDS: u64 = 6;

/// Seeds whose courses are taken again.
const REPLAYS: u64 = 4;

thread_local! {
    /// What has panicked in the course that this thread takes, a task of ours or of the library.
    static PANICKED: RefCell<Option<String>> = const { RefCell::new(None) };
}

pub(crate) fn take_panic() -> Option<String> {
    PANICKED.take()
}

/// A panic in a task ends that task alone: it is kept for whoever looks.
fn keep_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.to_string();
        eprintln!("{text}");
        PANICKED.set(Some(text));
    }));
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Takes the courses of these seeds, on as many threads as there are cores.
fn take(seeds: std::ops::Range<u64>) {
    keep_panics();
    show_all();
    let (next, messages, lives) = (AtomicU64::new(seeds.start), AtomicUsize::new(0), AtomicUsize::new(0));
    let failed = Mutex::new(None);
    let work = || {
        while failed.lock().is_none() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let outcome = course::run(seed, Plant::Nothing);
            messages.fetch_add(outcome.messages, Ordering::Relaxed);
            lives.fetch_add(outcome.lives, Ordering::Relaxed);
            if outcome.broken.is_some() {
                failed.lock().get_or_insert((seed, outcome));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    if let Some((seed, outcome)) = failed.into_inner() {
        outcome.log.iter().for_each(|line| eprintln!("{line}"));
        let (name, what) = outcome.broken.unwrap();
        panic!(
            "seed {seed}: {name}: {what}\nthis course again: cargo xtask simulate --seeds 1 --seed {seed}"
        );
    }
    let (messages, lives) = (messages.into_inner(), lives.into_inner());
    eprintln!("seeds {seeds:?}: {messages} messages, {lives} lives, and every invariant holds");
}

/// With `RUST_LOG`, the library's own log goes between the lines of the course's. Requests have no spans: they would say so
/// to each other, and a course is the same whether it is logged or not.
fn show_all() {
    let no_spans = "mosaic_comms::trace=info".parse().unwrap();
    let filter = tracing_subscriber::EnvFilter::from_default_env().add_directive(no_spans);
    let shown = tracing_subscriber::fmt().with_env_filter(filter).without_time().with_writer(std::io::stderr);
    // Another test may have done it.
    let _ = shown.try_init();
}

#[test]
fn every_invariant_holds_after_every_step() {
    let (first, count) = (number("MOSAIC_SEED").unwrap_or(0), number("MOSAIC_SEEDS").unwrap_or(SEEDS));
    take(first..first + count);
}

/// Seeds that have broken something, and what it was. What they do changes with what is drawn in a course.
const FOUND: [(u64, &str); 8] = [
    (
        13,
        "a monitor that was out of reach was not known to be another when it was back, and was dialled for ever",
    ),
    (78, "who looked for a monitor that had left gave up until its time was over"),
    (6, "who had waited for a dead one's uid was let in and took the refusals before that for an answer"),
    (159, "who refused a newcomer reported its death"),
    (
        1,
        "a monitor that dialled while it stopped was taken for the next one, and nobody looked for that any more",
    ),
    (531, "what a runtime had given up before it vanished was taken for given up by its next life"),
    (1869, "whose hand was held up was told to be gone where it was out of reach"),
    (556, "a call waited beyond its deadline for the monitor's word on where its peer was"),
];

#[test]
fn what_was_found_is_not_found_again() {
    for (seed, what) in FOUND {
        let outcome = course::run(seed, Plant::Nothing);
        assert_eq!(outcome.broken, None, "seed {seed}, where {what}");
    }
}

/// The log of a course, which must be the same whenever and beside whatever it is taken.
fn log_of(seed: u64) -> Vec<String> {
    course::run(seed, Plant::Nothing).log
}

#[test]
fn a_course_follows_from_its_seed() {
    for seed in 0..number("MOSAIC_REPLAYS").unwrap_or(REPLAYS) {
        let other = std::thread::spawn(move || log_of(seed));
        let log = log_of(seed);
        let (again, other) = (log_of(seed), other.join().unwrap());
        for repeated in [again, other] {
            let differs = log.iter().zip(&repeated).find(|(one, other)| one != other);
            assert_eq!(differs, None, "seed {seed}");
            assert_eq!(log.len(), repeated.len(), "seed {seed}");
        }
    }
}

/// Each planted fault, and the invariant that must see it.
const PLANTED: [(Plant, &str); 17] = [
    (Plant::ReceivedUnsent, "acknowledged_is_received_is_sent"),
    (Plant::StartedTwice, "each_message_starts_at_most_once"),
    (Plant::Swapped, "messages_start_in_order"),
    (Plant::Forgotten, "nothing_is_lost"),
    (Plant::BeyondTheWindow, "what_is_under_way_is_within_the_window"),
    (Plant::Hanging, "no_call_hangs"),
    (Plant::Outliving, "no_call_outlives_its_peer"),
    (Plant::SpareConnections, "there_is_one_connection_a_lane"),
    (Plant::OldSession, "an_ended_session_never_comes_back"),
    (Plant::BeyondTheBudget, "what_is_lent_is_within_the_budget"),
    (Plant::Slander, "nobody_is_dead_by_mistake"),
    (Plant::SecretHold, "nobody_is_unreachable_without_cause"),
    (Plant::Undead, "every_end_is_heard_in_time"),
    (Plant::NotRun, "a_call_tells_the_truth"),
    (Plant::ShorterDeadline, "deadlines_are_kept"),
    (Plant::ToldTwice, "everything_is_told_once"),
    (Plant::LyingHook, "hooks_hear_what_events_say"),
];

#[test]
fn every_invariant_sees_the_fault_that_is_planted_for_it() {
    let broken = |plant, seed| course::run(seed, plant).broken.map(|(name, _)| name);
    let unseen: Vec<_> = PLANTED
        .into_iter()
        .filter(|&(plant, invariant)| !(0..4).any(|seed| broken(plant, seed) == Some(invariant)))
        .map(|(plant, invariant)| (plant, invariant, [0, 1, 2, 3].map(|seed| broken(plant, seed))))
        .collect();
    assert!(unseen.is_empty(), "not seen, and what was seen in their place: {unseen:#?}");
    let all: Vec<_> = invariants::INVARIANTS.iter().map(|(name, _)| *name).collect();
    assert_eq!(all, PLANTED.map(|(_, name)| name), "every invariant has its fault");
}
