//! Whether the peer reads what we have written on the data lane: a connection may be dead in one direction, or as a
//! whole, while the control lane lives and nobody can tell it from a slow one but the reader.
//!
//! ```text
//! nothing new acknowledged for 500 ms --HEART--> BEAT(bytes read)   again, each time after the answer
//! STALLED_REPORTS times the same, and less than was written: the connection is closed and resumed
//! ```
//!
//! The reader counts bytes and no messages, so that a large one on a slow network is no stall. Whoever stands still,
//! we or the peer, asks or answers later: time alone proves nothing.

use super::ready::CROSSING_DIALS;
use super::{Event, Link};
use crate::Time;
use crate::limits::STALLED_REPORTS;
use crate::wire::Lane;

/// What was asked and answered about the data connection there is.
#[derive(Debug, Default)]
pub(super) struct Probes {
    next: Time,
    /// What was acknowledged when we looked last.
    acknowledged: Option<u64>,
    /// Whether a report is awaited.
    asked: bool,
    /// What the peer had read by its last report, and how many in a row have said so.
    report: Option<(u64, u32)>,
}

impl Probes {
    /// The answer may be lost with the control connection.
    pub(super) fn forget_question(&mut self) {
        self.asked = false;
    }
}

impl<T, B: AsRef<[u8]>> Link<T, B> {
    /// When [`Link::probe`] is due, if there is something to watch.
    pub(super) fn probe_due(&self) -> Option<Time> {
        let watched = self.lanes[Lane::Data.index()].awaits_acknowledgement() || self.asked_for_data;
        (watched && self.is_up() && !self.foreign).then_some(self.probes.next)
    }

    /// Asks how far the peer is if nothing was acknowledged since the last time; and for a connection, once more.
    pub(super) fn probe(&mut self, now: Time) {
        if self.probe_due().is_none_or(|due| due > now) {
            return;
        }
        let acknowledged = self.lanes[Lane::Data.index()].progress().acknowledged;
        if self.probes.acknowledged.replace(acknowledged) != Some(acknowledged) {
            self.probes.report = None;
        } else if !self.probes.asked {
            self.probes.asked = true;
            self.commands.heart = true;
        }
        self.commands.data |= self.asked_for_data;
        self.probes.next = now + self.settings.intervals.heart;
    }

    /// The peer says how many bytes it has read from the data connection.
    pub(super) fn handle_report(&mut self, now: Time, read: u64) {
        let data = &self.lanes[Lane::Data.index()];
        if !std::mem::take(&mut self.probes.asked) || !data.awaits_acknowledgement() {
            return;
        }
        let count = match self.probes.report {
            Some((last, count)) if last == read => count + 1,
            _ => 1,
        };
        self.probes.report = (read != data.bytes_written()).then_some((read, count));
        if self.probes.report.is_some() && count >= STALLED_REPORTS {
            self.counters.stalled += 1;
            self.give_up_data(now);
        }
    }

    /// The peer, which does not dial, wants a data lane. If we believe to have one, it has lost it; unless we have just
    /// made it.
    pub(super) fn handle_data(&mut self, now: Time) {
        self.data_wanted = true;
        let connection = self.lanes[Lane::Data.index()].connection.as_ref();
        if connection.is_some_and(|current| now - current.since >= CROSSING_DIALS) {
            self.give_up_data(now);
        }
        self.dial_where_needed(now);
    }

    fn give_up_data(&mut self, now: Time) {
        let lane = Lane::Data;
        if let Some(connection) = self.lanes[lane.index()].connection.as_ref().map(|current| current.id) {
            self.events.push_back(Event::Close { lane, connection });
            self.detach(now, lane, connection);
        }
    }

    /// The peer is to dial the data lane, as it dialled control: again and again, if its connection is one that only it
    /// believes in.
    pub(super) fn ask_for_data(&mut self, now: Time) {
        self.asked_for_data = true;
        self.commands.data = true;
        self.probes.next = now + self.settings.intervals.heart;
    }

    /// A data connection has been made.
    pub(super) fn data_is_up(&mut self, now: Time) {
        (self.data_wanted, self.asked_for_data) = (false, false);
        self.probes = Probes { next: now + self.settings.intervals.heart, ..Probes::default() };
    }
}
