//! Messages of tests: their first eight bytes are a tag, by which their way is followed.

use std::time::Duration;

use bytes::Bytes;
use mosaic_proto::limits::Limits;
use mosaic_proto::wire::{Body, Buffers, Codec, Envelope, Incoming, Item, Kind, Outgoing, Receiver};

/// What a message of a test is like.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub size: usize,
    pub express: bool,
    pub nested: bool,
    pub reply: bool,
    pub deadline: Option<Duration>,
}

impl Shape {
    pub fn one_way(size: usize) -> Shape {
        Shape { size, express: false, nested: false, reply: false, deadline: None }
    }

    pub fn call(size: usize) -> Shape {
        Shape { reply: true, ..Shape::one_way(size) }
    }

    pub fn express(self) -> Shape {
        Shape { express: true, ..self }
    }

    /// As a handler sends it.
    pub fn nested(self) -> Shape {
        Shape { nested: true, ..self }
    }

    pub fn deadline(self, after: Duration) -> Shape {
        Shape { deadline: Some(after), ..self }
    }

    pub fn outgoing(&self, tag: u64) -> Outgoing {
        let envelope = Envelope {
            wants_reply: self.reply,
            express: self.express,
            depth: u8::from(self.nested),
            remaining: self.deadline,
            ..envelope(Kind::Message)
        };
        encode(&envelope, tag, self.size)
    }
}

/// The reply to the request with this tag.
pub fn reply_to(tag: u64, size: usize) -> Outgoing {
    encode(&envelope(Kind::Reply), tag, size)
}

const SMALL: &str = "the envelope is small";

/// Small ones are copied, larger ones are a body of their own or a buffer.
fn encode(envelope: &Envelope<'_>, tag: u64, size: usize) -> Outgoing {
    let mut body = tag.to_be_bytes().to_vec();
    let rest = size.saturating_sub(body.len());
    if tag.is_multiple_of(2) {
        body.resize(body.len() + rest, 7);
        return Outgoing::new(envelope, Body::Refer(Bytes::from(body)), vec![]).expect(SMALL);
    }
    Outgoing::new(envelope, Body::Copy(&body), vec![Bytes::from(vec![7; rest])]).expect(SMALL)
}

fn envelope(kind: Kind) -> Envelope<'static> {
    Envelope {
        kind,
        id: 0,
        method: "m",
        wants_reply: false,
        express: false,
        depth: 0,
        command: None,
        remaining: None,
        codec: Codec::MessagePack,
        trace: None,
    }
}

pub fn tag_of(incoming: &Incoming<Vec<u8>>) -> u64 {
    let (tag, _) = incoming.body().split_first_chunk().expect("every message has a tag");
    u64::from_be_bytes(*tag)
}

pub fn bytes_of(outgoing: &Outgoing) -> Vec<u8> {
    outgoing.pieces().flat_map(|piece| piece.slices()).collect::<Vec<_>>().concat()
}

pub struct Heap;

impl Buffers for Heap {
    type Buffer = Vec<u8>;

    fn allocate(&mut self, len: usize) -> Vec<u8> {
        vec![0; len]
    }
}

/// A message as the peer receives it.
pub fn incoming(outgoing: &Outgoing) -> Incoming<Vec<u8>> {
    let mut receiver = Receiver::new(Limits::default());
    let bytes = bytes_of(outgoing);
    match receiver.feed(&mut &bytes[..], u64::MAX, &mut Heap) {
        Ok(Some(Item::Message(incoming))) => incoming,
        other => panic!("{other:?} is no message"),
    }
}
