//! A request from its encoding to the link: the way out that every message takes.

use std::borrow::Cow;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mosaic_proto::link::{Admission, Execution, Outcome, Request};
use mosaic_proto::wire::{Body, Codec, Envelope, Incoming, Kind, Outgoing};
use mosaic_proto::{Reason, Time, Uid};
use parking_lot::Mutex;
use smol_str::SmolStr;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::reply::{Cancel, Reply, Waiting};
use super::{CommsManager, Phase, Shared};
use crate::encode::{EncodeError, Encoded, encode_value};
use crate::error::{CallError, RemoteError, TrySendError, TrySendReason};
use crate::kwargs::IntoArgs;
use crate::link::{Link, Ticket, Write};
use crate::message::{Message, Origin, OwnReply};
use crate::objects::ObjectRef;
use crate::trace::{self, Surroundings};

/// A request that is being put together.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) comms: CommsManager,
    pub(super) uid: SmolStr,
    /// Who is said to have sent a message to oneself, if it is somebody else.
    sender: Option<Uid>,
    /// The object that is meant, if it is not the runtime itself.
    pub(super) object: Option<ObjectRef>,
    pub(super) method: SmolStr,
    pub(super) args: Result<Encoded, EncodeError>,
    pub(super) express: bool,
    pub(super) deadline: Option<Duration>,
}

/// Where a message goes.
enum Route {
    Link(Arc<Link>),
    Own,
    /// Its uid has left, or died.
    Departed(Reason),
    Unknown,
}

/// What can be done at once, or has to be waited for. Most messages need no future that waits, and no memory for one.
pub(super) enum Step<T> {
    Done(T),
    Wait(Pin<Box<dyn Future<Output = T> + Send>>),
}

impl<T> Step<T> {
    pub(super) async fn end(self) -> T {
        match self {
            Step::Done(value) => value,
            Step::Wait(future) => future.await,
        }
    }
}

impl Draft {
    pub(super) fn new(comms: &CommsManager, uid: &str, method: &str, args: impl IntoArgs) -> Draft {
        let args = args.into_args();
        Draft {
            comms: comms.clone(),
            uid: SmolStr::new(uid),
            sender: None,
            object: None,
            method: SmolStr::new(method),
            args,
            express: false,
            deadline: None,
        }
    }

    /// The same as if `sender` had sent it to us.
    pub(super) fn from(self, sender: &Uid) -> Draft {
        Draft { sender: Some(sender.clone()), ..self }
    }

    /// The same for an object in the runtime.
    pub(super) fn to(self, object: ObjectRef) -> Draft {
        Draft { object: Some(object), ..self }
    }

    /// The same to somebody else, without the arguments.
    pub(super) fn likewise(&self, uid: &Uid) -> Draft {
        Draft {
            comms: self.comms.clone(),
            uid: SmolStr::new(uid),
            sender: None,
            object: self.object.clone(),
            method: self.method.clone(),
            args: Ok(Encoded::default()),
            express: self.express,
            deadline: self.deadline,
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.comms.shared
    }

    /// What the link is given, and the span that it is told by. The encoded arguments stay where they are.
    fn request(
        &self,
        args: &Encoded,
        reply: Option<Ticket>,
        deadline: Option<Time>,
    ) -> Result<(Request<Ticket>, Span), CallError> {
        let here = Surroundings::here();
        let (span, trace) = trace::of_request(&here, &self.uid, &self.method);
        let trace = trace.map(|context| context.to_string());
        let envelope = self.envelope(reply.is_some(), &here, trace.as_deref());
        let outgoing = self.encode(&envelope, args)?;
        let nested = envelope.depth > 0;
        Ok((Request { outgoing, express: self.express, nested, reply, deadline }, span))
    }

    /// The message, its id still to be drawn.
    fn encode(&self, envelope: &Envelope<'_>, args: &Encoded) -> Result<Outgoing, CallError> {
        let outgoing = Outgoing::new(envelope, Body::Copy(&args.body), args.buffers.clone());
        let outgoing = outgoing.map_err(|_| self.names_too_large())?;
        let control = mosaic_proto::limits::MAX_CONTROL_MESSAGE as u64;
        if self.express && outgoing.cost() > control {
            return Err(self.too_large(outgoing.cost(), control));
        }
        Ok(outgoing)
    }

    fn envelope<'a>(
        &'a self,
        wants_reply: bool,
        here: &Surroundings,
        trace: Option<&'a str>,
    ) -> Envelope<'a> {
        Envelope {
            kind: Kind::Message,
            id: 0,
            method: &self.method,
            wants_reply,
            express: self.express,
            depth: here.depth_of_requests(),
            command: self.object.as_ref().map(ObjectRef::target),
            remaining: self.deadline,
            codec: Codec::MessagePack,
            trace,
        }
    }

    fn names_too_large(&self) -> CallError {
        let size = self.method.len() + self.object.as_ref().map_or(0, ObjectRef::len);
        self.too_large(size as u64, MAX_NAMES)
    }

    fn too_large(&self, size: u64, limit: u64) -> CallError {
        match Uid::new(&self.uid) {
            Ok(peer) => CallError::TooLarge { peer, size, limit },
            Err(invalid) => invalid.into(),
        }
    }

    fn take_args(&mut self) -> Result<Encoded, CallError> {
        Ok(std::mem::replace(&mut self.args, Ok(Encoded::default()))?)
    }

    /// Sends one way.
    pub(super) fn send(mut self) -> Step<Result<(), CallError>> {
        match self.take_args().and_then(|args| Ok((self.known_route()?, args))) {
            Ok((Some(route), args)) => self.send_by(route, args),
            Ok((None, args)) => Step::Wait(Box::pin(async move {
                let route = self.asked_route().await?;
                self.send_by(route, args).end().await
            })),
            Err(error) => Step::Done(Err(error)),
        }
    }

    fn send_by(self, route: Route, args: Encoded) -> Step<Result<(), CallError>> {
        let link = match route {
            Route::Link(link) => link,
            Route::Own => return Step::Done(self.send_to_self(args, None).map(drop)),
            Route::Departed(_) => return Step::Done(self.dropped()),
            Route::Unknown => return Step::Done(Err(self.unknown())),
        };
        let (request, span) = match self.request(&args, None, None) {
            Ok(request) => request,
            Err(error) => return Step::Done(Err(error)),
        };
        match link.send(request) {
            Ok(Admission::Accepted(_)) => Step::Done(Ok(())),
            Ok(Admission::Waiting(id)) => Step::Wait(Box::pin(async move {
                let _span = span;
                self.accepted(&link, id).await
            })),
            Err(_) if link.look(|machine| machine.ended().is_some()) => Step::Done(self.dropped()),
            Err(_) => Step::Done(Err(CallError::Overloaded { peer: link.peer.clone() })),
        }
    }

    /// A one-way message to someone who has left is no error.
    fn dropped(&self) -> Result<(), CallError> {
        self.shared().tally.dropped.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Waits until a message that waits for room has been accepted.
    async fn accepted(&self, link: &Arc<Link>, id: u64) -> Result<(), CallError> {
        let (ticket, outcome) = oneshot::channel();
        if link.queue(Write::Pump, |machine, now| machine.notify_acceptance(now, id, ticket)).is_some() {
            return Ok(());
        }
        let mut withdraw = Withdraw { link, id, armed: true };
        let outcome = outcome.await;
        withdraw.armed = false;
        match outcome {
            Ok(Outcome::Disconnected { reason, execution }) => {
                Err(self.shared().disconnected(&link.peer, reason, execution))
            }
            Ok(Outcome::TooLarge { size, limit }) => {
                Err(CallError::TooLarge { peer: link.peer.clone(), size, limit })
            }
            Ok(Outcome::Overloaded) => Err(CallError::Overloaded { peer: link.peer.clone() }),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Sends a request and gives what will be its reply.
    pub(super) fn call<R: 'static>(mut self) -> Step<Result<Reply<R>, CallError>> {
        match self.take_args().and_then(|args| Ok((self.known_route()?, args))) {
            Ok((Some(route), args)) => Step::Done(self.call_by(route, Cow::Owned(args), None)),
            Ok((None, args)) => Step::Wait(Box::pin(self.call_with(Cow::Owned(args)))),
            Err(error) => Step::Done(Err(error)),
        }
    }

    /// The same with arguments that others may send too.
    pub(super) async fn call_with<R>(self, args: Cow<'_, Encoded>) -> Result<Reply<R>, CallError> {
        if let Some(route) = self.known_route()? {
            return self.call_by(route, args, None);
        }
        let begun = Instant::now();
        let route = self.asked_route().await?;
        self.call_by(route, args, Some(begun))
    }

    /// `begun`: if that was before now. The deadline counts from there.
    fn call_by<R>(
        self,
        route: Route,
        args: Cow<'_, Encoded>,
        begun: Option<Instant>,
    ) -> Result<Reply<R>, CallError> {
        let peer = match route {
            Route::Link(link) => return self.call_over(link, &args, begun),
            Route::Own => self.shared().uid.clone(),
            Route::Departed(reason) => {
                let peer = Uid::new(&self.uid)?;
                return Err(self.shared().disconnected(&peer, reason, Execution::NotRun));
            }
            Route::Unknown => return Err(self.unknown()),
        };
        let (ticket, reply) = oneshot::channel();
        let (given_up, span) = self.send_to_self(args.into_owned(), Some(ticket))?;
        let cancel = given_up.drop_guard();
        let timer = self.deadline.map(|limit| Box::pin(tokio::time::sleep(limit)));
        Ok(self.reply(peer, span, Waiting::Own { reply, timer, cancel: Some(cancel) }))
    }

    fn call_over<R>(
        self,
        link: Arc<Link>,
        args: &Encoded,
        begun: Option<Instant>,
    ) -> Result<Reply<R>, CallError> {
        let (ticket, outcome) = oneshot::channel();
        let context = &self.shared().context;
        let deadline = self.deadline.map(|limit| context.time(begun.unwrap_or_else(Instant::now) + limit));
        let (request, span) = self.request(args, Some(ticket), deadline)?;
        match link.send(request) {
            Ok(admission) => {
                let peer = link.peer.clone();
                let cancel = Cancel { link, id: admission.id(), armed: true };
                Ok(self.reply(peer, span, Waiting::Link { outcome, cancel }))
            }
            Err(_) => match link.look(|machine| machine.ended().cloned()) {
                Some(reason) => Err(self.shared().disconnected(&link.peer, reason, Execution::NotRun)),
                None => Err(CallError::Overloaded { peer: link.peer.clone() }),
            },
        }
    }

    fn reply<R>(self, peer: Uid, span: Span, waiting: Waiting) -> Reply<R> {
        let shared = self.comms.shared.clone();
        Reply {
            waiting,
            peer,
            method: self.method,
            shared,
            deadline: self.deadline,
            _span: span,
            result: PhantomData,
        }
    }

    pub(super) fn try_send(mut self) -> Result<(), TrySendError> {
        let args = match self.take_args() {
            Ok(args) => args,
            Err(error) => return Err(TrySendError { why: error.into(), args: Encoded::default() }),
        };
        match self.try_send_args(&args) {
            Ok(()) => Ok(()),
            Err(why) => Err(TrySendError { why, args }),
        }
    }

    fn try_send_args(&self, args: &Encoded) -> Result<(), TrySendReason> {
        let link = match self.known_route()? {
            Some(Route::Link(link)) => link,
            Some(Route::Own) => {
                let copy = Encoded { body: args.body.clone(), buffers: args.buffers.clone() };
                return Ok(self.send_to_self(copy, None).map(drop)?);
            }
            Some(Route::Departed(_)) => {
                self.shared().tally.dropped.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            Some(Route::Unknown) | None => return Err(self.unknown().into()),
        };
        let (request, _span) = self.request(args, None, None)?;
        match link.try_send(request) {
            true => Ok(()),
            false => Err(TrySendReason::Full { peer: link.peer.clone() }),
        }
    }

    /// Gives what cancels the handler, and the span that the message is told by.
    fn send_to_self(
        &self,
        args: Encoded,
        ticket: Option<oneshot::Sender<OwnReply>>,
    ) -> Result<(CancellationToken, Span), CallError> {
        let here = Surroundings::here();
        let (span, trace) = trace::of_request(&here, &self.uid, &self.method);
        let trace = trace.map(|context| context.to_string());
        let mut envelope = Vec::new();
        self.envelope(ticket.is_some(), &here, trace.as_deref()).encode(&mut envelope);
        let incoming =
            Incoming::from_parts(&envelope, &args.body, Vec::new()).map_err(|_| self.names_too_large())?;
        let given_up = CancellationToken::new();
        let origin = Origin::Own { ticket: Arc::new(Mutex::new(ticket)), given_up: given_up.clone() };
        let sender = self.sender.as_ref().unwrap_or(&self.shared().uid).clone();
        let message = Message::new(sender, incoming, args.buffers, origin);
        self.shared().send_to_self(message);
        Ok((given_up, span))
    }

    /// Where the message goes, as far as is known here; `None` if the monitor should be asked.
    fn known_route(&self) -> Result<Option<Route>, CallError> {
        let shared = self.shared();
        if shared.phase() >= Phase::Stopping && !shared.is_draining() {
            return Err(CallError::Stopped { execution: Execution::NotRun });
        }
        if shared.uid == *self.uid {
            return Ok(Some(Route::Own));
        }
        if let Some(reason) = shared.sought(&self.uid) {
            return Ok(Some(Route::Departed(reason)));
        }
        if let Some(link) = shared.link_to(&self.uid) {
            return Ok(Some(Route::Link(link)));
        }
        Uid::new(&self.uid)?;
        Ok(shared.directory().departed(&self.uid).map(Route::Departed))
    }

    /// Where the message goes, by the monitor's word.
    async fn asked_route(&self) -> Result<Route, CallError> {
        let asking = self.shared().clone().look_for(self.uid.to_string());
        let found = match self.deadline {
            Some(limit) => timeout(limit, asking).await.map_err(|_| self.timed_out(limit))?,
            None => asking.await,
        };
        let link = if found { self.shared().link_to(&self.uid) } else { None };
        Ok(link.map_or(Route::Unknown, Route::Link))
    }

    fn timed_out(&self, after: Duration) -> CallError {
        match Uid::new(&self.uid) {
            Ok(peer) => CallError::Timeout { peer, after, execution: Execution::NotRun },
            Err(error) => error.into(),
        }
    }

    fn unknown(&self) -> CallError {
        let similar = self.shared().directory().topology.similar(&self.uid);
        CallError::UnknownPeer { uid: self.uid.to_string(), similar }
    }
}

/// Bytes of the names of a method and its object at most, as far as an error needs to say.
const MAX_NAMES: u64 = mosaic_proto::limits::MAX_ENVELOPE as u64;

/// Takes a waiting message back when its sender has gone.
struct Withdraw<'a> {
    link: &'a Arc<Link>,
    id: u64,
    armed: bool,
}

impl Drop for Withdraw<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.link.queue(Write::Pump, |machine, now| machine.withdraw(now, self.id));
        }
    }
}

impl Shared {
    /// What the end of a link means for a call: our own stop is not the peer's fault.
    pub(super) fn disconnected(&self, peer: &Uid, reason: Reason, execution: Execution) -> CallError {
        if self.leaving.load(Ordering::Acquire) {
            return CallError::Stopped { execution };
        }
        CallError::Disconnected { peer: peer.clone(), reason, execution }
    }
}

/// Tells `peer` that its one-way message failed here. The answer to that is never another one.
pub(super) fn send_exception(shared: &Arc<Shared>, peer: &Uid, error: &RemoteError) {
    let Ok(args) = encode_value(&Raised { error }) else { return };
    send_unasked(shared, peer, super::membership::RAISE_EXCEPTION, &args);
}

#[derive(serde::Serialize)]
struct Raised<'a> {
    error: &'a RemoteError,
}

/// Sends a one-way message of the protocol's own, on the control lane, without waiting for room.
pub(super) fn send_unasked(shared: &Arc<Shared>, peer: &Uid, method: &str, args: &Encoded) {
    let Some(link) = shared.link_to(peer) else { return };
    let draft = Draft {
        comms: shared.handle(),
        uid: SmolStr::new(peer),
        sender: None,
        object: None,
        method: SmolStr::new(method),
        args: Ok(Encoded::default()),
        express: true,
        deadline: None,
    };
    // The protocol's own messages belong to nobody's trace.
    let envelope = draft.envelope(false, &Surroundings::default(), None);
    if let Ok(outgoing) = draft.encode(&envelope, args) {
        let request = Request { outgoing, express: true, nested: false, reply: None, deadline: None };
        // The link may have ended: then there is nobody to tell.
        let _ = link.send(request);
    }
}
