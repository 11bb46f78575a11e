//! What is written can be read again.

use std::time::Duration;

use mosaic_proto::wire::{Command, Envelope, FrameHeader, stamp_remaining, value};
use proptest::prelude::*;

use crate::random;

proptest! {
    #[test]
    fn a_command_is_read_as_it_was_written(command in random::command()) {
        let mut wire = Vec::new();
        command.encode(&mut wire);
        let (header, size) = FrameHeader::decode(&wire).unwrap().unwrap();
        prop_assert!(header.command && !header.more);
        prop_assert_eq!(header.len as usize, wire.len() - size);
        prop_assert_eq!(Command::decode(&wire[size..]), Ok(command));
    }

    #[test]
    fn an_envelope_is_read_as_it_was_written(envelope in random::envelope(), before in 0..9usize, left in any::<u32>()) {
        let envelope = envelope.borrow();
        let mut out = vec![0xc1; before];
        let stamp = envelope.encode(&mut out);
        prop_assert_eq!(stamp.is_some(), envelope.remaining.is_some());
        prop_assert_eq!(Envelope::decode(&out[before..]), Ok(envelope.clone()));
        if let Some(offset) = stamp {
            let remaining = Duration::from_millis(u64::from(left));
            stamp_remaining(&mut out, offset, remaining);
            let stamped = Envelope { remaining: Some(remaining), ..envelope };
            prop_assert_eq!(Envelope::decode(&out[before..]), Ok(stamped));
        }
    }

    #[test]
    fn a_cut_envelope_is_an_error(envelope in random::envelope()) {
        let mut out = Vec::new();
        envelope.borrow().encode(&mut out);
        for end in 0..out.len() {
            prop_assert!(Envelope::decode(&out[..end]).is_err());
        }
    }

    #[test]
    fn a_value_ends_where_it_ends(bytes in random::value(), junk in any::<[u8; 3]>()) {
        let longer = [&bytes[..], &junk].concat();
        prop_assert_eq!(value::skip(&longer), Ok(bytes.len()));
        prop_assert_eq!(value::check_body(&bytes), Ok(()));
        prop_assert!(value::check_body(&longer).is_err());
        for end in 0..bytes.len() {
            prop_assert!(value::skip(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn entries_are_what_was_put_in(
        expected in proptest::collection::btree_map("[a-z]{1,20}", random::value(), 0..40),
    ) {
        let mut body = vec![0xde, 0, expected.len() as u8];
        for (key, value) in &expected {
            body.push(0xa0 | key.len() as u8);
            body.extend_from_slice(key.as_bytes());
            body.extend_from_slice(value);
        }
        let found = value::entries(&body).unwrap();
        let found: Vec<_> = found.into_iter().map(|(key, value)| (key.to_owned(), value.to_vec())).collect();
        prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }
}
