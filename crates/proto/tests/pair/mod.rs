//! Two links joined in memory on a virtual clock. Real bytes go from [`Transmit`] through the [`Receiver`] into
//! `handle_item`; connections can be delayed, paused and cut at any byte, and dials can fail.
//!
//! `wire` is what carries bytes, `side` is one link with what its driver would keep, `driver` moves bytes between the
//! two, `steps` is what may happen to a pair, and this file joins two sides and checks after every step what must hold at any time.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

mod driver;
mod message;
mod side;
pub mod steps;
mod wire;

use std::time::Duration;

use mosaic_proto::link::{Admission, Request, Verdict};
use mosaic_proto::wire::{Command, Lane, Outgoing};
use mosaic_proto::{Instance, Reason, Time};

#[allow(unused_imports, reason = "each test file uses a part of it")]
pub use message::{Shape, incoming, reply_to};
#[allow(unused_imports, reason = "each test file uses a part of it")]
pub use side::{Ended, Heard, Side};
use wire::Wire;

/// The side whose uid is smaller, and the other.
pub const A: usize = 0;
pub const B: usize = 1;

/// What becomes of a dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Connects,
    Refused,
    /// It gets no answer, and is given up after a second.
    Silence,
}

/// How a pair behaves; tests change it as they go.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// From a byte's writing to its arrival, by the side that writes.
    pub delay: [Duration; 2],
    /// From a dial to its connection, by the side that dials.
    pub dial_delay: [Duration; 2],
    pub fate: [Fate; 2],
    /// Whether nothing arrives, by lane and by the side that writes.
    pub paused: [[bool; 2]; 2],
    /// How soon a side sees that a connection is gone.
    pub notice: [Duration; 2],
    /// Bytes that a connection takes in each direction before its writer must wait.
    pub capacity: usize,
    /// Bytes that a writer polls, and that it writes, at a time.
    pub chunk: usize,
}

pub struct Pair {
    pub now: Time,
    pub sides: [Side; 2],
    pub conditions: Conditions,
    wires: Vec<Wire>,
    sessions: u64,
    tickets: u64,
}

fn milliseconds(n: u64) -> Duration {
    Duration::from_millis(n)
}

impl Pair {
    pub fn new() -> Pair {
        Pair::with_budget(64 << 20)
    }

    pub fn with_budget(budget: u64) -> Pair {
        let conditions = Conditions {
            delay: [milliseconds(1); 2],
            dial_delay: [milliseconds(1); 2],
            fate: [Fate::Connects; 2],
            paused: [[false; 2]; 2],
            notice: [milliseconds(1); 2],
            capacity: 256 * 1024,
            chunk: 64 * 1024,
        };
        let sides = [Side::new("a", "b", 1, budget), Side::new("b", "a", 1, budget)];
        Pair { now: Time::ZERO, sides, conditions, wires: Vec::new(), sessions: 0, tickets: 0 }
    }

    /// A pair whose session has begun, dialled by A.
    pub fn connected() -> Pair {
        let mut pair = Pair::new();
        pair.connect(A);
        pair.run();
        assert!(pair.sides.iter().all(|side| side.link.is_up()));
        pair
    }

    pub fn connect(&mut self, side: usize) {
        self.sides[side].link.connect(self.now, false);
        self.settle();
    }

    // ---- what users do ----

    /// Sends a message of this shape; its tag is returned, by which all is recorded.
    pub fn send(&mut self, side: usize, shape: Shape) -> u64 {
        let tag = self.tickets;
        self.tickets += 1;
        let now = self.now;
        let sender = &mut self.sides[side];
        let outgoing = shape.outgoing(tag);
        let request = Request {
            outgoing,
            express: shape.express,
            nested: shape.nested,
            reply: shape.reply.then_some(tag),
            deadline: shape.deadline.map(|after| now + after),
        };
        match sender.link.send(now, request) {
            Ok(admission) => {
                sender.sent(tag, admission.id(), &shape);
                if matches!(admission, Admission::Waiting(_)) && !shape.reply {
                    assert_eq!(sender.link.notify_acceptance(now, admission.id(), tag), None);
                }
            }
            Err(_) if sender.link.ended().is_some() => {}
            Err(_) => {
                assert!(shape.nested, "only what a handler sends must not wait");
                sender.refused(tag, &shape);
            }
        }
        self.settle();
        tag
    }

    pub fn call(&mut self, side: usize, size: usize) -> u64 {
        self.send(side, Shape::call(size))
    }

    pub fn one_way(&mut self, side: usize, size: usize) -> u64 {
        self.send(side, Shape::one_way(size))
    }

    /// Drops the future of a call. True if it had not ended.
    pub fn cancel(&mut self, side: usize, tag: u64) -> bool {
        let (now, id) = (self.now, self.sides[side].id_of(tag));
        let Some(id) = id else { return false };
        let cancelled = self.sides[side].link.cancel(now, id) == Some(tag);
        if cancelled {
            self.sides[side].gave_up(tag, false);
        }
        self.settle();
        cancelled
    }

    /// Takes a one-way message back that waits.
    pub fn withdraw(&mut self, side: usize, tag: u64) -> bool {
        let Some(id) = self.sides[side].id_of(tag) else { return false };
        let withdrawn = self.sides[side].link.withdraw(self.now, id);
        if withdrawn {
            self.sides[side].gave_up(tag, true);
        }
        self.settle();
        withdrawn
    }

    /// The handler of the request with this tag starts.
    pub fn consume(&mut self, side: usize, tag: u64) {
        let now = self.now;
        self.sides[side].consume(now, tag);
        self.settle();
    }

    /// The handler of the request with this tag ends, with a reply of this size.
    pub fn reply(&mut self, side: usize, tag: u64, size: usize) {
        self.consume(side, tag);
        self.sides[side].answer(self.now, tag, size);
        self.settle();
    }

    /// Starts the handlers of so many requests, oldest first.
    pub fn consume_oldest(&mut self, side: usize, count: usize) {
        let waiting = self.sides[side].heard.iter().filter(|heard| !heard.express && !heard.consumed);
        let tags: Vec<u64> = waiting.map(|heard| heard.tag).take(count).collect();
        tags.into_iter().for_each(|tag| self.consume(side, tag));
    }

    /// Ends every handler that has not.
    pub fn answer_all(&mut self, side: usize) {
        let open = self.sides[side].heard.iter().filter(|heard| heard.wants_reply && !heard.answered);
        let tags: Vec<u64> = open.map(|heard| heard.tag).collect();
        tags.into_iter().for_each(|tag| self.reply(side, tag, 8));
    }

    /// A request waits until a handler ends.
    pub fn saturate(&mut self, side: usize) {
        self.sides[side].link.saturate();
        self.settle();
    }

    /// No request waits until a handler ends.
    pub fn relieve(&mut self, side: usize) {
        self.sides[side].link.relieve(self.now);
        self.settle();
    }

    pub fn lend_to_others(&mut self, side: usize) {
        self.sides[side].lend_to_others();
        self.settle();
    }

    pub fn others_give_back(&mut self, side: usize) {
        self.sides[side].others_give_back();
        self.settle();
    }

    pub fn leave(&mut self, side: usize) {
        self.sides[side].link.leave(self.now, "done");
        self.settle();
    }

    pub fn end(&mut self, side: usize, verdict: Verdict, reason: Reason) {
        self.sides[side].link.end(verdict, reason);
        self.settle();
    }

    // ---- what happens to connections ----

    /// Cuts this lane's connections: of what is under way from each side, so many bytes still arrive. True if there
    /// was one.
    pub fn cut(&mut self, lane: Lane, arriving: [usize; 2]) -> bool {
        let now = self.now;
        let mut any = false;
        for wire in self.wires.iter_mut().filter(|wire| wire.lane == lane && !wire.is_closed()) {
            wire.cut(now, arriving, self.conditions.notice);
            any = true;
        }
        self.settle();
        any
    }

    /// How many connections each side believes to be live on this lane.
    pub fn live(&self, lane: Lane) -> [usize; 2] {
        [A, B].map(|side| self.wires.iter().filter(|wire| wire.lane == lane && wire.is_live(side)).count())
    }

    /// How many connections of this lane were made.
    pub fn dialled(&self, side: usize, lane: Lane) -> usize {
        self.wires.iter().filter(|wire| wire.dialler == side && wire.lane == lane).count()
    }

    /// Bytes under way from this side on this lane.
    pub fn under_way(&self, side: usize, lane: Lane) -> usize {
        self.wires.iter().filter(|wire| wire.lane == lane).map(|wire| wire.pipes[side].len()).sum()
    }

    /// Gives a side's live connection an item as if the peer had sent it.
    pub fn inject(&mut self, side: usize, lane: Lane, command: &Command) {
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        self.inject_bytes(side, lane, bytes);
    }

    pub fn inject_message(&mut self, side: usize, lane: Lane, outgoing: &Outgoing) {
        self.inject_bytes(side, lane, message::bytes_of(outgoing));
    }

    fn inject_bytes(&mut self, side: usize, lane: Lane, bytes: Vec<u8>) {
        let now = self.now;
        let wire = self.wires.iter_mut().find(|wire| wire.lane == lane && wire.is_live(side));
        wire.expect("the lane is connected").pipes[1 - side].write(now, bytes);
        self.settle();
    }

    // ---- time ----

    /// Lets time pass until nothing is under way and nobody waits for less than a heart.
    pub fn run(&mut self) {
        self.run_for(milliseconds(450));
    }

    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.settle();
        while let Some(next) = self.next_event().filter(|&next| next <= end) {
            assert!(next > self.now, "something is due again and again at {:?}", self.now);
            self.now = next;
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    /// A side stands still: time passes, and it does nothing about it.
    pub fn stand_still(&mut self, side: usize, duration: Duration) {
        self.sides[side].asleep = true;
        self.run_for(duration);
        self.sides[side].asleep = false;
        self.settle();
    }

    fn next_event(&self) -> Option<Time> {
        let awake = self.sides.iter().filter(|side| !side.asleep);
        let timeouts = awake.filter_map(|side| side.link.poll_timeout());
        let wires = self.wires.iter().filter_map(|wire| wire.next_event(self.now, &self.conditions));
        timeouts.chain(wires).min()
    }

    /// Does all that is due now.
    pub fn settle(&mut self) {
        for _ in 0..100_000 {
            let mut busy = false;
            for side in [A, B] {
                if self.sides[side].asleep {
                    continue;
                }
                if self.sides[side].link.poll_timeout().is_some_and(|due| due <= self.now) {
                    self.sides[side].link.handle_timeout(self.now);
                    let next = self.sides[side].link.poll_timeout();
                    assert!(next.is_none_or(|next| next > self.now), "what is due was not done: {next:?}");
                    busy = true;
                }
                busy |= self.handle_events(side);
                for index in 0..self.wires.len() {
                    busy |= self.work(index, side);
                    self.handle_events(side);
                    self.sides[side].link.assert_invariants();
                }
            }
            if !busy {
                return self.check();
            }
        }
        panic!("it never settles at {:?}", self.now);
    }

    fn check(&mut self) {
        for side in [A, B] {
            self.sides[side].check();
            for lane in Lane::ALL {
                let live = self.wires.iter().filter(|wire| wire.lane == lane && wire.is_live(side)).count();
                assert!(live <= 1, "{live} connections are live on the {lane:?} lane");
            }
        }
        for [from, to] in [[A, B], [B, A]] {
            let [sender, receiver] = self.sides.get_disjoint_mut([from, to]).expect("they are two");
            receiver.check_order(sender);
        }
        self.wires.retain(|wire| !wire.is_closed() || wire.keep());
    }

    /// The side's process has gone and another instance takes its place, which knows nothing.
    pub fn restart(&mut self, side: usize) {
        let now = self.now;
        let instance = Instance(self.sides[side].instance.0 + 1);
        let names = if side == A { ["a", "b"] } else { ["b", "a"] };
        self.sides[side] = Side::new(names[0], names[1], instance.0, 64 << 20);
        self.wires.iter_mut().for_each(|wire| wire.close(side, now));
        self.settle();
    }

    /// The same, and the peer's connections stay as they are.
    pub fn restart_unnoticed(&mut self, side: usize) {
        let old = std::mem::take(&mut self.wires);
        self.restart(side);
        self.wires = old;
        self.wires.iter_mut().for_each(|wire| wire.forget(side));
    }
}
