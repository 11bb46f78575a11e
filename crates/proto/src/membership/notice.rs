//! What membership says to others and to its driver, and how what is long is cut into messages that fit the
//! control lane.

use std::sync::Arc;

use thiserror::Error;

use crate::identity::Instance;
use crate::limits::NOTICE_BYTES;
use crate::reason::Reason;
use crate::topology::Place;
use crate::uid::Uid;

/// A message of membership to another runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// "This is me": the first half of the handshake.
    Hand {
        /// Who introduces itself.
        uid: Uid,
        /// Where it can be reached.
        place: Place,
    },
    /// "This is the network": the second half, in one or more parts that follow each other on one lane.
    Shake {
        /// Some of those in the network; the sender is among the entries of one part.
        network: Vec<(Uid, Place)>,
        /// Whether more follows.
        part: Part,
    },
    /// What has changed since the shake or the news before. Shared, so that a driver can encode once what many get.
    News(Arc<News>),
}

/// A change of the network. Who is gone is applied before who has joined, so that a uid can change hands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct News {
    /// Who is gone, which life of it, and why.
    pub gone: Vec<(Uid, Instance, Reason)>,
    /// Who is new, or has a new place.
    pub joined: Vec<(Uid, Place)>,
}

/// Where in a shake one message of it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// More follows.
    More,
    /// The shake is complete.
    Last,
}

/// Whether news that came alone is to be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notify {
    /// It is for us alone.
    Nobody,
    /// The others are to hear of it: the monitor spreads it, anybody else reports it to the monitor.
    Others,
}

/// What an ended link says about the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There is proof that it lives no more.
    Dead,
    /// It said goodbye.
    Left,
    /// We two cannot reach each other; others may.
    Unreachable,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The uid belongs to another instance, which is alive.
    #[error("the uid is held by instance {} at {}:{}", .holder.instance, .holder.address, .holder.port)]
    Taken {
        /// Who holds it.
        holder: Place,
    },
    /// This instance was declared dead; it has to come back as a new one.
    #[error("this instance was declared dead ({reason}): come back as a new one")]
    Dead {
        /// Why it was declared dead.
        reason: Reason,
    },
    /// The network has as many runtimes as it may.
    #[error("the network is full")]
    Full,
    /// The place it gave is longer than an address can be.
    #[error("the address is too long")]
    Address,
}

/// What the driver is to do or to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send this, in order with everything else that is sent to `to`. Where there is neither a link to `to` nor a
    /// place in the topology, it is dropped: what it says is not lost, the next handshake repeats it.
    Send {
        /// For whom.
        to: Uid,
        /// What.
        message: Notice,
    },
    /// A runtime is in the topology now.
    Connected {
        /// Who.
        uid: Uid,
        /// Where.
        place: Place,
    },
    /// A runtime is in the topology no more. Each life of it is disconnected as often as it was connected.
    Disconnected {
        /// Who.
        uid: Uid,
        /// Which life of it.
        instance: Instance,
        /// Why.
        reason: Reason,
    },
    /// The handshake with `from` is complete.
    ShakeDone {
        /// Who shook our hand.
        from: Uid,
    },
    /// The link to this instance, if there is one, must end: as `Left` if the reason is a departure, else as `Dead`.
    End {
        /// To whom.
        uid: Uid,
        /// To which life of it.
        instance: Instance,
        /// Why.
        reason: Reason,
    },
    /// Somebody is not let in: tell it why and end its link. It has not been `Connected`.
    Refuse {
        /// Whom.
        to: Uid,
        /// Which life of it.
        instance: Instance,
        /// Why.
        why: Refusal,
    },
    /// The monitor has declared us dead: everything ends, we may come back as a new instance.
    Condemned {
        /// Why.
        reason: Reason,
    },
}

/// Cuts a network into the parts of a shake. There is at least one part, and exactly one is the last.
pub(super) fn shake_parts(network: impl Iterator<Item = (Uid, Place)>) -> Vec<Notice> {
    let mut parts = Vec::new();
    let mut open = Vec::new();
    let mut bytes = 0;
    for (uid, place) in network {
        let cost = join_bytes(&uid, &place);
        if bytes + cost > NOTICE_BYTES {
            parts.push(Notice::Shake { network: std::mem::take(&mut open), part: Part::More });
            bytes = 0;
        }
        bytes += cost;
        open.push((uid, place));
    }
    parts.push(Notice::Shake { network: open, part: Part::Last });
    parts
}

/// Cuts news into messages, all departures before the first arrival. No news make no message.
pub(super) fn news_parts(news: News) -> Vec<Arc<News>> {
    let mut parts = Vec::new();
    let mut open = News::default();
    let mut room = NOTICE_BYTES;
    for gone in news.gone {
        make_room(&mut parts, &mut open, &mut room, gone_bytes(&gone.0, &gone.2));
        open.gone.push(gone);
    }
    for joined in news.joined {
        make_room(&mut parts, &mut open, &mut room, join_bytes(&joined.0, &joined.1));
        open.joined.push(joined);
    }
    if !open.gone.is_empty() || !open.joined.is_empty() {
        parts.push(Arc::new(open));
    }
    parts
}

fn make_room(parts: &mut Vec<Arc<News>>, open: &mut News, room: &mut usize, cost: usize) {
    if cost > *room {
        parts.push(Arc::new(std::mem::take(open)));
        *room = NOTICE_BYTES;
    }
    *room -= cost;
}

/// An upper bound of what the headers and numbers of one entry take: port, instance, and four MessagePack headers.
const ENTRY_OVERHEAD: usize = 32;

/// An upper bound of the bytes of one arrival on the wire.
fn join_bytes(uid: &Uid, place: &Place) -> usize {
    ENTRY_OVERHEAD + uid.len() + place.address.len()
}

/// An upper bound of the bytes of one departure on the wire.
fn gone_bytes(uid: &Uid, reason: &Reason) -> usize {
    ENTRY_OVERHEAD + uid.len() + reason.wire_bound()
}
