//! What must hold of any bytes: no panic, and no more memory than is allowed.

use mosaic_proto::limits::Limits;
use mosaic_proto::wire::{Command, Envelope, FrameHeader, Receiver, check_greeting, value};
use proptest::prelude::*;

use crate::messages::Counted;
use crate::random;

const LIMITS: Limits = Limits { frame: 60_000, message: 100_000, buffers: 3 };

/// Feeds `wire` until it ends or is refused, and checks that each message's buffers lay within `allowance`.
fn feed_all(mut wire: &[u8], allowance: u64) {
    let mut receiver = Receiver::new(LIMITS);
    let mut buffers = Counted::default();
    while !wire.is_empty() {
        let result = receiver.feed(&mut wire, allowance, &mut buffers);
        assert!(buffers.taken <= allowance.min(LIMITS.message), "{} bytes were taken", buffers.taken);
        match result {
            Ok(Some(_)) => buffers.taken = 0,
            Ok(None) => assert!(wire.is_empty()),
            Err(error) => return assert!(!error.to_string().ends_with('.')),
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, allowance in 0..100_000u64) {
        let _ = check_greeting(&bytes);
        let _ = FrameHeader::decode(&bytes);
        let _ = Command::decode(&bytes);
        let _ = Envelope::decode(&bytes);
        let _ = value::entries(&bytes);
        let _ = value::check_body(&bytes);
        prop_assert!(value::skip(&bytes).is_ok_and(|len| len <= bytes.len()) || value::skip(&bytes).is_err());
        feed_all(&bytes, allowance);
    }

    #[test]
    fn changed_bytes_are_read_or_refused(
        all in proptest::collection::vec(random::sent(), 1..3),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        allowance in 0..100_000u64,
    ) {
        let mut wire = Vec::new();
        for sent in &all {
            sent.encode(&mut wire);
        }
        for (at, byte) in changes {
            // Half of the changes fall where headers, names and envelopes are.
            let range = if byte % 2 == 0 { wire.len() } else { wire.len().min(120) };
            let at = at.index(range);
            wire[at] = byte;
        }
        feed_all(&wire, allowance);
    }

    #[test]
    fn a_changed_command_is_read_or_refused(command in random::command(), at: prop::sample::Index, byte: u8) {
        let mut wire = Vec::new();
        command.encode(&mut wire);
        let at = at.index(wire.len());
        wire[at] = byte;
        let _ = Command::decode(&wire[2..]);
        feed_all(&wire, 0);
    }
}
