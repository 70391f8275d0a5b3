//! Plans and changes as text, one thing per line, for tests, logs and `doctor`.

use std::fmt::Write;

use shoal_plan::{Change, EndpointEntry, EndpointKey, HostPlan, Link, Peer, Tunnel};

/// A plan, one line per thing, in a fixed order. Empty text for an empty plan.
pub fn plan_text(plan: &HostPlan) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{line}");
    };
    plan.tunnel.iter().for_each(|tunnel| line(tunnel_text(tunnel)));
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
        Change::SetTunnel(tunnel) => format!("+ {}", tunnel_text(tunnel)),
        Change::RemoveTunnel(name) => format!("- tunnel {name}"),
        Change::SetLink(name, link) => format!("+ link {name} {}", link_text(link)),
        Change::RemoveLink(name) => format!("- link {name}"),
        Change::SetEndpoint(key, entry) => format!("+ endpoint {} {}", key_text(key), entry_text(entry)),
        Change::RemoveEndpoint(key) => format!("- endpoint {}", key_text(key)),
        Change::SetPeer(address, peer) => format!("+ peer {address} {}", peer_text(peer)),
        Change::RemovePeer(address) => format!("- peer {address}"),
    }
}

fn tunnel_text(tunnel: &Tunnel) -> String {
    format!("tunnel {} port {}", tunnel.name, tunnel.port)
}

fn peer_text(peer: &Peer) -> String {
    format!("from {} mtu {}", peer.local, peer.mtu)
}

fn link_text(link: &Link) -> String {
    let sources = [link.sources.v4.map(|v4| v4.to_string()), link.sources.v6.map(|v6| v6.to_string())];
    let sources = sources.into_iter().flatten().collect::<Vec<_>>().join(",");
    format!("inner {} mac {} mtu {} vni {} sources {sources}", link.inner_name, link.mac, link.mtu, link.vni)
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
