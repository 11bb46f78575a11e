//! A network on a virtual clock: connections in memory whose bytes travel for a seeded while and in seeded pieces, and
//! which can be cut, held up or slowed down, for everybody or between two processes.
//!
//! A [`Node`] is what the context of one process has of it. What holds between processes is kept in [`Conditions`].

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::memory::{self, Memory, MemoryListener, Registry};
use super::{AnyStream, Stream, read_some, write_all};

/// How long bytes travel: a base and a random part on top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delay {
    pub(crate) base: Duration,
    pub(crate) spread: Duration,
}

/// A process of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Process(u32);

/// One process's part in a simulated network.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    network: Arc<Network>,
    process: Process,
}

/// What the processes share.
#[derive(Debug)]
struct Network {
    state: Mutex<State>,
    conditions: Mutex<Conditions>,
    /// Wakes in the order of waiting, so that a course follows from its seed; a `watch` wakes in a random one.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    random: fastrand::Rng,
    delay: Delay,
    processes: u32,
    /// Who listens, or listened last, at a host and port.
    homes: BTreeMap<(String, u16), Process>,
    connections: u64,
    /// The ends of every connection that is carried now, to cut them by.
    carried: BTreeMap<u64, Carried>,
}

#[derive(Debug)]
struct Carried {
    between: [Process; 2],
    ends: [Arc<Memory>; 2],
}

/// What keeps bytes from arriving, and connections from being made.
#[derive(Debug, Default)]
struct Conditions {
    /// Nothing is delivered at all.
    parted: bool,
    /// From whom nothing is delivered to whom.
    held: BTreeSet<(Process, Process)>,
    /// How much longer bytes from and to a process travel.
    slow: BTreeMap<Process, Duration>,
    /// Nobody listens there any more, and whoever dials is refused.
    killed: BTreeSet<Process>,
}

/// One direction of a connection.
#[derive(Debug, Clone, Copy)]
struct Way {
    connection: u64,
    from: Process,
    to: Process,
}

impl Conditions {
    fn delivers(&self, from: Process, to: Process) -> bool {
        !self.parted && !self.held.contains(&(from, to))
    }

    fn slowness(&self, process: Process) -> Duration {
        self.slow.get(&process).copied().unwrap_or_default()
    }
}

impl Node {
    /// The first process of a new network.
    pub(crate) fn first(seed: u64) -> Node {
        let delay = Delay { base: Duration::from_micros(50), spread: Duration::from_micros(200) };
        let state = State {
            random: fastrand::Rng::with_seed(seed),
            delay,
            processes: 1,
            homes: BTreeMap::new(),
            connections: 0,
            carried: BTreeMap::new(),
        };
        let network =
            Network { state: Mutex::new(state), conditions: Mutex::default(), changed: Notify::new() };
        Node { network: Arc::new(network), process: Process(0) }
    }

    /// Another process of the same network, and the seed of its random numbers.
    pub(crate) fn another(&self) -> (Node, u64) {
        let mut state = self.network.state.lock();
        let process = Process(state.processes);
        state.processes += 1;
        (Node { network: self.network.clone(), process }, state.random.u64(..))
    }

    /// Listens as this process; `None` if someone does already.
    pub(crate) fn listen(&self, registry: &Arc<Registry>, host: &str, port: u16) -> Option<MemoryListener> {
        let listener = registry.listen(host, port)?;
        self.network.state.lock().homes.insert((host.to_owned(), port), self.process);
        Some(listener)
    }

    /// Connects to whoever listens there, as soon as both ways are open; what either end writes arrives at the other
    /// after a while, in order.
    pub(crate) async fn connect(&self, registry: &Registry, host: &str, port: u16) -> Result<AnyStream> {
        let refused = || Error::from(ErrorKind::ConnectionRefused);
        let home = self.network.state.lock().homes.get(&(host.to_owned(), port)).copied();
        let home = home.ok_or_else(refused)?;
        self.network.opened(self.process, home).await;
        if self.network.is_killed(self.process) || self.network.is_killed(home) {
            return Err(refused());
        }
        let listener = registry.find(host, port).ok_or_else(refused)?;
        let (ours, near) = memory::pair();
        let (far, theirs) = memory::pair();
        listener.try_send(Arc::new(theirs)).map_err(|_| refused())?;
        self.carry_between(home, [Arc::new(near), Arc::new(far)]);
        Ok(Arc::new(ours))
    }

    fn carry_between(&self, home: Process, ends: [Arc<Memory>; 2]) {
        let [near, far] = ends.clone();
        let connection = {
            let mut state = self.network.state.lock();
            state.connections += 1;
            let number = state.connections;
            state.carried.insert(number, Carried { between: [self.process, home], ends });
            number
        };
        let there = Way { connection, from: self.process, to: home };
        let back = Way { connection, from: home, to: self.process };
        tokio::spawn(self.network.clone().carry(there, near.clone(), far.clone()));
        tokio::spawn(self.network.clone().carry(back, far, near));
    }

    fn change(&self, change: impl FnOnce(&mut Conditions)) {
        change(&mut self.network.conditions.lock());
        self.network.changed.notify_waiters();
    }

    pub(crate) fn set_delay(&self, delay: Delay) {
        self.network.state.lock().delay = delay;
    }

    /// Delivers nothing any more, or again: no connection ends by that.
    pub(crate) fn set_parted(&self, parted: bool) {
        self.change(|conditions| conditions.parted = parted);
    }

    /// Delivers nothing of ours to `other` any more.
    pub(crate) fn hold(&self, other: &Node) {
        let way = (self.process, other.process);
        self.change(|conditions| {
            conditions.held.insert(way);
        });
    }

    /// Ends a hold.
    pub(crate) fn deliver(&self, other: &Node) {
        let way = (self.process, other.process);
        self.change(|conditions| {
            conditions.held.remove(&way);
        });
    }

    /// What is sent from and to us travels that much longer.
    pub(crate) fn set_slowness(&self, slowness: Duration) {
        self.change(|conditions| {
            conditions.slow.insert(self.process, slowness);
        });
    }

    /// Our connections end, and nobody is let in any more, as when the process is killed.
    pub(crate) fn kill(&self, registry: &Registry) {
        let homes = self.network.state.lock().homes.clone();
        homes.iter().filter(|(_, home)| **home == self.process).for_each(|(key, _)| registry.forget(key));
        self.change(|conditions| {
            conditions.killed.insert(self.process);
        });
        self.network.cut(|carried| carried.between.contains(&self.process));
    }

    /// Cuts every connection there is. New ones can be made at once.
    pub(crate) fn cut_all(&self) {
        self.network.cut(|_| true);
    }

    /// Cuts the connections between this process and another.
    pub(crate) fn cut(&self, other: &Node) {
        let both = [self.process, other.process];
        self.network.cut(|carried| both.iter().all(|process| carried.between.contains(process)));
    }

    /// How many connections there are between this process and another.
    pub(crate) fn connections(&self, other: &Node) -> usize {
        let both = [self.process, other.process];
        let state = self.network.state.lock();
        let joins = |carried: &&Carried| both.iter().all(|process| carried.between.contains(process));
        state.carried.values().filter(joins).count()
    }
}

impl Network {
    fn cut(&self, which: impl Fn(&Carried) -> bool) {
        let cut: Vec<_> = self.state.lock().carried.extract_if(.., |_, carried| which(carried)).collect();
        for (_, carried) in cut {
            carried.ends.iter().for_each(|end| end.close());
        }
    }

    fn is_killed(&self, process: Process) -> bool {
        self.conditions.lock().killed.contains(&process)
    }

    async fn wait_until(&self, fit: impl Fn(&Conditions) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if fit(&self.conditions.lock()) {
                return;
            }
            changed.await;
        }
    }

    /// Waits until what is sent arrives.
    async fn delivers(&self, from: Process, to: Process) {
        self.wait_until(|conditions| conditions.delivers(from, to)).await;
    }

    /// Waits until both ways are open, as a connection needs them to be.
    async fn opened(&self, one: Process, other: Process) {
        self.wait_until(|c| c.delivers(one, other) && c.delivers(other, one)).await;
    }

    async fn carry(self: Arc<Self>, way: Way, from: Arc<Memory>, to: Arc<Memory>) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let most = self.draw_piece(buffer.len());
            let read = read_some(&*from, &mut buffer[..most]).await;
            tokio::time::sleep(self.draw_delay(way)).await;
            self.delivers(way.from, way.to).await;
            let Ok(read) = read else { break };
            if write_all(&*to, &buffer[..read]).await.is_err() {
                break;
            }
        }
        to.finish();
        self.state.lock().carried.remove(&way.connection);
    }

    /// How many bytes travel together at most: now and then, few.
    fn draw_piece(&self, most: usize) -> usize {
        let random = &mut self.state.lock().random;
        if random.u8(..) < 32 { random.usize(1..=200) } else { most }
    }

    fn draw_delay(&self, way: Way) -> Duration {
        let slowness = {
            let conditions = self.conditions.lock();
            conditions.slowness(way.from) + conditions.slowness(way.to)
        };
        let mut state = self.state.lock();
        let spread = u64::try_from(state.delay.spread.as_nanos()).unwrap_or(u64::MAX);
        state.delay.base + slowness + Duration::from_nanos(state.random.u64(0..=spread))
    }
}
