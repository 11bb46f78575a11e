//! The side of everybody who is not the monitor: what the monitor vouches for, what we report to it, and whom to
//! believe when a uid is claimed.
//!
//! Each shake of the monitor is a *round*. Rounds of one monitor instance form an era: whoever it vouched for in this
//! era and no longer names is gone, for this monitor has seen it go. Whoever only an earlier monitor (or nobody)
//! vouched for is in doubt: it gets a grace time to introduce itself to the new one.

use std::collections::BTreeMap;

use super::claims::Claim;
use super::notice::{News, Notice, Refusal, news_parts};
use super::roster::Contact;
use super::{Life, Membership, Proof, Role, Source};
use crate::identity::Instance;
use crate::limits::{MAX_REPORTS, REPORT_DELAY, TOPOLOGY_GRACE};
use crate::reason::Reason;
use crate::time::Time;
use crate::topology::Place;
use crate::uid::Uid;

/// Where we stand with the monitor.
#[derive(Debug, Default)]
pub(super) struct Member {
    greeting: Greeting,
    /// Counts the monitor's shakes.
    round: u64,
    /// The first round of the monitor whose shake we have.
    era: u64,
    /// Whether a shake has begun and is not complete.
    arriving: bool,
    /// The monitor whose complete shake we have.
    settled: Option<Instance>,
    reports: Reports,
}

/// Whether we have introduced ourselves to the monitor.
#[derive(Debug, Default, PartialEq, Eq)]
enum Greeting {
    /// We never did.
    #[default]
    Unsaid,
    /// In this session with it, or before its first one.
    Said,
    /// In a session that has ended: what it told us since may be lost.
    Stale,
}

/// What the monitor is to hear from us, kept until it says the same: it may die before it has spread it.
#[derive(Debug, Default)]
struct Reports {
    gone: BTreeMap<(Uid, Instance), (Reason, Told)>,
    joined: BTreeMap<Uid, Place>,
    due: Option<Time>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    No,
    Yes,
}

impl Member {
    pub(super) fn introduced(&mut self) {
        self.greeting = Greeting::Said;
    }

    /// The monitor is gone; another one may come.
    pub(super) fn monitor_gone(&mut self) {
        self.settled = None;
        self.monitor_out_of_reach();
    }

    /// The session with the monitor has ended.
    pub(super) fn monitor_out_of_reach(&mut self) {
        self.arriving = false;
        if self.greeting == Greeting::Said {
            self.greeting = Greeting::Stale;
        }
    }

    pub(super) fn report_joined(&mut self, now: Time, uid: &Uid, place: Place) {
        if self.reports.joined.len() < MAX_REPORTS {
            self.reports.joined.insert(uid.clone(), place);
            self.reports.hurry(now);
        }
    }

    /// The monitor says itself what we report.
    pub(super) fn report_confirmed(&mut self, uid: &Uid, instance: Instance) {
        self.reports.gone.remove(&(uid.clone(), instance));
    }
}

impl Reports {
    fn hurry(&mut self, now: Time) {
        self.due.get_or_insert(now + REPORT_DELAY);
    }

    /// What has not been told yet.
    fn take_untold(&mut self) -> News {
        self.due = None;
        let joined = std::mem::take(&mut self.joined).into_iter().collect();
        let untold = self.gone.iter_mut().filter(|(_, (_, told))| *told == Told::No);
        let gone = untold.map(|((uid, instance), (reason, told))| {
            *told = Told::Yes;
            (uid.clone(), *instance, reason.clone())
        });
        News { gone: gone.collect(), joined }
    }

    /// Everything is to be told once more, to a monitor that may not have heard it.
    fn repeat(&mut self, now: Time) {
        self.gone.values_mut().for_each(|(_, told)| *told = Told::No);
        if !self.gone.is_empty() {
            self.hurry(now);
        }
    }
}

/// The monitor's word.
impl Membership {
    /// Whether the monitor's word is to be had: we know its network and a session with it is up.
    pub(super) fn monitor_is_heard(&self) -> bool {
        let Role::Member(member) = &self.role else { return false };
        let monitor = self.roster.peer(Uid::MONITOR);
        member.settled.is_some() && monitor.is_some_and(|monitor| monitor.contact == Contact::Up)
    }

    /// A new session with `uid` is up: if it is the monitor, it may have to be asked for the network again.
    pub(super) fn introduce_again(&mut self, uid: &Uid) {
        let Role::Member(member) = &self.role else { return };
        if uid.is_monitor() && member.greeting == Greeting::Stale && self.life == Life::Here {
            self.introduce(uid);
        }
    }

    /// `uid` is there because `source` says so: the monitor's word settles it, any other leaves it in doubt.
    pub(super) fn weigh(&mut self, now: Time, uid: &Uid, source: Source) {
        let Role::Member(member) = &self.role else { return };
        if source == Source::Monitor {
            self.roster.vouch(uid, member.round);
        } else if member.settled.is_some() && !uid.is_monitor() {
            self.roster.doubt(uid, now + TOPOLOGY_GRACE);
        }
    }

    /// A part of the monitor's shake has come.
    pub(super) fn begin_round(&mut self) {
        if let Role::Member(member) = &mut self.role
            && !member.arriving
        {
            member.arriving = true;
            member.round += 1;
        }
    }

    /// The monitor's shake is complete.
    pub(super) fn end_round(&mut self, now: Time) {
        let monitor = self.roster.topology().get(Uid::MONITOR).map(|place| place.instance);
        let Role::Member(member) = &mut self.role else { return };
        member.arriving = false;
        if monitor.is_none() || member.settled != monitor {
            member.era = member.round;
            member.settled = monitor;
        }
        member.reports.repeat(now);
        let (round, era) = (member.round, member.era);
        let unnamed: Vec<(Uid, bool)> = self
            .roster
            .peers()
            .filter(|(uid, peer)| **uid != self.me && !uid.is_monitor() && peer.vouched != Some(round))
            .map(|(uid, peer)| (uid.clone(), peer.vouched.is_some_and(|vouched| vouched >= era)))
            .collect();
        for (uid, seen_to_go) in unnamed {
            if seen_to_go {
                let instance = self.roster.topology().get(&uid).expect("it is a peer").instance;
                self.gone(now, &uid, instance, Reason::Forgotten, Proof::Monitor);
            } else {
                self.roster.doubt(&uid, now + TOPOLOGY_GRACE);
            }
        }
    }
}

/// Reports to the monitor.
impl Membership {
    /// The monitor is to hear that a life of `uid` has ended.
    pub(super) fn report_gone(&mut self, now: Time, uid: &Uid, instance: Instance, reason: Reason) {
        let Role::Member(member) = &mut self.role else { return };
        if member.reports.gone.len() < MAX_REPORTS {
            member.reports.gone.entry((uid.clone(), instance)).or_insert((reason, Told::No));
            member.reports.hurry(now);
        }
    }

    /// When there is something to report to a monitor that listens.
    pub(super) fn reports_due(&self) -> Option<Time> {
        match &self.role {
            Role::Member(member) if self.monitor_is_heard() => member.reports.due,
            _ => None,
        }
    }

    pub(super) fn send_reports(&mut self) {
        let Role::Member(member) = &mut self.role else { return };
        if !self.roster.topology().contains(Uid::MONITOR) {
            return;
        }
        let monitor = Uid::new(Uid::MONITOR).expect("the name is a uid");
        for news in news_parts(member.reports.take_untold()) {
            self.send(&monitor, Notice::News(news));
        }
    }
}

/// Claims on a uid that another instance holds.
impl Membership {
    /// A caller with the uid of somebody else: the news of the change may still be on their way to us.
    pub(super) fn claim(&mut self, now: Time, uid: &Uid, place: Place) {
        let claimant = place.clone();
        if let Some(earlier) = self.claims.put(uid.clone(), Claim::new(now, place))
            && earlier.place.instance != claimant.instance
        {
            self.refuse(uid, earlier.place.instance, Refusal::Taken { holder: claimant });
        }
        if !self.monitor_is_heard() {
            self.settle_claim(now, uid);
        }
    }

    /// The monitor has had its time, or is not there, or the uid is free: the claim on it is decided.
    pub(super) fn settle_claim(&mut self, now: Time, uid: &Uid) {
        let Some(claim) = self.claims.get(uid) else { return };
        let place = claim.place.clone();
        let held_by_link = self.roster.peer(uid).is_some_and(|holder| holder.contact == Contact::Up);
        if self.connected(uid) && !self.monitor_is_heard() && !held_by_link {
            // Nobody can say who is right, and only the claimant is heard of. This comes back here with a free uid.
            return self.let_go(now, uid, Reason::Replaced { by: place.instance });
        }
        match self.refusal(uid, &place) {
            Some(why) => {
                self.claims.take(uid);
                self.refuse(uid, place.instance, why);
            }
            None => {
                self.learn(now, uid, place, Source::Caller);
                self.introduce_again(uid);
            }
        }
    }
}
