//! Walks MessagePack without building values: where a value ends, what a body's entries are, whether a body is well
//! formed. What a value means is the business of whoever decodes it; the text of strings inside values is not looked
//! at.
//!
//! A body is `nil`, no bytes at all (both: no arguments), or a map whose keys are strings.

use rmp::Marker;

use crate::limits::MAX_NESTING;
use crate::wire::WireError;
use crate::wire::error::shown;
use crate::wire::messagepack::Reader;

const BODY: &str = "a body";

/// More entries than this are checked for duplicates by sorting them.
const FEW: usize = 16;

/// How many bytes the first value of `bytes` takes. It allocates nothing and its stack does not grow with the value.
///
/// # Errors
/// [`WireError::Truncated`] if `bytes` end before the value does, [`WireError::NestedTooDeep`] beyond
/// [`MAX_NESTING`], and [`WireError::Malformed`] for the one byte that MessagePack never uses.
pub fn skip(bytes: &[u8]) -> Result<usize, WireError> {
    skip_nested(bytes, MAX_NESTING, "a value")
}

/// The keywords of a body and the bytes of their values.
///
/// # Errors
/// What [`skip`] returns, [`WireError::Malformed`] if the body is no map with strings as keys,
/// [`WireError::DuplicateKey`] and [`WireError::TrailingBytes`].
pub fn entries(body: &[u8]) -> Result<Vec<(&str, &[u8])>, WireError> {
    let mut reader = Reader::new(body, BODY);
    let mut entries = Vec::new();
    if body.is_empty() {
        return Ok(entries);
    }
    if !reader.nil() {
        let count = reader.map("a map")?;
        for _ in 0..count {
            let key = reader.str("a string as keyword")?;
            entries.push((key, reader.value(MAX_NESTING - 1)?));
        }
    }
    reader.finish(0)?;
    match duplicate(&entries) {
        Some(key) => Err(WireError::DuplicateKey { key: shown(key.as_bytes()) }),
        None => Ok(entries),
    }
}

/// Checks that a body is no bytes at all or exactly one well-formed value. It allocates nothing.
///
/// # Errors
/// What [`skip`] returns, and [`WireError::TrailingBytes`].
pub fn check_body(body: &[u8]) -> Result<(), WireError> {
    match body.len() - if body.is_empty() { 0 } else { skip_nested(body, MAX_NESTING, BODY)? } {
        0 => Ok(()),
        count => Err(WireError::TrailingBytes { what: BODY, count }),
    }
}

fn duplicate<'a>(entries: &[(&'a str, &[u8])]) -> Option<&'a str> {
    if entries.len() <= FEW {
        let twice = |&(at, key): &(usize, &str)| entries[..at].iter().any(|(earlier, _)| *earlier == key);
        return entries.iter().map(|(key, _)| *key).enumerate().find(twice).map(|(_, key)| key);
    }
    let mut keys: Vec<&str> = entries.iter().map(|(key, _)| *key).collect();
    keys.sort_unstable();
    keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

/// The containers that a walk is inside of: how many values are still to come in each.
struct Open {
    to_come: [u64; MAX_NESTING],
    level: usize,
    deepest: usize,
}

impl Open {
    fn enter(&mut self, values: u64) -> Result<(), WireError> {
        if self.level >= self.deepest {
            return Err(WireError::NestedTooDeep);
        }
        self.to_come[self.level] = values;
        self.level += 1;
        Ok(())
    }

    /// Leaves the containers that are complete, and says whether a value is still to come.
    fn next(&mut self) -> bool {
        while self.level > 0 && self.to_come[self.level - 1] == 0 {
            self.level -= 1;
        }
        if self.level > 0 {
            self.to_come[self.level - 1] -= 1;
        }
        self.level > 0
    }
}

/// [`skip`] with a limit of its own and the name of what is walked. A claimed count costs nothing, because each
/// value that is counted down takes at least one byte.
pub(crate) fn skip_nested(bytes: &[u8], depth: usize, what: &'static str) -> Result<usize, WireError> {
    let mut at = 0;
    let Some(values) = step(bytes, &mut at, what)? else { return Ok(at) };
    let mut open = Open { to_come: [0; MAX_NESTING], level: 0, deepest: depth.min(MAX_NESTING) };
    open.enter(values)?;
    while open.next() {
        if let Some(values) = step(bytes, &mut at, what)? {
            open.enter(values)?;
        }
    }
    Ok(at)
}

/// Passes a marker and the bytes that belong to it. Returns how many values follow if it begins a container.
fn step(bytes: &[u8], at: &mut usize, what: &'static str) -> Result<Option<u64>, WireError> {
    let content = read_content(bytes, at, what)?;
    if content.bytes > (bytes.len() - *at) as u64 {
        return Err(WireError::Truncated { what });
    }
    *at += content.bytes as usize;
    Ok(content.values)
}

/// What stands behind a marker: bytes that belong to it, and values that are its elements.
struct Content {
    bytes: u64,
    values: Option<u64>,
}

/// Reads a marker and the length or count that belongs to it.
fn read_content(bytes: &[u8], at: &mut usize, what: &'static str) -> Result<Content, WireError> {
    let truncated = WireError::Truncated { what };
    let marker = Marker::from_u8(*bytes.get(*at).ok_or(truncated.clone())?);
    *at += 1;
    let mut number = |width: usize| {
        let digits = bytes.get(*at..*at + width).ok_or(truncated.clone())?;
        *at += width;
        Ok(digits.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    };
    let (bytes, values) = match marker {
        Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::True | Marker::False => (0, None),
        Marker::U8 | Marker::I8 => (1, None),
        Marker::U16 | Marker::I16 => (2, None),
        Marker::U32 | Marker::I32 | Marker::F32 => (4, None),
        Marker::U64 | Marker::I64 | Marker::F64 => (8, None),
        Marker::FixStr(len) => (u64::from(len), None),
        Marker::Str8 | Marker::Bin8 => (number(1)?, None),
        Marker::Str16 | Marker::Bin16 => (number(2)?, None),
        Marker::Str32 | Marker::Bin32 => (number(4)?, None),
        Marker::FixExt1 => (2, None),
        Marker::FixExt2 => (3, None),
        Marker::FixExt4 => (5, None),
        Marker::FixExt8 => (9, None),
        Marker::FixExt16 => (17, None),
        Marker::Ext8 => (number(1)? + 1, None),
        Marker::Ext16 => (number(2)? + 1, None),
        Marker::Ext32 => (number(4)? + 1, None),
        Marker::FixArray(count) => (0, Some(u64::from(count))),
        Marker::Array16 => (0, Some(number(2)?)),
        Marker::Array32 => (0, Some(number(4)?)),
        Marker::FixMap(count) => (0, Some(2 * u64::from(count))),
        Marker::Map16 => (0, Some(2 * number(2)?)),
        Marker::Map32 => (0, Some(2 * number(4)?)),
        Marker::Reserved => {
            return Err(WireError::Malformed { what, wanted: "a MessagePack marker, not 0xc1," });
        }
    };
    Ok(Content { bytes, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_every_kind_of_value_is_found() {
        let values: [&[u8]; 12] = [
            &[0x00],
            &[0xc0],
            &[0xcd, 1, 2],
            &[0xcb, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0xa2, b'h', b'i'],
            &[0xd9, 1, b'x'],
            &[0xc5, 0, 1, 9],
            &[0x92, 0x91, 0xc0, 0x90],
            &[0x81, 0xa1, b'k', 0x80],
            &[0xd4, 1, 2],
            &[0xc7, 0, 5],
            &[0xdd, 0, 0, 0, 1, 0xc3],
        ];
        for value in values {
            let longer = [value, &[0xff]].concat();
            assert_eq!(skip(&longer), Ok(value.len()), "{value:02x?}");
            assert_eq!(check_body(value), Ok(()));
            for end in 0..value.len() {
                assert!(skip(&value[..end]).is_err(), "{value:02x?}");
            }
        }
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let nested = |depth: usize| [vec![0x91; depth], vec![0xc0]].concat();
        assert_eq!(skip(&nested(MAX_NESTING)), Ok(MAX_NESTING + 1));
        assert_eq!(skip(&nested(MAX_NESTING + 1)), Err(WireError::NestedTooDeep));
        let body = |depth| [vec![0x81, 0xa1, b'a'], nested(depth)].concat();
        assert!(entries(&body(MAX_NESTING - 1)).is_ok());
        assert_eq!(entries(&body(MAX_NESTING)), Err(WireError::NestedTooDeep));
    }

    #[test]
    fn a_claimed_count_is_not_believed() {
        for head in
            [[0xdd, 0xff, 0xff, 0xff, 0xff], [0xdf, 0xff, 0xff, 0xff, 0xff], [0xc6, 0xff, 0xff, 0xff, 0xff]]
        {
            assert!(skip(&head).is_err());
            assert!(entries(&head).is_err());
        }
    }

    #[test]
    fn the_reserved_byte_is_refused() {
        assert!(matches!(skip(&[0xc1]), Err(WireError::Malformed { .. })));
    }

    #[test]
    fn entries_are_listed_in_their_order() {
        let body = [0x82, 0xa1, b'b', 0x91, 0x01, 0xa1, b'a', 0xc0];
        assert_eq!(entries(&body).unwrap(), [("b", &[0x91, 0x01][..]), ("a", &[0xc0][..])]);
        assert_eq!(entries(&[]), Ok(vec![]));
        assert_eq!(entries(&[0xc0]), Ok(vec![]));
    }

    #[test]
    fn a_keyword_that_stands_twice_is_named() {
        let error = Err(WireError::DuplicateKey { key: "k".into() });
        assert_eq!(entries(&[0x82, 0xa1, b'k', 1, 0xa1, b'k', 2]), error);
        let mut many = vec![0xde, 0, 20];
        many.extend((0..19).flat_map(|n| [0xa1, b'a' + n, 0]));
        many.extend([0xa1, b'k', 0]);
        assert_eq!(entries(&many), error);
    }

    #[test]
    fn what_is_no_body_is_refused() {
        assert!(entries(&[0x81, 0x01, 0x01]).is_err());
        assert!(entries(&[0x90]).is_err());
        assert_eq!(entries(&[0x80, 0]), Err(WireError::TrailingBytes { what: BODY, count: 1 }));
        assert_eq!(check_body(&[0xc0, 0]), Err(WireError::TrailingBytes { what: BODY, count: 1 }));
    }
}
