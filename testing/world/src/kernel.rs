//! A kernel that takes plans.

use std::net::Ipv4Addr;

use shoal_plan::{Change, EndpointEntry, HostPlan, Observed};
use shoal_planner::{View, diff, diff_endpoint, plan};
use shoal_types::EndpointId;

/// The part of a host's kernel that Shoal owns.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kernel {
    pub(crate) plan: HostPlan,
}

impl Kernel {
    /// Brings everything in line.
    ///
    /// # Errors
    /// The sentence that names a broken property.
    pub(crate) fn project(&mut self, view: &View) -> Result<(), String> {
        let (wanted, _) = plan(view);
        let changes = diff(&wanted, &self.observe());
        changes.into_iter().try_for_each(|change| self.apply(change))?;
        let rest = diff(&wanted, &self.observe());
        if rest.is_empty() { Ok(()) } else { Err(format!("a plan that was applied still asks for {rest:?}")) }
    }

    /// Brings one endpoint in line.
    ///
    /// # Errors
    /// The sentence that names a broken property.
    pub(crate) fn project_endpoint(&mut self, view: &View, endpoint: &EndpointId) -> Result<(), String> {
        let (wanted, _) = plan(view);
        let changes = diff_endpoint(&wanted, &self.observe(), endpoint);
        changes.into_iter().try_for_each(|change| self.apply(change))
    }

    /// This host's end of the encrypted tunnel; `None` while it belongs to no fabric.
    pub(crate) fn tunnel_address(&self) -> Option<Ipv4Addr> {
        self.plan.tunnels.values().find_map(|tunnel| Some(tunnel.wireguard()?.address))
    }

    fn observe(&self) -> Observed {
        Observed { plan: self.plan.clone(), ..Observed::default() }
    }

    fn apply(&mut self, change: Change) -> Result<(), String> {
        let told = format!("{change:?}");
        let plan = &mut self.plan;
        match change {
            // Addresses that still lead there are what is looked for.
            Change::RemoveLink(name) => drop(plan.links.remove(&name)),
            other => plan.note(other),
        }
        let leads = |entry: &EndpointEntry| match entry {
            EndpointEntry::Local(link) => plan.links.contains_key(link),
            EndpointEntry::Remote(host) => plan.peers.contains_key(host),
        };
        match plan.endpoints.iter().find(|(_, entry)| !leads(entry)) {
            // Peers go after addresses within one plan; a single endpoint's projection knows none of them.
            Some((key, EndpointEntry::Local(link))) => {
                Err(format!("after {told} address {} leads to link {link}, which is gone", key.address))
            }
            _ => Ok(()),
        }
    }
}
