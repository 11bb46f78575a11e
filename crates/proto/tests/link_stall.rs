//! Two links joined in memory: a data connection that carries nothing while the control lane lives.

mod pair;

use std::time::Duration;

use mosaic_proto::link::Execution;
use mosaic_proto::wire::Lane;
use pair::{A, B, Ended, Pair};

const SECOND: Duration = Duration::from_secs(1);

/// A pair whose data lane has carried something from A to B.
fn with_data() -> Pair {
    let mut pair = Pair::connected();
    pair.call(A, 8);
    pair.run_for(SECOND);
    pair
}

/// Lets time pass until this side has given up a data connection.
fn until_stalled(pair: &mut Pair, side: usize) -> Duration {
    let begun = pair.now;
    while pair.sides[side].link.counters().stalled == 0 {
        pair.run_for(Duration::from_millis(10));
        assert!(pair.now - begun < 10 * SECOND, "nobody notices");
    }
    pair.now - begun
}

fn assert_undisturbed(pair: &Pair) {
    for side in [A, B] {
        assert_eq!(pair.sides[side].ups, [false], "the session goes on");
        assert_eq!((pair.sides[side].suspected, pair.sides[side].downs), (0, 0));
    }
}

#[test]
fn a_data_connection_from_which_nothing_is_read_is_made_anew() {
    for writer in [A, B] {
        let mut pair = with_data();
        pair.conditions.paused[Lane::Data.index()][writer] = true;
        let tag = pair.call(writer, 8);
        let took = until_stalled(&mut pair, writer);
        assert!((SECOND..4 * SECOND).contains(&took), "{took:?}");
        pair.conditions.paused[Lane::Data.index()][writer] = false;
        pair.run_for(SECOND);
        assert_eq!(pair.sides[writer].outcome(tag), Some(&Ended::Reply(tag)));
        assert_undisturbed(&pair);
    }
}

#[test]
fn a_data_connection_that_only_the_dialler_believes_in_is_made_anew() {
    let mut pair = with_data();
    // B sees its end of the connection close; A hears nothing of it.
    pair.conditions.notice = [100 * SECOND, Duration::from_millis(1)];
    assert!(pair.cut(Lane::Data, [0, 0]));
    pair.run_for(SECOND);
    let tag = pair.call(B, 8);
    pair.run_for(2 * SECOND);
    assert_eq!(pair.sides[B].outcome(tag), Some(&Ended::Reply(tag)));
    assert_undisturbed(&pair);
}

#[test]
fn a_large_message_on_a_slow_network_is_no_stall() {
    let mut pair = with_data();
    // 64 KiB each 400 ms: less than a message between two reports, but something.
    pair.conditions.capacity = 64 * 1024;
    pair.conditions.delay = [Duration::from_millis(400); 2];
    let tag = pair.call(A, 6_000_000);
    pair.run_for(60 * SECOND);
    assert_eq!(pair.sides[A].outcome(tag), Some(&Ended::Reply(tag)));
    assert_eq!(pair.sides[A].link.counters().stalled, 0);
    assert_undisturbed(&pair);
}

#[test]
fn a_receiver_that_takes_nothing_for_thirty_seconds_is_no_stall() {
    let mut pair = with_data();
    pair.sides[B].consumes = false;
    let tags: Vec<u64> = (0..40).map(|_| pair.call(A, 100_000)).collect();
    pair.run_for(30 * SECOND);
    assert_eq!([A, B].map(|side| pair.sides[side].link.counters().stalled), [0, 0]);
    assert_undisturbed(&pair);
    pair.sides[B].consumes = true;
    while pair.sides[B].heard.len() < tags.len() + 1 || pair.sides[A].link.in_flight() > 0 {
        pair.answer_all(B);
        pair.run();
    }
    assert!(tags.iter().all(|&tag| pair.sides[A].outcome(tag) == Some(&Ended::Reply(tag))));
}

#[test]
fn a_peer_that_stands_still_has_not_stalled() {
    let mut pair = with_data();
    let tag = pair.call(A, 100_000);
    pair.stand_still(B, 3 * SECOND);
    pair.run();
    assert_eq!(pair.sides[A].outcome(tag), Some(&Ended::Reply(tag)));
    assert_eq!(pair.sides[A].link.counters().stalled, 0);
}

#[test]
fn a_peer_that_stands_still_for_ten_seconds_is_unreachable_and_comes_back() {
    let mut pair = with_data();
    let tag = pair.call(A, 100_000);
    pair.stand_still(B, 10 * SECOND);
    assert!(matches!(pair.sides[A].outcome(tag), Some(Ended::Disconnected(_, Execution::MayHaveRun))));
    assert_eq!((pair.sides[A].unreachable.len(), &pair.sides[A].verdict), (1, &None));
    let next = pair.call(A, 8);
    pair.run_for(SECOND);
    assert_eq!(pair.sides[A].outcome(next), Some(&Ended::Reply(next)));
}
