//! Byte streams between runtimes: one trait, one file a transport.
//!
//! A stream is read and written by one party at a time each, on any thread; neither ever blocks it. It belongs to one reactor:
//! that of the I/O thread that made it, until it is moved.

pub(crate) mod address;
pub(crate) mod door;
pub(crate) mod memory;
pub(crate) mod simulated;
pub(crate) mod tcp;
pub(crate) mod tls;
pub(crate) mod unix;

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::pool::Buffer;

/// Bytes written in one system call at most: more at once is slower over loopback TCP by a factor of two, fewer too.
pub(crate) const WRITE_AT_ONCE: usize = 512 * 1024;

/// Bytes read in one system call at most, for the same reason.
pub(crate) const READ_AT_ONCE: usize = 128 * 1024;

/// Who is at the other end, as far as the transport vouches for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The same process or the same user on this host, by the kernel's word.
    SameUser,
    /// A holder of the job's credential.
    Job,
    /// Anyone who could connect.
    Anyone,
}

/// A connected byte stream.
pub(crate) trait Stream: Send + Sync + fmt::Debug {
    /// Ready once [`Stream::try_read`] may have something. Only one task may wait at a time.
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ready once [`Stream::try_write`] may take something, after it has not. Only one task may wait at a time, the one that
    /// waits to read if there is one.
    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Reads what is there; `WouldBlock` if nothing is, 0 at the end. It may be called without waiting, from any thread.
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// As [`Stream::try_read`], behind the first `filled` bytes of a buffer; about [`READ_AT_ONCE`] at most. What follows the
    /// bytes that were read may have been overwritten.
    fn try_fill(&self, buffer: &mut Buffer, filled: usize) -> io::Result<usize> {
        let rest = &mut buffer.as_mut()[filled..];
        let room = rest.len().min(READ_AT_ONCE);
        self.try_read(&mut rest[..room])
    }

    /// Writes what fits; `WouldBlock` if nothing does. What was not taken must be brought again, unchanged: a stream that
    /// encrypts may have sealed it already.
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// A read has brought less than it had room for, and there may be no more for long: memory that is kept for reading
    /// can go.
    fn drained(&self) {}

    /// Ends both directions: the reader sees the end, the peer too.
    fn close(&self);

    /// Ends our direction only: the peer reads what was written, then the end.
    fn finish(&self);

    /// What kind of transport it is, for people.
    fn name(&self) -> &'static str;

    /// Who is at the other end.
    fn trust(&self) -> Trust;

    /// The same connection, looked after by the reactor in whose context this is called. Takes the place of `self`.
    ///
    /// # Errors
    /// What the system says if it gives no descriptor: `self` goes on as it was.
    fn moved(self: Arc<Self>) -> io::Result<AnyStream>;

    /// The same connection, of which no reactor tells: whoever has its descriptor watches that. `None` if reading it needs one.
    fn unwatched(self: Arc<Self>) -> Option<AnyStream> {
        None
    }

    /// Whether a read would bring something that the system has given already, of which no reactor tells.
    fn has_more(&self) -> bool {
        false
    }

    /// What another reactor can watch it by, if the system knows it by a number.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Whether the other end is in the care of this kernel, as far as the transport can tell.
    fn is_on_this_host(&self) -> bool {
        false
    }

    /// Whether descriptors can go by it.
    fn carries_descriptors(&self) -> bool {
        false
    }

    /// As [`Stream::try_write`], with a descriptor that goes before the first byte. Only where descriptors can.
    fn try_write_with(&self, slices: &[IoSlice<'_>], descriptor: BorrowedFd<'_>) -> io::Result<usize> {
        let _ = (slices, descriptor);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Keeps the descriptors that come from now on; before that they are closed.
    fn keep_descriptors(&self) {}

    /// The next descriptor that has come: not later than the byte that it was sent with.
    fn take_descriptor(&self) -> Option<OwnedFd> {
        None
    }
}

/// A connected byte stream of any transport.
pub(crate) type AnyStream = Arc<dyn Stream>;

/// An operation on a socket, done by way of the reactor that keeps in mind what the socket is ready for.
type Tracked<'a> = &'a mut dyn FnMut() -> io::Result<usize>;

/// What a read has brought.
struct Read {
    bytes: usize,
    /// There may be more, though there was room for it.
    cut_short: bool,
}

impl Read {
    fn of(bytes: usize) -> Read {
        Read { bytes, cut_short: false }
    }
}

/// Reads from a socket into so much room. If there is some left, there is no more to read until the reactor says so.
fn read_from(
    room: usize,
    tracked: impl FnOnce(Tracked<'_>) -> io::Result<usize>,
    mut read: impl FnMut() -> io::Result<Read>,
) -> io::Result<usize> {
    let mut last = None;
    let outcome = anyway(tracked, || match read()? {
        Read { bytes, cut_short } if bytes == 0 || bytes == room || cut_short => Ok(bytes),
        Read { bytes, .. } => {
            last = Some(bytes);
            // The reactor forgets that the socket was ready, unless it has heard of more since the operation began.
            Err(io::ErrorKind::WouldBlock.into())
        }
    });
    last.map_or(outcome, Ok)
}

/// Writes to a socket.
fn write_to(
    socket: impl AsFd,
    slices: &[IoSlice<'_>],
    tracked: impl FnOnce(Tracked<'_>) -> io::Result<usize>,
) -> io::Result<usize> {
    anyway(tracked, || Ok(rustix::io::writev(&socket, slices)?))
}

/// Does `operation` by way of `tracked`; and by itself if the reactor has not heard that the socket is ready: the caller may
/// know that from another one.
fn anyway(
    tracked: impl FnOnce(Tracked<'_>) -> io::Result<usize>,
    mut operation: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    let mut done = false;
    let outcome = tracked(&mut || {
        done = true;
        operation()
    });
    if done { outcome } else { operation() }
}

/// Reads at least one byte; an `UnexpectedEof` error at the end.
///
/// Cancel safe: nothing is read if it is dropped while it waits.
pub(crate) async fn read_some(stream: &dyn Stream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        poll_fn(|context| stream.poll_readable(context)).await?;
        match stream.try_read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
    }
}

/// Writes everything. Not cancel safe: part of it may have been written.
pub(crate) async fn write_all(stream: &dyn Stream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(&[IoSlice::new(bytes)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll_fn(|context| stream.poll_writable(context)).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
