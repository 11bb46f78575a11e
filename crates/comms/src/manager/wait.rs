//! Waiting for others to be in the network, woken by the event.

use mosaic_proto::Uid;
use tokio::time::{Instant, timeout_at};

use super::CommsManager;
use crate::error::WaitError;

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
    pub async fn wait_for_within(
        &self,
        uid: impl AsRef<str>,
        limit: std::time::Duration,
    ) -> Result<(), WaitError> {
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
