//! Bytes <-> values: ZMTP 3.1 outside, the Mosaic envelope inside. Nothing here keeps a conversation's state.
//! `docs/wire.md` specifies all of it to the byte.

mod command;
mod decoded;
mod envelope;
mod error;
mod frame;
mod greeting;
mod incoming;
mod location;
mod messagepack;
mod outgoing;
mod ready;
mod receiver;
mod refusal;
pub mod value;

pub use command::{Ack, Beat, Class, Command, Lane};
pub use decoded::Facts;
pub use envelope::{Codec, Envelope, Kind, Target, stamp_remaining};
pub use error::WireError;
pub use frame::FrameHeader;
pub use greeting::{GREETING_LEN, check_greeting, greeting};
pub use incoming::{Buffers, Incoming};
pub use location::{Location, MAX_LOCATION};
pub use outgoing::{Body, Outgoing, Piece};
pub use ready::{MosaicReady, Ready, VERSION};
pub use receiver::{Item, Receiver};
pub use refusal::{Refusal, RefusalCode};
