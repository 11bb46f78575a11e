//! Contexts on a virtual clock, and what can be done to the network between them. Each stands for one process. None of
//! the faults has an effect on contexts that are not simulated.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::{Context, Inner, IoThread};
use crate::transport::simulated::{Delay, Node};

/// The memory budget of a simulated context that is not given another.
const BUDGET: u64 = 1 << 30;

impl Context {
    /// A context on the virtual clock of the current executor, which should be of one thread and paused: managers in
    /// it are joined by a network in memory whose delays follow from `seed`.
    ///
    /// # Panics
    /// Outside of a tokio executor.
    ///
    /// # Example
    /// ```
    /// use mosaic_comms::Context;
    /// let executor = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    /// let context = executor.block_on(async { Context::simulated(7) });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn simulated(seed: u64) -> Context {
        let io = vec![IoThread { handle: Handle::current(), mark: None, stop: None }];
        let settings = Context::builder().budget(BUDGET);
        Context(Arc::new(Inner::new(settings, io, None, Some(Node::first(seed)), seed)))
    }

    /// A context on the same simulated network that stands for another process, with a memory budget of its own.
    ///
    /// # Panics
    /// If this context is not simulated.
    #[must_use]
    pub fn simulated_beside(&self, budget: u64) -> Context {
        let here = self.network().expect("only a simulated context has a network to be on");
        let (node, seed) = here.another();
        let io = vec![IoThread { handle: self.0.io[0].handle.clone(), mark: None, stop: None }];
        let mut inner = Inner::new(Context::builder().budget(budget), io, None, Some(node), seed);
        inner.registry = self.0.registry.clone();
        inner.origin = self.0.origin;
        Context(Arc::new(inner))
    }

    /// Cuts every connection of the simulated network. New ones can be made at once.
    pub fn cut_connections(&self) {
        if let Some(node) = self.network() {
            node.cut_all();
        }
    }

    /// Cuts the connections between this simulated process and `other`. New ones can be made at once.
    pub fn cut_between(&self, other: &Context) {
        if let Some((node, other)) = self.network().zip(other.network()) {
            node.cut(other);
        }
    }

    /// Delivers nothing on the simulated network until [`Context::heal`]: connections stay, and what is under way
    /// waits.
    pub fn partition(&self) {
        if let Some(node) = self.network() {
            node.set_parted(true);
        }
    }

    /// Ends a [`Context::partition`].
    pub fn heal(&self) {
        if let Some(node) = self.network() {
            node.set_parted(false);
        }
    }

    /// Holds up what this simulated process sends to `other`, until [`Context::deliver_to`]: connections stay. Meanwhile
    /// no connection is made between them, and whoever dials gets no answer.
    pub fn hold_to(&self, other: &Context) {
        if let Some((node, other)) = self.network().zip(other.network()) {
            node.hold(other);
        }
    }

    /// Ends a [`Context::hold_to`].
    pub fn deliver_to(&self, other: &Context) {
        if let Some((node, other)) = self.network().zip(other.network()) {
            node.deliver(other);
        }
    }

    /// How long bytes travel on the simulated network: `base`, and up to `spread` more.
    pub fn set_delay(&self, base: Duration, spread: Duration) {
        if let Some(node) = self.network() {
            node.set_delay(Delay { base, spread });
        }
    }

    /// How much longer bytes travel that this simulated process sends or is sent.
    pub fn set_slowness(&self, slowness: Duration) {
        if let Some(node) = self.network() {
            node.set_slowness(slowness);
        }
    }

    /// Ends this simulated process for all others, as a kill does: its connections end, and whoever dials it is refused.
    /// What ran in it goes on without a network, and should be dropped.
    pub fn kill(&self) {
        if let Some(node) = self.network() {
            node.kill(self.registry());
        }
    }

    /// How many connections there are between this simulated process and `other`.
    pub fn connections_to(&self, other: &Context) -> usize {
        self.network().zip(other.network()).map_or(0, |(node, other)| node.connections(other))
    }
}
