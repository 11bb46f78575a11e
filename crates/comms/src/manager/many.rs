//! One call to many: encoded once, the results as they come.

use std::borrow::{Borrow, Cow};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, Stream, StreamExt};
use mosaic_proto::Uid;
use serde::de::DeserializeOwned;

use super::blocking::block_on;
use super::draft::Draft;
use super::{CommsManager, SendRecv};
use crate::encode::{EncodeError, Encoded};
use crate::error::CallError;
use crate::kwargs::IntoArgs;

/// A call to many runtimes: a stream of who has ended it, and how. The requests are sent when it is polled first;
/// dropping it cancels the calls that have not ended.
#[must_use = "nothing is sent until it is polled"]
pub struct SendRecvAll<R> {
    /// Those that have not been sent.
    drafts: Vec<(Uid, Draft)>,
    args: Arc<Encoded>,
    calls: FuturesUnordered<BoxFuture<'static, (Uid, Result<R, CallError>)>>,
    /// The ends of those that failed as they were sent.
    ends: VecDeque<(Uid, Result<R, CallError>)>,
    comms: CommsManager,
}

impl CommsManager {
    /// Calls a method of each of `uids`, and streams the results, decoded to `R`, in the order in which they come. The
    /// arguments are encoded once. A call that fails is an item too, so that there are as many as uids.
    ///
    /// # Errors
    /// [`EncodeError`] if the arguments can't be encoded; nothing is sent to anybody then.
    ///
    /// # Cancel safety
    /// If it is dropped, the calls that have not ended are cancelled at their peers.
    ///
    /// # Example
    /// ```
    /// use futures_util::StreamExt;
    /// use mosaic_comms::{CommsManager, Config, Methods};
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let config = Config::default().address("127.0.0.1");
    /// # let comms = CommsManager::start("monitor", Methods::new(), config).await?;
    /// let mut sums = comms.send_recv_all::<f64>(comms.peers("worker:*"), "sum", ())?;
    /// while let Some((uid, sum)) = sums.next().await {
    ///     println!("{uid}: {}", sum?);
    /// }
    /// # comms.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_recv_all<R: DeserializeOwned>(
        &self,
        uids: impl IntoIterator<Item = impl Borrow<Uid>>,
        method: impl AsRef<str>,
        args: impl IntoArgs,
    ) -> Result<SendRecvAll<R>, EncodeError> {
        self.send_recv(self.uid(), method, args).to_all(uids)
    }
}

impl<R: DeserializeOwned> SendRecv<R> {
    /// The same call to each of `uids` in place of the one that it was made for, as
    /// [`send_recv_all`](CommsManager::send_recv_all) does: for proxies and for commands.
    ///
    /// # Errors
    /// [`EncodeError`] if the arguments can't be encoded; nothing is sent to anybody then.
    ///
    /// # Cancel safety
    /// As [`send_recv_all`](CommsManager::send_recv_all).
    pub fn to_all(
        self,
        uids: impl IntoIterator<Item = impl Borrow<Uid>>,
    ) -> Result<SendRecvAll<R>, EncodeError> {
        let mut draft = self.into_draft();
        let args = Arc::new(std::mem::replace(&mut draft.args, Ok(Encoded::default()))?);
        let to = |uid: &Uid| (uid.clone(), draft.likewise(uid));
        let drafts = uids.into_iter().map(|uid| to(uid.borrow())).collect();
        let calls = FuturesUnordered::new();
        Ok(SendRecvAll { drafts, args, calls, ends: VecDeque::new(), comms: draft.comms })
    }
}

impl<R: DeserializeOwned> SendRecvAll<R> {
    /// Gives up after this long, each call for itself. Set before it is polled; none by default.
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.drafts.iter_mut().for_each(|(_, draft)| draft.deadline = Some(limit));
        self
    }

    /// Takes the control lanes, past whatever waits. Set before it is polled; for messages of at most 64 KiB.
    pub fn express(mut self) -> Self {
        self.drafts.iter_mut().for_each(|(_, draft)| draft.express = true);
        self
    }
}

impl<R: DeserializeOwned + 'static> SendRecvAll<R> {
    /// Makes the calls and waits for the end of all, on a thread that may block.
    ///
    /// # Panics
    /// On a thread that runs async tasks.
    #[track_caller]
    pub fn blocking_wait(self) -> Vec<(Uid, Result<R, CallError>)> {
        let executor = self.comms.shared.executor.clone();
        block_on(&executor, "send_recv_all", self.collect())
    }
}

impl<R: DeserializeOwned + 'static> Stream for SendRecvAll<R> {
    type Item = (Uid, Result<R, CallError>);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // All requests are on their way before the first end is given, also where one fails at once.
        for (uid, draft) in std::mem::take(&mut self.drafts) {
            let args = self.args.clone();
            let mut call: Pin<Box<_>> = Box::pin(async move { (uid, call(draft, args).await) });
            match call.as_mut().poll(context) {
                Poll::Ready(end) => self.ends.push_back(end),
                Poll::Pending => self.calls.push(call),
            }
        }
        match self.ends.pop_front() {
            Some(end) => Poll::Ready(Some(end)),
            None => self.calls.poll_next_unpin(context),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.drafts.len() + self.ends.len() + self.calls.len();
        (left, Some(left))
    }
}

impl<R> Unpin for SendRecvAll<R> {}

async fn call<R: DeserializeOwned>(draft: Draft, args: Arc<Encoded>) -> Result<R, CallError> {
    let reply = draft.call_with::<R>(Cow::Borrowed(&args)).await?;
    drop(args);
    reply.await
}

impl<R> std::fmt::Debug for SendRecvAll<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let waiting = self.drafts.len() + self.calls.len();
        f.debug_struct("SendRecvAll").field("waiting", &waiting).finish_non_exhaustive()
    }
}
