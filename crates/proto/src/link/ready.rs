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

use super::{ConnectionId, Event, Link, State, Verdict, back_off};
use crate::Reason;
use crate::Time;
use crate::wire::{Command, Lane, MosaicReady, Ready, Refusal, RefusalCode, VERSION};
use crate::{Instance, Session};

/// A refusal is proof of death only if it is repeated after this long.
const REFUSED_AGAIN_AFTER: Duration = Duration::from_millis(100);

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
    /// the peer may not have started yet.
    pub fn connect(&mut self, now: Time, patient: bool) {
        self.patient = patient;
        if self.ended().is_none() && !self.is_up() {
            self.start_dial(now, Lane::Control);
        }
    }

    /// Starts what is needed and not under way: the control lane for anything, the data lane for what is queued on it.
    pub(super) fn dial_where_needed(&mut self, now: Time) {
        if self.foreign || self.ended().is_some() {
            return;
        }
        if self.lanes[Lane::Control.index()].connection.is_none() {
            let waiting = !self.pending[0].is_empty() || !self.pending_express.is_empty();
            if waiting || self.session().is_some() || self.dials[0].is_busy() {
                self.start_dial(now, Lane::Control);
            }
        } else if self.lanes[Lane::Data.index()].connection.is_none() {
            let dialler = self.lanes[0].connection.as_ref().is_some_and(|control| control.dialled);
            let needed = self.lanes[1].has_unwritten() || self.data_wanted;
            if needed && dialler {
                self.start_dial(now, Lane::Data);
            } else if needed && !self.asked_for_data {
                self.asked_for_data = true;
                Command::Data.encode(&mut self.commands);
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

    /// Our READY for a dial that has connected; `None` if it is not wanted any more.
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
        };
        Ready { uid: Some(settings.uid.clone()), socket_type: "ROUTER".to_owned(), mosaic: Some(mosaic) }
    }

    /// A dial of ours has failed.
    pub fn dial_failed(&mut self, now: Time, lane: Lane, failure: &DialFailure) {
        let Dial::UnderWay { attempt, refused, .. } = self.dials[lane.index()] else { return };
        if let DialFailure::Answered(refusal) = failure {
            return self.dial_answered(now, lane, attempt, refusal);
        }
        let refused = (*failure == DialFailure::Refused).then_some(refused.unwrap_or(now));
        let repeated = refused.is_some_and(|first| now - first >= REFUSED_AGAIN_AFTER);
        if repeated && lane == Lane::Control && !self.patient {
            return self.end(Verdict::Dead, Reason::Refused { detail: String::new() });
        }
        self.wait_to_dial(now, lane, attempt, refused);
    }

    fn wait_to_dial(&mut self, now: Time, lane: Lane, attempt: u32, refused: Option<Time>) {
        let due = now + back_off(attempt, self.settings.instance.0);
        self.dials[lane.index()] = Dial::Waiting { attempt: attempt + 1, refused, due };
    }

    fn dial_answered(&mut self, now: Time, lane: Lane, attempt: u32, refusal: &Refusal) {
        match refusal.code {
            RefusalCode::NoSuchSession => {
                self.unreachable(Reason::SessionLost);
                self.dial_where_needed(now);
            }
            RefusalCode::NotMe if !self.patient => {
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
    /// What the peer is told (if we accepted) or why the connection is closed (if we dialled).
    pub fn attach(
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
        match lane {
            Lane::Control => {
                self.settle_collision(dialled)?;
                self.agree_on_session(dialled, peer, fresh)?;
            }
            Lane::Data => {
                if self.session() != Some(peer.session) {
                    return Err(refuse(RefusalCode::NoSuchSession, "the session is over"));
                }
            }
        }
        self.settings.peer_instance = Some(peer.instance);
        self.replace_connection(now, dialled, peer)
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

    fn settle_collision(&mut self, dialled: bool) -> Result<(), Refusal> {
        let Dial::UnderWay { ready_out, .. } = self.dials[0] else {
            return if dialled {
                Err(refuse(RefusalCode::Collision, "the peer's own dial came first"))
            } else {
                Ok(())
            };
        };
        if !dialled {
            if ready_out && self.settings.uid < self.settings.peer {
                return Err(refuse(RefusalCode::Collision, "my own dial to you goes first"));
            }
            self.events.push_back(Event::AbandonDial(Lane::Control));
        }
        Ok(())
    }

    fn agree_on_session(&mut self, dialled: bool, peer: &MosaicReady, fresh: Session) -> Result<(), Refusal> {
        let ours = self.session();
        let resumes = peer.session != Session::NONE && ours == Some(peer.session);
        if resumes {
            return Ok(());
        }
        let session = if dialled { peer.session } else { fresh };
        if session == Session::NONE {
            return Err(refuse(RefusalCode::NoSuchSession, "the answer names no session"));
        }
        if ours.is_some() {
            self.dials[Lane::Control.index()] = Dial::Idle;
            self.unreachable(Reason::SessionLost);
        }
        self.state = State::Down { session };
        Ok(())
    }

    fn replace_connection(
        &mut self,
        now: Time,
        dialled: bool,
        peer: &MosaicReady,
    ) -> Result<Attached, Refusal> {
        let lane = peer.lane;
        let index = lane.index();
        if let Some(old) = &self.lanes[index].connection {
            self.events.push_back(Event::Close { lane, connection: old.id });
            self.lanes[index].detach();
        }
        let replayed = self.lanes[index].sent();
        if !self.lanes[index].resume(peer.received) {
            return Err(refuse(
                RefusalCode::NoSuchSession,
                "the count of received messages is not from this session",
            ));
        }
        self.counters.replayed += replayed - self.lanes[index].sent();
        self.connections += 1;
        self.counters.connections += 1;
        let connection = ConnectionId(self.connections);
        let answer = self.ready(lane);
        self.lanes[index].attach(connection, dialled);
        self.dials[index] = Dial::Idle;
        self.liveness.heard(now);
        match lane {
            Lane::Control => self.control_is_up(now),
            Lane::Data => self.data_wanted = false,
        }
        self.admit(now);
        Ok(Attached { connection, answer })
    }

    fn control_is_up(&mut self, now: Time) {
        let State::Down { session } = self.state else {
            return self.greet_again(now);
        };
        let resumed = self.connections > 1 && self.lanes.iter().any(|lane| lane.queued() + lane.received > 0);
        self.state = State::Up { session };
        self.patient = false;
        self.events.push_back(Event::Up { resumed });
        self.greet_again(now);
    }

    /// What may have been lost with the old connection is said again.
    fn greet_again(&mut self, now: Time) {
        self.commands.clear();
        self.asked_for_data = false;
        self.outflow.iter_mut().for_each(|outflow| outflow.forget_asking());
        self.inflow.iter_mut().for_each(|inflow| inflow.told());
        self.acknowledge();
        self.admit(now);
    }

    /// Makes a plain ZMTP connection, of a peer that isn't one of ours, the link's only lane.
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
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        let answer = self.ready(Lane::Control);
        self.lanes[0].attach(connection, dialled);
        self.dials[0] = Dial::Idle;
        self.state = State::Up { session };
        self.liveness.heard(now);
        self.events.push_back(Event::Up { resumed: false });
        self.admit(now);
        Ok(Attached { connection, answer })
    }

    /// A connection is gone. Nothing is decided by that: it is dialled again at once.
    pub fn detach(&mut self, now: Time, lane: Lane, connection: ConnectionId) {
        let state = &mut self.lanes[lane.index()];
        if state.connection.as_ref().is_none_or(|current| current.id != connection) {
            return;
        }
        state.detach();
        self.leave_if_complete();
        if self.foreign {
            return self.end(Verdict::Left, Reason::Left { why: "its connection ended".to_owned() });
        }
        if lane == Lane::Control
            && let State::Up { session } = self.state
        {
            self.state = State::Down { session };
            self.events.push_back(Event::Down);
        }
        self.dial_where_needed(now);
    }
}

fn refuse(code: RefusalCode, detail: &str) -> Refusal {
    Refusal { code, detail: detail.to_owned() }
}
