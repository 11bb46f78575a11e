//! Silence as evidence: when to send a heart, when to suspect, when to call a peer unreachable.
//!
//! ```text
//! heard --500 ms--> send HEART --...--> 2 s: suspected --...--> 4 s: unreachable
//!   ^------------------- any byte of the peer's -------------------'
//! ```
//!
//! What is ours is never held against the peer: if we wake later than planned (stopped, starved), the moment from which its
//! silence counts moves by as much, and while we wait before we dial again it does not count. Other evidence (a process
//! that ended, refusals, LEAVE) is the link's and the driver's.

use std::time::Duration;

use crate::Time;
use crate::limits::{DEAD_AFTER, HEART_INTERVAL, SUSPECT_AFTER};

/// Waking up this much later than planned is ordinary and not worth a correction.
const ORDINARY_LATENESS: Duration = Duration::from_millis(20);

/// The three intervals of silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    /// Silence after which a heart is sent. Default 500 ms.
    pub heart: Duration,
    /// Silence after which the peer is suspected. Default 2 s.
    pub suspect: Duration,
    /// Silence after which the peer is unreachable. Default 4 s.
    pub dead: Duration,
}

impl Default for Intervals {
    fn default() -> Intervals {
        Intervals { heart: HEART_INTERVAL, suspect: SUSPECT_AFTER, dead: DEAD_AFTER }
    }
}

/// What silence calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    Heart,
    Suspect,
    Unreachable(Duration),
}

#[derive(Debug)]
pub(crate) struct Liveness {
    intervals: Intervals,
    last_heard: Time,
    /// Since when the peer is silent and might not be.
    counts_from: Time,
    next_heart: Time,
    suspected: bool,
}

impl Liveness {
    pub(crate) fn new(intervals: Intervals) -> Liveness {
        let [last_heard, counts_from, next_heart] = [Time::ZERO; 3];
        Liveness { intervals, last_heard, counts_from, next_heart, suspected: false }
    }

    /// The peer gave a sign of life. True if it had been suspected.
    pub(crate) fn heard(&mut self, now: Time) -> bool {
        self.last_heard = self.last_heard.max(now);
        self.counts_from = self.last_heard;
        self.next_heart = now + self.intervals.heart;
        std::mem::take(&mut self.suspected)
    }

    /// Until then nothing can come, because of us.
    pub(crate) fn excuse(&mut self, until: Time) {
        self.counts_from = self.counts_from.max(until);
    }

    /// Nothing has come for a while.
    pub(crate) fn is_suspected(&self) -> bool {
        self.suspected
    }

    pub(crate) fn last_heard(&self) -> Time {
        self.last_heard
    }

    /// When [`Liveness::check`] must be called next.
    pub(crate) fn next(&self) -> Time {
        let verdict = if self.suspected { self.intervals.dead } else { self.intervals.suspect };
        self.next_heart.min(self.counts_from + verdict)
    }

    /// What the silence calls for now, one thing at a time.
    pub(crate) fn check(&mut self, now: Time) -> Option<Silence> {
        let late = now - self.next();
        if late > ORDINARY_LATENESS {
            self.counts_from = self.counts_from + late;
        }
        let silent = now - self.counts_from;
        if silent >= self.intervals.dead {
            return Some(Silence::Unreachable(silent));
        }
        if silent >= self.intervals.suspect && !self.suspected {
            self.suspected = true;
            return Some(Silence::Suspect);
        }
        if now >= self.next_heart {
            self.next_heart = now + self.intervals.heart;
            return Some(Silence::Heart);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(liveness: &mut Liveness, until: Duration) -> Vec<(u64, Silence)> {
        let mut seen = Vec::new();
        while liveness.next().since_origin() <= until {
            let now = liveness.next();
            while let Some(silence) = liveness.check(now) {
                seen.push((now.since_origin().as_millis() as u64, silence));
                if matches!(silence, Silence::Unreachable(_)) {
                    return seen;
                }
            }
        }
        seen
    }

    #[test]
    fn silence_leads_to_hearts_then_suspicion_then_the_verdict() {
        let mut liveness = Liveness::new(Intervals::default());
        liveness.heard(Time::ZERO);
        let seen = run(&mut liveness, Duration::from_secs(10));
        assert_eq!(seen[..3], [(500, Silence::Heart), (1000, Silence::Heart), (1500, Silence::Heart)]);
        assert!(seen.contains(&(2000, Silence::Suspect)));
        assert_eq!(seen.last(), Some(&(4000, Silence::Unreachable(Duration::from_secs(4)))));
    }

    #[test]
    fn ones_own_lateness_is_not_held_against_the_peer() {
        let mut liveness = Liveness::new(Intervals::default());
        liveness.heard(Time::ZERO);
        let stopped = Time::from_origin(Duration::from_secs(60));
        assert_eq!(liveness.check(stopped), Some(Silence::Heart));
        assert_eq!(liveness.check(stopped), None);
    }
}
