//! The wire through its public API: the vectors of `docs/wire.md`, and what must hold of any bytes.
#![allow(clippy::unwrap_used)]

mod bytes;
mod messages;
mod random;
mod round_trips;
mod vectors;
