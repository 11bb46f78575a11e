//! Finds the ends of MessagePack values without building them: what a body must pass before a decoder recurses
//! into it. It does not interpret values; `rmp-serde` does that.

use std::ops::Range;

use mosaic_proto::limits::MAX_NESTING;
use smallvec::SmallVec;

/// Why bytes are not a MessagePack value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The bytes end inside a value.
    #[error("the value is cut off at byte {at}")]
    CutOff {
        /// Where the missing part should begin.
        at: usize,
    },
    /// A byte that no value begins with.
    #[error("no value begins with the byte at {at}")]
    Reserved {
        /// Where that byte is.
        at: usize,
    },
    /// Values are nested deeper than [`MAX_NESTING`].
    #[error("values are nested deeper than {MAX_NESTING} at byte {at}")]
    Nested {
        /// Where the value that is too deep begins.
        at: usize,
    },
    /// Bytes follow the value.
    #[error("{extra} bytes follow the value")]
    Trailing {
        /// How many bytes follow.
        extra: usize,
    },
    /// A key is not text, where text is needed.
    #[error("the key at byte {at} is not text")]
    Key {
        /// Where the key begins.
        at: usize,
    },
    /// The value is not a map, where a map is needed.
    #[error("the value is not a map")]
    NotMap,
}

/// Returns the length of the value that `bytes` begins with.
pub(crate) fn skip(bytes: &[u8]) -> Result<usize, Malformed> {
    skip_at(bytes, 0, 0)
}

/// Checks that `bytes` are one value and nothing else.
pub(crate) fn one(bytes: &[u8]) -> Result<(), Malformed> {
    match bytes.len() - skip(bytes)? {
        0 => Ok(()),
        extra => Err(Malformed::Trailing { extra }),
    }
}

/// Where in a map a key and its value lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The text of the key.
    pub(crate) key: Range<usize>,
    /// The value, with its marker.
    pub(crate) value: Range<usize>,
}

/// The entries of a map. As many as most calls have arguments take no memory of their own.
pub(crate) type Entries = SmallVec<[Entry; 3]>;

/// Finds the keys of the map that `bytes` are, each with its value, in their order.
pub(crate) fn entries(bytes: &[u8]) -> Result<Entries, Malformed> {
    let Head { first, content } = head(bytes, 0)?;
    let Content::Map(count) = content else { return Err(Malformed::NotMap) };
    // Each entry takes at least two bytes: a hostile count reserves no more than the body is long.
    let mut entries = Entries::with_capacity((count as usize).min(bytes.len() / 2));
    let mut at = first;
    for _ in 0..count {
        let key = text(bytes, at)?;
        let value = key.end;
        at = skip_at(bytes, value, 1)?;
        entries.push(Entry { key, value: value..at });
    }
    match bytes.len() - at {
        0 => Ok(entries),
        extra => Err(Malformed::Trailing { extra }),
    }
}

/// What the marker of a value says of it.
pub(crate) struct Head {
    /// Where its content begins.
    pub(crate) first: usize,
    /// What that content is.
    pub(crate) content: Content,
}

/// The content of a value, with its count of bytes, elements or entries.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    Nil,
    Bool,
    Integer(usize),
    Float(usize),
    Text(usize),
    Binary(usize),
    /// The type byte is the first of the bytes counted.
    Extension(usize),
    Array(u32),
    Map(u32),
}

/// Reads the marker, and the length if there is one, of the value at `at`.
pub(crate) fn head(bytes: &[u8], at: usize) -> Result<Head, Malformed> {
    let marker = *bytes.get(at).ok_or(Malformed::CutOff { at })?;
    let size = |width: usize| length(bytes, at + 1, width);
    let (width, content) = match marker {
        0x00..=0x7f | 0xe0..=0xff => (0, Content::Integer(0)),
        0x80..=0x8f => (0, Content::Map(u32::from(marker & 0x0f))),
        0x90..=0x9f => (0, Content::Array(u32::from(marker & 0x0f))),
        0xa0..=0xbf => (0, Content::Text(usize::from(marker & 0x1f))),
        0xc0 => (0, Content::Nil),
        0xc1 => return Err(Malformed::Reserved { at }),
        0xc2 | 0xc3 => (0, Content::Bool),
        0xc4 => (1, Content::Binary(size(1)? as usize)),
        0xc5 => (2, Content::Binary(size(2)? as usize)),
        0xc6 => (4, Content::Binary(size(4)? as usize)),
        0xc7 => (1, Content::Extension(size(1)? as usize + 1)),
        0xc8 => (2, Content::Extension(size(2)? as usize + 1)),
        0xc9 => (4, Content::Extension(size(4)? as usize + 1)),
        0xca => (0, Content::Float(4)),
        0xcb => (0, Content::Float(8)),
        0xcc..=0xcf => (0, Content::Integer(1 << (marker - 0xcc))),
        0xd0..=0xd3 => (0, Content::Integer(1 << (marker - 0xd0))),
        0xd4..=0xd8 => (0, Content::Extension((1 << (marker - 0xd4)) + 1)),
        0xd9 => (1, Content::Text(size(1)? as usize)),
        0xda => (2, Content::Text(size(2)? as usize)),
        0xdb => (4, Content::Text(size(4)? as usize)),
        0xdc => (2, Content::Array(size(2)?)),
        0xdd => (4, Content::Array(size(4)?)),
        0xde => (2, Content::Map(size(2)?)),
        0xdf => (4, Content::Map(size(4)?)),
    };
    Ok(Head { first: at + 1 + width, content })
}

/// Reads the big-endian number of `width` bytes at `at`.
fn length(bytes: &[u8], at: usize, width: usize) -> Result<u32, Malformed> {
    let digits = bytes.get(at..at + width).ok_or(Malformed::CutOff { at })?;
    Ok(digits.iter().fold(0, |number, &digit| number << 8 | u32::from(digit)))
}

/// Returns where the value at `at` ends, `depth` levels below the top.
fn skip_at(bytes: &[u8], at: usize, depth: usize) -> Result<usize, Malformed> {
    let Head { first, content } = head(bytes, at)?;
    let values = match content {
        Content::Nil | Content::Bool => return Ok(first),
        Content::Integer(size)
        | Content::Float(size)
        | Content::Text(size)
        | Content::Binary(size)
        | Content::Extension(size) => return leap(bytes, first, size),
        Content::Array(count) => u64::from(count),
        Content::Map(count) => 2 * u64::from(count),
    };
    if depth == MAX_NESTING {
        return Err(Malformed::Nested { at });
    }
    let mut end = first;
    for _ in 0..values {
        end = skip_at(bytes, end, depth + 1)?;
    }
    Ok(end)
}

/// Returns where `size` bytes from `first` end, if they are there.
fn leap(bytes: &[u8], first: usize, size: usize) -> Result<usize, Malformed> {
    match first.checked_add(size) {
        Some(end) if end <= bytes.len() => Ok(end),
        _ => Err(Malformed::CutOff { at: bytes.len() }),
    }
}

/// Finds the text at `at`.
fn text(bytes: &[u8], at: usize) -> Result<Range<usize>, Malformed> {
    let Head { first, content } = head(bytes, at)?;
    let Content::Text(size) = content else { return Err(Malformed::Key { at }) };
    let end = leap(bytes, first, size)?;
    match std::str::from_utf8(&bytes[first..end]) {
        Ok(_) => Ok(first..end),
        Err(_) => Err(Malformed::Key { at }),
    }
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;

    fn sample() -> Vec<u8> {
        let value = (1u8, -7i64, 300u16, "text", 1.5f32, 2.5f64, vec![Some(1), None], ("a".repeat(40), true));
        rmp_serde::to_vec_named(&value).unwrap()
    }

    #[test]
    fn a_value_ends_where_its_bytes_end() {
        assert_eq!(skip(&sample()), Ok(sample().len()));
    }

    #[test]
    fn every_truncation_is_cut_off() {
        for end in 0..sample().len() {
            assert!(matches!(skip(&sample()[..end]), Err(Malformed::CutOff { .. })), "cut at {end}");
        }
    }

    #[test]
    fn nesting_beyond_the_limit_is_refused() {
        let nested = |depth: usize| [vec![0x91; depth], vec![0xc0]].concat();
        assert_eq!(skip(&nested(MAX_NESTING)), Ok(MAX_NESTING + 1));
        assert_eq!(skip(&nested(MAX_NESTING + 1)), Err(Malformed::Nested { at: MAX_NESTING }));
        assert!(skip(&nested(1_000_000)).is_err());
    }

    #[test]
    fn a_hostile_count_reserves_nothing() {
        assert!(entries(&[0xdf, 0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(skip(&[0xdd, 0xff, 0xff, 0xff, 0xff, 0xc0]).is_err());
        assert!(skip(&[0xc6, 0xff, 0xff, 0xff, 0xff, 0xc0]).is_err());
    }

    #[test]
    fn keys_must_be_text() {
        assert_eq!(entries(&[0x81, 0x01, 0x02]), Err(Malformed::Key { at: 1 }));
        assert_eq!(entries(&[0x81, 0xa1, 0xff, 0x02]), Err(Malformed::Key { at: 1 }));
        assert_eq!(entries(&[0x81, 0xa1, b'a', 0x02]), Ok(smallvec![Entry { key: 2..3, value: 3..4 }]));
        assert_eq!(entries(&[0x80, 0x80]), Err(Malformed::Trailing { extra: 1 }));
    }
}
