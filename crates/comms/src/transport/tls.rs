//! TLS 1.3 over any other stream: what is written is sealed, what is read is opened. Who may connect is the credential's
//! affair (`credential.rs`); the bytes of the protocol are rustls' own, by its unbuffered interface.
//!
//! ```text
//! try_write  slices --seal--> records --> carrier       what the carrier did not take waits in `unsent`
//! try_fill   buffer <--open-- records <-- carrier       what did not fit waits in `plain`, a part of a record in `partial`
//! ```
//!
//! An idle connection holds no buffer: sealing and reading go through memory that the connections of a thread share.

mod cipher;
mod session;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::mem;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use rustls::{ClientConfig, ServerConfig};

pub(crate) use self::cipher::cipher_suites;
use self::cipher::{Records, Target};
pub(crate) use self::session::job_name;
use self::session::{Opened, RECORD, RECORD_OVERHEAD, Session, first_record};
use super::door::{Attention, Door};
use super::{AnyStream, READ_AT_ONCE, Stream, Trust, read_some, write_all};
use crate::pool::Buffer;

/// Bytes that are sealed at once: few enough to stay in the processor's cache until they are written. These make less than
/// two segments of the loopback interface; eight records would make two, and a third of a few bytes.
const SEAL_AT_ONCE: usize = 7 * RECORD;

/// Bytes that are read at once, of records: they make [`READ_AT_ONCE`] when they have been opened.
const SEALED_READ: usize = READ_AT_ONCE / RECORD * (RECORD + RECORD_OVERHEAD);

/// Bytes of a handshake that are read at most: two certificates, their signatures and what belongs to them take 3 KiB.
const HANDSHAKE_BYTES: usize = 16 * 1024;

/// Bytes of a handshake that are read at once.
const READ_OF_HANDSHAKE: usize = 4096;

/// How every TLS connection begins: a record of the handshake, whose version says 3 for historical reasons.
const BEGINNING: [u8; 2] = [0x16, 3];

/// An encrypted stream whose both ends hold the credential.
pub(crate) struct Tls {
    carrier: AnyStream,
    state: Arc<State>,
}

/// What goes with the stream to another reactor.
struct State {
    /// Both directions' keys: held for one record at a time when opening, for [`SEAL_AT_ONCE`] when sealing.
    session: Mutex<Session>,
    reading: Mutex<Reading>,
    writing: Mutex<Writing>,
}

/// What has been read and not yet been delivered.
#[derive(Debug, Default)]
struct Reading {
    /// Bytes of records that were not complete, or for which there was no room.
    partial: Vec<u8>,
    /// What was opened, from `delivered` on, and found no room.
    plain: Vec<u8>,
    delivered: usize,
    ended: bool,
}

/// What has been sealed and not yet been taken by the carrier.
///
/// The plaintext of a record counts as written once the whole record is; until then the caller keeps it, and brings it
/// again. It must be the same, as [`Stream::try_write`] demands.
#[derive(Debug, Default)]
struct Writing {
    unsent: Vec<u8>,
    sent: usize,
    /// Where each record ends in `unsent`, and how much of the caller's it carries.
    records: VecDeque<(usize, usize)>,
}

/// Memory of one thread, for whichever connection is sealed or opened now. It is as long as it ever had to be.
struct Scratch {
    sealed: Records,
    gathered: Vec<u8>,
    incoming: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> =
        const { RefCell::new(Scratch { sealed: Records::new(), gathered: Vec::new(), incoming: Vec::new() }) };
}

/// Makes the dialler's end.
///
/// # Errors
/// What the carrier says, or `InvalidData` if the other end does not hold the credential.
pub(crate) async fn connect(carrier: AnyStream, config: Arc<ClientConfig>) -> io::Result<AnyStream> {
    shake_hands(carrier, Session::client(config)?, None, Vec::new()).await
}

/// Makes the acceptor's end. The other end is told nothing if it fails.
///
/// # Errors
/// As [`connect`].
pub(crate) async fn accept(
    carrier: AnyStream,
    config: Arc<ServerConfig>,
    door: (&Door, &Attention),
) -> io::Result<AnyStream> {
    let mut first = vec![0; READ_OF_HANDSHAKE];
    let read = read_some(&*carrier, &mut first).await?;
    first.truncate(read);
    // Whoever does not even begin as TLS does is not worth a session.
    if !BEGINNING.starts_with(&first[..read.min(BEGINNING.len())]) {
        return Err(io::Error::new(ErrorKind::InvalidData, "it does not begin as TLS does"));
    }
    shake_hands(carrier, Session::server(config)?, Some(door), first).await
}

/// Goes on from what has come already.
async fn shake_hands(
    carrier: AnyStream,
    mut session: Session,
    door: Option<(&Door, &Attention)>,
    mut incoming: Vec<u8>,
) -> io::Result<AnyStream> {
    let mut received = incoming.len();
    let mut plain = Vec::new();
    loop {
        let shaken = match door {
            Some((door, attention)) => {
                let step = move || {
                    let shaken = session.advance(&mut incoming, &mut plain);
                    (session, incoming, plain, shaken)
                };
                let shaken;
                (session, incoming, plain, shaken) = door.pass(attention, step).await?;
                shaken?
            }
            None => session.advance(&mut incoming, &mut plain)?,
        };
        let answer = session.take_outbox();
        write_all(&*carrier, &answer).await?;
        if shaken {
            break;
        }
        let mut buffer = [0; READ_OF_HANDSHAKE];
        let read = read_some(&*carrier, &mut buffer).await?;
        received += read;
        if received > HANDSHAKE_BYTES {
            return Err(io::Error::new(ErrorKind::InvalidData, "the handshake does not end"));
        }
        incoming.extend_from_slice(&buffer[..read]);
    }
    let reading = Mutex::new(Reading { partial: incoming, plain, ..Reading::default() });
    let state = State { session: Mutex::new(session), reading, writing: Mutex::default() };
    Ok(Arc::new(Tls { carrier, state: Arc::new(state) }))
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("carrier", &self.carrier).finish_non_exhaustive()
    }
}

impl Stream for Tls {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state.reading.lock().is_ready() {
            return Poll::Ready(Ok(()));
        }
        self.carrier.poll_readable(context)
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.carrier.poll_writable(context)
    }

    /// For the first words of a connection: it copies.
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut opened = Buffer::new(buffer.len());
        let read = self.try_fill(&mut opened, 0)?;
        buffer[..read].copy_from_slice(&opened.as_ref()[..read]);
        Ok(read)
    }

    fn try_fill(&self, buffer: &mut Buffer, filled: usize) -> io::Result<usize> {
        let mut target = Target { buffer: mem::take(buffer), filled };
        let read = SCRATCH.with_borrow_mut(|scratch| {
            self.read(&mut self.state.reading.lock(), &mut scratch.incoming, &mut target)
        });
        *buffer = target.buffer;
        read
    }

    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        SCRATCH.with_borrow_mut(|scratch| self.write(&mut self.state.writing.lock(), scratch, slices))
    }

    fn drained(&self) {
        let mut reading = self.state.reading.lock();
        if reading.partial.is_empty() {
            reading.partial = Vec::new();
        }
    }

    fn close(&self) {
        self.carrier.close();
    }

    fn finish(&self) {
        // What ends without a goodbye of TLS' own is told by the protocol above, which acknowledges every message.
        self.carrier.finish();
    }

    fn name(&self) -> &'static str {
        "tls"
    }

    fn has_more(&self) -> bool {
        self.state.reading.lock().is_ready()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.carrier.descriptor()
    }

    fn trust(&self) -> Trust {
        Trust::Job
    }

    fn moved(self: Arc<Self>) -> io::Result<AnyStream> {
        let carrier = self.carrier.clone().moved()?;
        Ok(Arc::new(Tls { carrier, state: self.state.clone() }))
    }

    fn is_on_this_host(&self) -> bool {
        self.carrier.is_on_this_host()
    }
}

impl Tls {
    fn read(&self, reading: &mut Reading, incoming: &mut Vec<u8>, target: &mut Target) -> io::Result<usize> {
        let begun = target.filled;
        let enough = begun + target.rest().len().min(READ_AT_ONCE);
        reading.deliver(target);
        while target.filled < enough && !reading.ended {
            let ready = first_record(&reading.partial).is_some();
            let mut there = reading.take_partial(incoming);
            let mut drained = false;
            if !ready {
                let most = (enough - target.filled + RECORD + RECORD_OVERHEAD).min(SEALED_READ);
                let wanted = most.saturating_sub(there).max(RECORD);
                match self.fetch(reading, incoming, there, wanted) {
                    Ok(read) => {
                        there += read;
                        drained = read < wanted;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock && target.filled > begun => break,
                    Err(error) => return Err(error),
                }
            }
            self.open(reading, &mut incoming[..there], target)?;
            // The carrier has no more for now: another read would find nothing.
            if drained && target.filled > begun {
                break;
            }
        }
        match target.filled - begun {
            0 if !reading.ended && enough > begun => Err(ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }

    /// Reads from the carrier, behind the `kept` bytes of a record. If it fails, those are put back.
    fn fetch(
        &self,
        reading: &mut Reading,
        incoming: &mut Vec<u8>,
        kept: usize,
        wanted: usize,
    ) -> io::Result<usize> {
        grow(incoming, kept + wanted);
        let read = self.carrier.try_read(&mut incoming[kept..kept + wanted]);
        if read.is_err() {
            reading.partial.extend_from_slice(&incoming[..kept]);
        }
        reading.ended = matches!(read, Ok(0));
        read
    }

    /// Opens records until there is no room or no complete one; what is left of `incoming` is kept.
    fn open(&self, reading: &mut Reading, mut incoming: &mut [u8], target: &mut Target) -> io::Result<()> {
        while !target.rest().is_empty()
            && let Some(len) = first_record(incoming)
        {
            let (record, rest) = incoming.split_at_mut(len);
            incoming = rest;
            let Opened { used, data, over } = self.state.session.lock().open(record, target)?;
            if over {
                reading.ended = true;
                return Ok(());
            }
            if used < len {
                return Err(io::Error::new(ErrorKind::InvalidData, "a record is not done with at once"));
            }
            reading.plain.extend_from_slice(target.put(data));
        }
        reading.partial.extend_from_slice(incoming);
        Ok(())
    }

    fn write(
        &self,
        writing: &mut Writing,
        scratch: &mut Scratch,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut accepted = 0;
        loop {
            accepted += writing.send_rest(&*self.carrier)?;
            if !writing.unsent.is_empty() {
                break;
            }
            if accepted == total {
                return Ok(accepted);
            }
            self.seal(writing, scratch, slices, accepted)?;
            accepted += writing.send_fresh(&*self.carrier, scratch.sealed.bytes())?;
            if !writing.unsent.is_empty() {
                break;
            }
        }
        if accepted == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(accepted) }
    }

    /// Seals what follows the first `skip` bytes, up to [`SEAL_AT_ONCE`]. Small slices share records.
    fn seal(
        &self,
        writing: &mut Writing,
        scratch: &mut Scratch,
        slices: &[IoSlice<'_>],
        mut skip: usize,
    ) -> io::Result<()> {
        let Scratch { sealed, gathered, .. } = scratch;
        let mut session = self.state.session.lock();
        let mut room = SEAL_AT_ONCE;
        sealed.clear();
        gathered.clear();
        for slice in slices {
            let skipped = skip.min(slice.len());
            skip -= skipped;
            let mut rest = &slice[skipped..];
            while !rest.is_empty() && room > 0 {
                let (chunk, more) = rest.split_at(rest.len().min(RECORD - gathered.len()).min(room));
                rest = more;
                room -= chunk.len();
                if chunk.len() == RECORD {
                    writing.seal_record(&mut session, chunk, sealed)?;
                    continue;
                }
                gathered.extend_from_slice(chunk);
                if gathered.len() == RECORD {
                    writing.seal_record(&mut session, gathered, sealed)?;
                    gathered.clear();
                }
            }
        }
        if !gathered.is_empty() {
            writing.seal_record(&mut session, gathered, sealed)?;
        }
        Ok(())
    }
}

impl Reading {
    /// Whether a read would bring something without the carrier.
    fn is_ready(&self) -> bool {
        self.ended || self.delivered < self.plain.len() || first_record(&self.partial).is_some()
    }

    /// Moves what is there of a record to the head of `incoming`, and returns how much that is.
    fn take_partial(&mut self, incoming: &mut Vec<u8>) -> usize {
        let kept = self.partial.len();
        grow(incoming, kept);
        incoming[..kept].copy_from_slice(&self.partial);
        self.partial.clear();
        kept
    }

    /// Delivers what was opened before.
    fn deliver(&mut self, target: &mut Target) {
        self.delivered = self.plain.len() - target.put(&self.plain[self.delivered..]).len();
        if self.delivered == self.plain.len() {
            self.plain = Vec::new();
            self.delivered = 0;
        }
    }
}

impl Writing {
    fn seal_record(&mut self, session: &mut Session, plain: &[u8], sealed: &mut Records) -> io::Result<()> {
        session.seal(plain, sealed)?;
        self.records.push_back((sealed.len(), plain.len()));
        Ok(())
    }

    /// Writes what the carrier did not take before. Returns how much of the caller's has been written with it.
    fn send_rest(&mut self, carrier: &dyn Stream) -> io::Result<usize> {
        self.sent += send(carrier, &self.unsent[self.sent..])?;
        let accepted = self.count(self.sent);
        if self.sent == self.unsent.len() {
            self.unsent = Vec::new();
            self.sent = 0;
        }
        Ok(accepted)
    }

    /// Writes what was sealed now, and keeps what the carrier does not take.
    fn send_fresh(&mut self, carrier: &dyn Stream, sealed: &[u8]) -> io::Result<usize> {
        let sent = send(carrier, sealed)?;
        let accepted = self.count(sent);
        self.unsent.extend_from_slice(&sealed[sent..]);
        self.records.iter_mut().for_each(|(end, _)| *end -= sent);
        Ok(accepted)
    }

    /// How much of the caller's the records carry that end within the first `sent` bytes.
    fn count(&mut self, sent: usize) -> usize {
        let mut accepted = 0;
        while let Some((_, plain)) = self.records.pop_front_if(|(end, _)| *end <= sent) {
            accepted += plain;
        }
        accepted
    }
}

/// Makes a buffer long enough. What it holds stays: clearing it for every read costs as much as copying does.
fn grow(buffer: &mut Vec<u8>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
}

/// Writes until all is written or the carrier takes no more.
fn send(carrier: &dyn Stream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match carrier.try_write(&[IoSlice::new(&bytes[sent..])]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => sent += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}
