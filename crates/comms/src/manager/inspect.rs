//! What the links of a manager stand at, for tests and for whoever looks for the cause of something.

use mosaic_proto::link::{Credit, Progress};
use mosaic_proto::wire::Lane;
use mosaic_proto::{Instance, Session, Uid};

use super::CommsManager;

/// What one link stands at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// With whom.
    pub peer: Uid,
    /// With which life of it, once that is known.
    pub instance: Option<Instance>,
    /// The session, if there is one.
    pub session: Option<Session>,
    /// The messages of the session on the control lane and on the data lane.
    pub progress: [Progress; 2],
    /// Bytes of the context's budget that the peer may use, for requests and for replies.
    pub reserved: [u64; 2],
    /// What the peer allows us, for requests and for replies.
    pub credit: [Credit; 2],
    /// Calls that await their reply.
    pub calls: usize,
}

impl CommsManager {
    /// What every link of this manager stands at, by the peers' uids.
    ///
    /// # Panics
    /// If what holds between any two steps of a link does not: that would be a bug of ours.
    pub fn inspect(&self) -> Vec<Inspection> {
        let links = self.shared.all_links();
        links
            .iter()
            .map(|link| {
                link.look(|machine| {
                    machine.assert_invariants();
                    Inspection {
                        peer: link.peer.clone(),
                        instance: machine.peer_instance(),
                        session: machine.session(),
                        progress: Lane::ALL.map(|lane| machine.progress(lane)),
                        credit: machine.credit(),
                        reserved: machine.reservations(),
                        calls: machine.in_flight(),
                    }
                })
            })
            .collect()
    }
}
