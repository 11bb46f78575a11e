//! The worker's side: a process that was started as a worker joins the network, serves, and ends with its head.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::panic::resume_unwind;
use std::thread;

use mosaic_proto::{Reason, Uid};
use rustix::process::{Signal, getpid, kill_process};
use thiserror::Error;
use tokio::sync::oneshot;

use super::birth::Birth;
use super::process::DIE;
use crate::config::Config;
use crate::context::Context;
use crate::error::StartError;
use crate::events::{Event, Events};
use crate::manager::CommsManager;
use crate::runtime::IntoRuntime;
use crate::transport::unix::release_all;

/// Why a worker has ended early.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// What ties the worker to its head could not be set up.
    #[error("the pipe from the head can't be used")]
    Lifeline(#[source] io::Error),
    /// It could not join the network.
    #[error("{uid} could not join the network")]
    Start {
        /// Who.
        uid: Uid,
        /// What failed.
        #[source]
        cause: StartError,
    },
    /// The monitor is gone, or has declared this worker dead.
    #[error("{uid} has lost the network: {reason}")]
    Lost {
        /// Who.
        uid: Uid,
        /// What happened.
        reason: Reason,
    },
}

/// In a process that [`Network`](super::Network) started: becomes the worker, with the runtime that `make` makes, and
/// ends the process when the network is stopped. In any other process: does nothing. To be called first thing in
/// `main`, which need not be async.
///
/// When the head's process is gone, however it ended, the worker's ends at once, whatever its threads do. Its standard
/// input is empty.
///
/// # Errors
/// [`WorkerError`] in a worker that could not join or has lost the network; `main` should end with it.
pub fn worker<R: IntoRuntime>(make: impl FnOnce(&Uid) -> R + Send) -> Result<(), WorkerError> {
    let Some((birth, lifeline)) = Birth::take().map_err(WorkerError::Lifeline)? else { return Ok(()) };
    // On a thread of its own, since an async `main` must not block.
    let served = thread::scope(|scope| scope.spawn(|| serve(birth, lifeline, make)).join());
    served.unwrap_or_else(|panic| resume_unwind(panic))?;
    std::process::exit(0)
}

fn serve<R: IntoRuntime>(
    birth: Birth,
    lifeline: File,
    make: impl FnOnce(&Uid) -> R,
) -> Result<(), WorkerError> {
    let (stop, stopped) = oneshot::channel();
    let hold = thread::Builder::new().name("mosaic-lifeline".to_owned());
    hold.spawn(move || hold_lifeline(lifeline, stop)).map_err(WorkerError::Lifeline)?;
    let uid = birth.uid;
    let failed = |cause| WorkerError::Start { uid: uid.clone(), cause };
    let context = Context::global().map_err(StartError::Context).map_err(failed)?;
    let executor = context.executor().map_err(StartError::Context).map_err(failed)?;
    let config = Config::default().address(&birth.address).monitor(&birth.address, birth.port);
    let config = config.context(context).executor(executor.clone());
    let runtime = make(&uid);
    executor.block_on(async {
        let comms = CommsManager::start(&uid, runtime, config).await.map_err(failed)?;
        let served = tokio::select! {
            reason = lost(&comms) => Err(WorkerError::Lost { uid: uid.clone(), reason }),
            () = comms.wait() => return Ok(()),
            _ = stopped => Ok(()),
        };
        comms.stop().await;
        served
    })
}

/// Waits until the network goes on without us.
async fn lost(comms: &CommsManager) -> Reason {
    let mut events = comms.events();
    if !comms.connected(Uid::MONITOR) {
        return Reason::Stopped;
    }
    match lost_event(&mut events).await {
        Some(reason) => reason,
        // The manager has stopped, which its other waiter sees.
        None => std::future::pending().await,
    }
}

async fn lost_event(events: &mut Events) -> Option<Reason> {
    loop {
        match events.next().await? {
            Event::Condemned { reason } => return Some(reason),
            Event::Disconnected { uid, reason } if uid.is_monitor() => return Some(reason),
            _ => {}
        }
    }
}

/// Reads the lifeline on a thread that does nothing else: a byte asks to stop or to die, its end means that the head is
/// gone.
fn hold_lifeline(mut lifeline: File, stop: oneshot::Sender<()>) {
    let mut stop = Some(stop);
    let mut order = [0];
    loop {
        match lifeline.read(&mut order) {
            Ok(0) => die(),
            Ok(_) if order == DIE => die(),
            Ok(_) => drop(stop.take().map(|stop| stop.send(()))),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => die(),
        }
    }
}

/// Ends the process without running anything of it: no handler at exit may wait for a thread that computes.
fn die() -> ! {
    release_all();
    let _ = kill_process(getpid(), Signal::KILL);
    std::process::abort()
}
