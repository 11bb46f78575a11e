//! Reading and writing single MessagePack values on slices: what the envelope and the commands are made of. Walking
//! whole bodies is `value`'s business.

use rmp::Marker;

use crate::wire::{WireError, value};

/// Reads one MessagePack value after another, with errors that name `what` is read.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Reader<'a> {
        Reader { rest: bytes, what }
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) =
            self.rest.split_at_checked(len).ok_or(WireError::Truncated { what: self.what })?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn bytes<const LEN: usize>(&mut self) -> Result<[u8; LEN], WireError> {
        let Some((bytes, rest)) = self.rest.split_first_chunk() else {
            return Err(WireError::Truncated { what: self.what });
        };
        self.rest = rest;
        Ok(*bytes)
    }

    #[inline]
    fn big_endian(&mut self, len: usize) -> Result<u64, WireError> {
        Ok(match len {
            1 => u64::from(self.bytes::<1>()?[0]),
            2 => u64::from(u16::from_be_bytes(self.bytes()?)),
            4 => u64::from(u32::from_be_bytes(self.bytes()?)),
            _ => u64::from_be_bytes(self.bytes()?),
        })
    }

    #[inline]
    fn marker(&mut self) -> Result<Marker, WireError> {
        Ok(Marker::from_u8(self.bytes::<1>()?[0]))
    }

    fn malformed<T>(&self, wanted: &'static str) -> Result<T, WireError> {
        Err(WireError::Malformed { what: self.what, wanted })
    }

    /// Reads the head of an array that has at least `least` elements, and returns how many more it has.
    pub(crate) fn array(&mut self, least: u64, wanted: &'static str) -> Result<u64, WireError> {
        let count = match self.marker()? {
            Marker::FixArray(count) => u64::from(count),
            Marker::Array16 => self.big_endian(2)?,
            Marker::Array32 => self.big_endian(4)?,
            _ => return self.malformed(wanted),
        };
        count.checked_sub(least).map_or_else(|| self.malformed(wanted), Ok)
    }

    /// Reads the head of a map and returns how many pairs it has.
    pub(crate) fn map(&mut self, wanted: &'static str) -> Result<u64, WireError> {
        match self.marker()? {
            Marker::FixMap(count) => Ok(u64::from(count)),
            Marker::Map16 => self.big_endian(2),
            Marker::Map32 => self.big_endian(4),
            _ => self.malformed(wanted),
        }
    }

    /// Reads an integer of any width that is not negative.
    #[inline]
    pub(crate) fn uint(&mut self, wanted: &'static str) -> Result<u64, WireError> {
        // Most integers are small, and most messages are made of them.
        if let Some((&small @ 0..0x80, rest)) = self.rest.split_first() {
            self.rest = rest;
            return Ok(u64::from(small));
        }
        let (value, sign) = match self.marker()? {
            Marker::U8 => return self.big_endian(1),
            Marker::U16 => return self.big_endian(2),
            Marker::U32 => return self.big_endian(4),
            Marker::U64 => return self.big_endian(8),
            Marker::I8 => (self.big_endian(1)?, 7),
            Marker::I16 => (self.big_endian(2)?, 15),
            Marker::I32 => (self.big_endian(4)?, 31),
            Marker::I64 => (self.big_endian(8)?, 63),
            _ => return self.malformed(wanted),
        };
        if value >> sign == 0 { Ok(value) } else { self.malformed(wanted) }
    }

    /// Reads a string.
    pub(crate) fn str(&mut self, wanted: &'static str) -> Result<&'a str, WireError> {
        let len = match self.marker()? {
            Marker::FixStr(len) => u64::from(len),
            Marker::Str8 => self.big_endian(1)?,
            Marker::Str16 => self.big_endian(2)?,
            Marker::Str32 => self.big_endian(4)?,
            _ => return self.malformed(wanted),
        };
        let len = usize::try_from(len).map_err(|_| WireError::Truncated { what: self.what })?;
        let bytes = self.take(len)?;
        str::from_utf8(bytes).or_else(|_| self.malformed(wanted))
    }

    /// Reads true or false.
    pub(crate) fn boolean(&mut self, wanted: &'static str) -> Result<bool, WireError> {
        match self.marker()? {
            Marker::True => Ok(true),
            Marker::False => Ok(false),
            _ => self.malformed(wanted),
        }
    }

    /// Reads a nil if one is next, and says whether it was.
    pub(crate) fn nil(&mut self) -> bool {
        let is_nil = self.rest.first() == Some(&0xc0);
        if is_nil {
            self.rest = &self.rest[1..];
        }
        is_nil
    }

    /// Takes the bytes of the next value, whatever it is; containers may be nested `depth` deep in it.
    pub(crate) fn value(&mut self, depth: usize) -> Result<&'a [u8], WireError> {
        let len = value::skip_nested(self.rest, depth, self.what)?;
        self.take(len)
    }

    /// Skips `count` values that a newer version added, and checks that nothing follows.
    pub(crate) fn finish(mut self, count: u64) -> Result<(), WireError> {
        for _ in 0..count {
            self.value(crate::limits::MAX_NESTING)?;
        }
        match self.rest.len() {
            0 => Ok(()),
            count => Err(WireError::TrailingBytes { what: self.what, count }),
        }
    }
}

/// What `rmp` may answer that writes into memory: nothing goes wrong there.
const ENDLESS: &str = "a vector takes every byte";

/// Appends the head of an array.
pub(crate) fn write_array(out: &mut Vec<u8>, count: u32) {
    rmp::encode::write_array_len(out, count).expect(ENDLESS);
}

/// Appends an integer in the shortest form.
pub(crate) fn write_uint(out: &mut Vec<u8>, value: u64) {
    rmp::encode::write_uint(out, value).expect(ENDLESS);
}

/// Appends an integer in the form that is always 9 bytes, so that it can be replaced in place.
pub(crate) fn write_wide(out: &mut Vec<u8>, value: u64) {
    rmp::encode::write_u64(out, value).expect(ENDLESS);
}

/// Appends an integer in the form that is always 5 bytes, so that it can be replaced in place.
pub(crate) fn write_word(out: &mut Vec<u8>, value: u32) {
    rmp::encode::write_u32(out, value).expect(ENDLESS);
}

/// Appends a string.
pub(crate) fn write_str(out: &mut Vec<u8>, text: &str) {
    rmp::encode::write_str(out, text).expect(ENDLESS);
}

/// Appends true or false.
pub(crate) fn write_bool(out: &mut Vec<u8>, value: bool) {
    rmp::encode::write_bool(out, value).expect(ENDLESS);
}

/// Appends a nil.
pub(crate) fn write_nil(out: &mut Vec<u8>) {
    rmp::encode::write_nil(out).expect(ENDLESS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_width_are_read() {
        let widths: [&[u8]; 9] = [
            &[5],
            &[0xcc, 5],
            &[0xcd, 0, 5],
            &[0xce, 0, 0, 0, 5],
            &[0xcf, 0, 0, 0, 0, 0, 0, 0, 5],
            &[0xd0, 5],
            &[0xd1, 0, 5],
            &[0xd2, 0, 0, 0, 5],
            &[0xd3, 0, 0, 0, 0, 0, 0, 0, 5],
        ];
        for bytes in widths {
            assert_eq!(Reader::new(bytes, "a number").uint("an integer"), Ok(5));
            for end in 0..bytes.len() {
                assert!(Reader::new(&bytes[..end], "a number").uint("an integer").is_err());
            }
        }
    }

    #[test]
    fn negative_integers_are_refused() {
        let negative: [&[u8]; 3] =
            [&[0xff], &[0xd0, 0x80], &[0xd3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]];
        for bytes in negative {
            assert!(Reader::new(bytes, "a number").uint("an integer").is_err());
        }
    }

    #[test]
    fn added_elements_are_skipped_and_trailing_bytes_are_not() {
        let mut reader = Reader::new(&[0x92, 0x01, 0x91, 0xc0], "a list");
        let added = reader.array(1, "an array").unwrap();
        assert_eq!(reader.uint("an integer"), Ok(1));
        assert_eq!(reader.finish(added), Ok(()));
        let error = Reader::new(&[0xc0], "a list").finish(0);
        assert_eq!(error, Err(WireError::TrailingBytes { what: "a list", count: 1 }));
    }
}
