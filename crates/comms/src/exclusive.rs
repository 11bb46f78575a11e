//! The state of a runtime some of whose methods take `&mut self`: who may have it, and in which order.
//!
//! The order is that in which the turns were asked for; the lock is fair, so nobody is overtaken. A call takes its
//! place when its dispatcher polls it first, which happens in the order in which the calls came.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_util::FutureExt;
use mosaic_proto::{Reason, Uid};
use parking_lot::Mutex;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use tokio::task::unconstrained;
use tokio_util::task::AbortOnDropHandle;

use crate::args::Args;
use crate::method::Method;
use crate::runtime::{Call, Handling, Runtime};

/// The runtime that a type with `&mut self` methods becomes, made by the attribute [`runtime`](macro@crate::runtime).
///
/// `&self` methods run concurrently, those with `&mut self` alone; each has its turn in the order of arrival. A method
/// that panics leaves the state as it was then, and so does an async one that its caller gives up: at any `.await`, as
/// any future. Hooks have their turn like `&self` methods.
///
/// A `&mut self` method that waits for a call which comes back to its own runtime waits for itself: give such calls a
/// deadline, or let the method take `&self`.
///
/// # Example
/// ```
/// use mosaic_comms::{Exclusive, Runtime};
///
/// struct Counter(u64);
///
/// #[mosaic_comms::runtime]
/// impl Counter {
///     pub async fn add(&mut self, amount: u64) -> u64 {
///         self.0 += amount;
///         self.0
///     }
/// }
///
/// // `CommsManager::start` makes this of it by itself.
/// let counter = Exclusive::new(Counter(0));
/// assert_eq!(counter.methods()[0].to_string(), "add(amount)");
/// ```
pub struct Exclusive<T> {
    state: State<T>,
    /// The hook that was called last, if it had to wait for its turn; it keeps the one before.
    waiting: Mutex<Option<AbortOnDropHandle<()>>>,
}

/// A type with `&mut self` methods, as the attribute describes it.
pub trait ExclusiveRuntime: Sized + Send + Sync + 'static {
    /// As [`Runtime::dispatch`].
    fn dispatch(state: &State<Self>, method: &str, args: Args, call: Call) -> Option<Handling>;

    /// As [`Runtime::methods`].
    fn methods() -> Vec<Method>;

    /// As [`Runtime::connected`].
    fn connected(&self, peer: &Uid) {
        let _ = peer;
    }

    /// As [`Runtime::disconnected`].
    fn disconnected(&self, peer: &Uid, reason: &Reason) {
        let _ = (peer, reason);
    }
}

/// A handle to the state.
#[derive(Debug)]
pub struct State<T>(Arc<RwLock<T>>);

impl<T> Clone for State<T> {
    fn clone(&self) -> State<T> {
        State(self.0.clone())
    }
}

impl<T: Send + Sync + 'static> State<T> {
    /// A turn together with others that only read, taken when the future is polled first.
    pub fn shared(&self) -> impl Future<Output = OwnedRwLockReadGuard<T>> + Send + use<T> {
        // The executor's budget would make the first poll return without taking a place in the queue.
        unconstrained(self.0.clone().read_owned())
    }

    /// A turn alone, taken when the future is polled first.
    pub fn exclusive(&self) -> impl Future<Output = OwnedRwLockWriteGuard<T>> + Send + use<T> {
        unconstrained(self.0.clone().write_owned())
    }
}

impl<T: ExclusiveRuntime> Exclusive<T> {
    /// Keeps `state`.
    pub fn new(state: T) -> Exclusive<T> {
        Exclusive { state: State(Arc::new(RwLock::new(state))), waiting: Mutex::default() }
    }

    /// Runs a hook: at once if the state can be had and no earlier hook waits, otherwise when its turn has come.
    fn hook(&self, hook: impl FnOnce(&T) + Send + 'static) {
        let mut turn = Box::pin(self.state.shared());
        let mut waiting = self.waiting.lock();
        let earlier = waiting.take().filter(|task| !task.is_finished());
        let ready = turn.as_mut().now_or_never();
        if let (None, Some(state)) = (&earlier, &ready) {
            drop(waiting);
            return hook(state);
        }
        *waiting = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            if let Some(earlier) = earlier {
                // An error is the panic of that hook, which harms no other.
                let _ = earlier.await;
            }
            let state = match ready {
                Some(state) => state,
                None => turn.await,
            };
            hook(&state);
        })));
    }
}

impl<T: ExclusiveRuntime> Runtime for Exclusive<T> {
    fn dispatch(self: Arc<Self>, method: &str, args: Args, call: Call) -> Option<Handling> {
        T::dispatch(&self.state, method, args, call)
    }

    fn methods(&self) -> Vec<Method> {
        T::methods()
    }

    fn connected(&self, peer: &Uid) {
        let peer = peer.clone();
        self.hook(move |state| state.connected(&peer));
    }

    fn disconnected(&self, peer: &Uid, reason: &Reason) {
        let (peer, reason) = (peer.clone(), reason.clone());
        self.hook(move |state| state.disconnected(&peer, &reason));
    }
}

impl<T> fmt::Debug for Exclusive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exclusive").finish_non_exhaustive()
    }
}
