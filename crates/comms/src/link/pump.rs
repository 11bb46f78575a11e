//! The pump of one connection: a task on an I/O thread, or on the urgent one, that reads it, and writes what others have left to it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::sync::Arc;
use std::task::Poll;

use mosaic_proto::link::ConnectionId;
use mosaic_proto::wire::{Item, Lane, Receiver};
use tracing::debug;

use super::recorder::Happening;
use super::{Link, Write};
use crate::connection::{Opening, PoolBuffers};
use crate::link::Borrower;
use crate::pool::Buffer;
use crate::transport::{AnyStream, READ_AT_ONCE};

/// Reads of one connection before the others of the thread get their turn. Two of [`READ_AT_ONCE`] take about 60 us,
/// which is what a small message on another connection waits at most.
const READS: usize = 2;

/// Reads one connection, and writes what others have left to it.
pub(super) struct Pump {
    link: Arc<Link>,
    lane: Lane,
    connection: ConnectionId,
    stream: AnyStream,
    receiver: Receiver<Buffer>,
    unread: Vec<u8>,
    /// What the peer lends us, if we look there.
    borrower: Option<Borrower>,
    items: Vec<Item<Buffer>>,
}

thread_local! {
    /// What the pumps of a thread read into, one after the other: an idle link holds no memory for it.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_AT_ONCE]);
}

/// What a pump found to do.
enum Turn {
    Read,
    Write,
}

/// What is left to read after a turn.
enum Left {
    Nothing,
    Perhaps,
}

impl Pump {
    pub(super) fn new(link: Arc<Link>, lane: Lane, connection: ConnectionId, opening: Opening) -> Pump {
        let Opening { stream, receiver, unread, borrower, .. } = opening;
        Pump { link, lane, connection, stream, receiver, unread, borrower, items: Vec::new() }
    }

    pub(super) async fn run(mut self) {
        let over = self.link.over.clone();
        let end = tokio::select! {
            biased;
            () = over.cancelled() => None,
            end = self.carry() => Some(end),
        };
        if let Some(end) = end {
            debug!(peer = %self.link.peer, lane = ?self.lane, why = %end, "connection ended");
            self.link.record(Happening::Closed { lane: self.lane, why: end });
        }
        self.stream.close();
        self.link.detach(self.lane, self.connection);
    }

    /// Carries bytes until the connection ends, and says why it did.
    async fn carry(&mut self) -> String {
        let early = std::mem::take(&mut self.unread);
        if let Err(why) = self.take(&early) {
            return why;
        }
        self.link.flush(self.lane);
        loop {
            match self.turn().await {
                Ok(Turn::Read) => match self.read() {
                    Ok(Left::Nothing) => {}
                    // The executor goes on reading here for as long as there is something, unless it is told to look.
                    Ok(Left::Perhaps) => tokio::task::yield_now().await,
                    Err(why) => return why,
                },
                Ok(Turn::Write) => {
                    // What is ready to run queues its messages first, and all go in one write.
                    tokio::task::yield_now().await;
                    self.link.flush(self.lane);
                }
                Err(error) => return error.to_string(),
            }
        }
    }

    async fn turn(&self) -> std::io::Result<Turn> {
        let wake = &self.link.wake[self.lane.index()];
        let mut woken = std::pin::pin!(wake.notified());
        let paused = self.lane == Lane::Control && self.link.look(|machine| machine.reads_paused());
        let mut waits_to_write = self.link.is_blocked(self.lane);
        poll_fn(|context| {
            if !paused && let Poll::Ready(ready) = self.stream.poll_readable(context) {
                return Poll::Ready(ready.map(|()| Turn::Read));
            }
            if woken.as_mut().poll(context).is_ready() {
                waits_to_write = self.link.is_blocked(self.lane);
                if !waits_to_write {
                    return Poll::Ready(Ok(Turn::Write));
                }
                woken.set(wake.notified());
                let _ = woken.as_mut().poll(context);
            }
            if waits_to_write && let Poll::Ready(ready) = self.stream.poll_writable(context) {
                self.link.unblock(self.lane);
                return Poll::Ready(ready.map(|()| Turn::Write));
            }
            Poll::Pending
        })
        .await
    }

    /// Reads what is there, up to a bound, and hands it to the link.
    fn read(&mut self) -> Result<Left, String> {
        for _ in 0..READS {
            let more = if self.receiver.direct().is_some() {
                self.read_direct()?
            } else {
                SCRATCH.with_borrow_mut(|scratch| self.read_into(scratch))?
            };
            if !more {
                self.stream.drained();
                return Ok(Left::Nothing);
            }
        }
        Ok(Left::Perhaps)
    }

    /// Reads into the buffer that the user will get. False if there is no more for now.
    fn read_direct(&mut self) -> Result<bool, String> {
        let Some(rest) = self.receiver.direct() else { return Ok(true) };
        let room = rest.len().min(READ_AT_ONCE);
        let Some(read) = bytes_read(self.stream.try_read(&mut rest[..room]))? else { return Ok(false) };
        self.welcome();
        let item = self.receiver.filled(read).map_err(|error| error.to_string())?;
        self.items.extend(item);
        self.hand_over(read)?;
        Ok(read == room)
    }

    /// Reads what is small, or the beginning of what is large. False if there is no more for now.
    fn read_into(&mut self, scratch: &mut [u8]) -> Result<bool, String> {
        let Some(read) = bytes_read(self.stream.try_read(scratch))? else { return Ok(false) };
        self.take(&scratch[..read])?;
        Ok(read == scratch.len())
    }

    /// Maps what the peer has shown by the bytes that were read.
    fn welcome(&mut self) {
        if let Some(borrower) = &mut self.borrower {
            while let Some(descriptor) = self.stream.take_descriptor() {
                borrower.welcome(&descriptor);
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        self.welcome();
        let (lane, read) = (self.lane, bytes.len());
        let allowance = self.link.look(|machine| machine.allowance(lane));
        let pool = self.link.context.pool();
        let mut buffers = PoolBuffers { pool, borrower: self.borrower.as_ref() };
        while !bytes.is_empty() {
            let item =
                self.receiver.feed(&mut bytes, allowance, &mut buffers).map_err(|error| error.to_string())?;
            self.items.extend(item);
        }
        self.hand_over(read)
    }

    /// Hands what is complete to the state machine, under one lock. That bytes came at all is a sign of life.
    fn hand_over(&mut self, read: usize) -> Result<(), String> {
        let read = read + self.receiver.take_stood_for() as usize;
        let Pump { link, lane, connection, items, .. } = self;
        let write = match lane {
            // What is large is for the other pump to copy.
            Lane::Control => Write::Urgent,
            Lane::Data => Write::Now,
        };
        link.run(write, |machine, now| {
            machine.heard(now, *lane, *connection, read);
            items.drain(..).try_for_each(|item| machine.handle_item(now, *lane, *connection, item))
        })
        .map_err(|violation| violation.to_string())
    }
}

/// How much was read; `None` if there is nothing for now.
fn bytes_read(outcome: std::io::Result<usize>) -> Result<Option<usize>, String> {
    match outcome {
        Ok(0) => Err("the peer closed it".to_owned()),
        Ok(read) => Ok(Some(read)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}
