//! Bodies to values. Bytes come from a peer: whatever they are, the outcome is a value or an error.

use std::sync::Arc;

use bytes::Bytes;
use mosaic_proto::limits::MAX_NESTING;
use rmp_serde::decode::Error as Rejected;
use serde::de::DeserializeOwned;

use crate::array::Reference;
use crate::encode::Cause;
use crate::msgpack::{self, Content, Head, Malformed};
use crate::out_of_band::{self, Buffers, EXT_ARRAY, EXT_BYTES, EXT_PICKLE};
use crate::pool::Received;
use crate::type_name::readable;

/// Why a received body did not become a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are not what the protocol asks for.
    #[error("the body is malformed")]
    Malformed(#[from] Malformed),
    /// Two arguments have the same name.
    #[error("argument `{name}` is given twice")]
    Duplicate {
        /// That name.
        name: String,
    },
    /// The value is another than was asked for.
    #[error("expected `{expected}`, found {found}")]
    Wrong {
        /// The type that was asked for.
        expected: String,
        /// What the value is, in short.
        found: String,
        /// What the `Deserialize` of that type said.
        #[source]
        cause: Cause,
    },
}

/// A body that has not been decoded, and what lies beside it: for programs that decode values themselves.
#[derive(Debug, Default)]
pub struct Undecoded {
    /// The MessagePack body. Nobody has checked it.
    pub body: Bytes,
    /// The bytes of large arrays and byte strings, to which the body refers by their index.
    pub buffers: Vec<Received>,
}

/// Decodes one value, such as the result of a call. Arrays and blobs keep their buffers; the others are let go.
///
/// # Errors
/// [`DecodeError::Malformed`] if the body is not one MessagePack value, nested within [`MAX_NESTING`];
/// [`DecodeError::Wrong`] if it is not a `T`, or refers to buffers that are missing or of another size.
///
/// # Example
/// ```
/// use mosaic_comms::{decode_value, encode_value};
/// let encoded = encode_value(&2)?;
/// assert_eq!(decode_value::<f64>(&encoded.body, Vec::new())?, 2.0);
/// let error = decode_value::<String>(&encoded.body, Vec::new()).unwrap_err();
/// assert_eq!(error.to_string(), "expected `String`, found an integer");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn decode_value<T: DeserializeOwned>(body: &[u8], buffers: Vec<Received>) -> Result<T, DecodeError> {
    msgpack::one(body)?;
    decode(body, &shared(buffers)).map_err(|cause| wrong::<T>(body, cause))
}

/// Lets several values refer to the same buffers.
pub(crate) fn shared(buffers: Vec<Received>) -> Buffers {
    match buffers.is_empty() {
        true => Buffers::default(),
        false => buffers.into_iter().map(Arc::new).collect(),
    }
}

/// Decodes a value that [`msgpack`] has checked: it is whole, and not nested too deep for this recursion.
pub(crate) fn decode<T: DeserializeOwned>(value: &[u8], buffers: &Buffers) -> Result<T, Rejected> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(value);
    deserializer.set_max_depth(MAX_NESTING + 2);
    out_of_band::provide(buffers, || T::deserialize(&mut deserializer))
}

/// Tells what was asked for and what there is.
pub(crate) fn wrong<T>(value: &[u8], cause: Rejected) -> DecodeError {
    DecodeError::Wrong { expected: readable::<T>(), found: describe(value), cause: explain(cause) }
}

/// Says in short what a value is.
pub(crate) fn describe(value: &[u8]) -> String {
    let Ok(Head { first, content }) = msgpack::head(value, 0) else { return "nothing".to_owned() };
    match content {
        Content::Text(size) | Content::Binary(size) => format!("{} of {size} bytes", kind(content)),
        Content::Array(count) | Content::Map(count) => format!("{} of {count}", kind(content)),
        Content::Extension(_) => describe_extension(&value[first..]),
        Content::Nil | Content::Bool | Content::Integer(_) | Content::Float(_) => kind(content).to_owned(),
    }
}

fn kind(content: Content) -> &'static str {
    match content {
        Content::Nil => "nil",
        Content::Bool => "a boolean",
        Content::Integer(_) => "an integer",
        Content::Float(_) => "a floating-point number",
        Content::Text(_) => "text",
        Content::Binary(_) => "a byte string",
        Content::Array(_) => "a list",
        Content::Map(_) => "a map",
        Content::Extension(_) => "an extension",
    }
}

fn describe_extension(content: &[u8]) -> String {
    let Some((&kind, payload)) = content.split_first() else { return "an extension".to_owned() };
    match (kind as i8, Reference::parse(payload)) {
        (EXT_ARRAY, Some(array)) => format!("`{array}`"),
        (EXT_ARRAY, None) => "a malformed array".to_owned(),
        (EXT_BYTES, _) => "a byte string".to_owned(),
        (EXT_PICKLE, _) => "a Python pickle, which only Python reads".to_owned(),
        (kind, _) => format!("extension {kind}"),
    }
}

/// Says what the decoder's error means: it knows a mismatch only as the marker of the value that it met.
fn explain(rejected: Rejected) -> Cause {
    let Rejected::TypeMismatch(marker) = rejected else { return Box::new(rejected) };
    // A length of zero is put behind the marker, where one belongs; it is not told.
    let head = msgpack::head(&[marker.to_u8(), 0, 0, 0, 0], 0);
    Box::new(Mismatch { found: head.map_or("nothing", |head| kind(head.content)) })
}

/// A value inside is of another kind than its type takes.
#[derive(Debug, thiserror::Error)]
#[error("{found} stands where another type is expected")]
struct Mismatch {
    found: &'static str,
}
