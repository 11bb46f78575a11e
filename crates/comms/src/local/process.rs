//! One worker process, as its head sees it: handles signal it and learn its end, from a task on the I/O thread.

use std::ffi::OsString;
use std::io::{self, PipeWriter, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mosaic_proto::Uid;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::timeout;

use super::StartError;
use super::birth::Birth;
use crate::context::Context;
use crate::transport::unix;

/// How long a worker may take to stop in good order: as long as a manager drains, says goodbye and waits for handlers,
/// and a margin.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// How long a worker that has not joined may take to end itself, and to remove its socket, before it is killed.
const DIE_WITHIN: Duration = Duration::from_millis(200);

/// What asks a worker, by its lifeline, to stop in good order.
const STOP: [u8; 1] = *b"s";

/// What asks it to end at once.
pub(super) const DIE: [u8; 1] = *b"d";

/// A worker process. Clones are handles of the same process.
#[derive(Debug, Clone)]
pub struct Worker {
    uid: Uid,
    pid: u32,
    process: Arc<Process>,
    /// Where it has joined, so that its socket can be removed when it has been killed.
    port: Arc<OnceLock<u16>>,
    /// Keeps the I/O thread, which waits for the end.
    _context: Context,
    /// `Some` once it has ended, with its status if the system told it.
    end: watch::Receiver<Option<Option<ExitStatus>>>,
}

/// What reaches the process, and never another one that has got its id.
#[derive(Debug)]
struct Process {
    pidfd: OwnedFd,
    lifeline: PipeWriter,
}

impl Worker {
    /// Starts the current program as a worker. The I/O thread waits for its end, so that no executor of the program has
    /// to live as long; the call to the system that takes a millisecond is made beside it.
    pub(super) async fn start(
        context: &Context,
        birth: Birth,
        arguments: Vec<OsString>,
    ) -> Result<Worker, StartError> {
        let io = context.next_io();
        let uid = birth.uid.clone();
        let spawned = io.spawn_blocking(move || spawn(&birth, arguments)).await;
        let spawned = spawned.unwrap_or_else(|_| Err(io::Error::other("the I/O thread has ended")));
        let (mut child, pid, process) =
            spawned.map_err(|cause| StartError::Spawn { uid: uid.clone(), cause })?;
        let process = Arc::new(process);
        let (ended, end) = watch::channel(None);
        let port = Arc::new(OnceLock::new());
        let joined = port.clone();
        let worker = Worker { uid, pid, process: process.clone(), port, _context: context.clone(), end };
        let wait = async move {
            let status = child.wait().await.ok();
            if let Some(port) = joined.get() {
                unix::sweep(*port);
            }
            ended.send_replace(Some(status));
            drop(process);
        };
        drop(io.spawn(wait));
        Ok(worker)
    }

    /// It has joined the network at this port.
    pub(super) fn joined(&self, port: u16) {
        self.port.get_or_init(|| port);
    }

    /// Its uid.
    pub fn uid(&self) -> &Uid {
        &self.uid
    }

    /// The id of its process, which may be that of another one after it has ended.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Kills it with SIGKILL. To know when it is gone, await [`ended`](Worker::ended).
    pub fn kill(&self) {
        // It fails for a process that has ended.
        let _ = pidfd_send_signal(&self.process.pidfd, Signal::KILL);
    }

    /// Asks it to stop, and waits until it has: it finishes what it has accepted and tells everybody. After ten seconds
    /// it is killed. The result is that of [`ended`](Worker::ended).
    ///
    /// # Cancel safety
    /// If it is dropped, the worker stops and is not killed.
    pub async fn stop(&self) -> Option<ExitStatus> {
        // It fails for a process that has ended.
        let _ = (&self.process.lifeline).write_all(&STOP);
        match timeout(STOP_WITHIN, self.ended()).await {
            Ok(status) => status,
            Err(_) => {
                self.kill();
                self.ended().await
            }
        }
    }

    /// Ends it, whether it has joined or not, and waits until it is gone.
    pub(super) async fn discard(&self) {
        // It fails for a process that has ended.
        let _ = (&self.process.lifeline).write_all(&DIE);
        if timeout(DIE_WITHIN, self.ended()).await.is_err() {
            self.kill();
            self.ended().await;
        }
    }

    /// Waits until its process has ended, and returns how; `None` if the system has told somebody else.
    ///
    /// Cancel safe.
    pub async fn ended(&self) -> Option<ExitStatus> {
        let mut end = self.end.clone();
        // The task that waits for it lives as long as our context.
        end.wait_for(Option::is_some).await.ok().and_then(|end| *end).flatten()
    }
}

fn spawn(birth: &Birth, arguments: Vec<OsString>) -> io::Result<(Child, u32, Process)> {
    let mut command = Command::new(std::env::current_exe()?);
    let lifeline = birth.tell(command.args(arguments))?;
    let child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
    let pid = child.id().expect("nobody has waited for it yet");
    let id = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("the system gives positive ids");
    let pidfd = pidfd_open(id, PidfdFlags::empty())?;
    Ok((child, pid, Process { pidfd, lifeline }))
}
