//! Two links joined in memory: calls, their ends, order and lanes.

mod pair;

use std::time::Duration;

use mosaic_proto::link::{Execution, Transmit, Verdict};
use mosaic_proto::wire::{Command, Lane};
use mosaic_proto::{Reason, Session};
use pair::{A, B, Ended, Pair, Shape, reply_to};

const MILLISECOND: Duration = Duration::from_millis(1);

fn assert_drained(pair: &Pair) {
    for side in [A, B] {
        pair.sides[side].assert_drained(&pair.sides[1 - side]);
    }
}

#[test]
fn a_call_ends_with_its_reply() {
    let mut pair = Pair::new();
    let tag = pair.call(A, 100);
    pair.run();
    assert_eq!(pair.sides[A].outcome(tag), Some(&Ended::Reply(tag)));
    assert_eq!(pair.sides.each_ref().map(|side| side.ups.clone()), [[false], [false]]);
    assert_drained(&pair);
}

#[test]
fn requests_of_the_data_lane_are_passed_on_in_order() {
    let mut pair = Pair::new();
    let sizes = [10, 300_000, 8, 70_000, 8, 1_000_000, 8];
    let tags: Vec<u64> = sizes.iter().map(|&size| pair.one_way(A, size)).collect();
    pair.run();
    assert_eq!(pair.sides[B].ordered(), tags);
    assert_drained(&pair);
}

#[test]
fn an_express_call_overtakes_what_waits_on_the_data_lane() {
    let mut pair = Pair::connected();
    let slow = pair.call(A, 1_000_000);
    let express = pair.send(A, Shape::call(8).express());
    pair.run();
    let tags: Vec<u64> = pair.sides[B].heard.iter().map(|heard| heard.tag).collect();
    assert_eq!(tags, [express, slow]);
    assert_drained(&pair);
}

#[test]
fn an_express_call_too_large_for_the_control_lane_takes_its_turn() {
    let mut pair = Pair::connected();
    let first = pair.call(A, 200_000);
    let express = pair.send(A, Shape::call(100_000).express());
    pair.run();
    let tags: Vec<u64> = pair.sides[B].heard.iter().map(|heard| heard.tag).collect();
    assert_eq!(tags, [first, express]);
    assert_drained(&pair);
}

#[test]
fn a_small_reply_takes_the_control_lane_while_the_data_lane_is_busy() {
    let mut pair = Pair::connected();
    let call = pair.call(A, 8);
    pair.run_for(3 * MILLISECOND);
    pair.conditions.capacity = 1000;
    pair.one_way(B, 200_000);
    let before = pair.sides[B].link.progress(Lane::Control).sent;
    let second = pair.call(A, 8);
    pair.run_for(5 * MILLISECOND);
    assert_eq!(pair.sides[A].outcome(second), Some(&Ended::Reply(second)));
    assert_eq!(pair.sides[B].link.progress(Lane::Control).sent, before + 1);
    assert!(pair.sides[A].heard.is_empty(), "the large one is still under way");
    assert_eq!(pair.sides[A].outcome(call), Some(&Ended::Reply(call)));
}

#[test]
fn the_data_lane_is_dialled_when_it_is_needed_and_by_who_dialled_control() {
    for sender in [A, B] {
        let mut pair = Pair::connected();
        pair.send(sender, Shape::call(8).express());
        pair.run();
        assert_eq!(pair.live(Lane::Data), [0, 0]);
        let tag = pair.one_way(sender, 8);
        pair.run();
        assert_eq!(pair.live(Lane::Data), [1, 1]);
        assert_eq!([A, B].map(|side| pair.dialled(side, Lane::Data)), [1, 0], "A has dialled control");
        assert_eq!(pair.sides[1 - sender].ordered(), [tag]);
    }
}

#[test]
fn a_deadline_ends_a_call_that_runs_and_cancels_it() {
    let mut pair = Pair::connected();
    pair.sides[B].answers = None;
    let tag = pair.send(A, Shape::call(8).deadline(50 * MILLISECOND));
    pair.run();
    assert_eq!(pair.sides[A].outcome(tag), Some(&Ended::Timeout(Execution::MayHaveRun)));
    let id = pair.sides[A].id_of(tag).unwrap();
    assert_eq!(pair.sides[B].cancels, [id]);
}

#[test]
fn a_deadline_ends_a_call_that_was_never_written() {
    let mut pair = Pair::new();
    pair.conditions.dial_delay = [500 * MILLISECOND; 2];
    let tag = pair.send(A, Shape::call(8).deadline(50 * MILLISECOND));
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.sides[A].outcome(tag), Some(&Ended::Timeout(Execution::NotRun)));
    assert!(pair.sides[B].heard.is_empty());
}

#[test]
fn a_cancellation_that_overtakes_its_request_is_remembered() {
    let mut pair = Pair::connected();
    (pair.conditions.capacity, pair.conditions.chunk) = (1000, 1 << 20);
    let large = pair.one_way(A, 100_000);
    let tag = pair.call(A, 8);
    pair.run_for(4 * MILLISECOND);
    pair.cancel(A, tag);
    pair.run();
    assert_eq!(pair.sides[B].ordered(), [large]);
    assert_eq!(pair.sides[B].link.counters().cancelled, 1);
    assert!(pair.sides[B].cancels.is_empty());
    assert_drained(&pair);
}

#[test]
fn a_cancellation_that_comes_after_its_request_is_passed_on() {
    let mut pair = Pair::connected();
    pair.sides[B].answers = None;
    let tag = pair.call(A, 8);
    pair.run();
    assert!(pair.cancel(A, tag));
    assert!(!pair.cancel(A, tag), "a call is given up once");
    pair.run();
    assert_eq!(pair.sides[B].cancels, [pair.sides[A].id_of(tag).unwrap()]);
}

#[test]
fn a_request_that_was_not_written_is_taken_back_with_its_credit() {
    let mut pair = Pair::connected();
    pair.sides[B].consumes = false;
    pair.conditions.dial_delay = [20 * MILLISECOND; 2];
    for _ in 0..3 {
        let tag = pair.call(A, 200_000);
        assert!(pair.cancel(A, tag));
    }
    let tag = pair.call(A, 200_000);
    assert!(pair.sides[A].link.has_room(50_000, false));
    assert!(!pair.sides[A].link.has_room(70_000, false));
    pair.run();
    assert_eq!(pair.sides[B].ordered(), [tag]);
}

#[test]
fn a_late_reply_is_dropped_and_counted() {
    let mut pair = Pair::connected();
    pair.sides[B].answers = None;
    let tag = pair.call(A, 8);
    pair.run();
    pair.cancel(A, tag);
    pair.reply(B, tag, 8);
    pair.run();
    assert_eq!(pair.sides[A].outcome(tag), Some(&Ended::Cancelled));
    assert_eq!(pair.sides[A].link.counters().late_replies, 1);
}

#[test]
fn a_reply_of_an_old_session_is_dropped_and_counted() {
    let mut pair = Pair::connected();
    pair.sides[B].answers = None;
    let tag = pair.call(A, 8);
    pair.run();
    let heard = pair.sides[B].heard_of(tag).unwrap();
    let old = Session(heard.session.0 + 1000);
    let now = pair.now;
    pair.sides[B].link.reply(now, old, heard.id, reply_to(tag, 8));
    pair.run();
    assert_eq!(pair.sides[B].link.counters().dropped, 1);
    assert_eq!(pair.sides[A].outcome(tag), None);
}

#[test]
fn a_link_that_has_ended_gives_messages_back_and_ends_every_call() {
    let mut pair = Pair::connected();
    pair.sides[B].answers = None;
    let ran = pair.call(A, 8);
    pair.run();
    let waiting = pair.call(A, 3_000_000);
    let reason = Reason::Exited { detail: "signal 9".into() };
    pair.end(A, Verdict::Dead, reason.clone());
    let lost = |execution| Some(Ended::Disconnected(reason.clone(), execution));
    assert_eq!(pair.sides[A].outcome(ran).cloned(), lost(Execution::MayHaveRun));
    assert_eq!(pair.sides[A].outcome(waiting).cloned(), lost(Execution::NotRun));
    let refused = pair.call(A, 8);
    assert_eq!(pair.sides[A].id_of(refused), None);
    assert_eq!(pair.sides[A].link.ended(), Some(&reason));
}

#[test]
fn a_request_may_have_run_while_it_is_being_written() {
    for (connected, written, execution) in [
        (true, None, Execution::MayHaveRun),
        (false, None, Execution::MayHaveRun),
        (true, Some(0), Execution::NotRun),
        (false, Some(0), Execution::NotRun),
    ] {
        let mut pair = Pair::connected();
        pair.call(A, 8);
        pair.run();
        pair.sides[A].asleep = true;
        let tag = pair.call(A, 8);
        let (now, link) = (pair.now, &mut pair.sides[A].link);
        for lane in Lane::ALL {
            let connection = link.connection(lane).unwrap();
            link.poll_transmit(now, lane, usize::MAX, &mut Transmit::new());
            written.into_iter().for_each(|bytes| link.transmitted(now, lane, connection, bytes));
            if !connected {
                link.detach(now, lane, connection);
            }
        }
        let reason = Reason::Exited { detail: "signal 9".into() };
        pair.sides[A].asleep = false;
        pair.end(A, Verdict::Dead, reason.clone());
        assert_eq!(pair.sides[A].outcome(tag), Some(&Ended::Disconnected(reason, execution)), "{written:?}");
    }
}

#[test]
fn a_request_that_the_peer_says_it_lacks_has_not_run() {
    let mut pair = Pair::connected();
    pair.call(A, 8);
    pair.run();
    let tag = pair.call(A, 8);
    pair.cut(Lane::Data, [0; 2]);
    // It has a connection again, which takes nothing yet.
    pair.conditions.capacity = 0;
    pair.run_for(Duration::from_millis(20));
    assert_eq!(pair.live(Lane::Data), [1; 2]);
    let reason = Reason::Exited { detail: "signal 9".into() };
    pair.end(A, Verdict::Dead, reason.clone());
    assert_eq!(pair.sides[A].outcome(tag), Some(&Ended::Disconnected(reason, Execution::NotRun)));
}

#[test]
fn a_link_is_quiet_again_once_its_call_was_answered() {
    let mut pair = Pair::connected();
    assert!(pair.sides[A].link.is_quiet());
    pair.sides[B].answers = None;
    let tag = pair.call(A, 8);
    pair.run();
    assert!(!pair.sides[A].link.is_quiet(), "a call is in flight");
    pair.reply(B, tag, 8);
    pair.run_for(MILLISECOND);
    assert!(pair.sides[A].link.is_quiet());
    for _ in 0..10 {
        pair.sides[B].answers = Some(8);
        pair.call(A, 8);
        pair.run_for(2 * MILLISECOND);
        assert!(pair.sides[A].link.is_quiet(), "a reply acknowledges its request");
    }
}

#[test]
fn an_idle_link_has_no_timers_before_its_first_use() {
    let pair = Pair::new();
    assert_eq!(pair.sides[A].link.poll_timeout(), None);
}

#[test]
fn what_a_peer_must_not_send_is_a_violation_and_ends_the_session() {
    let bogus = mosaic_proto::wire::Ack {
        lane: Lane::Data,
        received: 9,
        consumed: [0; 2],
        window: [0; 2],
        saturated: false,
    };
    let too_much = mosaic_proto::wire::Ack { consumed: [1, 0], received: 0, ..bogus };
    let refusal =
        mosaic_proto::wire::Refusal { code: mosaic_proto::wire::RefusalCode::Busy, detail: "later".into() };
    for (command, what) in [
        (Command::Ack(bogus), "acknowledged"),
        (Command::Ack(too_much), "acknowledged"),
        (Command::Error(refusal), "later"),
    ] {
        let mut pair = Pair::connected();
        pair.sides[B].answers = None;
        pair.inject(A, Lane::Control, &command);
        pair.run_for(MILLISECOND);
        let [violation] = &pair.sides[A].violations[..] else { panic!("{:?}", pair.sides[A].violations) };
        assert!(violation.contains(what), "{violation}");
        assert!(matches!(pair.sides[A].unreachable[..], [Reason::Incompatible { .. }]));
        let tag = pair.call(A, 8);
        pair.run();
        assert_eq!(pair.sides[B].ordered(), [tag], "the next message begins a new session");
    }
}

#[test]
fn a_request_without_credit_on_the_control_lane_is_counted() {
    let mut pair = Pair::connected();
    pair.inject_message(B, Lane::Control, &Shape::one_way(8).outgoing(77));
    pair.run_for(MILLISECOND);
    assert_eq!(pair.sides[B].ordered(), [77]);
    assert_eq!(pair.sides[B].unconsumed(), 0);
}

#[test]
fn a_message_beyond_the_window_is_a_violation() {
    let mut pair = Pair::connected();
    pair.one_way(A, 8);
    pair.run();
    pair.inject_message(B, Lane::Data, &Shape::one_way(300_000).outgoing(77));
    pair.run_for(MILLISECOND);
    assert!(pair.sides[B].violations[0].contains("the window allows"), "{:?}", pair.sides[B].violations);
    assert_eq!(pair.sides[B].heard_of(77), None);
}
