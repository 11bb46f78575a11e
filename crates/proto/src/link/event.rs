//! What a link has its driver do, what it tells, and what it counts.

use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::Link;
use super::{ConnectionId, Execution};
use crate::Reason;
use crate::Session;
use crate::wire::{Class, Incoming, Lane};

/// How a link ended for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The peer's process is gone: a failure.
    Dead,
    /// The peer said goodbye: a departure.
    Left,
}

/// What a driver must do or tell.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<T, B: AsRef<[u8]>> {
    /// Dial this lane; report by [`Link::attach`] or [`Link::dial_failed`].
    Dial(Lane),
    /// Drop the dial of this lane that is under way: the peer's own dial came first.
    AbandonDial(Lane),
    /// Close this connection: another has replaced it, or the session is over.
    Close {
        /// Its lane.
        lane: Lane,
        /// Which one.
        connection: ConnectionId,
    },
    /// A session has begun (`resumed` false) or goes on.
    Up {
        /// Whether the session had begun before.
        resumed: bool,
    },
    /// The control connection is gone; it is being dialled again.
    Down,
    /// A message of the peer's. Its cost goes back by [`Link::consumed`] once its handler starts, unless it is express.
    Request {
        /// The message.
        incoming: Incoming<B>,
        /// The session it belongs to; a reply to it is only of use in the same.
        session: Session,
    },
    /// The peer gave up the request with this id, which has been passed on before.
    Cancel {
        /// The request's id.
        id: u64,
        /// The session that it came in: ids begin anew with the peer's next life.
        session: Session,
    },
    /// What a ticket waited for has ended.
    Outcome {
        /// The ticket, as it was given.
        ticket: T,
        /// How it ended.
        outcome: Outcome<B>,
    },
    /// Reserve from the context's budget and answer by [`Link::reserved`] (or [`Link::denied`]).
    Reserve {
        /// For which class.
        class: Class,
        /// How much.
        bytes: u64,
        /// Whether a message waits for it; else it is growth, which may be refused by silence.
        essential: bool,
    },
    /// Give this much back to the context's budget.
    Release {
        /// Of which class.
        class: Class,
        /// How much.
        bytes: u64,
    },
    /// The peer will never take this reply: answer the request by an error instead.
    ReplyTooLarge {
        /// The id of the request.
        request: u64,
        /// The session it came in.
        session: Session,
        /// What the reply costs, in bytes.
        cost: u64,
        /// What the peer takes at most, in bytes.
        limit: u64,
    },
    /// The peer has answered a heart.
    Beat {
        /// From the heart to the beat.
        round_trip: Duration,
    },
    /// The peer has been silent for a while.
    Suspected,
    /// Nothing has come from the peer for too long: pending calls have ended, the next message begins a new session.
    Unreachable(Reason),
    /// The peer is gone for good.
    Ended {
        /// Dead or left.
        verdict: Verdict,
        /// Why.
        reason: Reason,
    },
}

/// How something that was sent has ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome<B: AsRef<[u8]>> {
    /// The reply (or error) to a call.
    Reply(Incoming<B>),
    /// The beat that answers a heart, and how late its sender is.
    Beat(Duration),
    /// A one-way message that had waited for room was accepted.
    Accepted,
    /// The deadline passed.
    Timeout(Execution),
    /// The link's session ended.
    Disconnected {
        /// Why.
        reason: Reason,
        /// Whether the request may have run.
        execution: Execution,
    },
    /// It is nested, had to wait for credit, and the peer runs as many handlers as it may: it was not run.
    Overloaded,
    /// The peer will never take a message of this size.
    TooLarge {
        /// What the message costs, in bytes.
        size: u64,
        /// What it takes at most, in bytes.
        limit: u64,
    },
}

/// What a link has carried, dropped and repeated since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Counters {
    /// Messages given to connections, repetitions included.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
    /// Bytes that the system took, of messages and of the protocol itself.
    pub bytes_sent: u64,
    /// Bytes that came, of messages and of the protocol itself.
    pub bytes_received: u64,
    /// Calls that were made.
    pub calls: u64,
    /// Calls that the peer answered by an error.
    pub errors: u64,
    /// Calls whose deadline passed.
    pub timed_out: u64,
    /// Messages written again after a cut.
    pub replayed: u64,
    /// Replies that nobody awaited any more.
    pub late_replies: u64,
    /// One-way messages and replies lost with a session.
    pub dropped: u64,
    /// Requests that the peer gave up before they were passed on.
    pub cancelled: u64,
    /// Data connections that were closed because the peer read nothing from them.
    pub stalled: u64,
    /// Connections that were attached.
    pub connections: u64,
    /// Dials that failed; each is tried again while the peer is wanted.
    pub failed_dials: u64,
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Counters) {
        self.sent += other.sent;
        self.received += other.received;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.calls += other.calls;
        self.errors += other.errors;
        self.timed_out += other.timed_out;
        self.replayed += other.replayed;
        self.late_replies += other.late_replies;
        self.dropped += other.dropped;
        self.cancelled += other.cancelled;
        self.stalled += other.stalled;
        self.connections += other.connections;
        self.failed_dials += other.failed_dials;
    }
}

/// How many messages of one session and lane are where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Messages that were accepted for the lane.
    pub accepted: u64,
    /// Of these, messages that the current or the last connection was given.
    pub sent: u64,
    /// Of these, messages that the peer has for certain.
    pub acknowledged: u64,
    /// Messages of the peer's.
    pub received: u64,
}

/// What the peer allows of one class, and how much of it is in use, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credit {
    /// What was sent and not consumed, as far as we know.
    pub used: u64,
    /// How far that may go.
    pub allowed: u64,
}
