//! One connection's incoming bytes after the greeting, put together to commands and messages. Every length that a
//! peer announces is checked before memory is taken for it. What items mean is not known here.
//!
//! ```text
//!  Header --+-- command frame ----------> Command --> Item::Command
//!           |
//!           +-- 1st frame: envelope ----> Small --+
//!           +-- 2nd frame: small body --> Small --+--> more frames: Header
//!           |              large body --> Large --+    last frame:  Item::Message
//!           +-- others: buffers --------> Large --+
//!           +-- content elsewhere ------> Elsewhere (a body or a buffer, found where the peer has put it)
//! ```
//! An empty frame before the envelope, as REQ sockets send it, is skipped.

use std::mem;

use crate::limits::{LARGE_FRAME, Limits, MAX_COMMAND, MAX_ENVELOPE, MESSAGE_OVERHEAD};
use crate::wire::decoded::Decoded;
use crate::wire::frame::{LONGEST, SHORT, header_len};
use crate::wire::incoming::Content;
use crate::wire::{Buffers, Command, FrameHeader, Incoming, Location, MAX_LOCATION, WireError};

/// Memory for a body whose header has not arrived together with the envelope's.
const BODY_GUESS: usize = 256;

/// What has arrived.
#[derive(Debug)]
pub enum Item<B: AsRef<[u8]>> {
    /// A command.
    Command(Command),
    /// A whole message.
    Message(Incoming<B>),
}

/// Puts one connection's bytes together. After an error it must not be used any more.
pub struct Receiver<B> {
    limits: Limits,
    /// Whether we have offered to look elsewhere for the content of frames.
    looks_elsewhere: bool,
    /// Bytes that locations have stood for, beyond their own.
    stood_for: u64,
    /// The first bytes of a header that has not arrived whole.
    header: [u8; LONGEST],
    header_filled: usize,
    state: State<B>,
    message: Content<B>,
    /// Frames of `message` whose headers have arrived, an empty one before the envelope not counted.
    frames: usize,
}

/// What the next bytes are. `missing` is never 0 between two calls.
enum State<B> {
    Header,
    Command {
        body: Vec<u8>,
        missing: usize,
    },
    /// A frame that goes to the head of the message.
    Small {
        missing: usize,
        more: bool,
    },
    /// A frame that has memory of its own.
    Large {
        buffer: B,
        filled: usize,
        more: bool,
    },
    /// What says where the content of a frame is.
    Elsewhere {
        location: Vec<u8>,
        missing: usize,
        more: bool,
    },
    /// The content of a frame that was found elsewhere.
    Found {
        buffer: B,
    },
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Receiver<B> {
    /// A receiver for a connection whose greeting has been read.
    pub fn new(limits: Limits) -> Self {
        let (header, header_filled) = ([0; LONGEST], 0);
        let (state, message) = (State::Header, no_message());
        Receiver {
            limits,
            looks_elsewhere: false,
            stood_for: 0,
            header,
            header_filled,
            state,
            message,
            frames: 0,
        }
    }

    /// From now on the peer may say where the content of a frame is, instead of sending it.
    pub fn look_elsewhere(&mut self) {
        self.looks_elsewhere = true;
    }

    /// How many more bytes have come since this was asked last than the connection has brought: those of contents that
    /// were elsewhere. The sender counts them too.
    pub fn take_stood_for(&mut self) -> u64 {
        mem::take(&mut self.stood_for)
    }

    /// Takes bytes from the front of `bytes` until one item is complete or `bytes` is empty. `allowance` is the
    /// largest cost of a message that the link's windows now allow.
    ///
    /// # Errors
    /// [`WireError`] as soon as the first header that is wrong or too much is there; memory has not been taken for
    /// what it announced.
    pub fn feed(
        &mut self,
        bytes: &mut &[u8],
        allowance: u64,
        buffers: &mut impl Buffers<Buffer = B>,
    ) -> Result<Option<Item<B>>, WireError> {
        loop {
            if matches!(self.state, State::Header) {
                let Some(header) = self.read_header(bytes)? else { return Ok(None) };
                self.begin(header, bytes, allowance, buffers)?;
            }
            if let Some(item) = self.advance(bytes, allowance, buffers)? {
                return Ok(Some(item));
            }
            if bytes.is_empty() {
                return Ok(None);
            }
        }
    }

    /// The memory of a large frame and how many of its bytes have come, so that a socket can be read straight into the
    /// rest. `None` for anything smaller than [`LARGE_FRAME`]. It has to stay that memory, or one of the same length.
    pub fn direct(&mut self) -> Option<(&mut B, usize)> {
        match &mut self.state {
            State::Large { buffer, filled, .. } if buffer.as_ref().len() >= LARGE_FRAME => {
                Some((buffer, *filled))
            }
            _ => None,
        }
    }

    /// Says that the next `n` bytes of [`direct`](Receiver::direct) have been filled.
    ///
    /// # Errors
    /// What [`feed`](Receiver::feed) returns for the end of a message.
    ///
    /// # Panics
    /// If `n` is more than `direct` offered.
    pub fn filled(&mut self, n: usize) -> Result<Option<Item<B>>, WireError> {
        let offered = self.direct().map_or(0, |(buffer, filled)| buffer.as_ref().len() - filled);
        assert!(n <= offered, "{n} bytes were filled of {offered}");
        if let State::Large { filled, .. } = &mut self.state {
            *filled += n;
        }
        self.fill(&mut &[][..])
    }

    /// Whether bytes of an item have arrived that is not complete yet. A connection may end only if not.
    pub fn is_mid_item(&self) -> bool {
        !matches!(self.state, State::Header) || self.header_filled > 0 || self.is_mid_message()
    }

    fn is_mid_message(&self) -> bool {
        self.frames > 0 || self.message.delimited
    }

    /// Reads a header from `bytes`, or from what was kept and `bytes`. What is not enough for one is kept.
    fn read_header(&mut self, bytes: &mut &[u8]) -> Result<Option<FrameHeader>, WireError> {
        if self.header_filled == 0
            && let Some((header, size)) = FrameHeader::decode(bytes)?
        {
            *bytes = &bytes[size..];
            return Ok(Some(header));
        }
        let Some(&flags) = self.header[..self.header_filled].first().or(bytes.first()) else {
            return Ok(None);
        };
        let taken = take(bytes, header_len(flags) - self.header_filled);
        let end = self.header_filled + taken.len();
        self.header[self.header_filled..end].copy_from_slice(taken);
        self.header_filled = end;
        let header = FrameHeader::decode(&self.header[..end])?;
        if header.is_some() {
            self.header_filled = 0;
        }
        Ok(header.map(|(header, _)| header))
    }

    /// Checks what a header announces and prepares for its payload. `rest` is what follows it.
    fn begin(
        &mut self,
        header: FrameHeader,
        rest: &[u8],
        allowance: u64,
        buffers: &mut impl Buffers<Buffer = B>,
    ) -> Result<(), WireError> {
        if header.command {
            self.state = self.begin_command(header.len)?;
            return Ok(());
        }
        if header.elsewhere {
            return self.begin_elsewhere(header);
        }
        if header.len == 0 && header.more && !self.is_mid_message() {
            self.message.delimited = true;
            return Ok(());
        }
        let len = self.check(header.len, allowance)?;
        let more = header.more;
        self.state = match self.frames {
            0 => self.begin_envelope(len, more, rest, allowance),
            1 if len < LARGE_FRAME => {
                self.message.head.reserve_exact(len);
                State::Small { missing: len, more }
            }
            _ => {
                let buffer = buffers.allocate(len);
                assert_eq!(buffer.as_ref().len(), len, "a buffer has another length than was asked for");
                State::Large { buffer, filled: 0, more }
            }
        };
        self.frames += 1;
        Ok(())
    }

    /// Prepares for what says where the content of a frame is. An envelope never is elsewhere.
    fn begin_elsewhere(&mut self, header: FrameHeader) -> Result<(), WireError> {
        if !self.looks_elsewhere || self.frames == 0 {
            return Err(WireError::ReservedFlags { flags: header.flags() });
        }
        if header.len > MAX_LOCATION as u64 {
            return Err(WireError::Malformed { what: "a location", wanted: "at most 64 bytes" });
        }
        self.state =
            State::Elsewhere { location: Vec::new(), missing: header.len as usize, more: header.more };
        Ok(())
    }

    fn begin_command(&self, announced: u64) -> Result<State<B>, WireError> {
        if self.is_mid_message() {
            return Err(WireError::CommandInsideMessage);
        }
        if announced > MAX_COMMAND as u64 {
            return Err(WireError::CommandTooLarge { announced });
        }
        Ok(State::Command { body: Vec::new(), missing: announced as usize })
    }

    /// Takes memory for the envelope and, if it can be seen already, for a small body.
    fn begin_envelope(&mut self, len: usize, more: bool, rest: &[u8], allowance: u64) -> State<B> {
        let body = match rest.get(len..).map(FrameHeader::decode) {
            Some(Ok(Some((body, _)))) if more => body.len,
            _ if more => BODY_GUESS as u64,
            _ => 0,
        };
        let fits = body < LARGE_FRAME as u64 && body <= allowance.saturating_sub(self.message.cost);
        self.message.head = Vec::with_capacity(len + if fits { body as usize } else { 0 });
        State::Small { missing: len, more }
    }

    /// Checks the length of the next frame against every limit, and counts it.
    fn check(&mut self, announced: u64, allowance: u64) -> Result<usize, WireError> {
        let limits = &self.limits;
        if self.frames == 0 && announced > MAX_ENVELOPE as u64 {
            return Err(WireError::EnvelopeTooLarge { length: announced });
        }
        if announced > limits.frame {
            return Err(WireError::FrameTooLarge { announced, limit: limits.frame });
        }
        if self.frames >= limits.buffers.saturating_add(2) {
            return Err(WireError::TooManyBuffers { limit: limits.buffers });
        }
        let cost = self.message.cost.saturating_add(announced);
        let payload = cost - MESSAGE_OVERHEAD as u64;
        if payload > limits.message {
            return Err(WireError::MessageTooLarge { announced: payload, limit: limits.message });
        }
        if cost > allowance {
            return Err(WireError::OverWindow { cost, allowance });
        }
        let limit = isize::MAX as u64;
        let len = usize::try_from(announced).map_err(|_| WireError::FrameTooLarge { announced, limit })?;
        self.message.cost = cost;
        Ok(len)
    }

    /// Moves payload from `bytes` to where it belongs, and ends the frame if it is complete.
    fn advance(
        &mut self,
        bytes: &mut &[u8],
        allowance: u64,
        buffers: &mut impl Buffers<Buffer = B>,
    ) -> Result<Option<Item<B>>, WireError> {
        let State::Elsewhere { location, missing, more } = &mut self.state else { return self.fill(bytes) };
        let taken = take(bytes, *missing);
        location.extend_from_slice(taken);
        *missing -= taken.len();
        if *missing > 0 {
            return Ok(None);
        }
        let written = SHORT + location.len();
        let (location, more) = (Location::decode(location)?, *more);
        // It counts as if it had come by the connection.
        let len = self.check(location.len, allowance)?;
        let Location { region, offset, len: announced } = location;
        let buffer = buffers.find(location).ok_or(WireError::NotThere { region, offset, len: announced })?;
        assert_eq!(buffer.as_ref().len(), len, "a buffer has another length than was asked for");
        self.stood_for += (LONGEST + len).saturating_sub(written) as u64;
        self.frames += 1;
        self.state = State::Found { buffer };
        self.end_frame(more)
    }

    /// As [`Receiver::advance`], for content that comes by the connection.
    fn fill(&mut self, bytes: &mut &[u8]) -> Result<Option<Item<B>>, WireError> {
        match &mut self.state {
            State::Header | State::Elsewhere { .. } | State::Found { .. } => Ok(None),
            State::Command { body, missing } => {
                let taken = take(bytes, *missing);
                if body.is_empty() && taken.len() == *missing {
                    self.state = State::Header;
                    return Ok(Some(Item::Command(Command::decode(taken)?)));
                }
                body.extend_from_slice(taken);
                *missing -= taken.len();
                if *missing > 0 {
                    return Ok(None);
                }
                let command = Command::decode(body)?;
                self.state = State::Header;
                Ok(Some(Item::Command(command)))
            }
            State::Small { missing, more } => {
                let taken = take(bytes, *missing);
                self.message.head.extend_from_slice(taken);
                *missing -= taken.len();
                if *missing > 0 {
                    return Ok(None);
                }
                let more = *more;
                self.end_frame(more)
            }
            State::Large { buffer, filled, more } => {
                let rest = &mut buffer.as_mut()[*filled..];
                let taken = take(bytes, rest.len());
                rest[..taken.len()].copy_from_slice(taken);
                *filled += taken.len();
                if taken.len() < rest.len() {
                    return Ok(None);
                }
                let more = *more;
                self.end_frame(more)
            }
        }
    }

    /// Puts a frame into its place in the message, and returns the message if it was its last.
    fn end_frame(&mut self, more: bool) -> Result<Option<Item<B>>, WireError> {
        match mem::replace(&mut self.state, State::Header) {
            State::Large { buffer, .. } | State::Found { buffer } if self.frames == 2 => {
                self.message.large_body = Some(buffer);
            }
            State::Large { buffer, .. } | State::Found { buffer } => self.message.buffers.push(buffer),
            _ if self.frames == 1 => {
                self.message.decoded = Some(Decoded::new(&self.message.head)?);
                self.message.envelope_end = self.message.head.len();
            }
            _ => {}
        }
        if more {
            return Ok(None);
        }
        self.frames = 0;
        let content = mem::replace(&mut self.message, no_message());
        Ok(Some(Item::Message(Incoming(Box::new(content)))))
    }
}

/// Takes at most `most` bytes from the front of `bytes`.
fn take<'a>(bytes: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(most.min(bytes.len()));
    *bytes = rest;
    taken
}

fn no_message<B>() -> Content<B> {
    Content {
        head: Vec::new(),
        envelope_end: 0,
        decoded: None,
        large_body: None,
        buffers: Vec::new(),
        cost: MESSAGE_OVERHEAD as u64,
        delimited: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Body, Codec, Envelope, Kind, Outgoing};

    struct Vectors;

    impl Buffers for Vectors {
        type Buffer = Vec<u8>;

        fn allocate(&mut self, len: usize) -> Vec<u8> {
            vec![0; len]
        }
    }

    fn receiver() -> Receiver<Vec<u8>> {
        Receiver::new(Limits { frame: 1 << 20, message: 1 << 21, buffers: 2 })
    }

    fn message(body: &[u8]) -> Vec<u8> {
        let envelope = Envelope {
            kind: Kind::Message,
            id: 1,
            method: "solve",
            wants_reply: false,
            express: false,
            depth: 0,
            command: None,
            remaining: None,
            codec: Codec::MessagePack,
            trace: None,
        };
        let outgoing = Outgoing::new(&envelope, Body::Copy(body), vec![]).unwrap();
        outgoing.pieces().flat_map(|piece| piece.slices()).collect::<Vec<_>>().concat()
    }

    fn header(more: bool, command: bool, len: u64) -> Vec<u8> {
        let mut out = Vec::new();
        FrameHeader { more, command, elsewhere: false, len }.encode(&mut out);
        out
    }

    fn feed(receiver: &mut Receiver<Vec<u8>>, bytes: &[u8], allowance: u64) -> Result<(), WireError> {
        receiver.feed(&mut &bytes[..], allowance, &mut Vectors).map(|item| assert!(item.is_none()))
    }

    /// The header of the envelope, the envelope and nothing else, as the beginning of a message of more frames.
    fn beginning() -> Vec<u8> {
        let whole = message(&[]);
        whole[..whole.len() - 2].to_vec()
    }

    #[test]
    fn a_small_message_takes_exactly_the_memory_it_needs() {
        let wire = message(&[7; 64]);
        let Ok(Some(Item::Message(message))) = receiver().feed(&mut &wire[..], 1 << 20, &mut Vectors) else {
            panic!("the message is incomplete")
        };
        assert_eq!(message.0.head.capacity(), message.0.head.len());
        assert_eq!(message.body(), [7; 64]);
    }

    #[test]
    fn memory_is_not_taken_for_a_body_that_the_window_does_not_allow() {
        let wire = message(&[7; 4096]);
        let mut receiver = receiver();
        assert!(matches!(feed(&mut receiver, &wire, 200), Err(WireError::OverWindow { allowance: 200, .. })));
        assert!(receiver.message.head.capacity() <= 200);
    }

    #[test]
    fn too_much_is_refused_by_its_header_alone() {
        let too_long = header(false, true, MAX_COMMAND as u64 + 1);
        let announced = MAX_COMMAND as u64 + 1;
        assert_eq!(feed(&mut receiver(), &too_long, 0), Err(WireError::CommandTooLarge { announced }));
        let length = MAX_ENVELOPE as u64 + 1;
        let error = feed(&mut receiver(), &header(true, false, length), u64::MAX);
        assert_eq!(error, Err(WireError::EnvelopeTooLarge { length }));
        let frame = [beginning(), header(false, false, (1 << 20) + 1)].concat();
        let error = WireError::FrameTooLarge { announced: (1 << 20) + 1, limit: 1 << 20 };
        assert_eq!(feed(&mut receiver(), &frame, u64::MAX), Err(error));
    }

    #[test]
    fn the_frames_of_a_message_are_limited_together() {
        let frame = |more| [header(more, false, 1 << 20), vec![0; 1 << 20]].concat();
        let wire = [beginning(), frame(true), frame(true)].concat();
        let error = feed(&mut receiver(), &wire, u64::MAX);
        assert!(matches!(error, Err(WireError::MessageTooLarge { limit: 0x20_0000, .. })), "{error:?}");
        let empty = header(true, false, 0);
        let wire = [beginning(), empty.repeat(4)].concat();
        assert_eq!(feed(&mut receiver(), &wire, u64::MAX), Err(WireError::TooManyBuffers { limit: 2 }));
    }

    #[test]
    fn commands_stand_between_messages_only() {
        let heart = b"\x04\x07\x05HEART\x90";
        let mut receiver = receiver();
        let item = receiver.feed(&mut &heart[..], 0, &mut Vectors);
        assert!(matches!(item, Ok(Some(Item::Command(Command::Heart)))));
        let inside = [&beginning()[..], heart].concat();
        assert_eq!(feed(&mut receiver, &inside, 1 << 20), Err(WireError::CommandInsideMessage));
        let delimited = [&[1, 0][..], heart].concat();
        assert_eq!(feed(&mut self::receiver(), &delimited, 0), Err(WireError::CommandInsideMessage));
    }

    #[test]
    fn one_empty_frame_may_come_first() {
        let wire = [vec![1, 0], message(&[0xc0])].concat();
        let Ok(Some(Item::Message(message))) = receiver().feed(&mut &wire[..], 1 << 20, &mut Vectors) else {
            panic!("the message is incomplete")
        };
        assert!(message.delimited());
        assert_eq!(message.cost(), (MESSAGE_OVERHEAD + wire.len() - 6) as u64);
        assert!(feed(&mut receiver(), &[vec![1, 0], wire].concat(), 1 << 20).is_err());
    }

    #[test]
    fn a_large_frame_is_filled_directly() {
        let wire = message(&[7; LARGE_FRAME]);
        let mut receiver = receiver();
        let (early, late) = wire.split_at(wire.len() - LARGE_FRAME + 100);
        feed(&mut receiver, early, 1 << 20).unwrap();
        let (buffer, filled) = receiver.direct().unwrap();
        assert_eq!((buffer.len(), filled), (LARGE_FRAME, 100));
        buffer[filled..].copy_from_slice(late);
        assert!(receiver.filled(1).unwrap().is_none());
        let Ok(Some(Item::Message(message))) = receiver.filled(LARGE_FRAME - 101) else {
            panic!("the message is incomplete")
        };
        assert_eq!(message.body(), [7; LARGE_FRAME]);
        assert!(!receiver.is_mid_item());
    }
}
