//! [`Blob`]: a byte string that travels without being copied.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use mosaic_proto::limits::LARGE_FRAME;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::array::share;
use crate::out_of_band::{self, Arrived, EXT_BYTES, Extension};

/// A byte string: a file, an image, something that another library encoded. Clones share its bytes.
///
/// From [`LARGE_FRAME`] bytes on it travels beside the body of a message, from where it lies to where it is
/// received; a smaller one is part of the body. In a format that is not Mosaic's own it is plain bytes.
///
/// # Example
/// ```
/// use mosaic_comms::Blob;
/// let blob = Blob::from(vec![1, 2, 3]);
/// assert_eq!(blob[1..], [2, 3]);
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Blob(Bytes);

impl Blob {
    /// Returns the bytes, shared and not copied.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The byte string that an extension of a body refers to.
    pub(crate) fn resolve<E: de::Error>(arrived: &Arrived) -> Result<Blob, E> {
        let index = match (arrived.kind, parse(&arrived.payload)) {
            (EXT_BYTES, Some(index)) => index,
            (kind, _) => return Err(E::custom(format_args!("extension {kind} is not a byte string"))),
        };
        let buffer = out_of_band::arrived(index).map_err(E::custom)?;
        Ok(Blob(share(&buffer)))
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Blob {
        Blob(Bytes::from(bytes))
    }
}

impl From<Bytes> for Blob {
    fn from(bytes: Bytes) -> Blob {
        Blob(bytes)
    }
}

impl From<Blob> for Bytes {
    fn from(blob: Blob) -> Bytes {
        blob.0
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Blob({} bytes)", self.0.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let large = self.0.len() >= LARGE_FRAME;
        if !large || !out_of_band::is_encoding() || serializer.is_human_readable() {
            return serializer.serialize_bytes(&self.0);
        }
        let mut payload = vec![0x91];
        let index = out_of_band::leave(self.0.clone());
        rmp::encode::write_uint(&mut payload, index as u64).map_err(serde::ser::Error::custom)?;
        Extension(EXT_BYTES, &payload).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Blob, D::Error> {
        match out_of_band::is_decoding() {
            true => deserializer.deserialize_any(BlobVisitor),
            false => deserializer.deserialize_byte_buf(BlobVisitor),
        }
    }
}

struct BlobVisitor;

impl<'de> Visitor<'de> for BlobVisitor {
    type Value = Blob;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a byte string")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Blob, D::Error> {
        Blob::resolve(&Arrived::deserialize(deserializer)?)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
        Ok(Blob(Bytes::copy_from_slice(bytes)))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
        Ok(Blob::from(bytes))
    }

    // Formats without byte strings, such as JSON, have lists of numbers.
    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Blob, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = sequence.next_element()? {
            bytes.push(byte);
        }
        Ok(Blob::from(bytes))
    }
}

/// Reads the payload of an extension, which came from a peer.
fn parse(mut payload: &[u8]) -> Option<u64> {
    let parts = rmp::decode::read_array_len(&mut payload).ok()?;
    let index = rmp::decode::read_int(&mut payload).ok()?;
    (parts == 1 && payload.is_empty()).then_some(index)
}
