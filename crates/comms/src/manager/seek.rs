//! Looking for a monitor that is gone or out of reach: everybody works on without it, and dials it until it is back.

use std::sync::Arc;
use std::time::Duration;

use mosaic_proto::{Reason, Uid};
use tokio::time::{Instant, sleep};

use super::{Phase, Shared};
use crate::link::Link;

/// How long a dial waits that has been answered, and not by the monitor, or by one that can't be talked to.
const SEEK_AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Shared {
    /// The monitor is gone: it is sought where it was, until it is back or the manager stops.
    pub(super) fn seek_monitor(self: &Arc<Self>, gone: Reason) {
        let known = self.dialled.lock().contains_key(Uid::MONITOR);
        let stops = self.phase() >= Phase::Stopping;
        if known && !stops && self.sought.lock().replace(gone).is_none() {
            let over = self.over.clone();
            let seeking = self.clone().dial_monitor();
            self.tasks.spawn_on(async move { over.run_until_cancelled(seeking).await }, &self.io);
        }
    }

    /// Why the monitor is not there, while it is sought: nobody is to wait for it without end.
    pub(super) fn sought(&self, uid: &str) -> Option<Reason> {
        if uid == Uid::MONITOR { self.sought.lock().clone() } else { None }
    }

    async fn dial_monitor(self: Arc<Self>) {
        let monitor = Uid::new(Uid::MONITOR).expect("the monitor's uid is one");
        let mut phase = self.phase.subscribe();
        let dialling = async {
            // What follows on the new session is membership's: it introduces us again.
            while !self.finds(&monitor).await {
                sleep(SEEK_AGAIN_AFTER).await;
            }
        };
        tokio::select! {
            biased;
            // The sender lives as long as we do.
            _ = phase.wait_for(|phase| *phase >= Phase::Stopping) => {}
            () = dialling => {}
        }
        self.sought.lock().take();
    }

    /// Dials the monitor once, and waits until membership has let in whoever answers. One that stops may dial us and is
    /// refused, as is every life that has ended: the next one is still to be found.
    async fn finds(self: &Arc<Self>, monitor: &Uid) -> bool {
        let link = self.link_from(monitor, None);
        let deadline = Instant::now() + self.config.handshake_within;
        let judged = |link: &Link| self.knows(link) || !link.look(|machine| machine.is_up());
        self.bring_up(&link, deadline).await.is_ok()
            && self.wait_on_link(&link, deadline, judged).await.is_ok()
            && self.knows(&link)
    }

    /// Whether the life that this link is with is in the topology.
    fn knows(&self, link: &Link) -> bool {
        link.peer_instance().is_some_and(|instance| self.directory().topology.holds(&link.peer, instance))
    }
}
