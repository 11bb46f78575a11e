//! What everybody may read of the membership: a snapshot that follows every change.

use std::collections::{BTreeMap, BTreeSet};

use mosaic_proto::membership::Membership;
use mosaic_proto::{Place, Reason, Topology, Uid};

use crate::error::UnknownPeer;

/// How many of those who have gone are remembered, so that sending to them is no error: the size of a large network.
const DEPARTED: usize = 4096;

/// What everybody may read of the membership.
#[derive(Debug, Clone, Default)]
pub(crate) struct Directory {
    pub(crate) topology: Topology,
    /// Those in the topology who are not shaken: few, if any.
    provisional: BTreeSet<Uid>,
    departed: BTreeMap<Uid, Reason>,
    shakes: BTreeMap<Uid, u64>,
}

impl Directory {
    pub(crate) fn place(&self, uid: &str) -> Result<&Place, UnknownPeer> {
        let unknown = || UnknownPeer { uid: uid.to_owned(), similar: self.topology.similar(uid) };
        self.topology.get(uid).ok_or_else(unknown)
    }

    pub(crate) fn peers(&self, pattern: &str, own: &Uid) -> Vec<Uid> {
        self.topology.matching(pattern).map(|(uid, _)| uid).filter(|uid| *uid != own).cloned().collect()
    }

    pub(crate) fn shaken(&self, uid: &str) -> bool {
        self.topology.contains(uid) && !self.provisional.contains(uid)
    }

    pub(crate) fn departed(&self, uid: &str) -> Option<Reason> {
        self.departed.get(uid).cloned()
    }

    /// How many handshakes with `uid` have been completed.
    pub(crate) fn shakes_done(&self, uid: &str) -> u64 {
        self.shakes.get(uid).copied().unwrap_or(0)
    }

    /// Takes over what the membership holds of `uid`.
    pub(super) fn follow(&mut self, membership: &Membership, uid: Uid) {
        let place = membership.topology().get(&uid);
        if place.is_none() || membership.shaken(&uid) {
            self.provisional.remove(&uid);
        } else {
            self.provisional.insert(uid.clone());
        }
        match place {
            Some(place) => self.topology.insert(uid, place.clone()),
            None => self.topology.remove(&uid),
        };
    }

    pub(super) fn depart(&mut self, uid: Uid, reason: Reason) {
        self.departed.insert(uid, reason);
        if self.departed.len() > DEPARTED {
            self.departed.pop_first();
        }
    }

    /// Another life of `uid` is there.
    pub(super) fn returned(&mut self, uid: &Uid) {
        self.departed.remove(uid);
    }

    pub(super) fn shook_hands(&mut self, uid: Uid) {
        *self.shakes.entry(uid).or_default() += 1;
    }
}
