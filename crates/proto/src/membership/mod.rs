//! Who is in the network, as one state machine in two roles: the monitor, and everybody else.
//!
//! ```text
//! joiner   --hand-->  monitor   --shake-->  joiner      introduce, hand, shake
//! monitor  --news-->  everybody                         soon after a change, one delta a member
//! member   --news-->  monitor                           what its own links prove: who is dead, who has left
//! ```
//! Who is believed: the monitor in everything; everybody about itself; a link about whom it joins us to; anybody
//! else only about who is there, until the monitor says otherwise. Who is dead stays dead, whatever comes late. All
//! that is assumed of the network is that what one runtime sends to another arrives in order while a session lasts.
//!
//! The driver calls the inputs, then drains [`Membership::poll_effect`]. It reports each *session* of a link once
//! ([`Membership::link_up`], [`Membership::link_ended`]), not each connection, and holds a caller's messages back
//! until it is [`Effect::Connected`] or [`Effect::Refuse`]d. This machine knows no sockets and does not judge links.

mod arrivals;
mod claims;
mod departures;
mod graves;
mod member;
mod notice;
mod roster;
mod spread;

use std::collections::VecDeque;

pub use notice::{Effect, News, Notice, Notify, Part, Refusal, Verdict};

use crate::identity::Instance;
use crate::reason::Reason;
use crate::time::Time;
use crate::topology::{Place, Topology};
use crate::uid::Uid;
use claims::Claims;
use graves::Graves;
use member::Member;
use roster::{Contact, Peer, Roster, Standing};
use spread::Spread;

/// What was heard and not acted upon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ignored {
    /// News of lives that have ended, or of a uid that another instance holds.
    pub stale: u64,
    /// Word that somebody is gone, from one who cannot know.
    pub hearsay: u64,
    /// Entries beyond [`MAX_RUNTIMES`](crate::limits::MAX_RUNTIMES), or with an address longer than
    /// [`MAX_ADDRESS`](crate::limits::MAX_ADDRESS).
    pub oversized: u64,
}

/// Who is in the network, as one runtime sees it.
#[derive(Debug)]
pub struct Membership {
    me: Uid,
    place: Place,
    role: Role,
    life: Life,
    roster: Roster,
    graves: Graves,
    claims: Claims,
    effects: VecDeque<Effect>,
    ignored: Ignored,
}

#[derive(Debug)]
enum Role {
    Monitor(Spread),
    Member(Member),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Here,
    Leaving,
    Condemned,
}

/// From where it is known that a runtime is there, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    /// Somebody who is not the monitor says so.
    Hearsay,
    /// Somebody who is not the monitor vouches for it in a shake.
    Voucher,
    /// It called us.
    Caller,
    /// It introduced itself.
    Itself,
    /// The monitor says so.
    Monitor,
}

/// From where it is known that a runtime is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// Its link has ended so, or it says so itself: the link needs no telling.
    OwnLink,
    /// A member reports it to us, the monitor.
    Report,
    /// The monitor says so.
    Monitor,
}

impl Membership {
    /// The membership of the runtime `me`, reachable at `place`, which so far knows only itself. It is the monitor
    /// if it is called so.
    pub fn new(me: Uid, place: Place) -> Membership {
        let role =
            if me.is_monitor() { Role::Monitor(Spread::default()) } else { Role::Member(Member::default()) };
        let mut roster = Roster::default();
        roster.add(&me, place.clone(), Peer::new(Standing::Shaken, Contact::None));
        Membership {
            me,
            place,
            role,
            life: Life::Here,
            roster,
            graves: Graves::default(),
            claims: Claims::default(),
            effects: VecDeque::new(),
            ignored: Ignored::default(),
        }
    }

    /// Starts the handshake with `to`. With the monitor it is repeated whenever a new session with it begins.
    pub fn introduce(&mut self, to: &Uid) {
        if let Role::Member(member) = &mut self.role
            && to.is_monitor()
        {
            member.introduced();
        }
        self.send(to, Notice::Hand { uid: self.me.clone(), place: self.place.clone() });
    }

    /// `sender` introduces itself.
    pub fn hand(&mut self, now: Time, sender: &Uid, place: Place) {
        let instance = place.instance;
        if let Some(why) = self.refusal(sender, &place) {
            return match self.claims.get_mut(sender, instance) {
                Some(claim) if matches!(why, Refusal::Taken { .. }) => claim.handed(place),
                _ => self.refuse(sender, instance, why),
            };
        }
        self.learn(now, sender, place, Source::Itself);
        self.shake_hands(sender);
    }

    /// `sender` answers our hand with a part of its network.
    pub fn shake(&mut self, now: Time, sender: &Uid, network: Vec<(Uid, Place)>, part: Part) {
        let source = if sender.is_monitor() { Source::Monitor } else { Source::Voucher };
        if source == Source::Monitor {
            self.begin_round();
        }
        for (uid, place) in network {
            self.learn(now, &uid, place, source);
        }
        if part == Part::Last {
            if source == Source::Monitor {
                self.end_round(now);
            }
            self.effects.push_back(Effect::ShakeDone { from: sender.clone() });
        }
    }

    /// `sender` says what has changed.
    pub fn news(&mut self, now: Time, sender: &Uid, news: &News) {
        let notify = if self.is_monitor() { Notify::Others } else { Notify::Nobody };
        for (uid, instance, reason) in &news.gone {
            self.disconnect(now, sender, uid, *instance, reason.clone(), notify);
        }
        for (uid, place) in &news.joined {
            self.connect(now, sender, uid, place.clone(), notify);
        }
    }

    /// `sender` says that `uid` is there.
    pub fn connect(&mut self, now: Time, sender: &Uid, uid: &Uid, place: Place, notify: Notify) {
        let source = match sender {
            _ if sender == uid => Source::Itself,
            _ if sender.is_monitor() => Source::Monitor,
            // What the monitor passes on, it vouches for: its shakes have to hold whatever its news have held.
            _ if self.is_monitor() && notify == Notify::Others => Source::Voucher,
            _ => Source::Hearsay,
        };
        self.learn(now, uid, place.clone(), source);
        if let Role::Member(member) = &mut self.role
            && notify == Notify::Others
            && !sender.is_monitor()
            && self.roster.topology().holds(uid, place.instance)
        {
            member.report_joined(now, uid, place);
        }
    }

    /// `sender` says that a life of `uid` has ended.
    ///
    /// It is believed if `sender` is the monitor, `uid` itself or ourselves, and by the monitor from anybody.
    pub fn disconnect(
        &mut self,
        now: Time,
        sender: &Uid,
        uid: &Uid,
        instance: Instance,
        reason: Reason,
        notify: Notify,
    ) {
        let proof = match sender {
            _ if *uid == self.me => return self.condemn(sender, instance, reason),
            _ if sender == uid || *sender == self.me => Proof::OwnLink,
            _ if self.is_monitor() => Proof::Report,
            _ if sender.is_monitor() => Proof::Monitor,
            _ if notify == Notify::Others => return self.report_gone(now, uid, instance, reason),
            _ => return self.ignored.hearsay += 1,
        };
        self.gone(now, uid, instance, reason, proof);
    }

    /// A session with an authenticated runtime has begun. `place` is where it says it listens, if it does.
    pub fn link_up(&mut self, now: Time, uid: &Uid, instance: Instance, place: Option<Place>) {
        let place = place.unwrap_or_else(|| Place::unknown(instance));
        self.replace_unreachable(now, uid, instance);
        match self.refusal(uid, &place) {
            Some(Refusal::Taken { .. }) if !self.is_monitor() && *uid != self.me => {
                self.claim(now, uid, place)
            }
            Some(why) => self.refuse(uid, instance, why),
            None => {
                self.learn(now, uid, place, Source::Caller);
                if let Some(peer) = self.roster.peer_mut(uid, instance) {
                    peer.contact = Contact::Up;
                }
                self.introduce_again(uid);
            }
        }
    }

    /// The session with this life of `uid` has ended, and `verdict` is what that proves. `Dead` and `Left` may also
    /// be said of a runtime to which there was no link, if there is proof.
    pub fn link_ended(&mut self, now: Time, uid: &Uid, instance: Instance, reason: Reason, verdict: Verdict) {
        if *uid == self.me {
            return;
        }
        if verdict == Verdict::Unreachable {
            self.claims.remove(uid, instance);
            self.lose_contact(now, uid, instance, reason);
        } else {
            self.gone(now, uid, instance, reason, Proof::OwnLink);
        }
    }

    /// Where `uid` can be reached, for somebody who asks.
    pub fn who(&self, uid: &str) -> Option<&Place> {
        self.roster.topology().get(uid).filter(|place| place.is_known())
    }

    /// We are about to say goodbye: what is known and not yet said is said now, and nothing after it.
    pub fn leave(&mut self, now: Time) {
        self.flush(now);
        if self.life == Life::Here {
            self.life = Life::Leaving;
        }
    }

    /// A moment that [`Membership::poll_timeout`] gave has come.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.flush_due().is_some_and(|due| due <= now) {
            self.flush(now);
        }
        for uid in self.claims.due(now) {
            self.settle_claim(now, &uid);
        }
        if self.settles_doubts() {
            for uid in self.roster.take_doubted(now) {
                let introduced = self.roster.peer(&uid).is_some_and(|peer| peer.standing == Standing::Shaken);
                // The monitor's doubt was whether it would.
                if !(self.is_monitor() && introduced) {
                    self.let_go(now, &uid, Reason::Forgotten);
                }
            }
        }
    }

    /// Whether those in doubt are let go: where the monitor's word is to be had, and by the monitor.
    fn settles_doubts(&self) -> bool {
        self.is_monitor() || self.monitor_is_heard()
    }

    /// When [`Membership::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Time> {
        let doubt = if self.settles_doubts() { self.roster.next_doubt() } else { None };
        [self.flush_due(), self.claims.next_due(), doubt].into_iter().flatten().min()
    }

    /// What is to be done next. The driver drains this after every input: nothing else bounds it.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Everybody in the network, ourselves included.
    pub fn topology(&self) -> &Topology {
        self.roster.topology()
    }

    /// Whether `uid` is in the network.
    pub fn connected(&self, uid: &str) -> bool {
        self.roster.topology().contains(uid)
    }

    /// Whether `uid` is known through a handshake, or vouched for by a shake or by the monitor's news.
    pub fn shaken(&self, uid: &str) -> bool {
        self.roster.peer(uid).is_some_and(|peer| peer.standing == Standing::Shaken)
    }

    /// Whether `uid` is in the network and out of our reach.
    pub fn unreachable(&self, uid: &str) -> bool {
        self.roster.peer(uid).is_some_and(|peer| peer.contact == Contact::Unreachable)
    }

    /// Whose entries have changed since the last time: who has come, gone, moved or been shaken. Some are named more than
    /// once. A driver whose own copy follows pays for what changes, and not for the size of the network.
    pub fn take_changed(&mut self) -> Vec<Uid> {
        self.roster.take_changed()
    }

    /// What was heard and not acted upon.
    pub fn ignored(&self) -> Ignored {
        self.ignored
    }
}

/// What both roles share.
impl Membership {
    fn is_monitor(&self) -> bool {
        matches!(self.role, Role::Monitor(_))
    }

    fn flush_due(&self) -> Option<Time> {
        match &self.role {
            Role::Monitor(spread) => spread.due(),
            Role::Member(_) => self.reports_due(),
        }
    }

    /// Says what is known and not yet said.
    fn flush(&mut self, now: Time) {
        match &mut self.role {
            Role::Monitor(spread) => {
                for (to, news) in spread.flush(now) {
                    self.send(&to, Notice::News(news));
                }
            }
            Role::Member(_) => self.send_reports(),
        }
    }

    fn send(&mut self, to: &Uid, message: Notice) {
        if self.life == Life::Here && *to != self.me {
            self.effects.push_back(Effect::Send { to: to.clone(), message });
        }
    }
}
