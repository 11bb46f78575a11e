//! The manager: what a runtime has of the network. Its themes are files of their own:
//!
//! - out: `send` (what users call), `command` (the same for objects), `many` (to many at once), `draft` (every message's way to its link), `reply` (how a call ends);
//! - in: `receive` (listening, or pulling messages oneself);
//! - connections: `handshake`, `accept`, `dial`;
//! - who is there: `membership`, `seek` (a monitor that is gone), `wait`;
//! - `status` (what is counted here), `questions` (what runtimes tell each other of themselves);
//! - `protocol` (what the loop calls, for those who carry its messages themselves), `registered` (replies by other ways);
//! - `stop`, `inspect` (what the links stand at), and `blocking` (the synchronous twins).

mod accept;
mod blocking;
mod carrying;
mod command;
mod dial;
mod draft;
mod half_open;
mod handshake;
mod inspect;
mod many;
mod membership;
mod protocol;
mod questions;
mod receive;
mod registered;
mod reply;
mod secure;
mod seek;
mod send;
mod status;
mod stop;
mod wait;

use std::collections::hash_map::{Entry, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use mosaic_proto::link::{Event as LinkEvent, Settings, Verdict};
use mosaic_proto::{Instance, Reason, Topology, Uid};
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Span;

pub(crate) use blocking::block_on;
pub(crate) use dial::dial;
pub use inspect::Inspection;
pub use many::SendRecvAll;
pub use protocol::Protocol;
pub use receive::Listening;
pub use registered::ReplyId;
pub use reply::Reply;
pub use send::{Calling, SendMessage, SendRecv, Sending};
pub use wait::{Beat, WaitFor};

use self::membership::{Directory, Input};
use self::receive::Intake;
use self::registered::Registered;
use self::status::Tally;
use crate::config::Config;
use crate::context::Context;
use crate::credential::Keyring;
use crate::dispatch::Inbox;
use crate::error::{RemoteError, StartError, UnknownPeer};
use crate::events::{EVENTS_KEPT, Event, Events};
use crate::link::Link;
use crate::objects::Objects;
use crate::pool::Buffer;
use crate::runtime::{IntoRuntime, Runtime};

/// Manages the connections of one runtime and the messages between it and the others.
///
/// Clones are handles to the same manager. [`stop`](CommsManager::stop) ends it in good order; when the last handle is
/// dropped without, its connections are cut.
///
/// # Example
/// ```
/// use mosaic_comms::{CommsManager, Config, Methods, kwargs};
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let monitor = CommsManager::start("monitor", Methods::new(), Config::default().address("127.0.0.1")).await?;
/// let config = Config::default().address("127.0.0.1").monitor(monitor.address(), monitor.port());
/// let methods = Methods::new()
///     .method("add", |args, _| async move { Ok(args.get::<f64>("a")? + args.get::<f64>("b")?) });
/// let worker = CommsManager::start("worker:0", methods, config.clone()).await?;
/// let head = CommsManager::start("head", Methods::new(), config).await?;
/// let sum: f64 = head.send_recv("worker:0", "add", kwargs! { a: 1.0, b: 2.0 }).await?;
/// assert_eq!(sum, 3.0);
/// # for comms in [head, worker, monitor] { comms.stop().await; }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct CommsManager {
    pub(crate) shared: Arc<Shared>,
    /// `None` for the handles of handlers that outlive the others.
    _guard: Option<Arc<Guard>>,
}

/// Ends the manager's tasks with its last handle.
#[derive(Debug)]
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        // A stop that has begun goes on, and ends everything in good order.
        if self.0.phase() < Phase::Stopping {
            self.0.abort();
        }
    }
}

/// How far a manager has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    New,
    Bound,
    Stopping,
    Stopped,
}

/// What the handles, the links and the tasks of a manager share.
pub(crate) struct Shared {
    pub(crate) uid: Uid,
    pub(crate) instance: Instance,
    pub(crate) config: Config,
    pub(crate) context: Context,
    pub(crate) executor: Handle,
    /// Whether it carries data lanes.
    executor_carries: bool,
    pub(crate) io: Handle,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) objects: Objects,
    pub(crate) intake: Intake,
    /// Permits of handlers to run.
    pub(crate) running: Arc<Semaphore>,
    /// Handlers and dispatchers, on the executor.
    pub(crate) handlers: TaskTracker,
    /// Listeners, membership and handshakes, on the I/O thread.
    tasks: TaskTracker,
    /// What tells the program of the membership, and what carries data lanes, on the executor.
    program: TaskTracker,
    over: CancellationToken,
    /// Cancelled when nobody new is let in any more.
    accepting: CancellationToken,
    phase: watch::Sender<Phase>,
    /// We have begun to say goodbye: what ends from now on ends by our own stop.
    leaving: AtomicBool,
    bound: Mutex<(String, u16)>,
    links: RwLock<HashMap<Uid, Arc<Link>>>,
    /// Where to dial whom the topology doesn't know, or knows elsewhere.
    dialled: Mutex<HashMap<Uid, (String, u16)>>,
    /// Why the monitor is not there, while we look for it.
    sought: Mutex<Option<Reason>>,
    directory: RwLock<Arc<Directory>>,
    /// Who waits for replies that come by other ways than a link's.
    registered: Registered,
    /// Wakes whoever waits for the topology, a handshake or a drain.
    changed: Notify,
    membership: mpsc::UnboundedSender<Input>,
    unstarted_membership: Mutex<Option<mpsc::UnboundedReceiver<Input>>>,
    /// Taken out by the stop, which ends everybody's stream.
    events: Mutex<Option<broadcast::Sender<Event>>>,
    own: Inbox,
    pub(crate) tally: Tally,
    keyring: Keyring,
    /// Held by the one who looks for the credential.
    keyring_turn: tokio::sync::Mutex<()>,
    span: Span,
    guard: OnceLock<Weak<Guard>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommsManager")
            .field("uid", &self.uid)
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

impl CommsManager {
    /// Makes the manager of a runtime. Nothing is bound or sent yet.
    ///
    /// # Errors
    /// [`StartError::InvalidUid`], or [`StartError::Context`] if the system gives no threads.
    pub fn new(
        uid: impl AsRef<str>,
        runtime: impl IntoRuntime,
        config: Config,
    ) -> Result<CommsManager, StartError> {
        CommsManager::from_arc(uid, Arc::new(runtime.into_runtime()), config)
    }

    /// As [`CommsManager::new`], for a runtime that others hold too.
    ///
    /// # Errors
    /// As [`CommsManager::new`].
    pub fn from_arc(
        uid: impl AsRef<str>,
        runtime: Arc<dyn Runtime>,
        config: Config,
    ) -> Result<CommsManager, StartError> {
        let uid = Uid::new(uid.as_ref())?;
        let context = config.context.clone().map_or_else(Context::global, Ok).map_err(StartError::Context)?;
        let current = config.executor.clone().or_else(|| Handle::try_current().ok());
        let executor = current.map_or_else(|| context.executor(), Ok).map_err(StartError::Context)?;
        let (membership, inputs) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            instance: Instance(context.draw()),
            io: context.next_io(),
            span: tracing::info_span!("mosaic", uid = %uid),
            intake: Intake::default(),
            objects: Objects::default(),
            running: Arc::new(Semaphore::new(config.running_handlers)),
            handlers: TaskTracker::new(),
            tasks: TaskTracker::new(),
            program: TaskTracker::new(),
            over: CancellationToken::new(),
            accepting: CancellationToken::new(),
            phase: watch::Sender::new(Phase::New),
            leaving: AtomicBool::new(false),
            bound: Mutex::default(),
            links: RwLock::default(),
            dialled: Mutex::default(),
            sought: Mutex::default(),
            directory: RwLock::default(),
            registered: Registered::default(),
            changed: Notify::new(),
            membership,
            unstarted_membership: Mutex::new(Some(inputs)),
            events: Mutex::new(Some(broadcast::Sender::new(EVENTS_KEPT))),
            own: Inbox::default(),
            tally: Tally::default(),
            keyring: Keyring::default(),
            keyring_turn: tokio::sync::Mutex::default(),
            guard: OnceLock::new(),
            executor_carries: context.can_carry_on(&executor),
            uid,
            config,
            context,
            executor,
            runtime,
        });
        shared.own.open(&shared);
        let guard = Arc::new(Guard(shared.clone()));
        shared.guard.get_or_init(|| Arc::downgrade(&guard));
        Ok(CommsManager { shared, _guard: Some(guard) })
    }

    /// Makes a manager, binds it, shakes hands with the monitor if the configuration names one, and listens.
    ///
    /// # Errors
    /// [`StartError`] says which step failed. Nothing is left running then.
    ///
    /// # Cancel safety
    /// If it is dropped, everything that was started ends.
    pub async fn start(
        uid: impl AsRef<str>,
        runtime: impl IntoRuntime,
        config: Config,
    ) -> Result<CommsManager, StartError> {
        let monitor = config.monitor.clone();
        let comms = CommsManager::new(uid, runtime, config)?;
        comms.connect_recv().await?;
        if let Some((host, port)) = monitor
            && !comms.uid().is_monitor()
        {
            comms.handshake(Uid::MONITOR, &host, port).await.map_err(StartError::Handshake)?;
        }
        comms.listen();
        Ok(comms)
    }

    /// The uid of this runtime.
    pub fn uid(&self) -> &Uid {
        &self.shared.uid
    }

    /// This life of the uid.
    pub fn instance(&self) -> Instance {
        self.shared.instance
    }

    /// The address at which others reach this runtime; empty before [`connect_recv`](CommsManager::connect_recv).
    pub fn address(&self) -> String {
        self.shared.bound.lock().0.clone()
    }

    /// The port at which others reach this runtime; 0 before [`connect_recv`](CommsManager::connect_recv).
    pub fn port(&self) -> u16 {
        self.shared.bound.lock().1
    }

    /// The span in which everything of this manager is logged.
    pub fn span(&self) -> &Span {
        &self.shared.span
    }

    /// What this manager shares with others of the process.
    pub fn context(&self) -> &Context {
        &self.shared.context
    }

    /// Everybody in the network, oneself included, as known here.
    pub fn topology(&self) -> Topology {
        self.shared.directory().topology.clone()
    }

    /// The uids of the others that fit `pattern`, in which `*` stands for any run of characters.
    pub fn peers(&self, pattern: &str) -> Vec<Uid> {
        self.shared.directory().peers(pattern, &self.shared.uid)
    }

    /// Whether `uid` is in our topology, or is ourselves.
    pub fn connected(&self, uid: &str) -> bool {
        self.shared.uid == *uid || self.shared.directory().topology.contains(uid)
    }

    /// Whether `uid` is known through a handshake, or vouched for by one or by the monitor.
    pub fn shaken(&self, uid: &str) -> bool {
        self.shared.directory().shaken(uid)
    }

    /// The address at which `uid` can be reached.
    ///
    /// # Errors
    /// [`UnknownPeer`] names the uids that look like it.
    pub fn uid_address(&self, uid: &str) -> Result<String, UnknownPeer> {
        self.shared.directory().place(uid).map(|place| place.address.clone())
    }

    /// The port at which `uid` can be reached.
    ///
    /// # Errors
    /// [`UnknownPeer`] names the uids that look like it.
    pub fn uid_port(&self, uid: &str) -> Result<u16, UnknownPeer> {
        self.shared.directory().place(uid).map(|place| place.port)
    }

    /// What happens in the network from now on.
    pub fn events(&self) -> Events {
        let events = self.shared.events.lock();
        Events(
            events
                .as_ref()
                .map_or_else(|| broadcast::Sender::new(1).subscribe(), broadcast::Sender::subscribe),
        )
    }
}

impl Shared {
    /// A handle for a handler.
    pub(crate) fn handle(self: &Arc<Self>) -> CommsManager {
        CommsManager { shared: self.clone(), _guard: self.guard.get().and_then(Weak::upgrade) }
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(crate) fn directory(&self) -> Arc<Directory> {
        self.directory.read().clone()
    }

    pub(crate) fn emit(&self, event: Event) {
        if let Some(events) = &*self.events.lock() {
            // Nobody may be listening.
            let _ = events.send(event);
        }
    }

    fn inform(&self, input: Input) {
        // Membership ends with the manager: nobody needs to be informed then.
        let _ = self.membership.send(input);
    }

    /// The link to `uid`, made if the topology, or a dial by hand, says where it is.
    pub(crate) fn link_to(self: &Arc<Self>, uid: &str) -> Option<Arc<Link>> {
        if let Some(link) = self.links.read().get(uid) {
            return Some(link.clone());
        }
        let place = self.directory().topology.get(uid).cloned();
        let dialled = self.dialled.lock().contains_key(uid);
        let known = place.as_ref().is_some_and(|place| place.is_known());
        if !known && !dialled {
            return None;
        }
        let uid = Uid::new(uid).ok()?;
        Some(self.make_link(uid, place.map(|place| place.instance)))
    }

    /// The link that a caller's connection belongs to: the one there is, unless it has ended. A new one is with
    /// `instance`, if that is known.
    pub(crate) fn link_from(self: &Arc<Self>, uid: &Uid, instance: Option<Instance>) -> Arc<Link> {
        let link = self.links.read().get(uid).cloned();
        link.unwrap_or_else(|| self.make_link(uid.clone(), instance))
    }

    fn make_link(self: &Arc<Self>, peer: Uid, peer_instance: Option<Instance>) -> Arc<Link> {
        let mut links = self.links.write();
        if let Some(link) = links.get(&peer) {
            return link.clone();
        }
        // Whoever ends the manager takes the links that there are, and looks no second time.
        let too_late = self.over.is_cancelled();
        let (host, pid_namespace) = self.context.host();
        let settings = Settings {
            uid: self.uid.clone(),
            instance: self.instance,
            host,
            pid_namespace,
            pid: std::process::id(),
            peer: peer.clone(),
            peer_instance,
            limits: self.config.limits,
            intervals: self.config.intervals,
        };
        let link =
            Link::new(&self.context, Arc::downgrade(self), self.io.clone(), self.tasks.clone(), settings);
        if too_late {
            drop(links);
            stop::cut(&link);
        } else {
            links.insert(peer, link.clone());
        }
        link
    }

    /// By uid, so that a simulation takes the same course again.
    fn all_links(&self) -> Vec<Arc<Link>> {
        let mut links: Vec<_> = self.links.read().values().cloned().collect();
        links.sort_unstable_by(|one, other| one.peer.cmp(&other.peer));
        links
    }

    /// A link has begun or ended something.
    pub(crate) fn link_changed(
        self: &Arc<Self>,
        link: &Arc<Link>,
        event: LinkEvent<crate::link::Ticket, Buffer>,
    ) {
        match event {
            LinkEvent::Up { resumed: false } => {
                if let Some(instance) = link.peer_instance() {
                    self.inform(Input::LinkUp { link: link.clone(), instance });
                }
            }
            LinkEvent::Suspected => self.emit(Event::Suspected { uid: link.peer.clone() }),
            LinkEvent::Unreachable(reason) => {
                self.registered.end(&link.peer, &reason);
                self.emit(Event::Unreachable { uid: link.peer.clone(), reason: reason.clone() });
                self.inform(Input::LinkLost { link: link.clone(), reason });
            }
            LinkEvent::Ended { verdict, reason } => self.link_ended(link, verdict, reason),
            _ => {}
        }
        self.changed.notify_waiters();
    }

    fn link_ended(self: &Arc<Self>, link: &Arc<Link>, verdict: Verdict, reason: Reason) {
        // It may have been replaced meanwhile.
        if let Entry::Occupied(entry) = self.links.write().entry(link.peer.clone())
            && Arc::ptr_eq(entry.get(), link)
        {
            entry.remove();
        }
        self.tally.take(link);
        link.inbox.close();
        link.finish();
        if matches!(reason, Reason::Exited { .. }) {
            self.sweep_socket(&link.peer);
        }
        // That we have left is no news of the peer.
        if !self.leaving.load(Ordering::Acquire) {
            self.inform(Input::LinkEnded { link: link.clone(), verdict, reason });
        }
    }

    /// A one-way message of `peer` failed here: it is told.
    pub(crate) fn report_failure(self: &Arc<Self>, peer: &Uid, error: &RemoteError) {
        if *peer == self.uid {
            return self.emit(Event::Failed { uid: peer.clone(), error: Box::new(error.clone()) });
        }
        draft::send_exception(self, peer, error);
    }
}
