//! Asks whether a tunnel's port of another host is refused.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;

/// What every WireGuard drops without a word: a data message (type 4) of a session that nobody has, without content.
const KNOCK: [u8; 32] = {
    let mut message = [0; 32];
    message[0] = 4;
    message
};

/// How long a refusal may take.
const WITHIN: Duration = Duration::from_millis(500);

/// Whether somebody refuses datagrams to one of these ports in words: the host, because nothing listens there, or a
/// firewall (ICMP "port unreachable" or "prohibited"). Silence tells nothing: it is also what comes of a WireGuard that
/// does not know us and of a firewall that drops.
pub(crate) async fn is_refused(ports: &[SocketAddr]) -> bool {
    let mut is_refused = false;
    for port in ports {
        is_refused |= refusal(*port).await.is_some_and(|error| is_icmp(error.kind()));
    }
    is_refused
}

/// What comes back of a knock: nothing but an error can, since nobody answers one.
async fn refusal(port: SocketAddr) -> Option<std::io::Error> {
    let any = if port.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { SocketAddr::from(([0; 8], 0)) };
    let socket = UdpSocket::bind(any).await.ok()?;
    socket.connect(port).await.ok()?;
    socket.send(&KNOCK).await.ok()?;
    tokio::time::timeout(WITHIN, socket.recv(&mut [0; 1])).await.ok()?.err()
}

/// What the kernel makes of ICMP's "port unreachable", and of "prohibited" by a firewall.
fn is_icmp(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_where_nothing_listens_is_refused_and_one_where_somebody_does_is_not() {
        let listener = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap();
        assert!(!is_refused(&[port]).await);
        drop(listener);
        assert!(is_refused(&[port]).await);
    }
}
