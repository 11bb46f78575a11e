//! Waiting for others to be in the network, woken by the event, and asking whether they are alive.

use std::time::Duration;

use mosaic_proto::link::{Execution, Outcome};
use mosaic_proto::{Reason, Uid};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::CommsManager;
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

impl CommsManager {
    /// Waits until `uid` is in the network; for oneself, and for those who are there, it is done at once.
    ///
    /// # Errors
    /// [`WaitError::Stopped`] if this manager stops meanwhile.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn wait_for(&self, uid: impl AsRef<str>) -> Result<(), WaitError> {
        let uid = Uid::new(uid.as_ref())?;
        self.wait_until(|| self.connected(&uid)).await
    }

    /// As [`wait_for`](CommsManager::wait_for), for a limited time.
    ///
    /// # Errors
    /// [`WaitError::Timeout`] says who is in the network instead.
    pub async fn wait_for_within(&self, uid: impl AsRef<str>, limit: Duration) -> Result<(), WaitError> {
        let deadline = Instant::now() + limit;
        let what = uid.as_ref().to_owned();
        let late = || WaitError::Timeout { what, after: limit, present: self.peers("*") };
        timeout_at(deadline, self.wait_for(uid)).await.unwrap_or_else(|_| Err(late()))
    }

    /// Waits until at least `count` others whose uids fit `pattern` are in the network, and returns them.
    ///
    /// # Errors
    /// [`WaitError::Stopped`] if this manager stops meanwhile.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn wait_for_count(&self, pattern: &str, count: usize) -> Result<Vec<Uid>, WaitError> {
        self.wait_until(|| self.peers(pattern).len() >= count).await?;
        Ok(self.peers(pattern))
    }

    /// Sends a heart to `uid` and measures the time to its beat, which the peer's I/O thread sends whatever its handlers
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

    async fn wait_until(&self, done: impl Fn() -> bool) -> Result<(), WaitError> {
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            if done() {
                return Ok(());
            }
            if self.shared.phase() >= super::Phase::Stopping {
                return Err(WaitError::Stopped);
            }
            changed.await;
        }
    }
}
