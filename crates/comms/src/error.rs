//! What can go wrong, an enum an operation, and the structured error that travels between runtimes.

use std::fmt;
use std::time::Duration;

use mosaic_proto::link::Execution;
use mosaic_proto::{InvalidUid, Reason, Uid};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::args::ArgumentError;
use crate::credential::CredentialError;
use crate::decode::DecodeError;
use crate::encode::EncodeError;

/// An error of a handler, as it arrives at the caller. Nothing in it is ever executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteError {
    /// A stable name of what went wrong, such as `unknown-method`, `argument`, `panic` or an application's own.
    pub kind: String,
    /// What went wrong, for people.
    pub message: String,
    /// The chain of causes, outermost first.
    #[serde(default)]
    pub causes: Vec<String>,
    /// The remote backtrace or traceback, where there is one.
    #[serde(default)]
    pub backtrace: Option<String>,
    /// The runtime in which it went wrong.
    #[serde(default)]
    pub uid: String,
    /// The method that was called.
    #[serde(default)]
    pub method: String,
    /// Whether the handler had been started.
    #[serde(default)]
    pub ran: bool,
}

impl RemoteError {
    /// The method doesn't exist.
    pub const UNKNOWN_METHOD: &'static str = "unknown-method";
    /// The object of a command doesn't exist.
    pub const UNKNOWN_OBJECT: &'static str = "unknown-object";
    /// An argument is missing, unknown or of another type.
    pub const ARGUMENT: &'static str = "argument";
    /// The handler panicked.
    pub const PANIC: &'static str = "panic";
    /// The handler's result could not be encoded.
    pub const ENCODE: &'static str = "encode";
    /// Too many handlers run already.
    pub const OVERLOADED: &'static str = "overloaded";
    /// The caller's deadline had passed before the handler started.
    pub const EXPIRED: &'static str = "expired";
    /// The caller may not do this.
    pub const REFUSED: &'static str = "refused";
    /// The runtime stops.
    pub const STOPPED: &'static str = "stopped";
    /// Any other error.
    pub const ERROR: &'static str = "error";

    /// An error of this kind.
    pub fn new(kind: &str, message: impl Into<String>) -> RemoteError {
        RemoteError {
            kind: kind.to_owned(),
            message: message.into(),
            causes: Vec::new(),
            backtrace: None,
            uid: String::new(),
            method: String::new(),
            ran: false,
        }
    }

    /// What is certain about the execution of the request.
    pub fn execution(&self) -> Execution {
        if self.ran { Execution::Ran } else { Execution::NotRun }
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        self.causes.iter().try_for_each(|cause| write!(f, ": {cause}"))?;
        write!(f, " ({} in `{}` of {})", self.kind, self.method, self.uid)
    }
}

impl std::error::Error for RemoteError {}

/// What a handler may fail with: any error, by `?`.
///
/// # Example
/// ```
/// use mosaic_comms::{Args, HandlerError};
/// fn half(args: &Args) -> Result<f64, HandlerError> {
///     let text: String = args.get("text")?;
///     Ok(text.parse::<f64>()? / 2.0)
/// }
/// ```
#[derive(Debug)]
pub struct HandlerError(pub(crate) Box<RemoteError>);

impl HandlerError {
    /// An error of a kind of one's own, which callers can tell by [`RemoteError::kind`].
    pub fn new(kind: &str, message: impl Into<String>) -> HandlerError {
        HandlerError(Box::new(RemoteError::new(kind, message)))
    }

    /// Exactly this error, with its causes and backtrace; the runtime and the method are filled in.
    pub fn exactly(error: RemoteError) -> HandlerError {
        HandlerError(Box::new(error))
    }
}

impl<E: std::error::Error + 'static> From<E> for HandlerError {
    fn from(error: E) -> HandlerError {
        HandlerError::of(&error)
    }
}

impl HandlerError {
    /// Of an error of any type, with its causes.
    pub(crate) fn of(error: &(dyn std::error::Error + 'static)) -> HandlerError {
        let kind = if error.is::<ArgumentError>() { RemoteError::ARGUMENT } else { RemoteError::ERROR };
        let mut remote = RemoteError::new(kind, error.to_string());
        let mut source = error.source();
        while let Some(cause) = source {
            remote.causes.push(cause.to_string());
            source = cause.source();
        }
        HandlerError(Box::new(remote))
    }
}

/// How a call, or a one-way message, can fail.
///
/// # Example
/// ```
/// use mosaic_comms::{CallError, CommsManager, Config, Execution, HandlerError, Methods};
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let methods = Methods::new()
///     .method("store", |_, _| async { Err::<(), _>(HandlerError::new("full", "there is no room")) });
/// let comms = CommsManager::start("monitor", methods, Config::default().address("127.0.0.1")).await?;
/// match comms.send_recv::<()>("monitor", "store", ()).await {
///     Err(CallError::Remote(error)) if error.kind == "full" => assert_eq!(error.message, "there is no room"),
///     other => panic!("{other:?}"),
/// }
/// let error = comms.send_recv::<()>("monitr", "store", ()).await.unwrap_err();
/// assert_eq!(error.to_string(), "there is no runtime `monitr`, did you mean `monitor`?");
/// assert_eq!((error.execution(), error.is_safe_to_retry()), (Execution::NotRun, true));
/// # comms.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The handler failed.
    #[error(transparent)]
    Remote(Box<RemoteError>),
    /// The peer is gone, or cannot be reached.
    #[error("{peer} is disconnected: {reason} (the request {})", certainty(*.execution))]
    Disconnected {
        /// Who.
        peer: Uid,
        /// Why.
        reason: Reason,
        /// Whether the request may have run.
        execution: Execution,
    },
    /// The deadline passed.
    #[error("{peer} did not reply within {:.3} s (the request {})", .after.as_secs_f64(), certainty(*.execution))]
    Timeout {
        /// Who.
        peer: Uid,
        /// The deadline that was given.
        after: Duration,
        /// Whether the request may have run.
        execution: Execution,
    },
    /// The call was cancelled.
    #[error("the call to {peer} was cancelled (the request {})", certainty(*.execution))]
    Cancelled {
        /// Whom it was made to.
        peer: Uid,
        /// Whether the request may have run.
        execution: Execution,
    },
    /// The peer runs as many handlers as it may, and the request is express, or nested: sent by a handler. Others wait.
    #[error("{peer} is overloaded: the request was not run")]
    Overloaded {
        /// Who.
        peer: Uid,
    },
    /// Nobody of that name is in the network.
    #[error("there is no runtime `{uid}`{}", alternatives(.similar))]
    UnknownPeer {
        /// The name that was given.
        uid: String,
        /// Names that look like it.
        similar: Vec<Uid>,
    },
    /// The name can't be a uid.
    #[error(transparent)]
    InvalidUid(#[from] InvalidUid),
    /// The arguments could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The result is not what was asked for.
    #[error("the result of `{method}` of {peer} is not what was asked for")]
    Decode {
        /// Who replied.
        peer: Uid,
        /// To which method.
        method: String,
        /// What is wrong with it.
        #[source]
        cause: DecodeError,
    },
    /// The message is larger than the peer ever takes.
    #[error("a message of {size} bytes is too large for {peer}, which takes {limit} at most")]
    TooLarge {
        /// Who.
        peer: Uid,
        /// What the message costs, in bytes.
        size: u64,
        /// What it may cost, in bytes.
        limit: u64,
    },
    /// This manager has stopped.
    #[error("this runtime has stopped (the request {})", certainty(*.execution))]
    Stopped {
        /// Whether the request may have run.
        execution: Execution,
    },
}

impl CallError {
    /// What is certain about the execution of the request.
    pub fn execution(&self) -> Execution {
        match self {
            CallError::Remote(error) => error.execution(),
            CallError::Disconnected { execution, .. }
            | CallError::Timeout { execution, .. }
            | CallError::Cancelled { execution, .. }
            | CallError::Stopped { execution } => *execution,
            CallError::Decode { .. } => Execution::Ran,
            CallError::Overloaded { .. }
            | CallError::UnknownPeer { .. }
            | CallError::InvalidUid(_)
            | CallError::Encode(_)
            | CallError::TooLarge { .. } => Execution::NotRun,
        }
    }

    /// Whether sending the same again, now or later, cannot execute it twice and may succeed.
    pub fn is_safe_to_retry(&self) -> bool {
        let hopeless = matches!(
            self,
            CallError::Remote(_)
                | CallError::InvalidUid(_)
                | CallError::Encode(_)
                | CallError::TooLarge { .. }
        );
        self.execution() == Execution::NotRun && !hopeless
    }

    /// Whom the call was made to, if it is known.
    pub fn peer(&self) -> Option<&str> {
        match self {
            CallError::Remote(error) => Some(&error.uid),
            CallError::Disconnected { peer, .. }
            | CallError::Timeout { peer, .. }
            | CallError::Cancelled { peer, .. }
            | CallError::Overloaded { peer }
            | CallError::Decode { peer, .. }
            | CallError::TooLarge { peer, .. } => Some(peer),
            CallError::UnknownPeer { uid, .. } => Some(uid),
            CallError::InvalidUid(_) | CallError::Encode(_) | CallError::Stopped { .. } => None,
        }
    }
}

fn certainty(execution: Execution) -> &'static str {
    match execution {
        Execution::NotRun => "was not run",
        Execution::MayHaveRun => "may have run",
        Execution::Ran => "was run",
    }
}

fn alternatives(similar: &[Uid]) -> String {
    match similar {
        [] => String::new(),
        uids => format!(
            ", did you mean {}?",
            uids.iter().map(|uid| format!("`{uid}`")).collect::<Vec<_>>().join(" or ")
        ),
    }
}

/// A message that was not accepted at once, and comes back.
#[derive(Debug, Error)]
#[error("{why}")]
pub struct TrySendError {
    /// Why it was not accepted.
    pub why: TrySendReason,
    /// The encoded arguments, to be sent again.
    pub args: crate::encode::Encoded,
}

/// Why a message was not accepted at once.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrySendReason {
    /// There is no room for it now, or no session yet.
    #[error("there is no room on the link to {peer} now")]
    Full {
        /// Whom it is for.
        peer: Uid,
    },
    /// It can't be sent at all.
    #[error(transparent)]
    Failed(#[from] CallError),
}

/// Why the inbound connection could not be bound.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address could not be bound.
    #[error("{address}:{port} cannot be bound")]
    Bind {
        /// The address.
        address: String,
        /// The port; 0 stands for any.
        port: u16,
        /// What the system says.
        #[source]
        cause: std::io::Error,
    },
    /// The address could not be resolved, or there is no such interface.
    #[error("no address to bind was found")]
    Address {
        /// What the system says.
        #[source]
        cause: std::io::Error,
    },
    /// The credential that was asked for can't be used.
    #[error("the credential of the job can't be used")]
    Credential {
        /// What is wrong with it.
        #[source]
        cause: CredentialError,
    },
    /// It is bound already, or the manager has stopped.
    #[error("{why}")]
    State {
        /// What is the case.
        why: &'static str,
    },
}

/// One address that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Where.
    pub address: String,
    /// What came of it.
    pub outcome: String,
}

/// Why a peer could not be connected to.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nothing came of any address within the time.
    #[error("{uid} could not be reached within {:.1} s: {}", .within.as_secs_f64(), list(.attempts))]
    Unreachable {
        /// Who.
        uid: Uid,
        /// How long it was tried.
        within: Duration,
        /// The last attempt at each address.
        attempts: Vec<Attempt>,
    },
    /// The peer is connected, and has not answered our hand in time: it has much to do, or is none that shakes hands.
    #[error("{uid} is connected and did not shake hands within {:.1} s", .within.as_secs_f64())]
    Unanswered {
        /// Who.
        uid: Uid,
        /// How long it was waited for.
        within: Duration,
    },
    /// The peer does not want us.
    #[error("{uid} refused the connection: {why}")]
    Refused {
        /// Who.
        uid: Uid,
        /// What it said.
        why: String,
    },
    /// The link ended meanwhile.
    #[error("{uid} is gone: {reason}")]
    Gone {
        /// Who.
        uid: Uid,
        /// Why.
        reason: Reason,
    },
    /// The name can't be a uid.
    #[error(transparent)]
    InvalidUid(#[from] InvalidUid),
    /// This manager has stopped, or is not bound yet.
    #[error("{why}")]
    State {
        /// What is the case.
        why: &'static str,
    },
}

fn list(attempts: &[Attempt]) -> String {
    match attempts {
        [] => "its last connection has ended, and no dial has since".to_owned(),
        attempts => {
            attempts.iter().map(|a| format!("{}: {}", a.address, a.outcome)).collect::<Vec<_>>().join("; ")
        }
    }
}

/// Why a manager could not be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The name can't be a uid.
    #[error(transparent)]
    InvalidUid(#[from] InvalidUid),
    /// The system gives no threads.
    #[error("the context could not be started")]
    Context(#[source] std::io::Error),
    /// The inbound connection could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The handshake with the monitor failed.
    #[error("the handshake with the monitor failed")]
    Handshake(#[source] ConnectError),
}

/// Why there is no message to receive.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// The listening loop takes the messages.
    #[error("the listening loop is running: messages go to their handlers")]
    Listening,
    /// The manager has stopped.
    #[error("this runtime has stopped")]
    Stopped,
}

/// Nobody of that name is in the network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no runtime `{uid}`{}", alternatives(.similar))]
pub struct UnknownPeer {
    /// The name that was given.
    pub uid: String,
    /// Names that look like it.
    pub similar: Vec<Uid>,
}

/// A wait that was not fulfilled.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The deadline passed.
    #[error("{what} did not come within {:.3} s; in the network are: {}", .after.as_secs_f64(), names(.present))]
    Timeout {
        /// Who was waited for.
        what: String,
        /// The deadline that was given.
        after: Duration,
        /// Who is there.
        present: Vec<Uid>,
    },
    /// This manager has stopped.
    #[error("this runtime has stopped")]
    Stopped,
    /// The name can't be a uid.
    #[error(transparent)]
    InvalidUid(#[from] InvalidUid),
}

fn names(uids: &[Uid]) -> String {
    uids.iter().map(|uid| uid.as_str()).collect::<Vec<_>>().join(", ")
}
