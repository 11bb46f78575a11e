//! Dialling a lane: by the shortest way there is, and making sure who answers.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use mosaic_proto::Uid;
use mosaic_proto::link::DialFailure;
use mosaic_proto::wire::{Lane, Ready, Refusal, RefusalCode};
use tokio::time::timeout;
use tracing::debug;

use super::Shared;
use super::accept::refusal;
use crate::config::{Refusals, UnixSockets};
use crate::connection::{HANDSHAKE_TIMEOUT, HandshakeError, Opening};
use crate::error::Attempt;
use crate::link::Link;
use crate::transport::memory::{self};
use crate::transport::unix::{self};
use crate::transport::{AnyStream, address, tcp};

/// Dials one lane of a link, and reports what came of it.
pub(crate) async fn dial(shared: Arc<Shared>, link: Arc<Link>, lane: Lane) {
    let (failure, refused) = match dial_in_time(&shared, &link, lane).await {
        Ok(()) | Err(Failed::Abandoned) => return,
        Err(Failed::Dial(failure)) => (failure, None),
        Err(Failed::Refused(refusal)) => (DialFailure::Answered(refusal.clone()), Some(refusal)),
    };
    debug!(parent: &shared.span, peer = %link.peer, ?lane, ?failure, "dial failed");
    if let Some(refusal) = refused {
        link.note_attempts(Vec::new(), Some(refusal));
    }
    link.dial_failed(lane, &failure);
}

enum Failed {
    Dial(DialFailure),
    Refused(Refusal),
    Abandoned,
}

async fn dial_in_time(shared: &Arc<Shared>, link: &Arc<Link>, lane: Lane) -> Result<(), Failed> {
    let nothing_came = |address: String, outcome: String| {
        link.note_attempts(vec![Attempt { address, outcome }], None);
        Err(Failed::Dial(DialFailure::Unreachable))
    };
    let Some((host, port)) = shared.place_to_dial(&link.peer) else {
        return nothing_came("nowhere".to_owned(), "its address is not known".to_owned());
    };
    let address = format!("{host}:{port}");
    link.note_dialling(&address);
    let dialled = timeout(HANDSHAKE_TIMEOUT, dial_now(shared, link, lane, &host, port)).await;
    dialled.unwrap_or_else(|_| nothing_came(address, HandshakeError::Timeout.to_string()))
}

async fn dial_now(
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    lane: Lane,
    host: &str,
    port: u16,
) -> Result<(), Failed> {
    let stream = match reach(shared, host, port).await {
        Ok(stream) => stream,
        Err(attempts) => {
            let proof = shared.config.refusals == Refusals::ProveDeath;
            let refused = proof && attempts.iter().all(|(_, error)| is_refusal(error));
            let shown =
                attempts.into_iter().map(|(address, error)| Attempt { address, outcome: error.to_string() });
            link.note_attempts(shown.collect(), None);
            return Err(Failed::Dial(if refused { DialFailure::Refused } else { DialFailure::Unreachable }));
        }
    };
    let mut opening = Opening::new(stream.clone(), shared.config.limits, &shared.context);
    let introduced = introduce(link, lane, &mut opening).await;
    let answer = match introduced {
        Ok(answer) => answer,
        Err(HandshakeError::Refused(refusal)) => return Err(Failed::Refused(refusal)),
        Err(HandshakeError::Abandoned) => return Err(Failed::Abandoned),
        Err(error) => {
            let attempt = Attempt { address: format!("{host}:{port}"), outcome: error.to_string() };
            link.note_attempts(vec![attempt], None);
            return Err(Failed::Dial(DialFailure::Unreachable));
        }
    };
    let attached = match &answer.mosaic {
        Some(mosaic) => link.attach(true, mosaic),
        None => link.attach_foreign(true),
    };
    match attached {
        Ok(attached) => {
            if let Some(peer) = &answer.mosaic {
                link.watch_process(peer, &*stream);
            }
            link.install(lane, attached.connection, opening);
        }
        // The peer's own dial came first, or the link has ended: this connection is one too many.
        Err(_) => stream.close(),
    }
    Ok(())
}

/// Sends our READY and reads the answer. Whoever answers must be whom we mean.
async fn introduce(link: &Arc<Link>, lane: Lane, opening: &mut Opening) -> Result<Ready, HandshakeError> {
    let ready = link.run(crate::link::Write::Pump, |machine, _| machine.dial_ready(lane));
    let Some(ready) = ready else { return Err(HandshakeError::Abandoned) };
    opening.send_greeting(Some(ready)).await?;
    let answer = opening.receive_ready().await?;
    if answer.uid.as_ref() != Some(&link.peer) {
        let other = answer.uid.as_deref().unwrap_or("a peer without a name");
        return Err(HandshakeError::Refused(refusal(RefusalCode::NotMe, &format!("{other} answered there"))));
    }
    if let Some(mosaic) = &answer.mosaic
        && mosaic.lane != lane
    {
        return Err(HandshakeError::NotReady("READY of another lane".to_owned()));
    }
    Ok(answer)
}

impl Shared {
    /// The process of this runtime has ended: nobody dials it any more, to find its socket without a listener. Sweeping
    /// waits for others who do, which no link is to wait for.
    pub(super) fn sweep_socket(&self, uid: &Uid) {
        let place = self.directory().topology.get(uid).cloned();
        if let Some(place) = place.filter(|_| self.context.network().is_none()) {
            self.io.spawn_blocking(move || unix::sweep(place.port));
        }
    }

    fn place_to_dial(&self, uid: &Uid) -> Option<(String, u16)> {
        let directory = self.directory();
        let place = directory.topology.get(uid).filter(|place| place.is_known());
        let known = place.map(|place| (place.address.clone(), place.port));
        self.dialled.lock().get(uid).cloned().or(known)
    }
}

type Failures = Vec<(String, io::Error)>;

/// Connects by the shortest way there is: memory, the Unix socket, TCP.
async fn reach(shared: &Arc<Shared>, host: &str, port: u16) -> Result<AnyStream, Failures> {
    let context = &shared.context;
    if let Some(node) = context.network() {
        let connected = node.connect(context.registry(), host, port).await;
        return connected.map_err(|error| vec![(format!("{host}:{port}"), error)]);
    }
    let listener = context.registry().find(host, port);
    if let Some(stream) = listener.and_then(|listener| memory::connect(&listener).ok()) {
        return Ok(stream);
    }
    if let Some(path) = host.strip_prefix("ipc://") {
        return reach_by_path(host, path).await;
    }
    let addresses = match timeout(HANDSHAKE_TIMEOUT, address::resolve(host, port)).await {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => return Err(vec![(format!("{host}:{port}"), error)]),
        Err(_) => return Err(vec![(format!("{host}:{port}"), ErrorKind::TimedOut.into())]),
    };
    let mut failures = Vec::new();
    let unix_sockets = shared.config.unix_sockets == UnixSockets::Use;
    if unix_sockets && addresses.iter().any(|address| is_here(address.ip())) {
        let path = unix::socket_path(port);
        match unix::connect(&path).await {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                if error.kind() == ErrorKind::ConnectionRefused {
                    unix::sweep(port);
                }
                failures.push((path.display().to_string(), error));
            }
        }
    }
    match reach_by_tcp(shared, &addresses).await {
        Ok(stream) => Ok(stream),
        Err(more) => {
            failures.extend(more);
            Err(failures)
        }
    }
}

/// Connects to the Unix socket that a foreign peer has bound. That nobody listens at the path is no proof of death: the
/// path may mean another host's.
async fn reach_by_path(endpoint: &str, path: &str) -> Result<AnyStream, Failures> {
    let connected = unix::connect(Path::new(path)).await;
    connected.map_err(|error| vec![(endpoint.to_owned(), io::Error::other(error.to_string()))])
}

fn is_here(address: IpAddr) -> bool {
    address::is_local(address)
}

/// Dials all addresses at once; the first that connects wins.
async fn reach_by_tcp(shared: &Arc<Shared>, addresses: &[SocketAddr]) -> Result<AnyStream, Failures> {
    let dials = addresses.iter().map(|&address| async move { (address, connect(shared, address).await) });
    let mut dials: futures_util::stream::FuturesUnordered<_> = dials.collect();
    let mut failures = Vec::new();
    while let Some((address, outcome)) = futures_util::StreamExt::next(&mut dials).await {
        match outcome {
            Ok(stream) => return Ok(stream),
            Err(error) => failures.push((address.to_string(), error)),
        }
    }
    Err(failures)
}

async fn connect(shared: &Arc<Shared>, address: SocketAddr) -> io::Result<AnyStream> {
    shared.secure_dialled(tcp::connect(address).await?).await
}

/// Whether this says that nobody listens there; a socket file that is gone says so too.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound)
}
