//! Writing a lane. Whoever takes its [`Writer`] out of the state writes what all have queued, and looks again before he
//! puts it back; so nothing is left behind, and no lock is held across the system call.

use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;

use mosaic_proto::Time;
use mosaic_proto::link::{ConnectionId, Link as Machine, Transmit};
use mosaic_proto::wire::Lane;

use super::{Link, State, Ticket, Writer};
use crate::pool::Buffer;
use crate::transport::{AnyStream, WRITE_AT_ONCE};

/// Slices of one system call at most; more gain nothing at these sizes.
const SLICES: usize = 64;

/// Rounds in which someone writes what others have queued too, before he leaves the rest to the pump.
const ROUNDS: usize = 4;

impl Link {
    /// Writes what is queued on a lane, unless someone else is at it: he looks again before he stops.
    pub(crate) fn flush(self: &Arc<Self>, lane: Lane) {
        for _ in 0..ROUNDS {
            let Some((mut writer, connection, stream)) = self.take_writer(lane) else { return };
            let (written, end) = write(&*stream, &mut writer.transmit);
            if !self.put_writer_back(lane, connection, writer, written, end) {
                return;
            }
        }
        self.wake[lane.index()].notify_one();
    }

    /// The writer, with something to write; `None` if another has it, nothing is queued or the system takes nothing.
    fn take_writer(&self, lane: Lane) -> Option<(Box<Writer>, ConnectionId, AnyStream)> {
        let now = self.context.now();
        let mut state = self.state.lock();
        let State { machine, lanes, .. } = &mut *state;
        let io = &mut lanes[lane.index()];
        let (connection, stream) = io.current.as_ref()?;
        if io.blocked {
            return None;
        }
        let mut writer = io.writer.take()?;
        if writer.transmit.is_empty() {
            machine.poll_transmit(now, lane, WRITE_AT_ONCE, &mut writer.transmit);
        }
        if writer.transmit.is_empty() {
            io.writer = Some(writer);
            return None;
        }
        Some((writer, *connection, stream.clone()))
    }

    /// Puts the writer back; true if there may be more to write.
    fn put_writer_back(
        self: &Arc<Self>,
        lane: Lane,
        connection: ConnectionId,
        writer: Box<Writer>,
        written: usize,
        end: WriteEnd,
    ) -> bool {
        {
            let mut state = self.state.lock();
            let io = &mut state.lanes[lane.index()];
            if io.current.as_ref().is_none_or(|(current, _)| *current != connection) {
                return false;
            }
            io.writer = Some(writer);
            io.blocked = end == WriteEnd::Blocked;
        }
        self.run_quietly(|machine, now| machine.transmitted(now, lane, connection, written));
        match end {
            WriteEnd::All => true,
            WriteEnd::Blocked => {
                self.wake[lane.index()].notify_one();
                false
            }
            WriteEnd::Failed => {
                // The pump sees the end and says so.
                let current = self.state.lock().lanes[lane.index()].current.clone();
                if let Some((_, stream)) = current.filter(|(current, _)| *current == connection) {
                    stream.close();
                }
                false
            }
        }
    }

    /// As [`Link::run`], for what queues nothing on the lane that is being written.
    fn run_quietly(self: &Arc<Self>, operation: impl FnOnce(&mut Machine<Ticket, Buffer>, Time)) {
        let now = self.context.now();
        let mut events = Vec::new();
        {
            let mut state = self.state.lock();
            operation(&mut state.machine, now);
            while let Some(event) = state.machine.poll_event() {
                events.push(event);
            }
        }
        events.into_iter().for_each(|event| self.act(event));
        self.tell_watchers();
    }

    /// The system takes bytes again.
    pub(super) fn unblock(&self, lane: Lane) {
        self.state.lock().lanes[lane.index()].blocked = false;
    }

    pub(super) fn is_blocked(&self, lane: Lane) -> bool {
        self.state.lock().lanes[lane.index()].blocked
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriteEnd {
    All,
    Blocked,
    Failed,
}

/// Writes as much as the system takes, at most [`WRITE_AT_ONCE`] a call.
fn write(stream: &dyn crate::transport::Stream, transmit: &mut Transmit) -> (usize, WriteEnd) {
    let mut written = 0;
    while !transmit.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = transmit.slices(WRITE_AT_ONCE, &mut slices);
        match stream.try_write(&slices[..count]) {
            Ok(taken) => {
                transmit.advance(taken);
                written += taken;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return (written, WriteEnd::Blocked),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return (written, WriteEnd::Failed),
        }
    }
    (written, WriteEnd::All)
}
