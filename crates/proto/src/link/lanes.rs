//! One lane: what waits to be written, what was written and not acknowledged, and the connection that carries it.
//!
//! ```text
//! queue:  [ written, unacknowledged | not written yet ]      acked + queue.len() = messages of this session so far
//!         0                         next
//! ```
//!
//! Messages are counted, not numbered: the n-th message of a session, lane and direction is the same on both sides.
//! After a cut the peer says how many it has; those leave the front, and writing starts again at the first of the
//! rest, from the same buffers.

use std::collections::VecDeque;

use super::transmit::Transmit;
use super::{ConnectionId, Progress};
use crate::Time;
use crate::wire::Class;
use crate::wire::{Outgoing, Piece};

/// A message of ours, from its admission until it is acknowledged.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) outgoing: Outgoing,
    pub(super) class: Class,
    /// The id under which a reply is awaited or, for a one-way message, its admission.
    pub(super) id: u64,
    pub(super) express: bool,
    pub(super) nested: bool,
    pub(super) deadline: Option<Time>,
    /// Who waits for the admission of a one-way message.
    pub(super) accepted: Option<T>,
    /// Whether the peer was asked for room for it.
    pub(super) granted: bool,
    /// Where it ends in the stream of the connection that carries it.
    end: Option<u64>,
    handed_over: bool,
    /// The last request on its lane up to here: ids of requests ascend, so one is found by bisection.
    request: u64,
}

impl<T> Entry<T> {
    pub(super) fn new(
        outgoing: Outgoing,
        class: Class,
        id: u64,
        express: bool,
        deadline: Option<Time>,
    ) -> Self {
        Entry {
            outgoing,
            class,
            id,
            express,
            nested: false,
            deadline,
            accepted: None,
            granted: false,
            end: None,
            handed_over: false,
            request: 0,
        }
    }

    pub(super) fn cost(&self) -> u64 {
        self.outgoing.cost()
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) dialled: bool,
    pub(super) since: Time,
    /// Bytes given to the writer and, of them, bytes taken by the system.
    polled: u64,
    written: u64,
    /// The writer is at it, and the system may have taken more than it has said by now.
    writing: bool,
    /// Bytes of the peer's.
    read: u64,
}

impl Connection {
    /// Bytes that the system may have taken.
    fn taken(&self) -> u64 {
        if self.writing { self.polled } else { self.written }
    }
}

#[derive(Debug)]
pub(super) struct LaneState<T> {
    pub(super) connection: Option<Connection>,
    queue: VecDeque<Entry<T>>,
    next: usize,
    acked: u64,
    unacked_bytes: u64,
    /// Of them, those that no connection has been given.
    unpolled_bytes: u64,
    unacked_requests: usize,
    last_request: u64,
    /// Bytes that earlier connections have written and read.
    carried: [u64; 2],
    pub(super) received: u64,
    pub(super) told_received: u64,
    pub(super) untold_bytes: u64,
}

impl<T> LaneState<T> {
    pub(super) fn new() -> Self {
        LaneState {
            connection: None,
            queue: VecDeque::new(),
            next: 0,
            acked: 0,
            unacked_bytes: 0,
            unpolled_bytes: 0,
            unacked_requests: 0,
            last_request: 0,
            carried: [0; 2],
            received: 0,
            told_received: 0,
            untold_bytes: 0,
        }
    }

    pub(super) fn push(&mut self, mut entry: Entry<T>) {
        if entry.class == Class::Requests {
            assert!(entry.id > self.last_request, "requests are sent in the order of their ids");
            self.last_request = entry.id;
            self.unacked_requests += 1;
        }
        entry.request = self.last_request;
        self.unacked_bytes += entry.cost();
        self.unpolled_bytes += entry.cost();
        self.queue.push_back(entry);
    }

    /// An entry has left the queue.
    fn forget(&mut self, entry: &Entry<T>) {
        self.unacked_bytes -= entry.cost();
        self.unacked_requests -= usize::from(entry.class == Class::Requests);
    }

    /// Nothing waits to be written and everything was acknowledged.
    pub(super) fn is_drained(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn has_unwritten(&self) -> bool {
        self.next < self.queue.len()
    }

    pub(super) fn unacked_bytes(&self) -> u64 {
        self.unacked_bytes
    }

    pub(super) fn unacked_requests(&self) -> usize {
        self.unacked_requests
    }

    /// How many messages were given to connections in this session.
    pub(super) fn sent(&self) -> u64 {
        self.acked + self.next as u64
    }

    /// How many messages this session has had on this lane.
    pub(super) fn queued(&self) -> u64 {
        self.acked + self.queue.len() as u64
    }

    /// Bytes that wait until the system takes them; `None` without a connection.
    pub(super) fn backlog(&self) -> Option<u64> {
        self.connection
            .as_ref()
            .map(|connection| connection.polled - connection.written + self.unpolled_bytes)
    }

    pub(super) fn progress(&self) -> Progress {
        let (accepted, sent) = (self.queued(), self.sent());
        Progress { accepted, sent, acknowledged: self.acked, received: self.received }
    }

    pub(super) fn attach(&mut self, id: ConnectionId, dialled: bool, since: Time) {
        self.connection =
            Some(Connection { id, dialled, since, polled: 0, written: 0, writing: false, read: 0 });
    }

    /// Forgets the connection, but for what it has carried.
    pub(super) fn close(&mut self) -> Option<Connection> {
        self.carried = self.carried();
        self.connection.take()
    }

    /// Bytes that all connections of this lane have written and read.
    pub(super) fn carried(&self) -> [u64; 2] {
        let [written, read] = self.carried;
        [written + self.bytes_written(), read + self.read()]
    }

    /// Messages that are not acknowledged.
    pub(super) fn unacked(&self) -> usize {
        self.queue.len()
    }

    /// The connection is gone: notes which messages the system may have taken whole.
    pub(super) fn detach(&mut self) {
        let Some(connection) = self.close() else { return };
        for entry in self.queue.iter_mut().take(self.next) {
            let whole = entry.end.take().is_some_and(|end| end <= connection.taken());
            entry.handed_over |= whole;
        }
    }

    /// The peer has `received` messages of this session: forgets those. False if it claims more than was written.
    pub(super) fn acknowledge(&mut self, received: u64) -> bool {
        let Some(count) = received.checked_sub(self.acked) else { return true };
        if count > self.next as u64 {
            return false;
        }
        for _ in 0..count {
            let Some(entry) = self.queue.pop_front() else { break };
            self.forget(&entry);
        }
        self.acked = received;
        self.next = self.next.saturating_sub(count as usize);
        true
    }

    /// Whether the peer may have received as much in this session.
    pub(super) fn can_resume(&self, received: u64) -> bool {
        (self.acked..=self.sent()).contains(&received)
    }

    /// A connection continues the session: what the peer lacks is written again. Returns how many messages those are.
    pub(super) fn resume(&mut self, received: u64) -> u64 {
        let sent = self.sent();
        assert!(self.acknowledge(received), "a session is resumed where the peer can be");
        // The peer has said that it lacks them, and takes nothing from the connection before.
        self.queue.iter_mut().for_each(|entry| entry.handed_over = false);
        self.next = 0;
        self.unpolled_bytes = self.unacked_bytes;
        sent - self.acked
    }

    /// The reply to the request `id` has come: it was received, and on its lane all before it.
    pub(super) fn answered(&mut self, id: u64) {
        if let Some(index) = self.find(id).filter(|&index| index < self.next) {
            self.acknowledge(self.acked + index as u64 + 1);
        }
    }

    /// Gives the writer what comes next, until about `most` bytes lie in `out`.
    pub(super) fn poll(&mut self, now: Time, most: usize, out: &mut Transmit) {
        let Some(connection) = &mut self.connection else { return };
        while out.len() < most
            && let Some(entry) = self.queue.get_mut(self.next)
        {
            if let Some(deadline) = entry.deadline {
                entry.outgoing.stamp(deadline - now);
            }
            let before = out.len();
            match entry.outgoing.small() {
                Some(bytes) => out.copy(bytes),
                None => entry.outgoing.pieces().for_each(|piece| match piece {
                    Piece::Copy(bytes) => out.copy(bytes),
                    Piece::Refer(header, bytes) => out.refer(header, bytes),
                }),
            }
            connection.polled += (out.len() - before) as u64;
            entry.end = Some(connection.polled);
            self.unpolled_bytes -= entry.outgoing.cost();
            self.next += 1;
        }
    }

    /// Commands were put before the messages.
    pub(super) fn polled_command(&mut self, bytes: usize) {
        if let Some(connection) = &mut self.connection {
            connection.polled += bytes as u64;
        }
    }

    pub(super) fn begin_writing(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.writing = true;
        }
    }

    pub(super) fn written(&mut self, bytes: usize) {
        if let Some(connection) = &mut self.connection {
            connection.written += bytes as u64;
            connection.writing = false;
        }
    }

    /// Bytes of the peer's have come by this connection; true if it is the one there is.
    pub(super) fn has_read(&mut self, id: ConnectionId, bytes: usize) -> bool {
        let current = self.connection.as_mut().filter(|current| current.id == id);
        current.map(|connection| connection.read += bytes as u64).is_some()
    }

    /// Bytes of the peer's that have come by the connection there is.
    pub(super) fn read(&self) -> u64 {
        self.connection.as_ref().map_or(0, |connection| connection.read)
    }

    /// Bytes of ours that were given to the connection there is.
    pub(super) fn bytes_polled(&self) -> u64 {
        self.connection.as_ref().map_or(0, |connection| connection.polled)
    }

    /// Bytes of ours that the system has taken for the connection there is.
    pub(super) fn bytes_written(&self) -> u64 {
        self.connection.as_ref().map_or(0, |connection| connection.written)
    }

    /// Whether a connection has been given messages that are not acknowledged.
    pub(super) fn awaits_acknowledgement(&self) -> bool {
        self.connection.is_some() && self.next > 0
    }

    /// Forgets what the system has taken whole, for a peer that acknowledges nothing. Returns its cost by class.
    pub(super) fn forget_written(&mut self) -> [u64; 2] {
        let written = self.connection.as_ref().map_or(0, |connection| connection.written);
        let mut cost = [0; 2];
        while let Some(entry) = self.queue.front()
            && entry.end.is_some_and(|end| end <= written)
        {
            cost[entry.class.index()] += entry.cost();
            self.acknowledge(self.acked + 1);
        }
        cost
    }

    fn handed_over(entry: &Entry<T>, taken: u64) -> bool {
        entry.handed_over || entry.end.is_some_and(|end| end <= taken)
    }

    fn find(&self, id: u64) -> Option<usize> {
        let index = self.queue.partition_point(|entry| entry.request < id);
        let entry = self.queue.get(index)?;
        (entry.id == id && entry.class == Class::Requests).then_some(index)
    }

    /// Takes back a request of which nothing was written in this session.
    pub(super) fn take_back(&mut self, id: u64) -> Option<Entry<T>> {
        let index = self.find(id)?;
        let entry = &self.queue[index];
        if index < self.next || entry.end.is_some() || entry.handed_over {
            return None;
        }
        let entry = self.queue.remove(index)?;
        self.forget(&entry);
        self.unpolled_bytes -= entry.cost();
        Some(entry)
    }

    /// The count that this lane will have reached once the request `id` has come.
    pub(super) fn count_at(&self, id: u64) -> u64 {
        self.find(id).map_or(self.acked, |index| self.acked + index as u64 + 1)
    }

    pub(super) fn is_consistent(&self) -> bool {
        let requests = self.queue.iter().filter(|entry| entry.class == Class::Requests);
        self.next <= self.queue.len()
            && self.unpolled_bytes == self.queue.iter().skip(self.next).map(Entry::cost).sum::<u64>()
            && self.unacked_bytes == self.queue.iter().map(Entry::cost).sum::<u64>()
            && self.unacked_requests == requests.count()
    }

    /// The session is over. Returns what was not acknowledged, and whether the system may have taken it whole.
    pub(super) fn reset(&mut self) -> Vec<(Entry<T>, bool)> {
        let taken = self.connection.as_ref().map_or(0, Connection::taken);
        let lost = std::mem::take(&mut self.queue);
        *self = LaneState { connection: self.connection.take(), carried: self.carried, ..LaneState::new() };
        lost.into_iter()
            .map(|entry| {
                let handed_over = Self::handed_over(&entry, taken);
                (entry, handed_over)
            })
            .collect()
    }
}
