//! The envelope: the first frame of every message, which says what the message is.
//!
//! ```text
//!  MessagePack array of 10
//!  0 version      1
//!  1 kind         0 message, 1 reply, 2 error
//!  2 id           written as 0xcf and 8 bytes, so that it can be set after encoding
//!  3 method       string
//!  4 flags        bit 0 wants a reply, bit 1 express, bits 8 to 15 depth of nesting
//!  5 command      nil, or [type, uid] of the object that is called
//!  6 remaining    nil, or milliseconds, written as 0xce and 4 bytes, stamped when the message is written
//!  7 codec        0 MessagePack, 1 pickle
//!  8 compression  nil
//!  9 trace        nil, or a W3C traceparent
//! ```
//! Integers are read in any width; elements that a newer minor version appends and flags it adds are ignored.

use std::time::Duration;

use crate::limits::MAX_ENVELOPE;
use crate::wire::messagepack::{
    Reader, write_array, write_nil, write_str, write_uint, write_wide, write_word,
};
use crate::wire::{Class, WireError};

const VERSION: u64 = 1;
const ELEMENTS: u32 = 10;
const WHAT: &str = "the envelope";

const WANTS_REPLY: u64 = 1;
const EXPRESS: u64 = 1 << 1;
const DEPTH_SHIFT: u32 = 8;

/// Where the 8 bytes of the id lie in an encoded envelope.
pub(crate) const ID_OFFSET: usize = 4;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Something is asked for or told.
    Message = 0,
    /// The result of a message.
    Reply = 1,
    /// A message failed, and why.
    Error = 2,
}

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// A MessagePack map.
    MessagePack = 0,
    /// A Python pickle, which only a runtime that trusts its network reads.
    Pickle = 1,
}

/// The object that a message calls, where it is not the runtime itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The object's type.
    pub kind: &'a str,
    /// The object's uid.
    pub uid: &'a str,
}

/// What a message is and what is to be done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// What the message is.
    pub kind: Kind,
    /// One id serves a message and its reply.
    pub id: u64,
    /// The method that is called; a reply repeats it.
    pub method: &'a str,
    /// Whether the sender waits for a reply.
    pub wants_reply: bool,
    /// Whether the message takes the control lane and may overtake others.
    pub express: bool,
    /// How many calls that wait for each other lie below this one.
    pub depth: u8,
    /// The object that is called; `None` for the runtime itself.
    pub command: Option<Target<'a>>,
    /// How long the sender will still wait; whole milliseconds on the wire, rounded up.
    pub remaining: Option<Duration>,
    /// How the body is written.
    pub codec: Codec,
    /// A W3C traceparent.
    pub trace: Option<&'a str>,
}

impl Kind {
    /// Whose window a message of this kind is counted in.
    pub const fn class(self) -> Class {
        match self {
            Kind::Message => Class::Requests,
            Kind::Reply | Kind::Error => Class::Replies,
        }
    }
}

impl<'a> Envelope<'a> {
    /// Appends the envelope to `out`. Returns where in `out` the 4 bytes of the remaining time lie, for
    /// [`stamp_remaining`], if there is one.
    pub fn encode(&self, out: &mut Vec<u8>) -> Option<usize> {
        write_array(out, ELEMENTS);
        write_uint(out, VERSION);
        write_uint(out, self.kind as u64);
        write_wide(out, self.id);
        write_str(out, self.method);
        write_uint(out, self.flags());
        encode_target(self.command, out);
        let stamp = self.remaining.map(|remaining| {
            write_word(out, milliseconds(remaining));
            out.len() - size_of::<u32>()
        });
        if stamp.is_none() {
            write_nil(out);
        }
        write_uint(out, self.codec as u64);
        write_nil(out);
        match self.trace {
            Some(trace) => write_str(out, trace),
            None => write_nil(out),
        }
        stamp
    }

    /// Reads an envelope.
    ///
    /// # Errors
    /// [`WireError::EnvelopeTooLarge`], [`WireError::EnvelopeVersion`], [`WireError::UnsupportedCompression`],
    /// [`WireError::UnknownNumber`] for a kind or codec, and what a malformed array makes of it.
    pub fn decode(bytes: &'a [u8]) -> Result<Envelope<'a>, WireError> {
        if bytes.len() > MAX_ENVELOPE {
            return Err(WireError::EnvelopeTooLarge { length: bytes.len() as u64 });
        }
        let mut reader = Reader::new(bytes, WHAT);
        let added = reader.array(1, "an array that begins with a version")?;
        let found = reader.uint("a version")?;
        if found != VERSION {
            return Err(WireError::EnvelopeVersion { found });
        }
        let wanted = "an array of at least 10 elements";
        let added = (added + 1).checked_sub(u64::from(ELEMENTS));
        let added = added.ok_or(WireError::Malformed { what: WHAT, wanted })?;
        let kind = decode_kind(&mut reader)?;
        let id = reader.uint("an id")?;
        let method = reader.str("a method")?;
        let flags = reader.uint("flags")?;
        let command = decode_target(&mut reader)?;
        let remaining = match reader.nil() {
            true => None,
            // As much as can be written. That is 49 days.
            false => {
                let milliseconds = reader.uint("a number of milliseconds")?;
                Some(Duration::from_millis(milliseconds.min(u64::from(u32::MAX))))
            }
        };
        let codec = decode_codec(&mut reader)?;
        if !reader.nil() {
            return Err(WireError::UnsupportedCompression);
        }
        let trace = if reader.nil() { None } else { Some(reader.str("a trace context")?) };
        reader.finish(added)?;
        let (wants_reply, express) = (flags & WANTS_REPLY != 0, flags & EXPRESS != 0);
        let depth = (flags >> DEPTH_SHIFT) as u8;
        Ok(Envelope { kind, id, method, wants_reply, express, depth, command, remaining, codec, trace })
    }

    fn flags(&self) -> u64 {
        let wants_reply = if self.wants_reply { WANTS_REPLY } else { 0 };
        let express = if self.express { EXPRESS } else { 0 };
        wants_reply | express | u64::from(self.depth) << DEPTH_SHIFT
    }
}

/// Replaces the remaining time in an encoded envelope, `offset` being what [`Envelope::encode`] returned.
///
/// # Panics
/// If `head` has no 4 bytes at `offset`.
pub fn stamp_remaining(head: &mut [u8], offset: usize, remaining: Duration) {
    head[offset..offset + size_of::<u32>()].copy_from_slice(&milliseconds(remaining).to_be_bytes());
}

/// Whole milliseconds, rounded up so that time that remains never looks like none; at most 49 days.
fn milliseconds(remaining: Duration) -> u32 {
    u32::try_from(remaining.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

fn encode_target(target: Option<Target<'_>>, out: &mut Vec<u8>) {
    let Some(target) = target else { return write_nil(out) };
    write_array(out, 2);
    write_str(out, target.kind);
    write_str(out, target.uid);
}

fn decode_target<'a>(reader: &mut Reader<'a>) -> Result<Option<Target<'a>>, WireError> {
    if reader.nil() {
        return Ok(None);
    }
    let wanted = "nil or an array of type and uid as command";
    match reader.array(2, wanted)? {
        0 => Ok(Some(Target { kind: reader.str("an object's type")?, uid: reader.str("an object's uid")? })),
        _ => Err(WireError::Malformed { what: WHAT, wanted }),
    }
}

fn decode_kind(reader: &mut Reader<'_>) -> Result<Kind, WireError> {
    match reader.uint("a kind")? {
        0 => Ok(Kind::Message),
        1 => Ok(Kind::Reply),
        2 => Ok(Kind::Error),
        found => Err(WireError::UnknownNumber { what: "kind", found, largest: 2 }),
    }
}

fn decode_codec(reader: &mut Reader<'_>) -> Result<Codec, WireError> {
    match reader.uint("a codec")? {
        0 => Ok(Codec::MessagePack),
        1 => Ok(Codec::Pickle),
        found => Err(WireError::UnknownNumber { what: "codec", found, largest: 1 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Envelope<'static> {
        Envelope {
            kind: Kind::Message,
            id: 5,
            method: "solve",
            wants_reply: true,
            express: false,
            depth: 3,
            command: Some(Target { kind: "Solver", uid: "solver-1" }),
            remaining: Some(Duration::from_millis(1500)),
            codec: Codec::MessagePack,
            trace: None,
        }
    }

    fn encoded(envelope: &Envelope<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        envelope.encode(&mut out);
        out
    }

    #[test]
    fn the_remaining_time_can_be_stamped_later() {
        let mut out = vec![1, 2, 3];
        let offset = envelope().encode(&mut out).unwrap();
        stamp_remaining(&mut out, offset, Duration::from_micros(7001));
        let remaining = Some(Duration::from_millis(8));
        assert_eq!(Envelope::decode(&out[3..]), Ok(Envelope { remaining, ..envelope() }));
        stamp_remaining(&mut out, offset, Duration::MAX);
        let remaining = Some(Duration::from_millis(u64::from(u32::MAX)));
        assert_eq!(Envelope::decode(&out[3..]), Ok(Envelope { remaining, ..envelope() }));
    }

    #[test]
    fn the_id_lies_at_its_place() {
        let bytes = encoded(&Envelope { id: 0x0102_0304_0506_0708, ..envelope() });
        assert_eq!(bytes[ID_OFFSET..ID_OFFSET + 8], [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn short_integers_and_added_elements_are_read() {
        let bytes = b"\x9b\x01\x00\x05\xa5solve\xcd\xff\x02\xc0\x07\x01\xc0\xc0\x91\xc0";
        let read = Envelope::decode(bytes).unwrap();
        assert_eq!((read.id, read.depth, read.express, read.wants_reply), (5, 255, true, false));
        assert_eq!((read.remaining, read.codec), (Some(Duration::from_millis(7)), Codec::Pickle));
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        let wrong = |at: usize, byte| {
            let mut bytes = encoded(&envelope());
            bytes[at] = byte;
            Envelope::decode(&bytes).unwrap_err()
        };
        assert_eq!(wrong(1, 2), WireError::EnvelopeVersion { found: 2 });
        assert_eq!(wrong(2, 3), WireError::UnknownNumber { what: "kind", found: 3, largest: 2 });
        let compression = encoded(&envelope()).len() - 2;
        assert_eq!(wrong(compression, 1), WireError::UnsupportedCompression);
        assert_eq!(
            wrong(compression - 1, 2),
            WireError::UnknownNumber { what: "codec", found: 2, largest: 1 }
        );
        assert!(matches!(wrong(0, 0x99), WireError::Malformed { .. }));
    }

    #[test]
    fn a_large_envelope_is_refused() {
        let method = "m".repeat(MAX_ENVELOPE);
        let bytes = encoded(&Envelope { method: &method, ..envelope() });
        assert_eq!(Envelope::decode(&bytes), Err(WireError::EnvelopeTooLarge { length: bytes.len() as u64 }));
    }
}
