//! The one UDP socket.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// The transport could not start.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The port could not be opened.
    #[error(
        "cannot listen on UDP port {port} of {ip}: {error}; {hint}",
        port = address.port(),
        ip = address.ip(),
        hint = hint(error)
    )]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// What the kernel said.
        error: io::Error,
    },
    /// TLS could not be set up: a fault of the build.
    #[error("cannot set up TLS 1.3 with Ed25519: {0}; this agent was built without it")]
    Tls(#[from] rustls::Error),
}

/// Opens the socket; `[::]` serves both families, and IPv4 alone where IPv6 is off.
pub(crate) fn open(address: SocketAddr) -> Result<UdpSocket, TransportError> {
    let fallback = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    match bind(address) {
        Err(error) if is_unspecified_v6(address) && lacks_v6(&error) => {
            bind(fallback).map_err(|error| TransportError::Listen { address: fallback, error })
        }
        other => other.map_err(|error| TransportError::Listen { address, error }),
    }
}

/// An address as people write it: IPv4 that came in over an IPv6 socket is IPv4.
pub(crate) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // 300 peers that speak at once fill the kernel's default of 200 KiB; it may grant less, which is no error.
    let _ = socket.set_recv_buffer_size(4 << 20);
    let _ = socket.set_send_buffer_size(4 << 20);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn is_unspecified_v6(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

fn lacks_v6(error: &io::Error) -> bool {
    // EAFNOSUPPORT (97) has no kind of its own in the standard library.
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(97)
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program has it, perhaps another agent: `ss -ulpn` shows which; stop it or choose another port"
        }
        io::ErrorKind::PermissionDenied => "run the agent as root or choose a port above 1023",
        io::ErrorKind::AddrNotAvailable => {
            "this host does not have that address: choose one of `ip address`, or [::]"
        }
        _ => "choose another address or port",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named_with_what_to_do() {
        let held = open("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = held.local_addr().unwrap();
        let text = open(address).unwrap_err().to_string();
        assert!(
            text.starts_with(&format!("cannot listen on UDP port {} of 127.0.0.1: ", address.port())),
            "{text}"
        );
        assert!(text.contains("ss -ulpn"), "{text}");
    }

    #[test]
    fn a_foreign_address_is_refused_with_what_to_do() {
        let text = open("192.0.2.1:0".parse().unwrap()).unwrap_err().to_string();
        assert!(text.contains("does not have that address"), "{text}");
    }

    #[test]
    fn the_unspecified_ipv6_address_serves_ipv4_too() {
        let socket = open("[::]:0".parse().unwrap()).unwrap();
        let port = socket.local_addr().unwrap().port();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(b"x", ("127.0.0.1", port)).unwrap();
        socket.set_nonblocking(false).unwrap();
        let (_, from) = socket.recv_from(&mut [0; 8]).unwrap();
        assert_eq!(plain(from), sender.local_addr().unwrap());
    }
}
