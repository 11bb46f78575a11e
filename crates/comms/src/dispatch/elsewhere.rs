//! A handler that runs where neither the executor nor the compute pool is: on the thread of another language. It costs no
//! task: whoever has the [`Assignment`] gives the result, and the link and the caller find it to give it up.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::running::Running;
use crate::link::{Link, Write};
use crate::runtime::HandlerResult;

/// A call whose handler runs elsewhere: see [`Handling::Elsewhere`](crate::Handling::Elsewhere). If it is dropped without a
/// result, its caller gets an error.
#[must_use = "without a result, its caller gets an error"]
pub struct Assignment(Arc<Slot>);

/// An assignment, as long as nobody has ended it.
#[derive(Default)]
pub(crate) struct Slot(Mutex<Option<Held>>);

struct Held {
    running: Running,
    given_up: Option<Box<dyn FnOnce() + Send>>,
    /// The manager waits for it when it stops.
    _tracked: TaskTrackerToken,
}

impl Assignment {
    /// An assignment that the caller can give up from now on; perhaps it just did.
    pub(super) fn new(running: Running) -> Assignment {
        let slot = Arc::new(Slot::default());
        let tracked = running.caller.shared.handlers.token();
        let mut held = slot.0.lock();
        let held_now = held.insert(Held { running, given_up: None, _tracked: tracked });
        let given_up = held_now.running.caller.register_elsewhere(&slot);
        drop(held);
        if given_up {
            slot.give_up();
        }
        Assignment(slot)
    }

    /// Calls `tell` if the caller gives up, or is gone, before there is a result: nobody waits for it then, and nobody
    /// counts the handler any more. What a runtime asks of itself is not given up this way.
    pub fn when_given_up(&self, tell: impl FnOnce() + Send + 'static) {
        match &mut *self.0.0.lock() {
            Some(held) => held.given_up = Some(Box::new(tell)),
            None => tell(),
        }
    }

    /// Gives the result. It is queued, and written by what this returns; `None` if there is nothing to write.
    pub fn finish(self, result: HandlerResult) -> Option<Unwritten> {
        let held = self.0.0.lock().take();
        // Whoever waits for the end of all handlers is to find the result queued: it counts as one until then.
        let Held { mut running, given_up: _, _tracked } = held?;
        running.caller.write = Write::Later;
        let link = running.caller.link().cloned();
        running.caller.finish(result);
        link.map(Unwritten)
    }
}

impl Drop for Assignment {
    fn drop(&mut self) {
        // Not under the lock: its caller is told.
        let held = self.0.0.lock().take();
        drop(held);
    }
}

impl Slot {
    fn give_up(&self) {
        let Some(Held { mut running, given_up, _tracked }) = self.0.lock().take() else { return };
        running.caller.forget();
        drop((running, _tracked));
        if let Some(tell) = given_up {
            tell();
        }
    }
}

/// Something that has been queued, such as a result. What one thread queues is written together.
#[must_use = "it waits to be written"]
#[derive(Clone)]
pub struct Unwritten(Arc<Link>);

impl Unwritten {
    pub(crate) fn of(link: &Arc<Link>) -> Unwritten {
        Unwritten(link.clone())
    }

    /// Writes what is queued for the peer.
    pub fn write(self) {
        self.0.write_in_turn();
    }

    /// Whether the other one is for the same peer: to write one of them is enough.
    pub fn is_written_with(&self, other: &Unwritten) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// How a handler that runs learns that its caller has given up.
#[derive(Clone)]
pub(crate) enum Cancelling {
    Token(CancellationToken),
    Elsewhere(Arc<Slot>),
}

impl Cancelling {
    /// Tells it. No lock may be held that the handler's end takes.
    pub(crate) fn cancel(&self) {
        match self {
            Cancelling::Token(token) => token.cancel(),
            Cancelling::Elsewhere(slot) => slot.give_up(),
        }
    }
}

impl fmt::Debug for Cancelling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cancelling")
    }
}

impl fmt::Debug for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Assignment")
    }
}

impl fmt::Debug for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unwritten").field(&self.0.peer).finish()
    }
}
