//! Waiting for others to be in the network, woken by the event, and asking whether they are alive.

use std::time::Duration;

use futures_util::future::BoxFuture;
use mosaic_proto::link::{Execution, Outcome};
use mosaic_proto::{Place, Reason, Uid};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::CommsManager;
use super::blocking::block_on;
use crate::error::{CallError, WaitError};
use crate::link::Write;

/// The answer to a heart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// From the heart to the beat.
    pub round_trip: Duration,
    /// How late the peer says it is behind its own plans.
    pub lag: Duration,
}

/// A wait for others. Awaiting it waits until they are in the network.
#[must_use = "nobody is waited for until it is awaited"]
pub struct WaitFor<R> {
    comms: CommsManager,
    /// Whom, for errors.
    what: String,
    found: Found<R>,
    limit: Option<Duration>,
}

/// What was waited for, once it is there.
type Found<R> = Box<dyn Fn(&CommsManager) -> Result<Option<R>, WaitError> + Send + Sync>;

impl CommsManager {
    /// Waits until `uid` is in the network; for oneself, and for those who are there, it is done at once.
    ///
    /// # Errors
    /// [`WaitError::Stopped`] if this manager stops meanwhile, [`WaitError::Timeout`] after a
    /// [`deadline`](WaitFor::deadline).
    ///
    /// # Cancel safety
    /// Nothing is lost.
    ///
    /// # Example
    /// ```
    /// use std::time::Duration;
    /// use mosaic_comms::{CommsManager, Config, Methods};
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let comms = CommsManager::start("monitor", Methods::new(), Config::default().address("127.0.0.1")).await?;
    /// comms.wait_for("monitor").await?;
    /// let error = comms.wait_for("worker:0").deadline(Duration::from_millis(20)).await.unwrap_err();
    /// assert!(error.to_string().starts_with("`worker:0` did not come within 0.020 s"));
    /// # comms.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_for(&self, uid: impl AsRef<str>) -> WaitFor<()> {
        let wanted = uid.as_ref().to_owned();
        let what = format!("`{wanted}`");
        self.waiting(what, move |comms| {
            let uid = Uid::new(&wanted)?;
            Ok(comms.connected(&uid).then_some(()))
        })
    }

    /// Waits until at least `count` others whose uids fit `pattern` are in the network, and returns them.
    ///
    /// # Errors
    /// As [`wait_for`](CommsManager::wait_for).
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub fn wait_for_count(&self, pattern: impl Into<String>, count: usize) -> WaitFor<Vec<Uid>> {
        let pattern = pattern.into();
        let what = format!("{count} of `{pattern}`");
        self.waiting(what, move |comms| {
            let peers = comms.peers(&pattern);
            Ok((peers.len() >= count).then_some(peers))
        })
    }

    fn waiting<R>(
        &self,
        what: String,
        found: impl Fn(&CommsManager) -> Result<Option<R>, WaitError> + Send + Sync + 'static,
    ) -> WaitFor<R> {
        WaitFor { comms: self.clone(), what, found: Box::new(found), limit: None }
    }

    /// Sends a heart to `uid` and measures the time to its beat, which the peer's urgent thread sends whatever its handlers
    /// do. A heart that is under way already is joined.
    ///
    /// # Errors
    /// [`CallError`] if there is no such runtime, or no connection to it.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn ping(&self, uid: impl AsRef<str>) -> Result<Beat, CallError> {
        let uid = uid.as_ref();
        let Some(link) = self.shared.link_to(uid) else {
            let similar = self.shared.directory().topology.similar(uid);
            return Err(CallError::UnknownPeer { uid: uid.to_owned(), similar });
        };
        let deadline = Instant::now() + self.shared.config.handshake_within;
        let gone = |reason| CallError::Disconnected {
            peer: link.peer.clone(),
            reason,
            execution: Execution::NotRun,
        };
        if let Err(error) = self.shared.bring_up(&link, deadline).await {
            return Err(gone(Reason::Refused { detail: error.to_string() }));
        }
        let (ticket, outcome) = oneshot::channel();
        let start = Instant::now();
        if link.run(Write::Now, |machine, _| machine.ping(ticket)).is_some() {
            return Err(gone(Reason::SessionLost));
        }
        match outcome.await {
            Ok(Outcome::Beat(lag)) => Ok(Beat { round_trip: start.elapsed(), lag }),
            Ok(Outcome::Disconnected { reason, .. }) => Err(gone(reason)),
            Ok(_) | Err(_) => Err(gone(Reason::SessionLost)),
        }
    }

    /// Waits until it is known where `uid` can be reached, which somebody may say later than it joins.
    ///
    /// # Errors
    /// As [`wait_for`](CommsManager::wait_for).
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub fn wait_for_place(&self, uid: impl AsRef<str>) -> WaitFor<Place> {
        let uid = uid.as_ref().to_owned();
        self.waiting(format!("the place of `{uid}`"), move |comms| {
            let place = comms.shared.directory().topology.get(&uid).cloned();
            Ok(place.filter(Place::is_known))
        })
    }

    /// Why `uid` is not in the network any more, if it was and is not.
    pub fn departed(&self, uid: &str) -> Option<Reason> {
        self.shared.directory().departed(uid)
    }
}

impl<R> WaitFor<R> {
    /// Gives up after this long. None by default.
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    async fn wait(self) -> Result<R, WaitError> {
        let Some(limit) = self.limit else { return self.comms.wait_until(&self.found).await };
        let waited = timeout(limit, self.comms.wait_until(&self.found)).await;
        waited.unwrap_or_else(|_| {
            Err(WaitError::Timeout { what: self.what, after: limit, present: self.comms.peers("*") })
        })
    }
}

impl<R: Send + 'static> WaitFor<R> {
    /// Waits on a thread that may block.
    ///
    /// # Errors
    /// As [`CommsManager::wait_for`].
    ///
    /// # Panics
    /// On a thread that runs async tasks.
    #[track_caller]
    pub fn blocking_wait(self) -> Result<R, WaitError> {
        let executor = self.comms.shared.executor.clone();
        block_on(&executor, "wait_for", self.wait())
    }
}

impl<R: Send + 'static> IntoFuture for WaitFor<R> {
    type Output = Result<R, WaitError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.wait())
    }
}

impl<R> std::fmt::Debug for WaitFor<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WaitFor")
            .field("what", &self.what)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl CommsManager {
    /// Waits until something is found, woken by whatever changes.
    async fn wait_until<R>(
        &self,
        found: impl Fn(&CommsManager) -> Result<Option<R>, WaitError>,
    ) -> Result<R, WaitError> {
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            if let Some(found) = found(self)? {
                return Ok(found);
            }
            if self.shared.phase() >= super::Phase::Stopping {
                return Err(WaitError::Stopped);
            }
            changed.await;
        }
    }
}
