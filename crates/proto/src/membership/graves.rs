//! Which lives have ended, so that news that come late cannot bring them back. Bounded: the oldest are forgotten.

use std::collections::{BTreeMap, VecDeque};

use crate::identity::Instance;
use crate::limits::MAX_GRAVES;
use crate::reason::Reason;
use crate::uid::Uid;

/// The lives that have ended, each with its reason.
#[derive(Debug, Default)]
pub(super) struct Graves {
    reasons: BTreeMap<(Uid, Instance), Reason>,
    oldest_first: VecDeque<(Uid, Instance)>,
}

impl Graves {
    /// Remembers that this life has ended; false if that was known.
    pub(super) fn insert(&mut self, uid: &Uid, instance: Instance, reason: &Reason) -> bool {
        let life = (uid.clone(), instance);
        if self.reasons.contains_key(&life) {
            return false;
        }
        if self.oldest_first.len() == MAX_GRAVES
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.reasons.remove(&oldest);
        }
        self.reasons.insert(life.clone(), reason.clone());
        self.oldest_first.push_back(life);
        true
    }

    /// Why this life has ended, if it has.
    pub(super) fn reason(&self, uid: &Uid, instance: Instance) -> Option<&Reason> {
        self.reasons.get(&(uid.clone(), instance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_grave_makes_room() {
        let mut graves = Graves::default();
        let uid = Uid::new("worker:0").unwrap();
        for bits in 0..=MAX_GRAVES as u64 {
            assert!(graves.insert(&uid, Instance(bits), &Reason::Stopped));
        }
        assert_eq!(graves.reasons.len(), MAX_GRAVES);
        assert!(graves.reason(&uid, Instance(0)).is_none());
        assert!(graves.reason(&uid, Instance(1)).is_some());
        assert!(!graves.insert(&uid, Instance(1), &Reason::Stopped));
    }
}
