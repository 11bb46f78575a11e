//! Streams between runtimes of one process: two bounded pipes in memory, and who listens where.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{AnyStream, Stream, Trust};

/// Bytes that a pipe holds before its writer must wait: as much as is written at once.
const CAPACITY: usize = super::WRITE_AT_ONCE;

/// Connections that may wait to be accepted.
const BACKLOG: usize = 4096;

#[derive(Debug, Default)]
struct Pipe {
    state: Mutex<PipeState>,
}

#[derive(Debug, Default)]
struct PipeState {
    bytes: VecDeque<u8>,
    finished: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn poll_readable(&self, context: &Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state.lock();
        if !state.bytes.is_empty() || state.finished {
            return Poll::Ready(Ok(()));
        }
        state.reader = Some(context.waker().clone());
        Poll::Pending
    }

    fn poll_writable(&self, context: &Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state.lock();
        if state.bytes.len() < CAPACITY || state.finished {
            return Poll::Ready(Ok(()));
        }
        state.writer = Some(context.waker().clone());
        Poll::Pending
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state.lock();
        if state.bytes.is_empty() {
            return if state.finished { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let read = io::Read::read(&mut state.bytes, buffer)?;
        let writer = state.writer.take();
        drop(state);
        wake(writer);
        Ok(read)
    }

    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.state.lock();
        if state.finished {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut room = CAPACITY.saturating_sub(state.bytes.len());
        if room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let before = state.bytes.len();
        for slice in slices {
            let piece = &slice[..slice.len().min(room)];
            state.bytes.extend(piece);
            room -= piece.len();
        }
        let written = state.bytes.len() - before;
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        Ok(written)
    }

    fn finish(&self) {
        let mut state = self.state.lock();
        state.finished = true;
        let waiting = [state.reader.take(), state.writer.take()];
        drop(state);
        waiting.into_iter().for_each(wake);
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// One end of a connection in memory.
#[derive(Debug)]
pub(crate) struct Memory {
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
}

/// The two ends of a connection.
pub(crate) fn pair() -> (Memory, Memory) {
    let (one, other) = (Arc::new(Pipe::default()), Arc::new(Pipe::default()));
    (Memory { incoming: one.clone(), outgoing: other.clone() }, Memory { incoming: other, outgoing: one })
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.close();
    }
}

impl Stream for Memory {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.incoming.poll_readable(context)
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.poll_writable(context)
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.incoming.try_read(buffer)
    }

    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.outgoing.try_write(slices)
    }

    fn close(&self) {
        self.incoming.finish();
        self.outgoing.finish();
    }

    fn finish(&self) {
        self.outgoing.finish();
    }

    fn name(&self) -> &'static str {
        "memory"
    }

    fn trust(&self) -> Trust {
        Trust::SameUser
    }

    fn moved(self: Arc<Self>) -> io::Result<AnyStream> {
        Ok(self)
    }
}

/// Which runtimes of this process can be reached in memory: by port, as the network would.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    listeners: Mutex<BTreeMap<(String, u16), mpsc::Sender<AnyStream>>>,
}

/// Someone who listens in memory, until dropped.
#[derive(Debug)]
pub(crate) struct MemoryListener {
    key: (String, u16),
    registry: Arc<Registry>,
    pub(crate) accepted: mpsc::Receiver<AnyStream>,
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        // Somebody else may listen there by now.
        self.accepted.close();
        let mut listeners = self.registry.listeners.lock();
        if listeners.get(&self.key).is_some_and(mpsc::Sender::is_closed) {
            listeners.remove(&self.key);
        }
    }
}

impl Registry {
    /// Listens under `host` and `port`; `None` if someone does.
    pub(crate) fn listen(self: &Arc<Self>, host: &str, port: u16) -> Option<MemoryListener> {
        let key = (host.to_owned(), port);
        let (sender, accepted) = mpsc::channel(BACKLOG);
        let mut listeners = self.listeners.lock();
        if listeners.contains_key(&key) {
            return None;
        }
        listeners.insert(key.clone(), sender);
        drop(listeners);
        Some(MemoryListener { key, registry: self.clone(), accepted })
    }

    /// Nobody is found there any more.
    pub(crate) fn forget(&self, key: &(String, u16)) {
        self.listeners.lock().remove(key);
    }

    pub(crate) fn find(&self, host: &str, port: u16) -> Option<mpsc::Sender<AnyStream>> {
        self.listeners.lock().get(&(host.to_owned(), port)).cloned()
    }
}

/// Connects to a listener of this process.
pub(crate) fn connect(listener: &mpsc::Sender<AnyStream>) -> io::Result<AnyStream> {
    let (ours, theirs) = pair();
    listener.try_send(Arc::new(theirs)).map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
    Ok(Arc::new(ours))
}
