//! How other threads reach the loop's: a queue and an eventfd that the loop watches. Whoever leaves something rings
//! once; one ring wakes the loop for everything that is there by then.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use mosaic_comms::Unwritten;
use parking_lot::Mutex;
use pyo3::{Py, PyAny};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::generation::Native;
use crate::operation::Operation;
use crate::runtime::{Arrival, Inbox};

/// What the loop's thread is asked to do.
pub(crate) enum Turn {
    /// An operation can go on.
    GoOn(Arc<OperationWaker>),
    /// Something has come for a runtime.
    Arrive(Arc<Inbox>, Arrival),
    /// Memory that was sent is not needed any more.
    Release(Py<PyAny>),
}

/// A queue with an eventfd.
pub(crate) struct Bell {
    /// Bounded by what was asked for: futures by their callers, arrivals by the windows of their links, releases by
    /// what was sent.
    queue: Mutex<VecDeque<Turn>>,
    /// Answers that were given on the loop's thread and wait for its turn to end.
    unwritten: Mutex<Vec<Unwritten>>,
    draining: AtomicBool,
    rung: AtomicBool,
    event: Native<OwnedFd>,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Bell> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Bell {
            queue: Mutex::default(),
            unwritten: Mutex::default(),
            draining: AtomicBool::new(false),
            rung: AtomicBool::new(false),
            event: Native::new(event),
        })
    }

    /// The descriptor that is readable once the bell has rung.
    pub(crate) fn descriptor(&self) -> Option<RawFd> {
        self.event.inherited().map(AsRawFd::as_raw_fd)
    }

    /// Leaves something, and wakes the loop if nobody has since it looked.
    pub(crate) fn leave(&self, turn: Turn) {
        self.queue.lock().push_back(turn);
        self.ring();
    }

    /// Leaves what could not be done now, before what has been left since.
    pub(crate) fn leave_first(&self, mut turns: VecDeque<Turn>) {
        let mut queue = self.queue.lock();
        turns.append(&mut queue);
        *queue = turns;
        drop(queue);
        self.ring();
    }

    /// Has an answer written at the end of the loop's turn: all that go to one peer at once.
    pub(crate) fn write_later(&self, answer: Unwritten) {
        let mut unwritten = self.unwritten.lock();
        if !unwritten.iter().any(|other| other.is_written_with(&answer)) {
            unwritten.push(answer);
        }
        drop(unwritten);
        if !self.draining.load(Ordering::Relaxed) {
            self.ring();
        }
    }

    /// Writes the answers that were given in the turns that were taken, and those that are given from now on ring.
    pub(crate) fn write_last(&self) {
        self.draining.store(false, Ordering::Relaxed);
        self.write();
    }

    /// Writes the answers that were given until now.
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

    /// Everything that was left so far. Whoever takes it calls [`Bell::write_last`] in the end.
    pub(crate) fn answer(&self) -> VecDeque<Turn> {
        self.draining.store(true, Ordering::Relaxed);
        self.hush();
        std::mem::take(&mut *self.queue.lock())
    }

    /// From now on it can ring again: nothing is missed that is left after this.
    fn hush(&self) {
        if let Some(event) = self.event.get() {
            // It fails if it has not rung.
            let _ = rustix::io::read(event, &mut [0u8; 8]);
        }
        self.rung.store(false, Ordering::Release);
    }

    /// Waits until it rings, or a signal comes.
    pub(crate) fn wait(&self) -> io::Result<()> {
        let Some(event) = self.event.get() else { return Ok(()) };
        poll(&mut [PollFd::new(&event.as_fd(), PollFlags::IN)], None)?;
        self.hush();
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
