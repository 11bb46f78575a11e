//! Reading one connection, on whichever thread: bytes become messages, and go to the state machine in their order.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use mosaic_proto::link::ConnectionId;
use mosaic_proto::wire::{Item, Lane, Receiver};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::pump::Turn;
use super::{Borrower, Link, Write};
use crate::connection::PoolBuffers;
use crate::pool::Buffer;
use crate::transport::{AnyStream, READ_AT_ONCE};

/// Reads of one connection before the others of the thread get their turn. Two of [`READ_AT_ONCE`] take about 60 us,
/// which is what a small message on another connection waits at most.
const READS: usize = 2;

/// Bytes that are still to come of one content beyond which the loop of another language leaves it to the I/O thread, whose
/// turns take less time.
const LARGE: usize = READS * READ_AT_ONCE;

thread_local! {
    /// What the connections of a thread are read into, one after the other: an idle link holds no memory for it.
    static SCRATCH: RefCell<Buffer> = RefCell::new(Buffer::new(READ_AT_ONCE));
}

/// One connection, as it is read.
pub(super) struct Reading {
    pub(super) link: Arc<Link>,
    pub(super) lane: Lane,
    pub(super) connection: ConnectionId,
    pub(super) stream: AnyStream,
    /// Whoever holds it reads, and hands over what was read before letting it go: that keeps the order.
    parser: Mutex<Parser>,
    /// The loop of another language has left a large content to the I/O thread, which reads at once meanwhile.
    is_left: AtomicBool,
    /// The I/O thread has read, for the executor that found it at that.
    pub(super) free: Notify,
}

/// What becomes of the bytes.
pub(super) struct Parser {
    receiver: Receiver<Buffer>,
    items: Vec<Item<Buffer>>,
    /// What the peer lends us, if we look there.
    borrower: Option<Borrower>,
    /// Why nothing can be read any more.
    failed: Option<String>,
    /// A read has begun and not ended: one that panicked has left nobody knows what.
    is_amid: bool,
}

/// What a turn has brought, and what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing was there.
    Nothing,
    /// All that was there has been read.
    Drained,
    /// There may be more.
    Perhaps,
    /// Another thread reads.
    Busy,
}

impl Reading {
    pub(super) fn new(
        link: Arc<Link>,
        lane: Lane,
        connection: ConnectionId,
        stream: AnyStream,
        parser: Parser,
    ) -> Reading {
        Reading {
            link,
            lane,
            connection,
            stream,
            parser: Mutex::new(parser),
            is_left: AtomicBool::new(false),
            free: Notify::new(),
        }
    }

    pub(super) fn is_left(&self) -> bool {
        self.is_left.load(Ordering::Acquire)
    }

    pub(super) fn set_left(&self, left: bool) {
        self.is_left.store(left, Ordering::Release);
    }

    /// Ends when there may be something to read or, if the system had taken no more, it takes more. For the one whose
    /// reactor has the stream.
    pub(super) async fn wait(&self, blocked: bool) -> io::Result<Turn> {
        let paused = self.lane == Lane::Control && self.link.look(|machine| machine.reads_paused());
        poll_fn(|context| {
            if !paused && let Poll::Ready(ready) = self.stream.poll_readable(context) {
                return Poll::Ready(ready.map(|()| Turn::Read));
            }
            if blocked && let Poll::Ready(ready) = self.stream.poll_writable(context) {
                return Poll::Ready(ready.map(|()| Turn::Write));
            }
            Poll::Pending
        })
        .await
    }

    /// Takes what was read before the connection became a lane.
    ///
    /// # Errors
    /// Why the connection is over.
    pub(super) fn begin(&self, unread: &[u8]) -> Result<(), String> {
        self.parser.lock().take(self, unread)
    }

    /// Whether most of a large content is still to come; `None` while another thread reads.
    pub(super) fn is_amid_large(&self) -> Option<bool> {
        let mut parser = self.parser.try_lock()?;
        Some(parser.receiver.direct().is_some_and(|(buffer, filled)| buffer.as_ref().len() - filled > LARGE))
    }

    /// Reads what is there, up to a bound, and hands it to the link.
    ///
    /// # Errors
    /// Why the connection is over.
    pub(super) fn read(&self) -> Result<Left, String> {
        let Some(mut parser) = self.parser.try_lock() else { return Ok(Left::Busy) };
        if let Some(why) = &parser.failed {
            return Err(why.clone());
        }
        if std::mem::replace(&mut parser.is_amid, true) {
            return Err("a read of it panicked".to_owned());
        }
        let left = self.read_in_turn(&mut parser);
        parser.is_amid = false;
        parser.failed = left.clone().err();
        left
    }

    fn read_in_turn(&self, parser: &mut Parser) -> Result<Left, String> {
        for turn in 0..READS {
            let (read, room) = match parser.receiver.direct() {
                Some(_) => parser.read_direct(self)?,
                None => SCRATCH.with_borrow_mut(|scratch| parser.read_into(self, scratch))?,
            };
            if read < room {
                self.stream.drained();
                return Ok(if read == 0 && turn == 0 { Left::Nothing } else { Left::Drained });
            }
        }
        Ok(Left::Perhaps)
    }
}

impl Parser {
    pub(super) fn new(receiver: Receiver<Buffer>, borrower: Option<Borrower>) -> Parser {
        Parser { receiver, items: Vec::new(), borrower, failed: None, is_amid: false }
    }

    /// Reads into the buffer that the user will get. Returns how much, and for how much there was room.
    fn read_direct(&mut self, reading: &Reading) -> Result<(usize, usize), String> {
        let Some((buffer, filled)) = self.receiver.direct() else { return Ok((0, 0)) };
        let room = (buffer.as_ref().len() - filled).min(READ_AT_ONCE);
        let read = bytes_read(reading.stream.try_fill(buffer, filled))?;
        if read > 0 {
            self.welcome(reading);
            let item = self.receiver.filled(read).map_err(|error| error.to_string())?;
            self.items.extend(item);
            self.hand_over(reading, read)?;
        }
        Ok((read, room))
    }

    /// Reads what is small, or the beginning of what is large. Returns the same.
    fn read_into(&mut self, reading: &Reading, scratch: &mut Buffer) -> Result<(usize, usize), String> {
        // One that was lent out when a read panicked has not come back.
        if scratch.as_ref().is_empty() {
            *scratch = Buffer::new(READ_AT_ONCE);
        }
        let read = bytes_read(reading.stream.try_fill(scratch, 0))?;
        if read > 0 {
            self.take(reading, &scratch.as_ref()[..read])?;
        }
        Ok((read, READ_AT_ONCE))
    }

    /// Maps what the peer has shown by the bytes that were read.
    fn welcome(&mut self, reading: &Reading) {
        if let Some(borrower) = &mut self.borrower {
            while let Some(descriptor) = reading.stream.take_descriptor() {
                borrower.welcome(&descriptor);
            }
        }
    }

    fn take(&mut self, reading: &Reading, mut bytes: &[u8]) -> Result<(), String> {
        self.welcome(reading);
        let read = bytes.len();
        let allowance = reading.link.look(|machine| machine.allowance(reading.lane));
        let pool = reading.link.context.pool();
        let mut buffers = PoolBuffers { pool, borrower: self.borrower.as_ref() };
        while !bytes.is_empty() {
            let item = self.receiver.feed(&mut bytes, allowance, &mut buffers);
            self.items.extend(item.map_err(|error| error.to_string())?);
        }
        self.hand_over(reading, read)
    }

    /// Hands what is complete to the state machine, under one lock. That bytes came at all is a sign of life.
    fn hand_over(&mut self, reading: &Reading, read: usize) -> Result<(), String> {
        let read = read + self.receiver.take_stood_for() as usize;
        let (lane, connection) = (reading.lane, reading.connection);
        let write = match lane {
            // What is large is for the other pump to copy.
            Lane::Control => Write::Urgent,
            Lane::Data => Write::Now,
        };
        let taken = reading.link.run(write, |machine, now| {
            machine.heard(now, lane, connection, read);
            self.items.drain(..).try_for_each(|item| machine.handle_item(now, lane, connection, item))
        });
        taken.map_err(|violation| violation.to_string())
    }
}

/// How much was read; 0 if there is nothing for now.
fn bytes_read(outcome: io::Result<usize>) -> Result<usize, String> {
    match outcome {
        Ok(0) => Err("the peer closed it".to_owned()),
        Ok(read) => Ok(read),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
        Err(error) => Err(error.to_string()),
    }
}
