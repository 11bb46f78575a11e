//! Mosaic comms connects the runtimes of a parallel program and passes messages between them.

#![forbid(unsafe_code)]

mod args;
mod array;
mod blob;
mod decode;
mod encode;
mod kwargs;
mod msgpack;
mod out_of_band;
mod pool;
mod type_name;

pub use args::{Args, ArgumentError};
pub use array::{Array, Dtype, Element, MAX_AXES, Order, ShapeError};
pub use blob::Blob;
pub use decode::{DecodeError, decode_value};
pub use encode::{EncodeError, Encoded, encode_value};
#[doc(hidden)]
pub use kwargs::__argument_name;
pub use kwargs::{IntoArgs, Kwargs};
pub use msgpack::Malformed;
pub use out_of_band::{EXT_ARRAY, EXT_BYTES};
pub use pool::{ALIGNMENT, Buffer, DEFAULT_KEEP, Pool, Received};
