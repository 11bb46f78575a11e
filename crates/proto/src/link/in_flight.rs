//! The calls that await a reply: their tickets by id, and their deadlines in order.
//!
//! A ticket is whatever the driver needs to complete a call (a one-shot sender, say). Each id ends exactly once: by
//! its reply, its deadline, a cancellation or the end of the link.

use std::collections::{BTreeMap, BTreeSet};

use crate::Time;

#[derive(Debug)]
pub(super) struct InFlight<T> {
    calls: BTreeMap<u64, Call<T>>,
    deadlines: BTreeSet<(Time, u64)>,
}

#[derive(Debug)]
struct Call<T> {
    ticket: T,
    deadline: Option<Time>,
}

impl<T> InFlight<T> {
    pub(super) fn new() -> InFlight<T> {
        InFlight { calls: BTreeMap::new(), deadlines: BTreeSet::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.calls.contains_key(&id)
    }

    pub(super) fn insert(&mut self, id: u64, ticket: T, deadline: Option<Time>) {
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, id));
        }
        let previous = self.calls.insert(id, Call { ticket, deadline });
        assert!(previous.is_none(), "ids are drawn once");
    }

    /// Ends a call; `None` if it has ended before.
    pub(super) fn remove(&mut self, id: u64) -> Option<T> {
        let call = self.calls.remove(&id)?;
        if let Some(deadline) = call.deadline {
            self.deadlines.remove(&(deadline, id));
        }
        Some(call.ticket)
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// Ends the call whose deadline has passed first, if there is one.
    pub(super) fn pop_expired(&mut self, now: Time) -> Option<(u64, T)> {
        let &(deadline, id) = self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.remove(id).map(|ticket| (id, ticket))
    }

    /// Ends them all, in the order in which they were made.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = (u64, T)> + use<T> {
        self.deadlines.clear();
        std::mem::take(&mut self.calls).into_iter().map(|(id, call)| (id, call.ticket))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_id_ends_once() {
        let second = |s| Time::from_origin(Duration::from_secs(s));
        let mut calls = InFlight::new();
        calls.insert(1, 'a', Some(second(2)));
        calls.insert(2, 'b', Some(second(1)));
        calls.insert(3, 'c', None);
        assert_eq!(calls.next_deadline(), Some(second(1)));
        assert_eq!(calls.pop_expired(second(1)), Some((2, 'b')));
        assert_eq!(calls.pop_expired(second(1)), None);
        assert_eq!(calls.remove(1), Some('a'));
        assert_eq!(calls.remove(1), None);
        assert_eq!(calls.next_deadline(), None);
        assert_eq!(calls.take_all().collect::<Vec<_>>(), [(3, 'c')]);
        assert!(calls.is_empty());
    }
}
