//! Mosaic comms connects the runtimes of a parallel program and passes messages between them.
//!
//! A *runtime* is a process, or a part of one, with a name: `monitor`, `head`, `worker:0:3`. It has methods that the
//! others may call. Its [`CommsManager`] binds an address, joins the network at the monitor, connects to the others when
//! they are needed, and carries calls, results, arrays and errors.
//!
//! # First program
//!
//! ```
//! use mosaic_comms::{CommsManager, Config, Methods, kwargs};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let here = Config::default().address("127.0.0.1");
//! let monitor = CommsManager::start("monitor", Methods::new(), here.clone()).await?;
//! let methods = Methods::new()
//!     .method("add", |args, _call| async move { Ok(args.get::<f64>("a")? + args.get::<f64>("b")?) });
//! let joining = here.monitor(monitor.address(), monitor.port());
//! let worker = CommsManager::start("worker:0", methods, joining).await?;
//! monitor.wait_for("worker:0").await?;
//! let sum: f64 = monitor.send_recv("worker:0", "add", kwargs! { a: 1, b: 2 }).await?;
//! assert_eq!(sum, 3.0);
//! worker.stop().await;
//! monitor.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Vocabulary
//!
//! | word | meaning |
//! |---|---|
//! | runtime | an endpoint of the network; the async executor is always called *executor* |
//! | [uid](Uid) | its name; `monitor` is the one that everybody meets at |
//! | [instance](Instance) | one life of a uid: whoever is started anew is another one |
//! | message | method, arguments and, for a call, the wish for a reply |
//! | hand, shake | the two halves of the handshake; a shake carries the topology |
//! | [topology](Topology) | who is in the network, and where |
//! | connected | in our topology |
//! | shaken | known through a handshake, or vouched for by one or by the monitor |
//! | link | what joins two runtimes: two lanes, each a connection |
//! | session | one unbroken conversation over a link; it survives dropped connections |
//! | foreign | a peer that speaks plain ZeroMQ |
//!
//! # Where to look
//!
//! - Being in a network: [`CommsManager`], with [`Config`] and [`Security`] for how, and [`Context`] for what several
//!   managers of a process share.
//! - Being called: [`Methods`] for closures, the attribute [`macro@runtime`] for types of one's own, [`Runtime`] for what
//!   both are, [`Call`] for who calls and how long it waits, [`Args`] for the arguments.
//! - Calling: [`CommsManager::send`] one way, [`CommsManager::send_recv`] for a result,
//!   [`CommsManager::send_recv_all`] for those of many, [`kwargs!`] or any struct for the
//!   arguments, [`Reply`] for a result that is awaited later.
//! - Objects inside a runtime: [`Objects`] to register them, [`CommsManager::cmd`] and [`CommsManager::cmd_recv`] to reach
//!   those of others.
//! - Large data: [`Array`] and [`Blob`], which travel without being copied. [`Value`] is whatever a method takes or
//!   returns, for tools that know its type only when they run.
//! - Who is there: [`CommsManager::wait_for`], [`CommsManager::events`], [`CommsManager::topology`]; how it stands:
//!   [`CommsManager::status`], [`CommsManager::link_state`]; which call led to which: [`TraceContext`]; numbers:
//!   [`CommsManager::publish_metrics`].
//! - What can go wrong: [`CallError`], which says by [`CallError::execution`] whether a request has run, and
//!   [`RemoteError`], an error of a handler elsewhere.
//!
//! Every async method that waits has a twin named `blocking_*` for plain threads. Who may connect, and what is not
//! protected, is said at [`Security`].

#![forbid(unsafe_code)]

mod args;
mod array;
mod blob;
mod config;
mod connection;
mod context;
mod credential;
mod decode;
mod descriptors;
mod dispatch;
mod encode;
mod error;
mod event_loop;
mod events;
mod exclusive;
mod generated;
mod kwargs;
mod link;
pub mod local;
mod manager;
mod measure;
mod message;
mod method;
mod msgpack;
mod objects;
mod out_of_band;
mod pool;
mod runtime;
mod status;
mod trace;
mod transport;
mod type_name;
mod value;

pub use args::{Args, ArgumentError};
pub use array::{AnyArray, Array, Dtype, Element, ElementsError, MAX_AXES, Order, ShapeError};
pub use blob::Blob;
pub use config::{Config, ConfigError, Refusals, Security, UnixSockets};
pub use context::{Context, ContextBuilder, SharedMemory};
pub use credential::{Credential, CredentialError, Exposure};
pub use decode::{DecodeError, Undecoded, decode_value};
pub use dispatch::{Assignment, Unwritten};
pub use encode::{EncodeError, Encoded, encode_value};
pub use error::{
    Attempt, BindError, CallError, ConnectError, HandlerError, RecvError, RemoteError, StartError,
    TrySendError, TrySendReason, UnknownPeer, WaitError,
};
pub use event_loop::EventLoop;
pub use events::{Event, Events};
pub use exclusive::Exclusive;
#[doc(hidden)]
pub use kwargs::__argument_name;
pub use kwargs::{IntoArgs, Kwargs};
pub use link::{Carried, DataLane};
pub use manager::{
    Beat, Calling, CommsManager, Inspection, Listening, Protocol, Reply, ReplyId, SendMessage, SendRecv,
    SendRecvAll, Sending, WaitFor,
};
pub use message::Message;
pub use method::{Argument, Method};
/// Makes the `pub` methods of a type callable from elsewhere, and a typed proxy to call them with.
///
/// It stands on the `impl` block of a type `Solver`. Every `pub` method with a receiver becomes a method of the runtime
/// `Solver`, which is started as any other; the type `SolverProxy` has the same methods for callers. Whatever else is in
/// the block is left alone.
///
/// | written | means |
/// |---|---|
/// | `async fn` | runs on the executor |
/// | `fn` | runs on the compute pool, where it may take as long as it likes |
/// | `&self` | runs concurrently with others |
/// | `&mut self` | runs alone, in the order of arrival: see [`Exclusive`] |
/// | `call: &Call` | who calls; no argument |
/// | `name: T` | an argument, which travels under that name; any owned `T` that serde knows |
/// | `#[arg(default = ..)]` before it | it may be left out, and is a setter of the proxy's call |
/// | `-> Result<T, E>` | can fail, with any error type, texts and boxed errors too; told by the name `Result` |
/// | `#[error(kind = ..)]` | [`RemoteError::kind`] of its errors: a text, or a function from `&E` to one |
/// | `#[hook] fn connected(&self, peer: &Uid)` | as [`Runtime::connected`] |
/// | `#[hook] fn disconnected(&self, peer: &Uid, why: &Reason)` | as [`Runtime::disconnected`] |
///
/// A method of the proxy takes the arguments that have no default, and returns a call: `.name(value)` gives one that
/// has, and the rest is as with [`SendRecv`]: `.deadline(..)`, `.express()`, `.send()` and `.try_send()` for one way,
/// `.to_all(..)` for many, and awaiting it gives `Result<T, CallError>`. `SolverProxy::of_object` calls an object.
///
/// What can't be called from elsewhere is refused with a hint: generics, borrowed arguments, `impl Trait`, patterns,
/// `self` by value, names that the protocol uses.
///
/// # Example
/// ```
/// use mosaic_comms::{Array, Call, CommsManager, Config, Methods};
///
/// struct Solver { shots: usize }
///
/// #[mosaic_comms::runtime]
/// impl Solver {
///     /// Scales a field.
///     pub async fn scale(&self, field: Array<f32>, #[arg(default = 1.0)] factor: f32) -> Array<f32> {
///         field.as_slice().iter().map(|value| value * factor).collect::<Vec<_>>().into()
///     }
///
///     /// Fires a shot, and counts it.
///     #[error(kind = "no-such-shot")]
///     pub fn shoot(&mut self, call: &Call, shot: usize) -> Result<usize, String> {
///         if shot > 99 {
///             return Err(format!("{} asks for shot {shot} of 100", call.sender()));
///         }
///         self.shots += 1;
///         Ok(self.shots)
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let here = Config::default().address("127.0.0.1");
/// # let head = CommsManager::start("monitor", Methods::new(), here.clone()).await?;
/// # let config = here.monitor(head.address(), head.port());
/// let worker = CommsManager::start("worker:0", Solver { shots: 0 }, config).await?;
/// let solver = SolverProxy::new(&head, "worker:0");
/// let field = solver.scale(vec![1.0, 2.0].into()).factor(2.0).await?;
/// assert_eq!(field.as_slice(), [2.0, 4.0]);
/// assert_eq!(solver.shoot(7).await?, 1);
/// # worker.stop().await;
/// # head.stop().await;
/// # Ok(())
/// # }
/// ```
pub use mosaic_macros::runtime;
pub use mosaic_proto::limits::Limits;
pub use mosaic_proto::link::{Counters, Credit, Execution, Progress};
pub use mosaic_proto::membership::Notify;
pub use mosaic_proto::{Instance, InvalidUid, Place, Reason, Session, Topology, Uid};
pub use msgpack::Malformed;
pub use objects::{ObjectRef, Objects};
pub use out_of_band::{EXT_ARRAY, EXT_BYTES, EXT_PICKLE};
pub use pool::{ALIGNMENT, Buffer, DEFAULT_KEEP, Pool, Received};
pub use runtime::{Call, Computation, HandlerResult, Handling, IntoRuntime, Methods, Runtime};
pub use status::{LinkCondition, LinkRecord, LinkState, RecordEntry, Status};
pub use trace::{InvalidTraceContext, TraceContext};
pub use transport::unix::socket_folder;
pub use value::Value;

/// What generated code needs, and nobody else.
#[doc(hidden)]
pub mod __generated {
    pub use crate::exclusive::{ExclusiveRuntime, State};
    pub use crate::generated::{
        ByItself, ByNothing, ByText, Callee, ErrorOfMethod, Failure, argument_or, finished, of_kind,
    };
}

#[cfg(doctest)]
mod pages;
