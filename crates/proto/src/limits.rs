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

/// Bytes of a runtime's address at most: the longest host name has 253.
pub const MAX_ADDRESS: usize = 255;

/// Bytes of the text that explains why a runtime is gone. It travels to everybody.
pub const MAX_REASON_DETAIL: usize = 256;

/// How many uids an error suggests to someone who named one that does not exist.
pub const SIMILAR_UIDS: usize = 3;

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
