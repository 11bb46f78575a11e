//! The pump of one connection: a task on an I/O thread, or on the urgent one, that reads it, and writes what others have left
//! to it. That of a data lane leaves what is small to the executor, as long as that comes.

use std::io;
use std::sync::Arc;

use mosaic_proto::link::ConnectionId;
use mosaic_proto::wire::Lane;
use tracing::debug;

use super::Link;
use super::reading::{Left, Parser, Reading};
use super::recorder::Happening;
use super::relief::{Carrier, Relief};
use crate::connection::Opening;
use crate::manager::Shared;

/// Reads one connection, and writes what others have left to it.
pub(super) struct Pump {
    reading: Arc<Reading>,
    unread: Vec<u8>,
    /// Whose executor carries the connection too, if one does.
    carrier: Option<Arc<Shared>>,
    relief: Option<Relief>,
}

/// What a pump found to do.
pub(super) enum Turn {
    Read,
    Write,
}

impl Pump {
    /// The stream is in the care of the pump's own reactor or, if there is a `carrier`, of its executor's.
    pub(super) fn new(
        link: Arc<Link>,
        lane: Lane,
        connection: ConnectionId,
        opening: Opening,
        carrier: Option<Arc<Shared>>,
    ) -> Pump {
        let Opening { stream, receiver, unread, borrower, .. } = opening;
        let reading = Arc::new(Reading::new(link, lane, connection, stream, Parser::new(receiver, borrower)));
        Pump { reading, unread, carrier, relief: None }
    }

    pub(super) async fn run(mut self) {
        let reading = self.reading.clone();
        let (link, lane) = (&reading.link, reading.lane);
        let end = tokio::select! {
            biased;
            () = link.over.cancelled() => None,
            end = self.carry() => Some(end),
        };
        if let Some(end) = end {
            debug!(peer = %link.peer, ?lane, why = %end, "connection ended");
            link.record(Happening::Closed { lane, why: end });
        }
        reading.stream.close();
        reading.free.notify_one();
        link.detach(lane, reading.connection);
    }

    /// Carries bytes until the connection ends, and says why it did.
    async fn carry(&mut self) -> String {
        let reading = self.reading.clone();
        if let Err(why) = reading.begin(&std::mem::take(&mut self.unread)) {
            return why;
        }
        if let Some(owner) = self.carrier.take() {
            let (carrier, relief) = Carrier::share(&reading);
            self.relief = Some(relief);
            owner.carry(carrier);
            // What has come already is told by no reactor.
            reading.link.wake[reading.lane.index()].notify_one();
        }
        reading.link.flush(reading.lane);
        loop {
            match self.turn().await {
                Ok(Turn::Read) => {
                    let left = match reading.read() {
                        Ok(left) => left,
                        Err(why) => return why,
                    };
                    if let Some(relief) = &mut self.relief {
                        relief.has_read(left);
                    }
                    if left == Left::Perhaps {
                        // The executor goes on reading here for as long as there is something, unless it is told to look.
                        tokio::task::yield_now().await;
                    }
                }
                Ok(Turn::Write) => {
                    // What is ready to run queues its messages first, and all go in one write.
                    tokio::task::yield_now().await;
                    reading.link.flush(reading.lane);
                }
                Err(error) => return error.to_string(),
            }
        }
    }

    async fn turn(&mut self) -> io::Result<Turn> {
        let Pump { reading, relief, .. } = self;
        let (link, lane) = (&reading.link, reading.lane);
        loop {
            let blocked = link.is_blocked(lane);
            let ready = async {
                match relief {
                    Some(relief) => relief.wait(blocked).await,
                    None => reading.wait(blocked).await,
                }
            };
            tokio::select! {
                biased;
                turn = ready => {
                    if let Ok(Turn::Write) = turn {
                        link.unblock(lane);
                    }
                    return turn;
                }
                () = link.wake[lane.index()].notified() => {
                    let turn = match relief {
                        Some(relief) => relief.woken(),
                        None => (!link.is_blocked(lane)).then_some(Turn::Write),
                    };
                    if let Some(turn) = turn {
                        return Ok(turn);
                    }
                }
            }
        }
    }
}
