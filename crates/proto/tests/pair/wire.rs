//! One simulated connection: two ends and a pipe each way.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::Duration;

use mosaic_proto::Time;
use mosaic_proto::limits::Limits;
use mosaic_proto::link::{ConnectionId, Transmit};
use mosaic_proto::wire::{Command, Lane, Receiver};

use super::{Conditions, Fate};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The dialler's, until the connection is made; the other end does not know of it yet.
    Connecting(Time),
    Greeting,
    Live,
    Closed,
}

pub struct End {
    pub phase: Phase,
    pub id: Option<ConnectionId>,
    pub receiver: Receiver<Vec<u8>>,
    pub transmit: Transmit,
}

/// What was written and has not arrived.
#[derive(Default)]
pub struct Pipe {
    chunks: VecDeque<(Time, Vec<u8>)>,
    ends: Option<Time>,
}

pub struct Wire {
    pub dialler: usize,
    pub lane: Lane,
    pub fate: Fate,
    pub ends: [End; 2],
    /// By the side that writes.
    pub pipes: [Pipe; 2],
    /// Neither side learns any more what the other does.
    is_cut: bool,
}

impl End {
    fn new(phase: Phase) -> End {
        End { phase, id: None, receiver: Receiver::new(Limits::default()), transmit: Transmit::new() }
    }

    /// Takes at most `most` bytes of what was polled.
    pub fn take(&mut self, most: usize) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 8];
        let filled = self.transmit.slices(most, &mut slices);
        let bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect();
        self.transmit.advance(bytes.len());
        bytes
    }
}

impl Pipe {
    pub fn len(&self) -> usize {
        self.chunks.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    pub fn write(&mut self, arrives: Time, bytes: Vec<u8>) {
        if self.ends.is_none() {
            let arrives = self.chunks.back().map_or(arrives, |(last, _)| arrives.max(*last));
            self.chunks.push_back((arrives, bytes));
        }
    }

    pub fn read(&mut self, now: Time, paused: bool) -> Option<Vec<u8>> {
        let due = |(arrives, _): &mut (Time, Vec<u8>)| *arrives <= now && !paused;
        self.chunks.pop_front_if(due).map(|(_, bytes)| bytes)
    }

    pub fn has_ended(&self, now: Time, paused: bool) -> bool {
        self.chunks.is_empty() && !paused && self.ends.is_some_and(|end| end <= now)
    }

    /// Nothing can be written any more; what was written arrives, followed by the end.
    fn end(&mut self, at: Time) {
        let last = self.chunks.back().map_or(at, |(last, _)| at.max(*last));
        self.ends = Some(self.ends.map_or(last, |end| end.min(last)));
    }

    fn truncate(&mut self, mut len: usize) {
        for (_, bytes) in &mut self.chunks {
            bytes.truncate(len);
            len -= bytes.len();
        }
        self.chunks.retain(|(_, bytes)| !bytes.is_empty());
    }
}

impl Wire {
    pub fn new(dialler: usize, lane: Lane, due: Time, fate: Fate) -> Wire {
        let mut ends = [End::new(Phase::Closed), End::new(Phase::Closed)];
        ends[dialler].phase = Phase::Connecting(due);
        Wire { dialler, lane, fate, ends, pipes: [Pipe::default(), Pipe::default()], is_cut: false }
    }

    pub fn say(&mut self, side: usize, arrives: Time, command: &Command) {
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        self.pipes[side].write(arrives, bytes);
    }

    pub fn is_live(&self, side: usize) -> bool {
        self.ends[side].phase == Phase::Live
    }

    pub fn is_closed(&self) -> bool {
        self.ends.iter().all(|end| end.phase == Phase::Closed)
    }

    /// Closed ones are kept for the count of dials.
    pub fn keep(&self) -> bool {
        true
    }

    pub fn is_dial(&self, side: usize, lane: Lane) -> bool {
        let dialling = matches!(self.ends[side].phase, Phase::Connecting(_) | Phase::Greeting);
        self.dialler == side && self.lane == lane && dialling
    }

    /// One side closes its end: the other sees that after what was written before.
    pub fn close(&mut self, side: usize, now: Time) {
        self.ends[side].phase = Phase::Closed;
        self.ends[side].transmit.clear();
        self.pipes[1 - side].chunks.clear();
        if !self.is_cut {
            self.pipes[side].end(now);
        }
    }

    /// One side has gone without a word.
    pub fn forget(&mut self, side: usize) {
        self.ends[side].phase = Phase::Closed;
    }

    pub fn abort(&mut self) {
        self.ends.iter_mut().for_each(|end| end.phase = Phase::Closed);
    }

    /// The connection breaks. Each side's own `notice` says how soon it sees that.
    pub fn cut(&mut self, now: Time, arriving: [usize; 2], notice: [Duration; 2]) {
        self.is_cut = true;
        for side in [0, 1] {
            self.pipes[side].truncate(arriving[side]);
            self.pipes[side].end(now + notice[1 - side]);
        }
    }

    pub fn next_event(&self, now: Time, conditions: &Conditions) -> Option<Time> {
        let mut events = Vec::new();
        for side in [0, 1] {
            match self.ends[side].phase {
                Phase::Closed => continue,
                Phase::Connecting(due) if self.fate == Fate::Silence => {
                    events.push(due + Duration::from_secs(1))
                }
                Phase::Connecting(due) => events.push(due),
                Phase::Greeting | Phase::Live => {
                    let pipe = &self.pipes[1 - side];
                    if !conditions.paused[self.lane.index()][1 - side] {
                        events.extend(pipe.chunks.front().map(|(arrives, _)| *arrives).or(pipe.ends));
                    }
                }
            }
        }
        events.into_iter().filter(|&event| event > now).min()
    }
}
