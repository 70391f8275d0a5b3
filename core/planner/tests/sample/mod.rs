//! Short ways to write plans by hand.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses a part of it, and stops where it is wrong"
)]

use std::net::{IpAddr, Ipv4Addr};

use shoal_plan::{
    Backend, EndpointEntry, EndpointKey, HostPlan, Link, LinkSources, Peer, Tunnel, WireGuard, WireGuardPeer,
};
use shoal_types::{EndpointId, HostId, LinkName, MacAddr, Vni, WireGuardKey, WireGuardSecret};

/// An endpoint whose id starts with `digits`.
pub(crate) fn endpoint(digits: &str) -> EndpointId {
    format!("{digits:0<64}").parse().unwrap()
}

pub(crate) fn name(text: &str) -> LinkName {
    text.parse().unwrap()
}

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// An address of network 301.
pub(crate) fn key(text: &str) -> EndpointKey {
    EndpointKey { vni: Vni::new(301).unwrap(), address: address(text) }
}

/// The public key of end `n`.
pub(crate) fn public(n: u8) -> WireGuardKey {
    WireGuardKey::new([n; 32])
}

pub(crate) fn clear(port: u16) -> Tunnel {
    Tunnel::Clear { port }
}

/// This host's end number `n`: 240.0.0.`n`, UDP port 7000 + `n`.
pub(crate) fn encrypted(n: u8, backend: Backend) -> Tunnel {
    Tunnel::Encrypted(WireGuard {
        backend,
        secret: WireGuardSecret::new([0x5e; 32]),
        address: Ipv4Addr::new(240, 0, 0, n),
        port: 7000 + u16::from(n),
        mtu: 1420,
    })
}

/// Another host's end number `n`: 240.0.1.`n`, at an endpoint that is known.
pub(crate) fn end(n: u8) -> WireGuardPeer {
    WireGuardPeer {
        address: Ipv4Addr::new(240, 0, 1, n),
        endpoint: Some(([192, 0, 2, n], 7001).into()),
        preshared: None,
        keepalive: None,
    }
}

/// Builds a plan up.
pub(crate) trait PlanExt {
    fn with_tunnel(self, device: &str, tunnel: Tunnel) -> Self;
    fn with_end(self, device: &str, n: u8) -> Self;
    fn with_peer(self, at: &str, device: &str) -> Self;
    fn with_link(self, digits: &str, addresses: &[&str]) -> Self;
    fn with_remote(self, at: &str, addresses: &[&str]) -> Self;
}

impl PlanExt for HostPlan {
    fn with_tunnel(mut self, device: &str, tunnel: Tunnel) -> Self {
        self.tunnels.insert(name(device), tunnel);
        self
    }

    fn with_end(mut self, device: &str, n: u8) -> Self {
        self.wireguard.insert((name(device), public(n)), end(n));
        self
    }

    fn with_peer(mut self, at: &str, device: &str) -> Self {
        let at = address(at);
        let local = match self.tunnels.get(&name(device)).and_then(Tunnel::wireguard) {
            Some(wireguard) => wireguard.address.into(),
            None => address("192.0.2.1"),
        };
        let host = HostId::new([2; 16]);
        self.peers.insert(at, Peer { host, local, tunnel: name(device), mtu: 1370 });
        self
    }

    fn with_link(mut self, digits: &str, addresses: &[&str]) -> Self {
        let (outer, inner_name) = LinkName::pair_of(&endpoint(digits));
        let mac = MacAddr::new([2, 0, 0, 0, 0, 1]);
        let sources = LinkSources::default();
        let vni = Vni::new(301).unwrap();
        let link = Link { inner_name, mac, mtu: 1370, vni, in_clear: false, sources };
        for address in addresses {
            self.endpoints.insert(key(address), EndpointEntry::Local(outer.clone()));
        }
        self.links.insert(outer, link);
        self
    }

    fn with_remote(mut self, at: &str, addresses: &[&str]) -> Self {
        for text in addresses {
            self.endpoints.insert(key(text), EndpointEntry::Remote(address(at)));
        }
        self
    }
}
