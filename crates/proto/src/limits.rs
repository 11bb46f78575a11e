//! Every number that bounds the protocol, with its unit and its reason. All of them are checked before memory is
//! taken.

use std::time::Duration;

/// Bytes of a uid at most: it is also a ZMTP identity, whose length is one byte.
pub const MAX_UID: usize = 255;

/// Bytes of a ZMTP command at most. READY with full metadata is the largest and takes about 700.
pub const MAX_COMMAND: usize = 4 * 1024;

/// Bytes of the context of a ZMTP ping at most: ZMTP's own number.
pub const MAX_PING_CONTEXT: usize = 16;

/// Bytes of a reason for people at most, in ERROR and LEAVE: ZMTP writes the length of ERROR's in one byte.
pub const MAX_REASON: usize = 255;

/// Bytes of an envelope at most: a method name, an object reference and a trace context.
pub const MAX_ENVELOPE: usize = 4 * 1024;

/// How deep values may be nested in a body. Decoders recurse, and this keeps them on their stack.
pub const MAX_NESTING: usize = 128;

/// A frame of at least this many bytes is received straight into the buffer that the user will get, and sent from
/// the user's buffer; smaller ones are cheaper to copy than to refer to.
pub const LARGE_FRAME: usize = 16 * 1024;

/// Bytes of a message on the control lane at most, so that nothing on it waits long.
pub const MAX_CONTROL_MESSAGE: usize = 64 * 1024;

/// The cost of one message of a foreign ZMTP peer at most: it knows no credit, so nothing was reserved for it.
pub const MAX_FOREIGN_MESSAGE: u64 = 256 * 1024 * 1024;

/// How many cancellations that have overtaken their requests are remembered: as many tiny requests as fit a window.
pub const MAX_REMEMBERED_CANCELS: usize = 64 * 1024;

/// What a message costs of its window beyond the bytes of its frames: it bounds the number of tiny messages.
pub const MESSAGE_OVERHEAD: usize = 64;

/// The window of a new link, for each class. It is the price of a link and lies outside the memory budget.
pub const INITIAL_WINDOW: u64 = 256 * 1024;

/// How far use may grow a window, for each class.
pub const MAX_WINDOW: u64 = 8 * 1024 * 1024;

/// An acknowledgement that is owed waits this long at most.
pub const ACK_DELAY: Duration = Duration::from_millis(10);

/// A control lane that was silent for this long sends a heart.
pub const HEART_INTERVAL: Duration = Duration::from_millis(500);

/// A peer that was silent for this long is suspected.
pub const SUSPECT_AFTER: Duration = Duration::from_secs(2);

/// A peer that was silent for this long, our own lateness subtracted, is unreachable.
pub const DEAD_AFTER: Duration = Duration::from_secs(4);

/// So many reports in a row that the peer has read nothing new from a data connection, each asked for a heart's interval
/// after the one before, and the connection is given up: about as long as it takes to be suspected.
pub const STALLED_REPORTS: u32 = 4;

/// Bytes of a runtime's address at most: the longest host name has 253.
pub const MAX_ADDRESS: usize = 255;

/// Bytes of the text that explains why a runtime is gone. It travels to everybody.
pub const MAX_REASON_DETAIL: usize = 256;

/// How many uids an error suggests to someone who named one that does not exist.
pub const SIMILAR_UIDS: usize = 3;

/// Runtimes of one network at most. One costs about 400 bytes in everybody's topology.
pub const MAX_RUNTIMES: usize = 64 * 1024;

/// Bytes of a message about the topology at most; a longer shake comes in parts. Half of what the control lane
/// takes, so that estimates need not be exact.
pub const NOTICE_BYTES: usize = 32 * 1024;

/// The monitor gathers changes of the topology for this long, so that a storm of joins costs each member few
/// messages.
pub const NEWS_DELAY: Duration = Duration::from_millis(10);

/// After the monitor has told its members of changes, it gathers for at least this long for each that it has told: while a
/// thousand join, each of them is told four times a second and not a hundred times.
pub const NEWS_PACE: Duration = Duration::from_micros(250);

/// Changes that the monitor gathers at most before it spreads them without waiting.
pub const MAX_UNSPREAD: usize = 4 * 1024;

/// A member waits this long before it tells the monitor who is gone. Longer than [`NEWS_DELAY`]: what the monitor
/// has seen for itself comes back as news in time, and a thousand members need not report one departure.
pub const REPORT_DELAY: Duration = Duration::from_millis(25);

/// Reports that a member keeps for the monitor at most. Beyond, the monitor's own evidence has to do.
pub const MAX_REPORTS: usize = 1024;

/// Lives that have ended and are remembered, so that late news cannot bring them back. News are late by seconds;
/// this is every runtime of a large network restarted several times.
pub const MAX_GRAVES: usize = 16 * 1024;

/// How long a caller, whose uid another instance holds, waits for news of a change. They normally take
/// [`NEWS_DELAY`]; a second is what anybody asks the monitor for at most.
pub const CLAIM_WAIT: Duration = Duration::from_secs(1);

/// How long those whom a returned monitor does not know yet are kept: all of them have to find it again.
pub const TOPOLOGY_GRACE: Duration = Duration::from_secs(30);

/// What a peer may send us, before memory is taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one frame at most. Default 64 GiB: one array of a large memory node.
    pub frame: u64,
    /// Bytes of all frames of one message at most. Default 64 GiB.
    pub message: u64,
    /// Buffers of one message at most. Default 1024.
    pub buffers: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { frame: 64 << 30, message: 64 << 30, buffers: 1024 }
    }
}
