//! What the tests of several files share. Nothing of it is published.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod dropping;
mod network;
mod proxy;
mod stranger;

pub use dropping::drop_after;
pub use network::{Network, Transport, Witness, config, methods, network};
pub use proxy::{Direction, Harm, Proxy, Which};
pub use stranger::{greeted, message, read_to_end, stranger};
