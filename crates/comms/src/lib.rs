//! Mosaic comms connects the runtimes of a parallel program and passes messages between them.

#![forbid(unsafe_code)]

mod array;
mod msgpack;
mod pool;

pub use array::{Array, Dtype, Element, MAX_AXES, Order, ShapeError};
pub use msgpack::Malformed;
pub use pool::{ALIGNMENT, Buffer, DEFAULT_KEEP, Pool, Received};
