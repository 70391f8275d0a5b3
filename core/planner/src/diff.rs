//! From what is there to what should be there.

use std::collections::BTreeSet;
use std::net::IpAddr;

use shoal_plan::{Change, EndpointEntry, EndpointKey, HostPlan, Observed, Peer, Tunnel, WireGuardPeer};
use shoal_types::{EndpointId, LinkName, WireGuardKey};

use crate::view::link_names;

/// The changes that turn `observed` into `wanted`, in the order to apply them. Empty if they are equal.
///
/// Stale addresses go first, then comes what is made (tunnels, their other ends, peers, links, addresses), then what is
/// removed (links, peers, other ends, tunnels). So between any two changes
/// - no address leads to a link or a host that is not there, but for the moment in which a broken link is made again;
/// - no stale address leads into a foreign container, which it would if the kernel gave a new link the index that
///   the entry still holds;
/// - an address that stays is never absent: its entry is overwritten, not removed and added;
/// - no peer is sent to through a tunnel that does not know it yet, or not any more.
///
/// Whatever no part of the plan names is removed, whoever made it.
pub fn diff(wanted: &HostPlan, observed: &Observed) -> Vec<Change> {
    let mut changes = Vec::new();
    changes.extend(observed.dangling.iter().map(|key| Change::RemoveEndpoint(*key)));
    remove_endpoints(wanted, observed, &mut changes);
    let made = set_tunnels(wanted, observed, &mut changes);
    set_wireguard_peers(wanted, observed, &made, &mut changes);
    set_peers(wanted, observed, &made, &mut changes);
    let made = set_links(wanted, observed, &mut changes);
    set_endpoints(wanted, observed, &made, &mut changes);
    remove_links(wanted, observed, &mut changes);
    remove_peers(wanted, observed, &mut changes);
    remove_wireguard_peers(wanted, observed, &mut changes);
    remove_tunnels(wanted, observed, &mut changes);
    changes
}

/// The part of [`diff`] that belongs to one local endpoint: what a Docker verb applies before it answers.
pub fn diff_endpoint(wanted: &HostPlan, observed: &Observed, endpoint: &EndpointId) -> Vec<Change> {
    let (link, _) = link_names(endpoint);
    let wanted = restrict(wanted, endpoint);
    let mut plan = restrict(&observed.plan, endpoint);
    let same_address =
        wanted.endpoints.keys().filter_map(|key| Some((*key, observed.plan.endpoints.get(key)?.clone())));
    plan.endpoints.extend(same_address);
    let broken = observed.broken.iter().filter(|(name, _)| **name == link);
    let dangling = observed.dangling.iter().filter(|key| wanted.endpoints.contains_key(key));
    let observed = Observed {
        plan,
        broken: broken.map(|(name, what)| (name.clone(), what.clone())).collect(),
        dangling: dangling.copied().collect(),
        ..Observed::default()
    };
    diff(&wanted, &observed)
}

/// The part of a plan that belongs to one local endpoint: its link and the addresses behind it.
///
/// Applied as `diff(&restrict(..), &Observed::default())` it sets the endpoint up without reading the kernel first,
/// since a change that is in force already does nothing.
pub fn restrict(plan: &HostPlan, endpoint: &EndpointId) -> HostPlan {
    let (name, _) = link_names(endpoint);
    let link = plan.links.get(&name).map(|link| (name.clone(), link.clone()));
    let behind = plan.endpoints.iter().filter(|(_, entry)| leads_to(entry, &name));
    HostPlan {
        links: link.into_iter().collect(),
        endpoints: behind.map(|(key, entry)| (*key, entry.clone())).collect(),
        ..HostPlan::default()
    }
}

fn leads_to(entry: &EndpointEntry, link: &LinkName) -> bool {
    matches!(entry, EndpointEntry::Local(name) if name == link)
}

/// Sets tunnels and returns which. Setting a tunnel right may mean to make it again, with another index and knowing
/// nobody.
fn set_tunnels<'a>(
    wanted: &'a HostPlan,
    observed: &Observed,
    changes: &mut Vec<Change>,
) -> BTreeSet<&'a LinkName> {
    let is_right = |name: &LinkName, tunnel| {
        observed.plan.tunnels.get(name) == Some(tunnel) && !observed.broken.contains_key(name)
    };
    let differ: Vec<_> = wanted.tunnels.iter().filter(|(name, tunnel)| !is_right(name, *tunnel)).collect();
    let in_the_way = observed.plan.tunnels.iter().filter(|(name, old)| {
        !wanted.tunnels.contains_key(*name) && differ.iter().any(|(_, new)| port(new) == port(old))
    });
    changes.extend(in_the_way.map(|(name, _)| Change::RemoveTunnel(name.clone())));
    if !differ.is_empty() {
        changes.extend(maybe_in_the_way(wanted, observed).cloned().map(Change::RemoveLink));
    }
    changes.extend(differ.iter().map(|(name, tunnel)| Change::SetTunnel((*name).clone(), (*tunnel).clone())));
    differ.into_iter().map(|(name, _)| name).collect()
}

/// What is broken, asked for by nothing, and has no address behind it by now: a tunnel, perhaps, whose port is not
/// known.
fn maybe_in_the_way<'a>(wanted: &HostPlan, observed: &'a Observed) -> impl Iterator<Item = &'a LinkName> {
    let stale = observed.broken.keys().filter(|name| is_unwanted(wanted, name));
    let left = |key: &EndpointKey| wanted.endpoints.contains_key(key);
    stale.filter(move |name| {
        !observed.plan.endpoints.iter().any(|(key, entry)| left(key) && leads_to(entry, name))
    })
}

fn is_unwanted(wanted: &HostPlan, name: &LinkName) -> bool {
    !wanted.links.contains_key(name) && !wanted.tunnels.contains_key(name)
}

/// UDP port on the underlay. It has room for one device, so an old one goes before a new one of another name comes.
fn port(tunnel: &Tunnel) -> u16 {
    match tunnel {
        Tunnel::Clear { port } => *port,
        Tunnel::Encrypted(wireguard) => wireguard.port,
    }
}

fn set_wireguard_peers(
    wanted: &HostPlan,
    observed: &Observed,
    made: &BTreeSet<&LinkName>,
    changes: &mut Vec<Change>,
) {
    let is_right = |key: &(LinkName, WireGuardKey), peer: &WireGuardPeer| {
        !made.contains(&key.0) && observed.plan.wireguard.get(key).is_some_and(|there| peer.is_met_by(there))
    };
    let differ = wanted.wireguard.iter().filter(|(key, peer)| !is_right(key, peer));
    changes.extend(
        differ.map(|((tunnel, key), peer)| Change::SetWireGuardPeer(tunnel.clone(), *key, peer.clone())),
    );
}

fn set_peers(wanted: &HostPlan, observed: &Observed, made: &BTreeSet<&LinkName>, changes: &mut Vec<Change>) {
    let is_right = |address: &IpAddr, peer: &Peer| {
        !made.contains(&peer.tunnel) && observed.plan.peers.get(address) == Some(peer)
    };
    let differ = wanted.peers.iter().filter(|(address, peer)| !is_right(address, peer));
    changes.extend(differ.map(|(address, peer)| Change::SetPeer(*address, peer.clone())));
}

/// Sets links and returns which. Setting a link right may mean to make it again, with another index.
fn set_links<'a>(
    wanted: &'a HostPlan,
    observed: &Observed,
    changes: &mut Vec<Change>,
) -> BTreeSet<&'a LinkName> {
    let is_right = |name: &LinkName, link| {
        observed.plan.links.get(name) == Some(link) && !observed.broken.contains_key(name)
    };
    let differ = wanted.links.iter().filter(|(name, link)| !is_right(name, *link));
    differ
        .map(|(name, link)| {
            changes.push(Change::SetLink(name.clone(), link.clone()));
            name
        })
        .collect()
}

fn set_endpoints(
    wanted: &HostPlan,
    observed: &Observed,
    made: &BTreeSet<&LinkName>,
    changes: &mut Vec<Change>,
) {
    let dangling: BTreeSet<&EndpointKey> = observed.dangling.iter().collect();
    let is_right = |key: &EndpointKey, entry: &EndpointEntry| {
        let link_is_new = matches!(entry, EndpointEntry::Local(name) if made.contains(name));
        !link_is_new && !dangling.contains(key) && observed.plan.endpoints.get(key) == Some(entry)
    };
    let differ = wanted.endpoints.iter().filter(|(key, entry)| !is_right(key, entry));
    changes.extend(differ.map(|(key, entry)| Change::SetEndpoint(*key, entry.clone())));
}

fn remove_endpoints(wanted: &HostPlan, observed: &Observed, changes: &mut Vec<Change>) {
    let stale = observed.plan.endpoints.keys().filter(|key| !wanted.endpoints.contains_key(key));
    changes.extend(stale.map(|key| Change::RemoveEndpoint(*key)));
}

/// A broken thing that nothing asks for may be a tunnel: whoever applies the change knows.
fn remove_links(wanted: &HostPlan, observed: &Observed, changes: &mut Vec<Change>) {
    let there: BTreeSet<&LinkName> = observed.plan.links.keys().chain(observed.broken.keys()).collect();
    for name in there.into_iter().filter(|name| is_unwanted(wanted, name)) {
        push_once(Change::RemoveLink(name.clone()), changes);
    }
}

fn remove_peers(wanted: &HostPlan, observed: &Observed, changes: &mut Vec<Change>) {
    let stale = observed.plan.peers.keys().filter(|address| !wanted.peers.contains_key(address));
    changes.extend(stale.map(|address| Change::RemovePeer(*address)));
}

/// Other ends of a tunnel that goes are forgotten with it.
fn remove_wireguard_peers(wanted: &HostPlan, observed: &Observed, changes: &mut Vec<Change>) {
    let is_stale = |key: &&(LinkName, WireGuardKey)| {
        wanted.tunnels.contains_key(&key.0) && !wanted.wireguard.contains_key(*key)
    };
    let stale = observed.plan.wireguard.keys().filter(is_stale);
    changes.extend(stale.map(|(tunnel, key)| Change::RemoveWireGuardPeer(tunnel.clone(), *key)));
}

fn remove_tunnels(wanted: &HostPlan, observed: &Observed, changes: &mut Vec<Change>) {
    for name in observed.plan.tunnels.keys().filter(|name| !wanted.tunnels.contains_key(*name)) {
        push_once(Change::RemoveTunnel(name.clone()), changes);
    }
}

/// Adds a removal, unless what it removes was in the way of something new and has gone before.
fn push_once(removal: Change, changes: &mut Vec<Change>) {
    if !changes.contains(&removal) {
        changes.push(removal);
    }
}
