//! ZMTP commands: those of ZMTP itself and Mosaic's own.
//!
//! ```text
//!  frame header (command)
//!  +-------------+------+------------------------------------------------------------------+
//!  | name length | name | body                                                             |
//!  +-------------+------+------------------------------------------------------------------+
//!                  READY  properties, see `ready`         ERROR  reason, see `refusal`
//!                  PING   ttl, 2 bytes; context           PONG   context, 0 to 16 bytes
//!                  ACK    [lane, received, consumed requests, consumed replies, window requests, window replies,
//!                          saturated]
//!                  WANT   [class, bytes]                  DENY   [class, limit]
//!                  BEAT   [lag in ms, received on control, received on data, paused]
//!                  LEAVE  [reason, last on control, last on data]
//!                  CANCEL [id, after]                     DATA   []              HEART  []
//! ```
//! Bodies in brackets are MessagePack arrays; a newer minor version may append elements, which are skipped.

use std::time::Duration;

use crate::limits::{MAX_PING_CONTEXT, MAX_REASON};
use crate::wire::error::shown;
use crate::wire::frame::encode_frame;
use crate::wire::messagepack::{Reader, write_array, write_bool, write_str, write_uint};
use crate::wire::refusal::cut;
use crate::wire::{FrameHeader, Ready, Refusal, WireError};

/// One of the two connections of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Handshake, commands and what must not wait.
    Control = 0,
    /// Ordered requests and large replies.
    Data = 1,
}

/// What a message is with regard to credit: requests and replies have separate windows, so that one can never block
/// the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Messages that ask for something.
    Requests = 0,
    /// Replies and errors.
    Replies = 1,
}

/// How far one lane has come. Everything in it is cumulative, so a lost or repeated one does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The lane that is spoken of.
    pub lane: Lane,
    /// Messages received on the lane in this session.
    pub received: u64,
    /// Cost of the messages consumed in this session, by class.
    pub consumed: [u64; 2],
    /// How much more than `consumed` may be sent, by class.
    pub window: [u64; 2],
    /// Whether a request that came waits until a handler ends. A peer of an older minor version does not say.
    pub saturated: bool,
}

/// The answer to a heart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// How late the answering side is itself; whole milliseconds on the wire.
    pub lag: Duration,
    /// Bytes read from the connection there is, by lane, from the end of READY on.
    pub read: [u64; 2],
    /// Whether the answering side is held, by a debugger for instance, and means to go on.
    pub paused: bool,
}

/// One ZMTP command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The handshake's end: who this is.
    Ready(Ready),
    /// The handshake is refused.
    Error(Refusal),
    /// ZMTP's own heartbeat, spoken with foreign peers.
    Ping {
        /// Tenths of a second after which the sender may be given up; 0 for never.
        ttl: u16,
        /// At most 16 bytes that the answer repeats.
        context: Vec<u8>,
    },
    /// The answer to a ping.
    Pong {
        /// What the ping held.
        context: Vec<u8>,
    },
    /// How far a lane has come.
    Ack(Ack),
    /// The sender's next message exceeds its window.
    Want {
        /// Whose window.
        class: Class,
        /// What the message costs.
        bytes: u64,
    },
    /// The answer to a [`Command::Want`] that can never be granted.
    Deny {
        /// Whose window.
        class: Class,
        /// What a message may cost at most.
        limit: u64,
    },
    /// Is anybody there?
    Heart,
    /// The answer to a heart.
    Beat(Beat),
    /// The sender leaves for good.
    Leave {
        /// Why, for people.
        reason: String,
        /// Messages sent in this session, by lane.
        last: [u64; 2],
    },
    /// The reply to a request is not wanted any more.
    Cancel {
        /// The request.
        id: u64,
        /// How many messages the sender had put on the data lane before.
        after: u64,
    },
    /// The accepting side asks the dialling one for the data lane.
    Data,
    /// A command that this side does not know: its name.
    Unknown(String),
}

impl Lane {
    /// Both lanes, by index.
    pub const ALL: [Lane; 2] = [Lane::Control, Lane::Data];

    /// The place of this lane in an array.
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl Class {
    /// Both classes, by index.
    pub const ALL: [Class; 2] = [Class::Requests, Class::Replies];

    /// The place of this class in an array.
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl Command {
    /// Appends the whole command frame, header included. A reason that is too long is cut.
    ///
    /// # Panics
    /// If a ping's context is longer than [`MAX_PING_CONTEXT`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_frame(out, FrameHeader { more: false, command: true, elsewhere: false, len: 0 }, |out| {
            let name = self.name();
            out.push(name.len() as u8);
            out.extend_from_slice(name.as_bytes());
            self.encode_body(out);
        });
    }

    /// Reads a command from the payload of its frame.
    ///
    /// # Errors
    /// [`WireError`] with the command's name. A command that is not known is no error.
    pub fn decode(body: &[u8]) -> Result<Command, WireError> {
        let truncated = WireError::Truncated { what: "a command's name" };
        let (&len, rest) = body.split_first().ok_or(truncated.clone())?;
        let (name, body) = rest.split_at_checked(usize::from(len)).ok_or(truncated)?;
        match name {
            b"READY" => Ok(Command::Ready(Ready::decode(body)?)),
            b"ERROR" => Ok(Command::Error(Refusal::decode(body)?)),
            b"PING" => decode_ping(body),
            b"PONG" => Ok(Command::Pong { context: ping_context(body)? }),
            b"ACK" => decode_ack(body),
            b"WANT" => decode_want(body),
            b"DENY" => decode_deny(body),
            b"HEART" => decode_bare(Command::Heart, "HEART", body),
            b"BEAT" => decode_beat(body),
            b"LEAVE" => decode_leave(body),
            b"CANCEL" => decode_cancel(body),
            b"DATA" => decode_bare(Command::Data, "DATA", body),
            _ => Ok(Command::Unknown(shown(name))),
        }
    }

    /// The name under which the command travels.
    pub fn name(&self) -> &str {
        match self {
            Command::Ready(_) => "READY",
            Command::Error(_) => "ERROR",
            Command::Ping { .. } => "PING",
            Command::Pong { .. } => "PONG",
            Command::Ack(_) => "ACK",
            Command::Want { .. } => "WANT",
            Command::Deny { .. } => "DENY",
            Command::Heart => "HEART",
            Command::Beat(_) => "BEAT",
            Command::Leave { .. } => "LEAVE",
            Command::Cancel { .. } => "CANCEL",
            Command::Data => "DATA",
            Command::Unknown(name) => cut(name, usize::from(u8::MAX)),
        }
    }

    fn encode_body(&self, out: &mut Vec<u8>) {
        match self {
            Command::Ready(ready) => ready.encode(out),
            Command::Error(refusal) => refusal.encode(out),
            Command::Ping { ttl, context } => {
                out.extend_from_slice(&ttl.to_be_bytes());
                encode_context(context, out);
            }
            Command::Pong { context } => encode_context(context, out),
            Command::Ack(ack) => encode_ack(ack, out),
            Command::Deny { class, limit } => encode_numbers(&[*class as u64, *limit], out),
            Command::Want { class, bytes } => encode_numbers(&[*class as u64, *bytes], out),
            Command::Heart | Command::Data => encode_numbers(&[], out),
            Command::Beat(beat) => encode_beat(beat, out),
            Command::Leave { reason, last } => encode_leave(reason, *last, out),
            Command::Cancel { id, after } => encode_numbers(&[*id, *after], out),
            Command::Unknown(_) => {}
        }
    }
}

fn encode_numbers(numbers: &[u64], out: &mut Vec<u8>) {
    write_array(out, numbers.len() as u32);
    for &number in numbers {
        write_uint(out, number);
    }
}

fn encode_context(context: &[u8], out: &mut Vec<u8>) {
    assert!(context.len() <= MAX_PING_CONTEXT, "a ping's context has {} bytes", context.len());
    out.extend_from_slice(context);
}

fn encode_ack(ack: &Ack, out: &mut Vec<u8>) {
    let Ack { lane, received, consumed, window, saturated } = *ack;
    write_array(out, 7);
    for number in [lane as u64, received, consumed[0], consumed[1], window[0], window[1]] {
        write_uint(out, number);
    }
    write_bool(out, saturated);
}

fn encode_beat(beat: &Beat, out: &mut Vec<u8>) {
    write_array(out, 4);
    write_uint(out, u64::try_from(beat.lag.as_millis()).unwrap_or(u64::MAX));
    write_uint(out, beat.read[0]);
    write_uint(out, beat.read[1]);
    write_bool(out, beat.paused);
}

fn encode_leave(reason: &str, last: [u64; 2], out: &mut Vec<u8>) {
    write_array(out, 3);
    write_str(out, cut(reason, MAX_REASON));
    write_uint(out, last[0]);
    write_uint(out, last[1]);
}

fn decode_ping(body: &[u8]) -> Result<Command, WireError> {
    let (ttl, context) = body.split_first_chunk().ok_or(WireError::Truncated { what: "PING" })?;
    Ok(Command::Ping { ttl: u16::from_be_bytes(*ttl), context: ping_context(context)? })
}

fn ping_context(context: &[u8]) -> Result<Vec<u8>, WireError> {
    if context.len() > MAX_PING_CONTEXT {
        return Err(WireError::Malformed { what: "the context of a PING", wanted: "at most 16 bytes" });
    }
    Ok(context.to_vec())
}

fn decode_ack(body: &[u8]) -> Result<Command, WireError> {
    let mut reader = Reader::new(body, "ACK");
    let added = reader.array(6, "an array of at least 6 elements")?;
    let lane = decode_lane(&mut reader)?;
    let received = reader.uint("a number of messages")?;
    let consumed = decode_pair(&mut reader)?;
    let window = decode_pair(&mut reader)?;
    let saturated = added > 0 && reader.boolean("true or false")?;
    reader.finish(added.saturating_sub(1))?;
    Ok(Command::Ack(Ack { lane, received, consumed, window, saturated }))
}

fn decode_want(body: &[u8]) -> Result<Command, WireError> {
    let mut reader = Reader::new(body, "WANT");
    let added = reader.array(2, "an array of at least 2 elements")?;
    let class = decode_class(&mut reader)?;
    let bytes = reader.uint("a number of bytes")?;
    reader.finish(added)?;
    Ok(Command::Want { class, bytes })
}

fn decode_deny(body: &[u8]) -> Result<Command, WireError> {
    let mut reader = Reader::new(body, "DENY");
    let added = reader.array(2, "an array of at least 2 elements")?;
    let class = decode_class(&mut reader)?;
    let limit = reader.uint("a number of bytes")?;
    reader.finish(added)?;
    Ok(Command::Deny { class, limit })
}

fn decode_beat(body: &[u8]) -> Result<Command, WireError> {
    let mut reader = Reader::new(body, "BEAT");
    let added = reader.array(4, "an array of at least 4 elements")?;
    let lag = Duration::from_millis(reader.uint("a number of milliseconds")?);
    let read = decode_pair(&mut reader)?;
    let paused = reader.boolean("true or false")?;
    reader.finish(added)?;
    Ok(Command::Beat(Beat { lag, read, paused }))
}

fn decode_leave(body: &[u8]) -> Result<Command, WireError> {
    let mut reader = Reader::new(body, "LEAVE");
    let added = reader.array(3, "an array of at least 3 elements")?;
    let reason = reader.str("a reason")?.to_owned();
    let last = decode_pair(&mut reader)?;
    reader.finish(added)?;
    Ok(Command::Leave { reason, last })
}

fn decode_cancel(body: &[u8]) -> Result<Command, WireError> {
    let mut reader = Reader::new(body, "CANCEL");
    let added = reader.array(2, "an array of at least 2 elements")?;
    let id = reader.uint("an id")?;
    let after = reader.uint("a number of messages")?;
    reader.finish(added)?;
    Ok(Command::Cancel { id, after })
}

/// Reads the body of a command that says everything by its name.
fn decode_bare(command: Command, what: &'static str, body: &[u8]) -> Result<Command, WireError> {
    let mut reader = Reader::new(body, what);
    let added = reader.array(0, "an array")?;
    reader.finish(added)?;
    Ok(command)
}

fn decode_class(reader: &mut Reader<'_>) -> Result<Class, WireError> {
    match reader.uint("a class")? {
        0 => Ok(Class::Requests),
        1 => Ok(Class::Replies),
        found => Err(WireError::UnknownNumber { what: "class", found, largest: 1 }),
    }
}

fn decode_lane(reader: &mut Reader<'_>) -> Result<Lane, WireError> {
    match reader.uint("a lane")? {
        0 => Ok(Lane::Control),
        1 => Ok(Lane::Data),
        found => Err(WireError::UnknownNumber { what: "lane", found, largest: 1 }),
    }
}

fn decode_pair(reader: &mut Reader<'_>) -> Result<[u64; 2], WireError> {
    Ok([reader.uint("a number")?, reader.uint("a number")?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body_of(command: &Command) -> Vec<u8> {
        let mut out = Vec::new();
        command.encode(&mut out);
        let (header, size) = FrameHeader::decode(&out).unwrap().unwrap();
        assert!(header.command && !header.more);
        assert_eq!(header.len as usize, out.len() - size);
        out.split_off(size)
    }

    #[test]
    fn elements_of_a_newer_minor_version_are_skipped() {
        let mut body = body_of(&Command::Cancel { id: 1, after: 2 });
        let array = body.len() - 3;
        body[array] = 0x93;
        body.extend([0x91, 0xc0]);
        assert_eq!(Command::decode(&body), Ok(Command::Cancel { id: 1, after: 2 }));
    }

    #[test]
    fn missing_elements_and_trailing_bytes_are_errors() {
        let error = Command::decode(b"\x06CANCEL\x91\x01").unwrap_err();
        let wanted = "an array of at least 2 elements";
        assert_eq!(error, WireError::Malformed { what: "CANCEL", wanted });
        let error = Command::decode(b"\x05HEART\x90\x90").unwrap_err();
        assert_eq!(error, WireError::TrailingBytes { what: "HEART", count: 1 });
    }

    #[test]
    fn an_unknown_name_is_no_error() {
        let command = Command::decode(b"\x09SUBSCRIBEtopic").unwrap();
        assert_eq!(command, Command::Unknown("SUBSCRIBE".into()));
        assert!(Command::decode(b"\x09SUB").is_err());
        assert!(Command::decode(b"").is_err());
    }

    #[test]
    fn unknown_lanes_and_classes_are_named() {
        let error = Command::decode(b"\x04WANT\x92\x02\x01").unwrap_err();
        assert_eq!(error, WireError::UnknownNumber { what: "class", found: 2, largest: 1 });
        let error = Command::decode(b"\x03ACK\x96\x07\x00\x00\x00\x00\x00").unwrap_err();
        assert_eq!(error, WireError::UnknownNumber { what: "lane", found: 7, largest: 1 });
    }

    #[test]
    fn a_long_context_is_refused() {
        let body = [b"\x04PONG".as_slice(), &[7; 17]].concat();
        assert!(Command::decode(&body).is_err());
        assert_eq!(Command::decode(&body[..21]), Ok(Command::Pong { context: vec![7; 16] }));
    }

    #[test]
    fn a_long_reason_is_cut() {
        let body = body_of(&Command::Leave { reason: "é".repeat(200), last: [0, 0] });
        let Command::Leave { reason, .. } = Command::decode(&body).unwrap() else { panic!("{body:02x?}") };
        assert_eq!(reason, "é".repeat(127));
    }
}
