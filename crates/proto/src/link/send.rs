//! What goes out: admission by credit, the choice of the lane, calls and how they end on our side.

use std::collections::{BTreeSet, VecDeque};

use super::lanes::{Entry, LaneState};
use super::{Event, Link, Outcome};
use crate::Reason;
use crate::Session;
use crate::Time;
use crate::limits::{MAX_CONTROL_MESSAGE, MAX_WINDOW};
use crate::wire::Outgoing;
use crate::wire::{Class, Lane};

/// What may wait on the data lane before a small reply takes the other: less is written in one go, by one thread.
const SHORT_BACKLOG: u64 = 64 * 1024;

/// Unacknowledged bytes of express messages at most. They take no credit, since their handlers start at once.
pub(super) const EXPRESS_WINDOW: u64 = 256 * 1024;

/// What is certain about the execution of a request whose reply did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Execution {
    /// No complete copy was handed to the system, or the peer says that it refused: it can be sent again.
    NotRun,
    /// It may have been executed, wholly or in part, or may be executing now.
    MayHaveRun,
    /// It was executed.
    Ran,
}

/// A message of ours, before it has an id.
#[derive(Debug)]
pub struct Request<T> {
    /// The encoded message.
    pub outgoing: Outgoing,
    /// Whether it takes the control lane, past whatever waits, as its envelope says. One of more than
    /// [`MAX_CONTROL_MESSAGE`] takes its turn on the data lane.
    pub express: bool,
    /// Whether it is sent by a handler, as its envelope says: while requests wait at the peer for others to end, it does
    /// not wait for credit behind them.
    pub nested: bool,
    /// What completes the call, if a reply is wanted.
    pub reply: Option<T>,
    /// When the caller gives up.
    pub deadline: Option<Time>,
}

/// What became of a message that was given to the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is under way.
    Accepted(u64),
    /// It waits for room or for the session to begin.
    Waiting(u64),
}

impl Admission {
    /// The id that the message was given.
    pub fn id(self) -> u64 {
        match self {
            Admission::Accepted(id) | Admission::Waiting(id) => id,
        }
    }
}

impl<T, B: AsRef<[u8]>> Link<T, B> {
    /// Sends a heart; `ticket` ends with the next beat, or with the session. It comes back if there is none.
    pub fn ping(&mut self, ticket: T) -> Option<T> {
        if self.session().is_none() {
            return Some(ticket);
        }
        self.pings.push(ticket);
        self.send_heart();
        None
    }

    pub(super) fn send_heart(&mut self) {
        let flag = if self.foreign { &mut self.commands.ping } else { &mut self.commands.heart };
        *flag = true;
    }

    /// Whether a message of this cost would be accepted at once.
    pub fn has_room(&self, cost: u64, express: bool) -> bool {
        if self.session().is_none() {
            return false;
        }
        if express && cost <= MAX_CONTROL_MESSAGE as u64 {
            return self.pending_express.is_empty() && self.express_admits(cost);
        }
        self.pending[Class::Requests.index()].is_empty() && self.admits(Class::Requests, cost)
    }

    /// Whether no request of ours but the newest is under way to the peer: no call awaits its reply, and what the peer
    /// has not acknowledged, by ACK or by a reply, is at most one message. Then a sender gains nothing by leaving its
    /// message to a batch.
    pub fn is_quiet(&self) -> bool {
        self.in_flight.is_empty() && self.lanes.iter().map(LaneState::unacked_requests).sum::<usize>() <= 1
    }

    /// Sends a message, or queues it until there is room for it.
    ///
    /// # Errors
    /// The request comes back if the link has ended; [`Link::ended`] says why. Else it had to wait for credit and must
    /// not, being nested: the peer runs as many handlers as it may.
    pub fn send(&mut self, now: Time, mut request: Request<T>) -> Result<Admission, Request<T>> {
        let express = request.express && request.outgoing.cost() <= MAX_CONTROL_MESSAGE as u64;
        let overloaded = !express
            && self.must_not_wait(request.nested)
            && !self.has_room(request.outgoing.cost(), express);
        if overloaded || self.ended().is_some() {
            return Err(request);
        }
        let id = self.next_id;
        self.next_id += 1;
        request.outgoing.set_id(id);
        if let Some(ticket) = request.reply {
            self.counters.calls += 1;
            self.in_flight.insert(id, ticket, request.deadline);
        }
        let mut entry = Entry::new(request.outgoing, Class::Requests, id, express, request.deadline);
        entry.nested = request.nested;
        let queue = if entry.express { &mut self.pending_express } else { &mut self.pending[0] };
        queue.push_back(entry);
        self.admit(now);
        self.dial_where_needed(now);
        Ok(if self.waits(id) { Admission::Waiting(id) } else { Admission::Accepted(id) })
    }

    fn waits(&self, id: u64) -> bool {
        let last = |queue: &VecDeque<Entry<T>>| queue.back().is_some_and(|entry| entry.id == id);
        last(&self.pending[0]) || last(&self.pending_express)
    }

    /// Has `ticket` told when the one-way message `id`, which waits, is accepted. It comes back if it does not wait.
    pub fn notify_acceptance(&mut self, now: Time, id: u64, ticket: T) -> Option<T> {
        let Some(entry) = self.waiting(id) else { return Some(ticket) };
        entry.accepted = Some(ticket);
        let nested = entry.nested && !entry.express;
        if self.must_not_wait(nested) {
            self.refuse_nested();
            self.admit(now);
        }
        None
    }

    fn waiting(&mut self, id: u64) -> Option<&mut Entry<T>> {
        let requests = &mut self.pending[Class::Requests.index()];
        [requests, &mut self.pending_express].into_iter().find_map(|queue| {
            let index = queue.binary_search_by_key(&id, |entry| entry.id).ok()?;
            queue.get_mut(index)
        })
    }

    /// Sends the reply to a request that came in `session`. It is dropped and counted if that is over.
    pub fn reply(&mut self, now: Time, session: Session, request: u64, mut outgoing: Outgoing) {
        if self.session() != Some(session) {
            self.counters.dropped += 1;
            return;
        }
        outgoing.set_id(request);
        self.pending[Class::Replies.index()].push_back(Entry::new(
            outgoing,
            Class::Replies,
            request,
            false,
            None,
        ));
        self.admit(now);
        self.dial_where_needed(now);
    }

    /// Admits what waits, as far as there is room, in order for each class.
    pub(super) fn admit(&mut self, now: Time) {
        if self.session().is_none() {
            return;
        }
        while let Some(entry) = self.pending_express.front()
            && self.express_admits(entry.cost())
            && let Some(entry) = self.pending_express.pop_front()
        {
            self.enqueue(Lane::Control, entry);
        }
        for class in Class::ALL {
            let head = self.pending[class.index()].front().map(Entry::cost);
            let gone = self.outflow[class.index()].must_retract(head);
            self.retract(class, gone);
            while let Some(entry) = self.pending[class.index()].front() {
                let cost = entry.cost();
                if !self.admits(class, cost) {
                    self.ask_for_room(class, cost);
                    break;
                }
                let granted = self.outflow[class.index()].admit(cost);
                if let Some(mut entry) = self.pending[class.index()].pop_front() {
                    entry.granted = granted;
                    let lane = self.lane_for(class, cost);
                    self.enqueue(lane, entry);
                }
            }
        }
        self.dial_where_needed(now);
    }

    fn admits(&self, class: Class, cost: u64) -> bool {
        let outflow = &self.outflow[class.index()];
        if self.foreign {
            return outflow.outstanding() == 0 || outflow.outstanding() + cost <= MAX_WINDOW;
        }
        outflow.admits(cost)
    }

    fn express_admits(&self, cost: u64) -> bool {
        let control = &self.lanes[Lane::Control.index()];
        control.is_drained() || control.unacked_bytes() + cost <= EXPRESS_WINDOW
    }

    fn ask_for_room(&mut self, class: Class, cost: u64) {
        if self.is_up() && !self.foreign && self.outflow[class.index()].must_ask(cost) {
            self.commands.want(class, cost);
        }
    }

    /// Ordered requests keep to the data lane. So does a small reply, unless much waits there before it.
    fn lane_for(&self, class: Class, cost: u64) -> Lane {
        let small = cost <= MAX_CONTROL_MESSAGE as u64;
        let much = |backlog: Option<u64>| backlog.is_none_or(|bytes| bytes > SHORT_BACKLOG);
        if self.foreign
            || (class == Class::Replies && small && much(self.lanes[Lane::Data.index()].backlog()))
        {
            Lane::Control
        } else {
            Lane::Data
        }
    }

    fn enqueue(&mut self, lane: Lane, mut entry: Entry<T>) {
        if let Some(ticket) = entry.accepted.take() {
            self.events.push_back(Event::Outcome { ticket, outcome: Outcome::Accepted });
        }
        self.lanes[lane.index()].push(entry);
    }

    /// The caller has gone: takes the request back or tells the peer that its result is not wanted. Returns the
    /// ticket if the call had not ended.
    pub fn cancel(&mut self, now: Time, id: u64) -> Option<T> {
        let ticket = self.in_flight.remove(id)?;
        self.give_up(id);
        self.admit(now);
        Some(ticket)
    }

    /// Takes back a one-way message that still waits. False if it has been accepted, or is a call: those are cancelled.
    pub fn withdraw(&mut self, now: Time, id: u64) -> bool {
        let withdrawn = !self.in_flight.contains(id) && self.take_waiting(id);
        self.admit(now);
        withdrawn
    }

    fn take_waiting(&mut self, id: u64) -> bool {
        let requests = &mut self.pending[Class::Requests.index()];
        for queue in [requests, &mut self.pending_express] {
            if let Ok(index) = queue.binary_search_by_key(&id, |entry| entry.id) {
                queue.remove(index);
                return true;
            }
        }
        false
    }

    /// Nobody awaits the reply to `id` any more.
    pub(super) fn give_up(&mut self, id: u64) -> Execution {
        if self.take_waiting(id) {
            return Execution::NotRun;
        }
        for lane in Lane::ALL {
            if let Some(entry) = self.lanes[lane.index()].take_back(id) {
                if !entry.express {
                    let gone = self.outflow[entry.class.index()].refund(entry.cost(), entry.granted);
                    self.retract(entry.class, gone);
                }
                return Execution::NotRun;
            }
        }
        if !self.foreign && self.session().is_some() {
            let after = self.lanes[Lane::Data.index()].count_at(id);
            self.commands.cancel(id, after);
        }
        Execution::MayHaveRun
    }

    /// The peer never takes a message as large as the one at the head of this class.
    pub(super) fn refuse_head(&mut self, class: Class, limit: u64) {
        let asked = self.outflow[class.index()].denied();
        let refused = |entry: &mut Entry<T>| entry.cost() == asked && asked > limit;
        let Some(entry) = self.pending[class.index()].pop_front_if(refused) else { return };
        let cost = entry.outgoing.cost();
        // The id of a reply is the peer's, and may be that of a call of ours too.
        match (class, self.session()) {
            (Class::Replies, Some(session)) => {
                self.events.push_back(Event::ReplyTooLarge { request: entry.id, session, cost, limit });
            }
            (Class::Requests, _)
                if let Some(ticket) = entry.accepted.or_else(|| self.in_flight.remove(entry.id)) =>
            {
                self.events
                    .push_back(Event::Outcome { ticket, outcome: Outcome::TooLarge { size: cost, limit } });
            }
            _ => self.counters.dropped += 1,
        }
    }

    /// Ends every call and every wait, each with what is certain about it.
    pub(super) fn fail_everything(&mut self, reason: &Reason) {
        let mut unsent: BTreeSet<u64> = BTreeSet::new();
        let mut lost: BTreeSet<(Class, u64)> = BTreeSet::new();
        let mut tickets = Vec::new();
        for queue in self.pending.iter_mut().chain([&mut self.pending_express]) {
            for entry in queue.drain(..) {
                note_loss(&entry, false, &mut unsent, &mut lost);
                if let Some(ticket) = entry.accepted {
                    lost.remove(&(Class::Requests, entry.id));
                    tickets.push(ticket);
                }
            }
        }
        for (entry, handed_over) in self.lanes.iter_mut().flat_map(LaneState::reset) {
            note_loss(&entry, handed_over, &mut unsent, &mut lost);
        }
        let mut fail = |ticket, execution| {
            let outcome = Outcome::Disconnected { reason: reason.clone(), execution };
            self.events.push_back(Event::Outcome { ticket, outcome });
        };
        for (id, ticket) in self.in_flight.take_all() {
            lost.remove(&(Class::Requests, id));
            fail(ticket, if unsent.contains(&id) { Execution::NotRun } else { Execution::MayHaveRun });
        }
        tickets.append(&mut self.pings);
        tickets.into_iter().for_each(|ticket| fail(ticket, Execution::NotRun));
        self.counters.dropped += lost.len() as u64;
    }
}

/// Notes a message that its session takes along: whether it was unsent, and that nobody may learn of its loss.
fn note_loss<T>(
    entry: &Entry<T>,
    handed_over: bool,
    unsent: &mut BTreeSet<u64>,
    lost: &mut BTreeSet<(Class, u64)>,
) {
    lost.insert((entry.class, entry.id));
    if entry.class == Class::Requests && !handed_over {
        unsent.insert(entry.id);
    }
}
