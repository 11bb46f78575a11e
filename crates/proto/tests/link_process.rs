//! Two links joined in memory: what the end of the peer's process proves, and what its life excuses.

mod pair;

use std::time::Duration;

use mosaic_proto::link::{Evidence, Execution, Verdict};
use mosaic_proto::wire::Lane;
use mosaic_proto::{Instance, Reason};
use pair::{A, B, Ended, Fate, Pair};

const ENDED: Evidence = Evidence::ProcessEnded { pid: 4711 };

fn exited() -> Reason {
    Reason::Exited { detail: "process 4711".into() }
}

fn tell(pair: &mut Pair, evidence: Evidence) {
    let (now, instance) = (pair.now, pair.sides[B].instance);
    pair.sides[A].link.handle_evidence(now, instance, evidence);
    pair.settle();
}

#[test]
fn a_process_that_ended_is_dead_at_once_though_its_sockets_stay_open() {
    let mut pair = Pair::connected();
    pair.sides[B].answers = None;
    let tag = pair.call(A, 8);
    pair.run();
    pair.sides[B].asleep = true;
    tell(&mut pair, ENDED);
    assert_eq!(pair.sides[A].verdict, None, "what it wrote last may still come");
    pair.run_for(Duration::from_millis(20));
    assert_eq!(pair.sides[A].verdict, Some((Verdict::Dead, exited())));
    let ended = Ended::Disconnected(exited(), Execution::MayHaveRun);
    assert_eq!(pair.sides[A].outcome(tag), Some(&ended));
}

#[test]
fn what_a_process_wrote_last_is_heard_before_its_end() {
    let mut pair = Pair::connected();
    let before = pair.one_way(B, 8);
    pair.run();
    pair.conditions.delay[B] = Duration::from_millis(5);
    let tags: Vec<u64> = [before].into_iter().chain((0..20).map(|_| pair.one_way(B, 10_000))).collect();
    pair.leave(B);
    tell(&mut pair, ENDED);
    pair.run();
    assert_eq!(pair.sides[A].ordered(), tags);
    assert!(matches!(pair.sides[A].verdict, Some((Verdict::Left, _))), "{:?}", pair.sides[A].verdict);
}

#[test]
fn the_end_of_connections_and_process_needs_no_dial() {
    let mut pair = Pair::connected();
    pair.conditions.fate = [Fate::Silence; 2];
    Lane::ALL.into_iter().for_each(|lane| assert!(pair.cut(lane, [0, 0]) || lane == Lane::Data));
    pair.run_for(Duration::from_millis(2));
    tell(&mut pair, ENDED);
    assert_eq!(pair.sides[A].verdict, Some((Verdict::Dead, exited())));
}

#[test]
fn who_is_unreachable_and_ends_is_dead() {
    let mut pair = Pair::connected();
    pair.conditions.paused = [[true; 2]; 2];
    pair.conditions.fate = [Fate::Silence; 2];
    pair.run_for(Duration::from_secs(6));
    assert_eq!(pair.sides[A].unreachable.len(), 1);
    tell(&mut pair, ENDED);
    assert_eq!(pair.sides[A].verdict, Some((Verdict::Dead, exited())));
}

#[test]
fn the_end_of_another_life_proves_nothing() {
    let mut pair = Pair::connected();
    let now = pair.now;
    pair.sides[A].link.handle_evidence(now, Instance(77), ENDED);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.sides[A].verdict, None);
}

#[test]
fn a_process_that_runs_may_be_slow_to_come_back() {
    let mut pair = Pair::connected();
    tell(&mut pair, Evidence::ProcessRuns);
    pair.conditions.fate = [Fate::Refused; 2];
    Lane::ALL.into_iter().for_each(|lane| assert!(pair.cut(lane, [0, 0]) || lane == Lane::Data));
    pair.sides[B].asleep = true;
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.sides[A].verdict, None, "two refusals are no proof");
    pair.sides[B].asleep = false;
    pair.conditions.fate = [Fate::Connects; 2];
    pair.run_for(Duration::from_secs(2));
    assert_eq!((pair.sides[A].ups.as_slice(), &pair.sides[A].verdict), ([false, true].as_slice(), &None));
}
