//! One link with what its driver would keep, and the record of what it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mosaic_proto::limits::Limits;
use mosaic_proto::link::{Budget, ConnectionId, Event, Execution, Link, Outcome, Settings, Verdict};
use mosaic_proto::wire::{Class, Kind, Lane, RefusalCode};
use mosaic_proto::{HostId, Instance, Intervals, Reason, Session, Time, Uid};

use super::message::{Shape, reply_to, tag_of};

/// What a driver must do beyond what a side does by itself.
#[derive(Debug)]
pub enum Told {
    Dial(Lane),
    AbandonDial(Lane),
    Close(ConnectionId),
    /// Something that the side did itself.
    Asleep,
}

/// How a message of ours ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    Reply(u64),
    Accepted,
    Timeout(Execution),
    Disconnected(Reason, Execution),
    TooLarge(u64),
    Overloaded,
    /// The user gave it up.
    Cancelled,
    Withdrawn,
}

/// A request that was passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    pub tag: u64,
    pub id: u64,
    pub session: Session,
    pub express: bool,
    pub wants_reply: bool,
    pub cost: u64,
    pub consumed: bool,
    pub answered: bool,
}

struct Sent {
    id: u64,
    express: bool,
    reply: bool,
    /// Its session has ended: nobody knows what became of it.
    lost: bool,
}

/// Who waits for the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Borrower {
    Link,
    Others,
}

pub struct Side {
    pub link: Link<u64, Vec<u8>>,
    pub instance: Instance,
    pub asleep: bool,
    /// Whether requests are consumed as they come, and calls answered by as many bytes.
    pub consumes: bool,
    pub answers: Option<usize>,
    pub heard: Vec<Heard>,
    pub ended: BTreeMap<u64, Vec<Ended>>,
    pub cancels: Vec<u64>,
    pub ups: Vec<bool>,
    pub downs: usize,
    pub round_trips: Vec<Duration>,
    pub suspected: usize,
    pub unreachable: Vec<Reason>,
    pub verdict: Option<(Verdict, Reason)>,
    pub too_large_replies: Vec<(u64, u64)>,
    pub violations: Vec<String>,
    pub refusals: Vec<RefusalCode>,
    pub budget: Budget<Borrower>,
    /// What the context's other links have of the budget, or wait for, by class.
    others: [u64; 2],
    others_wait: [bool; 2],
    capacity: u64,
    reserved: [u64; 2],
    sent: BTreeMap<u64, Sent>,
    in_session: bool,
    checked: usize,
}

fn settings(uid: &str, peer: &str, instance: u64) -> Settings {
    Settings {
        uid: Uid::new(uid).expect("a uid"),
        instance: Instance(instance),
        host: HostId([1; 16]),
        pid_namespace: 1,
        pid: 1,
        peer: Uid::new(peer).expect("a uid"),
        peer_instance: None,
        limits: Limits::default(),
        intervals: Intervals::default(),
    }
}

impl Side {
    pub fn new(uid: &str, peer: &str, instance: u64, budget: u64) -> Side {
        Side {
            link: Link::new(settings(uid, peer, instance)),
            instance: Instance(instance),
            asleep: false,
            consumes: true,
            answers: Some(8),
            heard: Vec::new(),
            ended: BTreeMap::new(),
            cancels: Vec::new(),
            ups: Vec::new(),
            downs: 0,
            round_trips: Vec::new(),
            suspected: 0,
            unreachable: Vec::new(),
            verdict: None,
            too_large_replies: Vec::new(),
            violations: Vec::new(),
            refusals: Vec::new(),
            budget: Budget::new(budget),
            capacity: budget,
            others: [0; 2],
            others_wait: [false; 2],
            reserved: [0; 2],
            sent: BTreeMap::new(),
            in_session: false,
            checked: 0,
        }
    }

    /// Tags of the ordered requests that were passed on.
    pub fn ordered(&self) -> Vec<u64> {
        self.heard.iter().filter(|heard| !heard.express).map(|heard| heard.tag).collect()
    }

    pub fn heard_of(&self, tag: u64) -> Option<Heard> {
        self.heard.iter().find(|heard| heard.tag == tag).copied()
    }

    /// How the message with this tag ended, if it has.
    pub fn outcome(&self, tag: u64) -> Option<&Ended> {
        self.ended.get(&tag).and_then(|ends| ends.last())
    }

    pub fn id_of(&self, tag: u64) -> Option<u64> {
        self.sent.get(&tag).map(|sent| sent.id)
    }

    pub fn sent(&mut self, tag: u64, id: u64, shape: &Shape) {
        self.sent.insert(tag, Sent { id, express: shape.express, reply: shape.reply, lost: false });
    }

    /// It was not taken, for it had to wait at a peer where requests wait.
    pub fn refused(&mut self, tag: u64, shape: &Shape) {
        self.sent(tag, 0, shape);
        self.end(tag, Ended::Overloaded);
    }

    pub fn gave_up(&mut self, tag: u64, withdrawn: bool) {
        self.end(tag, if withdrawn { Ended::Withdrawn } else { Ended::Cancelled });
    }

    pub fn consume(&mut self, now: Time, tag: u64) {
        let heard = self.heard.iter_mut().find(|heard| heard.tag == tag).expect("the request has come");
        if !heard.express && !std::mem::replace(&mut heard.consumed, true) {
            self.link.consumed(now, heard.session, heard.cost);
        }
    }

    /// A request is answered once.
    pub fn answer(&mut self, now: Time, tag: u64, size: usize) {
        let heard = self.heard.iter_mut().find(|heard| heard.tag == tag).expect("the request has come");
        if !std::mem::replace(&mut heard.answered, true) {
            self.link.reply(now, heard.session, heard.id, reply_to(tag, size));
        }
    }

    /// The newest message of ours but `back`.
    pub fn newest(&self, back: usize) -> Option<u64> {
        self.sent.keys().rev().nth(back).copied()
    }

    fn end(&mut self, tag: u64, ended: Ended) {
        assert!(self.verdict.is_none(), "{tag} ended {ended:?} after the link had");
        let ends = self.ended.entry(tag).or_default();
        ends.push(ended);
        assert_eq!(ends.len(), 1, "{tag} ended more than once: {ends:?}");
    }

    pub fn handle_events(&mut self, now: Time) -> Vec<Told> {
        let mut todo = Vec::new();
        while let Some(event) = self.link.poll_event() {
            todo.push(self.handle(now, event));
        }
        todo
    }

    fn handle(&mut self, now: Time, event: Event<u64, Vec<u8>>) -> Told {
        assert!(
            self.verdict.is_none() || matches!(event, Event::Release { .. }),
            "{event:?} after the link had ended"
        );
        match event {
            Event::Dial(lane) => return Told::Dial(lane),
            Event::AbandonDial(lane) => return Told::AbandonDial(lane),
            Event::Close { connection, .. } => return Told::Close(connection),
            Event::Up { resumed } => {
                assert_eq!(
                    self.in_session, resumed,
                    "a session resumes or begins after the old one has ended"
                );
                self.in_session = true;
                self.ups.push(resumed);
            }
            Event::Down => self.downs += 1,
            Event::Request { incoming, session } => {
                assert!(self.link.session().is_none_or(|now| now == session), "an old session's");
                self.hear(now, &incoming, session);
            }
            Event::Cancel { id, .. } => self.cancels.push(id),
            Event::Outcome { ticket, outcome } => self.end(ticket, ended(outcome)),
            Event::Reserve { class, bytes, essential } => self.reserve(class, bytes, essential),
            Event::Release { class, bytes } => {
                self.reserved[class.index()] -= bytes;
                self.give_back(class, bytes);
            }
            Event::ReplyTooLarge { request, session, cost, limit } => {
                self.too_large_replies.push((cost, limit));
                self.link.reply(now, session, request, reply_to(0, 8));
            }
            Event::Beat { round_trip } => self.round_trips.push(round_trip),
            Event::Suspected => self.suspected += 1,
            Event::Unreachable(reason) => {
                self.session_ended();
                self.unreachable.push(reason);
            }
            Event::Ended { verdict, reason } => {
                self.session_ended();
                self.verdict = Some((verdict, reason));
            }
            other => panic!("{other:?} is new"),
        }
        Told::Asleep
    }

    fn session_ended(&mut self) {
        self.in_session = false;
        self.sent.values_mut().for_each(|sent| sent.lost = true);
    }

    fn hear(&mut self, now: Time, incoming: &mosaic_proto::wire::Incoming<Vec<u8>>, session: Session) {
        let envelope = incoming.envelope();
        assert_eq!(envelope.kind, Kind::Message);
        let (tag, id) = (tag_of(incoming), envelope.id);
        let (express, wants_reply) = (envelope.express, envelope.wants_reply);
        let cost = incoming.cost();
        self.heard.push(Heard {
            tag,
            id,
            session,
            express,
            wants_reply,
            cost,
            consumed: false,
            answered: false,
        });
        if self.consumes {
            self.consume(now, tag);
            if let Some(size) = self.answers.filter(|_| wants_reply) {
                self.answer(now, tag, size);
            }
        }
    }

    fn reserve(&mut self, class: Class, bytes: u64, essential: bool) {
        if !essential {
            if self.budget.try_reserve(class, bytes) {
                self.reserved[class.index()] += bytes;
                self.link.reserved(class, bytes, false);
            }
        } else if bytes > self.budget.largest() {
            self.link.denied(class, self.budget.largest());
        } else if self.budget.reserve_or_wait(class, bytes, Borrower::Link) {
            self.reserved[class.index()] += bytes;
            self.link.reserved(class, bytes, true);
        }
    }

    fn give_back(&mut self, class: Class, bytes: u64) {
        for (who, bytes) in self.budget.release(class, bytes) {
            match who {
                Borrower::Others => {
                    self.others[class.index()] = bytes;
                    self.others_wait[class.index()] = false;
                }
                Borrower::Link => {
                    self.reserved[class.index()] += bytes;
                    self.link.reserved(class, bytes, true);
                }
            }
        }
    }

    /// The context's other links take most of the budget as soon as they can.
    pub fn lend_to_others(&mut self) {
        let most = self.budget.largest();
        for class in Class::ALL {
            let index = class.index();
            if self.others[index] > 0 || self.others_wait[index] {
                continue;
            }
            if self.budget.reserve_or_wait(class, most, Borrower::Others) {
                self.others[index] = most;
            } else {
                self.others_wait[index] = true;
            }
        }
    }

    pub fn others_give_back(&mut self) {
        for class in Class::ALL {
            let bytes = std::mem::take(&mut self.others[class.index()]);
            self.give_back(class, bytes);
        }
    }

    /// What holds between any two steps.
    pub fn check(&mut self) {
        self.link.assert_invariants();
        for lane in Lane::ALL {
            let progress = self.link.progress(lane);
            assert!(progress.acknowledged <= progress.sent && progress.sent <= progress.accepted);
        }
        assert_eq!(self.link.reservations(), self.reserved, "what was lent is known to the link");
        assert!(
            self.reserved.iter().zip(self.others).all(|(ours, others)| ours + others <= self.capacity / 2),
            "more was lent than there is"
        );
        assert_eq!(self.budget.lent(), self.lent() + self.others.iter().sum::<u64>());
    }

    /// What was passed on here is a prefix of what the peer has sent, but for what was given up; each once.
    pub fn check_order(&mut self, sender: &Side) {
        let mut seen: BTreeSet<u64> = self.heard[..self.checked].iter().map(|heard| heard.tag).collect();
        let mut last = self.heard[..self.checked].iter().rev().find(|heard| !heard.express).map(|h| h.tag);
        for heard in &self.heard[self.checked..] {
            assert!(seen.insert(heard.tag), "{} was passed on twice", heard.tag);
            if heard.express {
                continue;
            }
            assert!(last.is_none_or(|last| last < heard.tag), "{} came after {last:?}", heard.tag);
            let from = last.map_or(0, |last| last + 1);
            for (tag, missing) in sender.sent.range(from..heard.tag) {
                let excused = missing.express || missing.lost || sender.ended.contains_key(tag);
                assert!(excused || seen.contains(tag), "{} came without {tag}", heard.tag);
            }
            last = Some(heard.tag);
        }
        self.checked = self.heard.len();
        for (tag, ends) in &sender.ended {
            let not_run = ends.iter().any(|end| {
                matches!(end, Ended::Timeout(Execution::NotRun) | Ended::Disconnected(_, Execution::NotRun))
                    || matches!(end, Ended::Withdrawn | Ended::TooLarge(_))
            });
            assert!(!not_run || !seen.contains(tag), "{tag} ran, and ended {ends:?}");
        }
    }

    /// Everything that was asked of this side has ended or arrived.
    pub fn assert_drained(&self, peer: &Side) {
        assert!(self.violations.is_empty(), "{:?}", self.violations);
        assert!(peer.violations.is_empty(), "{:?}", peer.violations);
        assert_eq!(self.link.in_flight(), 0, "a call hangs");
        assert!(self.link.is_drained(), "a message hangs: {:?}\n{:?}", self.link, peer.link);
        for (tag, sent) in &self.sent {
            assert!(!sent.reply || self.ended.contains_key(tag), "the call {tag} never ended");
            let known = sent.lost || self.ended.get(tag).is_some_and(|ends| ends != &[Ended::Accepted]);
            assert!(known || peer.heard_of(*tag).is_some(), "{tag} is lost");
        }
    }

    /// How much of its budget is lent.
    pub fn lent(&self) -> u64 {
        self.reserved.iter().sum()
    }

    /// How much lies here that no handler has taken.
    pub fn unconsumed(&self) -> u64 {
        self.heard.iter().filter(|heard| !heard.express && !heard.consumed).map(|heard| heard.cost).sum()
    }
}

fn ended(outcome: Outcome<Vec<u8>>) -> Ended {
    match outcome {
        Outcome::Reply(incoming) => Ended::Reply(tag_of(&incoming)),
        Outcome::Accepted | Outcome::Beat(_) => Ended::Accepted,
        Outcome::Timeout(execution) => Ended::Timeout(execution),
        Outcome::Disconnected { reason, execution } => Ended::Disconnected(reason, execution),
        Outcome::TooLarge { limit, .. } => Ended::TooLarge(limit),
        Outcome::Overloaded => Ended::Overloaded,
        other => panic!("{other:?} is new"),
    }
}

/// The time-outs that are tested.
pub const DEAD_AFTER: Duration = Duration::from_secs(4);
