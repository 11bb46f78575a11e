//! The header of a ZMTP frame. What follows it, and in which order frames may come, is the receiver's business.
//!
//! ```text
//!  short:  +-------+--------+            long:  +-------+-----------------------------+
//!          | flags | length |                   | flags | length, 8 bytes, big endian |
//!          +-------+--------+                   +-------+-----------------------------+
//!  flags:  bit 0 more frames of this message follow, bit 1 long form, bit 2 command, bit 3 the content is elsewhere;
//!          the others are 0
//! ```

use crate::wire::WireError;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;
const ELSEWHERE: u8 = 8;

/// What a command never is.
const COMMAND_ELSEWHERE: u8 = COMMAND | ELSEWHERE;

/// Bytes of the short form.
pub(crate) const SHORT: usize = 2;

/// Bytes of the long form, the longest header there is.
pub(crate) const LONGEST: usize = 9;

/// What stands before a frame's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether more frames of the same message follow.
    pub more: bool,
    /// Whether the payload is a ZMTP command.
    pub command: bool,
    /// Whether the payload is a [`Location`](crate::wire::Location), where the frame's content is to be found. Only
    /// between two sides of which the receiving one has offered to look there.
    pub elsewhere: bool,
    /// Bytes of the payload.
    pub len: u64,
}

impl FrameHeader {
    /// Appends the header to `out`, in the shorter form that can hold it.
    pub fn encode(self, out: &mut Vec<u8>) {
        let flags = self.flags();
        match u8::try_from(self.len) {
            Ok(len) => out.extend_from_slice(&[flags, len]),
            Err(_) => {
                out.push(flags | LONG);
                out.extend_from_slice(&self.len.to_be_bytes());
            }
        }
    }

    /// Reads a header from the front of `bytes`, and how many bytes it takes. `None` if it is not complete yet.
    ///
    /// # Errors
    /// [`WireError::ReservedFlags`], [`WireError::SplitCommand`] and, for a length whose top bit is set,
    /// [`WireError::FrameTooLarge`].
    pub fn decode(bytes: &[u8]) -> Result<Option<(FrameHeader, usize)>, WireError> {
        let Some(&flags) = bytes.first() else { return Ok(None) };
        if flags & !(MORE | LONG | COMMAND | ELSEWHERE) != 0 || flags & COMMAND_ELSEWHERE == COMMAND_ELSEWHERE
        {
            return Err(WireError::ReservedFlags { flags });
        }
        let [more, command, elsewhere] = [MORE, COMMAND, ELSEWHERE].map(|flag| flags & flag != 0);
        if more && command {
            return Err(WireError::SplitCommand { flags });
        }
        let size = header_len(flags);
        let Some(length) = bytes.get(1..size) else { return Ok(None) };
        let len = length.iter().fold(0, |len, &byte| len << 8 | u64::from(byte));
        if len > i64::MAX as u64 {
            return Err(WireError::FrameTooLarge { announced: len, limit: i64::MAX as u64 });
        }
        Ok(Some((FrameHeader { more, command, elsewhere, len }, size)))
    }

    /// The flags byte of the short form.
    pub(crate) fn flags(self) -> u8 {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        flag(self.more, MORE) | flag(self.command, COMMAND) | flag(self.elsewhere, ELSEWHERE)
    }
}

/// How many bytes a header takes whose first byte is `flags`.
pub(crate) fn header_len(flags: u8) -> usize {
    if flags & LONG == 0 { SHORT } else { LONGEST }
}

/// Appends a frame whose payload `payload` writes, and returns where in `out` the payload begins. The short form is
/// assumed; a payload that turns out longer is moved once.
pub(crate) fn encode_frame(
    out: &mut Vec<u8>,
    mut header: FrameHeader,
    payload: impl FnOnce(&mut Vec<u8>),
) -> usize {
    let start = out.len();
    out.extend_from_slice(&[header.flags(), 0]);
    payload(out);
    header.len = (out.len() - start - SHORT) as u64;
    if let Ok(len) = u8::try_from(header.len) {
        out[start + 1] = len;
        return start + SHORT;
    }
    let mut long = Vec::with_capacity(LONGEST);
    header.encode(&mut long);
    out.splice(start..start + SHORT, long);
    start + LONGEST
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(more: bool, command: bool, len: u64) -> Vec<u8> {
        let mut out = Vec::new();
        FrameHeader { more, command, elsewhere: false, len }.encode(&mut out);
        out
    }

    #[test]
    fn the_shorter_form_is_chosen() {
        assert_eq!(encoded(true, false, 255), [0x01, 0xff]);
        assert_eq!(encoded(false, true, 256), [0x06, 0, 0, 0, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn a_header_is_read_once_it_is_complete() {
        for (more, command, len) in
            [(false, false, 0), (true, false, 255), (false, true, 256), (true, false, 1 << 40)]
        {
            let bytes = encoded(more, command, len);
            for end in 0..bytes.len() {
                assert_eq!(FrameHeader::decode(&bytes[..end]), Ok(None));
            }
            let header = FrameHeader { more, command, elsewhere: false, len };
            assert_eq!(FrameHeader::decode(&bytes), Ok(Some((header, bytes.len()))));
        }
    }

    #[test]
    fn a_short_length_in_the_long_form_is_accepted() {
        let header = FrameHeader { more: false, command: false, elsewhere: false, len: 1 };
        assert_eq!(FrameHeader::decode(&[2, 0, 0, 0, 0, 0, 0, 0, 1]), Ok(Some((header, 9))));
    }

    #[test]
    fn wrong_flags_and_lengths_are_refused_at_once() {
        assert_eq!(FrameHeader::decode(&[0x10]), Err(WireError::ReservedFlags { flags: 0x10 }));
        assert_eq!(FrameHeader::decode(&[0x0c]), Err(WireError::ReservedFlags { flags: 0x0c }));
        assert_eq!(FrameHeader::decode(&[0x05]), Err(WireError::SplitCommand { flags: 0x05 }));
        let announced = 1 << 63;
        let error = FrameHeader::decode(&[0x02, 0x80, 0, 0, 0, 0, 0, 0, 0]).unwrap_err();
        assert_eq!(error, WireError::FrameTooLarge { announced, limit: i64::MAX as u64 });
    }

    #[test]
    fn a_long_payload_is_moved_behind_the_long_form() {
        let header = FrameHeader { more: true, command: false, elsewhere: false, len: 0 };
        let mut out = vec![9];
        assert_eq!(encode_frame(&mut out, header, |out| out.resize(out.len() + 256, 7)), 10);
        assert_eq!(out[..10], [9, 0x03, 0, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(out[10..], [7; 256]);
    }
}
