//! Byte credit: what may be under way, for each class of message, and what a context lends its links for it.
//!
//! ```text
//! sender    Outflow   sent - consumed <= window          a message that doesn't fit waits; the head asks with WANT
//! receiver  Inflow    window = base + growth + granted    told by ACK; a grant falls back once its message is consumed
//! context   Budget    growth + grants of all links <= capacity / 2 for each class
//! ```
//!
//! Costs count from the session's start on both sides, so that a repeated ACK changes nothing. The limit
//! `consumed + window` never retreats: a grant is taken back only after a message of at least its size was consumed.

use std::collections::VecDeque;
use std::time::Duration;

use crate::Time;
use crate::limits::{INITIAL_WINDOW, MAX_WINDOW};
use crate::wire::Class;

/// How quickly a window's worth must be consumed for the window to grow: slower use would not gain from more.
const GROWTH_PERIOD: Duration = Duration::from_millis(200);

/// The sender's side of one class.
#[derive(Debug)]
pub(super) struct Outflow {
    sent: u64,
    consumed: u64,
    /// How far `sent` may go: the largest `consumed + window` that was heard.
    limit: u64,
    window: u64,
    wanted: u64,
}

impl Outflow {
    pub(super) fn new() -> Outflow {
        Outflow { sent: 0, consumed: 0, limit: INITIAL_WINDOW, window: INITIAL_WINDOW, wanted: 0 }
    }

    /// Whether a message of this cost may go now.
    pub(super) fn admits(&self, cost: u64) -> bool {
        self.sent.saturating_add(cost) <= self.limit
    }

    pub(super) fn outstanding(&self) -> u64 {
        self.sent - self.consumed
    }

    pub(super) fn is_within_limit(&self) -> bool {
        self.sent <= self.limit
    }

    pub(super) fn admit(&mut self, cost: u64) {
        self.sent += cost;
        self.wanted = 0;
    }

    /// Takes back the admission of a message that was never written.
    pub(super) fn refund(&mut self, cost: u64) {
        self.sent -= cost;
    }

    /// Whether the peer must be asked for room, because a message of this cost exceeds what it offers even when
    /// nothing is under way. True once for each such message.
    pub(super) fn must_ask(&mut self, cost: u64) -> bool {
        let ask = cost > self.window && self.wanted != cost;
        if ask {
            self.wanted = cost;
        }
        ask
    }

    /// What was asked for is asked again after a resume: the question may have been lost with the connection.
    pub(super) fn forget_asking(&mut self) {
        self.wanted = 0;
    }

    /// Takes the peer's word. False if it claims more than was sent.
    pub(super) fn acknowledged(&mut self, consumed: u64, window: u64) -> bool {
        if consumed > self.sent {
            return false;
        }
        if consumed >= self.consumed {
            self.consumed = consumed;
            self.window = window;
            self.limit = self.limit.max(consumed.saturating_add(window));
        }
        true
    }

    /// What the system has taken counts as consumed, for a peer that knows no credit.
    pub(super) fn settle(&mut self, cost: u64) {
        self.consumed += cost;
    }
}

/// The receiver's side of one class.
#[derive(Debug)]
pub(super) struct Inflow {
    received: u64,
    consumed: u64,
    told: u64,
    growth: u64,
    /// Grants that are in force, oldest first: each falls back once `consumed` has passed its mark.
    grants: VecDeque<Grant>,
    used_since: (Time, u64),
    wanted: u64,
}

#[derive(Debug)]
struct Grant {
    bytes: u64,
    until_consumed: Option<u64>,
}

impl Inflow {
    pub(super) fn new() -> Inflow {
        Inflow {
            received: 0,
            consumed: 0,
            told: 0,
            growth: 0,
            grants: VecDeque::new(),
            used_since: (Time::ZERO, 0),
            wanted: 0,
        }
    }

    pub(super) fn window(&self) -> u64 {
        INITIAL_WINDOW + self.growth + self.grants.iter().map(|grant| grant.bytes).sum::<u64>()
    }

    pub(super) fn consumed_total(&self) -> u64 {
        self.consumed
    }

    /// What lies here and was not consumed yet.
    pub(super) fn unconsumed(&self) -> u64 {
        self.received - self.consumed
    }

    /// The cost of the largest message that may come now.
    pub(super) fn allowance(&self) -> u64 {
        self.window().saturating_sub(self.unconsumed())
    }

    /// A whole message has come. False if it overran the window.
    pub(super) fn receive(&mut self, cost: u64) -> bool {
        if cost > self.allowance() {
            return false;
        }
        self.receive_uncredited(cost);
        true
    }

    /// A whole message has come from a peer that knows no credit.
    pub(super) fn receive_uncredited(&mut self, cost: u64) {
        self.received += cost;
        if let Some(grant) = self.grants.iter_mut().find(|g| g.until_consumed.is_none() && g.bytes <= cost) {
            grant.until_consumed = Some(self.received);
        }
    }

    /// The user took a message of this cost. Returns the reservation that falls back with it.
    pub(super) fn consume(&mut self, cost: u64) -> u64 {
        self.consumed += cost;
        let mut released = 0;
        let consumed = self.consumed;
        self.grants.retain(|grant| {
            let over = grant.until_consumed.is_some_and(|mark| consumed >= mark);
            if over {
                released += grant.bytes;
            }
            !over
        });
        released
    }

    /// How much the peer should be told about by now.
    pub(super) fn untold(&self) -> u64 {
        self.consumed - self.told
    }

    pub(super) fn told(&mut self) {
        self.told = self.consumed;
    }

    /// How much larger the window should become after the use it had, if it should.
    pub(super) fn growth_due(&mut self, now: Time) -> Option<u64> {
        let window = INITIAL_WINDOW + self.growth;
        let (since, consumed) = self.used_since;
        if self.consumed - consumed < window {
            return None;
        }
        self.used_since = (now, self.consumed);
        (now - since <= GROWTH_PERIOD && window < MAX_WINDOW).then(|| window.min(MAX_WINDOW - window))
    }

    pub(super) fn grow(&mut self, bytes: u64) {
        self.growth += bytes;
    }

    /// The peer asks for room for one message; true if the question is new.
    pub(super) fn want(&mut self, bytes: u64) -> bool {
        let new = self.wanted != bytes && bytes > self.window();
        if new {
            self.wanted = bytes;
        }
        new
    }

    pub(super) fn grant(&mut self, bytes: u64) {
        self.wanted = 0;
        self.grants.push_back(Grant { bytes, until_consumed: None });
    }

    pub(super) fn deny(&mut self) {
        self.wanted = 0;
    }

    /// Everything that was reserved beyond the initial window.
    pub(super) fn reserved(&self) -> u64 {
        self.window() - INITIAL_WINDOW
    }
}

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
        self.capacity / 2
    }

    /// Bytes that are lent now.
    pub fn lent(&self) -> u64 {
        self.lent.iter().sum()
    }

    /// Reserves at once or not at all, and never before those who wait.
    pub fn try_reserve(&mut self, class: Class, bytes: u64) -> bool {
        let fits =
            self.waiting[class.index()].is_empty() && self.lent[class.index()] + bytes <= self.largest();
        if fits {
            self.lent[class.index()] += bytes;
        }
        fits
    }

    /// Reserves now (true) or puts `who` in line; [`Budget::release`] tells when its turn has come. More than
    /// [`Budget::largest`] must not be asked for.
    pub fn reserve_or_wait(&mut self, class: Class, bytes: u64, who: K) -> bool {
        assert!(bytes <= self.largest(), "asked for more than can ever be granted");
        let fits = self.try_reserve(class, bytes);
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
        let largest = self.largest();
        let (lent, waiting) = (&mut self.lent[class.index()], &mut self.waiting[class.index()]);
        let mut served = Vec::new();
        while let Some((_, bytes)) = waiting.front()
            && *lent + bytes <= largest
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
    fn what_exceeds_the_window_is_asked_for_once() {
        let mut out = Outflow::new();
        assert!(out.admits(INITIAL_WINDOW));
        assert!(!out.must_ask(INITIAL_WINDOW));
        assert!(out.must_ask(INITIAL_WINDOW + 1));
        assert!(!out.must_ask(INITIAL_WINDOW + 1));
        out.forget_asking();
        assert!(out.must_ask(INITIAL_WINDOW + 1));
    }

    #[test]
    fn a_grant_falls_back_with_its_message_and_the_limit_never_retreats() {
        let mut inflow = Inflow::new();
        assert!(inflow.want(1 << 20));
        inflow.grant(1 << 20);
        let limit = |i: &Inflow| i.consumed_total() + i.window();
        let before = limit(&inflow);
        assert!(inflow.receive(1000));
        assert!(inflow.receive(1 << 20));
        assert_eq!(inflow.consume(1000), 0);
        assert!(limit(&inflow) >= before);
        assert_eq!(inflow.consume(1 << 20), 1 << 20);
        assert!(limit(&inflow) >= before);
        assert_eq!(inflow.window(), INITIAL_WINDOW);
    }

    #[test]
    fn more_than_the_window_is_refused() {
        let mut inflow = Inflow::new();
        assert!(inflow.receive(INITIAL_WINDOW));
        assert!(!inflow.receive(1));
    }

    #[test]
    fn quick_use_grows_the_window_up_to_its_maximum() {
        let mut inflow = Inflow::new();
        let mut now = Time::ZERO;
        for _ in 0..100 {
            now = now + Duration::from_millis(10);
            let cost = inflow.window();
            assert!(inflow.receive(cost));
            inflow.consume(cost);
            if let Some(bytes) = inflow.growth_due(now) {
                inflow.grow(bytes);
            }
        }
        assert_eq!(inflow.window(), MAX_WINDOW);
    }

    #[test]
    fn the_budget_serves_in_order_and_keeps_the_halves_apart() {
        let mut budget = Budget::new(200);
        assert!(budget.reserve_or_wait(Class::Requests, 80, 1));
        assert!(!budget.reserve_or_wait(Class::Requests, 50, 2));
        assert!(!budget.try_reserve(Class::Requests, 10), "nobody passes those who wait");
        assert!(budget.try_reserve(Class::Replies, 100));
        assert_eq!(budget.release(Class::Requests, 80), [(2, 50)]);
        assert!(!budget.reserve_or_wait(Class::Requests, 60, 3));
        assert!(!budget.reserve_or_wait(Class::Requests, 10, 4));
        assert_eq!(budget.forget(&3), [(Class::Requests, 4, 10)]);
        assert_eq!(budget.lent(), 160);
    }
}
