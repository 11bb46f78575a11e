//! A message that is to be sent, ready for the wire: what is small in one piece, what is large where it was.
//!
//! ```text
//!  head    | header | envelope | header | body | header | header | small | header |
//!                                                       ^                         ^
//!  large                                                buffer 0                  buffer 2
//! ```
//! Large pieces are written between the parts of the head. They are shared, so sending them again costs nothing.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::limits::{LARGE_FRAME, MAX_ENVELOPE, MESSAGE_OVERHEAD};
use crate::wire::envelope::ID_OFFSET;
use crate::wire::frame::{LONGEST, encode_frame};
use crate::wire::{Class, Envelope, FrameHeader, Kind, WireError, stamp_remaining};

/// The body of a message that is to be sent.
#[derive(Debug, Clone)]
pub enum Body<'a> {
    /// Bytes that are copied.
    Copy(&'a [u8]),
    /// Bytes that stay where they are if they are large.
    Refer(Bytes),
}

/// A part of a message in the order of the wire.
#[derive(Debug, Clone, Copy)]
pub enum Piece<'a> {
    /// Small bytes, cheaper to copy than to refer to.
    Copy(&'a [u8]),
    /// The payload of a frame of at least [`LARGE_FRAME`] bytes, and the header before it.
    Refer(&'a [u8], &'a Bytes),
}

impl<'a> Piece<'a> {
    /// The bytes of the piece, in two parts where it is referred to.
    pub fn slices(self) -> [&'a [u8]; 2] {
        match self {
            Piece::Copy(bytes) => [bytes, &[]],
            Piece::Refer(header, bytes) => [header, bytes],
        }
    }
}

/// A message that is ready for the wire.
pub struct Outgoing {
    head: Vec<u8>,
    /// Large frames, and where in `head` each is written.
    large: Vec<(usize, Bytes)>,
    /// Where in `head` the id lies.
    id_at: usize,
    /// Where in `head` the remaining time lies.
    stamp_at: Option<usize>,
    cost: u64,
    kind: Kind,
    id: u64,
    wants_reply: bool,
    express: bool,
}

impl Outgoing {
    /// Encodes a message. Frames of at least [`LARGE_FRAME`] bytes are referred to, not copied.
    ///
    /// # Errors
    /// [`WireError::EnvelopeTooLarge`] if method, object and trace context together are too long.
    pub fn new(envelope: &Envelope<'_>, body: Body<'_>, buffers: Vec<Bytes>) -> Result<Outgoing, WireError> {
        let mut head = Vec::with_capacity(head_capacity(envelope, &body, &buffers));
        let mut stamp = None;
        let header = FrameHeader { more: true, command: false, elsewhere: false, len: 0 };
        let start = encode_frame(&mut head, header, |out| {
            let start = out.len();
            stamp = envelope.encode(out).map(|at| at - start);
        });
        let length = head.len() - start;
        if length > MAX_ENVELOPE {
            return Err(WireError::EnvelopeTooLarge { length: length as u64 });
        }
        let mut outgoing = Outgoing {
            head,
            large: Vec::new(),
            id_at: start + ID_OFFSET,
            stamp_at: stamp.map(|at| start + at),
            cost: (MESSAGE_OVERHEAD + length) as u64,
            kind: envelope.kind,
            id: envelope.id,
            wants_reply: envelope.wants_reply,
            express: envelope.express,
        };
        outgoing.push_frame(body, !buffers.is_empty());
        let last = buffers.len().saturating_sub(1);
        for (at, buffer) in buffers.into_iter().enumerate() {
            outgoing.push_frame(Body::Refer(buffer), at < last);
        }
        Ok(outgoing)
    }

    /// What the message costs of its window: [`MESSAGE_OVERHEAD`] and the payloads of its frames. The receiver comes
    /// to the same number.
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// Bytes that the message takes on the wire, frame headers included.
    pub fn len_on_wire(&self) -> u64 {
        self.large.iter().fold(self.head.len() as u64, |sum, (_, bytes)| sum + bytes.len() as u64)
    }

    /// The message's id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Gives the message its id, in place.
    pub fn set_id(&mut self, id: u64) {
        self.id = id;
        self.head[self.id_at..self.id_at + size_of::<u64>()].copy_from_slice(&id.to_be_bytes());
    }

    /// Says how long the sender will still wait, in place. Without effect on a message that waits for ever.
    pub fn stamp(&mut self, remaining: Duration) {
        if let Some(at) = self.stamp_at {
            stamp_remaining(&mut self.head, at, remaining);
        }
    }

    /// Puts an empty frame before the envelope: REQ sockets take nothing else.
    pub fn delimit(&mut self) {
        const DELIMITER: [u8; 2] = [1, 0];
        self.head.splice(..0, DELIMITER);
        self.id_at += DELIMITER.len();
        self.stamp_at = self.stamp_at.map(|at| at + DELIMITER.len());
        for (at, _) in &mut self.large {
            *at += DELIMITER.len();
        }
    }

    /// What the message is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whose window the message is counted in.
    pub fn class(&self) -> Class {
        self.kind.class()
    }

    /// Whether the sender waits for a reply.
    pub fn wants_reply(&self) -> bool {
        self.wants_reply
    }

    /// Whether the message takes the control lane and may overtake others.
    pub fn is_express(&self) -> bool {
        self.express
    }

    /// All of the message's bytes, if none of its frames is large.
    pub fn small(&self) -> Option<&[u8]> {
        self.large.is_empty().then_some(&self.head)
    }

    /// The message's bytes in the order of the wire. No piece is empty.
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let starts = std::iter::once(0).chain(self.large.iter().map(|(at, _)| *at));
        let referred = self.large.iter().map(|(at, bytes)| {
            let header = &self.head[at - LONGEST..*at];
            Some(Piece::Refer(header, bytes))
        });
        let ends = self.large.iter().map(|(at, _)| at - LONGEST).chain([self.head.len()]);
        starts.zip(ends).zip(referred.chain([None])).flat_map(|((start, end), referred)| {
            let copied = (start < end).then(|| Piece::Copy(&self.head[start..end]));
            copied.into_iter().chain(referred)
        })
    }

    fn push_frame(&mut self, payload: Body<'_>, more: bool) {
        let len = payload.as_slice().len() as u64;
        self.cost += len;
        FrameHeader { more, command: false, elsewhere: false, len }.encode(&mut self.head);
        match payload {
            Body::Refer(bytes) if bytes.len() >= LARGE_FRAME => self.large.push((self.head.len(), bytes)),
            small => self.head.extend_from_slice(small.as_slice()),
        }
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("kind", &self.kind)
            .field("id", &self.id)
            .field("head", &self.head.len())
            .field("large", &self.large.len())
            .field("cost", &self.cost)
            .finish()
    }
}

impl Body<'_> {
    fn as_slice(&self) -> &[u8] {
        match self {
            Body::Copy(bytes) => bytes,
            Body::Refer(bytes) => bytes,
        }
    }

    /// How many of the bytes go into the head.
    fn copied(&self) -> usize {
        match self {
            Body::Refer(bytes) if bytes.len() >= LARGE_FRAME => 0,
            small => small.as_slice().len(),
        }
    }
}

/// Room for the head, so that it is allocated once.
fn head_capacity(envelope: &Envelope<'_>, body: &Body<'_>, buffers: &[Bytes]) -> usize {
    // Fixed elements of an envelope and the heads of its strings.
    const FIXED: usize = 48;
    let target = envelope.command.map_or(0, |target| target.kind.len() + target.uid.len());
    let texts = envelope.method.len() + target + envelope.trace.map_or(0, str::len);
    let small = buffers.iter().map(Bytes::len).filter(|&len| len < LARGE_FRAME).sum::<usize>();
    FIXED + texts + body.copied() + small + LONGEST * (2 + buffers.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Codec, Target};

    fn envelope(method: &str) -> Envelope<'_> {
        Envelope {
            kind: Kind::Message,
            id: 0,
            method,
            wants_reply: true,
            express: false,
            depth: 0,
            command: Some(Target { kind: "Solver", uid: "1" }),
            remaining: Some(Duration::from_secs(1)),
            codec: Codec::MessagePack,
            trace: None,
        }
    }

    fn wire(outgoing: &Outgoing) -> Vec<u8> {
        outgoing.pieces().flat_map(|piece| piece.slices()).collect::<Vec<_>>().concat()
    }

    /// The envelope frame of a message, decoded.
    fn sent(wire: &[u8]) -> Envelope<'_> {
        let (header, size) = FrameHeader::decode(wire).unwrap().unwrap();
        Envelope::decode(&wire[size..size + header.len as usize]).unwrap()
    }

    #[test]
    fn id_and_remaining_time_are_set_in_place() {
        for method in ["solve", &"long".repeat(100)] {
            let mut outgoing = Outgoing::new(&envelope(method), Body::Copy(&[0xc0]), vec![]).unwrap();
            let capacity = outgoing.head.capacity();
            outgoing.set_id(77);
            outgoing.stamp(Duration::from_millis(5));
            let remaining = Some(Duration::from_millis(5));
            assert_eq!(sent(&wire(&outgoing)), Envelope { id: 77, remaining, ..envelope(method) });
            assert_eq!((outgoing.id(), outgoing.head.capacity()), (77, capacity));
        }
    }

    #[test]
    fn large_frames_stay_where_they_are() {
        let large = Bytes::from(vec![1; LARGE_FRAME]);
        let small = Bytes::from(vec![2; LARGE_FRAME - 1]);
        let buffers = vec![large.clone(), small.clone(), large.clone()];
        let outgoing = Outgoing::new(&envelope("solve"), Body::Refer(large.clone()), buffers).unwrap();
        let referred = outgoing.pieces().filter_map(|piece| match piece {
            Piece::Refer(_, bytes) => Some(bytes.as_ptr()),
            Piece::Copy(_) => None,
        });
        assert_eq!(referred.collect::<Vec<_>>(), [large.as_ptr(); 3]);
        assert_eq!(wire(&outgoing).len() as u64, outgoing.len_on_wire());
    }

    #[test]
    fn the_head_is_allocated_once() {
        let buffers = vec![Bytes::from(vec![2; 3000]); 3];
        let trace = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let envelope = Envelope { trace, ..envelope("solve") };
        let expected = head_capacity(&envelope, &Body::Copy(&[0; 100]), &buffers);
        let outgoing = Outgoing::new(&envelope, Body::Copy(&[0; 100]), buffers).unwrap();
        assert_eq!(outgoing.head.capacity(), expected);
    }

    #[test]
    fn a_delimiter_comes_first_and_moves_the_rest() {
        let large = Bytes::from(vec![1; LARGE_FRAME]);
        let mut outgoing = Outgoing::new(&envelope("solve"), Body::Copy(&[]), vec![large]).unwrap();
        let plain = wire(&outgoing);
        outgoing.delimit();
        assert_eq!(wire(&outgoing), [&[1, 0], &plain[..]].concat());
        outgoing.set_id(9);
        outgoing.stamp(Duration::ZERO);
        assert_eq!(sent(&wire(&outgoing)[2..]).id, 9);
        assert_eq!(sent(&wire(&outgoing)[2..]).remaining, Some(Duration::ZERO));
    }

    #[test]
    fn a_large_envelope_is_refused() {
        let method = "m".repeat(MAX_ENVELOPE);
        let error = Outgoing::new(&envelope(&method), Body::Copy(&[]), vec![]).unwrap_err();
        assert!(matches!(error, WireError::EnvelopeTooLarge { .. }));
    }
}
