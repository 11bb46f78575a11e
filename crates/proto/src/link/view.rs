//! How a link stands, for those who look at it from outside: nothing here changes how it goes on.

use std::collections::VecDeque;
use std::time::Duration;

use super::lanes::{Entry, LaneState};
use super::{Counters, Event, Link, State};
use crate::Time;
use crate::wire::Class;

/// How far a link has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// There is no session: nobody has had something to say yet, or the last session is over.
    Absent,
    /// A session goes on, and the peer is heard.
    Up,
    /// A session goes on, and the peer has been silent for a while.
    Suspected,
    /// A session goes on, and its connection is being made again.
    Down,
    /// The peer is gone for good.
    Ended,
}

/// What waits on a link. Messages are ours, requests and replies together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Messages that wait for room at the peer, or for a session to begin.
    pub waiting: usize,
    /// What they cost, in bytes.
    pub waiting_bytes: u64,
    /// Messages under way: the peer has not acknowledged them.
    pub under_way: usize,
    /// What they cost, in bytes.
    pub under_way_bytes: u64,
    /// Bytes of the peer's requests whose handlers have not started.
    pub unstarted_bytes: u64,
}

/// What the beats of a peer have told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pulse {
    /// When the heart was sent that no beat has answered.
    asked: Option<Time>,
    /// From the last heart to its beat.
    pub round_trip: Option<Duration>,
    /// How late the peer said it was.
    pub lag: Option<Duration>,
}

impl<T, B: AsRef<[u8]>> Link<T, B> {
    /// How far the link has come.
    pub fn condition(&self) -> Condition {
        match self.state {
            State::Absent => Condition::Absent,
            State::Up { .. } if self.liveness.is_suspected() => Condition::Suspected,
            State::Up { .. } => Condition::Up,
            State::Down { .. } => Condition::Down,
            State::Ended { .. } => Condition::Ended,
        }
    }

    /// What waits. Takes time in proportion to it.
    pub fn load(&self) -> Load {
        let waiting = self.pending.iter().chain([&self.pending_express]);
        Load {
            waiting: waiting.clone().map(VecDeque::len).sum(),
            waiting_bytes: waiting.flatten().map(Entry::cost).sum(),
            under_way: self.lanes.iter().map(LaneState::unacked).sum(),
            under_way_bytes: self.lanes.iter().map(LaneState::unacked_bytes).sum(),
            unstarted_bytes: self.inflow[Class::Requests.index()].unconsumed(),
        }
    }

    /// What was counted on this link.
    pub fn counters(&self) -> Counters {
        let carried = self.lanes.each_ref().map(LaneState::carried);
        let [bytes_sent, bytes_received] = [0, 1].map(|way| carried.iter().map(|lane| lane[way]).sum());
        Counters { bytes_sent, bytes_received, ..self.counters }
    }

    /// What the beats of the peer have told.
    pub fn pulse(&self) -> Pulse {
        self.pulse
    }

    /// Commands are about to be written; a heart may be among them.
    pub(super) fn note_question(&mut self, now: Time) {
        if self.commands.heart || self.commands.ping {
            self.pulse.asked.get_or_insert(now);
        }
    }

    /// A heart may have been lost with its connection.
    pub(super) fn forget_question(&mut self) {
        self.pulse.asked = None;
    }

    /// A beat has come.
    pub(super) fn note_answer(&mut self, now: Time, lag: Duration) {
        self.pulse.lag = Some(lag);
        if let Some(asked) = self.pulse.asked.take() {
            let round_trip = now - asked;
            self.pulse.round_trip = Some(round_trip);
            self.events.push_back(Event::Beat { round_trip });
        }
    }
}
