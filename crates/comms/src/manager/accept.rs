//! Binding the inbound connection, and letting in who connects to it.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mosaic_proto::wire::{Lane, MosaicReady, Ready, Refusal, RefusalCode};
use mosaic_proto::{Instance, Place, Uid};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::half_open::{HalfOpen, Place as HalfOpenPlace};
use super::{Phase, Shared};
use crate::config::{Security, UnixSockets};
use crate::connection::{HANDSHAKE_TIMEOUT, HandshakeError, Opening, malformed};
use crate::error::BindError;
use crate::link::Link;
use crate::transport::door::Attention;
use crate::transport::memory::MemoryListener;
use crate::transport::simulated::Node;
use crate::transport::unix::{self, BoundUnix};
use crate::transport::{AnyStream, address, tcp};

/// Ports that are tried until one is free for TCP and for the Unix socket. Each is free for both but by rare chance.
const PORTS_TRIED: usize = 16;

/// How long an accept that failed, for want of descriptors say, waits before the next.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(50);

pub(super) const BOUND_ALREADY: &str = "the inbound connection is bound already, or the manager has stopped";

/// Somewhere that connections come in.
enum Listener {
    Tcp(TcpListener),
    Unix(BoundUnix),
    Memory(MemoryListener),
}

impl Listener {
    async fn accept(&mut self) -> io::Result<AnyStream> {
        match self {
            Listener::Tcp(listener) => tcp::accept(listener).await.map(|(stream, _)| stream),
            Listener::Unix(listener) => unix::accept(listener).await,
            Listener::Memory(listener) => {
                listener.accepted.recv().await.ok_or_else(|| ErrorKind::BrokenPipe.into())
            }
        }
    }
}

pub(super) async fn bind(shared: Arc<Shared>) -> Result<(), BindError> {
    let host = bind_host(&shared)?;
    let port = shared.config.port;
    let node = shared.context.network();
    let addresses = match node {
        Some(_) => Vec::new(),
        None => address::resolve(&host, port).await.map_err(|cause| cannot_bind(&host, port, cause))?,
    };
    // From here on nothing is awaited: of two that bind at once, on the one I/O thread, the second finds it done.
    if shared.phase() != Phase::New {
        return Err(BindError::State { why: BOUND_ALREADY });
    }
    let (listeners, port) = match node {
        Some(node) => bind_simulated(&shared, node, &host, port)?,
        None => bind_real(&shared, &host, port, &addresses)?,
    };
    let host = reachable(&shared, host).map_err(|cause| BindError::Address { cause })?;
    if node.is_none() {
        shared.make_credential(&host, port)?;
    }
    *shared.bound.lock() = (host.clone(), port);
    let place = Place { address: host, port, instance: shared.instance };
    shared.start_membership(place);
    shared.phase.send_if_modified(|phase| {
        let new = *phase == Phase::New;
        if new {
            *phase = Phase::Bound;
        }
        new
    });
    for listener in listeners {
        shared.tasks.spawn_on(accept(shared.clone(), listener), &shared.io);
    }
    Ok(())
}

/// The address that others are told: as configured, or of the interface, or of the default route.
fn bind_host(shared: &Shared) -> Result<String, BindError> {
    let config = &shared.config;
    if let Some(address) = &config.address {
        return Ok(address.clone());
    }
    if shared.context.network().is_some() {
        return Ok("simulated".to_owned());
    }
    let address = match &config.interface {
        Some(name) => address::of_interface(name).map_err(|cause| BindError::Address { cause })?,
        None => address::routable(),
    };
    Ok(address.to_string())
}

/// What to tell others where every address of this host is bound: one of them that they can reach.
fn reachable(shared: &Shared, host: String) -> io::Result<String> {
    let address = match (address::number(&host).filter(IpAddr::is_unspecified), &shared.config.interface) {
        (None, _) => return Ok(host),
        (Some(_), Some(name)) => address::of_interface(name)?,
        (Some(IpAddr::V4(_)), None) => address::routable_v4().unwrap_or(Ipv4Addr::LOCALHOST.into()),
        (Some(IpAddr::V6(_)), None) => address::routable_v6().unwrap_or(Ipv6Addr::LOCALHOST.into()),
    };
    Ok(address.to_string())
}

fn bind_simulated(
    shared: &Shared,
    node: &Node,
    host: &str,
    port: u16,
) -> Result<(Vec<Listener>, u16), BindError> {
    let ports = if port == 0 { 1..=u16::MAX } else { port..=port };
    for port in ports {
        if let Some(listener) = node.listen(shared.context.registry(), host, port) {
            return Ok((vec![Listener::Memory(listener)], port));
        }
    }
    let cause = io::Error::from(ErrorKind::AddrInUse);
    Err(BindError::Bind { address: host.to_owned(), port, cause })
}

fn cannot_bind(host: &str, port: u16, cause: io::Error) -> BindError {
    BindError::Bind { address: host.to_owned(), port, cause }
}

fn bind_real(
    shared: &Shared,
    host: &str,
    port: u16,
    addresses: &[SocketAddr],
) -> Result<(Vec<Listener>, u16), BindError> {
    let failed = |cause| cannot_bind(host, port, cause);
    let first = addresses.first().copied().ok_or_else(|| failed(ErrorKind::NotFound.into()))?;
    let (listener, port, bound) = match shared.config.unix_sockets {
        UnixSockets::Use => bind_both(first).map_err(failed)?,
        UnixSockets::Avoid => {
            let listener = tcp::bind(first).map_err(failed)?;
            let port = listener.local_addr().map_err(failed)?.port();
            (listener, port, Ok(None))
        }
    };
    let mut listeners = vec![Listener::Tcp(listener)];
    match bound {
        Ok(bound) => listeners.extend(bound.map(Listener::Unix)),
        // Without it, peers of this host come over TCP.
        Err(error) => warn!(parent: &shared.span, %error, "no Unix socket"),
    }
    listeners.extend(shared.context.registry().listen(host, port).map(Listener::Memory));
    if shared.config.security == Security::Insecure && !first.ip().is_loopback() {
        warn!(parent: &shared.span, address = %first.ip(), port, "insecure: anyone who reaches this port can join");
    }
    Ok((listeners, port))
}

/// Binds TCP and the Unix socket of the same port. Where any port will do, one is taken that is free for both: another
/// address of this host may have a runtime at the same port.
fn bind_both(address: SocketAddr) -> io::Result<(TcpListener, u16, io::Result<Option<BoundUnix>>)> {
    let mut tries = if address.port() == 0 { PORTS_TRIED } else { 1 };
    loop {
        tries -= 1;
        let listener = tcp::bind(address)?;
        let port = listener.local_addr()?.port();
        match unix::bind(port) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && tries > 0 => {}
            bound => return Ok((listener, port, bound.map(Some))),
        }
    }
}

async fn accept(shared: Arc<Shared>, mut listener: Listener) {
    let over = shared.accepting.clone();
    let half_open = Arc::new(HalfOpen::default());
    loop {
        let accepted = tokio::select! {
            biased;
            () = over.cancelled() => return,
            accepted = async {
                half_open.turn().await;
                listener.accept().await
            } => accepted,
        };
        match accepted {
            Ok(stream) => {
                let task = welcome(shared.clone(), stream, half_open.enter());
                shared.tasks.spawn_on(task, &shared.io);
                // Many that come at once take turns with those who are in: one, then whatever is ready to be read.
                tokio::task::yield_now().await;
            }
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return,
            Err(error) => {
                debug!(parent: &shared.span, %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
            }
        }
    }
}

/// Finds out who has connected, and makes the connection a lane of the link with it.
async fn welcome(shared: Arc<Shared>, stream: AnyStream, place: HalfOpenPlace) {
    let over = shared.accepting.clone();
    let greeted =
        async { timeout(HANDSHAKE_TIMEOUT, greet(&shared, stream.clone(), place.attention())).await };
    let greeted = tokio::select! {
        biased;
        () = over.cancelled() => return stream.close(),
        () = place.evicted() => Err(HandshakeError::Evicted),
        greeted = greeted => greeted.unwrap_or(Err(HandshakeError::Timeout)),
    };
    let admitted = match greeted {
        Ok((opening, ready)) => admit(&shared, opening, ready).await,
        Err(error) => Err(error),
    };
    match admitted {
        Ok(()) => place.let_in(),
        Err(error) => {
            debug!(parent: &shared.span, %error, "a connection was not let in");
            stream.finish();
        }
    }
}

async fn greet(
    shared: &Arc<Shared>,
    stream: AnyStream,
    attention: &Attention,
) -> Result<(Opening, Ready), HandshakeError> {
    let stream = shared.secure_accepted(stream, attention).await?;
    let mut opening = Opening::new(stream, shared.config.limits, &shared.context);
    opening.send_greeting(None).await?;
    let ready = opening.receive_ready().await;
    if let Err(HandshakeError::Wire(error)) = &ready {
        let refusal = malformed(error);
        opening.refuse(&refusal).await;
    }
    Ok((opening, ready?))
}

async fn admit(shared: &Arc<Shared>, mut opening: Opening, ready: Ready) -> Result<(), HandshakeError> {
    match attach(shared, &ready).await {
        Ok((link, lane, attached)) => {
            if let Some(peer) = &ready.mosaic {
                link.watch_process(peer, &*opening.stream);
            }
            if let Err(error) = opening.send_ready(attached.answer).await {
                link.detach(lane, attached.connection);
                return Err(error);
            }
            link.install(lane, attached.connection, opening);
            Ok(())
        }
        Err(refusal) => {
            opening.refuse(&refusal).await;
            Err(HandshakeError::Unwanted(refusal))
        }
    }
}

type AttachedTo = (Arc<Link>, Lane, mosaic_proto::link::Attached);

async fn attach(shared: &Arc<Shared>, ready: &Ready) -> Result<AttachedTo, Refusal> {
    let Some(uid) = &ready.uid else {
        return Err(refusal(RefusalCode::Malformed, "a peer needs an Identity: its uid"));
    };
    if *uid == shared.uid {
        return Err(refusal(RefusalCode::UidTaken, "this uid is mine"));
    }
    let goes_on = ready.mosaic.as_ref().is_some_and(|mosaic| !mosaic.session.is_none());
    let known = shared.links.read().contains_key(uid);
    let may_go_on = shared.phase() < Phase::Stopped && goes_on && known;
    if ready.mosaic.as_ref().is_some_and(|mosaic| mosaic.leaves) && !known {
        return Err(refusal(RefusalCode::NoSuchSession, "there is nothing to begin after a goodbye"));
    }
    if shared.phase() >= Phase::Stopping && !may_go_on {
        // It is not gone before it says so: whoever dials waits for that.
        return Err(refusal(RefusalCode::Busy, "this runtime stops"));
    }
    match &ready.mosaic {
        Some(mosaic) => {
            check_wanted(shared, mosaic)?;
            let link = shared.link_from(uid, None);
            let attached = link.attach(false, mosaic)?;
            Ok((link, mosaic.lane, attached))
        }
        None => {
            let instance = shared.life_of_foreign(uid).await;
            let link = shared.link_from(uid, instance);
            let attached = link.attach_foreign(false)?;
            Ok((link, Lane::Control, attached))
        }
    }
}

impl Shared {
    /// Which life of its uid a foreign peer is, that can't say so itself: the one that the monitor let in. To the
    /// monitor itself, and to those who have none, each connection is a new one.
    async fn life_of_foreign(self: &Arc<Self>, uid: &Uid) -> Option<Instance> {
        if self.uid.is_monitor() {
            return None;
        }
        if !self.directory().topology.contains(uid) {
            self.clone().look_for(uid.to_string()).await;
        }
        self.directory().topology.get(uid).map(|place| place.instance)
    }
}

/// Whether the caller means us.
fn check_wanted(shared: &Shared, mosaic: &MosaicReady) -> Result<(), Refusal> {
    if mosaic.wanted_uid.as_ref().is_some_and(|wanted| *wanted != shared.uid) {
        return Err(refusal(RefusalCode::NotMe, &format!("here is {}", shared.uid)));
    }
    if mosaic.wanted_instance.is_some_and(|wanted| wanted != shared.instance) {
        return Err(refusal(
            RefusalCode::NotMe,
            &format!("here is instance {} of {}", shared.instance, shared.uid),
        ));
    }
    Ok(())
}

pub(super) fn refusal(code: RefusalCode, detail: &str) -> Refusal {
    Refusal { code, detail: detail.to_owned() }
}
