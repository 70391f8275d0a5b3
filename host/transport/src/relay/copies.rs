//! Copies of relayed packets, sent as if by this host's end: they open NATs, and one that arrives shows both ends a
//! way without a relay.
//!
//! The end's socket belongs to the kernel or to another process, so a raw socket writes its port into the packet.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};

use shoal_kit::checksum;
use socket2::{Domain, Protocol, Socket, Type};

/// Sends everything, receives nothing: raw(7).
const PROTOCOL_RAW: i32 = 255;
const PROTOCOL_UDP: u8 = 17;
const HOPS: u8 = 64;
const UDP_HEADER_BYTES: usize = 8;

/// Raw sockets of both families; one that could not be opened sends nothing.
#[derive(Debug)]
pub(crate) struct Copies {
    v4: Option<Socket>,
    v6: Option<Socket>,
}

impl Copies {
    pub(crate) fn open() -> Self {
        let open = |domain| -> io::Result<Socket> {
            let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(PROTOCOL_RAW)))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        Self { v4: open(Domain::IPV4).ok(), v6: open(Domain::IPV6).ok() }
    }

    /// Sends a datagram from `port` of this host; whether the kernel took it.
    pub(crate) fn send(&self, packet: &[u8], port: u16, to: SocketAddr) -> bool {
        let sent = match (to, &self.v4, &self.v6) {
            (SocketAddr::V4(to), Some(socket), _) => {
                let to_any_port = SocketAddrV4::new(*to.ip(), 0);
                v4(packet, port, to).map(|bytes| socket.send_to(&bytes, &to_any_port.into()))
            }
            (SocketAddr::V6(to), _, Some(socket)) => {
                let to_any_port = SocketAddrV6::new(*to.ip(), 0, 0, to.scope_id());
                v6(packet, port, to).map(|bytes| socket.send_to(&bytes, &to_any_port.into()))
            }
            _ => None,
        };
        sent.is_some_and(|sent| sent.is_ok())
    }
}

/// An IPv4 packet (RFC 791) with a UDP datagram without checksum (RFC 768). The kernel writes source, identification,
/// length and checksum: raw(7).
fn v4(packet: &[u8], port: u16, to: SocketAddrV4) -> Option<Vec<u8>> {
    let udp = udp(packet, port, to.port())?;
    let mut bytes = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, HOPS, PROTOCOL_UDP, 0, 0];
    bytes.extend(Ipv4Addr::UNSPECIFIED.octets());
    bytes.extend(to.ip().octets());
    bytes.extend(udp);
    Some(bytes)
}

/// An IPv6 packet (RFC 8200) with a UDP datagram, whose checksum must be there.
fn v6(packet: &[u8], port: u16, to: SocketAddrV6) -> Option<Vec<u8>> {
    let source = source_towards(to)?;
    let mut udp = udp(packet, port, to.port())?;
    let length = u16::try_from(udp.len()).ok()?;
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend(length.to_be_bytes());
    bytes.extend([PROTOCOL_UDP, HOPS]);
    bytes.extend(source.ip().octets());
    bytes.extend(to.ip().octets());
    let pseudo = checksum::pseudo_header(&bytes[8..40], PROTOCOL_UDP, length);
    // Zero would say that there is none.
    let sum = match checksum::finish(checksum::add(pseudo, &udp)) {
        0 => u16::MAX,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_ne_bytes());
    bytes.extend(udp);
    Some(bytes)
}

fn udp(packet: &[u8], from: u16, to: u16) -> Option<Vec<u8>> {
    let length = u16::try_from(UDP_HEADER_BYTES + packet.len()).ok()?;
    let mut bytes = Vec::with_capacity(usize::from(length));
    for field in [from, to, length, 0] {
        bytes.extend(field.to_be_bytes());
    }
    bytes.extend(packet);
    Some(bytes)
}

/// The address from which this host sends there.
fn source_towards(to: SocketAddrV6) -> Option<SocketAddrV6> {
    let socket = UdpSocket::bind("[::]:0").ok()?;
    socket.connect(to).ok()?;
    match socket.local_addr().ok()? {
        SocketAddr::V6(source) => Some(source),
        SocketAddr::V4(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_name_port_and_place() {
        let bytes = v4(b"x", 7375, "192.0.2.9:40000".parse().unwrap()).unwrap();
        assert_eq!(&bytes[16..20], [192, 0, 2, 9]);
        assert_eq!(&bytes[20..28], [28, 207, 156, 64, 0, 9, 0, 0]);
        assert_eq!(v4(&[0; 65_536], 1, "192.0.2.9:2".parse().unwrap()), None);
    }
}
