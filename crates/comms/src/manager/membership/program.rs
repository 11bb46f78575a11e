//! Telling the program who has come and gone: hooks and events, one after the other, on the executor.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mosaic_proto::{Instance, Uid};
use tokio::sync::mpsc;

use super::Announcement;
use crate::events::Event;
use crate::link::Link;
use crate::manager::Shared;

/// Calls the hooks and emits the events, one after the other, and lets a peer's messages through once it is announced.
pub(super) async fn tell_program(
    shared: Arc<Shared>,
    mut announcements: mpsc::UnboundedReceiver<Announcement>,
) {
    let over = shared.over.clone();
    let mut program = Program { shared, announced: BTreeSet::new(), held: BTreeMap::new() };
    loop {
        let announcement = tokio::select! {
            biased;
            () = over.cancelled() => break,
            announcement = announcements.recv() => announcement,
        };
        match announcement {
            Some(announcement) => program.tell(announcement),
            None => break,
        }
    }
    while let Ok(announcement) = announcements.try_recv() {
        if let Announcement::Session { link, .. } = announcement {
            link.inbox.discard();
        }
    }
    program.held.values().for_each(|link| link.inbox.discard());
}

/// What the program has been told.
struct Program {
    shared: Arc<Shared>,
    announced: BTreeSet<(Uid, Instance)>,
    /// The links of those who have not been announced. They may have ended since: what they brought is kept.
    held: BTreeMap<(Uid, Instance), Arc<Link>>,
}

impl Program {
    fn tell(&mut self, announcement: Announcement) {
        let shared = &self.shared;
        match announcement {
            Announcement::Connected { uid, place } => {
                let life = (uid.clone(), place.instance);
                guarded(|| shared.runtime.connected(&uid));
                shared.emit(Event::Connected { uid, place });
                if let Some(link) = self.held.remove(&life) {
                    link.inbox.open(shared);
                }
                self.announced.insert(life);
            }
            Announcement::Disconnected { uid, instance, reason } => {
                let life = (uid.clone(), instance);
                self.announced.remove(&life);
                if let Some(link) = self.held.remove(&life) {
                    link.inbox.discard();
                }
                guarded(|| shared.runtime.disconnected(&uid, &reason));
                shared.emit(Event::Disconnected { uid, reason });
            }
            Announcement::Session { link, instance } => {
                let life = (link.peer.clone(), instance);
                if self.announced.contains(&life) {
                    link.inbox.open(shared);
                } else if let Some(before) = self.held.insert(life, link.clone())
                    && !Arc::ptr_eq(&before, &link)
                {
                    before.inbox.discard();
                }
            }
            Announcement::Refused { link, instance } => {
                self.held.remove(&(link.peer.clone(), instance));
                link.inbox.discard();
            }
        }
    }
}

/// A hook that panics is the program's own affair: it is logged by the panic hook, and harms nothing else.
fn guarded(hook: impl FnOnce()) {
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(hook));
}
