//! Plans and changes as text, one thing per line, for tests, logs and `doctor`. No secret is ever part of it.

use std::fmt::Write;

use shoal_plan::{Backend, Change, EndpointEntry, EndpointKey, HostPlan, Link, Peer, Tunnel, WireGuardPeer};
use shoal_types::{LinkName, WireGuardKey};

/// A plan, one line per thing, in a fixed order. Empty text for an empty plan.
pub fn plan_text(plan: &HostPlan) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{line}");
    };
    plan.tunnels.iter().for_each(|(name, tunnel)| line(format!("tunnel {name} {}", tunnel_text(tunnel))));
    plan.wireguard.iter().for_each(|((tunnel, key), peer)| line(wireguard_text(tunnel, key, peer)));
    plan.peers.iter().for_each(|(address, peer)| line(format!("peer {address} {}", peer_text(peer))));
    plan.links.iter().for_each(|(name, link)| line(format!("link {name} {}", link_text(link))));
    plan.endpoints
        .iter()
        .for_each(|(key, entry)| line(format!("endpoint {} {}", key_text(key), entry_text(entry))));
    text
}

/// A change on one line: "+" sets, "-" removes.
pub fn change_text(change: &Change) -> String {
    match change {
        Change::SetTunnel(name, tunnel) => format!("+ tunnel {name} {}", tunnel_text(tunnel)),
        Change::RemoveTunnel(name) => format!("- tunnel {name}"),
        Change::SetWireGuardPeer(tunnel, key, peer) => format!("+ {}", wireguard_text(tunnel, key, peer)),
        Change::RemoveWireGuardPeer(tunnel, key) => format!("- wireguard {tunnel}/{key}"),
        Change::SetLink(name, link) => format!("+ link {name} {}", link_text(link)),
        Change::RemoveLink(name) => format!("- link {name}"),
        Change::SetEndpoint(key, entry) => format!("+ endpoint {} {}", key_text(key), entry_text(entry)),
        Change::RemoveEndpoint(key) => format!("- endpoint {}", key_text(key)),
        Change::SetPeer(address, peer) => format!("+ peer {address} {}", peer_text(peer)),
        Change::RemovePeer(address) => format!("- peer {address}"),
    }
}

fn tunnel_text(tunnel: &Tunnel) -> String {
    let wireguard = match tunnel {
        Tunnel::Clear { port } => return format!("in clear port {port}"),
        Tunnel::Encrypted(wireguard) => wireguard,
    };
    let by = match wireguard.backend {
        Backend::Kernel => "by the kernel",
        Backend::UserSpace => "in user space",
    };
    format!("encrypted {by} address {} port {} mtu {}", wireguard.address, wireguard.port, wireguard.mtu)
}

fn wireguard_text(tunnel: &LinkName, key: &WireGuardKey, peer: &WireGuardPeer) -> String {
    let endpoint = peer.endpoint.map_or_else(|| "anywhere".to_owned(), |endpoint| format!("at {endpoint}"));
    let keepalive = peer.keepalive.map(|seconds| format!(" keepalive {seconds}")).unwrap_or_default();
    let preshared = if peer.preshared.is_some() { " with a pre-shared key" } else { "" };
    format!("wireguard {tunnel}/{key} address {} {endpoint}{keepalive}{preshared}", peer.address)
}

fn peer_text(peer: &Peer) -> String {
    format!("from {} through {} mtu {}", peer.local, peer.tunnel, peer.mtu)
}

fn link_text(link: &Link) -> String {
    let sources = [link.sources.v4.map(|v4| v4.to_string()), link.sources.v6.map(|v6| v6.to_string())];
    let sources = sources.into_iter().flatten().collect::<Vec<_>>().join(",");
    let in_clear = if link.in_clear { " in clear" } else { "" };
    format!(
        "inner {} mac {} mtu {} vni {}{in_clear} sources {sources}",
        link.inner_name, link.mac, link.mtu, link.vni
    )
}

fn key_text(key: &EndpointKey) -> String {
    format!("{}/{}", key.vni, key.address)
}

fn entry_text(entry: &EndpointEntry) -> String {
    match entry {
        EndpointEntry::Local(link) => format!("behind {link}"),
        EndpointEntry::Remote(host) => format!("on {host}"),
    }
}
