//! A data lane that the loop of another language carries. It is the loop that watches it: no reactor of ours does, but that of
//! the I/O thread while it relieves the loop.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use mosaic_proto::wire::Lane;

use super::reading::Left;
use super::relief::Carrier;
use super::{Link, Write};

impl Link {
    /// Writes what is queued, as a thread that comes again.
    pub(crate) fn write_in_turn(self: &Arc<Self>) {
        self.nudge.visit_of_loop();
        self.queue(Write::Now, |_, _| ());
    }
}

/// A data lane in the care of an [`EventLoop`](crate::EventLoop), until it is dropped.
pub struct DataLane(Carrier);

impl DataLane {
    pub(crate) fn new(carrier: Carrier) -> DataLane {
        DataLane(carrier)
    }

    /// What to watch: it stays readable as long as there is something to read. `None` once there never will be.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.0.reading.stream.descriptor()
    }

    /// Reads what is there, up to a bound, and hands it on: requests to their dispatcher, replies to their futures.
    #[must_use = "a lane is watched as this says"]
    pub fn read(&mut self) -> Carried {
        let reading = &self.0.reading;
        let link = &reading.link;
        if link.over.is_cancelled() {
            return Carried::Over;
        }
        link.nudge.visit();
        let left = match reading.read() {
            Ok(left) => left,
            Err(why) => {
                self.0.end(why);
                return Carried::Over;
            }
        };
        if reading.is_amid_large() == Some(true) {
            reading.set_left(true);
            link.wake[Lane::Data.index()].notify_one();
            return Carried::Left;
        }
        if left == Left::Perhaps {
            link.wake[Lane::Data.index()].notify_one();
        }
        match left {
            Left::Nothing | Left::Busy => Carried::Idle,
            Left::Drained | Left::Perhaps => Carried::Here,
        }
    }

    /// Whether a lane that was left is to be watched again, which it may be whenever something has come.
    #[must_use = "it is not watched by anybody else from then on"]
    pub fn take_back(&self) -> bool {
        let is_back = self.0.reading.is_amid_large() == Some(false);
        if is_back {
            self.0.reading.set_left(false);
            self.0.reading.link.nudge.visit();
        }
        is_back
    }
}

/// Who is to watch a data lane that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    /// The loop, as before.
    Here,
    /// The same, and nothing was there for it: nothing has come, or another thread reads it.
    Idle,
    /// The I/O thread, which reads what is large quicker: not the loop, until [`DataLane::take_back`] says so.
    Left,
    /// Nobody: the connection is over, and the lane is to be dropped.
    Over,
}

impl fmt::Debug for DataLane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DataLane").field(&self.0.reading.link.peer).finish()
    }
}
