//! The topology with what we hold of each runtime in it: how we know it, whether a link joins us, who vouches for it.
//!
//! Where the monitor's word is to be had, whoever it does not vouch for is *in doubt*: it is let go at the end of a
//! grace time unless a link to it is up.

use std::collections::{BTreeMap, BTreeSet};

use crate::identity::Instance;
use crate::time::Time;
use crate::topology::{Place, Topology};
use crate::uid::Uid;

/// How a runtime is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// It called us, or somebody mentioned it.
    Provisional,
    /// Known through a handshake, or vouched for by a shake or by the monitor's news.
    Shaken,
}

/// What the link to a runtime is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contact {
    /// There was none, or none is needed.
    None,
    Up,
    /// It ended because nothing was heard.
    Unreachable,
}

/// What we hold of one runtime beyond its place.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) standing: Standing,
    pub(super) contact: Contact,
    /// In which of the monitor's shakes, or after which, it was vouched for last.
    pub(super) vouched: Option<u64>,
    /// When it is let go unless it is vouched for.
    doubted_until: Option<Time>,
}

impl Peer {
    pub(super) fn new(standing: Standing, contact: Contact) -> Peer {
        Peer { standing, contact, vouched: None, doubted_until: None }
    }
}

/// Everybody in the network.
#[derive(Debug, Default)]
pub(super) struct Roster {
    topology: Topology,
    peers: BTreeMap<Uid, Peer>,
    /// Who is in doubt, the next to be let go first; those whose time has passed while a link was up are not here.
    doubts: BTreeSet<(Time, Uid)>,
    /// Whose entries have changed since somebody asked; some more than once.
    changed: Vec<Uid>,
}

impl Roster {
    pub(super) fn topology(&self) -> &Topology {
        &self.topology
    }

    pub(super) fn take_changed(&mut self) -> Vec<Uid> {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn peer(&self, uid: &str) -> Option<&Peer> {
        self.peers.get(uid)
    }

    /// What we hold of `uid` if it is this life of it.
    pub(super) fn peer_mut(&mut self, uid: &Uid, instance: Instance) -> Option<&mut Peer> {
        if self.topology.holds(uid, instance) { self.peers.get_mut(uid) } else { None }
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = (&Uid, &Peer)> {
        self.peers.iter()
    }

    pub(super) fn add(&mut self, uid: &Uid, place: Place, peer: Peer) {
        self.topology.insert(uid.clone(), place);
        let before = self.peers.insert(uid.clone(), peer);
        assert!(before.is_none(), "{uid} was removed before its uid changed hands");
        self.changed.push(uid.clone());
    }

    /// Puts a runtime that is known elsewhere; false if it was there already.
    pub(super) fn move_to(&mut self, uid: &Uid, place: Place) -> bool {
        let moved = self.topology.get(uid) != Some(&place);
        if moved {
            self.topology.insert(uid.clone(), place);
            self.changed.push(uid.clone());
        }
        moved
    }

    /// `uid` is known at least as well as this; false if it was before.
    pub(super) fn promote(&mut self, uid: &Uid, standing: Standing) -> bool {
        let peer = self.peers.get_mut(uid);
        let Some(peer) = peer.filter(|peer| peer.standing < standing) else { return false };
        peer.standing = standing;
        self.changed.push(uid.clone());
        true
    }

    pub(super) fn remove(&mut self, uid: &Uid) -> Option<(Place, Peer)> {
        let place = self.topology.remove(uid)?;
        let peer = self.peers.remove(uid).expect("whoever is in the topology is a peer");
        if let Some(until) = peer.doubted_until {
            self.doubts.remove(&(until, uid.clone()));
        }
        self.changed.push(uid.clone());
        Some((place, peer))
    }

    /// The monitor vouches for `uid` in its shake number `round`, or since.
    pub(super) fn vouch(&mut self, uid: &Uid, round: u64) {
        let Some(peer) = self.peers.get_mut(uid) else { return };
        peer.vouched = Some(round);
        if peer.standing != Standing::Shaken {
            peer.standing = Standing::Shaken;
            self.changed.push(uid.clone());
        }
        if let Some(until) = peer.doubted_until.take() {
            self.doubts.remove(&(until, uid.clone()));
        }
    }

    /// `uid` will be let go at `until` unless it is vouched for.
    pub(super) fn doubt(&mut self, uid: &Uid, until: Time) {
        let Some(peer) = self.peers.get_mut(uid) else { return };
        if let Some(before) = peer.doubted_until.replace(until) {
            self.doubts.remove(&(before, uid.clone()));
        }
        self.doubts.insert((until, uid.clone()));
    }

    /// When the next of those in doubt is to be let go.
    pub(super) fn next_doubt(&self) -> Option<Time> {
        self.doubts.first().map(|(until, _)| *until)
    }

    /// Those whose grace time has passed and to whom no link is up. The others are asked again by [`Roster::overdue`].
    pub(super) fn take_doubted(&mut self, now: Time) -> Vec<Uid> {
        let mut doubted = Vec::new();
        while self.next_doubt().is_some_and(|until| until <= now) {
            let (_, uid) = self.doubts.pop_first().expect("there is a next one");
            if self.peers[&uid].contact != Contact::Up {
                doubted.push(uid);
            }
        }
        doubted
    }

    /// Whether the grace time of `uid` has passed and only its link kept it.
    pub(super) fn overdue(&self, uid: &str, now: Time) -> bool {
        self.peers.get(uid).and_then(|peer| peer.doubted_until).is_some_and(|until| until <= now)
    }
}
