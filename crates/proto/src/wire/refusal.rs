//! Why a handshake is refused: ZMTP's ERROR, whose reason begins with a code that a program can read.
//!
//! ```text
//!  +---------------+----------------------+
//!  | reason length | "<code>: <detail>"   |      at most 255 bytes, cut at the boundary of a character
//!  +---------------+----------------------+
//! ```

use std::fmt;

use crate::limits::MAX_REASON;
use crate::wire::WireError;

/// A refusal of the handshake. The connection is closed after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong, for programs.
    pub code: RefusalCode,
    /// What is wrong, for people.
    pub detail: String,
}

/// What a program can know of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RefusalCode {
    /// The major versions differ.
    Version,
    /// Another instance holds the uid.
    UidTaken,
    /// Both sides dialled at once and the receiver's connection is the one that is dropped.
    Collision,
    /// The refusing side is not the uid or the instance that is wanted.
    NotMe,
    /// The data lane named a session that is not alive.
    NoSuchSession,
    /// The refusing side takes no further connection now.
    Busy,
    /// The connection is plain and must not be.
    Insecure,
    /// The handshake could not be read.
    Malformed,
    /// Anything else, as a foreign peer's reason.
    Other,
}

impl RefusalCode {
    const ALL: [RefusalCode; 9] = [
        RefusalCode::Version,
        RefusalCode::UidTaken,
        RefusalCode::Collision,
        RefusalCode::NotMe,
        RefusalCode::NoSuchSession,
        RefusalCode::Busy,
        RefusalCode::Insecure,
        RefusalCode::Malformed,
        RefusalCode::Other,
    ];

    /// The code as it stands in a reason.
    pub const fn name(self) -> &'static str {
        match self {
            RefusalCode::Version => "version",
            RefusalCode::UidTaken => "uid-taken",
            RefusalCode::Collision => "collision",
            RefusalCode::NotMe => "not-me",
            RefusalCode::NoSuchSession => "no-such-session",
            RefusalCode::Busy => "busy",
            RefusalCode::Insecure => "insecure",
            RefusalCode::Malformed => "malformed",
            RefusalCode::Other => "other",
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl From<&WireError> for Refusal {
    fn from(error: &WireError) -> Refusal {
        Refusal { code: error.refusal_code(), detail: error.to_string() }
    }
}

impl Refusal {
    /// Appends the body of ERROR.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let text = self.to_string();
        let reason = cut(&text, MAX_REASON);
        out.push(reason.len() as u8);
        out.extend_from_slice(reason.as_bytes());
    }

    /// Reads the body of ERROR. A reason without a known code is a foreign peer's.
    pub(crate) fn decode(body: &[u8]) -> Result<Refusal, WireError> {
        let truncated = WireError::Truncated { what: "ERROR" };
        let (&len, rest) = body.split_first().ok_or(truncated.clone())?;
        let reason = rest.get(..usize::from(len)).ok_or(truncated)?;
        let reason = String::from_utf8_lossy(reason);
        let coded = reason.split_once(": ").and_then(|(name, detail)| {
            let code = RefusalCode::ALL.into_iter().find(|code| code.name() == name)?;
            Some(Refusal { code, detail: detail.to_owned() })
        });
        Ok(coded.unwrap_or_else(|| Refusal { code: RefusalCode::Other, detail: reason.into_owned() }))
    }
}

/// The longest beginning of `text` that has at most `most` bytes and ends with a whole character.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(refusal: &Refusal) -> Vec<u8> {
        let mut out = Vec::new();
        refusal.encode(&mut out);
        out
    }

    #[test]
    fn every_code_can_be_read_again() {
        for code in RefusalCode::ALL {
            let refusal = Refusal { code, detail: "held by `a: b`".into() };
            assert_eq!(Refusal::decode(&encoded(&refusal)), Ok(refusal));
        }
    }

    #[test]
    fn a_long_detail_is_cut_at_a_character() {
        let refusal = Refusal { code: RefusalCode::Busy, detail: "é".repeat(200) };
        let body = encoded(&refusal);
        assert_eq!(body.len(), 1 + 254);
        assert_eq!(Refusal::decode(&body).unwrap().detail, "é".repeat(124));
    }

    #[test]
    fn a_foreign_reason_is_kept() {
        let refusal = Refusal { code: RefusalCode::Other, detail: "Invalid client".into() };
        assert_eq!(Refusal::decode(b"\x0eInvalid client"), Ok(refusal));
        assert!(Refusal::decode(b"\x0eInvalid").is_err());
        assert!(Refusal::decode(b"").is_err());
    }
}
