//! How peers are measured, and those beside whom Mosaic comms is: one file a peer, behind one trait.
//!
//! It does not depend on Mosaic comms, so that it is not built again when that changes.

pub mod blocking_tcp;
pub mod calls;
pub mod figures;
pub mod flood;
pub mod frames;
pub mod libzmq;
pub mod omq;
pub mod outcome;
pub mod part;
pub mod peer;
pub mod process;
pub mod python;
pub mod raw_tokio;
pub mod sheet;
pub mod tarpc;
pub mod tonic;
pub mod zeromq;
