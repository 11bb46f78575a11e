//! A cluster on a virtual clock: a monitor and some workers that join, call, leave, die, lose sessions, are wrongly
//! declared dead and come back, with every interleaving that keeps the order from one runtime to another.
//!
//! Invariants, checked after every step:
//! - *events alternate*: a life is connected, then disconnected, and the connected ones are the topology;
//! - *the dead stay dead*: whoever saw a life go that has ended never sees it again;
//! - *nothing is told twice*: within a session the monitor never repeats to a member what that knows from it;
//! - *notices fit* the control lane; *the version* changes whenever the topology does;
//! - *timers advance*: a timeout that was handled is not asked for again.
//!
//! At the end, when all that is in flight has arrived: *all agree* on exactly those who live.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use mosaic_proto::limits::MAX_CONTROL_MESSAGE;
use mosaic_proto::membership::{Effect, Membership, Notice, Part, Verdict};
use mosaic_proto::{Instance, Place, Reason, Time, Topology, Uid};
use proptest::prelude::*;

const WORKERS: u8 = 5;

type Life = (Uid, Instance);

/// What travels on a session, in order.
#[derive(Debug, Clone)]
enum Packet {
    Notice(Notice),
    /// The session ends here, and this is what that proves.
    End(Verdict, Reason),
}

struct Runtime {
    membership: Membership,
    place: Place,
    sessions: BTreeMap<Uid, Instance>,
    connected: BTreeSet<Life>,
    gone: BTreeSet<Life>,
    /// What the monitor told in this session.
    told: Topology,
    told_now: BTreeMap<Uid, Place>,
    joined: bool,
    /// A copy of the topology, and of who is shaken, that follows what is said to have changed.
    followed: (Topology, BTreeSet<Uid>),
}

#[derive(Default)]
struct Cluster {
    now: Time,
    lives: u64,
    runtimes: BTreeMap<Uid, Runtime>,
    ended: BTreeSet<Life>,
    in_flight: BTreeMap<(Life, Life), VecDeque<Packet>>,
}

#[derive(Debug, Clone)]
enum Op {
    Join(u8),
    Die(u8),
    Leave(u8),
    Call(u8, u8),
    Cut(u8, u8),
    /// The first is wrongly sure that the second is dead.
    Misjudge(u8, u8),
    Deliver(u16),
    Tick(u8),
    MonitorDies,
    MonitorComes,
}

fn uid(number: u8) -> Uid {
    if number == WORKERS { monitor() } else { Uid::new(&format!("worker:{number}")).unwrap() }
}

fn monitor() -> Uid {
    Uid::new(Uid::MONITOR).unwrap()
}

impl Cluster {
    fn new() -> Cluster {
        let mut cluster = Cluster::default();
        cluster.start(&monitor());
        cluster
    }

    fn start(&mut self, uid: &Uid) {
        if self.runtimes.contains_key(uid) {
            return;
        }
        self.lives += 1;
        let place = Place { address: "10.0.0.1".into(), port: 7000, instance: Instance(self.lives) };
        let runtime = Runtime {
            membership: Membership::new(uid.clone(), place.clone()),
            place,
            sessions: BTreeMap::new(),
            connected: BTreeSet::new(),
            gone: BTreeSet::new(),
            told: Topology::default(),
            told_now: BTreeMap::new(),
            joined: false,
            followed: Default::default(),
        };
        self.runtimes.insert(uid.clone(), runtime);
        self.find_monitor(uid);
    }

    /// A worker without a session with the monitor dials it, as its driver would do again and again.
    fn find_monitor(&mut self, uid: &Uid) {
        let Some(runtime) = self.runtimes.get_mut(uid) else { return };
        let old_word_in_flight = self.in_flight.keys().any(|(from, to)| from.0.is_monitor() && to.0 == *uid);
        if uid.is_monitor() || runtime.sessions.contains_key(Uid::MONITOR) || old_word_in_flight {
            return;
        }
        if !self.runtimes.contains_key(Uid::MONITOR) {
            return;
        }
        self.open(uid, &monitor());
        let Some(runtime) = self.runtimes.get_mut(uid) else { return };
        if !runtime.joined {
            runtime.membership.introduce(&monitor());
            self.drain(uid);
        }
    }

    fn life(&self, uid: &Uid) -> Option<Life> {
        self.runtimes.get(uid).map(|runtime| (uid.clone(), runtime.place.instance))
    }

    /// Opens a session, as far as both sides let it come up.
    fn open(&mut self, from: &Uid, to: &Uid) {
        let (Some(caller), Some(callee)) = (self.life(from), self.life(to)) else { return };
        let busy = |one: &Life, other: &Life| self.in_flight.contains_key(&(one.clone(), other.clone()));
        if from == to || busy(&caller, &callee) || busy(&callee, &caller) {
            return;
        }
        for (mine, other) in [(&callee, &caller), (&caller, &callee)] {
            let runtime = self.runtimes.get_mut(&mine.0).unwrap();
            // The uid's session with an instance that is no more has to be over first.
            if runtime.sessions.contains_key(&other.0) {
                return;
            }
        }
        for (mine, other) in [(&callee, &caller), (&caller, &callee)] {
            let runtime = self.runtimes.get_mut(&mine.0).unwrap();
            runtime.sessions.insert(other.0.clone(), other.1);
            if other.0.is_monitor() {
                runtime.told_now.clear();
            }
        }
        let place = self.runtimes[from].place.clone();
        self.runtimes.get_mut(to).unwrap().membership.link_up(self.now, from, caller.1, Some(place));
        self.drain(to);
        let up = |runtime: &Runtime| runtime.sessions.get(to) == Some(&callee.1);
        if self.runtimes.get(from).is_some_and(up) {
            let runtime = self.runtimes.get_mut(from).unwrap();
            runtime.membership.link_up(self.now, to, callee.1, None);
            self.drain(from);
        }
    }

    /// Ends the session of `mine` with `other` on this side; the other side finds out behind what was sent before.
    fn close(&mut self, mine: &Life, other: &Life, verdict: Verdict, reason: &Reason) {
        if let Some(runtime) = self.runtimes.get_mut(&mine.0) {
            if runtime.sessions.get(&other.0) != Some(&other.1) {
                return;
            }
            runtime.sessions.remove(&other.0);
        }
        self.in_flight.remove(&(other.clone(), mine.clone()));
        if self.life(&other.0).as_ref() == Some(other) {
            let queue = self.in_flight.entry((mine.clone(), other.clone())).or_default();
            queue.push_back(Packet::End(verdict, reason.clone()));
        }
    }

    fn end(&mut self, uid: &Uid, verdict: Verdict, reason: Reason) {
        let Some(life) = self.life(uid) else { return };
        let runtime = self.runtimes.remove(uid).unwrap();
        self.ended.insert(life.clone());
        self.in_flight.retain(|(_, to), _| *to != life);
        let mut witnesses: BTreeSet<Uid> = runtime.sessions.keys().cloned().collect();
        // The monitor has other ways to find out in the end.
        witnesses.insert(monitor());
        for witness in witnesses {
            if let Some(witness) = self.life(&witness) {
                let queue = self.in_flight.entry((life.clone(), witness)).or_default();
                queue.push_back(Packet::End(verdict, reason.clone()));
            }
        }
    }

    fn leave(&mut self, uid: &Uid) {
        let Some(runtime) = self.runtimes.get_mut(uid) else { return };
        runtime.membership.leave(self.now);
        self.drain(uid);
        self.end(uid, Verdict::Left, Reason::Left { why: String::new() });
    }

    /// Both sides lose a session and everything in flight on it.
    fn cut(&mut self, one: &Uid, other: &Uid) {
        let (Some(a), Some(b)) = (self.life(one), self.life(other)) else { return };
        let joined = |mine: &Uid, other: &Life| self.runtimes[mine].sessions.get(&other.0) == Some(&other.1);
        if !joined(one, &b) || !joined(other, &a) {
            return;
        }
        self.in_flight.remove(&(a.clone(), b.clone()));
        self.in_flight.remove(&(b.clone(), a.clone()));
        for (mine, other) in [(&a, &b), (&b, &a)] {
            let Some(runtime) = self.runtimes.get_mut(&mine.0) else { continue };
            runtime.sessions.remove(&other.0);
            let reason = Reason::Unreachable { silent: Duration::from_secs(4) };
            runtime.membership.link_ended(self.now, &other.0, other.1, reason, Verdict::Unreachable);
            self.drain(&mine.0);
        }
    }

    fn misjudge(&mut self, judge: &Uid, victim: &Uid) {
        let (Some(mine), Some(other)) = (self.life(judge), self.life(victim)) else { return };
        if judge == victim || victim.is_monitor() || judge.is_monitor() {
            return;
        }
        let reason = Reason::Refused { detail: String::new() };
        self.close(&mine, &other, Verdict::Unreachable, &Reason::Unreachable { silent: Duration::ZERO });
        let runtime = self.runtimes.get_mut(judge).unwrap();
        runtime.membership.link_ended(self.now, victim, other.1, reason, Verdict::Dead);
        self.drain(judge);
    }

    /// Delivers the next packet of one of the sessions; false if nothing is in flight.
    fn deliver(&mut self, choice: usize) -> bool {
        let Some(key) = self.in_flight.keys().nth(choice % self.in_flight.len().max(1)).cloned() else {
            return false;
        };
        let queue = self.in_flight.get_mut(&key).unwrap();
        let packet = queue.pop_front();
        if queue.is_empty() {
            self.in_flight.remove(&key);
        }
        let ((sender, instance), (to, _)) = key;
        if let Some(packet) = packet
            && self.runtimes.contains_key(&to)
        {
            self.receive(&sender, instance, &to, packet);
        }
        true
    }

    fn receive(&mut self, sender: &Uid, instance: Instance, to: &Uid, packet: Packet) {
        let now = self.now;
        let runtime = self.runtimes.get_mut(to).unwrap();
        match packet {
            Packet::Notice(notice) => {
                if sender.is_monitor() {
                    runtime.hear(&notice);
                }
                match notice {
                    Notice::Hand { uid, place } => runtime.membership.hand(now, &uid, place),
                    Notice::Shake { network, part } => runtime.membership.shake(now, sender, network, part),
                    Notice::News(news) => runtime.membership.news(now, sender, &news),
                }
            }
            Packet::End(verdict, reason) => {
                if runtime.sessions.get(sender) == Some(&instance) {
                    runtime.sessions.remove(sender);
                }
                runtime.membership.link_ended(now, sender, instance, reason, verdict);
            }
        }
        self.drain(to);
    }

    /// Carries out what a machine wants, and checks it.
    fn drain(&mut self, uid: &Uid) {
        while let Some(runtime) = self.runtimes.get_mut(uid) {
            let Some(effect) = runtime.membership.poll_effect() else { break };
            let mine = (uid.clone(), runtime.place.instance);
            match effect {
                Effect::Send { to, message } => self.send(&mine, &to, message),
                Effect::Connected { uid: other, place } => {
                    let life = (other, place.instance);
                    let dead_again = self.ended.contains(&life) && runtime.gone.contains(&life);
                    assert!(!dead_again, "the dead stay dead: {life:?} at {uid}");
                    assert_ne!(life.0, *uid, "nobody meets himself");
                    assert!(runtime.connected.insert(life), "events alternate");
                }
                Effect::Disconnected { uid: other, instance, .. } => {
                    assert!(
                        runtime.connected.remove(&(other.clone(), instance)),
                        "events alternate: {other}"
                    );
                    runtime.gone.insert((other, instance));
                }
                Effect::ShakeDone { from } => runtime.joined |= from.is_monitor(),
                Effect::End { uid: other, instance, reason } => {
                    self.close(&mine, &(other, instance), Verdict::Unreachable, &reason);
                }
                Effect::Refuse { to, instance, .. } => {
                    self.close(&mine, &(to, instance), Verdict::Unreachable, &Reason::Forgotten);
                }
                Effect::Condemned { reason } => self.end(uid, Verdict::Dead, reason),
            }
        }
        if let Some(runtime) = self.runtimes.get_mut(uid) {
            runtime.check(uid);
        }
    }

    fn send(&mut self, mine: &Life, to: &Uid, message: Notice) {
        assert!(encoded_bytes(&message) < MAX_CONTROL_MESSAGE, "notices fit");
        let runtime = &self.runtimes[&mine.0];
        if let Some(&instance) = runtime.sessions.get(to)
            && self.life(to) == Some((to.clone(), instance))
        {
            let queue = self.in_flight.entry((mine.clone(), (to.clone(), instance))).or_default();
            queue.push_back(Packet::Notice(message));
        }
    }

    fn tick(&mut self, by: Duration) {
        self.now = self.now + by;
        for uid in self.runtimes.keys().cloned().collect::<Vec<_>>() {
            let Some(runtime) = self.runtimes.get_mut(&uid) else { continue };
            if runtime.membership.poll_timeout().is_some_and(|at| at <= self.now) {
                runtime.membership.handle_timeout(self.now);
                let next = runtime.membership.poll_timeout();
                assert!(next.is_none_or(|at| at > self.now), "timers advance");
                self.drain(&uid);
            }
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Join(number) => {
                self.start(&uid(*number));
                self.find_monitor(&uid(*number));
            }
            Op::Die(number) => {
                self.end(&uid(*number), Verdict::Dead, Reason::Exited { detail: String::new() })
            }
            Op::Leave(number) => self.leave(&uid(*number)),
            Op::Call(from, to) => {
                let knows = |runtime: &Runtime| runtime.membership.who(&uid(*to)).map(|place| place.instance);
                let known = self.runtimes.get(&uid(*from)).and_then(knows);
                if known.is_some() && known == self.life(&uid(*to)).map(|life| life.1) {
                    self.open(&uid(*from), &uid(*to));
                }
            }
            Op::Cut(one, other) => self.cut(&uid(*one), &uid(*other)),
            Op::Misjudge(judge, victim) => self.misjudge(&uid(*judge), &uid(*victim)),
            Op::Deliver(choice) => {
                self.deliver(usize::from(*choice));
            }
            Op::Tick(millis) => self.tick(Duration::from_millis(u64::from(*millis))),
            Op::MonitorDies => self.end(&monitor(), Verdict::Dead, Reason::Exited { detail: String::new() }),
            Op::MonitorComes => self.start(&monitor()),
        }
    }

    /// Lets everything arrive, and time pass until nobody waits for anything.
    fn settle(&mut self) {
        self.start(&monitor());
        for _ in 0..200 {
            while self.deliver(0) {}
            for uid in self.runtimes.keys().cloned().collect::<Vec<_>>() {
                self.find_monitor(&uid);
            }
            self.tick(Duration::from_millis(500));
        }
    }

    fn assert_all_agree(&self) {
        let living: Topology =
            self.runtimes.iter().map(|(uid, runtime)| (uid.clone(), runtime.place.clone())).collect();
        for (uid, runtime) in &self.runtimes {
            assert!(runtime.joined || uid.is_monitor(), "{uid} has joined");
            assert_eq!(runtime.membership.topology(), &living, "all agree, seen by {uid}");
            assert!(
                living.iter().all(|(other, _)| runtime.membership.shaken(other)),
                "all are shaken at {uid}"
            );
        }
    }
}

impl Runtime {
    /// Nothing is told twice.
    fn hear(&mut self, notice: &Notice) {
        match notice {
            Notice::Hand { .. } => {}
            Notice::Shake { network, part } => {
                self.told_now.extend(network.iter().cloned());
                if *part == Part::Last {
                    self.told = self.told_now.clone().into_iter().collect();
                }
            }
            Notice::News(news) => {
                for (uid, instance, _) in &news.gone {
                    if self.told_now.get(uid).is_some_and(|place| place.instance == *instance) {
                        self.told_now.remove(uid);
                    }
                }
                for (uid, place) in &news.joined {
                    let before = self.told_now.insert(uid.clone(), place.clone());
                    assert_ne!(before.as_ref(), Some(place), "nothing is told twice: {uid}");
                }
            }
        }
    }

    fn check(&mut self, uid: &Uid) {
        let others = self.membership.topology().iter().filter(|(other, _)| *other != uid);
        let others: BTreeSet<Life> = others.map(|(other, place)| (other.clone(), place.instance)).collect();
        assert_eq!(others, self.connected, "the connected ones are the topology of {uid}");
        assert!(self.membership.topology().holds(uid, self.place.instance), "{uid} knows itself");
        self.follow();
        let (topology, shaken) = &self.followed;
        assert_eq!(topology, self.membership.topology(), "what changes is said");
        let really = topology.iter().map(|(uid, _)| uid).filter(|uid| self.membership.shaken(uid));
        assert!(really.eq(shaken), "who is shaken is said");
    }

    fn follow(&mut self) {
        let (topology, shaken) = &mut self.followed;
        for uid in self.membership.take_changed() {
            match self.membership.topology().get(&uid) {
                Some(place) => topology.insert(uid.clone(), place.clone()),
                None => topology.remove(&uid),
            };
            match self.membership.shaken(&uid) {
                true => shaken.insert(uid),
                false => shaken.remove(&uid),
            };
        }
    }
}

/// What the notice takes on the wire, generously.
fn encoded_bytes(notice: &Notice) -> usize {
    let join = |(uid, place): &(Uid, Place)| 24 + uid.len() + place.address.len();
    match notice {
        Notice::Hand { uid, place } => 24 + uid.len() + place.address.len(),
        Notice::Shake { network, .. } => network.iter().map(join).sum(),
        Notice::News(news) => {
            let gone = news.gone.iter().map(|(uid, _, reason)| {
                let (code, detail) = reason.to_wire();
                24 + uid.len() + code.len() + detail.len()
            });
            gone.sum::<usize>() + news.joined.iter().map(join).sum::<usize>()
        }
    }
}

fn op() -> impl Strategy<Value = Op> {
    let worker = || 0..WORKERS;
    let anyone = || 0..=WORKERS;
    prop_oneof![
        6 => worker().prop_map(Op::Join),
        2 => worker().prop_map(Op::Die),
        2 => worker().prop_map(Op::Leave),
        4 => (anyone(), anyone()).prop_map(|(from, to)| Op::Call(from, to)),
        2 => (anyone(), anyone()).prop_map(|(one, other)| Op::Cut(one, other)),
        1 => (worker(), worker()).prop_map(|(judge, victim)| Op::Misjudge(judge, victim)),
        30 => any::<u16>().prop_map(Op::Deliver),
        6 => (0..30u8).prop_map(Op::Tick),
        1 => Just(Op::MonitorDies),
        2 => Just(Op::MonitorComes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn all_agree_on_the_living_whatever_the_interleaving(ops in prop::collection::vec(op(), 1..200)) {
        let mut cluster = Cluster::new();
        for op in &ops {
            cluster.apply(op);
        }
        cluster.settle();
        cluster.assert_all_agree();
    }
}

/// A seed that failed: the dead were condemned by a monitor that died before it could tell them, and came back
/// through the next one, which everybody but the others believed.
#[test]
fn whoever_a_dead_monitor_condemned_does_not_divide_the_others() {
    use Op::*;
    let mut cluster = Cluster::new();
    let ops = [
        Join(2),
        Join(1),
        Deliver(2538),
        MonitorDies,
        Deliver(0),
        MonitorComes,
        Deliver(0),
        Deliver(0),
        Misjudge(1, 2),
        Join(1),
        Deliver(0),
        Tick(3),
        Deliver(0),
        Tick(22),
        Join(0),
        Deliver(52765),
        Tick(10),
        MonitorDies,
    ];
    ops.iter().for_each(|op| cluster.apply(op));
    cluster.settle();
    cluster.assert_all_agree();
}
