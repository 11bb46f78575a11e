//! Byte credit: what may be under way, for each class of message, and what a context lends its links for it.
//!
//! ```text
//! sender    Outflow   sent - consumed <= window          a message that doesn't fit waits; the head asks with WANT
//! receiver  Inflow    window = base + growth + granted    told by ACK; a grant falls back with its message
//! context   Budget    growth + grants of all links <= capacity / 2 for each class
//! ```
//!
//! Costs count from the session's start on both sides, so that a repeated ACK changes nothing. The limit
//! `consumed + window` never retreats, unless the sender has said that it does not use what it was granted last. What
//! is reserved is at all times at least what may lie here: `limit - consumed <= base + reserved`.

use std::collections::VecDeque;
use std::time::Duration;

use super::event::Credit;
use crate::Time;
use crate::limits::{INITIAL_WINDOW, MAX_WINDOW};

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
    /// What was asked for, for the head of the queue; 0 for nothing.
    wanted: u64,
    /// What was asked for, for messages that have gone. Only the first is said; nothing is admitted until the peer
    /// has taken them all back.
    retracting: VecDeque<u64>,
}

impl Outflow {
    pub(super) fn new() -> Outflow {
        let (limit, window) = (INITIAL_WINDOW, INITIAL_WINDOW);
        Outflow { sent: 0, consumed: 0, limit, window, wanted: 0, retracting: VecDeque::new() }
    }

    /// Whether a message of this cost may go now.
    pub(super) fn admits(&self, cost: u64) -> bool {
        self.retracting.is_empty() && self.sent.saturating_add(cost) <= self.limit
    }

    pub(super) fn outstanding(&self) -> u64 {
        self.sent.saturating_sub(self.consumed)
    }

    pub(super) fn is_within_limit(&self) -> bool {
        self.sent <= self.limit
    }

    pub(super) fn credit(&self) -> Credit {
        Credit { used: self.outstanding(), allowed: self.limit.saturating_sub(self.consumed) }
    }

    /// Counts a message of this cost. True if it was asked for.
    pub(super) fn admit(&mut self, cost: u64) -> bool {
        self.sent += cost;
        std::mem::take(&mut self.wanted) == cost
    }

    /// Takes back the admission of a message that was never written. Returns what is to be retracted with it.
    pub(super) fn refund(&mut self, cost: u64, granted: bool) -> Option<u64> {
        self.sent -= cost;
        if granted { self.retract(cost) } else { None }
    }

    /// Returns `bytes` if that can be said now.
    fn retract(&mut self, bytes: u64) -> Option<u64> {
        self.retracting.push_back(bytes);
        (self.retracting.len() == 1).then_some(bytes)
    }

    /// Whether the peer must be asked for room, because a message of this cost exceeds what it offers even when
    /// nothing is under way. True once for each such message.
    pub(super) fn must_ask(&mut self, cost: u64) -> bool {
        let ask = self.retracting.is_empty() && cost > self.window && self.wanted != cost;
        if ask {
            self.wanted = cost;
        }
        ask
    }

    /// Says what the head of the queue costs now, if there is one. Returns what is to be retracted if another was asked
    /// for: the peer must take it back, else a message that was given up would hold it for ever.
    pub(super) fn must_retract(&mut self, head: Option<u64>) -> Option<u64> {
        if self.wanted == 0 || head == Some(self.wanted) {
            return None;
        }
        let gone = std::mem::take(&mut self.wanted);
        self.retract(gone)
    }

    /// The peer says that it grants no more than `limit`. If that answers a retraction, returns what is to be retracted
    /// next, if there is more.
    pub(super) fn retracted(&mut self, limit: u64) -> Option<Option<u64>> {
        if limit != 0 {
            return None;
        }
        self.retracting.pop_front()?;
        self.limit = self.sent;
        Some(self.retracting.front().copied())
    }

    /// The peer never lends what was asked for. Returns what that was.
    pub(super) fn denied(&mut self) -> u64 {
        std::mem::take(&mut self.wanted)
    }

    /// What was asked for is asked again after a resume: the question may have been lost with the connection. Returns
    /// what is to be retracted.
    pub(super) fn forget_asking(&mut self) -> Option<u64> {
        self.wanted = 0;
        self.retracting.front().copied()
    }

    /// Takes the peer's word. False if it claims more than was sent.
    pub(super) fn acknowledged(&mut self, consumed: u64, window: u64) -> bool {
        if consumed > self.sent {
            return false;
        }
        if consumed >= self.consumed {
            self.consumed = consumed;
            self.window = window;
            if self.retracting.is_empty() {
                self.limit = self.limit.max(consumed.saturating_add(window));
            }
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
    /// How far `received` may go. It only retreats when the peer has asked for that.
    limit: u64,
    /// What was reserved for single messages and has not fallen back, oldest first.
    grants: VecDeque<Grant>,
    used_since: (Time, u64),
    /// What the head of the peer's queue needs, and what the budget was asked for; 0 for nothing. There is one
    /// question to the budget at a time.
    wanted: u64,
    asked: u64,
    /// What the peer's last question was for. It exceeded every grant that was not used, so it tells them apart.
    last_wanted: u64,
}

/// What was reserved for one message. Once that has come it no longer raises the limit, and it falls back as soon
/// as the limit doesn't need it.
#[derive(Debug)]
struct Grant {
    bytes: u64,
    used: bool,
    limit_before: u64,
}

impl Inflow {
    pub(super) fn new() -> Inflow {
        Inflow {
            received: 0,
            consumed: 0,
            told: 0,
            growth: 0,
            limit: INITIAL_WINDOW,
            grants: VecDeque::new(),
            used_since: (Time::ZERO, 0),
            wanted: 0,
            asked: 0,
            last_wanted: 0,
        }
    }

    /// How much more than what was consumed may come.
    pub(super) fn window(&self) -> u64 {
        self.limit.saturating_sub(self.consumed)
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
        self.limit.saturating_sub(self.received)
    }

    /// A whole message has come. False if it overran the window.
    pub(super) fn receive(&mut self, cost: u64) -> bool {
        if cost > self.allowance() {
            return false;
        }
        self.receive_uncredited(cost);
        if let Some(grant) = self.grants.iter_mut().find(|grant| !grant.used && grant.bytes <= cost) {
            grant.used = true;
        }
        true
    }

    /// A whole message has come from a peer that knows no credit.
    pub(super) fn receive_uncredited(&mut self, cost: u64) {
        self.received += cost;
    }

    /// The user took a message of this cost.
    pub(super) fn consume(&mut self, cost: u64) {
        self.consumed += cost;
        assert!(self.consumed <= self.received, "more was consumed than has come");
    }

    /// Raises the limit to what is reserved, and returns what it does not need any more. To be called after each
    /// change.
    #[must_use]
    pub(super) fn settle(&mut self) -> u64 {
        let unused: u64 = self.grants.iter().filter(|grant| !grant.used).map(|grant| grant.bytes).sum();
        self.limit = self.limit.max(self.consumed + INITIAL_WINDOW + self.growth + unused);
        let mut spare = (INITIAL_WINDOW + self.reserved()).saturating_sub(self.window());
        let before = spare;
        self.grants.retain(|grant| {
            let drop = grant.used && grant.bytes <= spare;
            if drop {
                spare -= grant.bytes;
            }
            !drop
        });
        before - spare
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

    /// The budget lends `bytes` to grow by. False if the window has grown enough without.
    pub(super) fn grow(&mut self, bytes: u64) -> bool {
        let grows = INITIAL_WINDOW + self.growth + bytes <= MAX_WINDOW;
        if grows {
            self.growth += bytes;
        }
        grows
    }

    /// The peer needs room for one message. False if it has it.
    pub(super) fn want(&mut self, bytes: u64) -> bool {
        self.last_wanted = bytes;
        let lacks = bytes > self.window();
        if lacks {
            self.wanted = bytes;
        }
        lacks
    }

    /// What the budget must be asked for, once.
    pub(super) fn question(&mut self) -> Option<u64> {
        if self.asked != 0 || self.wanted == 0 {
            return None;
        }
        self.asked = self.wanted;
        Some(self.asked)
    }

    /// The budget lends `bytes` for one message. False if the peer does not need it any more.
    pub(super) fn grant(&mut self, bytes: u64) -> bool {
        if self.asked != bytes {
            return false;
        }
        self.asked = 0;
        let needed = self.wanted == bytes;
        if needed {
            self.wanted = 0;
            self.grants.push_back(Grant { bytes, used: false, limit_before: self.limit });
        }
        needed
    }

    /// The budget never lends more than `limit`. False if the peer does not need as much any more.
    pub(super) fn deny(&mut self, limit: u64) -> bool {
        self.asked = 0;
        let needed = self.wanted > limit;
        if needed {
            self.wanted = 0;
        }
        needed
    }

    /// The peer has no use for what it asked for last.
    pub(super) fn retract(&mut self) {
        if self.wanted == self.last_wanted {
            self.wanted = 0;
        }
        let last = self.last_wanted;
        let mut unused = self.grants.iter_mut().skip_while(|grant| grant.used || grant.bytes != last);
        let Some(grant) = unused.next() else { return };
        grant.used = true;
        let limit = grant.limit_before.max(self.limit.saturating_sub(last));
        self.limit = limit.max(self.received);
        unused.for_each(|later| later.limit_before = later.limit_before.saturating_sub(last));
    }

    /// Whether what may come, and what lies here, is covered by what was reserved.
    pub(super) fn is_covered(&self) -> bool {
        self.received <= self.limit && self.window() <= INITIAL_WINDOW + self.reserved()
    }

    /// Everything that was reserved beyond the initial window.
    pub(super) fn reserved(&self) -> u64 {
        self.growth + self.grants.iter().map(|grant| grant.bytes).sum::<u64>()
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

    fn granted(bytes: u64) -> Inflow {
        let mut inflow = Inflow::new();
        assert!(inflow.want(bytes));
        assert_eq!(inflow.question(), Some(bytes));
        assert_eq!(inflow.question(), None);
        assert!(inflow.grant(bytes));
        assert_eq!(inflow.settle(), 0);
        inflow
    }

    #[test]
    fn a_grant_falls_back_with_its_message_and_the_limit_never_retreats() {
        let mut inflow = granted(1 << 20);
        let before = inflow.limit;
        assert!(inflow.receive(1000));
        assert!(inflow.receive(1 << 20));
        inflow.consume(1000);
        assert_eq!(inflow.settle(), 0);
        assert!(inflow.limit >= before);
        inflow.consume(1 << 20);
        assert_eq!(inflow.settle(), 1 << 20);
        assert!(inflow.limit >= before);
        assert_eq!((inflow.window(), inflow.reserved()), (INITIAL_WINDOW, 0));
    }

    #[test]
    fn a_grant_that_is_not_used_falls_back_when_it_is_retracted() {
        let mut inflow = granted(1 << 20);
        assert!(inflow.receive(1000));
        inflow.consume(1000);
        inflow.retract();
        assert_eq!(inflow.settle(), 1 << 20);
        assert_eq!((inflow.window(), inflow.reserved()), (INITIAL_WINDOW, 0));
    }

    #[test]
    fn a_grant_whose_message_has_come_is_not_retracted() {
        let mut inflow = granted(1 << 20);
        assert!(inflow.want(4 << 20));
        assert_eq!(inflow.question(), Some(4 << 20));
        inflow.retract();
        assert_eq!(inflow.settle(), 0);
        assert!(!inflow.grant(4 << 20), "nobody needs it any more");
        assert!(inflow.receive(1 << 20));
    }

    #[test]
    fn a_need_that_changes_while_the_budget_is_asked_is_asked_for_afterwards() {
        let mut inflow = Inflow::new();
        assert!(inflow.want(1 << 20));
        assert_eq!(inflow.question(), Some(1 << 20));
        assert!(inflow.want(2 << 20));
        assert_eq!(inflow.question(), None);
        assert!(!inflow.grant(1 << 20));
        assert_eq!(inflow.question(), Some(2 << 20));
        assert!(inflow.grant(2 << 20));
    }

    #[test]
    fn growth_stops_at_its_maximum_even_if_it_was_asked_for_twice() {
        let mut inflow = Inflow::new();
        assert!(inflow.grow(MAX_WINDOW - INITIAL_WINDOW));
        assert!(!inflow.grow(1));
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
            assert_eq!(inflow.settle(), 0);
        }
        assert_eq!(inflow.window(), MAX_WINDOW);
    }
}
