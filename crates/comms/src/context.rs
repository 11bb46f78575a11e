//! What the managers of one process share: I/O threads, an executor where the program has none, a pool of receive
//! buffers and the memory budget. A simulated context stands for them on a virtual clock, without sockets or threads.

mod sharing;
mod simulated;

use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;

use mosaic_proto::link::Budget;
use mosaic_proto::{HostId, Time};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime as Executor};
use tokio::sync::oneshot;
use tokio::time::Instant;

pub use self::sharing::SharedMemory;
pub(crate) use self::sharing::{Lendable, OwnMemory, Share};
use self::sharing::{Sharing, default_share};
use crate::descriptors::{self, Mark};
use crate::link::Link;
use crate::pool::{DEFAULT_KEEP, Pool};
use crate::transport::door::Door;
use crate::transport::memory;
use crate::transport::simulated::Node;
use crate::transport::{AnyStream, Stream};

/// I/O threads of a context by default. One reads and writes faster than two cores can compute with what it brings.
const IO_THREADS: usize = 1;

/// What is taken for the machine's memory where the system doesn't say how much it has.
const FALLBACK_MEMORY: u64 = 8 << 30;

/// What the managers of one process share. Clones share it; its threads end with the last of them and of the managers.
///
/// # Example
/// ```
/// use mosaic_comms::Context;
/// let context = Context::builder().io_threads(2).budget(1 << 30).build()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Context(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pid: u32,
    io: Vec<IoThread>,
    /// Apart from the threads that copy what is large. A simulated one has none.
    urgent: Option<IoThread>,
    next_io: AtomicUsize,
    executor: OnceLock<OwnExecutor>,
    pool: Pool,
    budget: Mutex<Budget<Waiting>>,
    sharing: Sharing,
    registry: Arc<memory::Registry>,
    door: Door,
    network: Option<Node>,
    /// The streams that belong to executors' reactors.
    carried: Mutex<Vec<Weak<dyn Stream>>>,
    random: Mutex<fastrand::Rng>,
    origin: Instant,
    host: HostId,
    pid_namespace: u64,
}

/// A link that waits for its turn at the budget.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub(crate) number: u64,
    pub(crate) link: Weak<Link>,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Waiting) -> bool {
        self.number == other.number
    }
}

/// Makes a [`Context`] with other settings than the default ones.
#[derive(Debug, Clone)]
pub struct ContextBuilder {
    io_threads: usize,
    keep: usize,
    budget: u64,
    share: usize,
}

impl ContextBuilder {
    /// Threads that accept, dial, and read and write where the executor does not. Default 1; more help where many links carry
    /// much.
    #[must_use]
    pub fn io_threads(mut self, threads: usize) -> Self {
        self.io_threads = threads.max(1);
        self
    }

    /// Bytes of idle receive buffers that are kept for use again. Default 256 MiB; fewer save memory, and cost page
    /// faults when large arrays come.
    #[must_use]
    pub fn keep_buffers(mut self, bytes: usize) -> Self {
        self.keep = bytes;
        self
    }

    /// Bytes that all peers together may have under way to this process beyond their initial windows: half for
    /// requests, half for replies. Default: half of the memory of the machine. No message may cost more than half.
    #[must_use]
    pub fn budget(mut self, bytes: u64) -> Self {
        self.budget = bytes;
        self
    }

    /// Bytes of memory that are shared with other processes of this user on this host at most, each way: large arrays go
    /// to them by one copy, and lie in that memory where they are received. Default: a sixteenth of the memory of the
    /// machine, 1 GiB at most; 0 shares none. What is beyond goes by the Unix socket.
    ///
    /// A program that forks without starting another should share none: an array that was received lies in the same
    /// memory for parent and child.
    #[must_use]
    pub fn share_memory(mut self, bytes: usize) -> Self {
        self.share = bytes;
        self
    }

    /// Starts the I/O threads.
    ///
    /// # Errors
    /// What the system says if it gives no thread or no epoll instance.
    pub fn build(self) -> std::io::Result<Context> {
        let start = |number| IoThread::start(format!("mosaic-io-{number}"));
        let io = (0..self.io_threads).map(start).collect::<std::io::Result<Vec<_>>>()?;
        let urgent = IoThread::start("mosaic-urgent".to_owned())?;
        let seed = fastrand::u64(..) ^ u64::from(std::process::id()).rotate_left(32);
        Ok(Context(Arc::new(Inner::new(self, io, Some(urgent), None, seed))))
    }
}

impl Inner {
    fn new(
        settings: ContextBuilder,
        io: Vec<IoThread>,
        urgent: Option<IoThread>,
        network: Option<Node>,
        seed: u64,
    ) -> Inner {
        Inner {
            pid: std::process::id(),
            io,
            urgent,
            next_io: AtomicUsize::new(0),
            executor: OnceLock::new(),
            pool: Pool::new(settings.keep),
            budget: Mutex::new(Budget::new(settings.budget)),
            sharing: Sharing::new(settings.share),
            registry: Arc::default(),
            door: Door::default(),
            network,
            carried: Mutex::default(),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            origin: Instant::now(),
            host: host_id(),
            pid_namespace: pid_namespace(),
        }
    }
}

impl Context {
    /// Starts to make a context of one's own.
    pub fn builder() -> ContextBuilder {
        let (io_threads, keep) = (IO_THREADS, DEFAULT_KEEP);
        ContextBuilder { io_threads, keep, budget: memory_of_the_machine() / 2, share: default_share() }
    }

    /// The context that all managers of this process share unless they are given another. A forked child gets a new
    /// one.
    ///
    /// # Errors
    /// See [`ContextBuilder::build`].
    pub fn global() -> std::io::Result<Context> {
        static GLOBAL: Mutex<Weak<Inner>> = Mutex::new(Weak::new());
        let mut global = GLOBAL.lock();
        match global.upgrade() {
            Some(inner) if inner.pid == std::process::id() => Ok(Context(inner)),
            _ => {
                let context = Context::builder().build()?;
                *global = Arc::downgrade(&context.0);
                Ok(context)
            }
        }
    }

    /// The pool that received arrays are kept in.
    pub fn pool(&self) -> &Pool {
        &self.0.pool
    }

    /// Bytes that are lent to peers beyond their initial windows now.
    pub fn lent(&self) -> u64 {
        self.0.budget.lock().lent()
    }

    pub(crate) fn budget(&self) -> &Mutex<Budget<Waiting>> {
        &self.0.budget
    }

    /// Where strangers wait for their turn.
    pub(crate) fn door(&self) -> &Door {
        &self.0.door
    }

    pub(crate) fn registry(&self) -> &Arc<memory::Registry> {
        &self.0.registry
    }

    pub(crate) fn network(&self) -> Option<&Node> {
        self.0.network.as_ref()
    }

    pub(crate) fn now(&self) -> Time {
        Time::from_origin(self.0.origin.elapsed())
    }

    /// The executor's moment for the protocol's.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.0.origin + time.since_origin()
    }

    pub(crate) fn time(&self, instant: Instant) -> Time {
        Time::from_origin(instant.saturating_duration_since(self.0.origin))
    }

    /// A random number that nobody else draws; 0 is left out, since it means none on the wire.
    pub(crate) fn draw(&self) -> u64 {
        self.0.random.lock().u64(1..)
    }

    pub(crate) fn host(&self) -> (HostId, u64) {
        (self.0.host, self.0.pid_namespace)
    }

    /// The I/O thread that the next manager or link belongs to.
    pub(crate) fn next_io(&self) -> Handle {
        let next = self.0.next_io.fetch_add(1, Ordering::Relaxed);
        self.0.io[next % self.0.io.len()].handle.clone()
    }

    /// The thread of what must not wait for large transfers: control lanes and the links' timers.
    pub(crate) fn urgent(&self) -> Handle {
        self.0.urgent.as_ref().map_or_else(|| self.next_io(), |thread| thread.handle.clone())
    }

    /// An I/O thread as an executor, for runtimes that only pass on what they are asked, as bindings to other languages
    /// do, beside their [`EventLoop`](crate::EventLoop): it saves the way over another thread. What takes time there
    /// delays every link.
    pub fn io_executor(&self) -> Handle {
        self.next_io()
    }

    /// Whether an executor can carry connections: it has a reactor, and is none of the I/O threads, which carry them anyway.
    pub(crate) fn can_carry_on(&self, executor: &Handle) -> bool {
        let is_ours = self.0.io.iter().any(|thread| thread.handle.id() == executor.id());
        if self.0.network.is_some() || is_ours || cfg!(panic = "abort") {
            return false;
        }
        // tokio says by a panic that a runtime was made without a reactor, and by nothing else.
        let try_out = || {
            let _executor = executor.enter();
            let (stream, _) = std::os::unix::net::UnixStream::pair()?;
            stream.set_nonblocking(true)?;
            tokio::net::UnixStream::from_std(stream)
        };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(try_out)).is_ok_and(|tried| tried.is_ok())
    }

    /// The descriptors that it has open: those of its reactors, and of every connection, listener and process that it
    /// watches. A forked child closes them, by `close` and nothing else, and leaves the context, which is its parent's,
    /// alone.
    ///
    /// # Errors
    /// What the system says if `/proc` can't be read.
    pub fn descriptors(&self) -> std::io::Result<Vec<RawFd>> {
        let io = self.0.io.iter().chain(&self.0.urgent).filter_map(|thread| thread.mark.as_ref());
        let marks = io.chain(self.0.executor.get().map(|own| &own.mark));
        let mut open = descriptors::of_reactors(marks)?;
        let carried = self.0.carried.lock();
        open.extend(carried.iter().filter_map(Weak::upgrade).filter_map(|stream| number_of(&*stream)));
        // An I/O thread may watch the same.
        open.sort_unstable();
        open.dedup();
        Ok(open)
    }

    /// Keeps in mind a stream that belongs to another's reactor.
    pub(crate) fn note_carried(&self, stream: &AnyStream) {
        let mut carried = self.0.carried.lock();
        carried.retain(|stream| stream.strong_count() > 0);
        carried.push(Arc::downgrade(stream));
    }

    /// The executor for programs that have none; in a simulation, the one there is.
    pub(crate) fn executor(&self) -> std::io::Result<Handle> {
        if self.0.network.is_some() {
            return Ok(self.0.io[0].handle.clone());
        }
        if let Some(executor) = self.0.executor.get() {
            return Ok(executor.handle());
        }
        let executor = Builder::new_multi_thread().thread_name("mosaic-executor").enable_all().build()?;
        let mark = Mark::new(executor.handle())?;
        let own = OwnExecutor { executor: Some(executor), mark };
        Ok(self.0.executor.get_or_init(|| own).handle())
    }
}

/// A thread that runs nothing but the links' pumps and timers, and membership.
#[derive(Debug)]
struct IoThread {
    handle: Handle,
    /// A simulated one has none.
    mark: Option<Mark>,
    stop: Option<oneshot::Sender<()>>,
}

/// Tasks that an I/O thread runs before it looks which sockets are ready. tokio's 61 would let a crowd of strangers make
/// those wait who are in.
const TASKS_IN_A_ROW: u32 = 8;

impl IoThread {
    fn start(name: String) -> std::io::Result<IoThread> {
        let reactor = Builder::new_current_thread().event_interval(TASKS_IN_A_ROW).enable_all().build()?;
        let handle = reactor.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name(name).spawn(move || {
            // The sender is dropped with the context: that too is the end.
            let _ = reactor.block_on(stopped);
        })?;
        Ok(IoThread { mark: Some(Mark::new(&handle)?), handle, stop: Some(stop) })
    }
}

impl Drop for IoThread {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may be the one that drops us, so it is told and not joined.
            let _ = stop.send(());
        }
    }
}

fn number_of(stream: &dyn Stream) -> Option<RawFd> {
    stream.descriptor().map(|descriptor| descriptor.as_raw_fd())
}

/// An executor that may be dropped anywhere, also on its own threads.
#[derive(Debug)]
struct OwnExecutor {
    executor: Option<Executor>,
    mark: Mark,
}

impl OwnExecutor {
    fn handle(&self) -> Handle {
        let executor = self.executor.as_ref();
        executor.map(|executor| executor.handle().clone()).expect("it is taken out on drop only")
    }
}

impl Drop for OwnExecutor {
    fn drop(&mut self) {
        if let Some(executor) = self.executor.take() {
            executor.shutdown_background();
        }
    }
}

/// What tells this boot of this machine from all others; zeros where the system doesn't say.
fn host_id() -> HostId {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = boot.chars().filter(char::is_ascii_hexdigit).collect();
    HostId(u128::from_str_radix(&digits, 16).unwrap_or(0).to_be_bytes())
}

/// The namespace that process ids belong to; 0 where the system doesn't say.
fn pid_namespace() -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |metadata| metadata.ino())
}

/// Bytes of memory that the machine has.
fn memory_of_the_machine() -> u64 {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = total.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kibibytes.map_or(FALLBACK_MEMORY, |kibibytes| kibibytes * 1024)
}
