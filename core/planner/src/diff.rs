//! From what is there to what should be there.

use std::collections::BTreeSet;

use shoal_plan::{Change, EndpointEntry, EndpointKey, HostPlan, Observed};
use shoal_types::{EndpointId, LinkName};

use crate::view::link_names;

/// The changes that turn `observed` into `wanted`, in the order to apply them. Empty if they are equal.
///
/// Stale addresses go first, then comes what is made (tunnel, peers, links, addresses), then what is removed (links,
/// peers, tunnel). So between any two changes
/// - no address leads to a link or a host that is not there, but for the moment in which a broken link is made again;
/// - no stale address leads into a foreign container, which it would if the kernel gave a new link the index that
///   the entry still holds;
/// - an address that stays is never absent: its entry is overwritten, not removed and added.
///
/// Whatever no part of the plan names is removed, whoever made it.
pub fn diff(wanted: &HostPlan, observed: &Observed) -> Vec<Change> {
    let mut changes = Vec::new();
    changes.extend(observed.dangling.iter().map(|key| Change::RemoveEndpoint(*key)));
    remove_endpoints(wanted, observed, &mut changes);
    set_tunnel(wanted, observed, &mut changes);
    set_peers(wanted, observed, &mut changes);
    let made = set_links(wanted, observed, &mut changes);
    set_endpoints(wanted, observed, &made, &mut changes);
    remove_links(wanted, observed, &mut changes);
    remove_peers(wanted, observed, &mut changes);
    if let (None, Some(old)) = (&wanted.tunnel, &observed.plan.tunnel) {
        changes.push(Change::RemoveTunnel(old.name.clone()));
    }
    changes
}

/// The part of [`diff`] that belongs to one local endpoint: what a Docker verb applies before it answers.
pub fn diff_endpoint(wanted: &HostPlan, observed: &Observed, endpoint: &EndpointId) -> Vec<Change> {
    let (link, _) = link_names(endpoint);
    let wanted = restrict(wanted, endpoint);
    let mut plan = restrict(&observed.plan, endpoint);
    let same_address = observed.plan.endpoints.iter().filter(|(key, _)| wanted.endpoints.contains_key(key));
    plan.endpoints.extend(same_address.map(|(key, entry)| (*key, entry.clone())));
    let broken = observed.broken.iter().filter(|(name, _)| **name == link);
    let dangling = observed.dangling.iter().filter(|key| wanted.endpoints.contains_key(key));
    let observed = Observed {
        plan,
        broken: broken.map(|(name, what)| (name.clone(), what.clone())).collect(),
        dangling: dangling.copied().collect(),
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
        tunnel: None,
        links: link.into_iter().collect(),
        endpoints: behind.map(|(key, entry)| (*key, entry.clone())).collect(),
        peers: Default::default(),
    }
}

fn leads_to(entry: &EndpointEntry, link: &LinkName) -> bool {
    matches!(entry, EndpointEntry::Local(name) if name == link)
}

fn set_tunnel(wanted: &HostPlan, observed: &Observed, changes: &mut Vec<Change>) {
    let (Some(new), old) = (&wanted.tunnel, &observed.plan.tunnel) else { return };
    if Some(new) == old.as_ref() {
        return;
    }
    // The kernel has room for one collect-metadata device per port, so one with another name goes first.
    if let Some(old) = old.as_ref().filter(|old| old.name != new.name) {
        changes.push(Change::RemoveTunnel(old.name.clone()));
    }
    changes.push(Change::SetTunnel(new.clone()));
}

fn set_peers(wanted: &HostPlan, observed: &Observed, changes: &mut Vec<Change>) {
    let differ = wanted.peers.iter().filter(|(address, peer)| observed.plan.peers.get(address) != Some(peer));
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

fn remove_links(wanted: &HostPlan, observed: &Observed, changes: &mut Vec<Change>) {
    let there: BTreeSet<&LinkName> = observed.plan.links.keys().chain(observed.broken.keys()).collect();
    let stale = there.into_iter().filter(|name| !wanted.links.contains_key(*name));
    changes.extend(stale.map(|name| Change::RemoveLink(name.clone())));
}

fn remove_peers(wanted: &HostPlan, observed: &Observed, changes: &mut Vec<Change>) {
    let stale = observed.plan.peers.keys().filter(|address| !wanted.peers.contains_key(address));
    changes.extend(stale.map(|address| Change::RemovePeer(*address)));
}
