//! What a context lends its links: memory for messages that lie here and were not consumed yet.

use std::collections::VecDeque;

use crate::wire::Class;

/// Growth gets nothing beyond this part of a class's half. It falls back with its link only, so more of it could
/// keep those who wait in line waiting for ever.
const GROWTH_PART: u64 = 4;

/// What a context lends its links beyond their initial windows: at most half for requests and half for replies, so
/// that neither can starve the other. Those who ask in vain wait in line.
#[derive(Debug)]
pub struct Budget<K> {
    capacity: u64,
    lent: [u64; 2],
    waiting: [VecDeque<(K, u64)>; 2],
}

impl<K: PartialEq> Budget<K> {
    /// A budget of `capacity` bytes.
    pub fn new(capacity: u64) -> Budget<K> {
        Budget { capacity, lent: [0; 2], waiting: [VecDeque::new(), VecDeque::new()] }
    }

    /// The largest reservation that can ever be granted, in bytes.
    pub fn largest(&self) -> u64 {
        self.half() - self.half() / GROWTH_PART
    }

    fn half(&self) -> u64 {
        self.capacity / 2
    }

    /// Bytes that are lent now.
    pub fn lent(&self) -> u64 {
        self.lent.iter().sum()
    }

    /// Reserves what a window would grow by, at once or not at all, and never before those who wait. Growth is lent
    /// only as long as little is lent altogether, so that the largest reservation can always be granted in time.
    pub fn try_reserve(&mut self, class: Class, bytes: u64) -> bool {
        self.reserve(class, bytes, self.half() / GROWTH_PART)
    }

    fn reserve(&mut self, class: Class, bytes: u64, most: u64) -> bool {
        let lent = &mut self.lent[class.index()];
        let fits = self.waiting[class.index()].is_empty() && *lent + bytes <= most;
        if fits {
            *lent += bytes;
        }
        fits
    }

    /// Reserves now (true) or puts `who` in line; [`Budget::release`] tells when its turn has come. More than
    /// [`Budget::largest`] must not be asked for.
    pub fn reserve_or_wait(&mut self, class: Class, bytes: u64, who: K) -> bool {
        assert!(bytes <= self.largest(), "asked for more than can ever be granted");
        let fits = self.reserve(class, bytes, self.half());
        if !fits {
            self.waiting[class.index()].push_back((who, bytes));
        }
        fits
    }

    /// Gives back what was reserved. Returns those whose turn has come; their bytes are reserved now.
    #[must_use]
    pub fn release(&mut self, class: Class, bytes: u64) -> Vec<(K, u64)> {
        self.lent[class.index()] -= bytes;
        self.serve(class)
    }

    /// Takes someone who has gone out of both lines. Returns those whose turn has come with it.
    #[must_use]
    pub fn forget(&mut self, who: &K) -> Vec<(Class, K, u64)> {
        let mut served = Vec::new();
        for class in Class::ALL {
            self.waiting[class.index()].retain(|(waiting, _)| waiting != who);
            served.extend(self.serve(class).into_iter().map(|(who, bytes)| (class, who, bytes)));
        }
        served
    }

    fn serve(&mut self, class: Class) -> Vec<(K, u64)> {
        let most = self.half();
        let (lent, waiting) = (&mut self.lent[class.index()], &mut self.waiting[class.index()]);
        let mut served = Vec::new();
        while let Some((_, bytes)) = waiting.front()
            && *lent + bytes <= most
            && let Some((who, bytes)) = waiting.pop_front()
        {
            *lent += bytes;
            served.push((who, bytes));
        }
        served
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_serves_in_order_and_keeps_the_halves_apart() {
        let mut budget = Budget::new(200);
        assert!(budget.reserve_or_wait(Class::Requests, 70, 1));
        assert!(!budget.reserve_or_wait(Class::Requests, 50, 2));
        assert!(!budget.try_reserve(Class::Requests, 10), "nobody passes those who wait");
        assert!(budget.reserve_or_wait(Class::Replies, 75, 9));
        assert_eq!(budget.release(Class::Requests, 70), [(2, 50)]);
        assert!(!budget.reserve_or_wait(Class::Requests, 60, 3));
        assert!(!budget.reserve_or_wait(Class::Requests, 10, 4));
        assert_eq!(budget.forget(&3), [(Class::Requests, 4, 10)]);
        assert_eq!(budget.lent(), 135);
    }

    #[test]
    fn growth_leaves_room_for_the_largest_reservation() {
        let mut budget = Budget::new(200);
        assert!(budget.try_reserve(Class::Requests, 25));
        assert!(!budget.try_reserve(Class::Requests, 1));
        assert!(budget.reserve_or_wait(Class::Requests, budget.largest(), 1));
    }
}
