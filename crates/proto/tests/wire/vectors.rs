//! The vectors of `docs/wire.md`, read from the page itself: each is what the implementation writes and reads, fed
//! whole, one byte at a time and cut at every offset.

use std::time::Duration;

use mosaic_proto::limits::{Limits, MAX_COMMAND, MAX_ENVELOPE};
use mosaic_proto::wire::{
    Ack, Beat, Body, Buffers, Class, Codec, Command, Envelope, FrameHeader, Incoming, Item, Kind, Lane,
    Location, MosaicReady, Outgoing, Ready, Receiver, Refusal, RefusalCode, Target, WireError,
    check_greeting, greeting,
};
use mosaic_proto::{HostId, Instance, Session, Uid};

use crate::messages::{Counted, Path, receive};

const PAGE: &str = include_str!("../../../../docs/wire.md");

/// A block of the page: its name and its bytes.
type Vector = (&'static str, Vec<u8>);

/// All blocks headed `kind`.
fn blocks(kind: &str) -> Vec<Vector> {
    let fence = format!("```{kind} ");
    let mut lines = PAGE.lines();
    let mut blocks = Vec::new();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix(&fence) else { continue };
        let text = lines.by_ref().take_while(|line| *line != "```");
        let hex = text.flat_map(|line| line.split(';').next().unwrap().split_whitespace());
        blocks.push((name, hex.map(|byte| u8::from_str_radix(byte, 16).expect(name)).collect()));
    }
    blocks
}

/// All vectors whose names begin with `family`.
fn family(family: &str) -> Vec<Vector> {
    blocks("vector").into_iter().filter(|(name, _)| name.starts_with(family)).collect()
}

fn ready(uid: Option<&str>, socket_type: &str, mosaic: Option<MosaicReady>) -> Command {
    let uid = uid.map(|uid| Uid::new(uid).unwrap());
    Command::Ready(Ready { uid, socket_type: socket_type.into(), mosaic })
}

fn mosaic(
    lane: Lane,
    wanted_instance: Option<Instance>,
    session: Session,
    received: u64,
) -> Option<MosaicReady> {
    Some(MosaicReady {
        version: (1, 0),
        instance: Instance(0x0123_4567_89ab_cdef),
        wanted_uid: Some(Uid::new("monitor").unwrap()),
        wanted_instance,
        lane,
        session,
        received,
        host: HostId(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff_u128.to_be_bytes()),
        pid_namespace: 4_026_531_836,
        pid: 4711,
        leaves: false,
        looks_elsewhere: false,
    })
}

fn refusal() -> Refusal {
    let detail = "worker:0 is held by instance 0123456789abcdef".into();
    Refusal { code: RefusalCode::UidTaken, detail }
}

/// The command that a vector stands for; `None` if it is no command.
fn command(name: &str) -> Option<Command> {
    let ack =
        Ack { lane: Lane::Data, received: 5, consumed: [1024, 0], window: [256 * 1024; 2], saturated: false };
    let beat = Beat { lag: Duration::from_millis(12), read: [7, 200], paused: false };
    let data = mosaic(Lane::Data, Some(Instance(0xfedc_ba98_7654_3210)), Session(0xa7), 3);
    let data = data.map(|data| MosaicReady { looks_elsewhere: true, ..data });
    Some(match name {
        "ready-control" => ready(Some("worker:0"), "ROUTER", mosaic(Lane::Control, None, Session::NONE, 0)),
        "ready-data" => ready(Some("worker:0"), "ROUTER", data),
        "ready-foreign" => ready(Some("guest"), "ROUTER", None),
        "ready-anonymous" => ready(None, "REQ", None),
        "error" => Command::Error(refusal()),
        "ping" => Command::Ping { ttl: 100, context: vec![1, 2, 3, 4] },
        "pong" => Command::Pong { context: vec![1, 2, 3, 4] },
        "ack" => Command::Ack(ack),
        "want" => Command::Want { class: Class::Requests, bytes: 0x0400_00b0 },
        "deny" => Command::Deny { class: Class::Requests, limit: 0x0400_0000 },
        "deny-nothing" => Command::Deny { class: Class::Requests, limit: 0 },
        "heart" => Command::Heart,
        "beat" => Command::Beat(beat),
        "leave" => Command::Leave { reason: "done".into(), last: [7, 200] },
        "cancel" => Command::Cancel { id: 42, after: 200 },
        "data" => Command::Data,
        "unknown-command" => Command::Unknown("BLINK".into()),
        _ => return None,
    })
}

fn plain(kind: Kind, id: u64, method: &'static str) -> Envelope<'static> {
    Envelope {
        kind,
        id,
        method,
        wants_reply: false,
        express: false,
        depth: 0,
        command: None,
        remaining: None,
        codec: Codec::MessagePack,
        trace: None,
    }
}

fn call() -> Envelope<'static> {
    let remaining = Some(Duration::from_millis(1500));
    Envelope { wants_reply: true, remaining, ..plain(Kind::Message, 42, "solve") }
}

fn envelope(name: &str) -> Envelope<'static> {
    match name {
        "envelope-call" => Envelope {
            express: true,
            depth: 3,
            command: Some(Target { kind: "Solver", uid: "solver-1" }),
            trace: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            ..call()
        },
        "envelope-reply" => plain(Kind::Reply, 42, "solve"),
        "envelope-error" => plain(Kind::Error, 42, "solve"),
        "envelope-short-integers" | "envelope-of-a-newer-minor-version" => call(),
        _ => panic!("the vector `{name}` is not checked"),
    }
}

/// Envelope, body and buffers of a message.
fn message(name: &str) -> (Envelope<'static>, &'static [u8], Vec<Vec<u8>>) {
    match name {
        "message-call" => (call(), b"\x81\xa1x\x05", vec![]),
        "message-with-buffers" => {
            (plain(Kind::Message, 0, "load"), b"\xc0", vec![vec![0xde, 0xad, 0xbe, 0xef], vec![]])
        }
        "message-of-one-frame" => (plain(Kind::Message, 0, "stop"), b"", vec![]),
        "message-from-req" => {
            (Envelope { wants_reply: true, ..plain(Kind::Message, 1, "ping") }, b"\x80", vec![])
        }
        _ => panic!("the vector `{name}` is not checked"),
    }
}

/// The one item that `wire` holds, the same whichever way it arrives.
fn item(wire: &[u8]) -> Item<Vec<u8>> {
    let mut ways = vec![];
    for (cuts, path) in [(wire.len(), Path::Copied), (1, Path::Copied), (1, Path::Direct)] {
        let mut items = receive(wire, &[cuts], path).unwrap();
        assert_eq!(items.len(), 1);
        ways.push(items.remove(0));
    }
    assert_eq!(format!("{:?}", ways[0]), format!("{:?}", ways[1]));
    assert_eq!(format!("{:?}", ways[0]), format!("{:?}", ways[2]));
    ways.remove(1)
}

/// A cut item is neither an item nor an error, and the receiver knows that something is missing.
fn check_cuts(name: &str, wire: &[u8]) {
    for end in 0..wire.len() {
        let mut receiver = Receiver::new(Limits::default());
        let result = receiver.feed(&mut &wire[..end], u64::MAX, &mut Counted::default());
        assert!(matches!(result, Ok(None)), "{name} cut at {end}: {result:?}");
        assert_eq!(receiver.is_mid_item(), end > 0, "{name} cut at {end}");
    }
}

fn sent(incoming: &Incoming<Vec<u8>>, name: &str) -> Vec<u8> {
    let (envelope, body, buffers) = message(name);
    let buffers = buffers.into_iter().map(Into::into).collect();
    let mut outgoing = Outgoing::new(&envelope, Body::Copy(body), buffers).unwrap();
    assert_eq!(outgoing.cost(), incoming.cost(), "{name}");
    if incoming.delimited() {
        outgoing.delimit();
    }
    outgoing.pieces().flat_map(|piece| piece.slices()).collect::<Vec<_>>().concat()
}

#[test]
fn every_vector_is_checked() {
    let names: Vec<_> = blocks("vector").into_iter().map(|(name, _)| name).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        let families = ["greeting", "frame-", "envelope-", "message-", "elsewhere"];
        assert!(command(name).is_some() || families.iter().any(|family| name.starts_with(family)), "{name}");
    }
}

#[test]
fn the_greeting_is_the_pages() {
    let page = family("greeting").remove(0).1;
    assert_eq!(page, greeting());
    assert_eq!(check_greeting(&page), Ok(true));
}

#[test]
fn frame_headers_are_the_pages() {
    for (name, wire) in family("frame-") {
        let header = match name {
            "frame-short" => FrameHeader { more: true, command: false, elsewhere: false, len: 255 },
            "frame-long" => FrameHeader { more: false, command: false, elsewhere: false, len: 65536 },
            _ => panic!("the vector `{name}` is not checked"),
        };
        let mut out = Vec::new();
        header.encode(&mut out);
        assert_eq!(out, wire, "{name}");
        assert_eq!(FrameHeader::decode(&wire), Ok(Some((header, wire.len()))));
    }
}

#[test]
fn commands_are_the_pages() {
    for (name, wire) in blocks("vector") {
        let Some(command) = command(name) else { continue };
        let Item::Command(received) = item(&wire) else { panic!("{name} is no command") };
        assert_eq!(received, command, "{name}");
        check_cuts(name, &wire);
        if name != "unknown-command" {
            let mut out = Vec::new();
            command.encode(&mut out);
            assert_eq!(out, wire, "{name}");
        }
        // An identity that is empty means the same as none, and nobody reads the body of an unknown command.
        let may_be_cut = ["ready-anonymous", "unknown-command"].contains(&name);
        let (_, size) = FrameHeader::decode(&wire).unwrap().unwrap();
        for end in size..wire.len() {
            let cut = Command::decode(&wire[size..end]);
            assert!(may_be_cut || cut != Ok(command.clone()), "{name} cut at {end}");
        }
    }
}

#[test]
fn envelopes_are_the_pages() {
    for (name, bytes) in family("envelope-") {
        let expected = envelope(name);
        assert_eq!(Envelope::decode(&bytes).as_ref(), Ok(&expected), "{name}");
        for end in 0..bytes.len() {
            assert!(Envelope::decode(&bytes[..end]).is_err(), "{name} cut at {end}");
        }
        if !["envelope-short-integers", "envelope-of-a-newer-minor-version"].contains(&name) {
            let mut out = Vec::new();
            expected.encode(&mut out);
            assert_eq!(out, bytes, "{name}");
        }
    }
}

#[test]
fn messages_are_the_pages() {
    for (name, wire) in family("message-") {
        let Item::Message(incoming) = item(&wire) else { panic!("{name} is no message") };
        let (envelope, body, buffers) = message(name);
        assert_eq!(incoming.envelope(), envelope, "{name}");
        assert_eq!(incoming.body(), body, "{name}");
        assert_eq!(incoming.buffers(), buffers, "{name}");
        assert_eq!(incoming.delimited(), name == "message-from-req");
        check_cuts(name, &wire);
        if name != "message-of-one-frame" {
            assert_eq!(sent(&incoming, name), wire, "{name}");
        }
    }
}

/// Content that lies where the page says, and where else it was looked for.
#[derive(Default)]
struct Elsewhere(Vec<Location>);

impl Buffers for Elsewhere {
    type Buffer = Vec<u8>;

    fn allocate(&mut self, len: usize) -> Vec<u8> {
        vec![0; len]
    }

    fn find(&mut self, location: Location) -> Option<Vec<u8>> {
        self.0.push(location);
        (location.region == 7).then(|| vec![9; location.len as usize])
    }
}

/// Feeds `wire` in pieces of this length to a receiver that looks elsewhere.
fn look_elsewhere(wire: &[u8], cut: usize, allowance: u64) -> Result<(Incoming<Vec<u8>>, u64), WireError> {
    let (mut receiver, mut memory) = (Receiver::new(Limits::default()), Elsewhere::default());
    receiver.look_elsewhere();
    let mut items = Vec::new();
    for mut piece in wire.chunks(cut) {
        items.extend(receiver.feed(&mut piece, allowance, &mut memory)?);
    }
    assert_eq!(memory.0, [Location { region: 7, offset: 4096, len: 262_144 }]);
    assert!(!receiver.is_mid_item());
    let Some(Item::Message(incoming)) = items.pop() else { panic!("it is no message") };
    Ok((incoming, receiver.take_stood_for()))
}

#[test]
fn a_content_that_is_elsewhere_counts_as_if_it_had_come() {
    let (_, wire) = family("elsewhere").remove(0);
    let (envelope, body, _) = message("message-with-buffers");
    let outgoing = Outgoing::new(&envelope, Body::Copy(body), vec![vec![9; 262_144].into()]).unwrap();
    for cut in [1, 2, wire.len()] {
        let (incoming, stood_for) = look_elsewhere(&wire, cut, outgoing.cost()).unwrap();
        assert_eq!((incoming.envelope(), incoming.body()), (envelope.clone(), body));
        assert_eq!(incoming.buffers(), [vec![9; 262_144]]);
        assert_eq!(incoming.cost(), outgoing.cost());
        assert_eq!(wire.len() as u64 + stood_for, outgoing.len_on_wire());
    }
    let error = look_elsewhere(&wire, 1, outgoing.cost() - 1).unwrap_err();
    assert!(matches!(error, WireError::OverWindow { .. }), "{error}");
}

#[test]
fn a_location_at_which_nothing_is_or_that_is_none_is_refused() {
    let (_, wire) = family("elsewhere").remove(0);
    let at = wire.len() - 9;
    let mut other = wire.clone();
    other[at] = 8;
    let error = look_elsewhere(&other, 1, u64::MAX).unwrap_err();
    assert_eq!(error, WireError::NotThere { region: 8, offset: 4096, len: 262_144 });
    let mut long = wire.clone();
    long[at - 2] = 65;
    let error = look_elsewhere(&long, 1, u64::MAX).unwrap_err();
    assert_eq!(error, WireError::Malformed { what: "a location", wanted: "at most 64 bytes" });
    let mut short = wire;
    short[at - 1] = 0x92;
    let error = look_elsewhere(&short, 1, u64::MAX).unwrap_err();
    assert_eq!(error, WireError::Malformed { what: "a location", wanted: "an array of at least 3 elements" });
}

#[test]
fn an_envelope_is_never_elsewhere() {
    let error = look_elsewhere(&[0x08, 0x04, 0x93, 7, 0, 1], 1, u64::MAX).unwrap_err();
    assert_eq!(error, WireError::ReservedFlags { flags: 8 });
}

/// Why a block headed `refused` is refused.
fn reason(name: &str) -> WireError {
    let malformed = |what, wanted| WireError::Malformed { what, wanted };
    match name {
        "reserved-flags" => WireError::ReservedFlags { flags: 16 },
        "elsewhere-not-offered" => WireError::ReservedFlags { flags: 8 },
        "command-of-several-frames" => WireError::SplitCommand { flags: 5 },
        "length-with-top-bit" => WireError::FrameTooLarge { announced: 1 << 63, limit: i64::MAX as u64 },
        "large-command" => WireError::CommandTooLarge { announced: MAX_COMMAND as u64 + 1 },
        "large-envelope" => WireError::EnvelopeTooLarge { length: MAX_ENVELOPE as u64 + 1 },
        "command-inside-a-message" => WireError::CommandInsideMessage,
        "two-empty-frames" => WireError::Truncated { what: "the envelope" },
        "missing-element" => malformed("CANCEL", "an array of at least 2 elements"),
        "trailing-byte" => WireError::TrailingBytes { what: "HEART", count: 1 },
        "publisher" => WireError::SocketType { found: "PUB".into() },
        "property-twice" => WireError::DuplicateProperty { name: "Socket-Type" },
        "property-missing" => WireError::MissingProperty { name: "X-Mosaic-Instance" },
        "newer-major-version" => WireError::MosaicVersion { major: 2, minor: 0 },
        "newer-envelope" => WireError::EnvelopeVersion { found: 2 },
        "compressed-body" => WireError::UnsupportedCompression,
        "negative-id" => malformed("the envelope", "an id"),
        _ => panic!("the refused vector `{name}` is not checked"),
    }
}

#[test]
fn what_the_page_says_is_refused_is_refused() {
    let refused = blocks("refused");
    assert!(refused.len() > 10);
    for (name, wire) in refused {
        for cut in [wire.len(), 1] {
            assert_eq!(receive(&wire, &[cut], Path::Copied).map(|_| ()), Err(reason(name)), "{name}");
        }
    }
}
