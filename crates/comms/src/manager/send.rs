//! What goes out: one-way messages, calls, and how each of them ends. Every way of sending comes through here.

use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use super::CommsManager;
use super::draft::{Draft, Step};
use super::reply::Reply;
use crate::decode::Undecoded;
use crate::error::{CallError, TrySendError};
use crate::kwargs::IntoArgs;

/// A one-way message. Awaiting it sends it: done when the link has accepted it.
#[must_use = "nothing is sent until it is awaited"]
#[derive(Debug)]
pub struct SendMessage(Draft);

/// A call. Awaiting it sends the request and waits for the result.
#[must_use = "nothing is sent until it is awaited"]
#[derive(Debug)]
pub struct SendRecv<R> {
    draft: Draft,
    result: PhantomData<fn() -> R>,
}

impl CommsManager {
    /// Sends a message one way. It is done when the link has accepted it, which it does as far as the peer has room.
    ///
    /// # Errors
    /// [`CallError`]; what goes wrong in the handler comes as [`Event::Failed`](crate::Event::Failed). A message to
    /// someone who has left is dropped and counted.
    ///
    /// # Cancel safety
    /// If it is dropped while it waits for room, the message is not sent.
    pub fn send(&self, uid: impl AsRef<str>, method: impl AsRef<str>, args: impl IntoArgs) -> SendMessage {
        SendMessage(Draft::new(self, uid.as_ref(), method.as_ref(), args))
    }

    /// Calls a method and waits for its result, decoded to `R`.
    ///
    /// # Errors
    /// [`CallError`], each with what is certain about the execution.
    ///
    /// # Cancel safety
    /// If it is dropped, the call is cancelled at the peer.
    pub fn send_recv<R: DeserializeOwned>(
        &self,
        uid: impl AsRef<str>,
        method: impl AsRef<str>,
        args: impl IntoArgs,
    ) -> SendRecv<R> {
        SendRecv::from_draft(Draft::new(self, uid.as_ref(), method.as_ref(), args))
    }

    /// Sends a message one way if there is room for it now, and hands it back if not.
    ///
    /// # Errors
    /// [`TrySendError`] has the encoded arguments, to be sent again.
    pub fn try_send(
        &self,
        uid: impl AsRef<str>,
        method: impl AsRef<str>,
        args: impl IntoArgs,
    ) -> Result<(), TrySendError> {
        Draft::new(self, uid.as_ref(), method.as_ref(), args).try_send()
    }
}

impl SendMessage {
    /// Takes the control lane, past whatever waits. For messages of at most 64 KiB.
    pub fn express(mut self) -> Self {
        self.0.express = true;
        self
    }

    /// Asks for a reply, and gives it as a future of its own once the request has been sent.
    ///
    /// # Errors
    /// [`CallError`] if the request can't be sent.
    ///
    /// # Cancel safety
    /// If it is dropped before it gives the reply, the call is cancelled.
    pub async fn reply<R: DeserializeOwned + 'static>(self) -> Result<Reply<R>, CallError> {
        self.0.call().end().await
    }
}

impl IntoFuture for SendMessage {
    type Output = Result<(), CallError>;
    type IntoFuture = Sending;

    fn into_future(self) -> Sending {
        Sending(Stage::Draft(self.0))
    }
}

/// A one-way message on its way: what awaiting a [`SendMessage`] is.
///
/// # Cancel safety
/// As [`CommsManager::send`].
#[must_use = "nothing is sent until it is awaited"]
pub struct Sending(Stage<Result<(), CallError>>);

/// A call on its way: what awaiting a [`SendRecv`] is.
///
/// # Cancel safety
/// As [`CommsManager::send_recv`].
#[must_use = "nothing is sent until it is awaited"]
pub struct Calling<R> {
    request: Stage<Result<Reply<R>, CallError>>,
    reply: Option<Reply<R>>,
}

/// How far a request has come.
enum Stage<T> {
    Draft(Draft),
    /// It waits: for room, or for the monitor to say where its peer is.
    Waits(Pin<Box<dyn Future<Output = T> + Send>>),
    Sent,
}

impl<T> Stage<T> {
    fn poll(&mut self, context: &mut Context<'_>, start: impl FnOnce(Draft) -> Step<T>) -> Poll<T> {
        let mut step = match std::mem::replace(self, Stage::Sent) {
            Stage::Draft(draft) => start(draft),
            Stage::Waits(future) => Step::Wait(future),
            Stage::Sent => panic!("a request was polled after it had ended"),
        };
        if let Step::Wait(future) = &mut step
            && let Poll::Ready(value) = future.as_mut().poll(context)
        {
            step = Step::Done(value);
        }
        match step {
            Step::Done(value) => Poll::Ready(value),
            Step::Wait(future) => {
                *self = Stage::Waits(future);
                Poll::Pending
            }
        }
    }
}

impl Future for Sending {
    type Output = Result<(), CallError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(context, Draft::send)
    }
}

impl<R> Unpin for Calling<R> {}

impl<R: DeserializeOwned + 'static> Future for Calling<R> {
    type Output = Result<R, CallError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let reply = ready!(self.poll_reply(context))?;
        Pin::new(reply).poll(context)
    }
}

impl<R: 'static> Calling<R> {
    /// Sends the request, if that is not done.
    fn poll_reply(&mut self, context: &mut Context<'_>) -> Poll<Result<&mut Reply<R>, CallError>> {
        if self.reply.is_none() {
            self.reply = Some(ready!(self.request.poll(context, Draft::call))?);
        }
        Poll::Ready(Ok(self.reply.as_mut().expect("it was made just now")))
    }
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sending")
    }
}

impl<R> fmt::Debug for Calling<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Calling")
    }
}

impl<R: DeserializeOwned> SendRecv<R> {
    /// Gives up after this long. None by default: computations take hours, and the peer's liveness is watched.
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.draft.deadline = Some(limit);
        self
    }

    /// Takes the control lane, past whatever waits. For messages of at most 64 KiB.
    pub fn express(mut self) -> Self {
        self.draft.express = true;
        self
    }
}

impl<R> SendRecv<R> {
    /// Makes the call and leaves the result as it came, for those who decode it themselves.
    ///
    /// # Errors
    /// As awaiting it, but for those of decoding.
    ///
    /// # Cancel safety
    /// If it is dropped, the call is cancelled at the peer.
    pub fn undecoded(self) -> impl Future<Output = Result<Undecoded, CallError>> + Send + Unpin + use<R> {
        let mut calling = Calling::<()> { request: Stage::Draft(self.draft), reply: None };
        poll_fn(move |context| match ready!(calling.poll_reply(context)) {
            Ok(reply) => reply.poll_undecoded(context),
            Err(error) => Poll::Ready(Err(error)),
        })
    }

    /// The same one way: whatever the method returns is dropped where it was made.
    ///
    /// # Errors
    /// As [`CommsManager::send`].
    pub fn send(mut self) -> SendMessage {
        self.draft.deadline = None;
        SendMessage(self.draft)
    }

    /// Sends the same one way if there is room for it now.
    ///
    /// # Errors
    /// As [`CommsManager::try_send`].
    pub fn try_send(self) -> Result<(), TrySendError> {
        self.send().0.try_send()
    }
}

impl<R: DeserializeOwned + 'static> IntoFuture for SendRecv<R> {
    type Output = Result<R, CallError>;
    type IntoFuture = Calling<R>;

    fn into_future(self) -> Calling<R> {
        Calling { request: Stage::Draft(self.draft), reply: None }
    }
}

impl SendMessage {
    pub(super) fn from_draft(draft: Draft) -> SendMessage {
        SendMessage(draft)
    }

    pub(super) fn executor(&self) -> Handle {
        self.0.shared().executor.clone()
    }
}

impl<R> SendRecv<R> {
    pub(super) fn from_draft(draft: Draft) -> SendRecv<R> {
        SendRecv { draft, result: PhantomData }
    }

    pub(super) fn into_draft(self) -> Draft {
        self.draft
    }

    pub(super) fn executor(&self) -> Handle {
        self.draft.shared().executor.clone()
    }
}
