//! How a link gets its connections: dialling, the READY exchange, resuming, and who gives way when both dial at once.
//!
//! ```text
//! dialler   Event::Dial -> connect -> dial_ready() -> READY ---->  attach(Accepted) or a refusal
//!           attach(Dialled)                           <---- READY   (answer)
//! ```
//!
//! Equal non-zero sessions resume; else both sides end what they had and the acceptor draws a new session. If both
//! dial at once, the larger uid accepts and drops its own dial; the smaller one refuses, but only once its own READY
//! is out. A newer connection of the same session replaces the older one.

use std::time::Duration;

use super::lanes::Connection;
use super::process::Process;
use super::{ConnectionId, Event, Link, State, Verdict, back_off};
use crate::Reason;
use crate::Time;
use crate::wire::{Class, Lane, MosaicReady, Ready, Refusal, RefusalCode, VERSION};
use crate::{Instance, Session};

/// A refusal is proof of death only if it is repeated after this long.
const REFUSED_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// For how long after ours was accepted a dial of the peer's may come that it made before that.
pub(super) const CROSSING_DIALS: Duration = Duration::from_millis(500);

/// After a connection that lived for less than this, the next dial waits: whatever ends them may do so for ever.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// One lane's way to a connection of our own making.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dial {
    /// None is needed, or the peer's own dial has come.
    Idle,
    /// The driver is at it; `ready_out`: our READY has been sent.
    UnderWay { attempt: u32, refused: Option<Time>, ready_out: bool },
    /// It failed and is tried again at `due`.
    Waiting { attempt: u32, refused: Option<Time>, due: Time },
    /// `due` has come.
    Again { attempt: u32, refused: Option<Time> },
}

impl Dial {
    pub(super) fn due(&self) -> Option<Time> {
        match self {
            Dial::Waiting { due, .. } => Some(*due),
            _ => None,
        }
    }

    pub(super) fn is_under_way(&self) -> bool {
        matches!(self, Dial::UnderWay { .. })
    }

    pub(super) fn is_busy(&self) -> bool {
        *self != Dial::Idle
    }

    pub(super) fn retry(&mut self) {
        if let Dial::Waiting { attempt, refused, .. } = *self {
            *self = Dial::Again { attempt, refused };
        }
    }

    /// Starts a dial if none is under way or waiting.
    fn start(&mut self) -> bool {
        let (attempt, refused) = match *self {
            Dial::Idle => (0, None),
            Dial::Again { attempt, refused } => (attempt, refused),
            Dial::UnderWay { .. } | Dial::Waiting { .. } => return false,
        };
        *self = Dial::UnderWay { attempt, refused, ready_out: false };
        true
    }
}

/// What became of a dial that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DialFailure {
    /// Every address refused: nobody listens there.
    Refused,
    /// It could not be reached, or did not answer in time.
    Unreachable,
    /// The peer answered by an ERROR.
    Answered(Refusal),
}

/// A connection has become a lane of the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// What the connection is called from now on.
    pub connection: ConnectionId,
    /// What the acceptor answers; the dialler has sent its own before.
    pub answer: Ready,
}

impl<T, B: AsRef<[u8]>> Link<T, B> {
    /// Dials without waiting for a message. A `patient` link doesn't take refusals for death before its first session:
    /// the peer may not have started yet. Of a peer whose life is known they are proof all the same.
    pub fn connect(&mut self, now: Time, patient: bool) {
        self.patient = patient && self.session().is_none();
        if self.ended().is_none() && !self.is_up() {
            self.start_dial(now, Lane::Control);
        }
    }

    /// Nobody waits any more for a peer that may not have started yet: from now on its silence and its refusals count.
    pub fn lose_patience(&mut self, now: Time) {
        if std::mem::take(&mut self.patient) {
            self.liveness.heard(now);
        }
    }

    /// Starts what is needed and not under way: the control lane for anything, the data lane for what is queued on it.
    pub(super) fn dial_where_needed(&mut self, now: Time) {
        if self.foreign || self.ended().is_some() || matches!(self.process, Process::Ended { .. }) {
            return;
        }
        if self.lanes[Lane::Control.index()].connection.is_none() {
            let waiting = !self.pending[0].is_empty() || !self.pending_express.is_empty();
            if waiting || self.session().is_some() || self.dials[0].is_busy() {
                self.start_dial(now, Lane::Control);
            }
        } else if self.lanes[Lane::Data.index()].connection.is_none() {
            let dialler = self.lanes[0].connection.as_ref().is_some_and(|control| control.dialled);
            let needed = !self.lanes[1].is_drained() || self.data_wanted;
            if needed && dialler {
                self.start_dial(now, Lane::Data);
            } else if needed && !self.asked_for_data {
                self.ask_for_data(now);
            }
        }
    }

    fn start_dial(&mut self, now: Time, lane: Lane) {
        if matches!(self.state, State::Absent) && self.dials[lane.index()] == Dial::Idle {
            self.liveness.heard(now);
        }
        if self.dials[lane.index()].start() {
            self.events.push_back(Event::Dial(lane));
        }
    }

    /// Our READY for a dial that has connected; `None` if it is not wanted any more. Whether we look elsewhere for the
    /// content of frames is the driver's to say, in this and in [`Attached::answer`]: it knows the connection.
    pub fn dial_ready(&mut self, lane: Lane) -> Option<Ready> {
        let Dial::UnderWay { ready_out, .. } = &mut self.dials[lane.index()] else { return None };
        *ready_out = true;
        Some(self.ready(lane))
    }

    fn ready(&self, lane: Lane) -> Ready {
        let settings = &self.settings;
        let mosaic = MosaicReady {
            version: VERSION,
            instance: settings.instance,
            wanted_uid: Some(settings.peer.clone()),
            wanted_instance: settings.peer_instance,
            lane,
            session: self.session().unwrap_or(Session::NONE),
            received: self.lanes[lane.index()].received,
            host: settings.host,
            pid_namespace: settings.pid_namespace,
            pid: settings.pid,
            leaves: self.goodbye.is_some(),
            looks_elsewhere: false,
        };
        Ready { uid: Some(settings.uid.clone()), socket_type: "ROUTER".to_owned(), mosaic: Some(mosaic) }
    }

    /// A dial of ours has failed.
    pub fn dial_failed(&mut self, now: Time, lane: Lane, failure: &DialFailure) {
        let Dial::UnderWay { attempt, refused, .. } = self.dials[lane.index()] else { return };
        self.counters.failed_dials += 1;
        if let DialFailure::Answered(refusal) = failure {
            return self.dial_answered(now, lane, attempt, refusal);
        }
        if *failure == DialFailure::Refused && self.end_after_goodbye() {
            return;
        }
        let refused = (*failure == DialFailure::Refused).then_some(refused.unwrap_or(now));
        let repeated = refused.is_some_and(|first| now - first >= self.refused_again_after());
        if repeated && lane == Lane::Control && !self.may_not_have_started() {
            return self.end(Verdict::Dead, Reason::Refused { detail: String::new() });
        }
        self.wait_to_dial(now, lane, attempt, refused);
    }

    fn may_not_have_started(&self) -> bool {
        self.patient && self.settings.peer_instance.is_none()
    }

    /// A process that is known to run may have closed its listener and come back by itself: it gets longer.
    fn refused_again_after(&self) -> Duration {
        match self.process {
            Process::Runs => self.settings.intervals.suspect,
            Process::Unknown | Process::Ended { .. } => REFUSED_AGAIN_AFTER,
        }
    }

    fn wait_to_dial(&mut self, now: Time, lane: Lane, attempt: u32, refused: Option<Time>) {
        let due = now + back_off(attempt, self.settings.instance.0);
        self.dials[lane.index()] = Dial::Waiting { attempt: attempt + 1, refused, due };
    }

    fn dial_answered(&mut self, now: Time, lane: Lane, attempt: u32, refusal: &Refusal) {
        let forgotten = matches!(refusal.code, RefusalCode::NoSuchSession | RefusalCode::NotMe);
        if forgotten && self.end_after_goodbye() {
            return;
        }
        match refusal.code {
            RefusalCode::NoSuchSession => {
                self.give_up_session(Reason::SessionLost);
                self.dial_where_needed(now);
            }
            RefusalCode::NotMe if !self.may_not_have_started() => {
                self.end(Verdict::Dead, Reason::Refused { detail: refusal.to_string() });
            }
            RefusalCode::Version | RefusalCode::Insecure => {
                self.end(Verdict::Dead, Reason::Incompatible { detail: refusal.to_string() });
            }
            _ => self.wait_to_dial(now, lane, attempt, None),
        }
    }

    /// Makes an authenticated connection a lane of the link; `dialled`: by us. `fresh` is the session that begins if
    /// none is resumed.
    ///
    /// # Errors
    /// What the peer is told (if we accepted) or why the connection is closed (if we dialled; it counts as a dial that
    /// has failed).
    pub fn attach(
        &mut self,
        now: Time,
        dialled: bool,
        peer: &MosaicReady,
        fresh: Session,
    ) -> Result<Attached, Refusal> {
        let attached = self.agree(now, dialled, peer, fresh);
        let dial = self.dials[peer.lane.index()];
        if let (Err(refusal), true, Dial::UnderWay { attempt, .. }) = (&attached, dialled, dial) {
            self.dial_answered(now, peer.lane, attempt, refusal);
        }
        attached
    }

    /// Decides before it changes anything.
    fn agree(
        &mut self,
        now: Time,
        dialled: bool,
        peer: &MosaicReady,
        fresh: Session,
    ) -> Result<Attached, Refusal> {
        let lane = peer.lane;
        if self.ended().is_some() {
            return Err(refuse(RefusalCode::NotMe, "this link has ended"));
        }
        self.check_instance(peer.instance)?;
        self.settle_collision(now, lane, dialled)?;
        let resumed = !peer.session.is_none() && self.session() == Some(peer.session);
        if resumed && !self.lanes[lane.index()].can_resume(peer.received) {
            let detail = "the count of received messages is not from this session";
            return Err(refuse(RefusalCode::NoSuchSession, detail));
        }
        if !resumed && lane == Lane::Data {
            return Err(refuse(RefusalCode::NoSuchSession, "the session is over"));
        }
        let begun = if dialled { peer.session } else { fresh };
        if !resumed && begun.is_none() {
            return Err(refuse(RefusalCode::NoSuchSession, "the answer names no session"));
        }
        let leaves = if dialled { self.goodbye.is_some() } else { peer.leaves };
        if !resumed && leaves {
            return Err(refuse(RefusalCode::NoSuchSession, "there is nothing to begin after a goodbye"));
        }
        self.stop_dial(lane, dialled);
        // A session of which the peer never knew has lost nothing: for our side the conversation goes on.
        let goes_on = resumed || (self.session().is_some() && !self.confirmed);
        if !resumed {
            self.begin_session(begun)?;
        }
        // Who dialled has the session from the answer; who was dialled hears from the other first.
        self.confirmed = dialled || resumed;
        if self.settings.peer_instance.replace(peer.instance) != Some(peer.instance) {
            self.process = Process::Unknown;
        }
        let received = if resumed { peer.received } else { 0 };
        Ok(self.replace_connection(now, lane, dialled, goes_on, received))
    }

    /// The dial has led to a connection, or is not wanted any more because the peer's has.
    fn stop_dial(&mut self, lane: Lane, dialled: bool) {
        let dial = &mut self.dials[lane.index()];
        if dial.is_under_way() && !dialled {
            self.events.push_back(Event::AbandonDial(lane));
        }
        *dial = Dial::Idle;
    }

    /// Where the peer had said goodbye, that was its end: who comes now is let in by the next link.
    fn begin_session(&mut self, session: Session) -> Result<(), Refusal> {
        if self.session().is_some() && self.confirmed {
            self.give_up_session(Reason::SessionLost);
        }
        if self.ended().is_some() {
            return Err(refuse(RefusalCode::Busy, "the link before this one has just ended"));
        }
        self.state = State::Down { session };
        Ok(())
    }

    fn check_instance(&self, instance: Instance) -> Result<(), Refusal> {
        match self.settings.peer_instance {
            Some(held) if held != instance && self.session().is_some() => {
                let detail = format!("{} is held by instance {held}", self.settings.peer);
                Err(refuse(RefusalCode::UidTaken, &detail))
            }
            _ => Ok(()),
        }
    }

    /// Of two dials that cross, the smaller uid's is kept once its READY is out, and for as long as the other's READY
    /// may still be under way after that.
    fn settle_collision(&self, now: Time, lane: Lane, dialled: bool) -> Result<(), Refusal> {
        let dial = self.dials[lane.index()];
        if dialled {
            let first = "the peer's own dial came first";
            return if dial.is_under_way() { Ok(()) } else { Err(refuse(RefusalCode::Collision, first)) };
        }
        let just_dialled =
            |connection: &Connection| connection.dialled && now - connection.since < CROSSING_DIALS;
        let ours = matches!(dial, Dial::UnderWay { ready_out: true, .. })
            || self.lanes[lane.index()].connection.as_ref().is_some_and(just_dialled);
        if ours && self.settings.uid < self.settings.peer {
            return Err(refuse(RefusalCode::Collision, "my own dial to you goes first"));
        }
        Ok(())
    }

    fn replace_connection(
        &mut self,
        now: Time,
        lane: Lane,
        dialled: bool,
        goes_on: bool,
        received: u64,
    ) -> Attached {
        let state = &mut self.lanes[lane.index()];
        if let Some(old) = &state.connection {
            self.events.push_back(Event::Close { lane, connection: old.id });
            state.detach();
        }
        self.counters.replayed += state.resume(received);
        self.connections += 1;
        self.counters.connections += 1;
        let connection = ConnectionId(self.connections);
        state.attach(connection, dialled, now);
        let answer = self.ready(lane);
        self.liveness.heard(now);
        match lane {
            Lane::Control => self.control_is_up(goes_on),
            Lane::Data => self.data_is_up(now),
        }
        self.admit(now);
        Attached { connection, answer }
    }

    fn control_is_up(&mut self, resumed: bool) {
        if let State::Down { session } = self.state {
            self.state = State::Up { session };
            self.patient = false;
            self.events.push_back(Event::Up { resumed });
        }
        self.greet_again();
    }

    /// What may have been lost with the old connection is said again.
    fn greet_again(&mut self) {
        self.commands.renew();
        self.forget_question();
        self.commands.heart |= !self.pings.is_empty();
        self.asked_for_data = false;
        self.probes.forget_question();
        for class in Class::ALL {
            let gone = self.outflow[class.index()].forget_asking();
            self.retract(class, gone);
        }
        self.repeat_goodbye();
        self.lanes.iter_mut().for_each(|lane| lane.told_received = 0);
        self.acknowledge();
    }

    /// Makes a plain ZMTP connection, of a peer that isn't one of ours, the link's only lane. Such a peer cannot say
    /// which life of its uid it is: it is the one that the link was made for or else, as with the session, a fresh one.
    ///
    /// # Errors
    /// If the link is already with someone.
    pub fn attach_foreign(
        &mut self,
        now: Time,
        dialled: bool,
        session: Session,
    ) -> Result<Attached, Refusal> {
        if self.session().is_some() || self.ended().is_some() {
            return Err(refuse(RefusalCode::UidTaken, "the identity is in use"));
        }
        self.foreign = true;
        self.settings.peer_instance.get_or_insert(Instance(session.0));
        self.confirmed = true;
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        let answer = self.ready(Lane::Control);
        self.stop_dial(Lane::Control, dialled);
        self.lanes[0].attach(connection, dialled, now);
        self.state = State::Up { session };
        self.liveness.heard(now);
        self.events.push_back(Event::Up { resumed: false });
        self.admit(now);
        Ok(Attached { connection, answer })
    }

    /// A connection is gone. Nothing is decided by that: it is dialled again at once.
    pub fn detach(&mut self, now: Time, lane: Lane, connection: ConnectionId) {
        let state = &mut self.lanes[lane.index()];
        let Some(current) = state.connection.as_ref().filter(|current| current.id == connection) else {
            return;
        };
        let lived = now - current.since;
        state.detach();
        self.leave_if_complete();
        self.bury(now);
        if self.ended().is_some() {
            return;
        }
        if self.foreign {
            return self.end(Verdict::Left, Reason::Left { why: "its connection ended".to_owned() });
        }
        if lane == Lane::Control
            && let State::Up { session } = self.state
        {
            self.state = State::Down { session };
            self.events.push_back(Event::Down);
        }
        if lane == Lane::Data {
            // The peer may have asked for the one that is lost, and does not ask twice.
            self.data_wanted = true;
        }
        self.spare_the_peer(now, lane, lived);
        self.dial_where_needed(now);
    }

    /// A connection that is lost is dialled again at once, but not if its predecessors have been as short-lived.
    fn spare_the_peer(&mut self, now: Time, lane: Lane, lived: Duration) {
        let before = self.short_lives[lane.index()];
        self.short_lives[lane.index()] = if lived < SHORT_LIFE { before + 1 } else { 0 };
        if lived < SHORT_LIFE && before > 0 && !self.dials[lane.index()].is_busy() {
            self.wait_to_dial(now, lane, before - 1, None);
            if let (Lane::Control, Some(due)) = (lane, self.dials[lane.index()].due()) {
                self.liveness.excuse(due);
            }
        }
    }
}

fn refuse(code: RefusalCode, detail: &str) -> Refusal {
    Refusal { code, detail: detail.to_owned() }
}
