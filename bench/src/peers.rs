//! The peers that are measured, ours among them.

use mosaic_yardsticks::blocking_tcp::BlockingTcp;
use mosaic_yardsticks::libzmq::Libzmq;
use mosaic_yardsticks::omq::Omq;
use mosaic_yardsticks::outcome::Outcome;
use mosaic_yardsticks::peer::Peer;
use mosaic_yardsticks::python::Python;
use mosaic_yardsticks::raw_tokio::RawTokio;
use mosaic_yardsticks::tarpc::Tarpc;
use mosaic_yardsticks::tonic::Tonic;
use mosaic_yardsticks::zeromq::Zeromq;

use crate::mosaic::{Mosaic, network::Network};

/// All of them, in the order of the tables: ours first. Networks come last since they take longest, and have no column.
pub const ALL: &[&dyn Peer] = &[
    &Mosaic::Unix,
    &Mosaic::Tcp,
    &Mosaic::Tls,
    &Mosaic::Memory,
    &BlockingTcp,
    &RawTokio,
    &Libzmq,
    &Zeromq,
    &Omq,
    &Tarpc,
    &Tonic,
    &Python {
        id: "mosaic-asyncio",
        title: "Mosaic, asyncio",
        about: "this library's Python package on asyncio, by Unix sockets",
        script: "mosaic_calls.py",
        variant: Some("asyncio"),
    },
    &Python {
        id: "mosaic-uvloop",
        title: "Mosaic, uvloop",
        about: "this library's Python package on uvloop, by Unix sockets",
        script: "mosaic_calls.py",
        variant: Some("uvloop"),
    },
    &Python {
        id: "pyzmq",
        title: "pyzmq + pickle",
        about: "pyzmq 27 with pickled tuples, arrays beside the pickle without a copy, ROUTER to ROUTER over TCP, blocking",
        script: "pyzmq_pickle.py",
        variant: None,
    },
    &Network,
];

/// The peer of this id.
pub fn find(id: &str) -> Outcome<&'static dyn Peer> {
    let found = ALL.iter().copied().find(|peer| peer.id() == id);
    found.ok_or_else(|| {
        let ids: Vec<_> = ALL.iter().map(|peer| peer.id()).collect();
        format!("there is no peer `{id}`; there are {}", ids.join(", ")).into()
    })
}
