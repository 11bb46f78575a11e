//! What is done with a fuzzer's bytes: each function panics if something does not hold. The fuzzer in `fuzz/` calls them,
//! and `main.rs` with what it has found worth keeping.

use mosaic_proto::limits::Limits;
use mosaic_proto::wire::{
    Buffers, Command, Envelope, FrameHeader, GREETING_LEN, Item, Location, Receiver, WireError,
    check_greeting, value,
};

use super::pair::steps::{Step, run};

/// What is fuzzed: it panics if something does not hold.
type Target = fn(&[u8]);

/// Name and function of every target.
pub(crate) const TARGETS: [(&str, Target); 7] = [
    ("greeting", greeting),
    ("frame", frame),
    ("command", command),
    ("envelope", envelope),
    ("body", body),
    ("messages", messages),
    ("link", link),
];

/// What is refused early is refused later, and what is complete stays so.
pub(crate) fn greeting(bytes: &[u8]) {
    let mut before = Ok(false);
    for length in 0..=bytes.len().min(GREETING_LEN + 8) {
        let now = check_greeting(&bytes[..length]);
        match before {
            Ok(true) => assert_eq!(now, Ok(true)),
            Ok(false) => assert!(now.is_err() || now == Ok(length >= GREETING_LEN), "{now:?} at {length}"),
            Err(_) => assert!(now.is_err(), "it was refused at {}", length - 1),
        }
        before = now;
    }
}

/// What was read is written in at most as many bytes, and read again.
pub(crate) fn frame(bytes: &[u8]) {
    if let Ok(Some((header, length))) = FrameHeader::decode(bytes) {
        let mut written = Vec::new();
        header.encode(&mut written);
        assert!(written.len() <= length && length <= bytes.len());
        assert_eq!(FrameHeader::decode(&written), Ok(Some((header, written.len()))));
    }
}

/// What was understood is understood again as it is written, but for texts for people, which are cut.
pub(crate) fn command(bytes: &[u8]) {
    let Ok(command) = Command::decode(bytes) else { return };
    if matches!(command, Command::Unknown(_)) {
        return;
    }
    let again = written_and_read(&command);
    assert_eq!(written_and_read(&again), again);
    if !matches!(command, Command::Error(_) | Command::Leave { .. }) {
        assert_eq!(again, command);
    }
}

fn written_and_read(command: &Command) -> Command {
    let mut wire = Vec::new();
    command.encode(&mut wire);
    let items = receive(&wire, usize::MAX);
    let Ok([Item::Command(again)]) = items.as_deref() else { panic!("{command:?} became {items:?}") };
    again.clone()
}

/// What was understood is understood again as it is written.
pub(crate) fn envelope(bytes: &[u8]) {
    let Ok(envelope) = Envelope::decode(bytes) else { return };
    let mut written = Vec::new();
    envelope.encode(&mut written);
    assert_eq!(Envelope::decode(&written), Ok(envelope));
}

/// The entries of a body are values, and lie in it.
pub(crate) fn body(bytes: &[u8]) {
    let checked = value::check_body(bytes);
    if let Ok(entries) = value::entries(bytes) {
        assert_eq!(checked, Ok(()));
        assert!(entries.iter().all(|(_, entry)| value::skip(entry) == Ok(entry.len())));
    }
    if let Ok(length) = value::skip(bytes) {
        assert!(length <= bytes.len());
    }
}

/// A connection's bytes mean the same however they come.
pub(crate) fn messages(bytes: &[u8]) {
    let (whole, single) = (receive(bytes, usize::MAX), receive(bytes, 1));
    assert_eq!(format!("{whole:?}"), format!("{single:?}"));
}

/// Whatever happens to two links, what must hold holds, and everything ends.
pub(crate) fn link(bytes: &[u8]) {
    let (settings, steps) = bytes.split_at(bytes.len().min(3));
    let setting = |index: usize, most: u8| usize::from(settings.get(index).map_or(0, |byte| byte % most));
    let budget = [64 << 20, 8 << 20, 1 << 20][setting(0, 3)];
    let capacity = [256 * 1024, 3000][setting(1, 2)];
    let goodbye = [None, None, Some(0), Some(1)][setting(2, 4)];
    run(budget, capacity, &Step::read(steps), goodbye);
}

/// Takes no more memory than the limits of this file allow.
struct Heap;

impl Buffers for Heap {
    type Buffer = Vec<u8>;

    fn allocate(&mut self, len: usize) -> Vec<u8> {
        assert!(len as u64 <= LIMITS.message, "{len} bytes were taken before they were checked");
        vec![0; len]
    }

    fn find(&mut self, location: Location) -> Option<Vec<u8>> {
        assert!(location.len <= LIMITS.message, "{location:?} was looked for before it was checked");
        location.offset.is_multiple_of(2).then(|| vec![0; location.len as usize])
    }
}

const LIMITS: Limits = Limits { frame: 1 << 20, message: 1 << 20, buffers: 8 };

/// Feeds the bytes in pieces of this length. An error ends it.
fn receive(bytes: &[u8], piece: usize) -> Result<Vec<Item<Vec<u8>>>, WireError> {
    let mut receiver = Receiver::new(LIMITS);
    receiver.look_elsewhere();
    let mut items = Vec::new();
    for mut piece in bytes.chunks(piece.min(bytes.len()).max(1)) {
        while !piece.is_empty() {
            items.extend(receiver.feed(&mut piece, u64::MAX, &mut Heap)?);
        }
    }
    Ok(items)
}
