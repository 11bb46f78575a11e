//! A course of sixty virtual seconds, from its seed to its end.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use crate::faults::harm;
use crate::invariants::{everybody_knows_everybody, nothing_is_left};
use crate::plant::Plant;
use crate::traffic::{Driver, probe};
use crate::world::{Broken, UIDS, World, pause};

/// When nothing happens any more but what the runtimes do.
const TRAFFIC_UNTIL: Duration = Duration::from_secs(46);

/// How long a course takes at least.
const LENGTH: Duration = Duration::from_secs(60);

/// How often the invariants are checked where nothing is observed.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What came of a course.
pub(crate) struct Outcome {
    pub(crate) broken: Option<Broken>,
    pub(crate) log: Vec<String>,
    pub(crate) messages: usize,
    pub(crate) lives: usize,
}

/// Runs the course of this seed.
pub(crate) fn run(seed: u64, plant: Plant) -> Outcome {
    // What a trace is named.
    fastrand::seed(seed);
    let executor =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    executor.block_on(async {
        let world = World::new(seed, plant);
        tokio::select! {
            biased;
            () = world.stopped.notified() => {}
            () = course(&world, Rng::with_seed(seed)) => {}
            () = pause(LENGTH * 3) => world.fail("a_course_ends", "something is waited for in vain".to_owned()),
        }
        let (messages, lives) = world.look_up(|record| (record.messages.len(), record.lives.len()));
        Outcome { broken: world.broken(), log: world.take_log(), messages, lives }
    })
}

async fn course(world: &Arc<World>, mut random: Rng) {
    for uid in UIDS {
        bring_in(world, uid, random.fork()).await;
    }
    let looking = tokio::spawn(look(world.clone()));
    world.plant_from_outside().await;
    let harming: Vec<_> = (0..2).map(|_| tokio::spawn(harm(world.clone(), random.fork()))).collect();
    for task in harming {
        let _ = task.await;
    }
    pause(TRAFFIC_UNTIL.saturating_sub(world.now())).await;
    end_traffic(world).await;
    world.log(|| "nothing more is sent".to_owned());
    // What was sent comes to its end.
    let settled = world.now().max(LENGTH - Duration::from_secs(4));
    pause(settled.saturating_sub(world.now()).max(Duration::from_secs(8))).await;
    probe_all(world).await;
    judge(world);
    for uid in UIDS {
        world.stop(uid).await;
    }
    looking.abort();
}

async fn end_traffic(world: &World) {
    let traffic: Vec<_> =
        world.nodes.lock().values_mut().map(|node| std::mem::take(&mut node.traffic)).collect();
    for mut traffic in traffic {
        traffic.shutdown().await;
    }
}

async fn probe_all(world: &World) {
    for from in UIDS {
        for to in UIDS.into_iter().filter(|to| *to != from) {
            let node = world.nodes.lock().get(from).map(|node| (node.comms.clone(), node.life));
            if let Some((comms, life)) = node {
                probe(world, &comms, life, to).await;
            }
        }
    }
}

fn judge(world: &World) {
    let verdicts = world.look_up(|record| {
        [
            ("everybody_knows_everybody", everybody_knows_everybody(record)),
            ("nothing_is_left", nothing_is_left(record)),
        ]
    });
    for (name, verdict) in verdicts {
        if let Err(what) = verdict {
            world.fail(name, what);
        }
    }
}

/// Starts a life of this uid, as often as it takes, and lets it speak. A monitor that lives may still be holding the
/// uid for one that has gone without a word.
pub(crate) async fn bring_in(world: &Arc<World>, uid: &'static str, mut random: Rng) {
    if world.nodes.lock().contains_key(uid) || !world.starting.lock().insert(uid) {
        return;
    }
    let life = loop {
        match world.start(uid).await {
            Ok(life) => break life,
            Err(error) => {
                world.log(|| format!("{uid} does not get in: {error:?}"));
                pause(Duration::from_millis(500)).await;
            }
        }
    };
    world.starting.lock().remove(uid);
    let mut nodes = world.nodes.lock();
    let Some(node) = nodes.get_mut(uid) else { return };
    for to in UIDS.into_iter().filter(|to| *to != uid) {
        let (world, comms) = (world.clone(), node.comms.clone());
        node.traffic.spawn(Driver { world, comms, from: life, to, random: random.fork() }.run());
    }
}

async fn look(world: Arc<World>) {
    loop {
        pause(LOOK_EVERY).await;
        world.note(|_| ());
    }
}
