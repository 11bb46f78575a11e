//! The settings of a manager, each with its unit, its default and what it trades.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mosaic_proto::Intervals;
use mosaic_proto::limits::Limits;
use thiserror::Error;
use tokio::runtime::Handle;

use crate::context::Context;
use crate::event_loop::EventLoop;

/// How long a handshake waits by default: time enough for a monitor that is started together with those who join.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// How long [`stop`](crate::CommsManager::stop) drains by default what was accepted.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);

/// Handlers of one runtime that run at the same time at most.
const RUNNING_HANDLERS: usize = 4096;

/// Who may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Security {
    /// Runtimes that hold the credential of the job: over TCP by TLS 1.3, in which both sides prove it. On the same host,
    /// those of the same user, by the kernel's word.
    #[default]
    Secure,
    /// Anyone who can reach the port, in clear text: for trusted networks and for foreign ZeroMQ peers.
    Insecure,
}

/// Whether runtimes of the same host and user meet over Unix sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum UnixSockets {
    /// They do, which is the fastest way and needs no credential.
    #[default]
    Use,
    /// They use TCP, as those of other hosts do.
    Avoid,
}

/// What it means that every address of a peer on another host refuses connections, twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Refusals {
    /// Nobody listens there any more: the peer is dead.
    #[default]
    ProveDeath,
    /// Nothing: a proxy, a tunnel or a forwarded port may be in between, and refuse while the peer lives. It is
    /// unreachable once it has been silent for [`Config::dead_after`].
    ProveNothing,
}

/// The settings of a manager. Every one has a default.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use mosaic_comms::Config;
/// let config = Config::default().address("127.0.0.1").monitor("127.0.0.1", 3000).handshake_within(Duration::from_secs(2));
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) address: Option<String>,
    pub(crate) interface: Option<String>,
    pub(crate) port: u16,
    pub(crate) monitor: Option<(String, u16)>,
    pub(crate) context: Option<Context>,
    pub(crate) executor: Option<Handle>,
    pub(crate) event_loop: Option<Arc<dyn EventLoop>>,
    pub(crate) security: Security,
    pub(crate) unix_sockets: UnixSockets,
    pub(crate) refusals: Refusals,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) accept_stop_from: Option<Vec<String>>,
    pub(crate) limits: Limits,
    pub(crate) intervals: Intervals,
    pub(crate) handshake_within: Duration,
    pub(crate) drain_within: Duration,
    pub(crate) running_handlers: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            address: None,
            interface: None,
            port: 0,
            monitor: None,
            context: None,
            executor: None,
            event_loop: None,
            security: Security::default(),
            unix_sockets: UnixSockets::default(),
            refusals: Refusals::default(),
            key_file: None,
            accept_stop_from: None,
            limits: Limits::default(),
            intervals: Intervals::default(),
            handshake_within: HANDSHAKE_WITHIN,
            drain_within: DRAIN_WITHIN,
            running_handlers: RUNNING_HANDLERS,
        }
    }
}

/// An environment variable that does not say what it should.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A port is no port.
    #[error("{variable} is `{found}`, a port from 1 to 65535 is wanted")]
    Port {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        found: String,
    },
    /// Only one half of the monitor's address is given.
    #[error("{given} is set and {missing} is not: both say where the monitor is")]
    HalfMonitor {
        /// The variable that is set.
        given: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
}

const MONITOR_HOST: &str = "MOSAIC_MONITOR_HOST";
const MONITOR_PORT: &str = "MOSAIC_MONITOR_PORT";
const INTERFACE: &str = "MOSAIC_INTERFACE";

impl Config {
    /// The defaults, and from the environment what it says: `MOSAIC_MONITOR_HOST` and `MOSAIC_MONITOR_PORT` (where the
    /// monitor is) and `MOSAIC_INTERFACE` (whose address others are told).
    ///
    /// # Errors
    /// [`ConfigError`] names the variable that is wrong.
    pub fn from_env() -> Result<Config, ConfigError> {
        let read = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let mut config = Config { interface: read(INTERFACE), ..Config::default() };
        match (read(MONITOR_HOST), read(MONITOR_PORT)) {
            (Some(host), Some(found)) => match found.parse() {
                Ok(port) if port > 0 => config.monitor = Some((host, port)),
                _ => return Err(ConfigError::Port { variable: MONITOR_PORT, found }),
            },
            (Some(_), None) => {
                return Err(ConfigError::HalfMonitor { given: MONITOR_HOST, missing: MONITOR_PORT });
            }
            (None, Some(_)) => {
                return Err(ConfigError::HalfMonitor { given: MONITOR_PORT, missing: MONITOR_HOST });
            }
            (None, None) => {}
        }
        Ok(config)
    }

    /// The address to bind and to tell the others, a name or a number. Default: that of the interface, else that of
    /// the default route.
    #[must_use]
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// The interface whose address is bound, where no address is given: `ib0`.
    #[must_use]
    pub fn interface(mut self, name: impl Into<String>) -> Self {
        self.interface = Some(name.into());
        self
    }

    /// The port to bind. Default 0: the first free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Where the monitor is. Default: nowhere; the runtime is reached by those who know its address.
    #[must_use]
    pub fn monitor(mut self, host: impl Into<String>, port: u16) -> Self {
        self.monitor = Some((host.into(), port));
        self
    }

    /// Without a monitor to join: as a monitor is, and whoever is reached by those who know its address.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.monitor = None;
        self
    }

    /// Where the monitor is said to be.
    pub fn monitor_place(&self) -> Option<(String, u16)> {
        self.monitor.clone()
    }

    /// What to share with other managers of this process. Default: [`Context::global`].
    #[must_use]
    pub fn context(mut self, context: Context) -> Self {
        self.context = Some(context);
        self
    }

    /// Where handlers run, and small messages are read and written. Default: the current executor or, outside of one, the
    /// context's own. One without an I/O driver (`enable_io`) leaves reading and writing to the I/O threads, as do programs that
    /// abort on panics, and small messages take a third longer.
    #[must_use]
    pub fn executor(mut self, executor: Handle) -> Self {
        self.executor = Some(executor);
        self
    }

    /// A loop of another language that takes the executor's part of what is done for each message: its thread reads and writes
    /// small messages and starts handlers. Default: none.
    #[must_use]
    pub fn event_loop(mut self, event_loop: Arc<dyn EventLoop>) -> Self {
        self.event_loop = Some(event_loop);
        self
    }

    /// Who may connect. Default: those who hold the job's credential, and the same user on the same host.
    #[must_use]
    pub fn security(mut self, security: Security) -> Self {
        self.security = security;
        self
    }

    /// Whether to meet runtimes of the same host and user over Unix sockets. Default: yes. Without them TCP is used.
    #[must_use]
    pub fn unix_sockets(mut self, unix_sockets: UnixSockets) -> Self {
        self.unix_sockets = unix_sockets;
        self
    }

    /// Whether a peer whose addresses refuse connections is dead. Default: yes. To be changed where peers are reached
    /// through proxies, which refuse for themselves.
    #[must_use]
    pub fn refusals(mut self, refusals: Refusals) -> Self {
        self.refusals = refusals;
        self
    }

    /// The file that keeps the job's credential; the monitor makes it if it is not there. Default: the one that
    /// `MOSAIC_KEY_FILE` names, else `~/.mosaic/<monitor's host>-<port>.key`.
    #[must_use]
    pub fn key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.key_file = Some(path.into());
        self
    }

    /// The runtimes that may stop this one, as patterns such as `head` and `worker:*`. Default: all that are
    /// authenticated. It protects from mistakes: runtimes of a job trust each other, and choose their uids themselves.
    #[must_use]
    pub fn accept_stop_from<P: Into<String>>(mut self, patterns: impl IntoIterator<Item = P>) -> Self {
        self.accept_stop_from = Some(patterns.into_iter().map(Into::into).collect());
        self
    }

    /// What a peer may send, checked before memory is taken.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Silence after which a peer is unreachable. Default 4 s; shorter finds lost hosts sooner and forgives less.
    /// Suspicion and hearts keep their proportion to it.
    #[must_use]
    pub fn dead_after(mut self, silence: Duration) -> Self {
        self.intervals = Intervals { heart: silence / 8, suspect: silence / 2, dead: silence };
        self
    }

    /// How long a handshake goes on trying. Default 10 s.
    #[must_use]
    pub fn handshake_within(mut self, limit: Duration) -> Self {
        self.handshake_within = limit;
        self
    }

    /// How long a stop drains what was accepted before it says goodbye regardless. Default 5 s.
    #[must_use]
    pub fn drain_within(mut self, limit: Duration) -> Self {
        self.drain_within = limit;
        self
    }

    /// Handlers that run at the same time at most. Default 4096. Beyond, requests wait at their senders, and nested
    /// ones are refused as overloaded.
    #[must_use]
    pub fn running_handlers(mut self, most: usize) -> Self {
        self.running_handlers = most.max(1);
        self
    }
}
