//! An envelope that was decoded once: its numbers, and where in its bytes its texts lie.

use std::time::Duration;

use crate::wire::{Codec, Envelope, Kind, Target, WireError};

/// What an envelope says but for its texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What the message is.
    pub kind: Kind,
    /// One id serves a message and its reply.
    pub id: u64,
    /// Whether the sender waits for a reply.
    pub wants_reply: bool,
    /// Whether the message takes the control lane and may overtake others.
    pub express: bool,
    /// How many calls that wait for each other lie below this one.
    pub depth: u8,
    /// How long the sender will still wait.
    pub remaining: Option<Duration>,
    /// How the body is written.
    pub codec: Codec,
}

/// What decoding has found, without a hold on the bytes.
#[derive(Clone)]
pub(super) struct Decoded {
    pub(super) facts: Facts,
    method: Place,
    command: Option<(Place, Place)>,
    trace: Option<Place>,
}

/// Where a text lies; an envelope is far shorter than 64 KiB.
#[derive(Clone, Copy)]
struct Place {
    start: u16,
    end: u16,
}

impl Decoded {
    /// Decodes `bytes`.
    ///
    /// # Errors
    /// What [`Envelope::decode`] returns.
    pub(super) fn new(bytes: &[u8]) -> Result<Decoded, WireError> {
        let envelope = Envelope::decode(bytes)?;
        let place = |text: &str| {
            let start = text.as_ptr().addr() - bytes.as_ptr().addr();
            Place { start: start as u16, end: (start + text.len()) as u16 }
        };
        let method = place(envelope.method);
        let command = envelope.command.map(|target| (place(target.kind), place(target.uid)));
        let trace = envelope.trace.map(place);
        let Envelope { kind, id, wants_reply, express, depth, remaining, codec, .. } = envelope;
        let facts = Facts { kind, id, wants_reply, express, depth, remaining, codec };
        Ok(Decoded { facts, method, command, trace })
    }

    /// The method that is called.
    pub(super) fn method<'a>(&self, bytes: &'a [u8]) -> &'a str {
        self.method.text(bytes)
    }

    /// The same as bytes.
    pub(super) fn method_bytes<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.method.bytes(bytes)
    }

    /// The object that is called, if it is not the runtime itself.
    pub(super) fn command<'a>(&self, bytes: &'a [u8]) -> Option<Target<'a>> {
        let (kind, uid) = self.command?;
        Some(Target { kind: kind.text(bytes), uid: uid.text(bytes) })
    }

    /// The trace context.
    pub(super) fn trace<'a>(&self, bytes: &'a [u8]) -> Option<&'a str> {
        Some(self.trace?.text(bytes))
    }

    /// The envelope again, from the bytes that it was decoded from.
    pub(super) fn envelope<'a>(&self, bytes: &'a [u8]) -> Envelope<'a> {
        let Facts { kind, id, wants_reply, express, depth, remaining, codec } = self.facts;
        Envelope {
            kind,
            id,
            method: self.method(bytes),
            wants_reply,
            express,
            depth,
            command: self.command(bytes),
            remaining,
            codec,
            trace: self.trace(bytes),
        }
    }
}

impl Place {
    fn bytes(self, bytes: &[u8]) -> &[u8] {
        &bytes[usize::from(self.start)..usize::from(self.end)]
    }

    fn text(self, bytes: &[u8]) -> &str {
        std::str::from_utf8(self.bytes(bytes)).expect("the texts were checked when they were decoded")
    }
}
