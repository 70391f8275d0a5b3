//! What the kernel will hold once everything that was sent to it is done: the side of the projection that remembers.
//!
//! The loop never waits for the kernel. It notes what it sends as done ([`Projection::send`]), so the next plan is
//! compared with what the kernel is about to hold; what the kernel refuses is forgotten again, and so tried again.
//!
//! An observation takes its time, and changes go on meanwhile. Whether it has seen one of those, nobody can tell. So
//! everything that was under way when it began, or was sent before it ended, is noted on top of what it saw
//! ([`Projection::seen`]): of these objects the sender knows better. Of all others the observation does.

use std::collections::{BTreeMap, BTreeSet};

use shoal_plan::{Change, EndpointEntry, HostPlan, LinkSources, Observed};
use shoal_planner::{View, diff, diff_endpoint, link_names, plan, restrict};
use shoal_types::{EndpointId, LinkName};

use super::kernel::{Batch, Lane, Object, Refused};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Projection {
    expected: HostPlan,
    /// By batch; what has been refused of one is no longer listed.
    under_way: BTreeMap<u64, (Lane, Vec<Change>)>,
    /// The newest batch that speaks of a link or an address, if an older one may be under way: it will skip that.
    newest: BTreeMap<Object, u64>,
    next: u64,
    looks: BTreeMap<u64, Vec<(u64, Change)>>,
    next_look: u64,
    known: bool,
}

/// An observation that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look(u64);

impl Projection {
    /// What the kernel holds once all that is under way is done.
    pub(crate) fn expected(&self) -> &HostPlan {
        &self.expected
    }

    /// Whether the kernel was looked at since the start: before, a whole plan would set what is there already.
    pub(crate) fn is_known(&self) -> bool {
        self.known
    }

    /// Whether a link stands: it does, and nothing is being done to it.
    pub(crate) fn has_link(&self, link: &LinkName) -> bool {
        self.expected.links.contains_key(link) && !self.changes_under_way().any(|it| concerns(it, link))
    }

    /// Whether one of the slow lane's batches is under way. The next plan waits for it, and will be one that knows
    /// more.
    pub(crate) fn is_busy(&self) -> bool {
        self.under_way.values().any(|(lane, _)| *lane == Lane::Slow)
    }

    /// The changes for one endpoint. What is under way for it is said once more, since it may stand behind something
    /// that takes its time.
    pub(crate) fn changes_for(&mut self, wanted: &HostPlan, endpoint: &EndpointId) -> Vec<Change> {
        let changes = self.compared(|expected| diff_endpoint(wanted, expected, endpoint));
        let (link, _) = link_names(endpoint);
        if !self.changes_under_way().any(|change| concerns(change, &link)) {
            return changes;
        }
        let removals = changes
            .into_iter()
            .filter(|change| matches!(change, Change::RemoveLink(_) | Change::RemoveEndpoint(_)));
        removals.chain(diff(&restrict(wanted, endpoint), &Observed::default())).collect()
    }

    /// The changes that are left to the plan of a view.
    pub(crate) fn changes_to(&mut self, wanted: &HostPlan) -> Vec<Change> {
        self.compared(|expected| diff(wanted, expected))
    }

    /// Notes changes that are sent now.
    pub(crate) fn send(&mut self, lane: Lane, changes: Vec<Change>) -> Batch {
        self.next += 1;
        let number = self.next;
        for seen in self.looks.values_mut() {
            seen.extend(changes.iter().map(|change| (number, change.clone())));
        }
        changes.iter().for_each(|change| self.expected.note(change.clone()));
        self.under_way.insert(number, (lane, changes.clone()));
        let all_done_below = self.under_way.keys().next().copied().unwrap_or(number);
        self.newest.retain(|_, newest| *newest >= all_done_below);
        self.newest.extend(changes.iter().filter_map(Object::of).map(|object| (object, number)));
        Batch { number, all_done_below, changes }
    }

    /// A batch is done but for what was refused. Returns whose it was.
    pub(crate) fn done(&mut self, number: u64, refused: &Refused) -> Option<Lane> {
        let batch = self.under_way.remove(&number);
        for (change, _) in refused {
            if !self.is_overtaken(number, change) {
                forget(&mut self.expected, change);
            }
            for seen in self.looks.values_mut() {
                seen.retain(|(of, it)| *of != number || it != change);
            }
        }
        batch.map(|(lane, _)| lane)
    }

    /// An observation begins.
    pub(crate) fn look(&mut self) -> Look {
        self.next_look += 1;
        let under_way = self.under_way.iter();
        let under_way = under_way
            .flat_map(|(number, (_, changes))| changes.iter().map(|change| (*number, change.clone())));
        let maybe_seen = under_way.filter(|(number, change)| !self.is_overtaken(*number, change));
        self.looks.insert(self.next_look, maybe_seen.collect());
        Look(self.next_look)
    }

    /// What an observation saw, as of now.
    pub(crate) fn seen(&mut self, look: Look, mut observed: Observed) -> Observed {
        for (_, change) in self.looks.remove(&look.0).unwrap_or_default() {
            match &change {
                Change::SetTunnel(name, _)
                | Change::RemoveTunnel(name)
                | Change::SetLink(name, _)
                | Change::RemoveLink(name) => drop(observed.broken.remove(name)),
                Change::SetEndpoint(key, _) | Change::RemoveEndpoint(key) => {
                    observed.dangling.retain(|dangling| dangling != key);
                }
                _ => {}
            }
            observed.plan.note(change);
        }
        observed
    }

    /// An observation came to nothing.
    pub(crate) fn seen_nothing(&mut self, look: Look) {
        self.looks.remove(&look.0);
        self.known = true;
    }

    /// Takes an observation for what the kernel holds; returns what was expected instead.
    pub(crate) fn believe(&mut self, observed: &Observed) -> HostPlan {
        self.known = true;
        std::mem::replace(&mut self.expected, observed.plan.clone())
    }

    /// The batches under way that an answer about an endpoint must wait for: those that make what it needs, a link with
    /// its addresses. That something goes is not waited for: the kernel takes its time with links.
    pub(crate) fn awaited_for(&self, endpoint: &EndpointId) -> BTreeSet<u64> {
        let (link, _) = link_names(endpoint);
        let makes = |change: &Change| match change {
            Change::SetLink(name, wanted) => *name == link && wanted.sources != LinkSources::default(),
            Change::SetEndpoint(_, EndpointEntry::Local(name)) => *name == link,
            _ => false,
        };
        let quick = self.under_way.iter().filter(|(_, (lane, _))| *lane == Lane::Quick);
        let concerned = quick.filter(|(_, (_, changes))| changes.iter().any(makes));
        concerned.map(|(number, _)| *number).collect()
    }

    /// Whether a newer batch speaks of the same link or address.
    fn is_overtaken(&self, number: u64, change: &Change) -> bool {
        let newest = Object::of(change).and_then(|object| self.newest.get(&object));
        newest.is_some_and(|newest| *newest > number)
    }

    fn changes_under_way(&self) -> impl Iterator<Item = &Change> {
        self.under_way.values().flat_map(|(_, changes)| changes)
    }

    /// Lends what is expected as an observation.
    fn compared<T>(&mut self, compare: impl FnOnce(&Observed) -> T) -> T {
        let expected = Observed { plan: std::mem::take(&mut self.expected), ..Observed::default() };
        let result = compare(&expected);
        self.expected = expected.plan;
        result
    }
}

/// The plan of a view, without the clashes.
pub(crate) fn wanted(view: &View) -> HostPlan {
    plan(view).0
}

/// Whether a change makes, removes or leads to a link.
fn concerns(change: &Change, link: &LinkName) -> bool {
    match change {
        Change::SetLink(name, _) | Change::RemoveLink(name) => name == link,
        Change::SetEndpoint(_, EndpointEntry::Local(name)) => name == link,
        _ => false,
    }
}

/// Takes a change back that was refused: what it was to set is not counted on. What was there before, or was to be
/// removed, may be there still; the next audit finds it.
fn forget(plan: &mut HostPlan, refused: &Change) {
    match refused {
        Change::SetTunnel(name, _) => drop(plan.tunnels.remove(name)),
        Change::SetWireGuardPeer(name, key, _) => drop(plan.wireguard.remove(&(name.clone(), *key))),
        Change::SetLink(name, _) => drop(plan.links.remove(name)),
        Change::SetEndpoint(key, _) => drop(plan.endpoints.remove(key)),
        Change::SetPeer(address, _) => drop(plan.peers.remove(address)),
        Change::RemoveTunnel(_)
        | Change::RemoveWireGuardPeer(..)
        | Change::RemoveLink(_)
        | Change::RemoveEndpoint(_)
        | Change::RemovePeer(_) => {}
    }
}

#[cfg(test)]
mod tests;
