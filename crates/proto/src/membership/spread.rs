//! The monitor's log of changes, and how far each member has been told.
//!
//! ```text
//! log     J(a) J(b) G(a) J(c)        one entry a change, kept until the next flush
//!              ^         ^    ^
//!              head      b    c      what is behind a cursor was in the member's shake or in earlier news
//! ```
//! A newcomer's shake holds all that is in the log, so its cursor starts at the end: it misses nothing and hears
//! nothing twice. At a flush each member gets what lies after its cursor as one delta; members with the same cursor
//! share it. So a member costs the bytes of what is new to it, and the work is in proportion to the bytes.
//!
//! A change that comes alone is told after [`NEWS_DELAY`]; those of a storm are gathered for longer, the more members
//! there are to tell ([`NEWS_PACE`]). So the monitor has time in between for those who come, whatever the size of the
//! network and however slow the machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::notice::{News, news_parts};
use crate::identity::Instance;
use crate::limits::{MAX_UNSPREAD, NEWS_DELAY, NEWS_PACE};
use crate::reason::Reason;
use crate::time::Time;
use crate::topology::Place;
use crate::uid::Uid;

#[derive(Debug)]
enum Change {
    Joined(Uid, Place),
    Gone(Uid, Instance, Reason),
}

/// What is to be spread, and to whom.
#[derive(Debug, Default)]
pub(super) struct Spread {
    log: Vec<Change>,
    /// How much of the log each member that shook hands has been told.
    cursors: BTreeMap<Uid, usize>,
    due: Option<Time>,
    /// The members have been told, and are not told again before this.
    rests_until: Time,
}

impl Spread {
    pub(super) fn joined(&mut self, now: Time, uid: &Uid, place: &Place) {
        self.record(now, Change::Joined(uid.clone(), place.clone()));
    }

    pub(super) fn gone(&mut self, now: Time, uid: &Uid, instance: Instance, reason: &Reason) {
        self.record(now, Change::Gone(uid.clone(), instance, reason.clone()));
    }

    fn record(&mut self, now: Time, change: Change) {
        self.log.push(change);
        let gathered = self.rests_until.max(now + NEWS_DELAY);
        let latest = if self.log.len() >= MAX_UNSPREAD { now } else { gathered };
        self.due = Some(self.due.map_or(latest, |due| due.min(latest)));
    }

    /// From now on `uid` is told what changes; it knows everything up to now from its shake.
    ///
    /// Returns what it has to be told before that shake: a shake says who is there, not who is gone.
    pub(super) fn enrol(&mut self, uid: &Uid) -> Vec<Arc<News>> {
        let cursor = self.cursors.insert(uid.clone(), self.log.len()).unwrap_or(self.log.len());
        news_parts(delta(&self.log[cursor..]))
    }

    /// `uid` is told no more: it is gone, or needs a new shake.
    pub(super) fn dismiss(&mut self, uid: &Uid) {
        self.cursors.remove(uid);
    }

    /// When the log is to be flushed.
    pub(super) fn due(&self) -> Option<Time> {
        self.due
    }

    /// What each member has to be told now. The log is empty afterwards.
    pub(super) fn flush(&mut self, now: Time) -> Vec<(Uid, Arc<News>)> {
        let log = std::mem::take(&mut self.log);
        self.due = None;
        self.rests_until = now + NEWS_PACE * self.cursors.len() as u32;
        let mut deltas: BTreeMap<usize, Vec<Arc<News>>> = BTreeMap::new();
        let mut told = Vec::new();
        for (uid, cursor) in &mut self.cursors {
            let parts = deltas.entry(*cursor).or_insert_with(|| news_parts(delta(&log[*cursor..])));
            told.extend(parts.iter().map(|part| (uid.clone(), Arc::clone(part))));
            *cursor = 0;
        }
        told
    }
}

/// The sum of some changes: who came and went in between is only gone, for somebody may have met it meanwhile.
fn delta(changes: &[Change]) -> News {
    let mut joined: BTreeMap<&Uid, &Place> = BTreeMap::new();
    let mut gone = Vec::new();
    for change in changes {
        match change {
            Change::Joined(uid, place) => {
                joined.insert(uid, place);
            }
            Change::Gone(uid, instance, reason) => {
                if joined.get(uid).is_some_and(|place| place.instance == *instance) {
                    joined.remove(uid);
                }
                gone.push((uid.clone(), *instance, reason.clone()));
            }
        }
    }
    let joined = joined.into_iter().map(|(uid, place)| (uid.clone(), place.clone())).collect();
    News { gone, joined }
}
