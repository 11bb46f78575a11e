//! Two threads that carry one data lane: the executor, where what comes is wanted and what goes is made, so that no thread
//! has to wake for it; and the I/O thread, which writes the rest of what is large, and relieves an executor that does not come.
//!
//! ```text
//! executor     something to do -> does it       and counts its visits
//! I/O thread   something to do -> 1 ms later: has the executor been here?
//!                yes  wait until there is something to do again
//!                no   do it, and whatever comes from then on at once, until the executor has been here
//! ```
//!
//! The I/O thread looks once a millisecond at most, and not at all while nothing happens.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use mosaic_proto::wire::Lane;
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::pump::Turn;
use super::reading::{Left, Reading};
use super::{Link, at};
use crate::dispatch::Unwritten;
use crate::event_loop::EventLoop;
use crate::transport::AnyStream;

/// How long something may wait for the executor.
const PATIENCE: Duration = Duration::from_millis(1);

/// How the executor hears of what is to be written on a data lane, and whether the I/O thread has to.
#[derive(Debug, Default)]
pub(super) struct Nudge {
    /// How many tasks of the executor carry the lane: one, or for a moment two.
    carriers: AtomicUsize,
    /// Whether the I/O thread looks soon anyway.
    looks_soon: AtomicBool,
    executor: Notify,
    /// Whose turn it is in the executor's stead.
    event_loop: Option<Arc<dyn EventLoop>>,
    /// How often the executor, or the loop, has been here.
    visits: AtomicU64,
}

impl Nudge {
    pub(super) fn new(event_loop: Option<Arc<dyn EventLoop>>) -> Nudge {
        Nudge { event_loop, ..Nudge::default() }
    }

    /// The executor, or the loop, is here.
    pub(super) fn visit(&self) {
        self.visits.fetch_add(1, Ordering::AcqRel);
    }

    /// The loop is here, if one carries the lane.
    pub(super) fn visit_of_loop(&self) {
        if self.event_loop.is_some() {
            self.visit();
        }
    }

    pub(super) fn visits(&self) -> u64 {
        self.visits.load(Ordering::Acquire)
    }
}

impl Link {
    /// Leaves it to others to write what is queued, together with what will be by then.
    pub(super) fn nudge(self: &Arc<Self>, lane: Lane) {
        let nudge = &self.nudge;
        if lane == Lane::Data && nudge.carriers.load(Ordering::Acquire) > 0 {
            match &nudge.event_loop {
                Some(event_loop) => event_loop.write(Unwritten::of(self)),
                None => nudge.executor.notify_one(),
            }
            if nudge.looks_soon.load(Ordering::Acquire) {
                return;
            }
        }
        self.wake[lane.index()].notify_one();
    }
}

/// The executor's side: it carries the connection until that ends. Nobody is nudged once it is dropped.
pub(crate) struct Carrier {
    pub(super) reading: Arc<Reading>,
    ended: Option<oneshot::Sender<String>>,
}

impl Carrier {
    /// Both sides of a connection.
    pub(super) fn share(reading: &Arc<Reading>) -> (Carrier, Relief) {
        let (ended, end) = oneshot::channel();
        reading.link.nudge.carriers.fetch_add(1, Ordering::AcqRel);
        let carrier = Carrier { reading: reading.clone(), ended: Some(ended) };
        let relief =
            Relief { reading: reading.clone(), ended: Some(end), watched: None, look: None, duty: None };
        (carrier, relief)
    }

    /// Carries the connection as a task.
    pub(crate) async fn carry(mut self) {
        let over = self.reading.link.over.clone();
        let end = tokio::select! {
            biased;
            () = over.cancelled() => return,
            end = carry(&self.reading) => end,
        };
        self.end(end);
    }

    /// The connection has ended.
    pub(super) fn end(&mut self, why: String) {
        if let Some(ended) = self.ended.take() {
            // It may be known already.
            let _ = ended.send(why);
        }
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.reading.link.nudge.carriers.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Carries a connection until it ends, and says why it did.
async fn carry(reading: &Reading) -> String {
    let link = &reading.link;
    loop {
        tokio::select! {
            biased;
            readable = std::future::poll_fn(|context| reading.stream.poll_readable(context)) => {
                if let Err(error) = readable {
                    return error.to_string();
                }
                link.nudge.visit();
                let left = match reading.read() {
                    Ok(left) => left,
                    Err(why) => return why,
                };
                match left {
                    Left::Nothing | Left::Drained => {}
                    Left::Perhaps => {
                        link.wake[Lane::Data.index()].notify_one();
                        tokio::task::yield_now().await;
                    }
                    Left::Busy => reading.free.notified().await,
                }
            }
            () = link.nudge.executor.notified() => {
                link.nudge.visit();
                // What is ready to run queues its messages first, and all go in one write.
                tokio::task::yield_now().await;
                link.flush(Lane::Data);
            }
        }
    }
}

/// The I/O thread's side.
pub(super) struct Relief {
    reading: Arc<Reading>,
    /// Why the connection has ended, as the executor found out; `None` if that will not say so any more.
    ended: Option<oneshot::Receiver<String>>,
    watched: Option<(Interest, AsyncFd<Watched>)>,
    /// When to look whether the executor has been here, and how often it had.
    look: Option<(Instant, u64)>,
    duty: Option<Duty>,
}

/// The executor has not come.
#[derive(Clone, Copy)]
struct Duty {
    /// How often it had been here then.
    visits: u64,
    /// Something had indeed waited for it.
    in_earnest: bool,
}

/// A stream in the care of another reactor too.
struct Watched {
    descriptor: RawFd,
    /// Keeps it open.
    _stream: AnyStream,
}

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor
    }
}

impl Relief {
    /// Ends when the I/O thread is to read or, if the system had taken no more, may write again.
    ///
    /// Cancel safe: it goes on where it was.
    pub(super) async fn wait(&mut self, blocked: bool) -> io::Result<Turn> {
        loop {
            if self.duty.is_some() && self.reading.stream.has_more() && self.is_on_duty() {
                return Ok(Turn::Read);
            }
            let interest = interest(self.look.is_none() || self.reading.is_left(), blocked);
            tokio::select! {
                biased;
                why = end(&mut self.ended) => return Err(io::Error::other(why)),
                () = at(self.look.map(|(due, _)| due)) => {
                    if let Some(turn) = self.look_now() {
                        return Ok(turn);
                    }
                }
                ready = watch(&mut self.watched, &self.reading.stream, interest) => {
                    let ready = ready?;
                    // Who waits next is told anew of what is there.
                    self.watched = None;
                    if ready.is_read_closed() || ready.is_write_closed() {
                        return Ok(Turn::Read);
                    }
                    if blocked && ready.is_writable() {
                        return Ok(Turn::Write);
                    }
                    if self.is_on_duty() {
                        return Ok(Turn::Read);
                    }
                }
            }
        }
    }

    /// The pump was woken: what it is to do, if it is not for the executor.
    pub(super) fn woken(&mut self) -> Option<Turn> {
        let link = self.reading.link.clone();
        if link.is_blocked(Lane::Data) {
            None
        } else if link.is_left_over(Lane::Data) {
            Some(Turn::Write)
        } else if !self.is_on_duty() {
            None
        } else if link.waits_for_writer(Lane::Data) {
            Some(Turn::Write)
        } else {
            Some(Turn::Read)
        }
    }

    /// Something is to be done. False if the executor has its time for it.
    fn is_on_duty(&mut self) -> bool {
        let visits = self.reading.link.nudge.visits();
        self.duty = self.duty.filter(|duty| duty.visits == visits);
        if self.reading.is_left() {
            return true;
        }
        if self.duty.is_none() && self.look.is_none() {
            self.look_soon(visits);
        }
        self.duty.is_some()
    }

    fn look_soon(&mut self, visits: u64) {
        self.look = Some((Instant::now() + PATIENCE, visits));
        self.reading.link.nudge.looks_soon.store(true, Ordering::Release);
    }

    /// Whether the executor has been here. If not, it is for us to do what there is; if something has come meanwhile, it
    /// has its time for that.
    fn look_now(&mut self) -> Option<Turn> {
        let (_, seen) = self.look.take()?;
        // What is queued after this wakes us.
        self.reading.link.nudge.looks_soon.store(false, Ordering::Release);
        let (visits, waits) =
            (self.reading.link.nudge.visits(), self.reading.link.waits_for_writer(Lane::Data));
        if visits == seen {
            self.duty = Some(Duty { visits, in_earnest: waits });
            return Some(if waits { Turn::Write } else { Turn::Read });
        }
        if waits {
            self.look_soon(visits);
        }
        None
    }

    /// We have read. If there was nothing and never had been, the executor had been here before we began to look; if it is
    /// reading, it is here.
    pub(super) fn has_read(&mut self, left: Left) {
        match left {
            Left::Busy => {
                self.duty = None;
                self.look_soon(self.reading.link.nudge.visits());
                return;
            }
            Left::Nothing => self.duty = self.duty.filter(|duty| duty.in_earnest),
            Left::Drained | Left::Perhaps => {
                self.duty.iter_mut().for_each(|duty| duty.in_earnest = true);
            }
        }
        self.reading.free.notify_one();
    }
}

impl Drop for Relief {
    /// Another connection may have taken the place of this one: whoever carries that is to look in our stead.
    fn drop(&mut self) {
        let link = &self.reading.link;
        if self.look.is_some() {
            link.nudge.looks_soon.store(false, Ordering::Release);
            link.wake[Lane::Data.index()].notify_one();
        }
    }
}

async fn end(ended: &mut Option<oneshot::Receiver<String>>) -> String {
    if let Some(told) = ended {
        if let Ok(why) = told.await {
            return why;
        }
        // The executor was shut down.
        *ended = None;
    }
    std::future::pending().await
}

fn interest(read: bool, write: bool) -> Option<Interest> {
    match (read, write) {
        (true, true) => Some(Interest::READABLE.add(Interest::WRITABLE)),
        (true, false) => Some(Interest::READABLE),
        (false, true) => Some(Interest::WRITABLE),
        (false, false) => None,
    }
}

/// Has our reactor tell of what is wanted, from what there is now on.
async fn watch(
    watched: &mut Option<(Interest, AsyncFd<Watched>)>,
    stream: &AnyStream,
    interest: Option<Interest>,
) -> io::Result<Ready> {
    if watched.as_ref().map(|(interest, _)| *interest) != interest {
        // One reactor takes a descriptor once.
        *watched = None;
    }
    let Some(interest) = interest else { return std::future::pending().await };
    let (_, watched) = match watched {
        Some(watched) => watched,
        None => {
            let descriptor = stream.descriptor().ok_or(io::ErrorKind::Unsupported)?.as_raw_fd();
            let stream = Watched { descriptor, _stream: stream.clone() };
            #[expect(
                deprecated,
                reason = "what makes it unsound is a descriptor that others may close; this one is kept open beside it"
            )]
            let stream = AsyncFd::with_interest(stream, interest)?;
            watched.insert((interest, stream))
        }
    };
    Ok(watched.ready(interest).await?.ready())
}
