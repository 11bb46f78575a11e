//! Whatever is done to two links, in whatever order, the invariants hold after every step, and once the faults stop
//! everything ends. `Pair` checks after each step:
//!
//! 1. acknowledged <= received <= sent: no ACK and no resume is ever refused for its count
//! 2. what was passed on is a prefix of what was sent, in order, each once; NotRun means that it never is
//! 3. unacknowledged <= window, and what may come is reserved (`assert_invariants`)
//! 4. each id ends once, none after the end of its link
//! 5. at most one live connection a lane
//! 6. the old session has ended before the first message of the new one
//! 7. reserved <= budget, and what is reserved is known to the link

mod pair;

use pair::steps::{Step, run};
use pair::{A, B, Fate};
use proptest::prelude::*;

fn side() -> impl Strategy<Value = usize> {
    prop_oneof![Just(A), Just(B)]
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 8_usize..200, 3 => 200_usize..70_000, 2 => 70_000_usize..600_000, 1 => 600_000_usize..3_000_000]
}

fn arriving() -> impl Strategy<Value = [usize; 2]> {
    prop_oneof![Just([0, 0]), [0_usize..300, 0_usize..300], [0_usize..100_000, 0_usize..100_000]]
}

fn step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![3 => Just(Fate::Connects), 1 => Just(Fate::Silence)];
    prop_oneof![
        6 => (side(), size()).prop_map(|(side, size)| Step::Send { side, size }),
        6 => (side(), size(), prop::option::of(0_u64..100))
            .prop_map(|(side, size, deadline)| Step::Call { side, size, deadline }),
        3 => (side(), 8_usize..90_000, any::<bool>())
            .prop_map(|(side, size, reply)| Step::Express { side, size, reply }),
        3 => (side(), 0_usize..6).prop_map(|(side, back)| Step::Cancel { side, back }),
        2 => (side(), 0_usize..6).prop_map(|(side, back)| Step::Withdraw { side, back }),
        3 => (side(), 1_usize..8).prop_map(|(side, count)| Step::Consume { side, count }),
        3 => (side(), 0_usize..8, size()).prop_map(|(side, back, size)| Step::Reply { side, back, size }),
        2 => (side(), any::<bool>(), any::<bool>())
            .prop_map(|(side, consumes, answers)| Step::Handlers { side, consumes, answers }),
        3 => (0_usize..2, arriving()).prop_map(|(lane, arriving)| Step::Cut { lane, arriving }),
        2 => arriving().prop_map(|arriving| Step::CutBoth { arriving }),
        1 => (0_usize..2, side()).prop_map(|(lane, side)| Step::Pause { lane, side }),
        2 => Just(Step::Resume),
        1 => (side(), fate, 0_u64..300).prop_map(|(side, fate, delay)| Step::Dials { side, fate, delay }),
        1 => (side(), 0_u64..50).prop_map(|(side, delay)| Step::Delay { side, delay }),
        8 => (0_u64..40).prop_map(|milliseconds| Step::Wait { milliseconds }),
        1 => (400_u64..6000).prop_map(|milliseconds| Step::Wait { milliseconds }),
        1 => (side(), 0_u64..6000).prop_map(|(side, milliseconds)| Step::StandStill { side, milliseconds }),
        1 => side().prop_map(|side| Step::Connect { side }),
        1 => side().prop_map(|side| Step::Borrow { side }),
        2 => side().prop_map(|side| Step::GiveBack { side }),
        2 => (side(), size(), any::<bool>()).prop_map(|(side, size, reply)| Step::Nested { side, size, reply }),
        1 => side().prop_map(|side| Step::Saturate { side }),
        1 => side().prop_map(|side| Step::Relieve { side }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_and_everything_ends(
        budget in prop_oneof![Just(64_u64 << 20), Just(8_u64 << 20), Just(1_u64 << 20)],
        capacity in prop_oneof![Just(256_usize * 1024), Just(3000)],
        steps in prop::collection::vec(step(), 1..80),
        goodbye in prop_oneof![4 => Just(None), 1 => side().prop_map(Some)],
    ) {
        run(budget, capacity, &steps, goodbye);
    }
}

// What random faults have found, as they were shrunk.

#[test]
fn growth_gives_back_a_grant_that_it_makes_superfluous() {
    run(
        64 << 20,
        256 * 1024,
        &[
            Step::Send { side: A, size: 8 },
            Step::Send { side: A, size: 262_061 },
            Step::Handlers { side: B, consumes: false, answers: false },
            Step::Wait { milliseconds: 5 },
            Step::Call { side: A, size: 600_000, deadline: None },
            Step::Wait { milliseconds: 1 },
        ],
        None,
    );
}

#[test]
fn a_retraction_leaves_the_grant_of_a_message_under_way() {
    run(
        64 << 20,
        3000,
        &[
            Step::Call { side: A, size: 262_057, deadline: Some(7) },
            Step::Wait { milliseconds: 6 },
            Step::CutBoth { arriving: [0, 0] },
            Step::Send { side: A, size: 8 },
            Step::Send { side: A, size: 8 },
            Step::Send { side: A, size: 600_000 },
            Step::Withdraw { side: A, back: 0 },
            Step::Send { side: A, size: 8 },
        ],
        None,
    );
}

#[test]
fn an_acknowledgement_that_was_lost_is_said_again_after_the_resume() {
    run(
        64 << 20,
        3000,
        &[
            Step::Connect { side: A },
            Step::Wait { milliseconds: 2 },
            Step::Send { side: B, size: 8 },
            Step::Pause { lane: 0, side: A },
            Step::CutBoth { arriving: [0, 0] },
            Step::Send { side: A, size: 8 },
            Step::Wait { milliseconds: 13 },
        ],
        None,
    );
}

#[test]
fn a_data_lane_that_one_side_lost_before_the_other_had_it_is_dialled_again() {
    run(
        64 << 20,
        256 * 1024,
        &[
            Step::Delay { side: A, delay: 0 },
            Step::Pause { lane: 1, side: A },
            Step::Call { side: B, size: 8, deadline: None },
            Step::Wait { milliseconds: 2 },
            Step::Cut { lane: 1, arriving: [361, 0] },
            Step::Call { side: A, size: 8, deadline: None },
            Step::Dials { side: A, fate: Fate::Connects, delay: 0 },
            Step::Express { side: B, size: 8, reply: false },
            Step::Wait { milliseconds: 1 },
            Step::Cancel { side: B, back: 1 },
        ],
        None,
    );
}

#[test]
fn a_reply_that_is_too_large_leaves_our_call_of_the_same_id_alone() {
    run(
        1 << 20,
        256 * 1024,
        &[
            Step::Handlers { side: B, consumes: false, answers: false },
            Step::Handlers { side: A, consumes: false, answers: false },
            Step::Send { side: A, size: 8 },
            Step::Call { side: A, size: 8, deadline: None },
            Step::Wait { milliseconds: 0 },
            Step::Send { side: B, size: 8 },
            Step::Call { side: B, size: 8, deadline: None },
            Step::Wait { milliseconds: 4 },
            Step::Reply { side: A, back: 0, size: 393_133 },
            Step::CutBoth { arriving: [0, 0] },
        ],
        None,
    );
}

#[test]
fn a_call_that_is_taken_back_after_it_was_granted_gives_the_grant_back() {
    run(
        8 << 20,
        256 * 1024,
        &[
            Step::Send { side: A, size: 8 },
            Step::Wait { milliseconds: 2 },
            Step::Cut { lane: 1, arriving: [0, 0] },
            Step::Pause { lane: 0, side: A },
            Step::Call { side: B, size: 1_270_776, deadline: Some(5) },
            Step::Withdraw { side: A, back: 0 },
            Step::Send { side: B, size: 2_923_357 },
        ],
        None,
    );
}

/// More if `MOSAIC_CASES` says so when this is compiled.
fn cases() -> u32 {
    option_env!("MOSAIC_CASES").and_then(|cases| cases.parse().ok()).unwrap_or(64)
}
