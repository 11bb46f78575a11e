//! The Mosaic protocol as state machines that do no input or output.
//!
//! Bytes and the time go in, bytes and events come out: no socket, clock, thread, randomness or environment is
//! touched here, so every behaviour can be run on a virtual clock. What drives it lives in `mosaic-comms`.

#![forbid(unsafe_code)]

mod identity;
pub mod limits;
pub mod link;
mod liveness;
pub mod membership;
mod reason;
mod time;
mod topology;
mod uid;
pub mod wire;

pub use identity::{HostId, Instance, InvalidIdentity, Session};
pub use liveness::Intervals;
pub use reason::Reason;
pub use time::Time;
pub use topology::{Place, Topology};
pub use uid::{InvalidUid, Uid};
