//! What comes in: commands, requests and replies of the peer's, counted and checked against their windows.

use std::time::Duration;

use thiserror::Error;

use super::{ConnectionId, Event, Link, Outcome};
use crate::Reason;
use crate::Session;
use crate::Time;
use crate::limits::{
    LARGE_FRAME, MAX_CONTROL_MESSAGE, MAX_FOREIGN_MESSAGE, MAX_REMEMBERED_CANCELS, MESSAGE_OVERHEAD,
};
use crate::wire::Kind;
use crate::wire::{Class, Command, Lane, Refusal};
use crate::wire::{Facts, Incoming, Item};

/// What a peer did against the rules of the conversation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Violation {
    /// A message costs more than the windows of its link allow.
    #[error("a message that costs {cost} came, the window allows {allowance}")]
    OverWindow {
        /// What it costs.
        cost: u64,
        /// What the window allows.
        allowance: u64,
    },
    /// More was acknowledged than was sent.
    #[error("{received} messages were acknowledged on the {lane:?} lane, fewer were sent")]
    AcknowledgedTooMuch {
        /// The lane.
        lane: Lane,
        /// What the peer claims to have.
        received: u64,
    },
    /// A command came that has no place in a live connection.
    #[error("{name} came on the live {lane:?} lane, it belongs to the handshake")]
    UnexpectedCommand {
        /// The command.
        name: &'static str,
        /// The lane.
        lane: Lane,
    },
    /// The peer sent ERROR.
    #[error("the peer ended the connection: {refusal}")]
    Refused {
        /// What it said.
        refusal: Refusal,
    },
}

impl<T, B: AsRef<[u8]>> Link<T, B> {
    /// The cost of the largest message that may come on this lane now.
    pub fn allowance(&self, lane: Lane) -> u64 {
        if self.foreign {
            return MAX_FOREIGN_MESSAGE;
        }
        match lane {
            Lane::Control => (MAX_CONTROL_MESSAGE + MESSAGE_OVERHEAD + LARGE_FRAME) as u64,
            Lane::Data => self.inflow.iter().map(|inflow| inflow.allowance()).max().unwrap_or(0),
        }
    }

    /// So many bytes have come by a connection, be they a whole item or not.
    pub fn heard(&mut self, now: Time, lane: Lane, connection: ConnectionId, bytes: usize) {
        if self.lanes[lane.index()].has_read(connection, bytes) {
            self.liveness.heard(now);
        }
    }

    /// Takes what a connection's receiver has made of its bytes. Items of a connection that was replaced are ignored.
    ///
    /// # Errors
    /// What the peer did against the protocol. It would do so again after a resume, so the session ends with it; the
    /// driver closes the connection.
    pub fn handle_item(
        &mut self,
        now: Time,
        lane: Lane,
        connection: ConnectionId,
        item: Item<B>,
    ) -> Result<(), Violation> {
        let current = self.lanes[lane.index()].connection.as_ref();
        let Some(session) = self.session().filter(|_| current.is_some_and(|c| c.id == connection)) else {
            return Ok(());
        };
        self.liveness.heard(now);
        self.confirmed = true;
        let handled = match item {
            Item::Message(incoming) => self.handle_message(now, session, lane, incoming),
            Item::Command(command) => self.handle_command(now, lane, command),
        };
        if let Err(violation) = &handled {
            self.give_up_session(Reason::Incompatible { detail: violation.to_string() });
        }
        handled
    }

    /// As if the peer had sent a heart: it lives, and is answered. Nothing without a session.
    pub fn heart_told(&mut self, now: Time) {
        if self.session().is_some() {
            self.liveness.heard(now);
            self.commands.beat = !self.foreign;
        }
    }

    /// As if the peer had sent a beat: it lives, and whoever pinged it has the answer. Nothing without a session.
    pub fn beat_told(&mut self, now: Time) {
        if self.session().is_some() {
            self.liveness.heard(now);
            self.handle_beat(now, Duration::ZERO);
        }
    }

    fn handle_message(
        &mut self,
        now: Time,
        session: Session,
        lane: Lane,
        incoming: Incoming<B>,
    ) -> Result<(), Violation> {
        let cost = incoming.cost();
        let Facts { kind, id, express, .. } = incoming.facts();
        let credited = kind.class() == Class::Replies || !express || lane == Lane::Data;
        if credited {
            self.receive_within_window(kind.class(), cost)?;
        }
        let state = &mut self.lanes[lane.index()];
        state.received += 1;
        state.untold_bytes += cost;
        self.counters.received += 1;
        match kind {
            Kind::Message => {
                if credited && express {
                    self.consume(now, Class::Requests, cost);
                }
                self.handle_request(now, session, id, credited && !express, incoming);
            }
            Kind::Reply => self.handle_reply(now, id, incoming),
            Kind::Error => {
                self.counters.errors += 1;
                self.handle_reply(now, id, incoming);
            }
        }
        self.owe_acknowledgement(now);
        self.leave_if_complete();
        Ok(())
    }

    /// `owed`: its cost goes back when it is consumed.
    fn handle_request(&mut self, now: Time, session: Session, id: u64, owed: bool, incoming: Incoming<B>) {
        if self.cancelled.remove(&id).is_none() {
            return self.events.push_back(Event::Request { incoming, session });
        }
        self.counters.cancelled += 1;
        if owed {
            self.consume(now, Class::Requests, incoming.cost());
        }
    }

    fn handle_reply(&mut self, now: Time, id: u64, incoming: Incoming<B>) {
        let cost = incoming.cost();
        self.lanes.iter_mut().for_each(|lane| lane.answered(id));
        match self.in_flight.remove(id) {
            Some(ticket) => {
                self.events.push_back(Event::Outcome { ticket, outcome: Outcome::Reply(incoming) });
            }
            None => self.counters.late_replies += 1,
        }
        self.consume(now, Class::Replies, cost);
    }

    fn receive_within_window(&mut self, class: Class, cost: u64) -> Result<(), Violation> {
        let inflow = &mut self.inflow[class.index()];
        if self.foreign {
            inflow.receive_uncredited(cost);
            return Ok(());
        }
        let allowance = inflow.allowance();
        if inflow.receive(cost) { Ok(()) } else { Err(Violation::OverWindow { cost, allowance }) }
    }

    fn handle_command(&mut self, now: Time, lane: Lane, command: Command) -> Result<(), Violation> {
        match command {
            Command::Heart => self.commands.beat = true,
            Command::Ping { context, .. } => self.commands.pong = Some(context),
            Command::Error(refusal) => return Err(Violation::Refused { refusal }),
            Command::Ready(_) => return Err(Violation::UnexpectedCommand { name: "READY", lane }),
            Command::Beat(beat) => {
                self.handle_beat(now, beat.lag);
                self.commands.read(beat.read[Lane::Control.index()]);
                self.handle_report(now, beat.read[Lane::Data.index()]);
            }
            Command::Pong { .. } => self.handle_beat(now, Duration::ZERO),
            Command::Unknown(_) => {}
            _ if self.foreign => {}
            Command::Ack(ack) => self.handle_ack(now, ack)?,
            Command::Want { class, bytes } => self.handle_want(class, bytes),
            Command::Deny { class, limit } => self.handle_deny(now, class, limit),
            Command::Leave { reason, last } => self.handle_leave(reason, last),
            Command::Cancel { id, after } => self.handle_cancel(id, after),
            Command::Data => self.handle_data(now),
        }
        Ok(())
    }

    fn handle_beat(&mut self, now: Time, lag: Duration) {
        self.note_answer(now, lag);
        for ticket in self.pings.drain(..) {
            self.events.push_back(Event::Outcome { ticket, outcome: Outcome::Beat(lag) });
        }
    }

    /// A cancellation may overtake its request: it is remembered until the request must have come.
    fn handle_cancel(&mut self, id: u64, after: u64) {
        let Some(session) = self.session() else { return };
        let received = self.lanes[Lane::Data.index()].received;
        if received >= after {
            self.events.push_back(Event::Cancel { id, session });
        } else if self.cancelled.len() < MAX_REMEMBERED_CANCELS {
            self.cancelled.insert(id, after);
        }
    }
}
