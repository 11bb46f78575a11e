//! Random commands, envelopes, values and messages.

use std::time::Duration;

use bytes::Bytes;
use mosaic_proto::wire::{
    Ack, Beat, Body, Class, Codec, Command, Envelope, Kind, Lane, MosaicReady, Outgoing, Ready, Refusal,
    RefusalCode, Target,
};
use mosaic_proto::{HostId, Instance, Session, Uid};
use proptest::prelude::*;
use proptest::sample::select;

pub(crate) fn lane() -> impl Strategy<Value = Lane> {
    select(Lane::ALL.to_vec())
}

pub(crate) fn uid() -> impl Strategy<Value = Uid> {
    "[a-z]{1,9}(:[0-9]{1,3}){0,3}".prop_map(|text| Uid::new(&text).unwrap())
}

prop_compose! {
    fn mosaic_ready()(
        (minor, instance, session, received) in any::<(u16, u64, u64, u64)>(),
        wanted_uid in proptest::option::of(uid()),
        wanted_instance in any::<Option<u64>>(),
        lane in lane(),
        (host, pid_namespace, pid) in any::<([u8; 16], u64, u32)>(),
        (leaves, looks_elsewhere) in any::<(bool, bool)>(),
    ) -> MosaicReady {
        MosaicReady {
            version: (1, minor),
            instance: Instance(instance),
            wanted_uid,
            wanted_instance: wanted_instance.map(Instance),
            lane,
            session: Session(session),
            received,
            host: HostId(host),
            pid_namespace,
            pid,
            leaves,
            looks_elsewhere,
        }
    }
}

fn ready() -> impl Strategy<Value = Ready> {
    let foreign = (proptest::option::of(uid()), select(vec!["ROUTER", "DEALER", "REQ"]))
        .prop_map(|(uid, kind)| Ready { uid, socket_type: kind.into(), mosaic: None });
    let ours = (uid(), mosaic_ready()).prop_map(|(uid, mosaic)| Ready {
        uid: Some(uid),
        socket_type: "ROUTER".into(),
        mosaic: Some(mosaic),
    });
    prop_oneof![foreign, ours]
}

fn refusal() -> impl Strategy<Value = Refusal> {
    let codes = vec![RefusalCode::Version, RefusalCode::UidTaken, RefusalCode::NotMe, RefusalCode::Other];
    (select(codes), ".{0,40}").prop_map(|(code, detail)| Refusal { code, detail })
}

pub(crate) fn command() -> impl Strategy<Value = Command> {
    let context = || proptest::collection::vec(any::<u8>(), 0..=16);
    prop_oneof![
        ready().prop_map(Command::Ready),
        refusal().prop_map(Command::Error),
        (any::<u16>(), context()).prop_map(|(ttl, context)| Command::Ping { ttl, context }),
        context().prop_map(|context| Command::Pong { context }),
        (lane(), any::<(u64, [u64; 2], [u64; 2], bool)>()).prop_map(
            |(lane, (received, consumed, window, saturated))| {
                Command::Ack(Ack { lane, received, consumed, window, saturated })
            }
        ),
        (select(Class::ALL.to_vec()), any::<u64>()).prop_map(|(class, bytes)| Command::Want { class, bytes }),
        Just(Command::Heart),
        any::<(u64, [u64; 2], bool)>().prop_map(|(lag, read, paused)| {
            Command::Beat(Beat { lag: Duration::from_millis(lag), read, paused })
        }),
        (".{0,60}", any::<[u64; 2]>()).prop_map(|(reason, last)| Command::Leave { reason, last }),
        any::<(u64, u64)>().prop_map(|(id, after)| Command::Cancel { id, after }),
        Just(Command::Data),
    ]
}

/// An envelope that owns its texts.
#[derive(Debug, Clone)]
pub(crate) struct OwnedEnvelope {
    kind: Kind,
    id: u64,
    method: String,
    flags: (bool, bool, u8),
    command: Option<(String, String)>,
    remaining: Option<u32>,
    codec: Codec,
    trace: Option<String>,
}

impl OwnedEnvelope {
    pub(crate) fn borrow(&self) -> Envelope<'_> {
        Envelope {
            kind: self.kind,
            id: self.id,
            method: &self.method,
            wants_reply: self.flags.0,
            express: self.flags.1,
            depth: self.flags.2,
            command: self.command.as_ref().map(|(kind, uid)| Target { kind, uid }),
            remaining: self.remaining.map(|remaining| Duration::from_millis(u64::from(remaining))),
            codec: self.codec,
            trace: self.trace.as_deref(),
        }
    }
}

prop_compose! {
    pub(crate) fn envelope()(
        kind in select(vec![Kind::Message, Kind::Reply, Kind::Error]),
        (id, flags, remaining) in any::<(u64, (bool, bool, u8), Option<u32>)>(),
        method in ".{0,80}",
        command in proptest::option::of((".{0,40}", ".{0,40}")),
        codec in select(vec![Codec::MessagePack, Codec::Pickle]),
        trace in proptest::option::of("[0-9a-f-]{0,55}"),
    ) -> OwnedEnvelope {
        OwnedEnvelope { kind, id, method, flags, command, remaining, codec, trace }
    }
}

/// Bytes of a length that is small, or near the length from which frames are large.
fn frame() -> impl Strategy<Value = Bytes> {
    let lengths = prop_oneof![4 => 0..600usize, 1 => 16_000..17_000usize, 1 => 30_000..70_000usize];
    (lengths, any::<u8>()).prop_map(|(len, seed)| (0..len).map(|at| seed.wrapping_add(at as u8)).collect())
}

/// What is sent on a connection.
#[derive(Debug, Clone)]
pub(crate) enum Sent {
    Command(Command),
    Message { delimited: bool, envelope: OwnedEnvelope, body: Bytes, buffers: Vec<Bytes> },
}

impl Sent {
    /// Appends its bytes to `wire`, and returns its cost.
    pub(crate) fn encode(&self, wire: &mut Vec<u8>) -> u64 {
        let (delimited, envelope, body, buffers) = match self {
            Sent::Command(command) => {
                command.encode(wire);
                return 0;
            }
            Sent::Message { delimited, envelope, body, buffers } => (delimited, envelope, body, buffers),
        };
        let body = Body::Refer(body.clone());
        let mut outgoing = Outgoing::new(&envelope.borrow(), body, buffers.clone()).unwrap();
        if *delimited {
            outgoing.delimit();
        }
        let before = wire.len();
        outgoing.pieces().flat_map(|piece| piece.slices()).for_each(|bytes| wire.extend_from_slice(bytes));
        assert_eq!((wire.len() - before) as u64, outgoing.len_on_wire());
        outgoing.cost()
    }
}

pub(crate) fn sent() -> impl Strategy<Value = Sent> {
    let buffers = proptest::collection::vec(frame(), 0..4);
    let message =
        (any::<bool>(), envelope(), frame(), buffers).prop_map(|(delimited, envelope, body, buffers)| {
            Sent::Message { delimited, envelope, body, buffers }
        });
    prop_oneof![1 => command().prop_map(Sent::Command), 2 => message]
}

/// A well-formed MessagePack value.
pub(crate) fn value() -> impl Strategy<Value = Vec<u8>> {
    let bytes = |marker: u8, length: usize| {
        proptest::collection::vec(any::<u8>(), length).prop_map(move |bytes| [&[marker][..], &bytes].concat())
    };
    let leaf = prop_oneof![
        (0..0x80u8).prop_map(|byte| vec![byte]),
        select(vec![vec![0xc0], vec![0xc2], vec![0xc3], vec![0xff]]),
        select(vec![(0xca, 4), (0xcb, 8), (0xcd, 2), (0xd3, 8), (0xd4, 2), (0xd8, 17)])
            .prop_flat_map(move |(marker, length)| bytes(marker, length)),
        "[a-z]{0,31}".prop_map(|text| [&[0xa0 | text.len() as u8], text.as_bytes()].concat()),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(|blob| [
            &[0xc5][..],
            &(blob.len() as u16).to_be_bytes(),
            &blob
        ]
        .concat()),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        let array = proptest::collection::vec(inner.clone(), 0..8)
            .prop_map(|items| [vec![0x90 | items.len() as u8], items.concat()].concat());
        let map = proptest::collection::vec((inner.clone(), inner), 0..8).prop_map(|pairs| {
            let items: Vec<Vec<u8>> = pairs.iter().map(|(key, value)| [&key[..], value].concat()).collect();
            [vec![0x80 | pairs.len() as u8], items.concat()].concat()
        });
        prop_oneof![array, map]
    })
}
