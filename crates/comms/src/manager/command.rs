//! Commands: messages for the objects that live in a runtime, by the same way out as those for the runtime itself.

use serde::de::DeserializeOwned;

use super::draft::Draft;
use super::{CommsManager, SendMessage, SendRecv};
use crate::error::CallError;
use crate::kwargs::IntoArgs;
use crate::objects::{ObjectRef, Objects};

impl CommsManager {
    /// The objects that live in this runtime.
    pub fn objects(&self) -> &Objects {
        &self.shared.objects
    }

    /// Sends a command to an object of `uid` one way, as [`send`](CommsManager::send) does to the runtime itself.
    ///
    /// # Errors
    /// As [`send`](CommsManager::send). That there is no such object comes as [`Event::Failed`](crate::Event::Failed).
    ///
    /// # Cancel safety
    /// If it is dropped while it waits for room, the command is not sent.
    pub fn cmd(
        &self,
        uid: impl AsRef<str>,
        object: ObjectRef,
        method: impl AsRef<str>,
        args: impl IntoArgs,
    ) -> SendMessage {
        SendMessage::from_draft(Draft::new(self, uid.as_ref(), method.as_ref(), args).to(object))
    }

    /// Calls a method of an object of `uid`, and waits for its result, decoded to `R`.
    ///
    /// # Errors
    /// As [`send_recv`](CommsManager::send_recv); an unknown object is a remote error of the kind
    /// [`UNKNOWN_OBJECT`](crate::RemoteError::UNKNOWN_OBJECT) that says what there is.
    ///
    /// # Cancel safety
    /// If it is dropped, the call is cancelled at the peer.
    ///
    /// # Example
    /// See [`Objects`].
    pub fn cmd_recv<R: DeserializeOwned>(
        &self,
        uid: impl AsRef<str>,
        object: ObjectRef,
        method: impl AsRef<str>,
        args: impl IntoArgs,
    ) -> SendRecv<R> {
        SendRecv::from_draft(Draft::new(self, uid.as_ref(), method.as_ref(), args).to(object))
    }

    /// As [`cmd`](CommsManager::cmd), waiting.
    ///
    /// # Errors
    /// As [`cmd`](CommsManager::cmd).
    ///
    /// # Panics
    /// On a thread that runs async tasks.
    #[track_caller]
    pub fn blocking_cmd(
        &self,
        uid: impl AsRef<str>,
        object: ObjectRef,
        method: impl AsRef<str>,
        args: impl IntoArgs,
    ) -> Result<(), CallError> {
        self.cmd(uid, object, method, args).blocking_wait()
    }

    /// As [`cmd_recv`](CommsManager::cmd_recv), waiting.
    ///
    /// # Errors
    /// As [`cmd_recv`](CommsManager::cmd_recv).
    ///
    /// # Panics
    /// On a thread that runs async tasks.
    #[track_caller]
    pub fn blocking_cmd_recv<R: DeserializeOwned + 'static>(
        &self,
        uid: impl AsRef<str>,
        object: ObjectRef,
        method: impl AsRef<str>,
        args: impl IntoArgs,
    ) -> Result<R, CallError> {
        self.cmd_recv(uid, object, method, args).blocking_wait()
    }
}
