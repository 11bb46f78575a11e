//! Callers whose uid another instance holds, as far as we know. The news of the change may still be on their way, so
//! a caller waits a moment for them instead of being turned away.

use std::collections::BTreeMap;

use crate::identity::Instance;
use crate::limits::CLAIM_WAIT;
use crate::time::Time;
use crate::topology::Place;
use crate::uid::Uid;

/// One caller that waits, with a session up.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) place: Place,
    /// It has introduced itself meanwhile and is owed a shake.
    pub(super) owes_shake: bool,
    until: Time,
}

impl Claim {
    pub(super) fn new(now: Time, place: Place) -> Claim {
        Claim { place, owes_shake: false, until: now + CLAIM_WAIT }
    }

    pub(super) fn handed(&mut self, place: Place) {
        self.place = place;
        self.owes_shake = true;
    }
}

/// At most one claim for each uid of the topology.
#[derive(Debug, Default)]
pub(super) struct Claims {
    waiting: BTreeMap<Uid, Claim>,
}

impl Claims {
    /// Lets `claim` wait; the one that waited before for the same uid comes back.
    pub(super) fn put(&mut self, uid: Uid, claim: Claim) -> Option<Claim> {
        self.waiting.insert(uid, claim)
    }

    pub(super) fn get(&self, uid: &Uid) -> Option<&Claim> {
        self.waiting.get(uid)
    }

    pub(super) fn get_mut(&mut self, uid: &Uid, instance: Instance) -> Option<&mut Claim> {
        self.waiting.get_mut(uid).filter(|claim| claim.place.instance == instance)
    }

    /// Whether this life of `uid` waits.
    pub(super) fn is_of(&self, uid: &Uid, instance: Instance) -> bool {
        self.get(uid).is_some_and(|claim| claim.place.instance == instance)
    }

    pub(super) fn take(&mut self, uid: &Uid) -> Option<Claim> {
        self.waiting.remove(uid)
    }

    /// Removes the claim of this life of `uid`; false if there was none.
    pub(super) fn remove(&mut self, uid: &Uid, instance: Instance) -> bool {
        self.is_of(uid, instance) && self.waiting.remove(uid).is_some()
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        self.waiting.values().map(|claim| claim.until).min()
    }

    /// Whose time has passed.
    pub(super) fn due(&self, now: Time) -> Vec<Uid> {
        self.waiting.iter().filter(|(_, claim)| claim.until <= now).map(|(uid, _)| uid.clone()).collect()
    }
}
