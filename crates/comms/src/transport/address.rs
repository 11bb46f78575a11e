//! Which address others can reach us at, and which of theirs are this host's. No packet is sent to find out.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// The address of the interface `name`: IPv4 first.
pub(crate) fn of_interface(name: &str) -> io::Result<IpAddr> {
    let interfaces = if_addrs::get_if_addrs()?;
    let mut addresses: Vec<IpAddr> =
        interfaces.iter().filter(|interface| interface.name == name).map(if_addrs::Interface::ip).collect();
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses.first().copied().ok_or_else(|| {
        let mut names: Vec<_> = interfaces.into_iter().map(|interface| interface.name).collect();
        names.dedup();
        let message = format!("there is no interface `{name}` with an address, only {}", names.join(", "));
        io::Error::new(io::ErrorKind::NotFound, message)
    })
}

/// The address that the default route leaves by, loopback where there is none. Connecting a datagram socket asks the
/// kernel for a route and sends nothing.
pub(crate) fn routable() -> IpAddr {
    let probe = |bind: &str, to: &str| -> io::Result<IpAddr> {
        let socket = UdpSocket::bind(bind)?;
        socket.connect(to)?;
        Ok(socket.local_addr()?.ip())
    };
    // 192.0.2.0/24 and 2001:db8::/32 are reserved for documentation: only the default route leads there.
    probe("0.0.0.0:0", "192.0.2.1:9")
        .or_else(|_| probe("[::]:0", "[2001:db8::1]:9"))
        .ok()
        .filter(|address| !address.is_unspecified())
        .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// Whether this is an address of this host.
pub(crate) fn is_local(address: IpAddr) -> bool {
    address.is_loopback()
        || if_addrs::get_if_addrs().is_ok_and(|all| all.iter().any(|interface| interface.ip() == address))
}

/// Every address that `host` stands for, numbers without asking anybody.
pub(crate) async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let addresses: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}
