//! A network on this machine: a monitor, a head, and workers that are processes of the current program.
//!
//! [`Network::builder`] starts the program again, once for each worker. [`worker`] is the first line of its `main`: in
//! those processes it runs the worker's runtime and doesn't return, in the head it does nothing.
//!
//! The monitor lives in the head's process. The workers end with that process whatever happens to it, so a process of
//! its own would outlive nobody, and would be one more to start and to lose.
//!
//! ```text
//! head's process                     worker process
//!   monitor --- memory --- head
//!      ^---------- link ------------- runtime
//!   lifeline >------- pipe ---------> its standard input: a byte says stop, its end says that the head is no more
//! ```
//!
//! The kernel closes the head's end of the lifeline however the head ends, so that no worker is left behind.

mod birth;
mod process;
mod serve;

use std::ffi::OsString;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use mosaic_proto::{InvalidUid, Uid};
use thiserror::Error;

use crate::config::Config;
use crate::context::Context;
use crate::error::WaitError;
use crate::manager::{CommsManager, block_on};
use crate::runtime::{IntoRuntime, Methods};

use self::birth::Birth;
pub use self::process::Worker;
pub use self::serve::{WorkerError, worker};

/// The address of everybody: a local network is not reached from elsewhere.
const ADDRESS: &str = "127.0.0.1";

/// How long workers may take to join by default. They need milliseconds; a machine that swaps needs longer.
const START_WITHIN: Duration = Duration::from_secs(30);

/// A head with workers that are processes of the current program. When it is dropped, they are killed.
///
/// # Example
/// ```no_run
/// use mosaic_comms::{Methods, kwargs, local};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     local::worker(|_uid| {
///         Methods::new().compute("double", |args, _call| Ok(2.0 * args.get::<f64>("of")?))
///     })?;
///     head()
/// }
///
/// #[tokio::main]
/// async fn head() -> Result<(), Box<dyn std::error::Error>> {
///     let network = local::Network::builder().workers(4).start().await?;
///     let twice: f64 = network.head().send_recv("worker:0", "double", kwargs! { of: 1.5 }).await?;
///     assert_eq!(twice, 3.0);
///     network.stop().await;
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Network {
    monitor: CommsManager,
    head: CommsManager,
    workers: Vec<Worker>,
}

/// What a [`Network`] is to be. The head has no methods, and there are as many workers as processors, unless it is told.
#[derive(Debug)]
#[must_use = "nothing is started before `start`"]
pub struct Builder<R = Methods> {
    head: R,
    workers: usize,
    arguments: Vec<OsString>,
    within: Duration,
}

/// Why a network could not be started. Nothing of it is left then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// This process is a worker of another network.
    #[error("this process is to be `{uid}`: call `mosaic_comms::local::worker` first thing in `main`")]
    WithinWorker {
        /// The worker that it should be.
        uid: String,
    },
    /// The monitor or the head could not be started.
    #[error("the head could not be started")]
    Head(#[source] crate::StartError),
    /// A worker can't have this name.
    #[error(transparent)]
    InvalidUid(#[from] InvalidUid),
    /// The process of a worker could not be started.
    #[error("the process of {uid} could not be started")]
    Spawn {
        /// Whose.
        uid: Uid,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// A worker ended before it joined.
    #[error("{uid} ended before it joined: {}; what it said is on standard error", ending(*.status))]
    Ended {
        /// Who.
        uid: Uid,
        /// How it ended, if the system says so.
        status: Option<ExitStatus>,
    },
    /// Some have not joined within the time.
    #[error("{} of {of} workers did not join within {:.1} s: {}", .missing.len(), .within.as_secs_f64(), names(.missing))]
    Late {
        /// Who is missing.
        missing: Vec<Uid>,
        /// How many were started.
        of: usize,
        /// How long they had.
        within: Duration,
    },
    /// The head stopped while the workers joined.
    #[error("the head could not wait for its workers")]
    Wait(#[from] WaitError),
}

fn ending(status: Option<ExitStatus>) -> String {
    status.map_or_else(|| "its exit status is not known".to_owned(), |status| status.to_string())
}

fn names(uids: &[Uid]) -> String {
    uids.iter().map(|uid| uid.as_str()).collect::<Vec<_>>().join(", ")
}

impl Network {
    /// Starts to describe a network.
    pub fn builder() -> Builder {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        Builder { head: Methods::new(), workers, arguments: Vec::new(), within: START_WITHIN }
    }

    /// The head: the runtime of this process.
    pub fn head(&self) -> &CommsManager {
        &self.head
    }

    /// The monitor, which lives in this process too.
    pub fn monitor(&self) -> &CommsManager {
        &self.monitor
    }

    /// The workers that were started, `worker:0` first, also those that have ended since.
    pub fn workers(&self) -> &[Worker] {
        &self.workers
    }

    /// Stops the workers, the head and the monitor in good order. When it returns, no process of them is left: a worker
    /// that doesn't stop within ten seconds, because it computes, is killed.
    ///
    /// # Cancel safety
    /// If it is dropped, the workers are killed.
    pub async fn stop(self) {
        join_all(self.workers.iter().map(Worker::stop)).await;
        self.head.stop().await;
        self.monitor.stop().await;
    }

    /// As [`stop`](Network::stop), waiting.
    ///
    /// # Panics
    /// On a thread that runs async tasks.
    #[track_caller]
    pub fn blocking_stop(self) {
        let executor = self.head.shared.executor.clone();
        block_on(&executor, "stop", self.stop());
    }

    /// Starts the processes of the workers.
    async fn fill(
        &mut self,
        context: &Context,
        workers: usize,
        arguments: &[OsString],
    ) -> Result<(), StartError> {
        for number in 0..workers {
            let uid = Uid::new(&format!("worker:{number}"))?;
            let birth = Birth { uid, address: ADDRESS.to_owned(), port: self.monitor.port() };
            self.workers.push(Worker::start(context, birth, arguments.to_vec()).await?);
        }
        Ok(())
    }

    /// Ends the workers at once, and waits until they are gone.
    async fn discard(&self) {
        join_all(self.workers.iter().map(Worker::discard)).await;
    }

    fn note_ports(&self) {
        for worker in &self.workers {
            if let Ok(port) = self.head.uid_port(worker.uid()) {
                worker.joined(port);
            }
        }
    }

    /// Waits until all workers are in the network, or one of them can't come any more.
    async fn all_joined(&self, within: Duration) -> Result<(), StartError> {
        let of = self.workers.len();
        let ends = self.workers.iter().map(|worker| async move { (worker.uid(), worker.ended().await) });
        let mut ends: FuturesUnordered<_> = ends.collect();
        tokio::select! {
            biased;
            joined = self.head.wait_for_count("worker:*", of).into_future() => {
                self.note_ports();
                Ok(joined.map(drop)?)
            }
            Some((uid, status)) = ends.next() => Err(StartError::Ended { uid: uid.clone(), status }),
            () = tokio::time::sleep(within) => {
                let missing = self.workers.iter().map(Worker::uid).filter(|uid| !self.head.connected(uid));
                Err(StartError::Late { missing: missing.cloned().collect(), of, within })
            }
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.workers.iter().for_each(Worker::kill);
    }
}

impl<R: IntoRuntime> Builder<R> {
    /// How many workers to start. Default: one for each processor.
    pub fn workers(mut self, count: usize) -> Self {
        self.workers = count;
        self
    }

    /// What the head's runtime is. Default: one without methods.
    pub fn head<H: IntoRuntime>(self, runtime: H) -> Builder<H> {
        let Builder { workers, arguments, within, .. } = self;
        Builder { head: runtime, workers, arguments, within }
    }

    /// The command line of the workers, after the program's name. Default: empty.
    pub fn arguments<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments = arguments.into_iter().map(Into::into).collect();
        self
    }

    /// How long the workers may take to join, together. Default 30 s.
    pub fn start_within(mut self, limit: Duration) -> Self {
        self.within = limit;
        self
    }

    /// Starts the monitor, the head and the workers, and waits until all have joined.
    ///
    /// # Errors
    /// [`StartError`] says what failed, and with which worker. Nothing is left running then.
    ///
    /// # Cancel safety
    /// If it is dropped, everything that was started ends.
    pub async fn start(self) -> Result<Network, StartError> {
        if let Some(uid) = birth::unborn() {
            return Err(StartError::WithinWorker { uid });
        }
        let Builder { head, workers, arguments, within } = self;
        let context = Context::global().map_err(crate::StartError::Context).map_err(StartError::Head)?;
        let config = Config::default().address(ADDRESS).context(context.clone());
        let monitor = CommsManager::start(Uid::MONITOR, Methods::new(), config.clone()).await;
        let monitor = monitor.map_err(StartError::Head)?;
        let config = config.monitor(ADDRESS, monitor.port());
        let head = CommsManager::start("head", head, config).await.map_err(StartError::Head)?;
        let mut network = Network { monitor, head, workers: Vec::with_capacity(workers) };
        let filled = network.fill(&context, workers, &arguments).await;
        let joined = match filled {
            Ok(()) => network.all_joined(within).await,
            Err(error) => Err(error),
        };
        if joined.is_err() {
            network.discard().await;
        }
        joined.map(|()| network)
    }

    /// As [`start`](Builder::start), waiting.
    ///
    /// # Errors
    /// As [`start`](Builder::start).
    ///
    /// # Panics
    /// On a thread that runs async tasks.
    #[track_caller]
    pub fn blocking_start(self) -> Result<Network, StartError> {
        let context = Context::global().map_err(crate::StartError::Context).map_err(StartError::Head)?;
        let executor = context.executor().map_err(crate::StartError::Context).map_err(StartError::Head)?;
        block_on(&executor, "start", self.start())
    }
}
