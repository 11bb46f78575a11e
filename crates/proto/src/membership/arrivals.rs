//! How somebody comes in: what is learnt of it and from whom, whether it is let in, and what it is told.

use super::notice::{Effect, Notice, Refusal, shake_parts};
use super::roster::{Contact, Peer, Standing};
use super::{Membership, Proof, Role, Source};
use crate::identity::Instance;
use crate::limits::{MAX_ADDRESS, MAX_RUNTIMES};
use crate::reason::Reason;
use crate::time::Time;
use crate::topology::Place;
use crate::uid::Uid;

impl Membership {
    /// Why this life of `uid` cannot be let in as things stand.
    pub(super) fn refusal(&self, uid: &Uid, place: &Place) -> Option<Refusal> {
        if let Some(reason) = self.graves.reason(uid, place.instance) {
            return Some(Refusal::Dead { reason: reason.clone() });
        }
        if place.address.len() > MAX_ADDRESS {
            return Some(Refusal::Address);
        }
        match self.roster.topology().get(uid) {
            Some(holder) if holder.instance != place.instance => {
                Some(Refusal::Taken { holder: holder.clone() })
            }
            None if self.roster.topology().len() >= MAX_RUNTIMES => Some(Refusal::Full),
            _ => None,
        }
    }

    pub(super) fn refuse(&mut self, uid: &Uid, instance: Instance, why: Refusal) {
        if let Refusal::Dead { reason } = &why
            && self.is_monitor()
        {
            self.tell_the_condemned(uid, instance, reason);
        }
        self.effects.push_back(Effect::Refuse { to: uid.clone(), instance, why });
    }

    /// `source` says that `uid` is there.
    pub(super) fn learn(&mut self, now: Time, uid: &Uid, place: Place, source: Source) {
        if *uid == self.me {
            return;
        }
        match self.refusal(uid, &place) {
            None => {}
            Some(Refusal::Taken { .. }) if source == Source::Monitor => {
                let by = place.instance;
                if !self.claims.is_of(uid, by)
                    && let Some(other) = self.claims.take(uid)
                {
                    self.refuse(uid, other.place.instance, Refusal::Taken { holder: place.clone() });
                }
                let before = self.roster.topology().get(uid).expect("it is taken").instance;
                self.gone(now, uid, before, Reason::Replaced { by }, Proof::Monitor);
            }
            Some(Refusal::Dead { reason }) if source == Source::Monitor => {
                // A monitor that came back cannot know who died before; it is told, or we would disagree for ever.
                return self.report_gone(now, uid, place.instance, reason);
            }
            Some(Refusal::Taken { .. } | Refusal::Dead { .. }) => return self.ignored.stale += 1,
            Some(Refusal::Full | Refusal::Address) => return self.ignored.oversized += 1,
        }
        if self.roster.topology().contains(uid) {
            self.learn_more(now, uid, place, source);
        } else {
            self.admit(now, uid, place, source);
        }
    }

    pub(super) fn admit(&mut self, now: Time, uid: &Uid, mut place: Place, source: Source) {
        let claim = self.claims.take(uid);
        let mut contact = Contact::None;
        let mut owes_shake = false;
        match claim {
            Some(claim) if claim.place.instance == place.instance => {
                contact = Contact::Up;
                owes_shake = claim.owes_shake;
                if !place.is_known() {
                    place = claim.place;
                }
            }
            Some(other) => self.refuse(uid, other.place.instance, Refusal::Taken { holder: place.clone() }),
            None => {}
        }
        self.roster.add(uid, place.clone(), Peer::new(standing(source), contact));
        self.effects.push_back(Effect::Connected { uid: uid.clone(), place: place.clone() });
        self.weigh(now, uid, source);
        if let Role::Monitor(spread) = &mut self.role
            && standing(source) == Standing::Shaken
        {
            spread.joined(now, uid, &place);
        }
        if owes_shake {
            self.shake_hands(uid);
        }
    }

    /// `source` mentions a runtime that is known.
    pub(super) fn learn_more(&mut self, now: Time, uid: &Uid, place: Place, source: Source) {
        let before = self.roster.topology().get(uid).expect("it is known");
        let moved = place.is_known()
            && (source >= Source::Caller || !before.is_known())
            && self.roster.move_to(uid, place.clone());
        let promoted = self.roster.promote(uid, standing(source));
        if source == Source::Monitor {
            self.weigh(now, uid, source);
        }
        let place = self.roster.topology().get(uid).expect("it is known");
        if let Role::Monitor(spread) = &mut self.role
            && (promoted
                || (moved && self.roster.peer(uid).is_some_and(|peer| peer.standing == Standing::Shaken)))
        {
            spread.joined(now, uid, place);
        }
    }

    /// Answers a hand with the network as we know it, ourselves included.
    pub(super) fn shake_hands(&mut self, uid: &Uid) {
        if let Role::Monitor(spread) = &mut self.role {
            for news in spread.enrol(uid) {
                self.send(uid, Notice::News(news));
            }
        }
        let vouched = self.roster.peers().filter(|(_, peer)| peer.standing == Standing::Shaken);
        let known = vouched.filter_map(|(uid, _)| Some((uid.clone(), self.who(uid)?.clone())));
        for part in shake_parts(known) {
            self.send(uid, part);
        }
    }
}

fn standing(source: Source) -> Standing {
    match source {
        Source::Hearsay | Source::Caller => Standing::Provisional,
        Source::Voucher | Source::Itself | Source::Monitor => Standing::Shaken,
    }
}
