//! Writing a lane. Whoever takes its [`Writer`] out of the state writes what all have queued, and looks again before he
//! puts it back; so nothing is left behind, and no lock is held across the system call.

use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;

use mosaic_proto::Time;
use mosaic_proto::link::{ConnectionId, Transmit};
use mosaic_proto::wire::Lane;

use super::{Link, State, Writer};
use crate::transport::{AnyStream, WRITE_AT_ONCE};

/// Slices of one system call at most; more gain nothing at these sizes.
const SLICES: usize = 64;

/// Rounds in which someone writes what others have queued too, before he leaves the rest to the pump.
const ROUNDS: usize = 4;

/// The right to write a lane, taken, with something to write.
pub(super) struct Job {
    lane: Lane,
    writer: Box<Writer>,
    connection: ConnectionId,
    stream: AnyStream,
}

impl State {
    /// Whether there is something to write, and the system may take it.
    pub(super) fn wants_writer(&self, lane: Lane) -> bool {
        self.machine.wants_transmit(lane) && !self.lanes[lane.index()].blocked
    }

    /// Takes the right to write; `None` if another has it, nothing is queued or the system takes nothing.
    pub(super) fn take_job(&mut self, lane: Lane, now: Time) -> Option<Job> {
        let io = &mut self.lanes[lane.index()];
        let (connection, stream) = io.current.as_ref()?;
        if io.blocked {
            return None;
        }
        let mut writer = io.writer.take()?;
        if writer.transmit.is_empty() {
            self.machine.poll_transmit(now, lane, WRITE_AT_ONCE, &mut writer.transmit);
        }
        if writer.transmit.is_empty() {
            io.writer = Some(writer);
            return None;
        }
        Some(Job { lane, writer, connection: *connection, stream: stream.clone() })
    }

    /// Puts the right to write back, unless the connection is another by now.
    fn put_back(&mut self, job: Job, end: WriteEnd) {
        let io = &mut self.lanes[job.lane.index()];
        if io.current.as_ref().is_some_and(|(current, _)| *current == job.connection) {
            io.writer = Some(job.writer);
            io.blocked = end == WriteEnd::Blocked;
        }
    }
}

impl Link {
    /// Writes what is queued on a lane, unless someone else is at it: he looks again before he stops.
    pub(crate) fn flush(self: &Arc<Self>, lane: Lane) {
        let now = self.context.now();
        let job = self.state.lock().take_job(lane, now);
        if let Some(job) = job {
            self.carry_out(job);
        }
    }

    /// Writes, and looks again before the right to is put back.
    pub(super) fn carry_out(self: &Arc<Self>, mut job: Job) {
        let lane = job.lane;
        for _ in 0..ROUNDS {
            let (written, end) = write(&*job.stream, &mut job.writer.transmit);
            if end == WriteEnd::Failed {
                // The pump sees the end and says so.
                job.stream.close();
            }
            match self.put_back(job, written, end) {
                Some(more) => job = more,
                None if matches!(end, WriteEnd::Blocked | WriteEnd::More) => {
                    return self.wake[lane.index()].notify_one();
                }
                None => return,
            }
        }
        self.state.lock().put_back(job, WriteEnd::All);
        self.wake[lane.index()].notify_one();
    }

    /// Notes what was written and puts the right to write back; or takes it again, if there is more.
    fn put_back(self: &Arc<Self>, job: Job, written: usize, end: WriteEnd) -> Option<Job> {
        let now = self.context.now();
        let mut events = Vec::new();
        let next = {
            let mut state = self.state.lock();
            let lane = job.lane;
            state.machine.transmitted(now, lane, job.connection, written);
            while let Some(event) = state.machine.poll_event() {
                events.push(event);
            }
            state.put_back(job, end);
            if end == WriteEnd::All { state.take_job(lane, now) } else { None }
        };
        events.into_iter().for_each(|event| self.act(event));
        self.tell_watchers();
        next
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
    /// There is more, and others of the thread wait for their turn.
    More,
    Blocked,
    Failed,
}

/// Writes as much as the system takes, about [`WRITE_AT_ONCE`] at most: whoever writes has other things to do too.
fn write(stream: &dyn crate::transport::Stream, transmit: &mut Transmit) -> (usize, WriteEnd) {
    let mut written = 0;
    while !transmit.is_empty() {
        if written >= WRITE_AT_ONCE {
            return (written, WriteEnd::More);
        }
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
