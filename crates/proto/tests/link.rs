//! Two links joined in memory: calls, order, lanes.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod pair;

use pair::{A, B, Ended, Pair};

#[test]
fn a_call_ends_with_its_reply() {
    let mut pair = Pair::new();
    let tag = pair.call(A, 100);
    pair.run();
    assert_eq!(pair.sides[A].outcome(tag), Some(&Ended::Reply(tag)));
    assert_eq!(pair.sides[A].ups, [false]);
    assert_eq!(pair.sides[B].ups, [false]);
    for side in [A, B] {
        pair.sides[side].assert_drained(&pair.sides[1 - side]);
    }
}
