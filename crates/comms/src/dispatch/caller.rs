//! The one who waits for the outcome of a request: gets its reply, may give it up, and is never left waiting.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use mosaic_proto::Uid;
use mosaic_proto::wire::{Facts, Kind, Target};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::elsewhere::{Cancelling, Slot};
use crate::encode::{Encoded, encode_value};
use crate::error::{HandlerError, RemoteError};
use crate::link::{Link, Write};
use crate::manager::Shared;
use crate::message::{Message, Origin};
use crate::pool::Received;
use crate::runtime::HandlerResult;
use crate::trace::Surroundings;

/// What is asked for and by whom: what the handler and whoever sees to its reply share.
pub(crate) struct Asked {
    /// Without its buffers, which belong to the handler.
    message: Message,
    /// Made only where somebody asks: most handlers are done before their caller could give up.
    given_up: OnceLock<CancellationToken>,
}

impl Asked {
    pub(crate) fn sender(&self) -> &Uid {
        &self.message.sender
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.message.deadline
    }

    pub(crate) fn wants_reply(&self) -> bool {
        self.message.wants_reply()
    }

    pub(super) fn facts(&self) -> Facts {
        self.message.facts()
    }

    pub(super) fn method(&self) -> &str {
        self.message.method_name()
    }

    pub(super) fn object(&self) -> Option<Target<'_>> {
        self.message.target()
    }

    /// The trace that the request belongs to, as its sender wrote it.
    pub(super) fn trace(&self) -> Option<&str> {
        self.message.trace()
    }

    /// What surrounds code that is run on behalf of this request, and has no span of its own.
    pub(crate) fn surroundings(&self) -> Surroundings {
        Surroundings::of_handler(self.facts().depth, self.trace().and_then(|text| text.parse().ok()))
    }

    /// The arguments of the call.
    pub(crate) fn body(&self) -> &[u8] {
        self.message.body()
    }

    /// Cancelled once the caller has given up.
    pub(crate) fn token(&self) -> CancellationToken {
        self.given_up.get_or_init(CancellationToken::new).clone()
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.given_up.get().is_some_and(CancellationToken::is_cancelled)
    }
}

/// Who is to get the outcome of a call.
pub(super) struct Caller {
    pub(super) shared: Arc<Shared>,
    pub(super) asked: Arc<Asked>,
    /// When the handler was started, if somebody wants to know.
    pub(super) since: Option<std::time::Instant>,
    registered: bool,
    /// Whether the outcome is still to come.
    waits: bool,
    pub(super) write: Write,
}

impl Caller {
    /// Who waits for what is to be done, and the buffers that it is to be done with.
    pub(super) fn of(shared: &Arc<Shared>, mut message: Message, write: Write) -> (Caller, Vec<Received>) {
        // A link's is found by the id of the request instead.
        let given_up = match &message.origin {
            Origin::Link { .. } => OnceLock::new(),
            Origin::Own { given_up, .. } => OnceLock::from(given_up.clone()),
        };
        let buffers = message.take_buffers();
        let asked = Arc::new(Asked { message, given_up });
        let (shared, since) = (shared.clone(), None);
        (Caller { shared, asked, since, registered: false, waits: true, write }, buffers)
    }

    fn id(&self) -> u64 {
        self.asked.facts().id
    }

    fn origin(&self) -> &Origin {
        &self.asked.message.origin
    }

    /// The request has its turn. False if it was given up before.
    pub(super) fn wants_it(&self) -> bool {
        match self.origin() {
            Origin::Link { link, session, express: false } => link.inbox.start(*session, self.id()),
            _ => !self.asked.is_cancelled(),
        }
    }

    /// From here on the caller can cancel the handler; perhaps it just did.
    pub(super) fn register(&mut self) -> CancellationToken {
        self.registered = true;
        let token = self.asked.token();
        if let Origin::Link { link, session, .. } = self.origin() {
            link.running.lock().insert((*session, self.id()), Cancelling::Token(token.clone()));
            if link.inbox.was_cancelled(*session, self.id()) {
                token.cancel();
            }
        }
        token
    }

    /// The same for a handler that runs elsewhere. Whether its caller just gave up.
    pub(super) fn register_elsewhere(&mut self, slot: &Arc<Slot>) -> bool {
        self.registered = true;
        let Origin::Link { link, session, .. } = self.origin() else { return false };
        link.running.lock().insert((*session, self.id()), Cancelling::Elsewhere(slot.clone()));
        // An express one could be cancelled before, by the token.
        link.inbox.was_cancelled(*session, self.id()) || self.asked.is_cancelled()
    }

    /// The link that the request has come over, if it is not this runtime's own.
    pub(super) fn link(&self) -> Option<&Arc<Link>> {
        match self.origin() {
            Origin::Link { link, .. } => Some(link),
            Origin::Own { .. } => None,
        }
    }

    /// An error if it could be anyone who asks this runtime to stop.
    pub(super) fn may_stop(&self) -> Result<(), Box<RemoteError>> {
        let sender = self.asked.sender();
        if let Origin::Link { link, .. } = self.origin() {
            let refused = |message: &str| Err(Box::new(RemoteError::new(RemoteError::REFUSED, message)));
            if !link.is_authenticated() {
                return refused(
                    "only those may stop this runtime who hold its job's credential or are the same user",
                );
            }
            if !self.shared.accepts_stop_from(sender) {
                return refused("this runtime's configuration does not let you stop it");
            }
        }
        debug!(peer = %sender, "stopped by a peer");
        Ok(())
    }

    /// The caller has given up: nothing is sent.
    pub(super) fn forget(&mut self) {
        debug!(peer = %self.asked.sender(), method = %self.asked.method(), id = self.id(), "cancelled by the caller");
        self.end();
    }

    /// The outcome is there, or nobody waits for it. False if that was so before.
    fn end(&mut self) -> bool {
        let registered = std::mem::take(&mut self.registered);
        if let Origin::Link { link, session, .. } = self.origin()
            && registered
        {
            link.running.lock().remove(&(*session, self.id()));
        }
        std::mem::take(&mut self.waits)
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
        error.method = self.asked.method().to_owned();
        if self.asked.facts().wants_reply {
            let encoded = encode_value(&error).unwrap_or_default();
            self.reply(Kind::Error, encoded);
        } else {
            warn!(peer = %self.asked.sender(), %error, "a one-way message failed");
            self.shared.report_failure(self.asked.sender(), &error);
            self.forget();
        }
    }

    fn reply(&mut self, kind: Kind, encoded: Encoded) {
        if self.end() && self.asked.facts().wants_reply {
            self.origin().reply(kind, self.id(), encoded, self.asked.message.delimited(), self.write);
        }
    }
}

impl Drop for Caller {
    /// A handler that ends without an outcome (its executor was shut down) must not leave its caller waiting.
    fn drop(&mut self) {
        if self.waits {
            self.write = Write::Now;
            let mut error =
                RemoteError::new(RemoteError::STOPPED, "the runtime stopped before the handler ended");
            error.ran = true;
            match self.asked.facts().wants_reply {
                true => self.fail(error),
                false => drop(self.end()),
            }
        }
    }
}
