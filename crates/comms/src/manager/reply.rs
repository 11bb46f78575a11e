//! The reply to a request that was sent: a future that ends in the result or in one error.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use mosaic_proto::Uid;
use mosaic_proto::link::{Execution, Outcome};
use mosaic_proto::wire::{Incoming, Kind};
use serde::de::DeserializeOwned;
use smol_str::SmolStr;
use tokio::sync::oneshot;
use tokio_util::sync::DropGuard;
use tracing::Span;

use super::Shared;
use super::registered::{Ending, Registration};
use crate::decode::{Undecoded, decode_value};
use crate::error::{CallError, RemoteError};
use crate::link::{Link, Write};
use crate::message::{OwnReply, decode_error};
use crate::pool::{Buffer, Received};

/// The reply to a request that was sent. Dropping it cancels the call at the peer, unless it is detached.
///
/// # Example
/// ```
/// use mosaic_comms::{CommsManager, Config, Methods, kwargs};
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let methods = Methods::new().compute("square", |args, _call| Ok(args.get::<f64>("of")?.powi(2)));
/// let comms = CommsManager::start("monitor", methods, Config::default().address("127.0.0.1")).await?;
/// // Both requests are under way before either result is awaited.
/// let first = comms.send("monitor", "square", kwargs! { of: 2 }).reply::<f64>().await?;
/// let second = comms.send("monitor", "square", kwargs! { of: 3 }).reply::<f64>().await?;
/// assert_eq!((first.await?, second.await?), (4.0, 9.0));
/// comms.send("monitor", "square", kwargs! { of: 4 }).reply::<f64>().await?.detach();
/// # comms.stop().await;
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping it cancels the call"]
#[derive(Debug)]
pub struct Reply<R> {
    pub(super) waiting: Waiting,
    pub(super) peer: Uid,
    pub(super) method: SmolStr,
    pub(super) shared: Arc<Shared>,
    pub(super) deadline: Option<Duration>,
    /// Ends with this.
    pub(super) _span: Span,
    pub(super) result: PhantomData<fn() -> R>,
}

#[derive(Debug)]
pub(super) enum Waiting {
    Link {
        outcome: oneshot::Receiver<Outcome<Buffer>>,
        cancel: Cancel,
    },
    Own {
        reply: oneshot::Receiver<OwnReply>,
        timer: Option<Pin<Box<tokio::time::Sleep>>>,
        cancel: Option<DropGuard>,
    },
    /// The reply comes by another way.
    Registered {
        ending: oneshot::Receiver<Ending>,
        _registration: Registration,
    },
}

/// Cancels a call when it is dropped.
#[derive(Debug)]
pub(super) struct Cancel {
    pub(super) link: Arc<Link>,
    pub(super) id: u64,
    pub(super) armed: bool,
}

impl Drop for Cancel {
    fn drop(&mut self) {
        if self.armed {
            self.link.queue(Write::Now, |machine, now| drop(machine.cancel(now, self.id)));
        }
    }
}

impl<R> Reply<R> {
    /// Lets the call go on when this is dropped: its result is dropped and counted.
    pub fn detach(mut self) {
        match &mut self.waiting {
            Waiting::Link { cancel, .. } => cancel.armed = false,
            Waiting::Own { cancel, .. } => drop(cancel.take().map(DropGuard::disarm)),
            Waiting::Registered { .. } => {}
        }
    }
}

impl<R: DeserializeOwned> Future for Reply<R> {
    type Output = Result<R, CallError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_undecoded(context).map(|outcome| outcome.and_then(|undecoded| self.decode(undecoded)))
    }
}

impl<R> Unpin for Reply<R> {}

impl<R> Reply<R> {
    /// Waits for the result and leaves it as it came.
    ///
    /// # Errors
    /// As awaiting it, but for those of decoding.
    ///
    /// # Cancel safety
    /// If it is dropped, the call is cancelled at the peer.
    pub async fn undecoded(mut self) -> Result<Undecoded, CallError> {
        std::future::poll_fn(|context| self.poll_undecoded(context)).await
    }

    pub(super) fn poll_undecoded(&mut self, context: &mut Context<'_>) -> Poll<Result<Undecoded, CallError>> {
        match &mut self.waiting {
            Waiting::Link { outcome, cancel } => {
                let Poll::Ready(outcome) = Pin::new(outcome).poll(context) else { return Poll::Pending };
                cancel.armed = false;
                Poll::Ready(self.conclude(outcome.ok()))
            }
            Waiting::Own { reply, timer, .. } => {
                if let Poll::Ready(reply) = Pin::new(reply).poll(context) {
                    return Poll::Ready(self.conclude_own(reply.ok()));
                }
                let late = timer.as_mut().is_some_and(|timer| timer.as_mut().poll(context).is_ready());
                if late { Poll::Ready(Err(self.timed_out(Execution::MayHaveRun))) } else { Poll::Pending }
            }
            Waiting::Registered { ending, .. } => match Pin::new(ending).poll(context) {
                Poll::Ready(Ok(Ending::Disconnected(reason))) => {
                    Poll::Ready(Err(self.shared.disconnected(&self.peer, reason, Execution::MayHaveRun)))
                }
                Poll::Ready(Ok(Ending::Reply(reply))) => Poll::Ready(self.conclude_own(Some(reply))),
                Poll::Ready(Err(_)) => Poll::Ready(self.conclude_own(None)),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn conclude(&self, outcome: Option<Outcome<Buffer>>) -> Result<Undecoded, CallError> {
        match outcome {
            Some(Outcome::Reply(incoming)) => self.open_reply(incoming),
            Some(Outcome::Timeout(execution)) => Err(self.timed_out(execution)),
            Some(Outcome::Disconnected { reason, execution }) => {
                Err(self.shared.disconnected(&self.peer, reason, execution))
            }
            Some(Outcome::TooLarge { size, limit }) => {
                Err(CallError::TooLarge { peer: self.peer.clone(), size, limit })
            }
            Some(Outcome::Overloaded) => Err(CallError::Overloaded { peer: self.peer.clone() }),
            Some(_) | None => {
                Err(CallError::Cancelled { peer: self.peer.clone(), execution: Execution::MayHaveRun })
            }
        }
    }

    fn open_reply(&self, mut incoming: Incoming<Buffer>) -> Result<Undecoded, CallError> {
        let buffers = incoming.take_buffers().into_iter().map(Received::Pooled).collect();
        if incoming.facts().kind == Kind::Error {
            return Err(self.remote(decode_error(incoming.body())));
        }
        Ok(Undecoded { body: incoming.into_body(), buffers })
    }

    fn conclude_own(&self, reply: Option<OwnReply>) -> Result<Undecoded, CallError> {
        match reply {
            Some(Ok(encoded)) => {
                let buffers = encoded.buffers.into_iter().map(Received::Shared).collect();
                Ok(Undecoded { body: encoded.body.into(), buffers })
            }
            Some(Err(error)) => Err(self.remote(error)),
            None => Err(CallError::Stopped { execution: Execution::MayHaveRun }),
        }
    }

    fn remote(&self, error: RemoteError) -> CallError {
        match error.kind.as_str() {
            RemoteError::OVERLOADED => CallError::Overloaded { peer: self.peer.clone() },
            RemoteError::EXPIRED => self.timed_out(Execution::NotRun),
            _ => CallError::Remote(Box::new(error)),
        }
    }

    fn timed_out(&self, execution: Execution) -> CallError {
        let after = self.deadline.unwrap_or_default();
        CallError::Timeout { peer: self.peer.clone(), after, execution }
    }
}

impl<R: DeserializeOwned> Reply<R> {
    fn decode(&self, undecoded: Undecoded) -> Result<R, CallError> {
        decode_value(&undecoded.body, undecoded.buffers).map_err(|cause| CallError::Decode {
            peer: self.peer.clone(),
            method: self.method.to_string(),
            cause,
        })
    }
}
