//! Two links joined in memory: windows, grants, denials and back-pressure.

mod pair;

use std::time::Duration;

use mosaic_proto::limits::{INITIAL_WINDOW, MAX_WINDOW};
use mosaic_proto::wire::Lane;
use pair::{A, B, Ended, Pair, Shape};

const MILLISECOND: Duration = Duration::from_millis(1);

fn assert_drained(pair: &Pair) {
    for side in [A, B] {
        pair.sides[side].assert_drained(&pair.sides[1 - side]);
    }
}

#[test]
fn a_receiver_that_stopped_bounds_what_is_under_way() {
    let mut pair = Pair::connected();
    pair.sides[B].consumes = false;
    let tags: Vec<u64> = (0..500).map(|_| pair.one_way(A, 10_000)).collect();
    pair.run_for(Duration::from_secs(10));
    assert!(pair.sides[B].unconsumed() <= INITIAL_WINDOW);
    assert!(pair.sides[B].unconsumed() > INITIAL_WINDOW - 20_000, "the window is used");
    assert!(!pair.sides[A].link.has_room(10_000, false));
    pair.sides[B].consumes = true;
    pair.consume_oldest(B, usize::MAX);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.sides[B].ordered(), tags);
    assert_eq!(pair.sides[A].outcome(tags[499]), Some(&Ended::Accepted));
    assert_drained(&pair);
}

#[test]
fn quick_use_grows_the_window_as_far_as_the_budget_lends() {
    for (budget, least, most) in [
        (256 << 20, MAX_WINDOW, MAX_WINDOW),
        (0, INITIAL_WINDOW, INITIAL_WINDOW),
        (16 << 20, 1 << 20, 2 << 20),
    ] {
        let mut pair = Pair::with_budget(budget);
        for _ in 0..400 {
            pair.one_way(A, 50_000);
        }
        pair.run_for(Duration::from_secs(2));
        let window = INITIAL_WINDOW + pair.sides[B].link.reservations()[0];
        assert!((least..=most).contains(&window), "{budget}: {window}");
        assert_drained(&pair);
    }
}

#[test]
fn a_message_beyond_the_window_is_granted_and_the_grant_falls_back() {
    let mut pair = Pair::connected();
    pair.sides[B].consumes = false;
    let tag = pair.call(A, 5_000_000);
    pair.run();
    assert_eq!(pair.sides[B].ordered(), [tag]);
    assert!(pair.sides[B].lent() > 5_000_000);
    pair.reply(B, tag, 4_000_000);
    pair.run();
    assert_eq!(pair.sides[A].outcome(tag), Some(&Ended::Reply(tag)));
    assert_eq!([A, B].map(|side| pair.sides[side].lent()), [0, 0]);
    assert_drained(&pair);
}

#[test]
fn what_can_never_be_granted_ends_as_too_large() {
    let mut pair = Pair::with_budget(1 << 20);
    let largest = pair.sides[B].budget.largest();
    let calls = [1_000_000; 2].map(|size| pair.call(A, size));
    let one_way = pair.one_way(A, 1_000_000);
    let after = pair.call(A, 8);
    pair.run();
    for tag in calls.into_iter().chain([one_way]) {
        assert_eq!(pair.sides[A].outcome(tag), Some(&Ended::TooLarge(largest)));
    }
    assert_eq!(pair.sides[A].outcome(after), Some(&Ended::Reply(after)));
    assert_drained(&pair);
}

#[test]
fn a_reply_that_can_never_be_granted_is_replaced_by_an_error() {
    let mut pair = Pair::with_budget(1 << 20);
    pair.sides[B].answers = Some(1_000_000);
    let ours = pair.call(B, 8);
    pair.sides[A].answers = None;
    let tag = pair.call(A, 8);
    pair.run();
    assert_eq!(pair.sides[B].too_large_replies.len(), 1);
    assert!(pair.sides[A].outcome(tag).is_some(), "answered by an error");
    assert_eq!(pair.sides[B].outcome(ours), None, "an id of the peer's is not one of ours");
}

#[test]
fn a_call_that_is_given_up_while_it_is_granted_gives_the_grant_back() {
    let mut pair = Pair::connected();
    pair.conditions.delay = [10 * MILLISECOND; 2];
    let large = pair.call(A, 1_000_000);
    pair.run_for(15 * MILLISECOND);
    assert!(pair.sides[B].lent() > 1_000_000, "it is granted, and A does not know yet");
    pair.cancel(A, large);
    let tag = pair.one_way(A, 8);
    pair.run();
    assert_eq!((pair.sides[B].lent(), pair.sides[B].ordered()), (0, vec![tag]));
}

#[test]
fn a_call_that_is_given_up_while_it_waits_for_the_budget_holds_up_nobody() {
    let mut pair = Pair::connected();
    pair.sides[B].consumes = false;
    let held = pair.call(A, 8 << 20);
    let waits = pair.call(A, 20 << 20);
    pair.run();
    let wants_more = pair.sides[B].lent();
    let next = pair.call(A, 22 << 20);
    pair.run();
    assert_eq!((pair.sides[B].lent(), pair.sides[B].ordered()), (wants_more, vec![held, waits]));
    pair.cancel(A, next);
    let small = pair.call(A, 8);
    pair.run();
    assert_eq!(pair.sides[B].ordered(), [held, waits, small]);
    pair.consume_oldest(B, usize::MAX);
    pair.run();
    assert_eq!(pair.sides[B].lent(), 0);
}

#[test]
fn two_sides_that_flood_each_other_with_calls_make_progress() {
    let mut pair = Pair::with_budget(4 << 20);
    for round in 0..40 {
        for side in [A, B] {
            pair.sides[side].answers = Some(100_000);
            pair.call(side, 100_000 + round);
        }
    }
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.sides.each_ref().map(|side| side.heard.len()), [40, 40]);
    assert_drained(&pair);
}

#[test]
fn replies_flow_while_requests_are_blocked() {
    let mut pair = Pair::connected();
    pair.sides[A].answers = None;
    let call = pair.call(B, 8);
    pair.run();
    pair.sides[B].consumes = false;
    for _ in 0..10 {
        pair.one_way(A, 100_000);
    }
    pair.run();
    assert!(!pair.sides[A].link.has_room(100_000, false));
    pair.reply(A, call, 150_000);
    pair.run();
    assert_eq!(pair.sides[B].outcome(call), Some(&Ended::Reply(call)));
}

#[test]
fn a_one_way_message_that_waits_can_be_taken_back() {
    let mut pair = Pair::connected();
    pair.sides[B].consumes = false;
    let first = pair.one_way(A, 200_000);
    let second = pair.one_way(A, 200_000);
    let third = pair.one_way(A, 8);
    assert!(!pair.withdraw(A, first), "it is under way");
    assert!(pair.withdraw(A, second));
    pair.run();
    assert_eq!(pair.sides[B].ordered(), [first, third]);
}

#[test]
fn large_messages_are_dropped_once_they_are_acknowledged() {
    let mut pair = Pair::connected();
    pair.one_way(A, 200_000);
    pair.run_for(5 * MILLISECOND);
    assert!(pair.sides[A].link.is_drained(), "a large one is acknowledged at once");
}

#[test]
fn express_messages_are_bounded_without_credit() {
    let mut pair = Pair::connected();
    pair.conditions.paused[Lane::Control.index()] = [true, true];
    for _ in 0..100 {
        pair.send(A, Shape::one_way(10_000).express());
    }
    pair.run_for(20 * MILLISECOND);
    assert!(pair.sides[A].link.progress(Lane::Control).accepted <= 26);
    pair.conditions.paused[Lane::Control.index()] = [false, false];
    pair.run();
    assert_eq!(pair.sides[B].heard.len(), 100);
    assert_drained(&pair);
}

/// B starts and answers whatever comes from now on, and has come.
fn take_all(pair: &mut Pair) {
    pair.sides[B].consumes = true;
    pair.consume_oldest(B, usize::MAX);
    pair.answer_all(B);
    pair.run_for(Duration::from_secs(1));
}

/// A has used up its window at B, where requests wait for handlers to end. The last of them wait for credit.
fn saturated() -> (Pair, Vec<u64>) {
    let mut pair = Pair::connected();
    pair.sides[B].consumes = false;
    let waiting = (0..40).map(|_| pair.call(A, 10_000)).collect();
    pair.run();
    assert!(!pair.sides[A].link.has_room(10_000, false));
    (pair, waiting)
}

#[test]
fn nested_requests_do_not_wait_behind_those_that_wait_for_handlers() {
    let (mut pair, waiting) = saturated();
    let nested = [Shape::call(10_000), Shape::one_way(10_000), Shape::call(1_000_000)];
    let before = nested.map(|shape| pair.send(A, shape.nested()));
    pair.run();
    assert!(before.iter().all(|&tag| pair.sides[A].outcome(tag).is_none()), "they wait for credit");
    pair.saturate(B);
    pair.run();
    let after = nested.map(|shape| pair.send(A, shape.nested()));
    for tag in before.into_iter().chain(after) {
        assert_eq!(pair.sides[A].outcome(tag), Some(&Ended::Overloaded));
    }
    take_all(&mut pair);
    assert_eq!(pair.sides[B].ordered(), waiting);
    assert_drained(&pair);
}

#[test]
fn nested_requests_go_while_there_is_credit_and_wait_again_once_no_handler_is_waited_for() {
    let mut pair = Pair::connected();
    pair.sides[B].consumes = false;
    pair.saturate(B);
    pair.run();
    let with_credit = pair.send(A, Shape::call(10_000).nested());
    let express = pair.send(A, Shape::call(10_000).nested().express());
    for _ in 0..40 {
        pair.call(A, 10_000);
    }
    pair.run();
    assert!([with_credit, express].iter().all(|&tag| pair.sides[B].heard_of(tag).is_some()));
    pair.relieve(B);
    pair.run_for(Duration::from_secs(1));
    let waits = pair.send(A, Shape::call(10_000).nested());
    pair.run();
    assert_eq!(pair.sides[A].outcome(waits), None);
    take_all(&mut pair);
    assert_eq!(pair.sides[A].outcome(waits), Some(&Ended::Reply(waits)));
    assert_drained(&pair);
}

#[test]
fn where_requests_wait_for_handlers_is_said_again_after_a_cut() {
    let (mut pair, _) = saturated();
    let nested = pair.send(A, Shape::call(10_000).nested());
    // What B says is lost with the connection.
    pair.sides[B].link.saturate();
    assert!(pair.cut(Lane::Control, [0; 2]));
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.sides[A].outcome(nested), Some(&Ended::Overloaded));
    take_all(&mut pair);
    assert_drained(&pair);
}
