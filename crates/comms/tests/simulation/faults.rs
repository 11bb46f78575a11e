//! What is done to the network and to the runtimes of a course.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::advance;

use crate::course::bring_in;
use crate::plant::Plant;
use crate::record::End;
use crate::world::{Process, UIDS, World, pause};

/// When the last fault begins.
pub(crate) const FAULTS_UNTIL: Duration = Duration::from_secs(42);

/// How long a process may stand still, and nobody may mind.
const HARMLESS: Duration = Duration::from_millis(2800);

/// How long what is held up stays so, for it to be noticed.
const HARMFUL: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(8)];

/// Does harm, one fault after another and sometimes several at once.
pub(crate) async fn harm(world: Arc<World>, mut random: Rng) {
    // Who is planted as undead is looked for while all is calm.
    while world.now() < FAULTS_UNTIL && world.plant != Plant::Undead {
        pause(Duration::from_micros(random.u64(0..2_500_000))).await;
        let seed = random.fork();
        match random.u32(0..100) {
            0..25 => cut(&world, seed),
            25..40 => hold(&world, seed, HARMLESS).await,
            40..50 => hold_for_long(&world, seed).await,
            50..60 => stall(&world, seed, HARMLESS).await,
            60..66 => stall_for_long(&world, seed).await,
            66..74 => slow_down(&world, seed).await,
            74..80 => jump(&world, seed).await,
            80..90 => end(&world, seed, End::Killed).await,
            90..94 => end(&world, seed, End::Vanished).await,
            _ => end(&world, seed, End::Left).await,
        }
    }
}

fn pair(random: &mut Rng) -> [&'static str; 2] {
    let one = random.usize(0..UIDS.len());
    let other = (one + random.usize(1..UIDS.len())) % UIDS.len();
    [UIDS[one], UIDS[other]]
}

/// Cuts connections: of all, or of two, once or many times.
fn cut(world: &World, mut random: Rng) {
    let [one, other] = pair(&mut random);
    if random.bool() {
        world.log(|| "cut everything".to_owned());
        world.network.cut_connections();
        world.note(|record| UIDS.iter().for_each(|uid| record.disturb(uid)));
    } else {
        world.log(|| format!("cut {one} from {other}"));
        if let Some([one, other]) = world.processes([one, other]) {
            one.context.cut_between(&other.context);
        }
        world.note(|record| [one, other].iter().for_each(|uid| record.disturb(uid)));
    }
}

/// Nothing arrives between two, one way or both ways.
async fn hold(world: &World, mut random: Rng, most: Duration) {
    let (between, both) = (pair(&mut random), random.bool());
    hold_between(world, &[between], both, random.u64(1..=most.as_millis() as u64)).await;
    // What was held up may be late; only then may it be held up again.
    pause(Duration::from_secs(5)).await;
}

async fn hold_for_long(world: &World, mut random: Rng) {
    let between = pair(&mut random);
    let both = random.bool();
    let [least, most] = HARMFUL.map(|time| time.as_millis() as u64);
    hold_between(world, &[between], both, random.u64(least..most)).await;
}

/// A process stands still, as far as the others can tell.
async fn stall(world: &World, mut random: Rng, most: Duration) {
    let pairs = pairs_of(UIDS[random.usize(0..UIDS.len())]);
    hold_between(world, &pairs, true, random.u64(1..=most.as_millis() as u64)).await;
    pause(Duration::from_secs(5)).await;
}

async fn stall_for_long(world: &World, mut random: Rng) {
    let pairs = pairs_of(UIDS[random.usize(0..UIDS.len())]);
    let [least, most] = HARMFUL.map(|time| time.as_millis() as u64);
    hold_between(world, &pairs, true, random.u64(least..most)).await;
}

fn pairs_of(uid: &'static str) -> Vec<[&'static str; 2]> {
    UIDS.into_iter().filter(|other| *other != uid).map(|other| [uid, other]).collect()
}

async fn hold_between(world: &World, pairs: &[[&'static str; 2]], both: bool, milliseconds: u64) {
    world.log(|| format!("hold {pairs:?} for {milliseconds} ms, both ways: {both}"));
    // Those who are held up now: one of them may be another process when it is over.
    let held: Vec<_> = pairs.iter().filter_map(|pair| world.processes(*pair)).collect();
    for [one, other] in &held {
        world.note(|record| record.hold([one.life, other.life]));
        one.context.hold_to(&other.context);
        if both {
            other.context.hold_to(&one.context);
        }
    }
    pause(Duration::from_millis(milliseconds)).await;
    world.log(|| format!("deliver {pairs:?}"));
    for [one, other] in &held {
        one.context.deliver_to(&other.context);
        other.context.deliver_to(&one.context);
    }
    world.hold_vanished();
    for [one, other] in &held {
        world.note(|record| record.deliver([one.life, other.life]));
    }
}

async fn slow_down(world: &World, mut random: Rng) {
    let uid = UIDS[random.usize(0..UIDS.len())];
    let slowness = Duration::from_millis(random.u64(1..100));
    world.log(|| format!("{uid} is slow by {slowness:?}"));
    let Some([Process { context, .. }, _]) = world.processes([uid, uid]) else { return };
    context.set_slowness(slowness);
    pause(Duration::from_millis(random.u64(100..5000))).await;
    context.set_slowness(Duration::ZERO);
    world.log(|| format!("{uid} is no longer slow"));
}

/// The machine that all run on sleeps: everybody is late by as much.
async fn jump(world: &World, mut random: Rng) {
    let by = Duration::from_millis(random.u64(10..15_000));
    world.log(|| format!("all clocks jump by {by:?}"));
    world.note(|record| record.jumped = Some(record.now + by));
    advance(by).await;
    world.note(|record| record.jumped = Some(record.now));
    pause(Duration::from_millis(500)).await;
}

/// A runtime ends, and begins its next life after a while.
async fn end(world: &Arc<World>, mut random: Rng, how: End) {
    let uid = UIDS[random.usize(0..UIDS.len())];
    match how {
        End::Left => world.stop(uid).await,
        _ => world.end(uid, how),
    }
    pause(Duration::from_millis(random.u64(0..3000))).await;
    bring_in(world, uid, random).await;
}
