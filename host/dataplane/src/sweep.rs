//! Removing what maps hold of links that are gone.
//!
//! A namespace that ends takes its containers' pairs along, and nobody is told. Entries of the endpoint map stay, as
//! they are the plan's own.

use nix::net::if_::if_indextoname;
use shoal_abi::{DropKey, DropReason};
use shoal_ports::KernelError;

use crate::HostKernel;

impl HostKernel {
    /// Forgets links that are gone. Cheap: one question for each link there was.
    pub(crate) fn sweep_links(&self) -> Result<(), KernelError> {
        let mut known = self.maps.links.keys();
        known.extend(self.maps.link_counters.keys());
        known.retain(|ifindex| is_gone(*ifindex));
        known.into_iter().try_for_each(|ifindex| self.forget(ifindex))
    }

    /// Forgets links that are gone, those too that only programs have written of.
    pub(crate) fn sweep_all(&self) -> Result<(), KernelError> {
        self.sweep_links()?;
        for key in self.maps.drops.keys().into_iter().filter(|key| is_gone(key.ifindex)) {
            self.maps.drops.remove(&key)?;
        }
        for ifindex in self.maps.unreachable_budget.keys().into_iter().filter(|ifindex| is_gone(*ifindex)) {
            self.maps.unreachable_budget.remove(&ifindex)?;
        }
        Ok(())
    }

    /// Removes all entries of a link but its endpoints'.
    pub(crate) fn forget(&self, ifindex: u32) -> Result<(), KernelError> {
        self.maps.links.remove(&ifindex)?;
        self.maps.link_counters.remove(&ifindex)?;
        self.maps.unreachable_budget.remove(&ifindex)?;
        for reason in DropReason::ALL {
            self.maps.drops.remove(&DropKey { ifindex, reason: reason.number() })?;
        }
        Ok(())
    }
}

/// Numbers of devices are not used again before billions have been. For one that is gone, nix gives an empty name.
fn is_gone(ifindex: u32) -> bool {
    if_indextoname(ifindex).map_or(true, |name| name.is_empty())
}
