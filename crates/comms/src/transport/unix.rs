//! Unix sockets between runtimes of the same host and user. The path follows from the TCP port alone, the kernel says
//! who the other is.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use rustix::cmsg_space;
use rustix::fs::FlockOperation;
use rustix::net::sockopt;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, Shutdown,
};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{UnixListener, UnixStream};
use tracing::debug;

use super::{AnyStream, Read, Stream, Trust, read_from};

/// The send buffer. The kernel's default of 208 KiB costs a third of the throughput of large arrays.
const SEND_BUFFER: usize = 1 << 20;

/// Descriptors that wait to be taken at most; the reader takes each before it reads on.
const DESCRIPTORS: usize = 4;

#[derive(Debug)]
pub(crate) struct Unix {
    socket: Arc<OwnedFd>,
    watch: Watch,
    descriptors: Arc<Descriptors>,
}

/// The descriptors that have come.
#[derive(Debug, Default)]
struct Descriptors {
    kept: AtomicBool,
    waiting: Mutex<VecDeque<OwnedFd>>,
}

/// A bound socket, whose file goes with it.
#[derive(Debug)]
pub(crate) struct BoundUnix {
    listener: UnixListener,
    path: PathBuf,
}

/// The files of all sockets that this process has bound, for [`release_all`].
static BOUND: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

impl Drop for BoundUnix {
    fn drop(&mut self) {
        remove_own_file(&self.path);
    }
}

/// Removes the file of a socket of ours, once: it may be another's after that.
fn remove_own_file(path: &Path) {
    if BOUND.lock().remove(path) {
        let _ = std::fs::remove_file(path);
    }
}

/// Nobody is to connect to the socket of this port of ours any more; the program may end before its listener is dropped.
pub(crate) fn release(port: u16) {
    remove_own_file(&socket_path(port));
}

/// Releases all sockets of this process, which is about to end without dropping anything.
pub(crate) fn release_all() {
    let bound = std::mem::take(&mut *BOUND.lock());
    for path in bound {
        let _ = std::fs::remove_file(path);
    }
}

/// Where the runtime that listens on this TCP port of this host has its Unix socket.
pub(crate) fn socket_path(port: u16) -> PathBuf {
    socket_folder().join(format!("{port}.sock"))
}

/// Where the Unix sockets of this user's runtimes are on this host: `$XDG_RUNTIME_DIR/mosaic`, or `/tmp/mosaic-` and the
/// user id. The folder must be its user's alone; else runtimes meet over TCP.
pub fn socket_folder() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(folder) if !folder.is_empty() => Path::new(&folder).join("mosaic"),
        _ => PathBuf::from(format!("/tmp/mosaic-{}", own_user())),
    }
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Binds the socket that belongs to a TCP port of ours. A file that a dead process left is replaced.
///
/// # Errors
/// `AddrInUse` if someone listens there: a runtime with the same port at another address of this host.
pub(crate) fn bind(port: u16) -> io::Result<BoundUnix> {
    let folder = socket_folder();
    make_private(&folder)?;
    let path = socket_path(port);
    let _lock = lock(&folder)?;
    sweep_all(&folder);
    if path.exists() && !remove_if_stale(&path)? {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let listener = UnixListener::bind(&path)?;
    BOUND.lock().insert(path.clone());
    Ok(BoundUnix { listener, path })
}

/// Removes the file of a runtime that has been killed: nobody listens there. Whoever finds that out, cleans up.
pub(crate) fn sweep(port: u16) {
    if let Ok(_lock) = lock(&socket_folder()) {
        // Whoever comes next tries again.
        let _ = remove_if_stale(&socket_path(port));
    }
}

/// Time between two looks of a process at what others have left.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// When this process has looked last.
static SWEPT: Mutex<Option<Instant>> = Mutex::new(None);

/// Removes the files of all runtimes that have been killed, also of those that nobody knew. Call it under the lock: whoever
/// has bound a socket by then listens. Those that the kernel lists are not tried, since every trial is a connection there.
fn sweep_all(folder: &Path) {
    let now = Instant::now();
    let last = SWEPT.lock().replace(now);
    if last.is_some_and(|last| now.duration_since(last) < SWEEP_EVERY) {
        return;
    }
    let (Ok(files), Ok(listed)) = (std::fs::read_dir(folder), std::fs::read("/proc/net/unix")) else {
        return;
    };
    let listed = String::from_utf8_lossy(&listed);
    let bound: HashSet<&str> = listed.lines().filter_map(|line| Some(&line[line.find('/')?..])).collect();
    for file in files.flatten() {
        let path = file.path();
        let is_listed = path.to_str().is_none_or(|path| bound.contains(path));
        if !is_listed && is_named_by_port(&path) && file.file_type().is_ok_and(|kind| kind.is_socket()) {
            // Whoever comes next tries again.
            let _ = remove_if_stale(&path);
        }
    }
}

/// Whether a file has a name of [`socket_path`].
fn is_named_by_port(path: &Path) -> bool {
    let port = path.file_stem().and_then(OsStr::to_str).and_then(|stem| stem.parse::<u16>().ok());
    port.is_some() && path.extension() == Some(OsStr::new("sock"))
}

/// Keeps others of this user from binding and sweeping meanwhile; both take no time.
fn lock(folder: &Path) -> io::Result<File> {
    let folder = File::open(folder)?;
    rustix::fs::flock(&folder, FlockOperation::LockExclusive)?;
    Ok(folder)
}

/// True if the file was there, nobody listened, and it is gone now. Call it under the lock.
fn remove_if_stale(path: &Path) -> io::Result<bool> {
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A listener whose backlog is full must not keep us waiting; it is no dead one.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Makes the folder so that nobody else can put a socket there, or makes sure that it is so.
fn make_private(folder: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let metadata = std::fs::symlink_metadata(folder)?;
    let private =
        metadata.is_dir() && metadata.uid() == own_user() && metadata.permissions().mode() & 0o077 == 0;
    if private {
        Ok(())
    } else {
        let message = format!("{} must be a folder of this user's with mode 0700", folder.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
    }
}

pub(crate) async fn connect(path: &Path) -> io::Result<AnyStream> {
    adopt(UnixStream::connect(path).await?)
}

/// The next connection of this user's. What others open is closed, and nobody waits for it.
pub(crate) async fn accept(bound: &BoundUnix) -> io::Result<AnyStream> {
    loop {
        let (stream, _) = bound.listener.accept().await?;
        match adopt(stream) {
            Ok(stream) => return Ok(stream),
            Err(error) => debug!(%error, "a connection to the Unix socket was not let in"),
        }
    }
}

fn adopt(stream: UnixStream) -> io::Result<AnyStream> {
    let peer = stream.peer_cred()?.uid();
    if peer != own_user() {
        let message = format!("the process at the other end belongs to user {peer}");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER)?;
    Ok(Arc::new(Unix::new(Arc::new(stream.into_std()?.into()), Arc::default())?))
}

/// What a reactor tells of a socket: of bytes and, only while somebody waits for it, of room. There is room again whenever
/// the peer has read: a thread that hears of that is woken once more for each message.
#[derive(Debug, Default)]
struct Watch {
    registered: RwLock<Option<AsyncFd<Arc<OwnedFd>>>>,
    for_room: AtomicBool,
}

impl Watch {
    fn new(socket: &Arc<OwnedFd>) -> io::Result<Watch> {
        let watch = Watch::default();
        watch.register(socket, Interest::READABLE)?;
        Ok(watch)
    }

    /// From now on the reactor in whose context this is called tells of these, first of what there is already.
    fn register(&self, socket: &Arc<OwnedFd>, interest: Interest) -> io::Result<()> {
        let mut registered = self.registered.write();
        // A reactor takes a descriptor once.
        *registered = None;
        #[expect(
            deprecated,
            reason = "what makes it unsound is a descriptor that others may close; this one is owned"
        )]
        let watched = AsyncFd::with_interest(socket.clone(), interest)?;
        *registered = Some(watched);
        Ok(())
    }

    fn poll_bytes(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ask(|watched| watched.poll_read_ready(context).map_ok(drop))?
    }

    /// Whoever waits for bytes is the same task: it is woken to wait for them anew.
    fn poll_room(&self, socket: &Arc<OwnedFd>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.for_room.swap(true, Ordering::Relaxed) {
            self.register(socket, Interest::READABLE.add(Interest::WRITABLE))?;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.ask(|watched| watched.poll_write_ready(context).map_ok(drop))?)?;
        self.for_room.store(false, Ordering::Relaxed);
        Poll::Ready(self.register(socket, Interest::READABLE))
    }

    fn ask<R>(&self, ask: impl FnOnce(&AsyncFd<Arc<OwnedFd>>) -> R) -> io::Result<R> {
        let registered = self.registered.read();
        let watched = registered.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        Ok(ask(watched))
    }
}

impl Unix {
    fn new(socket: Arc<OwnedFd>, descriptors: Arc<Descriptors>) -> io::Result<Unix> {
        Ok(Unix { watch: Watch::new(&socket)?, socket, descriptors })
    }

    fn read_with_descriptors(&self, buffer: &mut [u8]) -> io::Result<Read> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let slices = &mut [IoSliceMut::new(buffer)];
        let received = rustix::net::recvmsg(&self.socket, slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        let mut brought = false;
        for message in ancillary.drain() {
            let RecvAncillaryMessage::ScmRights(descriptors) = message else { continue };
            let mut waiting = self.descriptors.waiting.lock();
            let room = DESCRIPTORS.saturating_sub(waiting.len());
            waiting.extend(descriptors.take(room));
            brought = true;
        }
        // The system ends a read behind a descriptor, even if there is more.
        Ok(Read { bytes: received.bytes, cut_short: brought })
    }
}

impl Stream for Unix {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch.poll_bytes(context)
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch.poll_room(&self.socket, context)
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        read_from(
            buffer.len(),
            |read| self.watch.ask(|watched| watched.try_io(Interest::READABLE, |_| read()))?,
            || match self.descriptors.kept.load(Ordering::Acquire) {
                true => self.read_with_descriptors(buffer),
                false => Ok(Read::of(rustix::io::read(&self.socket, &mut *buffer)?)),
            },
        )
    }

    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(rustix::io::writev(&self.socket, slices)?)
    }

    fn close(&self) {
        // An error means that the connection has ended already, which is what is wanted.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }

    fn finish(&self) {
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
    }

    fn name(&self) -> &'static str {
        "unix"
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }

    fn trust(&self) -> Trust {
        Trust::SameUser
    }

    fn moved(self: Arc<Self>) -> io::Result<AnyStream> {
        let socket = Arc::new(self.socket.try_clone()?);
        Ok(Arc::new(Unix::new(socket, self.descriptors.clone())?))
    }

    fn unwatched(self: Arc<Self>) -> Option<AnyStream> {
        let socket = Arc::new(self.socket.try_clone().ok()?);
        Some(Arc::new(Unix { socket, watch: Watch::default(), descriptors: self.descriptors.clone() }))
    }

    fn is_on_this_host(&self) -> bool {
        true
    }

    fn carries_descriptors(&self) -> bool {
        true
    }

    fn try_write_with(&self, slices: &[IoSlice<'_>], descriptor: BorrowedFd<'_>) -> io::Result<usize> {
        let descriptors = [descriptor];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        Ok(rustix::net::sendmsg(&self.socket, slices, &mut ancillary, SendFlags::NOSIGNAL)?)
    }

    fn keep_descriptors(&self) {
        self.descriptors.kept.store(true, Ordering::Release);
    }

    fn take_descriptor(&self) -> Option<OwnedFd> {
        self.descriptors.waiting.lock().pop_front()
    }
}
