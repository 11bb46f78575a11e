//! Two links joined in memory: silence, lateness and goodbyes.

mod pair;

use std::time::Duration;

use mosaic_proto::link::{Execution, Verdict};
use mosaic_proto::wire::{Lane, MosaicReady, RefusalCode, VERSION};
use mosaic_proto::{HostId, Reason, Session};
use pair::{A, B, Ended, Fate, Pair, Shape};

const SECOND: Duration = Duration::from_secs(1);

fn silence(pair: &mut Pair) {
    pair.conditions.paused = [[true; 2]; 2];
    pair.conditions.fate = [Fate::Silence; 2];
}

/// The READY of a control connection that goes on with nothing.
fn ready_of(pair: &Pair, side: usize) -> MosaicReady {
    MosaicReady {
        version: VERSION,
        instance: pair.sides[side].instance,
        wanted_uid: None,
        wanted_instance: None,
        lane: Lane::Control,
        session: Session::NONE,
        received: 0,
        host: HostId([1; 16]),
        pid_namespace: 1,
        pid: 1,
        leaves: false,
        looks_elsewhere: false,
    }
}

/// Cuts the control lane until both wait before they dial again.
fn wear_out(pair: &mut Pair) {
    for _ in 0..8 {
        pair.cut(Lane::Control, [0, 0]);
        pair.run_for(SECOND / 100);
        while pair.live(Lane::Control) != [1, 1] {
            pair.run_for(SECOND / 100);
        }
    }
    pair.cut(Lane::Control, [0, 0]);
}

#[test]
fn an_idle_link_lives_by_its_hearts() {
    let mut pair = Pair::connected();
    pair.run_for(60 * SECOND);
    for side in [A, B] {
        assert_eq!((pair.sides[side].suspected, pair.sides[side].downs), (0, 0));
        assert!(pair.now - pair.sides[side].link.last_heard() <= SECOND);
    }
}

#[test]
fn a_silent_peer_is_suspected_and_then_unreachable() {
    let mut pair = Pair::connected();
    pair.sides[B].answers = None;
    let tag = pair.call(A, 8);
    pair.run_for(Duration::from_millis(100));
    silence(&mut pair);
    let heard = pair.sides[A].link.last_heard();
    pair.run_for(SECOND);
    assert_eq!(pair.sides[A].suspected, 0);
    pair.run_for(SECOND);
    assert_eq!(pair.sides[A].suspected, 1);
    assert_eq!(pair.sides[A].outcome(tag), None);
    while pair.sides[A].unreachable.is_empty() {
        pair.run_for(Duration::from_millis(10));
    }
    let silent = pair.now - heard;
    assert!((4 * SECOND..4 * SECOND + SECOND / 10).contains(&silent), "{silent:?}");
    let reason = Reason::Unreachable { silent: 4 * SECOND };
    assert_eq!(pair.sides[A].unreachable, std::slice::from_ref(&reason));
    assert_eq!(pair.sides[A].outcome(tag), Some(&Ended::Disconnected(reason, Execution::MayHaveRun)));
}

#[test]
fn the_next_message_after_unreachable_begins_a_new_session() {
    let mut pair = Pair::connected();
    pair.call(A, 8);
    pair.run();
    silence(&mut pair);
    pair.run_for(6 * SECOND);
    assert_eq!(pair.sides[A].unreachable.len(), 1);
    let before = pair.sides[B].heard.len();
    pair.conditions.paused = [[false; 2]; 2];
    pair.conditions.fate = [Fate::Connects; 2];
    let tag = pair.call(A, 8);
    pair.run();
    assert_eq!(pair.sides[A].outcome(tag), Some(&Ended::Reply(tag)));
    assert_eq!(pair.sides[A].ups, [false, false]);
    assert_ne!(pair.sides[B].heard[before - 1].session, pair.sides[B].heard[before].session);
}

#[test]
fn an_unreachable_link_that_nobody_uses_is_at_rest() {
    let mut pair = Pair::connected();
    silence(&mut pair);
    pair.run_for(10 * SECOND);
    for side in [A, B] {
        assert_eq!(pair.sides[side].link.poll_timeout(), None);
        assert_eq!(pair.sides[side].link.session(), None);
    }
}

#[test]
fn a_peer_that_never_answers_a_dial_is_unreachable_in_time() {
    let mut pair = Pair::new();
    silence(&mut pair);
    let tag = pair.call(A, 8);
    pair.run_for(4 * SECOND + SECOND / 10);
    assert!(matches!(pair.sides[A].outcome(tag), Some(Ended::Disconnected(_, Execution::NotRun))));
}

#[test]
fn ones_own_lateness_is_not_held_against_the_peer() {
    let mut pair = Pair::connected();
    pair.sides[B].answers = None;
    let tag = pair.call(A, 8);
    pair.run();
    pair.conditions.paused[Lane::Control.index()][B] = true;
    pair.stand_still(A, 60 * SECOND);
    assert_eq!(pair.sides[A].outcome(tag), None);
    assert!(pair.sides[A].unreachable.is_empty());
}

#[test]
fn a_peer_that_stands_still_for_three_seconds_is_not_given_up() {
    let mut pair = Pair::connected();
    let tag = pair.call(A, 8);
    pair.stand_still(B, 3 * SECOND);
    pair.run();
    assert_eq!(pair.sides[A].outcome(tag), Some(&Ended::Reply(tag)));
    assert_eq!(pair.sides[A].ups, [false]);
}

#[test]
fn the_time_that_we_wait_before_we_dial_again_is_not_the_peers_silence() {
    let mut pair = Pair::connected();
    wear_out(&mut pair);
    // Both wait for 1.6 s and more.
    pair.run_for(SECOND + SECOND / 2);
    pair.stand_still(B, 3 * SECOND);
    pair.run_for(SECOND);
    for side in [A, B] {
        assert_eq!(pair.sides[side].unreachable, []);
    }
}

#[test]
fn a_goodbye_ends_the_link_after_everything_before_it_was_delivered() {
    let mut pair = Pair::connected();
    pair.conditions.capacity = 5000;
    let tags = [8, 200_000, 8].map(|size| pair.one_way(A, size));
    pair.leave(A);
    pair.run_for(Duration::from_millis(10));
    assert_eq!(pair.sides[B].verdict, None, "the goodbye is there, the messages are not");
    pair.run();
    assert_eq!(pair.sides[B].ordered(), tags);
    assert_eq!(pair.sides[B].verdict, Some((Verdict::Left, Reason::Left { why: "done".into() })));
}

#[test]
fn a_goodbye_followed_by_a_cut_is_still_a_departure() {
    let mut pair = Pair::connected();
    pair.sides[B].answers = None;
    pair.sides[A].answers = None;
    let tag = pair.call(B, 8);
    pair.run();
    pair.leave(A);
    pair.cut(Lane::Data, [0, 0]);
    pair.cut(Lane::Control, [usize::MAX, 0]);
    pair.run();
    assert!(matches!(pair.sides[B].verdict, Some((Verdict::Left, _))));
    assert!(matches!(pair.sides[B].outcome(tag), Some(Ended::Disconnected(Reason::Left { .. }, _))));
}

#[test]
fn a_goodbye_that_was_lost_with_its_connection_is_said_again() {
    let mut pair = Pair::connected();
    pair.leave(A);
    pair.cut(Lane::Control, [0, 0]);
    pair.run();
    assert!(matches!(pair.sides[B].verdict, Some((Verdict::Left, _))));
}

#[test]
fn a_goodbye_between_two_connections_is_said_on_the_next() {
    let mut pair = Pair::connected();
    pair.conditions.dial_delay = [Duration::from_millis(5); 2];
    pair.cut(Lane::Control, [0, 0]);
    pair.leave(A);
    assert!(pair.sides[A].link.ended().is_none());
    assert_eq!(pair.sides[B].verdict, None);
    pair.run();
    assert!(matches!(pair.sides[B].verdict, Some((Verdict::Left, _))));
    assert!(pair.sides[A].link.ended().is_some());
}

#[test]
fn a_goodbye_does_not_wait_for_the_time_that_a_dial_does() {
    let mut pair = Pair::connected();
    wear_out(&mut pair);
    pair.leave(A);
    pair.run_for(Duration::from_millis(10));
    assert!(matches!(pair.sides[B].verdict, Some((Verdict::Left, _))));
}

#[test]
fn of_two_goodbyes_at_once_neither_loses_what_was_sent_before_the_other() {
    let mut pair = Pair::connected();
    pair.conditions.capacity = 5000;
    let tags = [A, B].map(|side| pair.one_way(side, 200_000));
    pair.leave(A);
    pair.leave(B);
    pair.run();
    for side in [A, B] {
        assert_eq!(pair.sides[1 - side].ordered(), [tags[side]]);
        assert!(matches!(pair.sides[side].verdict, Some((Verdict::Left, _))));
    }
}

#[test]
fn nothing_is_left_of_a_goodbye_to_one_who_is_out_of_reach() {
    let mut pair = Pair::connected();
    silence(&mut pair);
    pair.leave(A);
    pair.run_for(5 * SECOND);
    assert!(matches!(pair.sides[A].verdict, Some((Verdict::Left, _))));
}

#[test]
fn whose_goodbye_was_heard_dials_nobody() {
    let mut pair = Pair::connected();
    let dials = pair.dialled(A, Lane::Control);
    pair.leave(A);
    pair.run();
    assert!(pair.sides[A].link.ended().is_some());
    assert_eq!(pair.dialled(A, Lane::Control), dials);
}

#[test]
fn nothing_begins_with_one_who_comes_to_say_goodbye() {
    let mut pair = Pair::new();
    let ready = MosaicReady { session: Session(5), ..ready_of(&pair, A) };
    let goodbye = MosaicReady { leaves: true, ..ready.clone() };
    let link = &mut pair.sides[B].link;
    let refusal = link.attach(pair.now, false, &goodbye, Session(77)).unwrap_err();
    assert_eq!((refusal.code, link.session()), (RefusalCode::NoSuchSession, None));
    assert!(link.attach(pair.now, false, &ready, Session(77)).is_ok());
}

#[test]
fn who_said_goodbye_and_is_known_no_more_has_left() {
    let mut pair = Pair::connected();
    pair.sides[B].answers = None;
    let tag = pair.call(A, 8);
    pair.run();
    pair.cut(Lane::Control, [0, 0]);
    pair.end(B, Verdict::Left, Reason::Stopped);
    pair.leave(A);
    pair.run();
    let left = Reason::Left { why: "done".into() };
    assert_eq!(pair.sides[A].verdict, Some((Verdict::Left, left.clone())));
    assert_eq!(pair.sides[A].outcome(tag), Some(&Ended::Disconnected(left, Execution::MayHaveRun)));
}

#[test]
fn who_begins_anew_before_its_goodbye_is_complete_is_let_in_by_the_next_link() {
    let mut pair = Pair::connected();
    pair.conditions.capacity = 5000;
    pair.one_way(A, 200_000);
    pair.leave(A);
    pair.run_for(Duration::from_millis(10));
    let again = ready_of(&pair, A);
    let link = &mut pair.sides[B].link;
    let refusal = link.attach(pair.now, false, &again, Session(77)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Busy);
    assert_eq!(link.ended(), Some(&Reason::Left { why: "done".into() }));
}

#[test]
fn a_loss_after_a_goodbye_is_a_departure() {
    let mut pair = Pair::connected();
    pair.conditions.capacity = 5000;
    pair.one_way(A, 200_000);
    pair.leave(A);
    pair.run_for(Duration::from_millis(10));
    pair.conditions.fate = [Fate::Refused; 2];
    for lane in Lane::ALL {
        pair.cut(lane, [0, 0]);
    }
    pair.run_for(SECOND);
    assert_eq!(pair.sides[B].verdict, Some((Verdict::Left, Reason::Left { why: "done".into() })));
}

#[test]
fn hearts_are_answered_while_the_user_is_busy() {
    let mut pair = Pair::connected();
    pair.sides[B].consumes = false;
    for _ in 0..10 {
        pair.send(A, Shape::one_way(100_000));
    }
    pair.run_for(30 * SECOND);
    assert!(pair.sides[A].unreachable.is_empty());
}
