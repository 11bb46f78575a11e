//! Writing a lane. Whoever takes its [`Writer`] out of the state writes what all have queued, and looks again before he
//! puts it back; so nothing is left behind, and no lock is held across the system call.

use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;

use mosaic_proto::Time;
use mosaic_proto::link::{ConnectionId, Transmit};
use mosaic_proto::wire::Lane;

use super::lending::{Lender, Placed, SHARED_FRAME};
use super::{Link, State, Write};
use crate::connection::Opening;
use crate::context::Context;
use crate::transport::{AnyStream, Stream, WRITE_AT_ONCE};

/// Slices of one system call at most; more gain nothing at these sizes.
const SLICES: usize = 64;

/// Pieces of about [`WRITE_AT_ONCE`] that whoever has queued something writes, what others queue meanwhile included,
/// before he leaves the rest to the pump: 2 MiB take less than waking another thread twice.
const PIECES: usize = 4;

/// A descriptor goes with so many of the last bytes that there are: a read ends behind it, and who does not know that may
/// wait for more in vain.
const INTRODUCING: usize = 4096;

/// The right to write a lane, and what is left of the last write.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) transmit: Transmit,
    /// Where the peer sees large payloads without that they are written.
    pub(super) lender: Option<Lender>,
}

impl Writer {
    pub(super) fn of(opening: &Opening, context: &Context) -> Writer {
        match opening.lends {
            true => {
                let lender = Some(Lender::new(context));
                Writer { transmit: Transmit::offering(SHARED_FRAME), lender }
            }
            false => Writer::default(),
        }
    }
}

/// What an operation has left to be written, and by whom.
pub(super) struct ToWrite {
    who: Write,
    wants: [bool; 2],
    jobs: [Option<Job>; 2],
    /// The pump of the control lane is to look whether it may read.
    pub(super) reads_again: bool,
}

impl ToWrite {
    /// Whether the one who queued it is to write it himself.
    fn is_ours(&self, lane: Lane) -> bool {
        match self.who {
            Write::Now => true,
            Write::Urgent => lane == Lane::Control,
            Write::Pump | Write::Later => false,
        }
    }
}

/// The right to write a lane, taken, with something to write.
pub(super) struct Job {
    lane: Lane,
    writer: Box<Writer>,
    connection: ConnectionId,
    stream: AnyStream,
}

impl State {
    pub(super) fn to_write(&self, who: Write) -> ToWrite {
        let wants = Lane::ALL.map(|lane| self.wants_writer(lane));
        ToWrite { who, wants, jobs: [None, None], reads_again: false }
    }

    /// Takes the rights to write what is ours to write.
    pub(super) fn take_jobs(&mut self, to_write: &mut ToWrite, now: Time) {
        for lane in Lane::ALL {
            if to_write.wants[lane.index()] && to_write.is_ours(lane) {
                to_write.jobs[lane.index()] = self.take_job(lane, now);
            }
        }
    }

    /// Whether there is something to write, and the system may take it.
    pub(super) fn wants_writer(&self, lane: Lane) -> bool {
        self.machine.wants_transmit(lane) && !self.lanes[lane.index()].blocked
    }

    /// Takes the right to write; `None` if another has it, nothing is queued or the system takes nothing. Nor is there
    /// one between the moment when a connection takes the place of another and the moment when its stream does: what is
    /// queued is for the new one.
    pub(super) fn take_job(&mut self, lane: Lane, now: Time) -> Option<Job> {
        let io = &mut self.lanes[lane.index()];
        let (connection, stream) = io.current.as_ref()?;
        if io.blocked || self.machine.connection(lane) != Some(*connection) {
            return None;
        }
        let mut writer = io.writer.take()?;
        io.left_over = false;
        self.machine.poll_transmit(now, lane, WRITE_AT_ONCE, &mut writer.transmit);
        if writer.transmit.is_empty() {
            io.writer = Some(writer);
            return None;
        }
        Some(Job { lane, writer, connection: *connection, stream: stream.clone() })
    }

    /// Notes what was written and puts the right to write back, unless the connection is another by now.
    fn put_back(&mut self, job: Job, now: Time, written: usize, end: WriteEnd) {
        // How much of a write that failed the system has taken nobody knows: all of it may have been.
        if end != WriteEnd::Failed {
            self.machine.transmitted(now, job.lane, job.connection, written);
        }
        let io = &mut self.lanes[job.lane.index()];
        if io.current.as_ref().is_some_and(|(current, _)| *current == job.connection) {
            io.writer = Some(job.writer);
            io.blocked = end == WriteEnd::Blocked;
        } else {
            io.let_go(&job.writer);
        }
    }
}

impl Link {
    /// Writes what an operation has left to us, tells the pumps of the rest, and watchers that something has happened.
    pub(super) fn write(self: &Arc<Self>, mut to_write: ToWrite) {
        for lane in Lane::ALL.into_iter().filter(|lane| to_write.wants[lane.index()]) {
            let job = to_write.jobs[lane.index()].take();
            match job.or_else(|| to_write.is_ours(lane).then(|| self.take_job(lane)).flatten()) {
                Some(job) => self.carry_out(job, PIECES),
                None if matches!(to_write.who, Write::Now | Write::Later) => {}
                None => self.nudge(lane),
            }
        }
        if to_write.reads_again {
            self.wake[Lane::Control.index()].notify_one();
        }
        self.tell_watchers();
    }

    /// Writes a piece of what is queued on a lane, unless someone else is at it: he looks again before he stops.
    pub(super) fn flush(self: &Arc<Self>, lane: Lane) {
        if let Some(job) = self.take_job(lane) {
            self.carry_out(job, 1);
        }
    }

    fn take_job(&self, lane: Lane) -> Option<Job> {
        let now = self.context.now();
        self.state.lock().take_job(lane, now)
    }

    /// Writes, and looks again before the right to is put back.
    fn carry_out(self: &Arc<Self>, mut job: Job, pieces: usize) {
        let lane = job.lane;
        for _ in 0..pieces {
            let (written, end) = write(&*job.stream, &mut job.writer);
            if end == WriteEnd::Failed {
                // The pump sees the end and says so.
                job.stream.close();
            }
            match self.put_back(job, written, end) {
                Some(more) => job = more,
                None if end == WriteEnd::Blocked => return self.wake[lane.index()].notify_one(),
                None => return,
            }
        }
        {
            let now = self.context.now();
            let mut state = self.state.lock();
            state.put_back(job, now, 0, WriteEnd::More);
            state.lanes[lane.index()].left_over = true;
        }
        self.wake[lane.index()].notify_one();
    }

    /// Notes what was written and puts the right to write back; or takes it again, if there is more.
    fn put_back(self: &Arc<Self>, job: Job, written: usize, end: WriteEnd) -> Option<Job> {
        let now = self.context.now();
        let mut events = Vec::new();
        let leaves;
        let next = {
            let mut state = self.state.lock();
            let lane = job.lane;
            state.put_back(job, now, written, end);
            while let Some(event) = state.machine.poll_event() {
                events.push(event);
            }
            leaves = state.machine.is_being_left();
            if matches!(end, WriteEnd::All | WriteEnd::More) { state.take_job(lane, now) } else { None }
        };
        events.into_iter().for_each(|event| self.act(event));
        if leaves {
            // The end of the link is told in its order, behind its last message.
            self.run(Write::Later, |machine, _| machine.leave_if_complete());
        }
        self.tell_watchers();
        next
    }

    /// The system takes bytes again.
    pub(super) fn unblock(&self, lane: Lane) {
        self.state.lock().lanes[lane.index()].blocked = false;
    }

    /// Whether the pump is to write what others have left.
    pub(super) fn is_left_over(&self, lane: Lane) -> bool {
        self.state.lock().lanes[lane.index()].left_over
    }

    /// Whether something is queued that nobody writes, though the system may take it.
    pub(super) fn waits_for_writer(&self, lane: Lane) -> bool {
        let state = self.state.lock();
        state.wants_writer(lane) && state.lanes[lane.index()].writer.is_some()
    }

    pub(super) fn is_blocked(&self, lane: Lane) -> bool {
        self.state.lock().lanes[lane.index()].blocked
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriteEnd {
    All,
    /// There is more, and others may want their turn.
    More,
    Blocked,
    Failed,
}

/// Writes as much as the system takes, about [`WRITE_AT_ONCE`] at most: whoever writes has other things to do too. What is
/// copied to where the peer sees it counts for that. Returns what the peer has of it, and why this is the end.
fn write(stream: &dyn Stream, writer: &mut Writer) -> (usize, WriteEnd) {
    let (mut written, mut taken_by_system, mut copied) = (0, 0, 0);
    while !writer.transmit.is_empty() {
        let places = writer.is_to_place();
        let effort = taken_by_system + if places { copied } else { 0 };
        if effort >= WRITE_AT_ONCE {
            return (written, WriteEnd::More);
        }
        if places {
            copied += writer.place(WRITE_AT_ONCE - effort);
            continue;
        }
        match writer.write_some(stream) {
            Ok(taken) => {
                written += writer.transmit.advance(taken);
                taken_by_system += taken;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return (written, WriteEnd::Blocked),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return (written, WriteEnd::Failed),
        }
    }
    (written, WriteEnd::All)
}

impl Writer {
    /// Whether the payload that is offered comes next: nothing is ahead of it, or so little that it goes with the location,
    /// if that is known soon.
    fn is_to_place(&self) -> bool {
        let Some((ahead, payload)) = self.transmit.offer() else { return false };
        let is_there = || self.lender.as_ref().is_some_and(|lender| lender.is_there(payload));
        ahead == 0 || payload.len() <= PIECES * WRITE_AT_ONCE || is_there()
    }

    /// Copies up to `most` bytes of the payload that is offered to where the peer sees them, and answers the offer once that
    /// is done or can't be. Returns how many were copied.
    fn place(&mut self, most: usize) -> usize {
        let Some((_, payload)) = self.transmit.offer() else { return 0 };
        let placed = self.lender.as_mut().map_or(Placed::Nowhere, |lender| lender.place(payload, most));
        let (answer, copied) = match placed {
            Placed::Partly(copied) => return copied,
            Placed::At(location, copied) => (Some(location), copied),
            Placed::Nowhere => (None, 0),
        };
        self.transmit.answer(answer);
        copied
    }

    fn write_some(&mut self, stream: &dyn Stream) -> std::io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let introduction = self.lender.as_ref().and_then(Lender::introduction);
        let Some(descriptor) = introduction else {
            let count = self.transmit.slices(WRITE_AT_ONCE, &mut slices);
            return stream.try_write(&slices[..count]);
        };
        let before = self.transmit.len().saturating_sub(INTRODUCING);
        let count = self
            .transmit
            .slices(if before > 0 { before.min(WRITE_AT_ONCE) } else { INTRODUCING }, &mut slices);
        if before > 0 {
            return stream.try_write(&slices[..count]);
        }
        let taken = stream.try_write_with(&slices[..count], descriptor)?;
        if let Some(lender) = &mut self.lender {
            lender.introduced();
        }
        Ok(taken)
    }
}
