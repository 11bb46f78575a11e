//! The one who waits for the outcome of a request: gets its reply, may give it up, and is never left waiting.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mosaic_proto::Uid;
use mosaic_proto::wire::Kind;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::encode::{Encoded, encode_value};
use crate::error::{HandlerError, RemoteError};
use crate::link::Write;
use crate::manager::Shared;
use crate::message::{Message, Origin};
use crate::runtime::{Cancelled, HandlerResult};

/// Who is to get the outcome of a call.
pub(super) struct Caller {
    pub(super) shared: Arc<Shared>,
    pub(super) sender: Uid,
    pub(super) method: String,
    id: u64,
    wants_reply: bool,
    delimited: bool,
    pub(super) deadline: Option<Instant>,
    pub(super) cancelled: Cancelled,
    /// When the handler was started, if somebody wants to know.
    pub(super) since: Option<std::time::Instant>,
    registered: bool,
    origin: Option<Origin>,
    pub(super) write: Write,
}

impl Caller {
    pub(super) fn of(shared: &Arc<Shared>, message: &Message, write: Write) -> Caller {
        let envelope = message.envelope();
        Caller {
            shared: shared.clone(),
            sender: message.sender.clone(),
            method: envelope.method.to_owned(),
            id: envelope.id,
            wants_reply: envelope.wants_reply,
            delimited: message.delimited(),
            deadline: None,
            cancelled: message.origin.given_up(),
            since: None,
            registered: false,
            origin: Some(message.origin.clone()),
            write,
        }
    }

    /// The request has its turn. False if it was given up before.
    pub(super) fn wants_it(&self) -> bool {
        match &self.origin {
            Some(Origin::Link { link, express: false, .. }) => link.inbox.start(self.id),
            _ => !self.cancelled.is_cancelled(),
        }
    }

    /// From here on the caller can cancel the handler; perhaps it just did.
    pub(super) fn register(&mut self) -> CancellationToken {
        self.registered = true;
        let token = self.cancelled.token();
        if let Some(Origin::Link { link, .. }) = &self.origin {
            link.running.lock().insert(self.id, token.clone());
            if link.inbox.was_cancelled(self.id) {
                token.cancel();
            }
        }
        token
    }

    /// An error if it could be anyone who asks this runtime to stop.
    pub(super) fn may_stop(&self) -> Result<(), Box<RemoteError>> {
        if let Some(Origin::Link { link, .. }) = &self.origin {
            let refused = |message: &str| Err(Box::new(RemoteError::new(RemoteError::REFUSED, message)));
            if !link.is_authenticated() {
                return refused(
                    "only those may stop this runtime who hold its job's credential or are the same user",
                );
            }
            if !self.shared.accepts_stop_from(&self.sender) {
                return refused("this runtime's configuration does not let you stop it");
            }
        }
        debug!(peer = %self.sender, "stopped by a peer");
        Ok(())
    }

    /// The caller has given up: nothing is sent.
    pub(super) fn forget(&mut self) {
        debug!(peer = %self.sender, method = %self.method, id = self.id, "cancelled by the caller");
        if let Some(origin) = self.origin.take() {
            self.unregister(&origin);
        }
    }

    fn unregister(&self, origin: &Origin) {
        if let Origin::Link { link, .. } = origin
            && self.registered
        {
            link.running.lock().remove(&self.id);
        }
    }

    pub(super) fn finish(&mut self, result: HandlerResult) {
        self.shared.tally.stopwatch.handler_ended(self.since);
        match result {
            Ok(encoded) => self.reply(Kind::Reply, encoded),
            Err(HandlerError(mut error)) => {
                error.ran = true;
                self.fail(*error);
            }
        }
    }

    /// There is no room for another handler.
    pub(super) fn refuse(&mut self) {
        self.shared.tally.refused.fetch_add(1, Ordering::Relaxed);
        self.fail(RemoteError::new(RemoteError::OVERLOADED, "too many handlers run already"));
    }

    pub(super) fn fail(&mut self, mut error: RemoteError) {
        error.uid = self.shared.uid.to_string();
        error.method.clone_from(&self.method);
        if self.wants_reply {
            let encoded = encode_value(&error).unwrap_or_default();
            self.reply(Kind::Error, encoded);
        } else {
            warn!(peer = %self.sender, %error, "a one-way message failed");
            self.shared.report_failure(&self.sender, &error);
            self.forget();
        }
    }

    fn reply(&mut self, kind: Kind, encoded: Encoded) {
        let Some(origin) = self.origin.take() else { return };
        self.unregister(&origin);
        if self.wants_reply {
            origin.reply(kind, self.id, encoded, self.delimited, self.write);
        }
    }
}

impl Drop for Caller {
    /// A handler that ends without an outcome (its executor was shut down) must not leave its caller waiting.
    fn drop(&mut self) {
        if self.origin.is_some() {
            self.write = Write::Now;
            let mut error =
                RemoteError::new(RemoteError::STOPPED, "the runtime stopped before the handler ended");
            error.ran = true;
            self.wants_reply.then(|| self.fail(error));
        }
    }
}
