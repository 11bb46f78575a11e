//! How a stream becomes a lane: greeting and READY, in both roles, bounded in bytes and in time.
//!
//! ```text
//! dialler   greeting READY ------------------>            acceptor
//!                          <------ greeting, READY | ERROR
//! ```
//!
//! Whatever is wrong with a stranger's bytes costs that one connection and a line in the log.

use std::time::Duration;

use mosaic_proto::limits::Limits;
use mosaic_proto::wire::{
    Command, GREETING_LEN, Item, Lane, Location, Ready, Receiver, Refusal, RefusalCode, WireError,
    check_greeting, greeting,
};
use thiserror::Error;

use crate::context::Context;
use crate::link::Borrower;
use crate::pool::{Buffer, Pool};
use crate::transport::{AnyStream, read_some, write_all};

/// How long a handshake may take, from the first byte to READY. A stranger's half-open connection lives no longer.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes read at once before a connection is known: a greeting and a READY.
const READ: usize = 1024;

/// Why a stream did not become a lane.
#[derive(Debug, Error)]
pub(crate) enum HandshakeError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the peer answered {0}")]
    Refused(Refusal),
    #[error("{0}")]
    Unwanted(Refusal),
    #[error("the peer sent {0} where READY belongs")]
    NotReady(String),
    #[error("the handshake took longer than {:.0} s", HANDSHAKE_TIMEOUT.as_secs_f64())]
    Timeout,
    #[error("too many others are in their handshake")]
    Evicted,
    #[error("the dial is not wanted any more")]
    Abandoned,
}

/// Gives the receiver of a connection its memory.
pub(crate) struct PoolBuffers<'a> {
    pub(crate) pool: &'a Pool,
    /// What the peer lends, if we look there.
    pub(crate) borrower: Option<&'a Borrower>,
}

impl mosaic_proto::wire::Buffers for PoolBuffers<'_> {
    type Buffer = Buffer;

    fn allocate(&mut self, len: usize) -> Buffer {
        self.pool.take(len)
    }

    fn find(&mut self, location: Location) -> Option<Buffer> {
        self.borrower?.borrow(location).map(Buffer::from)
    }
}

/// A stream on its way to become a lane: what it has read goes on with it.
pub(crate) struct Opening {
    pub(crate) stream: AnyStream,
    pub(crate) receiver: Receiver<Buffer>,
    /// Bytes that were read and not yet given to the receiver.
    pub(crate) unread: Vec<u8>,
    /// What the peer lends us, if we have told it that we look there.
    pub(crate) borrower: Option<Borrower>,
    /// Whether the peer looks at what we lend.
    pub(crate) lends: bool,
    context: Context,
}

impl Opening {
    pub(crate) fn new(stream: AnyStream, limits: Limits, context: &Context) -> Opening {
        let (receiver, context) = (Receiver::new(limits), context.clone());
        Opening { stream, receiver, unread: Vec::new(), borrower: None, lends: false, context }
    }

    /// Sends our greeting and, with it, our READY: a dialler need not wait for the acceptor's greeting.
    pub(crate) async fn send_greeting(&mut self, ready: Option<Ready>) -> Result<(), HandshakeError> {
        let mut bytes = greeting().to_vec();
        if let Some(mut ready) = ready {
            self.look_elsewhere(&mut ready);
            Command::Ready(ready).encode(&mut bytes);
        }
        Ok(write_all(&*self.stream, &bytes).await?)
    }

    pub(crate) async fn send_ready(&mut self, mut ready: Ready) -> Result<(), HandshakeError> {
        self.look_elsewhere(&mut ready);
        self.send_command(&Command::Ready(ready)).await
    }

    /// Has the peer told, by our READY, that we look for contents in memory that it lends us; on the data lane, since only
    /// that carries large ones.
    fn look_elsewhere(&mut self, ready: &mut Ready) {
        if let Some(mosaic) = ready.mosaic.as_mut().filter(|mosaic| mosaic.lane == Lane::Data)
            && self.can_share()
        {
            mosaic.looks_elsewhere = true;
            self.stream.keep_descriptors();
            self.receiver.look_elsewhere();
            self.borrower = Some(Borrower::new(&self.context));
        }
    }

    fn can_share(&self) -> bool {
        self.stream.carries_descriptors() && self.context.may_share() > 0
    }

    /// Tells the peer why not. That it can't be told is no further error: it is gone then.
    pub(crate) async fn refuse(&mut self, refusal: &Refusal) {
        let _ = self.send_command(&Command::Error(refusal.clone())).await;
        self.stream.finish();
    }

    async fn send_command(&mut self, command: &Command) -> Result<(), HandshakeError> {
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        Ok(write_all(&*self.stream, &bytes).await?)
    }

    /// Reads the peer's greeting and READY.
    pub(crate) async fn receive_ready(&mut self) -> Result<Ready, HandshakeError> {
        while !check_greeting(&self.unread)? {
            self.read_more().await?;
        }
        self.unread.drain(..GREETING_LEN);
        loop {
            let mut bytes = self.unread.as_slice();
            // Nothing is allowed before READY, so that a stranger's message takes no memory.
            let mut buffers = PoolBuffers { pool: self.context.pool(), borrower: None };
            let item = self.receiver.feed(&mut bytes, 0, &mut buffers)?;
            let taken = self.unread.len() - bytes.len();
            self.unread.drain(..taken);
            match item {
                None => self.read_more().await?,
                Some(Item::Command(Command::Ready(ready))) => {
                    let looks = ready.mosaic.as_ref().is_some_and(|mosaic| mosaic.looks_elsewhere);
                    self.lends = looks && self.can_share();
                    return Ok(ready);
                }
                Some(Item::Command(Command::Error(refusal))) => return Err(HandshakeError::Refused(refusal)),
                Some(Item::Command(other)) => return Err(HandshakeError::NotReady(other.name().to_owned())),
                Some(Item::Message(_)) => return Err(HandshakeError::NotReady("a message".to_owned())),
            }
        }
    }

    async fn read_more(&mut self) -> Result<(), HandshakeError> {
        let start = self.unread.len();
        self.unread.resize(start + READ, 0);
        let read = read_some(&*self.stream, &mut self.unread[start..]).await;
        self.unread.truncate(start + read.as_ref().copied().unwrap_or(0));
        Ok(read.map(drop)?)
    }
}

/// What a peer is told whose bytes make no sense, where it can be told at all.
pub(crate) fn malformed(error: &WireError) -> Refusal {
    let code = if matches!(error, WireError::MosaicVersion { .. }) {
        RefusalCode::Version
    } else {
        RefusalCode::Malformed
    };
    Refusal { code, detail: error.to_string() }
}
