//! The numbers that tell one life of a runtime, one conversation and one machine from another. They are drawn by
//! the driver; nothing here draws them.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// One life of a runtime: a runtime that is started anew under its old uid is another instance. Instances have
/// no order in time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance(pub u64);

/// One conversation of two instances. Messages are numbered within it; whoever resumes it goes on where both left.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session(pub u64);

/// The machine a runtime runs on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub [u8; 16]);

/// Why a text is not an [`Instance`], a [`Session`] or a [`HostId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{what} is written as exactly {digits} hexadecimal digits")]
pub struct InvalidIdentity {
    what: &'static str,
    digits: usize,
}

impl Session {
    /// What a runtime presents that has no session to resume.
    pub const NONE: Session = Session(0);

    /// Whether there is no session to resume.
    pub fn is_none(self) -> bool {
        self == Session::NONE
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instance({self})")
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({self})")
    }
}

impl fmt::Debug for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostId({self})")
    }
}

impl FromStr for Instance {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Instance, InvalidIdentity> {
        digits(text, "an instance", 16).map(|value| Instance(value as u64))
    }
}

impl FromStr for Session {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Session, InvalidIdentity> {
        digits(text, "a session", 16).map(|value| Session(value as u64))
    }
}

impl FromStr for HostId {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<HostId, InvalidIdentity> {
        digits(text, "a host id", 32).map(|value| HostId(value.to_be_bytes()))
    }
}

/// Reads exactly `count` hexadecimal digits; a sign or a prefix is not accepted.
fn digits(text: &str, what: &'static str, count: usize) -> Result<u128, InvalidIdentity> {
    let invalid = InvalidIdentity { what, digits: count };
    if text.len() != count || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(invalid);
    }
    u128::from_str_radix(text, 16).map_err(|_| invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_read_again() {
        let instance = Instance(0x0123_4567_89ab_cdef);
        assert_eq!(instance.to_string(), "0123456789abcdef");
        assert_eq!(instance.to_string().parse(), Ok(instance));
        assert_eq!(Session(7).to_string().parse(), Ok(Session(7)));
        let host = HostId(*b"sixteen bytes!!!");
        assert_eq!(host.to_string().parse(), Ok(host));
        assert_eq!(format!("{instance:?}"), "Instance(0123456789abcdef)");
    }

    #[test]
    fn other_lengths_signs_and_letters_are_refused() {
        for text in ["", "1", "+123456789abcdef", "0123456789abcdeg", "00123456789abcdef", "é123456789abcde"]
        {
            assert!(text.parse::<Instance>().is_err(), "{text}");
        }
    }
}
