//! How other threads reach the loop's: a queue and an eventfd that the loop watches. Whoever leaves something rings
//! once; one ring wakes the loop for everything that is there by then.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use mosaic_comms::{DataLane, Unwritten};
use parking_lot::Mutex;
use pyo3::{Py, PyAny};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::generation::Native;
use crate::operation::Operation;
use crate::runtime::{Arrival, Inbox};
use crate::task::Task;

/// What the loop's thread is asked to do.
pub(crate) enum Turn {
    /// An operation can go on.
    GoOn(Arc<OperationWaker>),
    /// Something has come for a runtime.
    Arrive(Arc<Inbox>, Arrival),
    /// A task of the core can go on.
    Run(Arc<Task>),
    /// The loop is to carry a data lane.
    Carry(DataLane),
    /// Memory that was sent is not needed any more.
    Release(Py<PyAny>),
}

/// A queue with an eventfd.
pub(crate) struct Bell {
    /// Bounded by what was asked for: futures by their callers, arrivals by the windows of their links, releases by
    /// what was sent.
    queue: Mutex<VecDeque<Turn>>,
    /// What waits for the end of the loop's turn to be written.
    unwritten: Mutex<Vec<Unwritten>>,
    rung: AtomicBool,
    event: Native<OwnedFd>,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Bell> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Bell {
            queue: Mutex::default(),
            unwritten: Mutex::default(),
            rung: AtomicBool::new(false),
            event: Native::new(event),
        })
    }

    /// The descriptor that is readable once the bell has rung.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.event.inherited().map(AsFd::as_fd)
    }

    /// Leaves something, and wakes the loop if nobody has since it looked.
    pub(crate) fn leave(&self, turn: Turn) {
        if !self.is_native() {
            // Whoever has it takes nothing here: this is a forked child, where the queue may be locked for ever.
            std::mem::forget(turn);
            return;
        }
        self.queue.lock().push_back(turn);
        self.ring();
    }

    /// Leaves what could not be done now, before what has been left since.
    pub(crate) fn leave_first(&self, mut turns: VecDeque<Turn>) {
        if !self.is_native() {
            std::mem::forget(turns);
            return;
        }
        let mut queue = self.queue.lock();
        turns.append(&mut queue);
        *queue = turns;
        drop(queue);
        self.ring();
    }

    /// Has something written at the end of the loop's turn: all that goes to one peer at once.
    pub(crate) fn write_later(&self, queued: Unwritten) {
        let mut unwritten = self.unwritten.lock();
        if !unwritten.iter().any(|other| other.is_written_with(&queued)) {
            unwritten.push(queued);
        }
        drop(unwritten);
        self.ring();
    }

    /// Whether it was made by this process, or inherited by a fork.
    pub(crate) fn is_native(&self) -> bool {
        self.event.get().is_some()
    }

    pub(crate) fn has_unwritten(&self) -> bool {
        !self.unwritten.lock().is_empty()
    }

    /// Writes what was queued until now.
    pub(crate) fn write(&self) {
        let unwritten = std::mem::take(&mut *self.unwritten.lock());
        unwritten.into_iter().for_each(Unwritten::write);
    }

    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(event) = self.event.get()
        {
            // It fails only if the counter is full, and then it is readable as well.
            let _ = rustix::io::write(event, &1u64.to_ne_bytes());
        }
    }

    /// The loop is here: nobody has to ring until [`Bell::end`]. Whether somebody has, or is about to.
    pub(crate) fn begin(&self) -> bool {
        self.rung.swap(true, Ordering::AcqRel)
    }

    /// Everything that was left so far.
    pub(crate) fn take(&self) -> VecDeque<Turn> {
        std::mem::take(&mut *self.queue.lock())
    }

    /// Drops what was left, where it is ours to drop: a forked child has only inherited it.
    pub(crate) fn empty(&self) {
        if self.is_native() {
            drop(self.take());
            drop(std::mem::take(&mut *self.unwritten.lock()));
        }
    }

    /// The loop is about to go. Writes what was queued, and rings if something has been left that was not taken: whoever
    /// leaves something from now on rings himself.
    pub(crate) fn end(&self) {
        if !self.is_native() {
            return;
        }
        self.write();
        self.rung.store(false, Ordering::SeqCst);
        if !self.queue.lock().is_empty() || !self.unwritten.lock().is_empty() {
            self.ring();
        }
    }

    /// It is silent until it rings again.
    pub(crate) fn hush(&self) {
        if let Some(event) = self.event.get() {
            // It fails if it has not rung.
            let _ = rustix::io::read(event, &mut [0u8; 8]);
        }
    }

    /// Waits until it rings, or a signal comes.
    pub(crate) fn wait(&self) -> io::Result<()> {
        let Some(event) = self.event.get() else { return Ok(()) };
        poll(&mut [PollFd::new(&event.as_fd(), PollFlags::IN)], None)?;
        self.hush();
        self.rung.store(false, Ordering::Release);
        Ok(())
    }
}

/// A bell that wakes a thread which waits for one future.
impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }
}

/// Who looks at the outcome of an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attention {
    /// Whoever has started it.
    Paid,
    /// Nobody: what goes wrong is reported.
    None,
}

/// Wakes the loop for one operation, and keeps that until then.
pub(crate) struct OperationWaker {
    pub(crate) operation: Py<Operation>,
    pub(crate) bell: Arc<Bell>,
    pub(crate) attention: Attention,
}

impl Wake for OperationWaker {
    fn wake(self: Arc<Self>) {
        let bell = self.bell.clone();
        bell.leave(Turn::GoOn(self));
    }
}
