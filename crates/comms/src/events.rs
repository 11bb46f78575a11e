//! What happens in the network, as a stream for those who want to know.

use mosaic_proto::{Place, Reason, Uid};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::error::RemoteError;

/// Events that wait for a slow listener at most; it then misses the oldest, and is told how many.
pub(crate) const EVENTS_KEPT: usize = 4096;

/// Something that happened in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A runtime is in the network now. Once for each life of it.
    Connected {
        /// Who.
        uid: Uid,
        /// Where it can be reached.
        place: Place,
    },
    /// A runtime is no longer in the network. Once for each life of it.
    Disconnected {
        /// Who.
        uid: Uid,
        /// Why.
        reason: Reason,
    },
    /// Nothing has come from a peer for a while.
    Suspected {
        /// From whom.
        uid: Uid,
    },
    /// A peer can't be reached from here; others may. Calls to it have ended, and the next one begins anew.
    Unreachable {
        /// Who.
        uid: Uid,
        /// Why.
        reason: Reason,
    },
    /// A handler of the peer failed with a one-way message of ours.
    Failed {
        /// Whose handler.
        uid: Uid,
        /// With what.
        error: Box<RemoteError>,
    },
    /// The monitor has declared us dead: we can only come back as a new instance.
    Condemned {
        /// Why.
        reason: Reason,
    },
    /// This listener was too slow and has missed this many events.
    Missed {
        /// How many.
        count: u64,
    },
}

/// The events from the moment on at which they were asked for.
///
/// # Example
/// ```
/// use mosaic_comms::{CommsManager, Config, Event, Methods};
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let here = Config::default().address("127.0.0.1");
/// let monitor = CommsManager::start("monitor", Methods::new(), here.clone()).await?;
/// let mut events = monitor.events();
/// let joining = here.monitor(monitor.address(), monitor.port());
/// let worker = CommsManager::start("worker:0", Methods::new(), joining).await?;
/// let Some(Event::Connected { uid, .. }) = events.next().await else { panic!("somebody came") };
/// assert_eq!(uid, *worker.uid());
/// # worker.stop().await;
/// # monitor.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Events(pub(crate) broadcast::Receiver<Event>);

impl Events {
    /// The next event; `None` once the manager has stopped.
    ///
    /// Cancel safe: no event is lost.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(count)) => Some(Event::Missed { count }),
            Err(RecvError::Closed) => None,
        }
    }
}
