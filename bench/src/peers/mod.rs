//! The peers: one file each.

mod blocking_tcp;
mod libzmq;
mod mosaic;
mod omq;
mod python;
mod raw_tokio;
mod tarpc;
mod tonic;
mod zeromq;

use std::process::Command;

use std::future::pending;

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

/// All of them, in the order of the tables: ours first.
pub const ALL: &[&dyn Peer] = &[
    &mosaic::Mosaic::Unix,
    &mosaic::Mosaic::Tcp,
    &mosaic::Mosaic::Tls,
    &mosaic::Mosaic::Memory,
    &mosaic::network::Network,
    &blocking_tcp::BlockingTcp,
    &raw_tokio::RawTokio,
    &libzmq::Libzmq,
    &zeromq::Zeromq,
    &omq::Omq,
    &tarpc::Tarpc,
    &tonic::Tonic,
    &python::Python {
        id: "mosaic-asyncio",
        title: "Mosaic, asyncio",
        about: "this library's Python package on asyncio, by Unix sockets",
        script: "mosaic_calls.py",
        variant: Some("asyncio"),
    },
    &python::Python {
        id: "mosaic-uvloop",
        title: "Mosaic, uvloop",
        about: "this library's Python package on uvloop, by Unix sockets",
        script: "mosaic_calls.py",
        variant: Some("uvloop"),
    },
    &python::Python {
        id: "pyzmq",
        title: "pyzmq + pickle",
        about: "pyzmq 27 with pickled tuples, ROUTER to ROUTER over TCP, blocking",
        script: "pyzmq_pickle.py",
        variant: None,
    },
];

/// The peer of this id.
pub fn find(id: &str) -> Outcome<&'static dyn Peer> {
    let found = ALL.iter().copied().find(|peer| peer.id() == id);
    found.ok_or_else(|| {
        let ids: Vec<_> = ALL.iter().map(|peer| peer.id()).collect();
        format!("there is no peer `{id}`; there are {}", ids.join(", ")).into()
    })
}

/// The executor of every peer.
fn executor() -> Outcome<Runtime> {
    Ok(Builder::new_multi_thread().enable_all().build()?)
}

/// Measures a part of a peer that carries frames.
async fn run_frames(mut peer: impl Frames, server: Server, part: Part, sheet: &Sheet) -> Outcome {
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
