//! What a runtime is to its manager: methods that others may call, and hooks. Closures registered under names and
//! types of one's own are the same thing.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use mosaic_proto::{Reason, Uid};
use serde::Serialize;
use tokio::time::Instant;

use crate::args::Args;
use crate::dispatch::{Asked, Assignment};
use crate::encode::{Encoded, encode_value};
use crate::error::{HandlerError, RemoteError};
use crate::manager::CommsManager;
use crate::method::Method;
use crate::objects::ObjectRef;

/// An endpoint of the network: its methods may be called by the others.
///
/// Object safe. [`Methods`] implements it for closures, the attribute [`runtime`](macro@crate::runtime) for types of one's
/// own. Whoever implements it by hand decides how each call is handled:
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use mosaic_comms::{Args, Call, CommsManager, Config, Handling, Method, Runtime, encode_value, kwargs};
///
/// /// Has every method there could be.
/// struct Parrot;
///
/// impl Runtime for Parrot {
///     fn dispatch(self: Arc<Self>, method: &str, _args: Args, _call: Call) -> Option<Handling> {
///         Some(Handling::Done(encode_value(&method).map_err(Into::into)))
///     }
///
///     fn methods(&self) -> Vec<Method> {
///         Vec::new()
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let comms = CommsManager::start("monitor", Parrot, Config::default().address("127.0.0.1")).await?;
/// let said: String = comms.send_recv("monitor", "hello", kwargs! {}).await?;
/// assert_eq!(said, "hello");
/// # comms.stop().await;
/// # Ok(())
/// # }
/// ```
pub trait Runtime: Send + Sync + 'static {
    /// Starts to handle one call. `None` if there is no such method.
    ///
    /// It is called in the order in which the sender sent, and must not block: what takes time belongs into the
    /// future or the computation that it returns.
    fn dispatch(self: Arc<Self>, method: &str, args: Args, call: Call) -> Option<Handling>;

    /// Its methods, for errors and tools.
    fn methods(&self) -> Vec<Method>;

    /// Starts to handle a command for an object that is not among the registered ones. `None`, the default: there is no
    /// such object.
    fn command(
        self: Arc<Self>,
        object: &ObjectRef,
        method: &str,
        args: Args,
        call: Call,
    ) -> Option<Handling> {
        let _ = (object, method, args, call);
        None
    }

    /// A peer asks this runtime to stop, and may do so. If that is done at once, as by default, the manager stops; a
    /// runtime that takes longer stops its manager itself.
    fn stop(self: Arc<Self>, call: Call) -> Handling {
        let _ = call;
        Handling::Done(encoded(Ok(())))
    }

    /// Somebody is in the network now. Called before its first message is dispatched.
    fn connected(&self, peer: &Uid) {
        let _ = peer;
    }

    /// Somebody is no longer in the network.
    fn disconnected(&self, peer: &Uid, reason: &Reason) {
        let _ = (peer, reason);
    }
}

/// What a manager is started with: any [`Runtime`], or what becomes one.
///
/// A type with `&mut self` methods can't be called through the `Arc` that a [`Runtime`] is held in. The attribute
/// [`runtime`](macro@crate::runtime) implements this for it in place of [`Runtime`], and [`Exclusive`](crate::Exclusive)
/// keeps its state.
pub trait IntoRuntime: Send {
    /// What it becomes.
    type Runtime: Runtime;

    /// Makes it a runtime.
    fn into_runtime(self) -> Self::Runtime;
}

impl<R: Runtime> IntoRuntime for R {
    type Runtime = R;

    fn into_runtime(self) -> R {
        self
    }
}

/// What a handler comes to.
pub type HandlerResult = Result<Encoded, HandlerError>;

/// How a call is being handled.
pub enum Handling {
    /// It is done.
    Done(HandlerResult),
    /// On the executor: polled once in place, spawned if it is pending.
    Future(Pin<Box<dyn Future<Output = HandlerResult> + Send>>),
    /// On the compute pool, where it may take as long as it likes.
    Compute(Computation),
    /// On the compute pool once it is its turn, which the future waits for on the executor: polled once in place, so
    /// that turns are taken in order.
    Turn(Pin<Box<dyn Future<Output = Computation> + Send>>),
    /// Wherever the runtime sees to it, such as a thread of another language, which gives the result to the assignment. The
    /// function is called at once, in the order of requests, and must not block.
    Elsewhere(Box<dyn FnOnce(Assignment) + Send>),
}

/// What runs on the compute pool.
pub type Computation = Box<dyn FnOnce() -> HandlerResult + Send>;

impl fmt::Debug for Handling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Handling::Done(_) => "Done",
            Handling::Future(_) => "Future",
            Handling::Compute(_) => "Compute",
            Handling::Turn(_) => "Turn",
            Handling::Elsewhere(_) => "Elsewhere",
        })
    }
}

/// What a handler may know of the call that it serves.
///
/// # Example
/// ```
/// use mosaic_comms::{Call, CommsManager, Config, HandlerError};
///
/// struct Worker;
///
/// #[mosaic_comms::runtime]
/// impl Worker {
///     /// Sums up, unless the caller gives up meanwhile.
///     pub fn sum(&self, call: &Call, to: u64) -> Result<u64, HandlerError> {
///         let mut sum = 0;
///         for term in 0..to {
///             if term % 1024 == 0 && call.is_cancelled() {
///                 return Err(HandlerError::new("cancelled", format!("{} has given up", call.sender())));
///             }
///             sum += term;
///         }
///         Ok(sum)
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let comms = CommsManager::start("monitor", Worker, Config::default().address("127.0.0.1")).await?;
/// assert_eq!(WorkerProxy::new(&comms, "monitor").sum(100).await?, 4950);
/// # comms.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Call {
    pub(crate) asked: Arc<Asked>,
    pub(crate) comms: CommsManager,
}

impl Call {
    /// Who calls.
    pub fn sender(&self) -> &Uid {
        self.asked.sender()
    }

    /// When the caller gives up, if it said so.
    pub fn deadline(&self) -> Option<Instant> {
        self.asked.deadline()
    }

    /// Whether the caller waits for the result. If not, it is dropped where it was made.
    pub fn wants_reply(&self) -> bool {
        self.asked.wants_reply()
    }

    /// Runs code as part of the handler of this call: requests that it makes are nested in it, and belong to its trace. For
    /// those who run handlers by themselves; where the executor or the compute pool does, their code is in this scope.
    pub fn in_scope<R>(&self, run: impl FnOnce() -> R) -> R {
        self.asked.surroundings().in_scope(run)
    }

    /// The manager that received the call.
    pub fn comms(&self) -> &CommsManager {
        &self.comms
    }

    /// Ends once the caller has given up. A future is dropped then anyway; a computation may ask
    /// [`Call::is_cancelled`].
    ///
    /// Cancel safe.
    pub async fn cancelled(&self) {
        self.asked.token().cancelled().await;
    }

    /// Whether the caller has given up.
    pub fn is_cancelled(&self) -> bool {
        self.asked.is_cancelled()
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("sender", self.sender())
            .field("deadline", &self.deadline())
            .finish_non_exhaustive()
    }
}

type Handler = Box<dyn Fn(Args, Call) -> Handling + Send + Sync>;
type Hook = Box<dyn Fn(&Uid) + Send + Sync>;
type FarewellHook = Box<dyn Fn(&Uid, &Reason) + Send + Sync>;

/// A runtime made of closures, registered under the names of methods.
///
/// # Example
/// ```
/// use mosaic_comms::Methods;
/// let methods = Methods::new()
///     .method("add", |args, _call| async move { Ok(args.get::<f64>("a")? + args.get::<f64>("b")?) })
///     .compute("sum", |args, _call| Ok((0..args.get::<u64>("to")?).sum::<u64>()));
/// ```
#[derive(Default)]
pub struct Methods {
    handlers: BTreeMap<String, Handler>,
    connected: Option<Hook>,
    disconnected: Option<FarewellHook>,
}

impl Methods {
    /// No methods yet.
    pub fn new() -> Methods {
        Methods::default()
    }

    /// Registers an async method. It runs on the executor, concurrently with others.
    #[must_use]
    pub fn method<R, F, Fut>(mut self, name: &str, handler: F) -> Self
    where
        R: Serialize,
        F: Fn(Args, Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, HandlerError>> + Send + 'static,
    {
        let handler = move |args, call| {
            let result = handler(args, call);
            Handling::Future(Box::pin(async move { encoded(result.await) }))
        };
        self.handlers.insert(name.to_owned(), Box::new(handler));
        self
    }

    /// Registers a method that computes. It runs on the compute pool, concurrently with others.
    #[must_use]
    pub fn compute<R, F>(mut self, name: &str, handler: F) -> Self
    where
        R: Serialize,
        F: Fn(Args, Call) -> Result<R, HandlerError> + Send + Sync + 'static,
    {
        let handler = Arc::new(handler);
        let handler = move |args, call| {
            let handler = handler.clone();
            Handling::Compute(Box::new(move || encoded(handler(args, call))))
        };
        self.handlers.insert(name.to_owned(), Box::new(handler));
        self
    }

    /// Calls `hook` when somebody is in the network.
    #[must_use]
    pub fn on_connected(mut self, hook: impl Fn(&Uid) + Send + Sync + 'static) -> Self {
        self.connected = Some(Box::new(hook));
        self
    }

    /// Calls `hook` when somebody is no longer in the network.
    #[must_use]
    pub fn on_disconnected(mut self, hook: impl Fn(&Uid, &Reason) + Send + Sync + 'static) -> Self {
        self.disconnected = Some(Box::new(hook));
        self
    }
}

pub(crate) fn encoded<R: Serialize>(result: Result<R, HandlerError>) -> HandlerResult {
    let value = result?;
    encode_value(&value).map_err(|error| {
        let mut failure = HandlerError::from(error);
        RemoteError::ENCODE.clone_into(&mut failure.0.kind);
        failure
    })
}

impl Runtime for Methods {
    fn dispatch(self: Arc<Self>, method: &str, args: Args, call: Call) -> Option<Handling> {
        self.handlers.get(method).map(|handler| handler(args, call))
    }

    fn methods(&self) -> Vec<Method> {
        self.handlers.keys().map(Method::new).collect()
    }

    fn connected(&self, peer: &Uid) {
        if let Some(hook) = &self.connected {
            hook(peer);
        }
    }

    fn disconnected(&self, peer: &Uid, reason: &Reason) {
        if let Some(hook) = &self.disconnected {
            hook(peer, reason);
        }
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Methods").field(&self.handlers.keys()).finish()
    }
}
