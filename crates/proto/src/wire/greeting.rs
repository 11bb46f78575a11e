//! The greeting of ZMTP 3.1: the first 64 bytes that each side sends, without waiting for the other's.
//!
//! ```text
//!  0        1          9     10     11     12                 32         33           64
//!  +--------+----------+------+------+------+------------------+----------+------------+
//!  | 0xff   | padding  | 0x7f | 0x03 | 0x01 | "NULL" 0 .. 0    | 0        | 0 .. 0     |
//!  +--------+----------+------+------+------+------------------+----------+------------+
//!   signature                  major  minor  mechanism          as-server  filler
//! ```

use crate::wire::WireError;
use crate::wire::error::shown;

/// Bytes of a greeting.
pub const GREETING_LEN: usize = 64;

const SIGNATURE_END: usize = 9;
const MAJOR: usize = 10;
const MECHANISM: usize = 12;
const MECHANISM_NAME: [u8; 20] = *b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// The greeting that this side sends.
pub fn greeting() -> [u8; GREETING_LEN] {
    let mut bytes = [0; GREETING_LEN];
    bytes[0] = 0xff;
    bytes[SIGNATURE_END] = 0x7f;
    bytes[MAJOR..MECHANISM].copy_from_slice(&[3, 1]);
    bytes[MECHANISM..MECHANISM + MECHANISM_NAME.len()].copy_from_slice(&MECHANISM_NAME);
    bytes
}

/// Checks as much of the peer's greeting as has arrived: `Ok(false)` if it is right so far, `Ok(true)` if it is
/// complete. Bytes after the greeting are ignored.
///
/// # Errors
/// [`WireError::NotZmtp`], [`WireError::ZmtpTooOld`] and [`WireError::Mechanism`], each as soon as the first byte
/// that shows it is there.
pub fn check_greeting(received: &[u8]) -> Result<bool, WireError> {
    for (at, wanted) in [(0, 0xff), (SIGNATURE_END, 0x7f)] {
        if let Some(&byte) = received.get(at).filter(|&&byte| byte != wanted) {
            return Err(WireError::NotZmtp { at, byte, wanted });
        }
    }
    if let Some(&major) = received.get(MAJOR).filter(|&&major| major < 3) {
        return Err(WireError::ZmtpTooOld { major });
    }
    let end = received.len().min(MECHANISM + MECHANISM_NAME.len());
    if let Some(name) = received.get(MECHANISM..end)
        && !MECHANISM_NAME.starts_with(name)
    {
        let printable = name.split(|&byte| byte == 0).next().unwrap_or_default();
        return Err(WireError::Mechanism { found: shown(printable) });
    }
    Ok(received.len() >= GREETING_LEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_greeting_is_right_at_every_length() {
        let ours = greeting();
        for len in 0..=GREETING_LEN {
            assert_eq!(check_greeting(&ours[..len]), Ok(len == GREETING_LEN));
        }
    }

    #[test]
    fn a_newer_minor_and_a_newer_major_are_accepted() {
        let mut theirs = greeting();
        theirs[10..12].copy_from_slice(&[4, 0]);
        assert_eq!(check_greeting(&theirs), Ok(true));
    }

    #[test]
    fn wrong_bytes_are_refused_as_soon_as_they_are_there() {
        assert_eq!(check_greeting(b"G"), Err(WireError::NotZmtp { at: 0, byte: b'G', wanted: 0xff }));
        for (at, byte) in [(0, 0), (9, 0), (10, 2), (12, b'C'), (16, b'X'), (31, 1)] {
            let mut theirs = greeting();
            theirs[at] = byte;
            assert_eq!(check_greeting(&theirs[..at]), Ok(false), "{at}");
            assert!(check_greeting(&theirs[..=at]).is_err(), "{at}");
        }
    }

    #[test]
    fn another_mechanism_is_named() {
        let mut theirs = greeting();
        theirs[12..17].copy_from_slice(b"PLAIN");
        assert_eq!(check_greeting(&theirs), Err(WireError::Mechanism { found: "PLAIN".into() }));
    }
}
