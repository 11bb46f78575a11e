//! One link: drives `mosaic_proto::link` with real streams and real time.
//!
//! Who touches what:
//!
//! - a **pump** for each connection: reads, and writes what others left. That of the control lane is on the urgent thread,
//!   where nothing large is copied, that of the data lane on an I/O thread;
//! - a **carrier** for a data connection, on the executor: does that in the pump's stead as long as it comes to it;
//! - a **timer** task for each link, on the urgent thread: deadlines, hearts, acknowledgements, redial;
//! - **callers** and dispatchers, anywhere: queue a message and, if nothing else is under way, write it themselves.
//!
//! The state is behind one lock that is held for bookkeeping only, never across a system call, an await or a user's
//! code. Another is held while events are acted on that are to be seen in the order in which they happened, whichever
//! thread they come from. The right to write a lane is its [`Writer`]: whoever takes it out of the state writes, and puts it back.

mod events;
mod lending;
mod operate;
mod outside;
mod process;
mod pump;
mod reading;
mod recorder;
mod relief;
mod write;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use mosaic_proto::link::{
    Admission, Attached, ConnectionId, DialFailure, Link as Machine, Outcome, Settings,
};
use mosaic_proto::link::{Request, Verdict};
use mosaic_proto::wire::{Lane, MosaicReady, Outgoing, Refusal};
use mosaic_proto::{Instance, Session, Time, Uid};
use parking_lot::{Mutex, ReentrantMutex};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use self::lending::Lender;
pub(crate) use self::lending::{Borrowed, Borrower, SHARED_FRAME};
pub(crate) use self::operate::Write;
pub use self::outside::{Carried, DataLane};
use self::process::Watch;
use self::pump::Pump;
use self::recorder::{Happening, NOTEWORTHY_LAG, Recorder};
pub(crate) use self::relief::Carrier;
use self::relief::Nudge;
use self::write::Writer;
use crate::connection::Opening;
use crate::context::Context;
use crate::dispatch::{Cancelling, Inbox};
use crate::error::Attempt;
use crate::manager::Shared;
use crate::pool::Buffer;
use crate::transport::{AnyStream, Trust};

/// What completes a call.
pub(crate) type Ticket = oneshot::Sender<Outcome<Buffer>>;

/// A link with one instance of a peer.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) peer: Uid,
    /// Tells this link from others of the same context.
    number: u64,
    context: Context,
    io: Handle,
    urgent: Handle,
    /// The manager's tasks, among them this link's timer and pumps.
    tasks: TaskTracker,
    owner: Weak<Shared>,
    state: Mutex<State>,
    /// Held from an operation on the state until its events have been acted on, but by senders. Acting on one may bring
    /// about the next.
    in_order: ReentrantMutex<()>,
    wake: [Notify; 2],
    nudge: Nudge,
    due_changed: Notify,
    /// Wakes those who wait for the link to come up or to end.
    pub(crate) changed: Notify,
    /// How many wait for a peer that may not have started yet.
    patience: AtomicUsize,
    /// Whether someone waits for what changes with every message: that all has been written, or delivered.
    watched: AtomicBool,
    pub(crate) inbox: Inbox,
    /// Cancelled when the link is over: ends its timer and its pumps.
    pub(crate) over: CancellationToken,
    /// The handlers that the peer may cancel, by the ids of their requests, which are those of a session.
    pub(crate) running: Mutex<BTreeMap<(Session, u64), Cancelling>>,
    recorder: Mutex<Recorder>,
}

#[derive(Debug)]
struct State {
    machine: Machine<Ticket, Buffer>,
    lanes: [LaneIo; 2],
    /// When the timer task plans to wake.
    armed: Option<Time>,
    /// Watches the peer's process, where that is possible.
    watch: Option<Watch>,
    /// Where it was dialled last, for errors.
    attempts: Vec<Attempt>,
    /// The refusal that the dials meet, and since when, for the one who asked to connect.
    refusal: Option<(Refusal, Instant)>,
}

/// The sockets' side of one lane.
#[derive(Debug, Default)]
struct LaneIo {
    current: Option<(ConnectionId, AnyStream)>,
    writer: Option<Box<Writer>>,
    /// The system takes no more for now: the pump waits for it, and nobody else tries.
    blocked: bool,
    /// Whoever wrote last had written his share: the pump writes on.
    left_over: bool,
    dial: Option<AbortHandle>,
    /// Who was at the other end of the last connection.
    trust: Option<Trust>,
    /// What was lent by an earlier connection did not get through: nothing is by later ones.
    lends_nothing: bool,
}

impl Link {
    pub(crate) fn new(
        context: &Context,
        owner: Weak<Shared>,
        io: Handle,
        tasks: TaskTracker,
        settings: Settings,
    ) -> Arc<Link> {
        let event_loop = owner.upgrade().and_then(|owner| owner.config.event_loop.clone());
        let link = Arc::new(Link {
            peer: settings.peer.clone(),
            number: context.draw(),
            urgent: context.urgent(),
            context: context.clone(),
            io,
            tasks,
            owner,
            state: Mutex::new(State {
                machine: Machine::new(settings),
                lanes: [LaneIo::new(), LaneIo::new()],
                armed: None,
                watch: None,
                attempts: Vec::new(),
                refusal: None,
            }),
            in_order: ReentrantMutex::new(()),
            wake: [Notify::new(), Notify::new()],
            nudge: Nudge::new(event_loop),
            due_changed: Notify::new(),
            changed: Notify::new(),
            patience: AtomicUsize::new(0),
            watched: AtomicBool::new(false),
            inbox: Inbox::default(),
            over: CancellationToken::new(),
            running: Mutex::default(),
            recorder: Mutex::default(),
        });
        link.tasks.spawn_on(link.clone().keep_time(), &link.urgent);
        link
    }

    /// Looks at the state machine.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Machine<Ticket, Buffer>) -> R) -> R {
        look(&self.state.lock().machine)
    }

    /// Sends a request. Nobody gains by waiting for a batch when nothing else is under way.
    pub(crate) fn send(self: &Arc<Self>, request: Request<Ticket>) -> Result<Admission, Request<Ticket>> {
        self.queue_deciding(|machine, now| {
            let write = if machine.is_quiet() { Write::Now } else { Write::Pump };
            (machine.send(now, request), write)
        })
    }

    /// Sends a request if there is room for it now.
    pub(crate) fn try_send(self: &Arc<Self>, request: Request<Ticket>) -> bool {
        self.queue(Write::Pump, |machine, now| {
            let room = machine.has_room(request.outgoing.cost(), request.express);
            room && machine.send(now, request).is_ok()
        })
    }

    /// Where the link was dialled last and what came of it, and the peer's refusal if there was one.
    pub(crate) fn last_attempts(&self) -> (Vec<Attempt>, Option<(Refusal, Instant)>) {
        let state = self.state.lock();
        (state.attempts.clone(), state.refusal.clone())
    }

    /// A dial has begun: the first since the last connection has no other outcome to tell yet.
    pub(crate) fn note_dialling(&self, address: &str) {
        let mut state = self.state.lock();
        if state.attempts.is_empty() {
            let outcome = "no answer yet".to_owned();
            state.attempts.push(Attempt { address: address.to_owned(), outcome });
        }
    }

    pub(crate) fn note_attempts(&self, attempts: Vec<Attempt>, refusal: Option<Refusal>) {
        let mut state = self.state.lock();
        state.attempts = attempts;
        let since = state.refusal.take().map(|(_, since)| since);
        state.refusal = refusal.map(|refusal| (refusal, since.unwrap_or_else(Instant::now)));
        drop(state);
        self.changed.notify_waiters();
    }

    /// Dials for as long as the guard lives, whoever refuses: the peer may not have started yet. Without a guard, a link
    /// gives up what cannot be reached.
    pub(crate) fn patiently(self: &Arc<Self>) -> Patience<'_> {
        self.patience.fetch_add(1, Ordering::AcqRel);
        self.run(Write::Now, |machine, now| machine.connect(now, true));
        Patience(self)
    }

    // ---- time ----

    fn arm(&self, state: &mut State) {
        let due = state.machine.poll_timeout();
        if due.is_some_and(|due| state.armed.is_none_or(|armed| due < armed)) {
            state.armed = due;
            self.due_changed.notify_one();
        }
    }

    async fn keep_time(self: Arc<Self>) {
        loop {
            let due = {
                let mut state = self.state.lock();
                state.armed = state.machine.poll_timeout();
                state.armed
            };
            tokio::select! {
                biased;
                () = self.over.cancelled() => return,
                () = self.due_changed.notified() => {}
                () = at(due.map(|due| self.context.instant(due))) => {
                    let lag = self.run(Write::Urgent, |machine, now| {
                        let lag = due.map_or(Duration::ZERO, |due| now - due);
                        machine.set_lag(lag);
                        machine.handle_timeout(now);
                        lag
                    });
                    if lag >= NOTEWORTHY_LAG {
                        self.record(Happening::Late(lag));
                    }
                }
            }
        }
    }

    // ---- connections ----

    fn dial(self: &Arc<Self>, lane: Lane) {
        let Some(owner) = self.owner.upgrade() else { return };
        let task = self.io.spawn(crate::manager::dial(owner, self.clone(), lane));
        self.state.lock().lanes[lane.index()].dial = Some(task.abort_handle());
    }

    fn abandon_dial(&self, lane: Lane) {
        if let Some(dial) = self.state.lock().lanes[lane.index()].dial.take() {
            dial.abort();
        }
    }

    pub(crate) fn dial_failed(self: &Arc<Self>, lane: Lane, failure: &DialFailure) {
        let attempts = self.state.lock().attempts.clone();
        self.record(Happening::DialFailed { lane, failure: failure.clone(), attempts });
        self.run(Write::Now, |machine, now| machine.dial_failed(now, lane, failure));
    }

    fn close(&self, lane: Lane, connection: ConnectionId) {
        let mut state = self.state.lock();
        let io = &mut state.lanes[lane.index()];
        let Some((_, stream)) = io.current.take_if(|(current, _)| *current == connection) else { return };
        // What was lent by this connection goes with it. Who writes just now lets go of it later.
        let writer = io.writer.take();
        writer.iter().for_each(|writer| io.let_go(writer));
        drop(state);
        drop(writer);
        stream.close();
    }

    /// Makes a connection a lane, as far as the state machine is concerned. Its bytes flow once [`Link::install`] is
    /// called, which an acceptor does after its READY.
    pub(crate) fn attach(self: &Arc<Self>, dialled: bool, ready: &MosaicReady) -> Result<Attached, Refusal> {
        let fresh = Session(self.context.draw());
        self.run(Write::Pump, |machine, now| machine.attach(now, dialled, ready, fresh))
    }

    pub(crate) fn attach_foreign(self: &Arc<Self>, dialled: bool) -> Result<Attached, Refusal> {
        let session = Session(self.context.draw());
        self.run(Write::Pump, |machine, now| machine.attach_foreign(now, dialled, session))
    }

    /// Lets the bytes of an attached connection flow, unless another has taken its place meanwhile.
    pub(crate) fn install(self: &Arc<Self>, lane: Lane, connection: ConnectionId, mut opening: Opening) {
        let (io, carrier) = match lane {
            Lane::Control => (self.hurry(&mut opening), None),
            Lane::Data => (&self.io, self.lend(&mut opening)),
        };
        let old = {
            let mut state = self.state.lock();
            if state.machine.connection(lane) != Some(connection) {
                drop(state);
                return opening.stream.close();
            }
            // Whoever waits for what follows is not to take an old refusal for an answer.
            state.attempts.clear();
            state.refusal = None;
            let io = &mut state.lanes[lane.index()];
            io.dial = None;
            io.blocked = false;
            io.left_over = false;
            opening.lends &= !io.lends_nothing;
            io.writer = Some(Box::new(Writer::of(&opening, &self.context)));
            io.trust = Some(opening.stream.trust());
            io.current.replace((connection, opening.stream.clone()))
        };
        if let Some((_, stream)) = old {
            stream.close();
        }
        self.record(Happening::Connected { lane, transport: opening.stream.name() });
        self.tasks.spawn_on(Pump::new(self.clone(), lane, connection, opening, carrier).run(), io);
    }

    /// Streams are made on an I/O thread; that of a control lane moves to the urgent one, if it can be had. Returns where
    /// it belongs: only there is what it reads and what its reactor tells of it in order.
    fn hurry(&self, opening: &mut Opening) -> &Handle {
        let _reactor = self.urgent.enter();
        match opening.stream.clone().moved() {
            Ok(moved) => {
                opening.stream = moved;
                &self.urgent
            }
            Err(error) => {
                debug!(peer = %self.peer, %error, "a control lane stays with its I/O thread");
                &self.io
            }
        }
    }

    /// What goes by a data lane is carried where it is wanted, if the executor can: that of the manager that comes back.
    fn lend(&self, opening: &mut Opening) -> Option<Arc<Shared>> {
        let owner = self.owner.upgrade()?;
        opening.stream.descriptor()?;
        if owner.config.event_loop.is_some() {
            opening.stream = opening.stream.clone().unwatched()?;
        } else {
            let _reactor = owner.carrying_executor()?.enter();
            opening.stream = opening.stream.clone().moved().ok()?;
        }
        self.context.note_carried(&opening.stream);
        Some(owner)
    }

    pub(crate) fn detach(self: &Arc<Self>, lane: Lane, connection: ConnectionId) {
        self.close(lane, connection);
        self.run(Write::Now, |machine, now| machine.detach(now, lane, connection));
    }

    /// Ends our side of every connection once all is written, so that the peer reads our goodbye to its end.
    pub(crate) fn finish_writing(&self) {
        for io in &self.state.lock().lanes {
            if let Some((_, stream)) = &io.current {
                stream.finish();
            }
        }
    }

    /// Whether somebody vouches for the peer on all connections of this link: the kernel, or the job's credential.
    pub(crate) fn is_authenticated(&self) -> bool {
        let trust = self.state.lock().lanes.each_ref().map(|io| io.trust);
        trust[Lane::Control.index()].is_some() && !trust.contains(&Some(Trust::Anyone))
    }

    /// The transports of its lanes, where they are connected.
    pub(crate) fn transports(&self) -> [Option<&'static str>; 2] {
        self.state.lock().lanes.each_ref().map(|io| io.current.as_ref().map(|(_, stream)| stream.name()))
    }

    pub(crate) fn close_connections(&self) {
        let streams: Vec<_> = self.state.lock().lanes.iter().filter_map(|io| io.current.clone()).collect();
        streams.iter().for_each(|(_, stream)| stream.close());
    }

    /// Ends once everything that was accepted has arrived, or the link is over.
    pub(crate) async fn delivered(&self) {
        self.watch(|link| link.look(|machine| machine.is_drained())).await;
    }

    /// Ends once everything that is queued has been taken by the system, or the link is over.
    pub(crate) async fn written(&self) {
        self.watch(Link::is_written).await;
    }

    async fn watch(&self, done: impl Fn(&Link) -> bool) {
        self.watched.store(true, Ordering::Release);
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if done(self) || self.over.is_cancelled() {
                return;
            }
            changed.await;
        }
    }

    fn tell_watchers(&self) {
        if self.watched.load(Ordering::Acquire) {
            self.changed.notify_waiters();
        }
    }

    /// Whether all that was polled has been taken by the system. What somebody is writing has not.
    fn is_written(&self) -> bool {
        let state = self.state.lock();
        Lane::ALL.into_iter().all(|lane| {
            let io = &state.lanes[lane.index()];
            let idle = io.writer.as_ref().is_some_and(|writer| writer.transmit.is_empty());
            io.current.is_none() || (idle && !state.machine.wants_transmit(lane))
        })
    }

    /// Ends the link for good, by proof or by the monitor's word.
    pub(crate) fn end(self: &Arc<Self>, verdict: Verdict, reason: mosaic_proto::Reason) {
        self.run(Write::Now, |machine, _| machine.end(verdict, reason));
    }

    pub(crate) fn peer_instance(&self) -> Option<Instance> {
        self.look(|machine| machine.peer_instance())
    }

    /// Sends the reply to a request; the dispatcher flushes after a batch of them.
    pub(crate) fn reply(self: &Arc<Self>, write: Write, session: Session, id: u64, outgoing: Outgoing) {
        self.queue(write, |machine, now| machine.reply(now, session, id, outgoing));
    }
}

/// Ends when it is time; never if that is not known.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Someone waits for the link to come up.
pub(crate) struct Patience<'a>(&'a Arc<Link>);

impl Drop for Patience<'_> {
    fn drop(&mut self) {
        self.0.patience.fetch_sub(1, Ordering::AcqRel);
        self.0.run(Write::Now, |machine, now| {
            // Under the lock: who starts to wait in this moment makes the link patient after this.
            if self.0.patience.load(Ordering::Acquire) == 0 {
                machine.lose_patience(now);
            }
        });
    }
}

impl LaneIo {
    fn new() -> LaneIo {
        LaneIo { writer: Some(Box::default()), ..LaneIo::default() }
    }

    /// The connection that it wrote to is gone.
    fn let_go(&mut self, writer: &Writer) {
        self.lends_nothing |= writer.lender.as_ref().is_some_and(Lender::is_unheard);
    }
}
