//! Mosaic comms connects the runtimes of a parallel program and passes messages between them.

#![forbid(unsafe_code)]

mod args;
mod array;
mod blob;
mod config;
mod connection;
mod context;
mod decode;
mod dispatch;
mod encode;
mod error;
mod events;
mod kwargs;
mod link;
pub mod local;
mod manager;
mod message;
mod msgpack;
mod out_of_band;
mod pool;
mod runtime;
mod transport;
mod type_name;

pub use args::{Args, ArgumentError};
pub use array::{Array, Dtype, Element, MAX_AXES, Order, ShapeError};
pub use blob::Blob;
pub use config::{Config, ConfigError, Security};
pub use context::{Context, ContextBuilder};
pub use decode::{DecodeError, decode_value};
pub use encode::{EncodeError, Encoded, encode_value};
pub use error::{
    Attempt, BindError, CallError, ConnectError, HandlerError, RecvError, RemoteError, StartError,
    TrySendError, TrySendReason, UnknownPeer, WaitError,
};
pub use events::{Event, Events};
#[doc(hidden)]
pub use kwargs::__argument_name;
pub use kwargs::{IntoArgs, Kwargs};
pub use manager::{CommsManager, Listening, Reply, SendMessage, SendRecv};
pub use message::Message;
pub use mosaic_proto::limits::Limits;
pub use mosaic_proto::link::Execution;
pub use mosaic_proto::{Instance, InvalidUid, Place, Reason, Topology, Uid};
pub use msgpack::Malformed;
pub use out_of_band::{EXT_ARRAY, EXT_BYTES};
pub use pool::{ALIGNMENT, Buffer, DEFAULT_KEEP, Pool, Received};
pub use runtime::{Call, HandlerResult, Handling, Methods, Runtime};
