//! What can be wrong with bytes that a peer sent. Each variant names the culprit and what would be right; none of
//! them is ever a panic. After any of them the connection is of no further use.

use thiserror::Error;

use crate::limits::{MAX_COMMAND, MAX_ENVELOPE, MAX_NESTING};
use crate::wire::{RefusalCode, VERSION};

/// Why received bytes are not what the protocol allows.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WireError {
    /// The peer does not speak ZMTP at all.
    #[error(
        "byte {at} of the greeting is {byte:#04x} where ZMTP has {wanted:#04x}: the peer does not speak ZMTP"
    )]
    NotZmtp {
        /// Where in the greeting, counted from 0.
        at: usize,
        /// What was there.
        byte: u8,
        /// What ZMTP has there.
        wanted: u8,
    },
    /// The peer speaks a ZMTP that is too old.
    #[error("the peer speaks ZMTP {major}, at least 3 is needed")]
    ZmtpTooOld {
        /// The peer's major version.
        major: u8,
    },
    /// The peer wants another security mechanism than NULL.
    #[error("the peer wants the security mechanism `{found}`, only `NULL` is spoken here")]
    Mechanism {
        /// Its name as far as it had arrived, unprintable bytes escaped.
        found: String,
    },
    /// Flag bits of a frame are set that ZMTP reserves.
    #[error(
        "frame flags {flags:#04x} have reserved bits set, only 0x0f may be used, and bit 3 only if this side has offered it and for no command"
    )]
    ReservedFlags {
        /// The flags byte.
        flags: u8,
    },
    /// A command frame says that more frames follow.
    #[error("frame flags {flags:#04x} announce a command of several frames, a command is one frame")]
    SplitCommand {
        /// The flags byte.
        flags: u8,
    },
    /// A command came between two frames of one message.
    #[error("a command arrived inside a message, commands may only stand between messages")]
    CommandInsideMessage,
    /// A frame is larger than this side takes.
    #[error("a frame of {announced} bytes was announced, the limit is {limit}")]
    FrameTooLarge {
        /// Its length by its header.
        announced: u64,
        /// What is allowed.
        limit: u64,
    },
    /// A command is larger than any can be.
    #[error("a command of {announced} bytes was announced, the limit is {MAX_COMMAND}")]
    CommandTooLarge {
        /// Its length by its header.
        announced: u64,
    },
    /// An envelope is larger than any can be.
    #[error("an envelope has {length} bytes, the limit is {MAX_ENVELOPE} (method, object, trace)")]
    EnvelopeTooLarge {
        /// Its length.
        length: u64,
    },
    /// The frames of a message are together larger than this side takes.
    #[error("a message of at least {announced} bytes was announced, the limit is {limit}")]
    MessageTooLarge {
        /// The frames announced so far, together.
        announced: u64,
        /// What is allowed.
        limit: u64,
    },
    /// A message has more buffers than this side takes.
    #[error("a message has more than {limit} buffers")]
    TooManyBuffers {
        /// What is allowed.
        limit: usize,
    },
    /// A message costs more than the windows of its link allow.
    #[error("a message that costs at least {cost} was announced, the window allows {allowance}")]
    OverWindow {
        /// The cost of the frames announced so far.
        cost: u64,
        /// What the window allows.
        allowance: u64,
    },
    /// The content of a frame is not where the peer says.
    #[error("there are no {len} bytes of the peer's at {offset} of region {region}")]
    NotThere {
        /// The region that was named.
        region: u64,
        /// Where in it the content was to begin.
        offset: u64,
        /// How many bytes it was to have.
        len: u64,
    },
    /// Something ended before it was complete.
    #[error("{what} ended early")]
    Truncated {
        /// The thing that ended.
        what: &'static str,
    },
    /// Something is of another type or value than it must be.
    #[error("{what} is malformed: {wanted} is wanted")]
    Malformed {
        /// The thing that is wrong.
        what: &'static str,
        /// What would be right.
        wanted: &'static str,
    },
    /// Bytes follow where something must have ended.
    #[error("{count} bytes follow the end of {what}")]
    TrailingBytes {
        /// The thing that had ended.
        what: &'static str,
        /// How many bytes follow.
        count: usize,
    },
    /// Values are nested too deeply.
    #[error("values are nested more than {MAX_NESTING} deep")]
    NestedTooDeep,
    /// A keyword stands twice in a body.
    #[error("the keyword `{key}` stands twice in the body")]
    DuplicateKey {
        /// The keyword, shortened to what a message can show.
        key: String,
    },
    /// A property of READY does not mean anything.
    #[error("property {name} is `{found}`, {wanted} is wanted")]
    Property {
        /// The property.
        name: &'static str,
        /// Its value, shortened to what a message can show.
        found: String,
        /// What would be right.
        wanted: &'static str,
    },
    /// A property stands twice in READY.
    #[error("property {name} stands twice in READY")]
    DuplicateProperty {
        /// The property.
        name: &'static str,
    },
    /// READY lacks a property.
    #[error("property {name} is missing from READY")]
    MissingProperty {
        /// The property.
        name: &'static str,
    },
    /// The peer's socket cannot talk to a ROUTER.
    #[error("the peer is a `{found}` socket, only ROUTER, DEALER and REQ can talk to a ROUTER")]
    SocketType {
        /// The type it gave, shortened to what a message can show.
        found: String,
    },
    /// The peer speaks another major version of the Mosaic protocol.
    #[error("the peer speaks version {major}.{minor} of the Mosaic protocol, this side {}.{}", VERSION.0, VERSION.1)]
    MosaicVersion {
        /// The peer's major version.
        major: u16,
        /// The peer's minor version.
        minor: u16,
    },
    /// An envelope has another layout than the one spoken here.
    #[error("an envelope of version {found} arrived, version 1 is spoken here")]
    EnvelopeVersion {
        /// Its version.
        found: u64,
    },
    /// A number stands for nothing.
    #[error("{what} {found} is unknown, the largest known is {largest}")]
    UnknownNumber {
        /// What it numbers.
        what: &'static str,
        /// The number.
        found: u64,
        /// The largest number that stands for something.
        largest: u64,
    },
    /// A body is compressed.
    #[error("unsupported compression: the envelope's compression must be nil")]
    UnsupportedCompression,
}

impl WireError {
    /// The code with which a peer that sent such bytes during the handshake is refused.
    pub fn refusal_code(&self) -> RefusalCode {
        match self {
            WireError::MosaicVersion { .. } => RefusalCode::Version,
            _ => RefusalCode::Malformed,
        }
    }
}

/// What of a peer's bytes a message can show: at most 64 characters, unprintable ones escaped.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(256)];
    String::from_utf8_lossy(head).chars().take(64).flat_map(char::escape_default).collect()
}
