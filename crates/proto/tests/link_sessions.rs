//! Two links joined in memory: dials, collisions, cuts, resumes and the end of sessions.

mod pair;

use std::time::Duration;

use mosaic_proto::Reason;
use mosaic_proto::link::{Execution, Verdict};
use mosaic_proto::wire::{Lane, RefusalCode};
use pair::{A, B, Ended, Fate, Pair, Shape};

const MILLISECOND: Duration = Duration::from_millis(1);

fn assert_drained(pair: &Pair) {
    for side in [A, B] {
        pair.sides[side].assert_drained(&pair.sides[1 - side]);
    }
}

/// Every interleaving of two dials: how late each starts, connects and arrives.
#[test]
fn two_dials_that_cross_become_one_connection_and_one_session() {
    let delays = [0, 1, 2, 3, 5, 9].map(|n| n * MILLISECOND);
    for (start, connect_a, connect_b, arrive_a, arrive_b) in interleavings(&delays) {
        let mut pair = Pair::new();
        pair.conditions.dial_delay = [connect_a, connect_b];
        pair.conditions.delay = [arrive_a, arrive_b];
        let first = pair.call(A, 8);
        pair.run_for(start);
        let second = pair.call(B, 8);
        pair.run_for(Duration::from_secs(2));
        let case = format!("{start:?} {connect_a:?} {connect_b:?} {arrive_a:?} {arrive_b:?}");
        assert_eq!(pair.live(Lane::Control), [1, 1], "{case}");
        assert_eq!(pair.sides.each_ref().map(|side| side.ups.len()), [1, 1], "one session, no cut: {case}");
        assert_eq!(pair.sides[A].outcome(first), Some(&Ended::Reply(first)), "{case}");
        assert_eq!(pair.sides[B].outcome(second), Some(&Ended::Reply(second)), "{case}");
        assert!(pair.sides.iter().all(|side| side.unreachable.is_empty()), "{case}");
        assert_drained(&pair);
    }
}

fn interleavings(
    delays: &[Duration],
) -> impl Iterator<Item = (Duration, Duration, Duration, Duration, Duration)> {
    let n = delays.len();
    (0..n.pow(5)).step_by(7).map(move |code| {
        let at = |place: u32| delays[code / n.pow(place) % n];
        (at(0), at(1), at(2), at(3), at(4))
    })
}

#[test]
fn a_newer_connection_replaces_the_older() {
    let mut pair = Pair::connected();
    pair.conditions.notice = [Duration::from_millis(1), Duration::from_secs(3)];
    pair.cut(Lane::Control, [0, 0]);
    let tag = pair.call(A, 8);
    pair.run();
    assert_eq!(pair.live(Lane::Control), [1, 1]);
    assert_eq!(pair.sides[A].ups, [false, true]);
    assert_eq!(pair.sides[B].downs, 0, "B never noticed");
    assert_eq!(pair.sides[A].outcome(tag), Some(&Ended::Reply(tag)));
}

#[test]
fn a_cut_at_any_byte_loses_nothing_repeats_nothing_and_keeps_the_order() {
    for lane in Lane::ALL {
        for arriving in (0..400).step_by(7) {
            let mut pair = Pair::connected();
            let mut tags = [vec![], vec![]];
            for round in 0..4 {
                for side in [A, B] {
                    tags[side].push(pair.one_way(side, 40));
                    pair.call(side, 60);
                    tags[side].push(pair.sides[side].newest(0).unwrap());
                    pair.send(side, Shape::call(30).express());
                }
                pair.run_for(round * MILLISECOND);
            }
            pair.cut(lane, [arriving, 400 - arriving]);
            pair.run_for(Duration::from_secs(1));
            assert_drained(&pair);
            assert_eq!(pair.sides[B].ordered(), tags[A]);
            assert_eq!(pair.sides[A].ordered(), tags[B]);
            assert_eq!(pair.sides.each_ref().map(|side| side.unreachable.len()), [0, 0]);
        }
    }
}

#[test]
fn a_cut_in_the_middle_of_a_large_message_is_resumed_in_both_directions() {
    for sender in [A, B] {
        let mut pair = Pair::connected();
        pair.conditions.capacity = 20_000;
        let tags = [8, 200_000, 8].map(|size| pair.one_way(sender, size));
        pair.run_for(6 * MILLISECOND);
        assert!(pair.under_way(sender, Lane::Data) > 0);
        pair.cut(Lane::Data, [5_000; 2]);
        pair.run();
        assert_eq!(pair.sides[1 - sender].ordered(), tags);
        assert!(pair.sides[sender].link.counters().replayed > 0);
        assert_drained(&pair);
    }
}

#[test]
fn messages_that_were_written_but_did_not_arrive_are_sent_again() {
    let mut pair = Pair::connected();
    pair.one_way(A, 8);
    pair.run();
    let tag = pair.one_way(A, 8);
    assert_eq!(pair.sides[A].link.progress(Lane::Data).sent, 2, "all is written");
    pair.cut(Lane::Data, [0, 0]);
    pair.run();
    assert_eq!(pair.sides[B].ordered().last(), Some(&tag));
    assert_drained(&pair);
}

#[test]
fn a_peer_that_lost_the_session_ends_what_was_in_flight() {
    let mut pair = Pair::connected();
    pair.sides[B].answers = None;
    pair.sides[B].consumes = false;
    let ran = pair.call(A, 200_000);
    pair.run();
    let waits = pair.call(A, 200_000);
    pair.run();
    pair.restart(B);
    pair.run_for(Duration::from_secs(1));
    let outcome = |tag| pair.sides[A].outcome(tag).cloned();
    let Some(Ended::Disconnected(reason, Execution::MayHaveRun)) = outcome(ran) else {
        panic!("{:?}", outcome(ran));
    };
    assert_eq!(outcome(waits), Some(Ended::Disconnected(reason, Execution::NotRun)));
    assert!(matches!(pair.sides[A].verdict, Some((Verdict::Dead, Reason::Refused { .. }))), "not me");
}

#[test]
fn another_instance_is_refused_while_the_session_lives() {
    let mut pair = Pair::connected();
    pair.conditions.notice[A] = Duration::from_secs(60);
    pair.conditions.fate[A] = Fate::Silence;
    pair.restart_unnoticed(B);
    pair.connect(B);
    pair.run();
    assert_eq!(pair.sides[B].refusals.first(), Some(&RefusalCode::UidTaken));
    assert!(pair.sides[A].unreachable.is_empty());
}

#[test]
fn a_peer_that_refuses_twice_is_dead() {
    let mut pair = Pair::connected();
    let tag = pair.call(A, 8);
    pair.run();
    pair.conditions.fate = [Fate::Refused, Fate::Silence];
    pair.cut(Lane::Control, [0, 0]);
    pair.run_for(50 * MILLISECOND);
    assert_eq!(pair.sides[A].verdict, None, "one refusal proves nothing");
    pair.run_for(150 * MILLISECOND);
    assert!(matches!(pair.sides[A].verdict, Some((Verdict::Dead, Reason::Refused { .. }))));
    assert!(pair.sides[A].outcome(tag).is_some());
    assert_eq!(pair.sides[A].link.poll_timeout(), None);
}

#[test]
fn a_patient_link_dials_until_its_peer_has_started() {
    let mut pair = Pair::new();
    pair.conditions.fate = [Fate::Refused; 2];
    let now = pair.now;
    pair.sides[A].link.connect(now, true);
    let tag = pair.call(A, 8);
    pair.run_for(Duration::from_secs(30));
    assert_eq!(pair.sides[A].verdict, None);
    pair.conditions.fate = [Fate::Connects; 2];
    pair.run_for(Duration::from_secs(3));
    assert_eq!(pair.sides[A].outcome(tag), Some(&Ended::Reply(tag)));
}

#[test]
fn refusals_are_proof_to_a_patient_link_that_knows_the_life() {
    let mut pair = Pair::connected();
    pair.conditions.fate = [Fate::Silence; 2];
    pair.cut(Lane::Control, [0, 0]);
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.sides[A].unreachable.len(), 1);
    pair.conditions.fate = [Fate::Refused; 2];
    let now = pair.now;
    pair.sides[A].link.connect(now, true);
    pair.run_for(Duration::from_secs(1));
    assert!(matches!(pair.sides[A].verdict, Some((Verdict::Dead, Reason::Refused { .. }))));
}

#[test]
fn connections_that_die_at_once_are_not_dialled_without_a_pause() {
    let mut pair = Pair::connected();
    for _ in 0..100 {
        pair.cut(Lane::Control, [0, 0]);
        pair.run_for(5 * MILLISECOND);
    }
    let dials = pair.dialled(A, Lane::Control) + pair.dialled(B, Lane::Control);
    assert!((3..30).contains(&dials), "{dials} dials in half a second");
    pair.run_for(Duration::from_secs(3));
    assert_eq!(pair.live(Lane::Control), [1, 1]);
}
