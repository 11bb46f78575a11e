//! What goes out: one-way messages, calls, and how each of them ends. Every way of sending comes through here.

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use super::CommsManager;
use super::draft::Draft;
use super::reply::Reply;
use crate::decode::Undecoded;
use crate::error::{CallError, TrySendError};
use crate::kwargs::IntoArgs;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

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
    pub fn send(&self, uid: impl AsRef<str>, method: impl Into<String>, args: impl IntoArgs) -> SendMessage {
        SendMessage(Draft::new(self, uid.as_ref(), method.into(), args))
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
        method: impl Into<String>,
        args: impl IntoArgs,
    ) -> SendRecv<R> {
        SendRecv::from_draft(Draft::new(self, uid.as_ref(), method.into(), args))
    }

    /// Sends a message one way if there is room for it now, and hands it back if not.
    ///
    /// # Errors
    /// [`TrySendError`] has the encoded arguments, to be sent again.
    pub fn try_send(
        &self,
        uid: impl AsRef<str>,
        method: impl Into<String>,
        args: impl IntoArgs,
    ) -> Result<(), TrySendError> {
        Draft::new(self, uid.as_ref(), method.into(), args).try_send()
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
    pub async fn reply<R: DeserializeOwned>(self) -> Result<Reply<R>, CallError> {
        self.0.call().await
    }
}

impl IntoFuture for SendMessage {
    type Output = Result<(), CallError>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.0.send())
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
    pub async fn undecoded(self) -> Result<Undecoded, CallError> {
        self.draft.call::<R>().await?.undecoded().await
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
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let call = self.draft.call::<R>();
        Box::pin(async move { call.await?.await })
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
