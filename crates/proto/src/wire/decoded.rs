//! An envelope that was decoded once: its numbers, and where in its bytes its texts lie.

use std::ops::Range;

use crate::wire::{Envelope, Target, WireError};

/// What decoding has found, without a hold on the bytes.
#[derive(Clone)]
pub(super) struct Decoded {
    /// Everything but the texts.
    fixed: Envelope<'static>,
    method: Range<usize>,
    command: Option<(Range<usize>, Range<usize>)>,
    trace: Option<Range<usize>>,
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
            start..start + text.len()
        };
        let method = place(envelope.method);
        let command = envelope.command.map(|target| (place(target.kind), place(target.uid)));
        let trace = envelope.trace.map(place);
        let Envelope { kind, id, wants_reply, express, depth, remaining, codec, .. } = envelope;
        let fixed = Envelope {
            kind,
            id,
            method: "",
            wants_reply,
            express,
            depth,
            command: None,
            remaining,
            codec,
            trace: None,
        };
        Ok(Decoded { fixed, method, command, trace })
    }

    /// The envelope again, from the bytes that it was decoded from.
    pub(super) fn envelope<'a>(&self, bytes: &'a [u8]) -> Envelope<'a> {
        let text = |place: &Range<usize>| {
            std::str::from_utf8(&bytes[place.clone()]).expect("the texts were checked when they were decoded")
        };
        Envelope {
            method: text(&self.method),
            command: self.command.as_ref().map(|(kind, uid)| Target { kind: text(kind), uid: text(uid) }),
            trace: self.trace.as_ref().map(text),
            ..self.fixed
        }
    }
}
