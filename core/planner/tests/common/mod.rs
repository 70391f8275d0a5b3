//! Short ways to write views.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::net::{IpAddr, Ipv4Addr};

use shoal_plan::{Backend, Tunnel, WireGuard};
use shoal_planner::{ContactView, EndView, EndpointView, HostView, NetworkView, ProbeView, View};
use shoal_types::{EndpointId, HostId, LinkName, MacAddr, NetworkId, Vni, WireGuardKey, WireGuardSecret};

/// Host number `n`; 1 is the host that plans.
pub(crate) fn host(n: u8) -> HostId {
    HostId::new([n; 16])
}

/// The network with VXLAN id 300 + `n`.
pub(crate) fn network(n: u8) -> NetworkId {
    NetworkId::new([n; 16])
}

/// An endpoint whose id starts with `digits`.
pub(crate) fn endpoint(digits: &str) -> EndpointId {
    format!("{digits:0<64}").parse().unwrap()
}

pub(crate) fn link(name: &str) -> LinkName {
    name.parse().unwrap()
}

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// One of this host's ends, at 240.0.0.`n`.
pub(crate) fn encrypted(n: u8) -> Tunnel {
    Tunnel::Encrypted(WireGuard {
        backend: Backend::Kernel,
        secret: WireGuardSecret::new([n; 32]),
        address: Ipv4Addr::new(240, 0, 0, n),
        port: 7375,
        mtu: 1420,
    })
}

/// An end of a host at an underlay address, at 240.0.0.`n` in the tunnel.
pub(crate) fn end(n: u8, at: &str, serving: bool) -> EndView {
    let endpoint = Some((address(at), 7375).into());
    EndView {
        key: WireGuardKey::new([n; 32]),
        address: Ipv4Addr::new(240, 0, 0, n),
        serving,
        contacts: [(link("shoal0"), ContactView { endpoint, ..ContactView::default() })].into(),
    }
}

/// Host 1 of a fabric, at 192.0.2.1 and 2001:db8::1, with networks 1 and 2.
pub(crate) fn first_host() -> View {
    let mut view = View::alone(host(1));
    view.local_addresses = vec![address("192.0.2.1"), address("2001:db8::1")];
    view.tunnels = [(link("shoal0"), encrypted(1))].into();
    view.sending = Some(link("shoal0"));
    view.with_host(1, "192.0.2.1").with_network(1, 1370).with_network(2, 1280)
}

/// Builds a view up.
pub(crate) trait ViewExt {
    fn with_host(self, n: u8, at: &str) -> Self;
    fn with_network(self, n: u8, mtu: u16) -> Self;
    fn with_endpoint(self, on: u8, digits: &str, network: u8, addresses: &[&str]) -> Self;
    fn with_probe(self, addresses: &[(u8, &str)]) -> Self;
}

impl ViewExt for View {
    fn with_host(mut self, n: u8, at: &str) -> Self {
        let ends = vec![end(n, at, true)];
        let view = HostView { address: address(at), underlay_mtu: 1500, path_mtu: None, ends };
        self.hosts.insert(host(n), view);
        self
    }

    fn with_network(mut self, n: u8, mtu: u16) -> Self {
        let vni = Vni::new(300 + u32::from(n)).unwrap();
        self.networks.insert(network(n), NetworkView { vni, mtu, in_clear: false });
        self
    }

    fn with_endpoint(mut self, on: u8, digits: &str, in_network: u8, addresses: &[&str]) -> Self {
        let all: Vec<IpAddr> = addresses.iter().map(|text| address(text)).collect();
        let view = EndpointView {
            network: network(in_network),
            v4: all.iter().find_map(|a| if let IpAddr::V4(v4) = a { Some(*v4) } else { None }),
            v6: all.iter().find_map(|a| if let IpAddr::V6(v6) = a { Some(*v6) } else { None }),
            mac: MacAddr::new([2, 0, 0, 0, 0, on]),
            linked: true,
            joined: true,
        };
        self.endpoints.insert((host(on), endpoint(digits)), view);
        self
    }

    fn with_probe(mut self, addresses: &[(u8, &str)]) -> Self {
        self.probe = Some(ProbeView {
            outer_name: link("sh-probe"),
            inner_name: link("shoal-probe"),
            mac: MacAddr::new([2, 0, 0, 0, 1, 1]),
            mtu: 1370,
            addresses: addresses.iter().map(|(n, text)| (host(*n), address(text))).collect(),
        });
        self
    }
}
