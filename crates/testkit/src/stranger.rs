//! What strangers send: the bytes of the protocol, made by hand.

use std::io::Read;

use mosaic_comms::{Instance, Uid};
use mosaic_proto::wire::{
    Body, Codec, Command, Envelope, Kind, Lane, MosaicReady, Outgoing, Ready, VERSION, greeting,
};
use mosaic_proto::{HostId, Session};

/// Reads until the other side ends the connection, which it must.
pub async fn read_to_end(mut stream: impl Read + Send + 'static) -> Vec<u8> {
    tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        match stream.read_to_end(&mut bytes) {
            Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("{error}"),
            _ => bytes,
        }
    })
    .await
    .expect("the reader ends")
}

/// A greeting, and a command behind it.
pub fn greeted(command: &Command) -> Vec<u8> {
    let mut bytes = greeting().to_vec();
    command.encode(&mut bytes);
    bytes
}

/// What a runtime says of itself that nobody has let in.
pub fn stranger(lane: Lane, session: Session) -> Ready {
    Ready {
        uid: Some(Uid::new("stranger").expect("it is a uid")),
        socket_type: "ROUTER".to_owned(),
        mosaic: Some(MosaicReady {
            version: VERSION,
            instance: Instance(7),
            wanted_uid: None,
            wanted_instance: None,
            lane,
            session,
            received: 0,
            host: HostId([0; 16]),
            pid_namespace: 0,
            pid: 1,
            leaves: false,
            looks_elsewhere: false,
        }),
    }
}

/// A message of this method, with an empty map of arguments and so many bytes out of band.
pub fn message(method: &str, bytes: usize) -> Vec<u8> {
    let envelope = Envelope {
        kind: Kind::Message,
        id: 1,
        method,
        wants_reply: false,
        express: false,
        depth: 0,
        command: None,
        remaining: None,
        codec: Codec::MessagePack,
        trace: None,
    };
    let outgoing = Outgoing::new(&envelope, Body::Copy(&[0x80]), vec![vec![0; bytes].into()])
        .expect("it is within the limits");
    let mut wire = Vec::new();
    outgoing.pieces().flat_map(|piece| piece.slices()).for_each(|bytes| wire.extend_from_slice(bytes));
    wire
}
