//! Values to bodies: MessagePack with named fields, large values beside it.

use bytes::Bytes;
use serde::Serialize;

use crate::out_of_band;
use crate::type_name::readable;

/// What an error was caused by.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A value ready to travel: the body of a message and what lies beside it.
#[derive(Debug, Clone, Default)]
pub struct Encoded {
    /// The MessagePack body.
    pub body: Vec<u8>,
    /// The bytes of large arrays and byte strings, in the order in which the body refers to them.
    pub buffers: Vec<Bytes>,
}

/// Why a value did not become a message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// An argument could not be encoded.
    #[error("argument `{name}` ({type_name}) cannot be encoded")]
    Argument {
        /// The name of the argument.
        name: String,
        /// The type of its value.
        type_name: String,
        /// What its `Serialize` or the encoder said.
        #[source]
        cause: Cause,
    },
    /// Two arguments have the same name.
    #[error("argument `{name}` is given twice")]
    Duplicate {
        /// That name.
        name: String,
    },
    /// A value that is used as the arguments of a call has no names in it.
    #[error(
        "arguments must be named: a struct, a map with text keys or `kwargs!`, but this is `{type_name}`"
    )]
    NotNamed {
        /// The type of that value.
        type_name: String,
    },
    /// A value could not be encoded.
    #[error("a value of type `{type_name}` cannot be encoded")]
    Value {
        /// The type of the value.
        type_name: String,
        /// What its `Serialize` or the encoder said.
        #[source]
        cause: Cause,
    },
}

/// Encodes one value, such as the result of a method.
///
/// # Errors
/// [`EncodeError::Value`] if its `Serialize` fails.
///
/// # Example
/// ```
/// use mosaic_comms::{Array, encode_value};
/// let encoded = encode_value(&Array::from(vec![1.0, 2.0]))?;
/// assert_eq!(encoded.buffers[0].len(), 16);
/// # Ok::<(), mosaic_comms::EncodeError>(())
/// ```
pub fn encode_value<T: Serialize + ?Sized>(value: &T) -> Result<Encoded, EncodeError> {
    let mut encoded = Encoded { body: Vec::with_capacity(CAPACITY), buffers: Vec::new() };
    append(&mut encoded, value)
        .map_err(|cause| EncodeError::Value { type_name: readable::<T>(), cause: cause.into() })?;
    Ok(encoded)
}

/// Bytes that a new body has room for: most calls carry a few numbers and names.
pub(crate) const CAPACITY: usize = 128;

/// Encodes a value behind what is there already.
pub(crate) fn append<T: Serialize + ?Sized>(
    encoded: &mut Encoded,
    value: &T,
) -> Result<(), rmp_serde::encode::Error> {
    let Encoded { body, buffers } = encoded;
    out_of_band::collect(buffers, || {
        let mut serializer = rmp_serde::Serializer::new(body).with_struct_map();
        value.serialize(&mut serializer)
    })
}
