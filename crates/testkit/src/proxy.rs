//! A proxy that harms what passes through it: it cuts, holds, delays, throttles, half-closes and corrupts, at the byte that
//! the test names. It knows nothing of what the bytes mean, so they may be encrypted.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Bytes that are carried at once at most.
const CHUNK: usize = 64 * 1024;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From who dialled.
    Forth = 0,
    /// To who dialled.
    Back = 1,
}

/// Which connections are meant, in the order in which they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those there are, and those to come.
    All,
    /// One, counted from 0, be it still to come.
    Nth(usize),
}

/// What happens to the bytes of one connection in one direction. Positions are counted from its first byte.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Harm {
    /// Nothing is carried, and nobody is told.
    pub held: bool,
    /// Each piece is carried so much later.
    pub delay: Duration,
    /// Bytes a second at most.
    pub rate: Option<u64>,
    /// The connection is cut once so many bytes have been carried.
    pub cut_at: Option<u64>,
    /// The direction ends after so many bytes; the other goes on.
    pub end_at: Option<u64>,
    /// The byte at this position arrives with another lowest bit.
    pub corrupt_at: Option<u64>,
}

/// A byte stream of any kind.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// Where connections come from, and where they are led.
enum Ends {
    Tcp(TcpListener, u16),
    /// The TCP port is kept so that nobody else has the path that belongs to it.
    Unix(UnixListener, TcpListener, u16),
}

impl Ends {
    async fn accept(&self) -> io::Result<Box<dyn Duplex>> {
        Ok(match self {
            Ends::Tcp(listener, _) => Box::new(listener.accept().await?.0),
            Ends::Unix(listener, ..) => Box::new(listener.accept().await?.0),
        })
    }

    async fn connect(&self) -> io::Result<Box<dyn Duplex>> {
        Ok(match self {
            Ends::Tcp(_, port) => Box::new(TcpStream::connect(("127.0.0.1", *port)).await?),
            Ends::Unix(_, _, port) => Box::new(UnixStream::connect(socket_path(*port)).await?),
        })
    }

    fn port(&self) -> u16 {
        let (Ends::Tcp(listener, _) | Ends::Unix(_, listener, _)) = self;
        listener.local_addr().expect("a proxy can be set up").port()
    }
}

/// The Unix socket that belongs to a TCP port, as `docs/wire.md` says.
fn socket_path(port: u16) -> PathBuf {
    let folder = match std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder).join("mosaic"),
        None => PathBuf::from(format!("/tmp/mosaic-{}", rustix::process::geteuid().as_raw())),
    };
    folder.join(format!("{port}.sock"))
}

/// What is known of one connection, be it still to come.
#[derive(Clone)]
struct Connection {
    harms: [Arc<watch::Sender<Harm>>; 2],
    cut: CancellationToken,
}

#[derive(Default)]
struct State {
    connections: Vec<Connection>,
    /// What happens to the connections to come.
    harms: [Harm; 2],
}

impl State {
    fn connection(&mut self, number: usize) -> &Connection {
        while self.connections.len() <= number {
            let harms = self.harms.each_ref().map(|harm| Arc::new(watch::Sender::new(harm.clone())));
            self.connections.push(Connection { harms, cut: CancellationToken::new() });
        }
        &self.connections[number]
    }
}

/// Stands before a listener of this host. Everything through it ends when it is dropped.
pub struct Proxy {
    port: u16,
    state: Arc<Mutex<State>>,
    made: watch::Receiver<usize>,
    path: Option<PathBuf>,
    _carrying: JoinSet<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Proxy {
    /// Stands before a TCP port of 127.0.0.1.
    pub async fn tcp(to: u16) -> Proxy {
        Proxy::start(
            Ends::Tcp(TcpListener::bind(("127.0.0.1", 0)).await.expect("a proxy can be set up"), to),
            None,
        )
    }

    /// Stands before the Unix socket that belongs to a TCP port.
    pub async fn unix(to: u16) -> Proxy {
        loop {
            let reserved = TcpListener::bind(("127.0.0.1", 0)).await.expect("a proxy can be set up");
            let path = socket_path(reserved.local_addr().expect("a proxy can be set up").port());
            match UnixListener::bind(&path) {
                Ok(listener) => return Proxy::start(Ends::Unix(listener, reserved, to), Some(path)),
                // Somebody has the same port at another address, or was killed and left the file.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => panic!("a proxy can't be set up: {error}"),
            }
        }
    }

    fn start(ends: Ends, path: Option<PathBuf>) -> Proxy {
        let (port, state) = (ends.port(), Arc::new(Mutex::new(State::default())));
        let (tell, made) = watch::channel(0);
        let mut carrying = JoinSet::new();
        carrying.spawn(run(ends, state.clone(), tell));
        Proxy { port, state, made, path, _carrying: carrying }
    }

    /// Where to connect to in place of what it stands before.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections have been made so far.
    pub fn made(&self) -> usize {
        *self.made.borrow()
    }

    /// Waits until so many connections have been made.
    pub async fn connected(&self, count: usize) {
        self.made.clone().wait_for(|made| *made >= count).await.expect("a proxy can be set up");
    }

    /// Cuts connections: both ends see the end of what has been carried. Others can be made at once.
    pub fn cut(&self, which: Which) {
        let mut state = self.state.lock();
        match which {
            Which::All => {
                let made = state.connections.iter().take(self.made());
                made.for_each(|connection| connection.cut.cancel());
            }
            Which::Nth(number) => state.connection(number).cut.cancel(),
        }
    }

    /// From now on this happens to what is carried in this direction.
    pub fn harm(&self, which: Which, direction: Direction, harm: &Harm) {
        let mut state = self.state.lock();
        match which {
            Which::Nth(number) => {
                state.connection(number).harms[direction as usize].send_replace(harm.clone());
            }
            Which::All => {
                state.harms[direction as usize] = harm.clone();
                for connection in &state.connections {
                    connection.harms[direction as usize].send_replace(harm.clone());
                }
            }
        }
    }
}

/// Accepts, and carries what comes.
async fn run(ends: Ends, state: Arc<Mutex<State>>, made: watch::Sender<usize>) {
    let mut carrying = JoinSet::new();
    while let Ok(near) = ends.accept().await {
        // Where nobody listens any more, who has dialled sees the connection end.
        let Ok(far) = ends.connect().await else { continue };
        let number = *made.borrow();
        let Connection { harms: [forth, back], cut } = state.lock().connection(number).clone();
        let ((near_read, near_write), (far_read, far_write)) = (split(near), split(far));
        let forth = carry(near_read, far_write, forth.subscribe(), cut.clone());
        let back = carry(far_read, near_write, back.subscribe(), cut.clone());
        carrying.spawn(async move {
            let both = async { tokio::join!(forth, back) };
            // The halves of a stream end with the last of them.
            cut.run_until_cancelled(both).await;
        });
        made.send_replace(number + 1);
    }
}

/// Carries one direction to its end. An error of one side ends the connection for the other too.
async fn carry(
    mut from: ReadHalf<Box<dyn Duplex>>,
    mut to: WriteHalf<Box<dyn Duplex>>,
    mut harm: watch::Receiver<Harm>,
    cut: CancellationToken,
) {
    let mut carried = 0;
    let mut buffer = vec![0; CHUNK];
    loop {
        // The sender lives as long as the proxy.
        let now = harm.wait_for(|harm| !harm.held).await.map(|harm| harm.clone()).unwrap_or_default();
        let Ok(read) = from.read(&mut buffer[..now.room(carried)]).await else { return cut.cancel() };
        // What has come while it was held waits too.
        let now = harm.wait_for(|harm| !harm.held).await.map(|harm| harm.clone()).unwrap_or_default();
        let piece = &mut buffer[..read.min(now.left(carried))];
        now.corrupt(carried, piece);
        tokio::time::sleep(now.delay + now.rate.map_or(Duration::ZERO, |rate| time_of(piece.len(), rate)))
            .await;
        if to.write_all(piece).await.is_err() {
            return cut.cancel();
        }
        carried += piece.len() as u64;
        if now.cut_at == Some(carried) {
            return cut.cancel();
        }
        if read == 0 || now.end_at == Some(carried) {
            let _ = to.shutdown().await;
            return;
        }
    }
}

fn time_of(bytes: usize, rate: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 / rate as f64)
}

impl Harm {
    /// How much is carried at once, from this position on: a tenth of a second's worth where the rate is bounded.
    fn room(&self, carried: u64) -> usize {
        let at_once = self.rate.map_or(CHUNK as u64, |rate| (rate / 10).clamp(1, CHUNK as u64));
        self.left(carried).min(at_once as usize)
    }

    /// How much may be carried from this position on, up to [`CHUNK`], before the connection or the direction ends.
    fn left(&self, carried: u64) -> usize {
        let stop = self.cut_at.into_iter().chain(self.end_at).filter(|&at| at > carried).min();
        stop.map_or(CHUNK as u64, |stop| (stop - carried).min(CHUNK as u64)) as usize
    }

    fn corrupt(&self, carried: u64, piece: &mut [u8]) {
        let offset = self.corrupt_at.and_then(|at| at.checked_sub(carried));
        if let Some(byte) = offset.and_then(|offset| piece.get_mut(usize::try_from(offset).ok()?)) {
            *byte ^= 1;
        }
    }
}
