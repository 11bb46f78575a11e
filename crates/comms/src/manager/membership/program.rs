//! Telling the program who has come and gone: hooks and events, one after the other, on the executor.

use std::collections::BTreeSet;
use std::sync::Arc;

use mosaic_proto::{Instance, Uid};
use tokio::sync::mpsc;

use super::Announcement;
use crate::events::Event;
use crate::manager::Shared;

/// Calls the hooks and emits the events, one after the other, and lets a peer's messages through once it is announced.
pub(super) async fn tell_program(
    shared: Arc<Shared>,
    mut announcements: mpsc::UnboundedReceiver<Announcement>,
) {
    let mut announced: BTreeSet<(Uid, Instance)> = BTreeSet::new();
    let over = shared.over.clone();
    loop {
        let announcement = tokio::select! {
            biased;
            () = over.cancelled() => return,
            announcement = announcements.recv() => announcement,
        };
        match announcement {
            None => return,
            Some(Announcement::Connected { uid, place }) => {
                announced.insert((uid.clone(), place.instance));
                guarded(|| shared.runtime.connected(&uid));
                shared.emit(Event::Connected { uid: uid.clone(), place: place.clone() });
                let link = shared.links.read().get(&uid).cloned();
                if let Some(link) = link.filter(|link| link.peer_instance() == Some(place.instance)) {
                    link.inbox.open(&shared);
                }
            }
            Some(Announcement::Disconnected { uid, instance, reason }) => {
                announced.remove(&(uid.clone(), instance));
                guarded(|| shared.runtime.disconnected(&uid, &reason));
                shared.emit(Event::Disconnected { uid, reason });
            }
            Some(Announcement::Session { link, instance }) => {
                if announced.contains(&(link.peer.clone(), instance)) {
                    link.inbox.open(&shared);
                }
            }
            Some(Announcement::Refused { link }) => link.inbox.close(),
        }
    }
}

/// A hook that panics is the program's own affair: it is logged by the panic hook, and harms nothing else.
fn guarded(hook: impl FnOnce()) {
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(hook));
}
