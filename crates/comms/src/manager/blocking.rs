//! The synchronous twins, for plain threads and for `spawn_blocking`. Each waits for its async namesake.

use std::future::{Future, IntoFuture};
use std::panic::catch_unwind;

use mosaic_proto::Uid;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use super::{CommsManager, SendMessage, SendRecv};
use crate::config::Config;
use crate::error::{BindError, CallError, ConnectError, RecvError, StartError, WaitError};
use crate::kwargs::IntoArgs;
use crate::message::Message;
use crate::runtime::IntoRuntime;

/// Waits for a future on a thread that may block.
///
/// # Panics
/// On a thread that runs async tasks: it would stand still, and perhaps wait for itself.
#[track_caller]
pub(crate) fn block_on<F: Future>(executor: &Handle, name: &str, future: F) -> F::Output {
    // tokio alone knows whether this thread may block, and says so by a panic.
    let may_block =
        catch_unwind(std::panic::AssertUnwindSafe(|| executor.block_on(std::future::ready(())))).is_ok();
    assert!(
        may_block,
        "`blocking_{name}` was called on an async thread: use `{name}(..).await` there, or call it inside \
         `tokio::task::spawn_blocking`"
    );
    executor.block_on(future)
}

macro_rules! twin {
    ($(#[$doc:meta])* $blocking:ident, $name:ident ( $($arg:ident : $type:ty),* ) -> $result:ty) => {
        $(#[$doc])*
        ///
        /// # Panics
        /// On a thread that runs async tasks.
        #[track_caller]
        pub fn $blocking(&self, $($arg: $type),*) -> $result {
            block_on(&self.shared.executor, stringify!($name), self.$name($($arg),*))
        }
    };
}

impl CommsManager {
    twin!(/// As [`connect_recv`](CommsManager::connect_recv), waiting.
        blocking_connect_recv, connect_recv() -> Result<(), BindError>);
    twin!(/// As [`connect_send`](CommsManager::connect_send), waiting.
        blocking_connect_send, connect_send(uid: &str, address: &str, port: u16) -> Result<(), ConnectError>);
    twin!(/// As [`handshake`](CommsManager::handshake), waiting.
        blocking_handshake, handshake(uid: &str, address: &str, port: u16) -> Result<(), ConnectError>);
    twin!(/// As [`recv`](CommsManager::recv), waiting.
        blocking_recv, recv() -> Result<(Uid, Message), RecvError>);
    twin!(/// As [`process_msg`](CommsManager::process_msg), waiting.
        blocking_process_msg, process_msg(message: Message) -> ());
    twin!(/// As [`disconnect`](CommsManager::disconnect), waiting.
        blocking_disconnect, disconnect(uid: &str) -> ());
    twin!(/// As [`disconnect_send`](CommsManager::disconnect_send), waiting.
        blocking_disconnect_send, disconnect_send() -> ());
    twin!(/// As [`wait`](CommsManager::wait), waiting.
        blocking_wait, wait() -> ());
    twin!(/// As [`stop`](CommsManager::stop), waiting.
        blocking_stop, stop() -> ());

    /// As [`start`](CommsManager::start), waiting.
    ///
    /// # Errors
    /// As [`start`](CommsManager::start).
    ///
    /// # Panics
    /// On a thread that runs async tasks.
    #[track_caller]
    pub fn blocking_start(
        uid: impl AsRef<str>,
        runtime: impl IntoRuntime,
        config: Config,
    ) -> Result<CommsManager, StartError> {
        let context =
            config.context.clone().map_or_else(crate::Context::global, Ok).map_err(StartError::Context)?;
        let config = config.context(context.clone());
        let executor =
            config.executor.clone().map_or_else(|| context.executor(), Ok).map_err(StartError::Context)?;
        block_on(&executor, "start", CommsManager::start(uid, runtime, config))
    }

    /// As [`wait_for`](CommsManager::wait_for), waiting.
    ///
    /// # Errors
    /// As [`wait_for`](CommsManager::wait_for).
    ///
    /// # Panics
    /// On a thread that runs async tasks.
    #[track_caller]
    pub fn blocking_wait_for(&self, uid: impl AsRef<str>) -> Result<(), WaitError> {
        self.wait_for(uid).blocking_wait()
    }

    /// As [`wait_for_count`](CommsManager::wait_for_count), waiting.
    ///
    /// # Errors
    /// As [`wait_for_count`](CommsManager::wait_for_count).
    ///
    /// # Panics
    /// On a thread that runs async tasks.
    #[track_caller]
    pub fn blocking_wait_for_count(
        &self,
        pattern: impl Into<String>,
        count: usize,
    ) -> Result<Vec<Uid>, WaitError> {
        self.wait_for_count(pattern, count).blocking_wait()
    }

    /// As [`send`](CommsManager::send), waiting.
    ///
    /// # Errors
    /// As [`send`](CommsManager::send).
    ///
    /// # Panics
    /// On a thread that runs async tasks.
    #[track_caller]
    pub fn blocking_send(
        &self,
        uid: impl AsRef<str>,
        method: impl AsRef<str>,
        args: impl IntoArgs,
    ) -> Result<(), CallError> {
        self.send(uid, method, args).blocking_wait()
    }

    /// As [`send_recv`](CommsManager::send_recv), waiting.
    ///
    /// # Errors
    /// As [`send_recv`](CommsManager::send_recv).
    ///
    /// # Panics
    /// On a thread that runs async tasks.
    #[track_caller]
    pub fn blocking_send_recv<R: DeserializeOwned + 'static>(
        &self,
        uid: impl AsRef<str>,
        method: impl AsRef<str>,
        args: impl IntoArgs,
    ) -> Result<R, CallError> {
        self.send_recv(uid, method, args).blocking_wait()
    }
}

impl SendMessage {
    /// Sends it and waits, on a thread that may block.
    ///
    /// # Errors
    /// As [`CommsManager::send`].
    ///
    /// # Panics
    /// On a thread that runs async tasks.
    #[track_caller]
    pub fn blocking_wait(self) -> Result<(), CallError> {
        let executor = self.executor();
        block_on(&executor, "send", self.into_future())
    }
}

impl<R: DeserializeOwned + 'static> SendRecv<R> {
    /// Makes the call and waits, on a thread that may block.
    ///
    /// # Errors
    /// As [`CommsManager::send_recv`].
    ///
    /// # Panics
    /// On a thread that runs async tasks.
    #[track_caller]
    pub fn blocking_wait(self) -> Result<R, CallError> {
        let executor = self.executor();
        block_on(&executor, "send_recv", self.into_future())
    }
}
