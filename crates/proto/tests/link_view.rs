//! Two links joined in memory: how they stand, as an onlooker sees them.

mod pair;

use std::time::Duration;

use mosaic_proto::link::{Condition, Verdict};
use mosaic_proto::wire::Lane;
use mosaic_proto::{Reason, limits};
use pair::{A, B, Fate, Pair};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn beats_tell_the_round_trip_and_the_lag() {
    let mut pair = Pair::connected();
    pair.conditions.delay = [Duration::from_millis(3), Duration::from_millis(4)];
    pair.sides[B].link.set_lag(Duration::from_millis(250));
    pair.run_for(10 * SECOND);
    let told = pair.sides[A].link.pulse();
    assert_eq!(
        (told.round_trip, told.lag),
        (Some(Duration::from_millis(7)), Some(Duration::from_millis(250)))
    );
    assert_eq!(pair.sides[A].round_trips.last(), told.round_trip.as_ref());
}

#[test]
fn a_heart_that_is_lost_with_its_connection_is_no_round_trip() {
    let mut pair = Pair::connected();
    pair.run_for(SECOND / 2 + Duration::from_micros(1));
    assert!(pair.cut(Lane::Control, [0; 2]), "with the hearts in it");
    pair.run_for(10 * SECOND);
    let longest = [A, B].map(|side| pair.sides[side].round_trips.iter().max().copied());
    assert_eq!(longest, [Some(Duration::from_millis(2)); 2]);
}

#[test]
fn the_condition_follows_what_is_known_of_the_peer() {
    let mut pair = Pair::new();
    assert_eq!(pair.sides[A].link.condition(), Condition::Absent);
    pair.connect(A);
    pair.run();
    assert_eq!(pair.sides[A].link.condition(), Condition::Up);
    pair.conditions.paused = [[true; 2]; 2];
    pair.conditions.fate = [Fate::Silence; 2];
    pair.run_for(3 * SECOND);
    assert_eq!(pair.sides[A].link.condition(), Condition::Suspected);
    pair.run_for(3 * SECOND);
    assert_eq!(pair.sides[A].link.condition(), Condition::Absent);
    pair.end(A, Verdict::Dead, Reason::Forgotten);
    assert_eq!(pair.sides[A].link.condition(), Condition::Ended);
}

#[test]
fn what_waits_is_told_until_it_has_gone() {
    let mut pair = Pair::connected();
    pair.sides[B].consumes = false;
    let size = limits::INITIAL_WINDOW as usize * 2 / 3;
    let tags = [(); 3].map(|()| pair.one_way(A, size));
    pair.run();
    let load = pair.sides[A].link.load();
    assert_eq!(load.waiting + load.under_way + pair.sides[B].heard.len(), 3, "{load:?}");
    assert!(load.waiting > 0 && load.waiting_bytes >= size as u64, "{load:?}");
    assert!(pair.sides[B].link.load().unstarted_bytes >= size as u64);
    while pair.sides[B].heard.len() < tags.len() {
        pair.consume_oldest(B, 1);
        pair.run();
    }
    pair.consume_oldest(B, 3);
    pair.run();
    assert_eq!(pair.sides.each_ref().map(|side| side.link.load()), [Default::default(); 2]);
}

#[test]
fn bytes_are_counted_on_both_sides_and_across_a_cut() {
    let mut pair = Pair::connected();
    let carried = |pair: &Pair, from: usize| {
        let (sender, receiver) = (pair.sides[from].link.counters(), pair.sides[1 - from].link.counters());
        (sender.bytes_sent, receiver.bytes_received)
    };
    pair.call(A, 100_000);
    pair.run();
    let before = [A, B].map(|side| carried(&pair, side));
    assert!(before[A].0 > 100_000);
    before.iter().for_each(|(sent, received)| assert_eq!(sent, received));
    assert!(pair.cut(Lane::Data, [usize::MAX; 2]));
    pair.call(A, 100_000);
    pair.run();
    let (sent, received) = carried(&pair, A);
    assert!(sent >= received && received > before[A].1 + 100_000, "what was lost was sent all the same");
    assert_eq!((pair.sides[A].link.counters().calls, pair.sides[B].link.counters().calls), (2, 0));
}
