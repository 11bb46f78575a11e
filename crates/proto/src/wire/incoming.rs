//! A message that has arrived, whole: envelope and small body in one piece of memory, large body and buffers in
//! memory of the driver's choice.

use std::fmt;

use bytes::{Buf, Bytes};

use crate::limits::MESSAGE_OVERHEAD;
use crate::wire::decoded::Decoded;
use crate::wire::{Envelope, Facts, Location, Target, WireError};

/// Where the memory of large frames and of buffers comes from.
pub trait Buffers {
    /// A piece of memory that is filled once and then read.
    type Buffer: AsRef<[u8]> + AsMut<[u8]>;

    /// Memory of exactly `len` bytes; what is in them does not matter. Every limit has been checked before.
    fn allocate(&mut self, len: usize) -> Self::Buffer;

    /// The memory that the peer has written the content of a frame to, of exactly the length that is named; `None` if
    /// the peer has shown no such memory, or has named the same before and not lent it anew. It is asked of none who has
    /// not offered to look anywhere.
    fn find(&mut self, location: Location) -> Option<Self::Buffer> {
        let _ = location;
        None
    }
}

/// A message that has arrived. Its envelope has been checked, its body has not. It is moved as one pointer.
pub struct Incoming<B>(pub(super) Box<Content<B>>);

/// What a message consists of, also while it is still arriving.
pub(super) struct Content<B> {
    /// The envelope, and the body unless that is large.
    pub(super) head: Vec<u8>,
    /// Where in `head` the envelope ends.
    pub(super) envelope_end: usize,
    /// What the envelope says; `None` while the message is still arriving.
    pub(super) decoded: Option<Decoded>,
    pub(super) large_body: Option<B>,
    pub(super) buffers: Vec<B>,
    pub(super) cost: u64,
    pub(super) delimited: bool,
}

impl<B: AsRef<[u8]>> Incoming<B> {
    /// Makes a message of its parts, for one that a runtime sends to itself.
    ///
    /// # Errors
    /// What [`Envelope::decode`] returns.
    pub fn from_parts(envelope: &[u8], body: &[u8], buffers: Vec<B>) -> Result<Incoming<B>, WireError> {
        let decoded = Some(Decoded::new(envelope)?);
        let frames = buffers.iter().map(|buffer| buffer.as_ref().len());
        let cost = frames.fold(MESSAGE_OVERHEAD + envelope.len() + body.len(), usize::saturating_add) as u64;
        let mut head = Vec::with_capacity(envelope.len() + body.len());
        head.extend_from_slice(envelope);
        head.extend_from_slice(body);
        let envelope_end = envelope.len();
        let content =
            Content { head, envelope_end, decoded, large_body: None, buffers, cost, delimited: false };
        Ok(Incoming(Box::new(content)))
    }

    /// What the message is, with all its texts. What one of them or none is needed for asks for that.
    pub fn envelope(&self) -> Envelope<'_> {
        decoded(&self.0.decoded).envelope(&self.0.head)
    }

    /// What the envelope says but for its texts.
    pub fn facts(&self) -> Facts {
        decoded(&self.0.decoded).facts
    }

    /// The method that is called.
    pub fn method(&self) -> &str {
        decoded(&self.0.decoded).method(&self.0.head)
    }

    /// The bytes of the method's name: quicker to compare.
    pub fn method_bytes(&self) -> &[u8] {
        decoded(&self.0.decoded).method_bytes(&self.0.head)
    }

    /// The object that is called, if it is not the runtime itself.
    pub fn command(&self) -> Option<Target<'_>> {
        decoded(&self.0.decoded).command(&self.0.head)
    }

    /// The trace context that it carries.
    pub fn trace(&self) -> Option<&str> {
        decoded(&self.0.decoded).trace(&self.0.head)
    }

    /// The body, empty if there is none.
    pub fn body(&self) -> &[u8] {
        match &self.0.large_body {
            Some(body) => body.as_ref(),
            None => &self.0.head[self.0.envelope_end..],
        }
    }

    /// The buffers that the body refers to.
    pub fn buffers(&self) -> &[B] {
        &self.0.buffers
    }

    /// Takes the buffers out, so that they can be handed on without a copy.
    pub fn take_buffers(&mut self) -> Vec<B> {
        std::mem::take(&mut self.0.buffers)
    }

    /// What the message costs of its window. It does not change when buffers are taken out.
    pub fn cost(&self) -> u64 {
        self.0.cost
    }

    /// Whether an empty frame came before the envelope, as from a REQ socket; its replies need one too.
    pub fn delimited(&self) -> bool {
        self.0.delimited
    }
}

impl<B: AsRef<[u8]> + Send + 'static> Incoming<B> {
    /// The body alone, without a copy.
    pub fn into_body(self) -> Bytes {
        let Content { head, envelope_end, large_body, .. } = *self.0;
        match large_body {
            Some(body) => Bytes::from_owner(body),
            None => {
                let mut bytes = Bytes::from(head);
                bytes.advance(envelope_end);
                bytes
            }
        }
    }
}

fn decoded(decoded: &Option<Decoded>) -> &Decoded {
    decoded.as_ref().expect("a message is given out when it is complete")
}

impl<B: AsRef<[u8]>> fmt::Debug for Incoming<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lengths: Vec<usize> = self.buffers().iter().map(|buffer| buffer.as_ref().len()).collect();
        f.debug_struct("Incoming")
            .field("envelope", &self.envelope())
            .field("body", &self.body().len())
            .field("buffers", &lengths)
            .field("cost", &self.cost())
            .finish()
    }
}
