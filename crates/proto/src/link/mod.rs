//! One link as a state machine: two lanes, a session, credit, acknowledgement, calls and their deadlines, liveness.
//!
//! ```text
//! Absent --control lane ready--> Up(session) <--> Down(session) --verdict--> Ended(dead | left)
//!    ^                               |               |
//!    '--------- unreachable ---------+---------------'
//! ```
//!
//! The driver gives it bytes, time and the fate of its dials; it takes bytes to write ([`Link::poll_transmit`]),
//! events ([`Link::poll_event`]) and the next time-out ([`Link::poll_timeout`]). A link is with one *instance* of the
//! peer: once it has ended, the next instance gets a new link. Themes: `ready` (handshake and dialling), `receive`
//! (what comes in), `send` (admission, calls, their ends), `process` (what is known of the peer's), `stall` (whether it
//! reads), `view` (how it stands, for those who look), `lanes`, `in_flight`, `credit`.

mod acknowledge;
mod budget;
mod commands;
mod credit;
mod event;
mod in_flight;
mod lanes;
mod leaving;
mod process;
mod ready;
mod receive;
mod saturation;
mod send;
mod stall;
mod transmit;
mod view;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

pub use budget::Budget;
pub use event::{Counters, Credit, Event, Outcome, Progress, Verdict};
pub use process::Evidence;
pub use ready::{Attached, DialFailure};
pub use receive::Violation;
pub use send::{Admission, Execution, Request};
pub use transmit::Transmit;
pub use view::{Condition, Load, Pulse};

use self::commands::Commands;
use self::credit::{Inflow, Outflow};
use self::in_flight::InFlight;
use self::lanes::{Entry, LaneState};
use self::leaving::Goodbye;
use self::process::Process;
use self::ready::Dial;
use self::saturation::Saturation;
use self::stall::Probes;
use crate::Reason;
use crate::limits::Limits;
use crate::liveness::{Intervals, Liveness, Silence};
use crate::wire::{Class, Lane};
use crate::{HostId, Instance, Session};
use crate::{Time, Uid};

/// One connection of a link, in the order in which they were attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

/// What a link must know of its own side and of its peer.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our uid.
    pub uid: Uid,
    /// Our instance.
    pub instance: Instance,
    /// The host we run on.
    pub host: HostId,
    /// The pid namespace we run in.
    pub pid_namespace: u64,
    /// Our process id.
    pub pid: u32,
    /// Who the link is with.
    pub peer: Uid,
    /// The instance that it must be with, if that is known.
    pub peer_instance: Option<Instance>,
    /// What the peer may send us.
    pub limits: Limits,
    /// How silence is judged.
    pub intervals: Intervals,
}

#[derive(Debug)]
enum State {
    Absent,
    Up { session: Session },
    Down { session: Session },
    Ended { reason: Reason },
}

/// A link with one instance of a peer. `T` is what the driver needs to complete a call, `B` a received buffer.
#[derive(Debug)]
pub struct Link<T, B: AsRef<[u8]>> {
    settings: Settings,
    state: State,
    foreign: bool,
    /// Whether the peer knows the session for certain. Until then no message is written: the answer that named the
    /// session may be lost, and what waits then goes over into the next one.
    confirmed: bool,
    lanes: [LaneState<T>; 2],
    dials: [Dial; 2],
    /// How many connections in a row have ended soon after they were made, by lane.
    short_lives: [u32; 2],
    /// Whether refused dials are no proof of death: the peer may not have started yet.
    patient: bool,
    asked_for_data: bool,
    /// The peer, which cannot dial, has something for the data lane.
    data_wanted: bool,
    /// How late the driver runs behind its own plans; hearts are answered with it.
    lag: Duration,
    connections: u64,
    next_id: u64,
    outflow: [Outflow; 2],
    inflow: [Inflow; 2],
    pending: [VecDeque<Entry<T>>; 2],
    pending_express: VecDeque<Entry<T>>,
    in_flight: InFlight<T>,
    /// Who waits for the next beat.
    pings: Vec<T>,
    commands: Commands,
    /// The commands of one poll, encoded.
    encoded: Vec<u8>,
    /// What we say when we leave, once we have.
    goodbye: Option<Goodbye>,
    /// Requests that the peer gave up and that have not come yet, with the count at which they must have.
    cancelled: BTreeMap<u64, u64>,
    leaving: Option<(Reason, [u64; 2])>,
    ack_due: Option<Time>,
    liveness: Liveness,
    pulse: Pulse,
    saturation: Saturation,
    process: Process,
    probes: Probes,
    events: VecDeque<Event<T, B>>,
    counters: Counters,
}

impl<T, B: AsRef<[u8]>> Link<T, B> {
    /// A link on which nothing has happened yet.
    pub fn new(settings: Settings) -> Self {
        let intervals = settings.intervals;
        Link {
            settings,
            state: State::Absent,
            foreign: false,
            confirmed: false,
            lanes: [LaneState::new(), LaneState::new()],
            dials: [Dial::Idle, Dial::Idle],
            short_lives: [0; 2],
            patient: false,
            asked_for_data: false,
            data_wanted: false,
            lag: Duration::ZERO,
            connections: 0,
            next_id: 1,
            outflow: [Outflow::new(), Outflow::new()],
            inflow: [Inflow::new(), Inflow::new()],
            pending: [VecDeque::new(), VecDeque::new()],
            pending_express: VecDeque::new(),
            in_flight: InFlight::new(),
            pings: Vec::new(),
            commands: Commands::default(),
            encoded: Vec::new(),
            goodbye: None,
            cancelled: BTreeMap::new(),
            leaving: None,
            ack_due: None,
            liveness: Liveness::new(intervals),
            pulse: Pulse::default(),
            saturation: Saturation::default(),
            process: Process::default(),
            probes: Probes::default(),
            events: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Who the link is with.
    pub fn peer(&self) -> &Uid {
        &self.settings.peer
    }

    /// The peer's instance, once it is known.
    pub fn peer_instance(&self) -> Option<Instance> {
        self.settings.peer_instance
    }

    /// The session, if there is one.
    pub fn session(&self) -> Option<Session> {
        match self.state {
            State::Up { session } | State::Down { session } => Some(session),
            State::Absent | State::Ended { .. } => None,
        }
    }

    /// Whether the control lane is connected.
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// Why the link has ended for good, if it has.
    pub fn ended(&self) -> Option<&Reason> {
        match &self.state {
            State::Ended { reason } => Some(reason),
            _ => None,
        }
    }

    /// Whether the peer speaks plain ZMTP.
    pub fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// When the peer was last heard.
    pub fn last_heard(&self) -> Time {
        self.liveness.last_heard()
    }

    /// How far a lane has come in this session.
    pub fn progress(&self, lane: Lane) -> Progress {
        self.lanes[lane.index()].progress()
    }

    /// What this link has reserved of its context's budget, by class.
    pub fn reservations(&self) -> [u64; 2] {
        self.inflow.each_ref().map(Inflow::reserved)
    }

    /// What the peer allows us, by class.
    pub fn credit(&self) -> [Credit; 2] {
        self.outflow.each_ref().map(Outflow::credit)
    }

    /// The next thing to do or tell.
    pub fn poll_event(&mut self) -> Option<Event<T, B>> {
        self.events.pop_front()
    }

    /// When [`Link::handle_timeout`] must be called at the latest.
    pub fn poll_timeout(&self) -> Option<Time> {
        let alive = self.is_watched().then(|| self.liveness.next());
        let dials = self.dials.iter().filter_map(Dial::due).min();
        let due =
            [alive, dials, self.ack_due, self.in_flight.next_deadline(), self.burial(), self.probe_due()];
        due.into_iter().flatten().min()
    }

    /// Silence matters while there is a session or one is being made, unless it is we who do not read.
    fn is_watched(&self) -> bool {
        match self.state {
            State::Up { .. } | State::Down { .. } => !self.reads_paused(),
            State::Absent => !self.patient && self.dials[0].is_busy(),
            State::Ended { .. } => false,
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some((id, ticket)) = self.in_flight.pop_expired(now) {
            let execution = self.give_up(id);
            self.counters.timed_out += 1;
            self.events.push_back(Event::Outcome { ticket, outcome: Outcome::Timeout(execution) });
        }
        if self.ack_due.is_some_and(|due| due <= now) {
            self.acknowledge();
        }
        self.bury(now);
        self.probe(now);
        for lane in Lane::ALL {
            if self.dials[lane.index()].due().is_some_and(|due| due <= now) {
                self.dials[lane.index()].retry();
                self.dial_where_needed(now);
            }
        }
        while self.is_watched()
            && self.liveness.next() <= now
            && let Some(silence) = self.liveness.check(now)
        {
            self.judge(silence);
        }
        self.admit(now);
    }

    fn judge(&mut self, silence: Silence) {
        match silence {
            Silence::Heart if self.foreign => self.commands.ping = true,
            Silence::Heart => self.commands.heart = self.is_up(),
            Silence::Suspect => self.events.push_back(Event::Suspected),
            Silence::Unreachable(silent) => self.give_up_session(Reason::Unreachable { silent }),
        }
    }

    /// The pairwise verdict: the session is over, the peer may come back. A foreign one comes back as somebody new.
    fn give_up_session(&mut self, reason: Reason) {
        if self.foreign {
            return self.end(Verdict::Dead, reason);
        }
        if self.leaving.is_some() {
            return self.end(Verdict::Left, reason);
        }
        if self.end_after_goodbye() {
            return;
        }
        self.end_session(&reason);
        self.events.push_back(Event::Unreachable(reason));
    }

    /// The peer is gone for good, by proof or by the monitor's word. If it has said goodbye, that is how it ended.
    pub fn end(&mut self, verdict: Verdict, reason: Reason) {
        if self.ended().is_none() {
            let goodbye = self.leaving.take().map(|(reason, _)| (Verdict::Left, reason));
            let (verdict, reason) = goodbye.unwrap_or((verdict, reason));
            self.end_session(&reason);
            self.state = State::Ended { reason: reason.clone() };
            self.events.push_back(Event::Ended { verdict, reason });
        }
    }

    /// Ends everything that belongs to the session, or to the attempt to begin one.
    fn end_session(&mut self, reason: &Reason) {
        for lane in Lane::ALL {
            if let Some(connection) = &self.lanes[lane.index()].connection {
                self.events.push_back(Event::Close { lane, connection: connection.id });
            }
            if self.dials[lane.index()].is_under_way() {
                self.events.push_back(Event::AbandonDial(lane));
            }
            self.dials[lane.index()] = Dial::Idle;
        }
        self.fail_everything(reason);
        for lane in &mut self.lanes {
            lane.close();
        }
        for class in Class::ALL {
            let bytes = self.inflow[class.index()].reserved();
            if bytes > 0 {
                self.events.push_back(Event::Release { class, bytes });
            }
        }
        self.outflow = [Outflow::new(), Outflow::new()];
        self.inflow = [Inflow::new(), Inflow::new()];
        self.forget_saturation();
        self.commands = Commands::default();
        self.cancelled.clear();
        self.leaving = None;
        self.ack_due = None;
        self.asked_for_data = false;
        self.data_wanted = false;
        self.state = State::Absent;
    }

    /// How late the driver runs behind its own plans; the peer's hearts are answered with it.
    pub fn set_lag(&mut self, lag: Duration) {
        self.lag = lag;
    }

    // ---- what goes out ----

    /// The connection that a lane has: what is polled is for it.
    pub fn connection(&self, lane: Lane) -> Option<ConnectionId> {
        self.lanes[lane.index()].connection.as_ref().map(|connection| connection.id)
    }

    /// Whether [`Link::poll_transmit`] has something to give for this lane.
    pub fn wants_transmit(&self, lane: Lane) -> bool {
        let state = &self.lanes[lane.index()];
        state.connection.is_some()
            && ((self.confirmed && state.has_unwritten())
                || (lane == Lane::Control && !self.commands.is_empty()))
    }

    /// Gives the lane's writer what comes next, unless something is left in `out`, until about `most` bytes lie there: commands
    /// first, then messages. From then on the system may have taken all of it, until [`Link::transmitted`] says how much it has.
    pub fn poll_transmit(&mut self, now: Time, lane: Lane, most: usize, out: &mut Transmit) {
        if self.lanes[lane.index()].connection.is_none() {
            return;
        }
        if out.is_empty() {
            self.fill(now, lane, most, out);
        }
        if !out.is_empty() {
            self.lanes[lane.index()].begin_writing();
        }
    }

    fn fill(&mut self, now: Time, lane: Lane, most: usize, out: &mut Transmit) {
        if lane == Lane::Control && !self.commands.is_empty() {
            self.note_question(now);
            let mut encoded = std::mem::take(&mut self.encoded);
            self.encode_commands(&mut encoded);
            out.copy(&encoded);
            self.lanes[lane.index()].polled_command(encoded.len());
            encoded.clear();
            self.encoded = encoded;
        }
        let state = &mut self.lanes[lane.index()];
        if self.confirmed {
            let before = state.sent();
            state.poll(now, most, out);
            self.counters.sent += state.sent() - before;
        }
        out.seal();
    }

    /// The system has taken `bytes` more of what was polled for this connection, and nobody writes it now.
    pub fn transmitted(&mut self, now: Time, lane: Lane, connection: ConnectionId, bytes: usize) {
        let state = &mut self.lanes[lane.index()];
        if state.connection.as_ref().is_none_or(|current| current.id != connection) {
            return;
        }
        state.written(bytes);
        if self.foreign {
            let cost = state.forget_written();
            for class in Class::ALL {
                self.outflow[class.index()].settle(cost[class.index()]);
            }
            self.admit(now);
        }
    }

    // ---- leaving ----

    /// Whether everything that was accepted has arrived: nothing waits, nothing is unacknowledged.
    pub fn is_drained(&self) -> bool {
        self.lanes.iter().all(LaneState::is_drained)
            && self.pending.iter().all(VecDeque::is_empty)
            && self.pending_express.is_empty()
    }

    /// How many calls await their reply.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Checks the invariants that hold between any two calls; for tests and simulations.
    ///
    /// # Panics
    /// If one is broken.
    pub fn assert_invariants(&self) {
        let within = self.outflow.iter().all(Outflow::is_within_limit);
        assert!(within || self.foreign, "more is under way than was allowed");
        let covered = self.inflow.iter().all(Inflow::is_covered);
        assert!(covered || self.foreign, "more may come than was reserved");
        assert!(self.lanes.iter().all(LaneState::is_consistent), "a lane has lost count");
        if self.ended().is_some() {
            assert!(self.in_flight.is_empty(), "a call outlived its link");
            assert!(self.is_drained(), "a message outlived its link");
        }
    }
}

/// How long a dial that got no answer waits before the next: doubles with each attempt, spread by who we are so that
/// many do not come at once.
fn back_off(attempt: u32, seed: u64) -> Duration {
    let base = 100_u64 << attempt.min(4);
    let spread = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(attempt) % (base / 4 + 1);
    Duration::from_millis(base + spread)
}
