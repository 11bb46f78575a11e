//! How somebody goes: what proves it, who is told, and what becomes of its uid.

use super::notice::{Effect, News, Notice, Refusal};
use super::roster::{Contact, Standing};
use super::{Life, Membership, Proof, Role};
use crate::identity::Instance;
use crate::limits::TOPOLOGY_GRACE;
use crate::reason::Reason;
use crate::time::Time;
use crate::uid::Uid;

impl Membership {
    /// A life of `uid` has ended, for good.
    pub(super) fn gone(&mut self, now: Time, uid: &Uid, instance: Instance, reason: Reason, proof: Proof) {
        let news = self.graves.insert(uid, instance, &reason);
        if self.claims.remove(uid, instance) && proof != Proof::OwnLink {
            self.refuse(uid, instance, Refusal::Dead { reason: reason.clone() });
        }
        if self.roster.topology().holds(uid, instance) {
            if proof == Proof::Report {
                self.tell_the_condemned(uid, instance, &reason);
            }
            if proof != Proof::OwnLink {
                self.effects.push_back(Effect::End { uid: uid.clone(), instance, reason: reason.clone() });
            }
            self.let_go(now, uid, reason.clone());
        }
        match &mut self.role {
            Role::Monitor(spread) if news => spread.gone(now, uid, instance, &reason),
            Role::Monitor(_) => {}
            Role::Member(member) if proof == Proof::Monitor => member.report_confirmed(uid, instance),
            Role::Member(_) if uid.is_monitor() || !news => {}
            Role::Member(_) => self.report_gone(now, uid, instance, reason),
        }
    }

    /// Takes `uid` out of the topology; whether it may come back is not decided here.
    pub(super) fn let_go(&mut self, now: Time, uid: &Uid, reason: Reason) {
        let Some((place, _)) = self.roster.remove(uid) else { return };
        self.effects.push_back(Effect::Disconnected { uid: uid.clone(), instance: place.instance, reason });
        match &mut self.role {
            Role::Monitor(spread) => spread.dismiss(uid),
            Role::Member(member) if uid.is_monitor() => member.monitor_gone(),
            Role::Member(_) => {}
        }
        self.settle_claim(now, uid);
    }

    /// Another life of `uid` has called us, the monitor. The one before is gone if nobody answers for it any more: its
    /// host may have ended without a word, and nothing would ever prove it.
    pub(super) fn replace_unreachable(&mut self, now: Time, uid: &Uid, by: Instance) {
        let Some(holder) = self.roster.topology().get(uid).map(|place| place.instance) else { return };
        if self.is_monitor() && holder != by && self.unreachable(uid) && self.graves.reason(uid, by).is_none()
        {
            self.gone(now, uid, holder, Reason::Replaced { by }, Proof::OwnLink);
        }
    }

    /// The session with `uid` has ended and nothing is proven.
    pub(super) fn lose_contact(&mut self, now: Time, uid: &Uid, instance: Instance, reason: Reason) {
        let Some(peer) = self.roster.peer_mut(uid, instance) else { return };
        peer.contact = Contact::Unreachable;
        let provisional = peer.standing == Standing::Provisional;
        match &mut self.role {
            Role::Monitor(spread) => spread.dismiss(uid),
            Role::Member(member) if uid.is_monitor() => member.monitor_out_of_reach(),
            Role::Member(_) => {}
        }
        // Who has not introduced itself yet may be about to: its hand may be what the silence has swallowed.
        if self.is_monitor() && provisional {
            self.roster.doubt(uid, now + TOPOLOGY_GRACE);
        }
        if self.monitor_is_heard() && self.roster.overdue(uid, now) {
            self.let_go(now, uid, reason);
        }
    }

    /// Somebody says that we are dead.
    pub(super) fn condemn(&mut self, sender: &Uid, instance: Instance, reason: Reason) {
        if !sender.is_monitor() || self.is_monitor() || instance != self.place.instance {
            self.ignored.hearsay += 1;
        } else if self.life != Life::Condemned {
            self.life = Life::Condemned;
            self.effects.push_back(Effect::Condemned { reason });
        }
    }

    pub(super) fn tell_the_condemned(&mut self, uid: &Uid, instance: Instance, reason: &Reason) {
        let gone = vec![(uid.clone(), instance, reason.clone())];
        self.send(uid, Notice::News(News { gone, joined: Vec::new() }.into()));
    }
}
