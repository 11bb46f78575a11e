//! Who is in the network and where: uid -> address, port, instance. It is a table and its lookups; how it comes to
//! be filled, and who may change it, is the business of [`membership`](crate::membership).

use std::collections::BTreeMap;

use crate::identity::Instance;
use crate::limits::SIMILAR_UIDS;
use crate::uid::Uid;

/// Below this similarity (1 is equal, 0 has nothing in common) a uid is no help to someone who mistyped another.
const LEAST_SIMILARITY: f64 = 0.5;

/// Where a runtime can be reached, and which life of its uid is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// A host name or an IP address; empty as long as nobody said it.
    pub address: String,
    /// The port of its inbound connection; 0 as long as nobody said it.
    pub port: u16,
    /// This life of the uid.
    pub instance: Instance,
}

impl Place {
    /// A runtime of which only the instance is known: it called us and did not say where it listens.
    pub fn unknown(instance: Instance) -> Place {
        Place { address: String::new(), port: 0, instance }
    }

    /// Whether the place says where to dial.
    pub fn is_known(&self) -> bool {
        !self.address.is_empty()
    }
}

/// Everybody in the network, oneself included, in the order of the uids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    places: BTreeMap<Uid, Place>,
}

impl Topology {
    /// The place of `uid`, if it is in the network.
    pub fn get(&self, uid: &str) -> Option<&Place> {
        self.places.get(uid)
    }

    /// Whether `uid` is in the network.
    pub fn contains(&self, uid: &str) -> bool {
        self.places.contains_key(uid)
    }

    /// Whether this life of `uid` is in the network.
    pub fn holds(&self, uid: &str, instance: Instance) -> bool {
        self.get(uid).is_some_and(|place| place.instance == instance)
    }

    /// How many runtimes are in the network.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether nobody is in the network.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Everybody, in the order of the uids.
    pub fn iter(&self) -> impl Iterator<Item = (&Uid, &Place)> {
        self.places.iter()
    }

    /// Whose uid fits `pattern`, in which `*` stands for any run of characters: `worker:*`.
    pub fn matching(&self, pattern: &str) -> impl Iterator<Item = (&Uid, &Place)> {
        self.iter().filter(move |(uid, _)| uid.matches(pattern))
    }

    /// The uids that look most like `uid`, the closest first: at most [`SIMILAR_UIDS`], none if nothing is close.
    pub fn similar(&self, uid: &str) -> Vec<Uid> {
        let mut close: Vec<(f64, &Uid)> = self
            .places
            .keys()
            .filter(|known| lengths_allow(known.len(), uid.len()))
            .map(|known| (strsim::normalized_damerau_levenshtein(known, uid), known))
            .filter(|(similarity, _)| *similarity >= LEAST_SIMILARITY)
            .collect();
        close.sort_by(|(a, a_uid), (b, b_uid)| b.total_cmp(a).then_with(|| a_uid.cmp(b_uid)));
        close.into_iter().take(SIMILAR_UIDS).map(|(_, uid)| uid.clone()).collect()
    }

    /// Puts `uid` at `place`, and gives where it was.
    pub fn insert(&mut self, uid: Uid, place: Place) -> Option<Place> {
        self.places.insert(uid, place)
    }

    /// Takes `uid` out, and gives where it was.
    pub fn remove(&mut self, uid: &str) -> Option<Place> {
        self.places.remove(uid)
    }
}

impl FromIterator<(Uid, Place)> for Topology {
    fn from_iter<I: IntoIterator<Item = (Uid, Place)>>(entries: I) -> Topology {
        Topology { places: entries.into_iter().collect() }
    }
}

/// Whether texts of these lengths can be similar enough at all: comparing them costs the product of the lengths.
fn lengths_allow(one: usize, other: usize) -> bool {
    2 * one.min(other) >= one.max(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(uids: &[&str]) -> Topology {
        let place = |bits| Place { address: "10.0.0.1".into(), port: 7000, instance: Instance(bits) };
        uids.iter().zip(1..).map(|(uid, bits)| (Uid::new(uid).unwrap(), place(bits))).collect()
    }

    #[test]
    fn the_closest_uids_come_first_and_strangers_not_at_all() {
        let network = network(&["head", "monitor", "worker:0:1", "worker:0:2", "worker:0:3", "worker:1:13"]);
        assert_eq!(network.similar("worker:0:33")[0], "worker:0:3");
        assert_eq!(network.similar("wroker:0:2")[0], "worker:0:2");
        assert_eq!(network.similar("worker:0:33").len(), SIMILAR_UIDS);
        assert_eq!(network.similar("haed"), ["head"]);
        assert!(network.similar("zzzzzzzz").is_empty());
        assert!(network.similar("").is_empty());
    }

    #[test]
    fn a_pattern_selects_in_the_order_of_the_uids() {
        let network = network(&["worker:1", "head", "worker:0"]);
        let uids: Vec<_> = network.matching("worker:*").map(|(uid, _)| uid.as_str()).collect();
        assert_eq!(uids, ["worker:0", "worker:1"]);
        assert_eq!(network.len(), 3);
    }

    #[test]
    fn another_life_of_a_uid_is_not_the_one_that_is_held() {
        let network = network(&["head"]);
        assert!(network.holds("head", Instance(1)));
        assert!(!network.holds("head", Instance(2)));
        assert!(!network.holds("node", Instance(1)));
    }
}
