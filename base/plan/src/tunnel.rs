//! Tunnel devices: what leads to other hosts.

use std::net::{Ipv4Addr, SocketAddr};

use serde::Serialize;
use shoal_types::WireGuardSecret;

/// UDP port of VXLAN inside an encrypted tunnel, the one assigned by IANA. Nothing else listens there, so it need not
/// be chosen.
pub const INNER_VXLAN_PORT: u16 = 4789;

/// A device of the host into which programs redirect packets for other hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Tunnel {
    /// VXLAN in collect-metadata mode on the underlay, in clear.
    Clear {
        /// UDP port it listens on and sends to.
        port: u16,
    },
    /// VXLAN inside WireGuard.
    Encrypted(WireGuard),
}

impl Tunnel {
    /// What encrypts it; `None` in clear.
    pub fn wireguard(&self) -> Option<&WireGuard> {
        match self {
            Self::Clear { .. } => None,
            Self::Encrypted(wireguard) => Some(wireguard),
        }
    }
}

/// This host's end of an encrypted tunnel. It never changes but for its MTU: a new key is a new end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WireGuard {
    /// Who does the work.
    pub backend: Backend,
    /// The private key.
    pub secret: WireGuardSecret,
    /// Its address in the tunnel, of 240.0.0.0/4: the outer source of what it sends.
    pub address: Ipv4Addr,
    /// UDP port on the underlay.
    pub port: u16,
    /// Largest packet inside WireGuard, VXLAN's headers included, bytes.
    pub mtu: u16,
}

/// Who encrypts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Backend {
    /// The kernel's WireGuard, in a network namespace of its own that holds VXLAN's socket too: what does not fit into
    /// the tunnel has no way out.
    Kernel,
    /// A process of Shoal's that reads Ethernet frames from a TAP device and does both VXLAN and WireGuard: no IP stack
    /// sees the packets in between. For kernels without WireGuard.
    ///
    /// Programs hand the outer addresses over in the frame's hardware addresses; see `bpf/include/tunnel.h`.
    UserSpace,
}

/// The end of another host, as this host's end must know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WireGuardPeer {
    /// Its address in the tunnel, the only one it may send from.
    pub address: Ipv4Addr,
    /// Where to send; `None`: wherever it was heard from last.
    pub endpoint: Option<SocketAddr>,
    /// Mixed into every handshake of the two.
    pub preshared: Option<WireGuardSecret>,
    /// Send at least this often, seconds, to keep a mapping of a NAT alive.
    pub keepalive: Option<u16>,
}

impl WireGuardPeer {
    /// Whether `there`, read back with the endpoint in use, is what this asks for.
    pub fn is_met_by(&self, there: &Self) -> bool {
        let same_endpoint = self.endpoint.is_none() || self.endpoint == there.endpoint;
        same_endpoint && Self { endpoint: there.endpoint, ..self.clone() } == *there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_may_be_anywhere_is_met_wherever_it_is() {
        let there = WireGuardPeer {
            address: Ipv4Addr::new(240, 0, 0, 1),
            endpoint: Some(([192, 0, 2, 1], 7375).into()),
            preshared: None,
            keepalive: None,
        };
        let anywhere = WireGuardPeer { endpoint: None, ..there.clone() };
        assert!(anywhere.is_met_by(&there));
        let elsewhere = WireGuardPeer { endpoint: Some(([192, 0, 2, 2], 7375).into()), ..there.clone() };
        assert!(!elsewhere.is_met_by(&there));
        assert!(!WireGuardPeer { keepalive: Some(25), ..anywhere }.is_met_by(&there));
    }
}
