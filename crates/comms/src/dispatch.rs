//! The one place where a received message becomes a call.
//!
//! Each peer has an inbox and one dispatcher, which takes its requests in order and polls each handler once in place:
//! what is ready at once never becomes a task, and what was sent first starts first. A pending handler is spawned.
//! Express requests have no order and are spawned at once.

mod caller;
mod elsewhere;
mod running;

use std::collections::{BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use mosaic_proto::Session;
use mosaic_proto::limits::MAX_REMEMBERED_CANCELS;
use mosaic_proto::wire::{Codec, Facts};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, TryAcquireError, mpsc, oneshot};
use tokio::time::Instant;

pub(crate) use self::caller::Asked;
use self::caller::Caller;
pub(crate) use self::elsewhere::Cancelling;
pub use self::elsewhere::{Assignment, Unwritten};
use self::running::Running;
use crate::args::Args;
use crate::error::{HandlerError, RemoteError};
use crate::link::{Link, Write};
use crate::manager::Shared;
use crate::message::{Message, Origin};
use crate::method::Method;
use crate::objects::ObjectRef;
use crate::pool::Received;
use crate::runtime::{Call, Handling, Runtime};
use crate::trace::{self, Surroundings};

/// Requests that a dispatcher takes before the replies to them are written at the latest.
const BATCH: usize = 64;

/// The method by which a peer stops this runtime, once what it sent before has been started.
const STOP: &str = "stop";

/// Messages of one peer beyond which express ones are refused as long as nobody takes them: no window bounds those.
pub(crate) const HELD: usize = 4096;

/// What has come from one peer and has not been started.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    gate: Mutex<Gate>,
    /// Started with the first message. Its queue is bounded by the window of the link, in bytes.
    dispatcher: OnceLock<mpsc::UnboundedSender<Turn>>,
    given_up: Mutex<GivenUp>,
}

/// Requests that were given up before their turn. A link outlives its sessions, and the next may use the same ids.
#[derive(Debug, Default)]
struct GivenUp {
    /// That of the last cancellation.
    session: Session,
    ids: BTreeSet<u64>,
    last_started: (Session, u64),
}

/// Messages are held until the peer's arrival was announced; then they go to the dispatcher, or to those who `recv`.
#[derive(Debug, Default)]
struct Gate {
    open: bool,
    /// Nothing is taken any more: the link or the manager has ended, and no dispatcher may be started.
    closed: bool,
    held: VecDeque<Message>,
}

/// What a dispatcher gets to do, in order.
#[derive(Debug)]
enum Turn {
    Serve(Message),
    /// Everything before this has been started.
    Tell(oneshot::Sender<()>),
    End,
}

impl Inbox {
    pub(crate) fn receive(&self, shared: &Arc<Shared>, message: Message) {
        let mut gate = self.gate.lock();
        if gate.closed {
            // The end of the link answers what comes now.
        } else if gate.open {
            self.pass_on(shared, message);
        } else if gate.held.len() < HELD || !message.facts().express {
            gate.held.push_back(message);
        } else {
            refuse(shared, message);
        }
    }

    /// Lets messages through, those that were held first.
    pub(crate) fn open(&self, shared: &Arc<Shared>) {
        let mut gate = self.gate.lock();
        gate.open = true;
        gate.held.drain(..).for_each(|message| self.pass_on(shared, message));
        if gate.closed {
            self.end_dispatcher();
        }
    }

    /// To those who pull messages, or to the dispatcher. The gate stays locked meanwhile, which keeps the order.
    fn pass_on(&self, shared: &Arc<Shared>, message: Message) {
        match shared.intake.keep(shared, message) {
            Some(message) if message.facts().express => serve_apart(shared, message),
            Some(message) => self.dispatch(shared, message),
            None => {}
        }
    }

    /// Queues a message for the dispatcher.
    pub(crate) fn dispatch(&self, shared: &Arc<Shared>, message: Message) {
        let dispatcher = self.dispatcher.get_or_init(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            shared.start_dispatcher(run(shared.clone(), receiver));
            sender
        });
        // A dispatcher ends with its link or the manager; what comes then is answered by that end.
        let _ = dispatcher.send(Turn::Serve(message));
    }

    /// Ends once everything that is queued now has been started.
    pub(crate) async fn drained(&self) {
        let Some(dispatcher) = self.dispatcher.get() else { return };
        let (tell, told) = oneshot::channel();
        if dispatcher.send(Turn::Tell(tell)).is_ok() {
            // An error means that the dispatcher has ended, and nothing will be started.
            let _ = told.await;
        }
    }

    /// Takes nothing more. What was taken is started still, also what waits until its sender has been announced.
    pub(crate) fn close(&self) {
        self.gate.lock().closed = true;
        self.end_dispatcher();
    }

    /// As [`Inbox::close`], and nothing that is held will be started. A message refers to its link, which would keep
    /// itself alive by what it holds.
    pub(crate) fn discard(&self) {
        self.close();
        let held = std::mem::take(&mut self.gate.lock().held);
        drop(held);
    }

    fn end_dispatcher(&self) {
        if let Some(dispatcher) = self.dispatcher.get() {
            // An error means that it has ended.
            let _ = dispatcher.send(Turn::End);
        }
    }

    /// A request is given up that cannot be found among the running: it waits, or is about to run.
    pub(crate) fn cancel(&self, session: Session, id: u64) {
        let mut given_up = self.given_up.lock();
        if std::mem::replace(&mut given_up.session, session) != session {
            given_up.ids.clear();
        }
        let (started_in, last) = given_up.last_started;
        if (started_in != session || id >= last) && given_up.ids.len() < MAX_REMEMBERED_CANCELS {
            given_up.ids.insert(id);
        }
    }

    /// Whether the request that has started last was given up just then.
    fn was_cancelled(&self, session: Session, id: u64) -> bool {
        let mut given_up = self.given_up.lock();
        given_up.session == session && given_up.ids.remove(&id)
    }

    /// Notes that a request has its turn; false if it was given up.
    fn start(&self, session: Session, id: u64) -> bool {
        let mut given_up = self.given_up.lock();
        let (started_in, last) = given_up.last_started;
        given_up.last_started = (session, if started_in == session { last.max(id) } else { id });
        if given_up.session != session {
            return true;
        }
        let wanted = !given_up.ids.remove(&id);
        while given_up.ids.first().is_some_and(|&first| first < id) {
            given_up.ids.pop_first();
        }
        wanted
    }
}

async fn run(shared: Arc<Shared>, mut turns: mpsc::UnboundedReceiver<Turn>) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut queue = VecDeque::new();
    let mut saturated = Saturated::default();
    while !queue.is_empty() || turns.recv_many(&mut batch, BATCH).await > 0 {
        queue.extend(batch.drain(..));
        let mut taken = Taken::default();
        // A handler that is done at once leaves its permission to the next.
        let mut spare = None;
        while let Some(turn) = queue.pop_front() {
            match turn {
                Turn::Serve(message) => {
                    let permit = match spare.take().map(Ok).or_else(|| permit_now(&shared, message.facts())) {
                        Some(Ok(permit)) => {
                            saturated.ends();
                            Ok(permit)
                        }
                        Some(refused) => refused,
                        None => {
                            taken.settle();
                            saturated.begins(&message);
                            let permit = permit_later(&shared, &mut turns, &mut queue).await;
                            if queue.is_empty() {
                                saturated.ends();
                            }
                            permit
                        }
                    };
                    taken.note(&message);
                    // A reply doesn't wait for the handlers behind it, which may compute; the last is written by us.
                    let write = if queue.is_empty() { Write::Later } else { Write::Pump };
                    let (caller, buffers) = Caller::of(&shared, message, write);
                    spare = serve_with(caller, buffers, permit).await;
                }
                Turn::Tell(tell) => drop(tell.send(())),
                Turn::End => turns.close(),
            }
        }
        taken.settle();
        saturated.ends();
    }
}

/// Whether a peer has been told that its requests wait for handlers to end, and over which link.
#[derive(Default)]
struct Saturated(Option<Arc<Link>>);

impl Saturated {
    fn begins(&mut self, message: &Message) {
        if let (None, Origin::Link { link, .. }) = (&self.0, &message.origin) {
            link.queue(Write::Now, |machine, _| machine.saturate());
            self.0 = Some(link.clone());
        }
    }

    fn ends(&mut self) {
        if let Some(link) = self.0.take() {
            link.queue(Write::Pump, |machine, now| machine.relieve(now));
        }
    }
}

/// What a batch has taken out of a link's window, told to the link at once.
#[derive(Default)]
struct Taken {
    from: Option<(Arc<Link>, Session)>,
    cost: u64,
}

impl Taken {
    fn note(&mut self, message: &Message) {
        let Origin::Link { link, session, express: false } = &message.origin else { return };
        let same = self.from.as_ref().is_some_and(|(noted, of)| Arc::ptr_eq(noted, link) && of == session);
        if !same {
            self.settle();
            self.from = Some((link.clone(), *session));
        }
        self.cost += message.cost();
    }

    /// Tells the link, and writes what the handlers have left: no other thread has to wake for it.
    fn settle(&mut self) {
        let Some((link, session)) = self.from.take() else { return };
        let cost = std::mem::take(&mut self.cost);
        link.queue(Write::Now, |machine, now| machine.consumed(now, session, cost));
    }
}

type Permit = Result<OwnedSemaphorePermit, ()>;

/// The permission to run, or its refusal; `None` if the message has to wait for it.
fn permit_now(shared: &Shared, facts: Facts) -> Option<Permit> {
    match shared.running.clone().try_acquire_owned() {
        Ok(permit) => Some(Ok(permit)),
        // A nested request must not wait: what runs may wait for it.
        Err(_) if is_nested(facts) || facts.express => Some(Err(())),
        Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => None,
    }
}

/// Waits for the permission to run. Nested requests that come behind are refused meanwhile: what runs may wait for
/// them, and would never end if they waited behind this one. The others keep their turn.
async fn permit_later(
    shared: &Arc<Shared>,
    turns: &mut mpsc::UnboundedReceiver<Turn>,
    queue: &mut VecDeque<Turn>,
) -> Permit {
    let refuse_nested = |turn| match turn {
        Turn::Serve(message) if is_nested(message.facts()) => {
            message.origin.consumed(message.cost());
            refuse(shared, message);
            None
        }
        other => Some(other),
    };
    let waiting = std::mem::take(queue);
    queue.extend(waiting.into_iter().filter_map(refuse_nested));
    let mut permit = std::pin::pin!(shared.running.clone().acquire_owned());
    loop {
        let turn = tokio::select! {
            biased;
            permit = &mut permit => return permit.map_err(drop),
            Some(turn) = turns.recv() => turn,
        };
        match turn {
            // What is queued already is started still.
            Turn::End => turns.close(),
            other => queue.extend(refuse_nested(other)),
        }
    }
}

fn is_nested(facts: Facts) -> bool {
    facts.depth > 0
}

/// Answers a message for which there is no room, from the executor: whoever found none holds a lock.
pub(crate) fn refuse(shared: &Arc<Shared>, message: Message) {
    let (mut caller, _) = Caller::of(shared, message, Write::Pump);
    shared.handlers.spawn_on(async move { caller.refuse() }, &shared.executor);
}

/// Serves an express message on the executor, without order. From now on its caller can cancel it.
pub(crate) fn serve_apart(shared: &Arc<Shared>, message: Message) {
    let (mut caller, buffers) = Caller::of(shared, message, Write::Now);
    caller.register();
    shared.handlers.spawn_on(serve_for(caller, buffers), &shared.executor);
}

/// Starts the handler of one message. Returns once it has been polled once, or waits for its permission to run.
pub(crate) async fn serve(shared: &Arc<Shared>, message: Message, write: Write) {
    let (caller, buffers) = Caller::of(shared, message, write);
    serve_for(caller, buffers).await;
}

async fn serve_for(caller: Caller, buffers: Vec<Received>) {
    let permit = match permit_now(&caller.shared, caller.asked.facts()) {
        Some(permit) => permit,
        None => caller.shared.running.clone().acquire_owned().await.map_err(drop),
    };
    drop(serve_with(caller, buffers, permit).await);
}

/// Serves a request that has its permission, or was refused it. A permission that is not needed any more comes back.
async fn serve_with(
    mut caller: Caller,
    buffers: Vec<Received>,
    permit: Permit,
) -> Option<OwnedSemaphorePermit> {
    if !caller.wants_it() {
        caller.forget();
        return permit.ok();
    }
    match permit {
        Ok(permit) => start(caller, buffers, permit).await,
        Err(()) => {
            caller.refuse();
            None
        }
    }
}

async fn start(
    mut caller: Caller,
    buffers: Vec<Received>,
    permit: OwnedSemaphorePermit,
) -> Option<OwnedSemaphorePermit> {
    let asked = caller.asked.clone();
    if asked.deadline().is_some_and(|deadline| Instant::now() >= deadline) {
        caller.fail(RemoteError::new(RemoteError::EXPIRED, "the deadline had passed"));
        return Some(permit);
    }
    caller.since = caller.shared.tally.stopwatch.start();
    let handling = match begin(&caller, buffers) {
        Ok(handling) => handling,
        Err(error) => {
            caller.fail(*error);
            return Some(permit);
        }
    };
    let facts = asked.facts();
    let (span, trace) = trace::of_call(asked.sender(), asked.method(), facts.id, asked.trace());
    let here = Surroundings::of_handler(facts.depth, trace);
    let mut running = Running { caller, permit, span, here };
    match handling {
        Handling::Done(result) => {
            let stops = result.is_ok() && is_stop(&asked);
            running.caller.finish(result);
            // Whoever asked has its answer: what is queued when a stop begins is delivered still.
            if stops {
                running.caller.shared.begin_stop();
            }
            return Some(running.permit);
        }
        Handling::Future(handler) => return running.poll_once(handler).await,
        Handling::Compute(compute) => running.compute(compute),
        Handling::Turn(turn) => running.take_turn(turn).await,
        Handling::Elsewhere(hand_over) => {
            let assignment = Assignment::new(running);
            // One that panics drops it, and so has answered.
            drop(std::panic::catch_unwind(AssertUnwindSafe(|| hand_over(assignment))));
        }
    }
    None
}

/// Decodes the arguments and asks the runtime to handle the call.
fn begin(caller: &Caller, buffers: Vec<Received>) -> Result<Handling, Box<RemoteError>> {
    let (shared, asked) = (&caller.shared, &caller.asked);
    let refuse = |kind, message: String| Box::new(RemoteError::new(kind, message));
    if asked.facts().codec != Codec::MessagePack {
        return Err(refuse(RemoteError::ARGUMENT, "pickled arguments are not accepted here".to_owned()));
    }
    let call = Call { asked: asked.clone(), comms: shared.handle() };
    let runtime = shared.runtime.clone();
    if is_stop(asked) {
        caller.may_stop()?;
        return Ok(guarded(|| Some(runtime.stop(call))).expect("a runtime says how it stops"));
    }
    let args = Args::of(asked, buffers).map_err(|error| HandlerError::from(error).0).map_err(as_argument)?;
    let Some(target) = asked.object() else { return ask(runtime, asked, args, call) };
    match shared.objects.find(target) {
        Ok(object) => ask(object, asked, args, call),
        Err(missing) => {
            let object = ObjectRef::of(target);
            guarded(|| runtime.command(&object, asked.method(), args, call)).ok_or(missing)
        }
    }
}

/// Asks whoever is called to handle it.
fn ask(
    callee: Arc<dyn Runtime>,
    asked: &Asked,
    args: Args,
    call: Call,
) -> Result<Handling, Box<RemoteError>> {
    guarded(|| callee.clone().dispatch(asked.method(), args, call)).ok_or_else(|| {
        let message = unknown_method(asked, &callee.methods());
        Box::new(RemoteError::new(RemoteError::UNKNOWN_METHOD, message))
    })
}

/// A runtime that panics has failed with this call.
fn guarded(begin: impl FnOnce() -> Option<Handling>) -> Option<Handling> {
    std::panic::catch_unwind(AssertUnwindSafe(begin))
        .unwrap_or_else(|panic| Some(Handling::Done(Err(HandlerError(Box::new(panicked(&*panic)))))))
}

/// Whether this runtime itself is to stop. Objects may have methods of that name.
fn is_stop(asked: &Asked) -> bool {
    asked.object().is_none() && asked.method() == STOP
}

fn as_argument(mut error: Box<RemoteError>) -> Box<RemoteError> {
    RemoteError::ARGUMENT.clone_into(&mut error.kind);
    error
}

fn unknown_method(asked: &Asked, methods: &[Method]) -> String {
    let of = asked.object().map_or_else(String::new, |target| format!(" of {}", ObjectRef::of(target)));
    let known = match methods {
        [] => return format!("there is no method `{}`{of}: it has none", asked.method()),
        methods => methods.iter().map(|method| format!("`{}`", method.name())).collect::<Vec<_>>().join(", "),
    };
    format!("there is no method `{}`{of}, only {known}", asked.method())
}

/// The error that a panic is to its caller.
pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> RemoteError {
    let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
    let message = message.unwrap_or_else(|| "a value that is no text".to_owned());
    RemoteError::new(RemoteError::PANIC, format!("the handler panicked: {message}"))
}
