//! What a manager counts.

use std::sync::atomic::Ordering;

use super::CommsManager;

impl CommsManager {
    /// One-way messages and replies that were dropped because their peer had left, and replies given to
    /// [`Protocol::reply`] that nobody awaited.
    pub fn dropped(&self) -> u64 {
        let links = self.shared.links.read();
        let on_links: u64 = links.values().map(|link| link.look(|machine| machine.counters().dropped)).sum();
        self.shared.dropped.load(Ordering::Relaxed) + on_links
    }
}
