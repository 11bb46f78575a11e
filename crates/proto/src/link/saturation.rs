//! A runtime where as many handlers run as may: there requests wait, and nested ones must not wait for them.
//!
//! ```text
//! receiver  a request waits until a handler ends ------> ACK with `saturated`
//! sender    nested requests that wait for credit, behind those that wait there, are refused: they were not run
//! ```
//!
//! What runs there may wait for what runs here, and that for these: in a circle of such runtimes nobody would get on. A
//! nested request that has credit goes, and is refused where it arrives.

use super::lanes::Entry;
use super::{Event, Link, Outcome};
use crate::Time;
use crate::wire::Class;

/// Where requests wait until handlers end.
#[derive(Debug, Default)]
pub(super) struct Saturation {
    /// Here. It outlives a session, as the handlers do.
    ours: bool,
    /// At the peer, as it said last in this session.
    peers: bool,
}

impl<T, B: AsRef<[u8]>> Link<T, B> {
    /// A request of the peer's waits here until a handler ends. The peer is told at once.
    pub fn saturate(&mut self) {
        if !std::mem::replace(&mut self.saturation.ours, true) {
            self.acknowledge();
        }
    }

    /// No request of the peer's waits for handlers any more. The peer is told soon.
    pub fn relieve(&mut self, now: Time) {
        if std::mem::take(&mut self.saturation.ours) {
            self.owe_acknowledgement(now);
        }
    }

    pub(super) fn is_saturated(&self) -> bool {
        self.saturation.ours
    }

    /// Whether a request must not wait for credit: it is nested, and requests wait at the peer.
    pub(super) fn must_not_wait(&self, nested: bool) -> bool {
        nested && self.saturation.peers
    }

    /// The peer says whether requests wait there.
    pub(super) fn hear_saturation(&mut self, saturated: bool) {
        if !std::mem::replace(&mut self.saturation.peers, saturated) && saturated {
            self.refuse_nested();
        }
    }

    /// Refuses the nested requests that wait for credit. A one-way message of which nobody has asked yet whether it was
    /// accepted is refused when somebody does.
    pub(super) fn refuse_nested(&mut self) {
        let requests = Class::Requests.index();
        for mut entry in std::mem::take(&mut self.pending[requests]) {
            let refused = if entry.nested { self.take_waiter(&mut entry) } else { None };
            match refused {
                Some(ticket) => {
                    self.events.push_back(Event::Outcome { ticket, outcome: Outcome::Overloaded });
                }
                None => self.pending[requests].push_back(entry),
            }
        }
    }

    /// What is to be told of a request that waits: its end, or its admission.
    fn take_waiter(&mut self, entry: &mut Entry<T>) -> Option<T> {
        entry.accepted.take().or_else(|| self.in_flight.remove(entry.id))
    }

    /// The session has ended: what the peer said does not hold for the next.
    pub(super) fn forget_saturation(&mut self) {
        self.saturation.peers = false;
    }
}
