//! How large values leave the body of a message and come back to it.
//!
//! ```text
//! body:     { "field": ext(1, [0, "<f4", [512, 512], "C"]), "raw": ext(2, [1]) }
//! buffers:  [ 1048576 bytes, 70000 bytes ]
//! ```
//! serde gives a value no way to reach beyond its serializer, so the buffers of the message that is being encoded or
//! decoded on this thread wait in a thread-local place, which is only there while our encoder or decoder runs.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::pool::Received;

/// The MessagePack extension type of an array: its payload is `[index, dtype, shape, order]`.
pub const EXT_ARRAY: i8 = 1;

/// The MessagePack extension type of a byte string: its payload is `[index]`.
pub const EXT_BYTES: i8 = 2;

/// The MessagePack extension type of a pickled Python value, which is only ever read by Python: its payload is
/// `[index, position, count]`.
pub const EXT_PICKLE: i8 = 3;

/// The name by which rmp-serde knows an extension.
pub(crate) const EXTENSION: &str = rmp_serde::MSGPACK_EXT_STRUCT_NAME;

/// The received buffers of a message; several values may refer to one.
pub(crate) type Buffers = Arc<[Arc<Received>]>;

thread_local! {
    static LEAVING: RefCell<Option<Vec<Bytes>>> = const { RefCell::new(None) };
    static ARRIVED: RefCell<Option<Buffers>> = const { RefCell::new(None) };
}

/// Puts back what a thread-local place held before, also when user code panics.
struct Restore<T: 'static> {
    place: &'static std::thread::LocalKey<RefCell<Option<T>>>,
    before: Option<T>,
}

impl<T> Restore<T> {
    fn put(place: &'static std::thread::LocalKey<RefCell<Option<T>>>, value: T) -> Restore<T> {
        Restore { place, before: place.replace(Some(value)) }
    }
}

impl<T> Drop for Restore<T> {
    fn drop(&mut self) {
        // What was there is dropped once the place is free again: that may run code of its owner.
        drop(self.place.replace(self.before.take()));
    }
}

/// Runs an encoder; what its values move out of band is appended to `buffers`.
pub(crate) fn collect<R>(buffers: &mut Vec<Bytes>, encode: impl FnOnce() -> R) -> R {
    let _restore = Restore::put(&LEAVING, std::mem::take(buffers));
    let result = encode();
    *buffers = LEAVING.take().unwrap_or_default();
    result
}

/// Runs a decoder whose values find `buffers`.
pub(crate) fn provide<R>(buffers: &Buffers, decode: impl FnOnce() -> R) -> R {
    let _restore = Restore::put(&ARRIVED, buffers.clone());
    decode()
}

/// Tells whether our encoder runs on this thread.
pub(crate) fn is_encoding() -> bool {
    LEAVING.with_borrow(Option::is_some)
}

/// Tells whether our decoder runs on this thread.
pub(crate) fn is_decoding() -> bool {
    ARRIVED.with_borrow(Option::is_some)
}

/// Buffers among which bytes that are sent again are looked for, the latest first. It bounds the search of a message
/// with very many.
const REMEMBERED: usize = 64;

/// Moves bytes out of band and returns their index. Bytes that were moved shortly before are not sent twice.
pub(crate) fn leave(bytes: Bytes) -> usize {
    LEAVING.with_borrow_mut(|buffers| {
        let buffers = buffers.get_or_insert_default();
        let same = |other: &Bytes| other.as_ptr() == bytes.as_ptr() && other.len() == bytes.len();
        let recent = buffers.len().saturating_sub(REMEMBERED);
        if let Some(index) = buffers[recent..].iter().position(same) {
            return recent + index;
        }
        buffers.push(bytes);
        buffers.len() - 1
    })
}

/// A reference from the body to a buffer that the message does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the value refers to buffer {index} of a message that has {count}")]
pub(crate) struct NoBuffer {
    index: u64,
    count: usize,
}

/// Returns the buffer of this index.
pub(crate) fn arrived(index: u64) -> Result<Arc<Received>, NoBuffer> {
    ARRIVED.with_borrow(|buffers| {
        let buffers = buffers.as_deref().unwrap_or_default();
        let found = usize::try_from(index).ok().and_then(|index| buffers.get(index));
        found.cloned().ok_or(NoBuffer { index, count: buffers.len() })
    })
}

/// An extension on its way into a body: the one shape that rmp-serde takes.
pub(crate) struct Extension<'a>(pub(crate) i8, pub(crate) &'a [u8]);

impl Serialize for Extension<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(EXTENSION, &(self.0, Payload(self.1)))
    }
}

/// Bytes that serialize as such.
struct Payload<'a>(&'a [u8]);

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// An extension out of a body.
pub(crate) struct Arrived {
    pub(crate) kind: i8,
    pub(crate) payload: Vec<u8>,
}

impl<'de> Deserialize<'de> for Arrived {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Arrived, D::Error> {
        deserializer.deserialize_tuple(2, ArrivedVisitor)
    }
}

struct ArrivedVisitor;

impl<'de> Visitor<'de> for ArrivedVisitor {
    type Value = Arrived;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("a MessagePack extension")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Arrived, A::Error> {
        let kind = parts.next_element()?.ok_or_else(|| de::Error::invalid_length(0, &self))?;
        let payload: Option<ArrivedPayload> = parts.next_element()?;
        let ArrivedPayload(payload) = payload.ok_or_else(|| de::Error::invalid_length(1, &self))?;
        Ok(Arrived { kind, payload })
    }
}

struct ArrivedPayload(Vec<u8>);

impl<'de> Deserialize<'de> for ArrivedPayload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ArrivedPayload, D::Error> {
        deserializer.deserialize_bytes(PayloadVisitor).map(ArrivedPayload)
    }
}

struct PayloadVisitor;

impl Visitor<'_> for PayloadVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("the bytes of an extension")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }
}
