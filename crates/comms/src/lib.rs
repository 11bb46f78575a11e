//! Mosaic comms connects the runtimes of a parallel program and passes messages between them.

#![forbid(unsafe_code)]

mod pool;

pub use pool::{ALIGNMENT, Buffer, DEFAULT_KEEP, Pool, Received};
