//! Watching the process of a peer on the same host: its end is known at once, whoever else holds its sockets.
//!
//! A process is found by the id in its READY. That is believed only where the transport shows that both are on one
//! kernel, and READY that both count processes alike: two machines may be copies of one and have the same host id. The
//! id may belong to another process by the time that it is looked up, but only if the peer has ended before: then the
//! other's end says what is true, late, and the closed connections have said it before. So has nobody to be asked who
//! the process is, and a proxy in between does no harm.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use mosaic_proto::link::Evidence;
use mosaic_proto::wire::MosaicReady;
use mosaic_proto::{HostId, Instance};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::AbortHandle;
use tracing::debug;

use super::{Link, Write};
use crate::transport::Stream;

/// The watch over one life of a peer; it ends with this value.
#[derive(Debug)]
pub(super) struct Watch {
    instance: Instance,
    task: AbortHandle,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    /// Watches the process of the peer that has sent this, if that is possible and not done yet.
    pub(crate) fn watch_process(self: &Arc<Self>, peer: &MosaicReady, stream: &dyn Stream) {
        let instance = peer.instance;
        let watched = |watch: &Watch| watch.instance == instance;
        if !self.is_neighbour(peer, stream) || self.state.lock().watch.as_ref().is_some_and(watched) {
            return;
        }
        let opened = Pid::from_raw(peer.pid.cast_signed()).map(|pid| pidfd_open(pid, PidfdFlags::NONBLOCK));
        let process = match opened {
            Some(Ok(process)) => process,
            // Not known to this kernel, or to no kernel of its age: the other evidence has to do.
            failed => {
                return debug!(peer = %self.peer, pid = peer.pid, ?failed, "the process can't be watched");
            }
        };
        self.run(Write::Pump, |machine, now| machine.handle_evidence(now, instance, Evidence::ProcessRuns));
        let task = self.tasks.spawn_on(self.clone().await_end(process, instance, peer.pid), &self.io);
        self.state.lock().watch = Some(Watch { instance, task: task.abort_handle() });
    }

    /// Whether the peer is another process, under an id that means the same to both.
    fn is_neighbour(&self, peer: &MosaicReady, stream: &dyn Stream) -> bool {
        let (host, pid_namespace) = self.context.host();
        stream.is_on_this_host()
            && host != HostId([0; 16])
            && pid_namespace != 0
            && (peer.host, peer.pid_namespace) == (host, pid_namespace)
            && peer.pid != std::process::id()
    }

    async fn await_end(self: Arc<Self>, process: OwnedFd, instance: Instance, pid: u32) {
        // It belongs to the reactor of this thread.
        #[expect(
            deprecated,
            reason = "what makes it unsound is a descriptor that others may close; this one is owned"
        )]
        let Ok(process) = AsyncFd::with_interest(process, Interest::READABLE) else { return };
        tokio::select! {
            biased;
            () = self.over.cancelled() => {}
            ended = process.readable() => if ended.is_ok() {
                let evidence = Evidence::ProcessEnded { pid };
                self.run(Write::Now, |machine, now| machine.handle_evidence(now, instance, evidence));
            }
        }
    }
}
