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

/// The address that the default route leaves by, loopback where there is none.
pub(crate) fn routable() -> IpAddr {
    routable_v4().or_else(routable_v6).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// As [`routable`], for the default route of IPv4. 192.0.2.0/24 and 2001:db8::/32 are reserved for documentation: only
/// the default route leads there.
pub(crate) fn routable_v4() -> Option<IpAddr> {
    leaves_by("0.0.0.0:0", "192.0.2.1:9")
}

/// As [`routable`], for the default route of IPv6.
pub(crate) fn routable_v6() -> Option<IpAddr> {
    leaves_by("[::]:0", "[2001:db8::1]:9")
}

/// Connecting a datagram socket asks the kernel for a route and sends nothing.
fn leaves_by(bind: &str, to: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind(bind).ok()?;
    socket.connect(to).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified()).then_some(address)
}

/// Whether this is an address of this host.
pub(crate) fn is_local(address: IpAddr) -> bool {
    address.is_loopback()
        || if_addrs::get_if_addrs().is_ok_and(|all| all.iter().any(|interface| interface.ip() == address))
}

/// The address that `host` is, if it is a number.
pub(crate) fn number(host: &str) -> Option<IpAddr> {
    host.trim_matches(['[', ']']).parse().ok()
}

/// Every address that `host` stands for, numbers without asking anybody.
pub(crate) async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Some(address) = number(host) {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let addresses: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}
