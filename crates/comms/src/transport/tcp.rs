//! TCP, version 4 and 6. Socket buffers are left to the kernel, which tunes them better than a fixed size does.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::task::{Context, Poll};

use rustix::net::Shutdown;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};

use super::{AnyStream, Read, Stream, Trust, read_from, write_to};

/// Connections that may wait to be accepted: a storm of joiners comes at once.
const BACKLOG: i32 = 4096;

#[derive(Debug)]
pub(crate) struct Tcp(TcpStream);

/// Binds `address`; an IPv6 one takes no IPv4 connections, so that both can be bound side by side.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A port whose last owner's connections linger in TIME_WAIT may be bound again; a live listener's may not.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

pub(crate) async fn connect(address: SocketAddr) -> io::Result<AnyStream> {
    adopt(TcpStream::connect(address).await?)
}

pub(crate) async fn accept(listener: &TcpListener) -> io::Result<(AnyStream, IpAddr)> {
    let (stream, peer) = listener.accept().await?;
    Ok((adopt(stream)?, peer.ip()))
}

fn adopt(stream: TcpStream) -> io::Result<AnyStream> {
    stream.set_nodelay(true)?;
    Ok(Arc::new(Tcp(stream)))
}

impl Stream for Tcp {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read_ready(context)
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_write_ready(context)
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        read_from(
            buffer.len(),
            |read| self.0.try_io(Interest::READABLE, read),
            || Ok(Read::of(rustix::io::read(&self.0, &mut *buffer)?)),
        )
    }

    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        write_to(&self.0, slices, |write| self.0.try_io(Interest::WRITABLE, write))
    }

    fn close(&self) {
        // An error means that the connection has ended already, which is what is wanted.
        let _ = rustix::net::shutdown(&self.0, Shutdown::Both);
    }

    fn finish(&self) {
        let _ = rustix::net::shutdown(&self.0, Shutdown::Write);
    }

    fn name(&self) -> &'static str {
        "tcp"
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }

    fn trust(&self) -> Trust {
        Trust::Anyone
    }

    fn moved(self: Arc<Self>) -> io::Result<AnyStream> {
        let socket = self.0.as_fd().try_clone_to_owned()?;
        Ok(Arc::new(Tcp(TcpStream::from_std(socket.into())?)))
    }

    /// A host talks to itself from the address that it talks to.
    fn is_on_this_host(&self) -> bool {
        let ends = (self.0.local_addr(), self.0.peer_addr());
        matches!(ends, (Ok(local), Ok(peer)) if local.ip() == peer.ip())
    }
}
