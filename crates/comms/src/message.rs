//! A message that was received and has not been handled: what `recv` gives and `process_msg` takes.

use std::fmt;
use std::sync::Arc;

use mosaic_proto::limits::LARGE_FRAME;
use mosaic_proto::wire::{Body, Codec, Envelope, Facts, Incoming, Kind, Outgoing, Target};
use mosaic_proto::{Session, Uid};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::args::Args;
use crate::decode::DecodeError;
use crate::encode::{Encoded, encode_value};
use crate::error::RemoteError;
use crate::link::{Link, Write};
use crate::objects::ObjectRef;
use crate::pool::{Buffer, Received};

/// A message that was received and has not been handled.
///
/// # Example
/// ```
/// use mosaic_comms::{CommsManager, Config, Methods, kwargs};
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Not started by `start`, which would listen.
/// let comms = CommsManager::new("monitor", Methods::new(), Config::default().address("127.0.0.1"))?;
/// comms.connect_recv().await?;
/// comms.send("monitor", "note", kwargs! { n: 7 }).await?;
/// let (sender, message) = comms.recv().await?;
/// assert_eq!((sender.as_str(), message.method().as_str(), message.wants_reply()), ("monitor", "note", false));
/// assert_eq!(message.into_args()?.get::<u32>("n")?, 7);
/// # comms.stop().await;
/// # Ok(())
/// # }
/// ```
pub struct Message {
    pub(crate) sender: Uid,
    incoming: Incoming<Buffer>,
    /// The buffers of a message that a runtime sent to itself.
    shared: Vec<bytes::Bytes>,
    pub(crate) origin: Origin,
    /// When its sender gives up.
    pub(crate) deadline: Option<Instant>,
}

/// Where a message came from, and so where its reply goes.
#[derive(Clone)]
pub(crate) enum Origin {
    Link {
        link: Arc<Link>,
        session: Session,
        express: bool,
    },
    /// From this very runtime; the ticket is taken by the reply, the token cancelled by a caller who gives up.
    Own {
        ticket: Arc<Mutex<Option<oneshot::Sender<OwnReply>>>>,
        given_up: CancellationToken,
    },
}

/// The reply to a message that a runtime sent to itself: nothing of it was encoded for a wire.
pub(crate) type OwnReply = Result<Encoded, RemoteError>;

impl Message {
    pub(crate) fn new(
        sender: Uid,
        incoming: Incoming<Buffer>,
        shared: Vec<bytes::Bytes>,
        origin: Origin,
    ) -> Message {
        let remaining = incoming.facts().remaining;
        let deadline = remaining.map(|remaining| Instant::now() + remaining);
        Message { sender, incoming, shared, origin, deadline }
    }

    /// The method that is called.
    pub fn method(&self) -> String {
        self.incoming.method().to_owned()
    }

    /// The object that is called, if it is not the runtime itself.
    pub fn object(&self) -> Option<ObjectRef> {
        self.incoming.command().map(ObjectRef::of)
    }

    /// Whether the sender awaits a reply.
    pub fn wants_reply(&self) -> bool {
        self.incoming.facts().wants_reply
    }

    /// Takes the arguments out.
    ///
    /// # Errors
    /// If the body is not a map of arguments.
    pub fn into_args(mut self) -> Result<Args, DecodeError> {
        let buffers = self.take_buffers();
        Args::new(self.incoming.into_body(), buffers)
    }

    pub(crate) fn facts(&self) -> Facts {
        self.incoming.facts()
    }

    pub(crate) fn method_name(&self) -> &str {
        self.incoming.method()
    }

    pub(crate) fn target(&self) -> Option<Target<'_>> {
        self.incoming.command()
    }

    /// The bytes of the method, if the runtime itself is called. The methods of objects have whatever names they like.
    pub(crate) fn own_method(&self) -> Option<&[u8]> {
        self.incoming.command().is_none().then(|| self.incoming.method_bytes())
    }

    pub(crate) fn trace(&self) -> Option<&str> {
        self.incoming.trace()
    }

    pub(crate) fn body(&self) -> &[u8] {
        self.incoming.body()
    }

    pub(crate) fn cost(&self) -> u64 {
        self.incoming.cost()
    }

    pub(crate) fn delimited(&self) -> bool {
        self.incoming.delimited()
    }

    pub(crate) fn take_buffers(&mut self) -> Vec<Received> {
        let pooled = self.incoming.take_buffers();
        match pooled.is_empty() {
            true => std::mem::take(&mut self.shared).into_iter().map(Received::Shared).collect(),
            false => pooled.into_iter().map(Received::Pooled).collect(),
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("sender", &self.sender)
            .field("method", &self.method())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Link { .. } => "Link",
            Origin::Own { .. } => "Own",
        })
    }
}

impl Origin {
    /// The message has been taken by its handler: its room in the window is free again.
    pub(crate) fn consumed(&self, cost: u64) {
        if let Origin::Link { link, session, express: false } = self {
            link.queue(Write::Pump, |machine, now| machine.consumed(now, *session, cost));
        }
    }

    pub(crate) fn reply(&self, kind: Kind, id: u64, encoded: Encoded, delimited: bool, write: Write) {
        match self {
            Origin::Link { link, session, .. } => {
                // Without a method or an object, the envelope is never too large.
                if let Some(outgoing) = reply_message(kind, id, encoded, delimited) {
                    link.reply(write, *session, id, outgoing);
                }
            }
            Origin::Own { ticket, .. } => {
                let Some(ticket) = ticket.lock().take() else { return };
                let result = match kind {
                    Kind::Error => Err(decode_error(&encoded.body)),
                    Kind::Reply | Kind::Message => Ok(encoded),
                };
                // The caller may have gone in this very moment.
                let _ = ticket.send(result);
            }
        }
    }
}

/// The error that travelled as this body.
pub(crate) fn decode_error(body: &[u8]) -> RemoteError {
    crate::decode::decode_value(body, Vec::new()).unwrap_or_else(|error| {
        RemoteError::new(RemoteError::ERROR, format!("an error that cannot be read: {error}"))
    })
}

/// Encodes a reply, or the error that says why it can't be.
fn reply_message(kind: Kind, id: u64, encoded: Encoded, delimited: bool) -> Option<Outgoing> {
    let envelope = Envelope {
        kind,
        id,
        method: "",
        wants_reply: false,
        express: false,
        depth: 0,
        command: None,
        remaining: None,
        codec: Codec::MessagePack,
        trace: None,
    };
    let outgoing = match encoded.body.len() < LARGE_FRAME {
        true => Outgoing::new(&envelope, Body::Copy(&encoded.body), encoded.buffers),
        false => Outgoing::new(&envelope, Body::Refer(encoded.body.into()), encoded.buffers),
    };
    let mut outgoing = outgoing.ok()?;
    if delimited {
        outgoing.delimit();
    }
    Some(outgoing)
}

/// The caller never takes a reply as large as the one that a handler gave: it gets an error instead.
pub(crate) fn refuse_reply(link: &Arc<Link>, session: Session, id: u64, cost: u64, limit: u64) {
    let message = format!("the result takes {cost} bytes, and the caller takes {limit} at most");
    let mut error = RemoteError::new(RemoteError::ENCODE, message);
    error.ran = true;
    let reply = encode_value(&error).ok().and_then(|encoded| reply_message(Kind::Error, id, encoded, false));
    if let Some(outgoing) = reply {
        link.reply(Write::Pump, session, id, outgoing);
    }
}

/// Makes the message of a request that came over a link.
pub(crate) fn arrival(link: &Arc<Link>, incoming: Incoming<Buffer>, session: Session) -> Message {
    let express = incoming.facts().express;
    let origin = Origin::Link { link: link.clone(), session, express };
    Message::new(link.peer.clone(), incoming, Vec::new(), origin)
}
