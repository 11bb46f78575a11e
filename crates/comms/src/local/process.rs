//! One worker process, as its head sees it: a task on the I/O thread minds it, handles give orders and learn its end.

use std::ffi::OsString;
use std::io::{PipeWriter, Write};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use mosaic_proto::Uid;
use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::timeout;

use super::StartError;
use super::birth::Birth;
use crate::context::Context;

/// How long a worker may take to stop in good order: as long as a manager drains, says goodbye and waits for handlers,
/// and a margin.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// A worker process. Clones are handles of the same process.
#[derive(Debug, Clone)]
pub struct Worker {
    uid: Uid,
    pid: u32,
    order: watch::Sender<Order>,
    /// `Some` once it has ended, with its status if the system told it.
    end: watch::Receiver<Option<Option<ExitStatus>>>,
}

/// What the process is to do. Only ever raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Run,
    Stop,
    Die,
}

impl Worker {
    /// Starts the current program as a worker. The I/O thread has the process, so that it matters to no executor; the
    /// call to the system that takes a millisecond is made beside it.
    pub(super) async fn start(
        context: &Context,
        birth: Birth,
        arguments: Vec<OsString>,
    ) -> Result<Worker, StartError> {
        let io = context.next_io();
        let uid = birth.uid.clone();
        let spawned = io.spawn_blocking(move || spawn(&birth, arguments)).await;
        let spawned = spawned.unwrap_or_else(|_| Err(std::io::Error::other("the I/O thread has ended")));
        let (child, lifeline) = spawned.map_err(|cause| StartError::Spawn { uid: uid.clone(), cause })?;
        let (order, orders) = watch::channel(Order::Run);
        let (ended, end) = watch::channel(None);
        let worker = Worker { uid, pid: child.id().unwrap_or_default(), order, end };
        // The process outlives every manager: its minder keeps the I/O thread going until it has reaped it.
        let context = context.clone();
        drop(io.spawn(async move {
            mind(child, lifeline, orders, ended).await;
            drop(context);
        }));
        Ok(worker)
    }

    /// Its uid.
    pub fn uid(&self) -> &Uid {
        &self.uid
    }

    /// The id of its process, which means another one some time after it has ended.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Kills it with SIGKILL. To know when it is gone, await [`ended`](Worker::ended).
    pub fn kill(&self) {
        self.give(Order::Die);
    }

    /// Asks it to stop, and waits until it has: it finishes what it has accepted and tells everybody. After ten seconds
    /// it is killed.
    ///
    /// # Cancel safety
    /// If it is dropped, the worker stops and is not killed.
    pub async fn stop(&self) -> Option<ExitStatus> {
        self.give(Order::Stop);
        match timeout(STOP_WITHIN, self.ended()).await {
            Ok(status) => status,
            Err(_) => {
                self.kill();
                self.ended().await
            }
        }
    }

    /// Waits until its process has ended, and returns how; `None` if somebody else has taken its status from the
    /// system.
    ///
    /// Cancel safe.
    pub async fn ended(&self) -> Option<ExitStatus> {
        let mut end = self.end.clone();
        // A task that is gone has killed the process.
        end.wait_for(Option::is_some).await.ok().and_then(|end| *end).flatten()
    }

    fn give(&self, order: Order) {
        self.order.send_if_modified(|given| {
            let raised = *given < order;
            *given = (*given).max(order);
            raised
        });
    }
}

fn spawn(birth: &Birth, arguments: Vec<OsString>) -> std::io::Result<(Child, PipeWriter)> {
    let mut command = Command::new(std::env::current_exe()?);
    let lifeline = birth.tell(command.args(arguments))?;
    let child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
    Ok((child, lifeline))
}

/// Carries orders out until the process has ended. It is killed when nobody is left to give any.
async fn mind(
    mut child: Child,
    mut lifeline: PipeWriter,
    mut orders: watch::Receiver<Order>,
    ended: watch::Sender<Option<Option<ExitStatus>>>,
) {
    let mut given = Order::Run;
    let status = loop {
        tokio::select! {
            biased;
            status = child.wait() => break status,
            changed = orders.changed(), if given < Order::Die => {
                given = changed.map_or(Order::Die, |()| *orders.borrow());
            }
        }
        // Neither can fail but for a process that has ended, whose status comes next.
        match given {
            Order::Run => {}
            Order::Stop => drop(lifeline.write_all(b"s")),
            Order::Die => drop(child.start_kill()),
        }
    };
    ended.send_replace(Some(status.ok()));
}
