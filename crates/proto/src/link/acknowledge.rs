//! What the two sides tell each other about how far they are: what came, what was consumed, what may come.
//!
//! ```text
//! sender    WANT n --------------------> the head of the queue needs a window of n
//!           <-- ACK (window >= n) | DENY limit           once the budget has answered
//!           WANT n, WANT 0 ------------> the head has gone: what was granted for it is not used
//!           <-- DENY 0, ACK                              nothing is granted any more; until then nothing is admitted
//! ```

use super::receive::Violation;
use super::{Event, Link};
use crate::Session;
use crate::Time;
use crate::limits::{ACK_DELAY, MAX_WINDOW};
use crate::wire::{Ack, Beat, Class, Command, Lane};

impl<T, B: AsRef<[u8]>> Link<T, B> {
    /// Something came or was consumed that the peer must hear of: at once if it is much, else within [`ACK_DELAY`].
    pub(super) fn owe_acknowledgement(&mut self, now: Time) {
        if self.foreign {
            return;
        }
        let much = Class::ALL.iter().any(|class| {
            let inflow = &self.inflow[class.index()];
            inflow.untold() >= inflow.window() / 4
        }) || self.lanes.iter().any(|lane| lane.untold_bytes >= self.inflow[0].window() / 4);
        if much {
            self.acknowledge();
        } else if self.ack_due.is_none() && self.is_up() && !self.commands.acknowledge {
            self.ack_due = Some(now + ACK_DELAY);
        }
    }

    /// Tells the peer what was received and consumed. While the control lane is down, the resume will tell.
    pub(super) fn acknowledge(&mut self) {
        self.ack_due = None;
        if self.is_up() && !self.foreign {
            self.commands.acknowledge = true;
        }
    }

    /// Encodes what is to be said on the control lane, with what is true now.
    pub(super) fn encode_commands(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.commands.beat) {
            let read = self.lanes.each_ref().map(|lane| lane.read());
            Command::Beat(Beat { lag: self.lag, read, paused: false }).encode(out);
        }
        let (acknowledge, leave) = (self.commands.acknowledge, self.commands.leave);
        let before = self.lanes[Lane::Control.index()].bytes_polled();
        self.commands.encode(before, out);
        if acknowledge {
            self.encode_acknowledgement(out);
        }
        if leave {
            self.encode_goodbye(before, out);
        }
        self.commands.acknowledge = false;
        self.commands.leave = false;
    }

    fn encode_acknowledgement(&mut self, out: &mut Vec<u8>) {
        self.ack_due = None;
        let consumed = self.inflow.each_ref().map(|inflow| inflow.consumed_total());
        let window = self.inflow.each_ref().map(|inflow| inflow.window());
        let saturated = self.is_saturated();
        for lane in Lane::ALL {
            let state = &mut self.lanes[lane.index()];
            if lane == Lane::Control || state.received != state.told_received {
                Command::Ack(Ack { lane, received: state.received, consumed, window, saturated }).encode(out);
                state.told_received = state.received;
            }
            state.untold_bytes = 0;
        }
        self.inflow.iter_mut().for_each(|inflow| inflow.told());
    }

    /// A request of this cost has been taken by its handler.
    pub fn consumed(&mut self, now: Time, session: Session, cost: u64) {
        if self.session() == Some(session) {
            self.consume(now, Class::Requests, cost);
        }
    }

    pub(super) fn consume(&mut self, now: Time, class: Class, cost: u64) {
        let inflow = &mut self.inflow[class.index()];
        inflow.consume(cost);
        if !self.foreign
            && let Some(bytes) = inflow.growth_due(now)
        {
            self.events.push_back(Event::Reserve { class, bytes, essential: false });
        }
        self.settle(class);
        self.owe_acknowledgement(now);
    }

    /// Gives back what the limit of this class does not need any more.
    fn settle(&mut self, class: Class) {
        let bytes = self.inflow[class.index()].settle();
        if bytes > 0 {
            self.events.push_back(Event::Release { class, bytes });
        }
    }

    /// The budget has lent what [`Event::Reserve`] asked for. What nobody needs any more goes back at once.
    pub fn reserved(&mut self, class: Class, bytes: u64, essential: bool) {
        let begun = self.session().is_some();
        let inflow = &mut self.inflow[class.index()];
        let taken = begun && if essential { inflow.grant(bytes) } else { inflow.grow(bytes) };
        if !taken {
            self.events.push_back(Event::Release { class, bytes });
        }
        self.settle(class);
        self.acknowledge();
        self.ask_again(class);
    }

    /// The budget can never lend what was asked for; the peer is told what it can.
    pub fn denied(&mut self, class: Class, limit: u64) {
        if self.inflow[class.index()].deny(limit) && self.is_up() {
            self.commands.deny(class, limit);
        }
        self.ask_again(class);
    }

    /// The peer's need has changed while the budget was asked for another one.
    fn ask_again(&mut self, class: Class) {
        if let Some(bytes) = self.inflow[class.index()].question() {
            self.events.push_back(Event::Reserve { class, bytes, essential: true });
        }
    }

    pub(super) fn handle_want(&mut self, class: Class, bytes: u64) {
        if bytes == 0 {
            self.inflow[class.index()].retract();
            self.settle(class);
            self.commands.deny(class, 0);
            self.acknowledge();
        } else if bytes > self.settings.limits.message {
            self.commands.deny(class, self.settings.limits.message);
        } else if self.inflow[class.index()].want(bytes) {
            self.ask_again(class);
        } else {
            self.acknowledge();
        }
    }

    pub(super) fn handle_deny(&mut self, now: Time, class: Class, limit: u64) {
        match self.outflow[class.index()].retracted(limit) {
            Some(next) => self.retract(class, next),
            None => {
                self.refuse_head(class, limit);
                self.admit(now);
            }
        }
    }

    /// Says what is to be retracted, if there is anything. While the control lane is down, the resume will.
    pub(super) fn retract(&mut self, class: Class, bytes: Option<u64>) {
        if let Some(bytes) = bytes.filter(|_| self.is_up()) {
            self.commands.retract(class, bytes);
        }
    }

    pub(super) fn handle_ack(&mut self, now: Time, ack: Ack) -> Result<(), Violation> {
        let known = self.lanes[ack.lane.index()].acknowledge(ack.received)
            && Class::ALL.iter().all(|class| {
                let index = class.index();
                self.outflow[index].acknowledged(ack.consumed[index], ack.window[index])
            });
        if !known {
            return Err(Violation::AcknowledgedTooMuch { lane: ack.lane, received: ack.received });
        }
        self.hear_saturation(ack.saturated);
        self.admit(now);
        Ok(())
    }

    /// Whether a foreign peer must not be read for now: it knows no credit, so its messages wait in its socket.
    pub fn reads_paused(&self) -> bool {
        self.foreign && self.inflow[0].unconsumed() > MAX_WINDOW
    }
}
