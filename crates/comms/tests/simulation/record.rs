//! What has happened in a course: lives of runtimes, messages, tidings, faults. Written by the `world`, judged by the
//! `invariants`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mosaic_comms::{Event, Execution, Inspection, Instance, Reason, Session};

/// Time since the course began.
pub(crate) type Moment = Duration;

/// One life of a runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LifeId(pub(crate) usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Its process was killed: connections end, dials are refused.
    Killed,
    /// Its host is gone without a word.
    Vanished,
    /// It said goodbye.
    Left,
}

pub(crate) struct Life {
    pub(crate) uid: &'static str,
    pub(crate) instance: Instance,
    pub(crate) born: Moment,
    pub(crate) end: Option<(Moment, End)>,
    /// Who is there, as it was told, and since when.
    pub(crate) present: BTreeMap<String, (LifeId, Moment)>,
    /// Whose end it was told.
    pub(crate) gone: BTreeSet<LifeId>,
    /// What it was told by events and by hooks, in order: who, and whether it came or went.
    pub(crate) told: [Vec<(String, bool)>; 2],
    pub(crate) views: Vec<Inspection>,
    pub(crate) lent: u64,
    pub(crate) budget: u64,
}

/// How a call ended for its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    Result,
    Failed(Execution, String),
}

pub(crate) struct Message {
    pub(crate) from: LifeId,
    pub(crate) to: &'static str,
    /// Its place in the order of those from one life to one uid; express ones have none.
    pub(crate) order: Option<u32>,
    pub(crate) wants_reply: bool,
    pub(crate) at: Moment,
    /// How long its handler takes.
    pub(crate) work: Duration,
    pub(crate) deadline: Option<Moment>,
    /// When its future was dropped.
    pub(crate) dropped: Option<Moment>,
    pub(crate) accepted: bool,
    pub(crate) starts: u32,
    /// Where it started, and the order of the one that started before it there.
    pub(crate) started: Option<(LifeId, Option<u32>)>,
    pub(crate) ended: Option<(Moment, Ending)>,
}

/// Nothing was delivered between two, one way or both ways.
pub(crate) struct Hold {
    pub(crate) between: [&'static str; 2],
    lives: [LifeId; 2],
    pub(crate) since: Moment,
    pub(crate) until: Option<Moment>,
}

/// Somebody was told that somebody is out of reach.
pub(crate) struct Lost {
    pub(crate) by: LifeId,
    pub(crate) uid: String,
    pub(crate) at: Moment,
    pub(crate) reason: Reason,
}

/// Somebody was told that somebody is gone.
pub(crate) struct Gone {
    pub(crate) by: LifeId,
    pub(crate) life: LifeId,
    pub(crate) at: Moment,
    pub(crate) reason: Reason,
}

#[derive(Default)]
pub(crate) struct Record {
    pub(crate) now: Moment,
    pub(crate) lives: Vec<Life>,
    pub(crate) messages: Vec<Message>,
    /// The messages that something was noted of since the last check.
    pub(crate) touched: BTreeSet<usize>,
    /// Calls that have not ended.
    pub(crate) open: BTreeSet<usize>,
    /// The messages of one life to one uid in their order.
    pub(crate) ordered: BTreeMap<(LifeId, &'static str), Vec<usize>>,
    started_last: BTreeMap<(LifeId, LifeId), u32>,
    pub(crate) holds: Vec<Hold>,
    pub(crate) lost: Vec<Lost>,
    pub(crate) gone: Vec<Gone>,
    /// When the last fault touched a uid.
    disturbed: BTreeMap<&'static str, Moment>,
    /// When all clocks jumped last.
    pub(crate) jumped: Option<Moment>,
    /// The session that one life has with another, those that have ended, and whether one of them has come back.
    pub(crate) sessions: BTreeMap<(LifeId, LifeId), Sessions>,
    /// Since when there have been more connections between two that live than lanes.
    pub(crate) crowded: BTreeMap<[&'static str; 2], Moment>,
    /// What came or went twice, or went without having come.
    pub(crate) twice: Option<String>,
}

#[derive(Default)]
pub(crate) struct Sessions {
    current: Option<Session>,
    past: Vec<Session>,
    pub(crate) returned: bool,
}

impl Sessions {
    pub(crate) fn note(&mut self, session: Option<Session>) {
        if self.current == session {
            return;
        }
        self.past.extend(self.current.take());
        self.returned |= session.is_some_and(|session| self.past.contains(&session));
        self.current = session;
    }
}

impl Record {
    pub(crate) fn life(&self, id: LifeId) -> &Life {
        &self.lives[id.0]
    }

    pub(crate) fn is_alive(&self, id: LifeId) -> bool {
        self.life(id).end.is_none()
    }

    pub(crate) fn alive(&self) -> impl Iterator<Item = (LifeId, &Life)> {
        self.lives
            .iter()
            .enumerate()
            .map(|(n, life)| (LifeId(n), life))
            .filter(|(_, life)| life.end.is_none())
    }

    pub(crate) fn by_instance(&self, instance: Instance) -> Option<LifeId> {
        self.lives.iter().position(|life| life.instance == instance).map(LifeId)
    }

    /// A message is about to be sent.
    pub(crate) fn sent(&mut self, message: Message) -> usize {
        let id = self.messages.len();
        if message.order.is_some() {
            self.ordered.entry((message.from, message.to)).or_default().push(id);
        }
        if message.wants_reply {
            self.open.insert(id);
        }
        self.messages.push(message);
        id
    }

    /// The next place in the order of messages from one to another.
    pub(crate) fn next_order(&self, from: LifeId, to: &'static str) -> u32 {
        self.ordered.get(&(from, to)).map_or(0, |ids| u32::try_from(ids.len()).unwrap())
    }

    /// Its handler begins. What a dead process would have done is not done; who leaves first does what it has taken.
    pub(crate) fn started(&mut self, id: usize, at: LifeId) {
        if self.life(at).end.is_some_and(|(_, how)| how != End::Left) {
            return;
        }
        let message = &mut self.messages[id];
        message.starts += 1;
        let before = match message.order {
            Some(order) => self.started_last.insert((message.from, at), order),
            None => None,
        };
        message.started = Some((at, before));
        self.touched.insert(id);
    }

    pub(crate) fn ended(&mut self, id: usize, ending: Ending) {
        self.open.remove(&id);
        if self.is_alive(self.messages[id].from) {
            self.messages[id].ended = Some((self.now, ending));
            self.touched.insert(id);
        }
    }

    pub(crate) fn heard(&mut self, by: LifeId, event: &Event) {
        if !self.is_alive(by) {
            return;
        }
        let now = self.now;
        match event {
            Event::Connected { uid, place } => {
                self.lives[by.0].told[0].push((uid.to_string(), true));
                let Some(life) = self.by_instance(place.instance) else {
                    return self.twice = Some(format!("{uid} was never alive as {:?}", place.instance));
                };
                let observer = &mut self.lives[by.0];
                let again = observer.gone.contains(&life);
                if observer.present.insert(uid.to_string(), (life, now)).is_some() || again {
                    self.twice = Some(format!("{} hears twice that {uid} is there", observer.uid));
                }
            }
            Event::Disconnected { uid, reason } => {
                let observer = &mut self.lives[by.0];
                observer.told[0].push((uid.to_string(), false));
                let Some((life, _)) = observer.present.remove(uid.as_str()) else {
                    return self.twice = Some(format!("{} hears twice that {uid} is gone", observer.uid));
                };
                observer.gone.insert(life);
                self.gone.push(Gone { by, life, at: now, reason: reason.clone() });
            }
            Event::Unreachable { uid, reason } => {
                self.lost.push(Lost { by, uid: uid.to_string(), at: now, reason: reason.clone() });
            }
            _ => {}
        }
    }

    /// A fault begins or ends.
    pub(crate) fn disturb(&mut self, uid: &'static str) {
        self.disturbed.insert(uid, self.now);
    }

    /// Since when nothing is wrong with these.
    pub(crate) fn calm_since(&self, uids: &[&str]) -> Moment {
        let held = |hold: &&Hold| hold.until.is_none() && hold.between.iter().any(|uid| uids.contains(uid));
        if self.holds.iter().any(|hold| held(&hold)) {
            return self.now;
        }
        let last = uids.iter().filter_map(|uid| self.disturbed.get(uid)).max();
        last.copied().unwrap_or_default().max(self.jumped.unwrap_or_default())
    }

    pub(crate) fn hold(&mut self, lives: [LifeId; 2]) {
        let between = lives.map(|id| self.life(id).uid);
        self.holds.push(Hold { between, lives, since: self.now, until: None });
        between.iter().for_each(|uid| self.disturb(uid));
    }

    /// All holds between these two end.
    pub(crate) fn deliver(&mut self, lives: [LifeId; 2]) {
        let now = self.now;
        let between_them = |hold: &&mut Hold| lives.iter().all(|id| hold.lives.contains(id));
        let ended = self.holds.iter_mut().filter(|hold| hold.until.is_none()).filter(between_them);
        ended.for_each(|hold| hold.until = Some(now));
        lives.iter().for_each(|id| self.disturb(self.life(*id).uid));
    }

    /// Connections between two that live are counted. A stranger's dial may be among them, for a moment.
    pub(crate) fn crowd(&mut self, connections: Vec<([&'static str; 2], usize)>) {
        for (between, count) in connections {
            if count > 2 {
                self.crowded.entry(between).or_insert(self.now);
            } else {
                self.crowded.remove(&between);
            }
        }
    }

    /// For how long nothing was delivered between two, of the time since `from`.
    pub(crate) fn held(&self, between: [&str; 2], from: Moment) -> Duration {
        let holds = self.holds.iter().filter(|hold| same(&hold.between, &between));
        let within = holds.map(|hold| hold.until.unwrap_or(self.now).saturating_sub(hold.since.max(from)));
        within.max().unwrap_or_default()
    }

    /// Whether a session between two has ended after `from`, by anybody's word or by an end.
    pub(crate) fn session_lost(&self, one: &str, other: &str, from: Moment) -> bool {
        let pair = [one, other];
        let lost = |lost: &Lost| lost.at >= from && same(&[self.life(lost.by).uid, &lost.uid], &pair);
        let over = |life: &Life| pair.contains(&life.uid) && life.end.is_some_and(|(at, _)| at >= from);
        let gone =
            |gone: &Gone| gone.at >= from && same(&[self.life(gone.by).uid, self.life(gone.life).uid], &pair);
        self.lost.iter().any(lost) || self.gone.iter().any(gone) || self.lives.iter().any(over)
    }
}

fn same(one: &[&str; 2], other: &[&str; 2]) -> bool {
    one == other || (one[0] == other[1] && one[1] == other[0])
}
