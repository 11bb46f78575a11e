//! What is known of the peer's process beyond its bytes: the driver watches it where that is possible, and its end is
//! proof of death, also while a forked child keeps its sockets open.
//!
//! ```text
//! Unknown --Runs--> Runs --Ended--> Ended --all read, or no connection left--> dead
//!    ^                |
//!    '- another life -'
//! ```

use std::time::Duration;

use super::{Link, Verdict};
use crate::wire::Lane;
use crate::{Instance, Reason, Time};

/// What a process that has ended wrote last lies in the sockets, its goodbye perhaps: it is read until nothing has come
/// for this long. A few turns of an I/O thread, and far less than anybody notices.
const LAST_WORDS: Duration = Duration::from_millis(10);

/// What a driver finds out about a peer's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// It runs, and its end will be told.
    ProcessRuns,
    /// It has ended.
    ProcessEnded {
        /// Its process id, for people.
        pid: u32,
    },
}

/// What is known of the peer's process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Process {
    #[default]
    Unknown,
    Runs,
    Ended {
        pid: u32,
        at: Time,
    },
}

impl<T, B: AsRef<[u8]>> Link<T, B> {
    /// Takes what the driver has found out about this life of the peer; of another life it is ignored.
    pub fn handle_evidence(&mut self, now: Time, instance: Instance, evidence: Evidence) {
        if self.ended().is_some() || self.settings.peer_instance != Some(instance) {
            return;
        }
        self.process = match (evidence, self.process) {
            (_, ended @ Process::Ended { .. }) => ended,
            (Evidence::ProcessRuns, _) => Process::Runs,
            (Evidence::ProcessEnded { pid }, _) => Process::Ended { pid, at: now },
        };
        self.bury(now);
    }

    /// When a peer whose process has ended is dead at the latest, if nothing more is heard.
    pub(super) fn burial(&self) -> Option<Time> {
        match self.process {
            Process::Ended { at, .. } if self.ended().is_none() => {
                Some(at.max(self.liveness.last_heard()) + LAST_WORDS)
            }
            _ => None,
        }
    }

    /// Ends the link if the peer's process has ended and nothing can come any more.
    pub(super) fn bury(&mut self, now: Time) {
        let (Process::Ended { pid, .. }, Some(due)) = (self.process, self.burial()) else { return };
        let connected = Lane::ALL.iter().any(|lane| self.lanes[lane.index()].connection.is_some());
        if !connected || due <= now {
            self.end(Verdict::Dead, Reason::Exited { detail: format!("process {pid}") });
        }
    }
}
