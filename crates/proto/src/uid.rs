//! The name of a runtime: `name[:index]*`, such as `monitor`, `head`, `node:0` or `worker:0:3`.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use crate::limits::MAX_UID;

/// The name of a runtime, cheap to clone. Parts are separated by `:`; a part is made of ASCII letters, digits,
/// `_`, `-` and `.`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(Arc<str>);

/// Why a text is not a uid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is no uid: {why} (a uid looks like `worker:0:3`)")]
pub struct InvalidUid {
    /// What was given, shortened to what a message can show.
    pub text: String,
    why: &'static str,
}

impl Uid {
    /// The uid of the runtime that everyone meets at.
    pub const MONITOR: &'static str = "monitor";

    /// Checks `text` and makes it a uid.
    ///
    /// # Errors
    /// [`InvalidUid`] if it is empty, longer than [`MAX_UID`] bytes, has an empty part or a character that is not
    /// allowed.
    pub fn new(text: &str) -> Result<Uid, InvalidUid> {
        let refuse = |why| {
            let shown: String = text.chars().take(64).flat_map(char::escape_default).collect();
            Err(InvalidUid { text: shown, why })
        };
        if text.is_empty() {
            return refuse("it is empty");
        }
        if text.len() > MAX_UID {
            return refuse("it is longer than 255 bytes");
        }
        for part in text.split(':') {
            if part.is_empty() {
                return refuse("it has an empty part");
            }
            if !part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')) {
                return refuse("only letters, digits, `_`, `-`, `.` and the separator `:` are allowed");
            }
        }
        Ok(Uid(text.into()))
    }

    /// The text of the uid.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the meeting point's uid.
    pub fn is_monitor(&self) -> bool {
        self.as_str() == Uid::MONITOR
    }

    /// Whether the uid fits `pattern`, in which `*` stands for any run of characters: `worker:*`.
    pub fn matches(&self, pattern: &str) -> bool {
        fits(self.as_str().as_bytes(), pattern.as_bytes())
    }
}

/// Matches `text` against `pattern` with `*` as the only wildcard, in O(text * pattern) at worst and without recursion.
fn fits(text: &[u8], pattern: &[u8]) -> bool {
    let (mut t, mut p) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((t, p + 1));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            t += 1;
            p += 1;
        } else if let Some((start, after_star)) = retry {
            retry = Some((start + 1, after_star));
            t = start + 1;
            p = after_star;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

impl FromStr for Uid {
    type Err = InvalidUid;

    fn from_str(text: &str) -> Result<Uid, InvalidUid> {
        Uid::new(text)
    }
}

impl TryFrom<&str> for Uid {
    type Error = InvalidUid;

    fn try_from(text: &str) -> Result<Uid, InvalidUid> {
        Uid::new(text)
    }
}

impl Deref for Uid {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Uid {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Uid {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<str> for Uid {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Uid {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_of_the_vocabulary_are_accepted() {
        for text in ["monitor", "head", "node:0", "worker:0:3", "a-b_c.d:17"] {
            assert_eq!(Uid::new(text).unwrap(), text);
        }
    }

    #[test]
    fn what_is_no_uid_is_refused_with_the_reason() {
        for (text, why) in
            [("", "empty"), ("a::b", "empty part"), ("a b", "only letters"), ("é", "only letters")]
        {
            let error = Uid::new(text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(Uid::new(&"a".repeat(256)).is_err());
    }

    #[test]
    fn a_star_stands_for_any_run() {
        let uid = Uid::new("worker:0:3").unwrap();
        for pattern in ["*", "worker:*", "worker:*:3", "*:3", "worker:0:3", "w*k*3"] {
            assert!(uid.matches(pattern), "{pattern}");
        }
        for pattern in ["", "worker", "worker:*:4", "node:*", "worker:0:3:"] {
            assert!(!uid.matches(pattern), "{pattern}");
        }
    }
}
