//! How the state machine is run: an operation under the lock, then what comes of it, then writing.

use std::sync::Arc;

use mosaic_proto::Time;
use mosaic_proto::link::Link as Machine;
use smallvec::SmallVec;

use super::write::ToWrite;
use super::{Link, Ticket};
use crate::pool::Buffer;

/// Who writes what an operation has queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Write {
    /// The one who queued it, at once.
    Now,
    /// The one who queued it, if it is for the control lane; else whoever carries the data lane.
    Urgent,
    /// Whoever carries the lane, together with whatever else is queued until then.
    Pump,
    /// The one who queued it, who will say when.
    Later,
}

impl Link {
    /// Runs `operation` on the state machine, does what comes of it, and has written what it queued.
    pub(crate) fn run<R>(
        self: &Arc<Self>,
        write: Write,
        operation: impl FnOnce(&mut Machine<Ticket, Buffer>, Time) -> R,
    ) -> R {
        let in_order = self.in_order.lock();
        let (result, rest) = self.step(|machine, now| (operation(machine, now), write));
        drop(in_order);
        self.write(rest);
        result
    }

    /// As [`Link::run`], for what many do at once and what other links have brought about: nothing comes of it whose order
    /// matters.
    pub(crate) fn queue<R>(
        self: &Arc<Self>,
        write: Write,
        operation: impl FnOnce(&mut Machine<Ticket, Buffer>, Time) -> R,
    ) -> R {
        self.queue_deciding(|machine, now| (operation(machine, now), write))
    }

    /// As [`Link::queue`], where the operation finds out who is to write.
    pub(super) fn queue_deciding<R>(
        self: &Arc<Self>,
        operation: impl FnOnce(&mut Machine<Ticket, Buffer>, Time) -> (R, Write),
    ) -> R {
        let (result, rest) = self.step(operation);
        self.write(rest);
        result
    }

    /// Runs `operation` and does what comes of it; what is to be written comes back.
    fn step<R>(
        self: &Arc<Self>,
        operation: impl FnOnce(&mut Machine<Ticket, Buffer>, Time) -> (R, Write),
    ) -> (R, ToWrite) {
        let now = self.context.now();
        // Most often there is one, and no memory has to be found for it.
        let mut events = SmallVec::<[_; 1]>::new();
        let (result, to_write) = {
            let mut state = self.state.lock();
            let paused = state.machine.reads_paused();
            let (result, write) = operation(&mut state.machine, now);
            while let Some(event) = state.machine.poll_event() {
                events.push(event);
            }
            self.arm(&mut state);
            let mut to_write = state.to_write(write);
            if events.is_empty() {
                state.take_jobs(&mut to_write, now);
            }
            to_write.reads_again = paused && !state.machine.reads_paused();
            (result, to_write)
        };
        for event in events {
            self.act(event);
        }
        (result, to_write)
    }
}
