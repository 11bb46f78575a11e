//! What a peer is.

use std::future::pending;
use std::process::Command;

use tokio::runtime::{Builder, Runtime};

use crate::flood;
use crate::frames::{self, Frames};
use crate::outcome::Outcome;
use crate::part::Part;
use crate::process::{Pinning, Server};
use crate::sheet::Sheet;

/// A way for two processes to exchange messages.
pub trait Peer: Sync {
    /// What it is called on command lines and in files.
    fn id(&self) -> &'static str;

    /// What it is called in tables.
    fn title(&self) -> &'static str;

    /// What it is, for the list below the tables.
    fn about(&self) -> &'static str;

    /// The peer in whose column its figures stand.
    fn column(&self) -> &'static str {
        self.id()
    }

    /// Whether it can be measured in this place; if not, what is missing.
    fn missing(&self) -> Option<String> {
        None
    }

    /// What of it is measured this way. A flood is about memory, so once is enough.
    fn parts(&self, pinning: Pinning) -> &'static [Part] {
        match pinning {
            Pinning::Pinned => &[Part::Messages],
            Pinning::Default => &[Part::Messages, Part::Flood],
        }
    }

    /// The command that measures a part of it.
    fn command(&self, part: Part, pinning: Pinning, milliseconds: u64) -> Outcome<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["measure", part.name(), self.id(), pinning.name(), &milliseconds.to_string()]);
        Ok(command)
    }

    /// In the serving process: serves until the standard input ends.
    fn serve(&self, details: &[&str]) -> Outcome;

    /// In the measuring process: starts the serving one, and writes every figure that makes sense for the peer.
    fn measure(&self, part: Part, sheet: &Sheet) -> Outcome;
}

/// The executor of every peer.
pub fn executor() -> Outcome<Runtime> {
    Ok(Builder::new_multi_thread().enable_all().build()?)
}

/// Measures a part of a peer that carries frames.
pub async fn run_frames(mut peer: impl Frames, server: Server, part: Part, sheet: &Sheet) -> Outcome {
    match part {
        Part::Messages => frames::measure(&mut peer, sheet).await,
        Part::Flood => {
            flood::begin(server, sheet)?;
            // It may fail when the server is killed; how the process ends is decided elsewhere.
            let _ = frames::flood(&mut peer).await;
            pending().await
        }
    }
}
