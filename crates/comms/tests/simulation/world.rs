//! The managers of a course, what they serve, and the record of what happens: every observation is noted, and then
//! every invariant is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mosaic_comms::{
    Args, Call, CallError, CommsManager, Config, Context, Event, HandlerError, Inspection, Methods,
    Notify as Pass, StartError, Uid, kwargs,
};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::invariants::INVARIANTS;
use crate::plant::Plant;
use crate::record::{End, Ending, Life, LifeId, Moment, Record};

/// Who takes part.
pub(crate) const UIDS: [&str; 4] = ["monitor", "a", "b", "c"];

/// The monitor's port: it comes back where it was.
const MONITOR_PORT: u16 = 9000;

/// What each process may lend its peers. Little, so that large messages have to wait for one another.
const BUDGET: u64 = 3 << 20;

/// The first invariant that was broken, and how.
pub(crate) type Broken = (&'static str, String);

/// Lets virtual time pass.
pub(crate) async fn pause(time: Duration) {
    sleep_until(Instant::now() + time).await;
}

/// A runtime that lives.
pub(crate) struct Node {
    pub(crate) life: LifeId,
    pub(crate) comms: CommsManager,
    pub(crate) context: Context,
    /// What it sends.
    pub(crate) traffic: JoinSet<()>,
}

/// What a fault is done to: who comes next under the same uid is another.
pub(crate) struct Process {
    pub(crate) life: LifeId,
    pub(crate) context: Context,
}

pub(crate) struct World {
    begun: Instant,
    pub(crate) network: Context,
    record: Mutex<Record>,
    pub(crate) nodes: Mutex<BTreeMap<&'static str, Node>>,
    /// Who is about to take part.
    pub(crate) starting: Mutex<BTreeSet<&'static str>>,
    /// Whom nobody reaches any more, and whose end nobody has seen.
    vanished: Mutex<Vec<Context>>,
    pub(crate) plant: Plant,
    log: Mutex<Vec<String>>,
    broken: Mutex<Option<Broken>>,
    pub(crate) stopped: Notify,
}

impl World {
    pub(crate) fn new(seed: u64, plant: Plant) -> Arc<World> {
        Arc::new(World {
            begun: Instant::now(),
            network: Context::simulated(seed),
            record: Mutex::default(),
            nodes: Mutex::default(),
            starting: Mutex::default(),
            vanished: Mutex::default(),
            plant,
            log: Mutex::default(),
            broken: Mutex::default(),
            stopped: Notify::new(),
        })
    }

    pub(crate) fn now(&self) -> Moment {
        self.begun.elapsed()
    }

    /// A line for people.
    pub(crate) fn log(&self, line: impl FnOnce() -> String) {
        let line = format!("{:>12.6} {}", self.now().as_secs_f64(), line());
        tracing::info!("{line}");
        self.log.lock().push(line);
    }

    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock())
    }

    pub(crate) fn broken(&self) -> Option<Broken> {
        self.broken.lock().clone()
    }

    /// Notes an observation and checks every invariant.
    pub(crate) fn note<R>(&self, observation: impl FnOnce(&mut Record) -> R) -> R {
        let (views, connections) = (self.views(), self.connections());
        let mut record = self.record.lock();
        record.now = self.now();
        let result = observation(&mut record);
        for (life, links, lent) in views {
            self.take_view(&mut record, life, links, lent);
        }
        record.crowd(connections);
        if let Some(panic) = crate::take_panic() {
            self.fail("nothing_panics", panic);
        }
        for (name, holds) in INVARIANTS {
            if let Err(what) = holds(&record) {
                self.fail(name, what);
            }
        }
        record.touched.clear();
        result
    }

    pub(crate) fn fail(&self, name: &'static str, what: String) {
        if self.broken.lock().is_some() {
            return;
        }
        self.log(|| format!("BROKEN {name}: {what}"));
        for (uid, node) in self.nodes.lock().iter() {
            self.log(|| format!("{uid} lends {} bytes of its budget", node.context.lent()));
            node.comms.inspect().iter().for_each(|link| self.log(|| format!("{uid}: {link:?}")));
        }
        *self.broken.lock() = Some((name, what));
        self.stopped.notify_one();
    }

    /// Looks at what was noted.
    pub(crate) fn look_up<R>(&self, look: impl FnOnce(&Record) -> R) -> R {
        look(&self.record.lock())
    }

    /// The processes of two that live.
    pub(crate) fn processes(&self, pair: [&str; 2]) -> Option<[Process; 2]> {
        let nodes = self.nodes.lock();
        let process =
            |uid| nodes.get(uid).map(|node| Process { life: node.life, context: node.context.clone() });
        Some([process(pair[0])?, process(pair[1])?])
    }

    /// Nothing comes from those who have vanished, nor gets there.
    pub(crate) fn hold_vanished(&self) {
        for gone in self.vanished.lock().iter() {
            self.nodes.lock().values().for_each(|node| hold(gone, &node.context));
        }
    }

    /// What every link stands at.
    fn views(&self) -> Vec<(LifeId, Vec<Inspection>, u64)> {
        let nodes = self.nodes.lock();
        nodes.values().map(|node| (node.life, node.comms.inspect(), node.context.lent())).collect()
    }

    /// How many connections there are between any two.
    fn connections(&self) -> Vec<([&'static str; 2], usize)> {
        let nodes = self.nodes.lock();
        let spare = self.plant.spare_connections();
        let mut connections = Vec::new();
        for (one, node) in nodes.iter() {
            for (other, peer) in nodes.iter().filter(|(other, _)| *other > one) {
                connections.push(([*one, *other], node.context.connections_to(&peer.context) + spare));
            }
        }
        connections
    }

    fn take_view(&self, record: &mut Record, id: LifeId, mut links: Vec<Inspection>, lent: u64) {
        self.plant.change_views(&mut links);
        for link in &links {
            let Some(other) = link.instance.and_then(|instance| record.by_instance(instance)) else {
                continue;
            };
            let session = self.plant.change_session(record.now, link.session);
            record.sessions.entry((id, other)).or_default().note(session);
        }
        let life = &mut record.lives[id.0];
        life.views = links;
        life.lent = lent;
    }

    // ---- lives ----

    /// Starts a runtime; it takes part once this returns.
    pub(crate) async fn start(self: &Arc<Self>, uid: &'static str) -> Result<LifeId, StartError> {
        let context = self.network.simulated_beside(BUDGET);
        self.vanished.lock().iter().for_each(|gone| hold(&context, gone));
        let config = Config::default().context(context.clone());
        let config = match uid {
            "monitor" => config.port(MONITOR_PORT),
            _ => config.monitor("simulated", MONITOR_PORT),
        };
        let id = LifeId(self.look_up(|record| record.lives.len()));
        let comms = CommsManager::new(uid, self.methods(id), config)?;
        self.log(|| format!("{uid} begins to live as {id:?}"));
        self.note(|record| record.lives.push(life(uid, &comms, record.now, self.plant.budget(BUDGET))));
        tokio::spawn(self.clone().hear(id, uid, comms.events()));
        let mut joining = Joining { world: self, life: id, joined: false };
        comms.connect_recv().await?;
        if uid != "monitor" {
            comms.handshake("monitor", "simulated", MONITOR_PORT).await.map_err(StartError::Handshake)?;
        }
        comms.listen();
        joining.joined = true;
        self.log(|| format!("{uid} is in"));
        let node = Node { life: id, comms, context, traffic: JoinSet::new() };
        self.nodes.lock().insert(uid, node);
        Ok(id)
    }

    /// Ends a life without a word: its process is killed, or its host is gone.
    pub(crate) fn end(&self, uid: &'static str, how: End) {
        let Some(mut node) = self.nodes.lock().remove(uid) else { return };
        self.log(|| format!("{uid} ({:?}) ends: {how:?}", node.life));
        node.traffic.abort_all();
        self.note(|record| {
            record.lives[node.life.0].end = Some((record.now, how));
            UIDS.iter().for_each(|uid| record.disturb(uid));
        });
        if self.plant.change_end(how) == End::Vanished {
            self.vanished.lock().push(node.context.clone());
            self.hold_vanished();
        } else {
            node.context.kill();
        }
    }

    /// Ends a life in good order.
    pub(crate) async fn stop(&self, uid: &'static str) {
        let Some(mut node) = self.nodes.lock().remove(uid) else { return };
        self.log(|| format!("{uid} ({:?}) stops", node.life));
        // From now on it may be heard that it leaves.
        self.note(|record| {
            record.lives[node.life.0].end = Some((record.now, End::Left));
            UIDS.iter().for_each(|uid| record.disturb(uid));
        });
        node.comms.stop().await;
        node.traffic.shutdown().await;
        self.log(|| format!("{uid} has stopped"));
    }

    async fn hear(self: Arc<Self>, by: LifeId, uid: &'static str, mut events: mosaic_comms::Events) {
        while let Some(event) = events.next().await {
            self.log(|| format!("{uid} hears {}", shown(&event)));
            self.note(|record| {
                record.heard(by, &event);
                if self.plant.tells_twice(&event) {
                    record.heard(by, &event);
                }
            });
        }
    }

    fn hook(&self, by: LifeId, uid: &Uid, came: bool) {
        self.note(|record| {
            if record.is_alive(by) {
                let came = came != self.plant.hooks_lie();
                record.lives[by.0].told[1].push((uid.to_string(), came));
            }
        });
    }

    /// Does what is planted from outside of the traffic.
    pub(crate) async fn plant_from_outside(&self) {
        let get = |uid: &str| self.nodes.lock()[uid].comms.clone();
        match self.plant {
            Plant::Slander => {
                let (monitor, a, b) = (get("monitor"), get("a"), get("b"));
                monitor.protocol().disconnect(a.uid(), b.uid(), Pass::Others).await;
            }
            Plant::SecretHold => {
                let [a, b] = self.processes(["a", "b"]).unwrap();
                hold(&a.context, &b.context);
            }
            Plant::Undead => self.end("c", End::Killed),
            _ => {}
        }
    }

    // ---- what is served ----

    fn methods(self: &Arc<Self>, at: LifeId) -> Methods {
        let [noting, calling, passing, came, went] = std::array::from_fn(|_| self.clone());
        Methods::new()
            .method("note", move |args, _| {
                let begun = noting.begin(at, &args);
                async move { begun.map(drop) }
            })
            .method("call", move |args, _| {
                let begun = calling.begin(at, &args);
                async move {
                    let (id, work) = begun?;
                    if !work.is_zero() {
                        pause(work).await;
                    }
                    let reply = args.get::<u64>("reply")?;
                    Ok((id as u64, serde_bytes::ByteBuf::from(vec![7; reply as usize])))
                }
            })
            .method("pass", move |args, call| {
                let begun = passing.begin(at, &args);
                let world = passing.clone();
                async move {
                    let (id, _) = begun?;
                    world.pass_on(at, &args, &call).await?;
                    Ok(id as u64)
                }
            })
            .on_connected(move |uid| came.hook(at, uid, true))
            .on_disconnected(move |uid, _| went.hook(at, uid, false))
    }

    /// A handler begins.
    fn begin(&self, at: LifeId, args: &Args) -> Result<(usize, Duration), HandlerError> {
        let id = args.get::<u64>("id")? as usize;
        self.log(|| format!("message {id} starts at {at:?}"));
        let work = self.note(|record| {
            record.started(id, at);
            if self.plant.starts_twice(id) {
                record.started(id, at);
            }
            record.messages[id].work
        });
        let work = if self.plant.hangs(id) { Duration::from_secs(1_000_000) } else { work };
        Ok((id, work))
    }

    /// Calls somebody else on behalf of a caller.
    async fn pass_on(&self, at: LifeId, args: &Args, call: &Call) -> Result<(), HandlerError> {
        let to = args.get::<String>("to")?;
        let to = UIDS.into_iter().find(|uid| **uid == *to).unwrap();
        let inner = self.note(|record| {
            let message = crate::traffic::nested(record, at, to);
            record.sent(message)
        });
        let watch = Dropped { world: self, id: inner };
        let args = kwargs! { id: inner as u64, reply: 0_u64 };
        let outcome = call.comms().send_recv::<(u64, serde_bytes::ByteBuf)>(to, "call", args).await;
        watch.ended(outcome.as_ref().map(drop));
        outcome.map(drop).map_err(HandlerError::from)
    }

    pub(crate) fn ended(&self, id: usize, outcome: Result<(), &CallError>) {
        let ending = match outcome {
            Ok(()) => Ending::Result,
            Err(error) => Ending::Failed(self.plant.change_execution(error.execution()), error.to_string()),
        };
        self.log(|| format!("message {id} ended: {ending:?}"));
        self.note(|record| record.ended(id, ending));
    }
}

/// Notes that a call was given up, if its future is dropped before it ended.
pub(crate) struct Dropped<'a> {
    pub(crate) world: &'a World,
    pub(crate) id: usize,
}

impl Dropped<'_> {
    pub(crate) fn ended(self, outcome: Result<(), &CallError>) {
        self.world.ended(self.id, outcome);
        std::mem::forget(self);
    }
}

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        let id = self.id;
        self.world.log(|| format!("message {id} is given up"));
        self.world.note(|record| {
            record.open.remove(&id);
            record.messages[id].dropped = Some(record.now);
        });
    }
}

/// Notes that a life has come to nothing, if it does not get in.
struct Joining<'a> {
    world: &'a World,
    life: LifeId,
    joined: bool,
}

impl Drop for Joining<'_> {
    fn drop(&mut self) {
        if !self.joined {
            self.world.note(|record| {
                let now = record.now;
                record.lives[self.life.0].end.get_or_insert((now, End::Killed));
            });
        }
    }
}

fn hold(one: &Context, other: &Context) {
    one.hold_to(other);
    other.hold_to(one);
}

fn life(uid: &'static str, comms: &CommsManager, born: Moment, budget: u64) -> Life {
    Life {
        uid,
        instance: comms.instance(),
        born,
        end: None,
        present: BTreeMap::new(),
        gone: BTreeSet::new(),
        told: [Vec::new(), Vec::new()],
        views: Vec::new(),
        lent: 0,
        budget,
    }
}

fn shown(event: &Event) -> String {
    match event {
        Event::Connected { uid, place } => format!("that {uid} is there: {:?}", place.instance),
        Event::Disconnected { uid, reason } => format!("that {uid} is gone: {reason}"),
        Event::Unreachable { uid, reason } => format!("that {uid} is out of reach: {reason}"),
        other => format!("{other:?}"),
    }
}
