//! How a manager ends: in good order, or cut off with its last handle.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mosaic_proto::Reason;
use mosaic_proto::link::Verdict;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::membership::Input;
use super::{CommsManager, Phase, Shared};
use crate::link::{Link, Write};
use crate::trace::Surroundings;
use crate::transport::unix;

/// How long a goodbye may take to be read by everybody.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

impl CommsManager {
    /// Ends the manager in good order: what was accepted is handled and delivered, everybody is told, connections are
    /// closed and every task has ended when it returns, but for a computation or a hook that takes longer. Draining is
    /// bounded by [`Config::drain_within`](crate::Config::drain_within). Calls that still wait for a reply end with
    /// [`CallError::Stopped`](crate::CallError::Stopped).
    ///
    /// # Cancel safety
    /// If it is dropped, the stop goes on.
    pub async fn stop(&self) {
        self.shared.begin_stop();
        self.wait().await;
    }

    /// Waits until the manager has stopped.
    ///
    /// Cancel safe.
    pub async fn wait(&self) {
        let mut phase = self.shared.phase.subscribe();
        // The sender lives as long as we do.
        let _ = phase.wait_for(|phase| *phase == Phase::Stopped).await;
    }

    /// Ends the connection to `uid` in good order: it is told that we leave it, and pending calls to it end at once.
    /// Nothing is done if there is none.
    ///
    /// # Cancel safety
    /// If it is dropped, the link ends as soon as the peer has answered, or is out of reach.
    pub async fn disconnect(&self, uid: impl AsRef<str>) {
        let link = self.shared.links.read().get(uid.as_ref()).cloned();
        if let Some(link) = link {
            goodbye(&link, "disconnected").await;
            end(&link, &Reason::Left { why: "disconnected".to_owned() });
        }
    }

    /// Ends every connection, as [`disconnect`](CommsManager::disconnect) does.
    pub async fn disconnect_send(&self) {
        for link in self.shared.all_links() {
            self.disconnect(&*link.peer).await;
        }
    }

    /// Closes the inbound connection: nobody new can connect. Links that are up stay.
    pub fn disconnect_recv(&self) {
        self.shared.accepting.cancel();
    }
}

impl Shared {
    /// Starts to stop, once.
    pub(crate) fn begin_stop(self: &Arc<Self>) {
        let first = self.phase.send_if_modified(|phase| {
            let running = *phase < Phase::Stopping;
            *phase = (*phase).max(Phase::Stopping);
            running
        });
        self.changed.notify_waiters();
        if first {
            drop(self.io.spawn(self.clone().stop()));
        }
    }

    /// Whether handlers may still send: those that were accepted are being finished.
    pub(super) fn is_draining(&self) -> bool {
        self.phase() == Phase::Stopping && !self.handlers.is_empty() && Surroundings::here().are_a_handlers()
    }

    async fn stop(self: Arc<Self>) {
        // Links that are up may still be resumed, and get the lane that what was accepted needs: see `accept`.
        let deadline = Instant::now() + self.config.drain_within;
        let links = self.all_links();
        let drained = timeout_at(deadline, self.drain(&links)).await;
        debug!(parent: &self.span, in_time = drained.is_ok(), "drained");
        self.inform(Input::Leave);
        self.leaving.store(true, Ordering::Release);
        let goodbyes = self.all_links();
        futures_util::future::join_all(goodbyes.iter().map(|link| goodbye(link, "stopped"))).await;
        self.abort();
        self.handlers.close();
        self.tasks.close();
        self.program.close();
        // A computation cannot be interrupted, nor a hook, and perhaps nobody runs the executor any more: none of them is
        // waited for beyond the time that draining had.
        let users = async { tokio::join!(self.handlers.wait(), self.program.wait()) };
        let _ = timeout_at(deadline.max(Instant::now() + GOODBYE_WITHIN), users).await;
        self.tasks.wait().await;
        self.phase.send_replace(Phase::Stopped);
        self.changed.notify_waiters();
    }

    /// Waits until what was accepted has been handled, and what was sent has arrived.
    async fn drain(self: &Arc<Self>, links: &[Arc<Link>]) {
        for link in links {
            link.inbox.drained().await;
        }
        self.own.drained().await;
        self.own.close();
        links.iter().for_each(|link| link.inbox.close());
        self.handlers.close();
        self.handlers.wait().await;
        self.handlers.reopen();
        futures_util::future::join_all(links.iter().map(|link| link.delivered())).await;
    }

    /// Ends everything at once.
    pub(super) fn abort(&self) {
        if self.context.network().is_none() {
            unix::release(self.bound.lock().1);
        }
        self.keyring.retire();
        self.leaving.store(true, Ordering::Release);
        self.accepting.cancel();
        self.over.cancel();
        let links = self.all_links();
        self.links.write().clear();
        links.iter().for_each(cut);
        self.registered.clear();
        self.own.close();
        self.events.lock().take();
        self.phase.send_if_modified(|phase| {
            let running = *phase < Phase::Stopping;
            if running {
                *phase = Phase::Stopped;
            }
            running
        });
        self.changed.notify_waiters();
    }
}

/// Ends a link with the manager, and everything that belongs to it.
pub(super) fn cut(link: &Arc<Link>) {
    end(link, &Reason::Stopped);
    link.inbox.close();
    link.finish();
}

fn end(link: &Arc<Link>, reason: &Reason) {
    link.end(Verdict::Left, reason.clone());
}

/// Says LEAVE, on a connection that is made for it if there is none, and waits until the peer has read it or its time is
/// over.
async fn goodbye(link: &Arc<Link>, reason: &str) {
    if link.look(|machine| machine.session().is_none()) {
        return;
    }
    link.run(Write::Now, |machine, now| machine.leave(now, reason));
    let said = async {
        link.written().await;
        link.finish_writing();
        link.over.cancelled().await;
    };
    let _ = tokio::time::timeout(GOODBYE_WITHIN, said).await;
}
