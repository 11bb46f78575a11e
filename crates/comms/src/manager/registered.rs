//! Replies that come by another way than a link's: each finds its future by its id.
//!
//! The futures of calls are the links', and not here. One of these ends by its reply, by the end of whoever is to give
//! it, by the stop of the manager, or by being dropped; a reply that finds none is dropped and counted.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mosaic_proto::{Reason, Uid};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::reply::{Reply, Waiting};
use super::{Protocol, Shared};
use crate::error::{HandlerError, UnknownPeer};
use crate::message::OwnReply;
use crate::runtime::encoded;
use tracing::Span;

/// By which a registered reply finds its future. It may travel as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplyId(u64);

/// What ends a future that is registered.
#[derive(Debug)]
pub(super) enum Ending {
    Reply(OwnReply),
    Disconnected(Reason),
}

/// The futures that wait, with whoever is to give the reply.
#[derive(Debug, Default)]
pub(super) struct Registered(Mutex<BTreeMap<ReplyId, (Uid, oneshot::Sender<Ending>)>>);

/// Takes a future out when it is dropped.
#[derive(Debug)]
pub(super) struct Registration {
    shared: Arc<Shared>,
    id: ReplyId,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.shared.registered.0.lock().remove(&self.id);
    }
}

impl Registered {
    /// `uid` is gone, so that it replies no more.
    pub(super) fn end(&self, uid: &Uid, reason: &Reason) {
        for (_, (_, waiting)) in self.0.lock().extract_if(.., |_, (from, _)| from == uid) {
            // Nobody may wait any more: the future was dropped in this very moment.
            let _ = waiting.send(Ending::Disconnected(reason.clone()));
        }
    }

    /// The manager has stopped.
    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }

    fn take(&self, sender: &Uid, id: ReplyId) -> Option<oneshot::Sender<Ending>> {
        let mut waiting = self.0.lock();
        waiting.get(&id).filter(|(from, _)| from == sender)?;
        waiting.remove(&id).map(|(_, waiting)| waiting)
    }
}

impl Protocol {
    /// Registers a future for a reply that `from` will give by another way than a call's: in a message that it sends
    /// when a job is done, say. [`reply`](Protocol::reply) completes it. It ends with an error when `from` is gone.
    ///
    /// # Errors
    /// [`UnknownPeer`]: nobody in the network is called `from`.
    ///
    /// # Example
    /// ```
    /// use mosaic_comms::{CommsManager, Config, Methods, ReplyId, kwargs};
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // The head is told of results by the method `done`.
    /// let methods = Methods::new().method("done", |args, call| async move {
    ///     let (id, result) = (args.get::<ReplyId>("id")?, args.get::<f64>("result")?);
    ///     call.comms().protocol().reply(call.sender(), id, Ok(result));
    ///     Ok(())
    /// });
    /// let head = CommsManager::start("monitor", methods, Config::default().address("127.0.0.1")).await?;
    /// let (id, reply) = head.protocol().register_reply_future::<f64>("monitor")?;
    /// // This is what a worker does when its job is done.
    /// head.send("monitor", "done", kwargs! { id, result: 2.5 }).await?;
    /// assert_eq!(reply.await?, 2.5);
    /// # head.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn register_reply_future<R: DeserializeOwned>(
        &self,
        from: impl AsRef<str>,
    ) -> Result<(ReplyId, Reply<R>), UnknownPeer> {
        let shared = &self.0.shared;
        let peer = shared.somebody(from.as_ref())?;
        let (ending, waits) = oneshot::channel();
        let id = ReplyId(shared.context.draw());
        shared.registered.0.lock().insert(id, (peer.clone(), ending));
        let registration = Registration { shared: shared.clone(), id };
        // Whoever goes from now on finds the future; whoever went before is found here.
        shared.somebody(from.as_ref())?;
        if shared.over.is_cancelled() {
            shared.registered.clear();
        }
        let waiting = Waiting::Registered { ending: waits, _registration: registration };
        let method = "register_reply_future".to_owned();
        let reply = Reply {
            waiting,
            peer,
            method: method.into(),
            shared: shared.clone(),
            deadline: None,
            _span: Span::none(),
            result: PhantomData,
        };
        Ok((id, reply))
    }

    /// `sender` replies to what waits under this id; whether somebody did. A reply that comes late, or from somebody else
    /// than it was registered for, is dropped and counted.
    pub fn reply<R: Serialize>(&self, sender: &Uid, id: ReplyId, outcome: Result<R, HandlerError>) -> bool {
        let shared = &self.0.shared;
        let outcome = encoded(outcome).map_err(|HandlerError(mut error)| {
            error.ran = true;
            error.uid = sender.to_string();
            *error
        });
        let waiting = shared.registered.take(sender, id);
        let heard = waiting.is_some_and(|waiting| waiting.send(Ending::Reply(outcome)).is_ok());
        if !heard {
            shared.tally.dropped.fetch_add(1, Ordering::Relaxed);
        }
        heard
    }
}

impl Shared {
    /// The uid of that name, if it is in the network.
    fn somebody(&self, name: &str) -> Result<Uid, UnknownPeer> {
        if self.uid == *name {
            return Ok(self.uid.clone());
        }
        let directory = self.directory();
        directory.place(name)?;
        Ok(Uid::new(name).expect("what is in the topology is a uid"))
    }
}
