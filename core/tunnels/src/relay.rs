//! Ways around for ends that cannot meet: who passes packets on for whom.
//!
//! A host that others may not reach directly keeps connections to its *homes*: the two reachable members that stand
//! first by a hash of both ids. Everybody derives the same ones from facts, so nobody has to be told.

use std::net::SocketAddr;

use shoal_kit::{FNV1A, fnv1a};
use shoal_plan::{RelayPlan, RelayedEnd, is_relayed, relay_address};
use shoal_types::{HostId, Moment};

use crate::{Tunnels, tunnel_address};

/// Members through which a host is reached that cannot be reached directly: a second one takes over when the first
/// dies.
pub const HOMES: usize = 2;

/// Places that get copies of relayed packets.
const DIRECT_MAX: usize = 6;

impl Tunnels {
    /// What the carrier of relayed packets must know. `dial`: the addresses of a host's agent.
    ///
    /// It costs a hash for each live host and each one that is not met directly.
    pub fn relay_plan(&self, dial: impl Fn(HostId) -> Vec<SocketAddr>, now: Moment) -> RelayPlan {
        let reachable = self.reachable();
        let mut plan = RelayPlan {
            own: self.own.values().map(|end| (end.generation, end.port())).collect(),
            ..RelayPlan::default()
        };
        for host in self.others.keys() {
            let is_around = self.goes_around(*host, now);
            let via = if is_around { self.via(*host, &reachable) } else { Vec::new() };
            for end in self.of(*host) {
                let places = self.places(*host, end.generation, end.port);
                let direct = places.observed.into_iter().chain(places.advertised);
                let relayed = RelayedEnd {
                    address: relay_address(end.address),
                    via: via.iter().map(|via| (*via, dial(*via))).collect(),
                    direct: if is_around { direct.take(DIRECT_MAX).collect() } else { Vec::new() },
                };
                plan.ends.insert((*host, end.generation), relayed);
            }
        }
        let others = || self.alive.iter().any(|host| self.goes_around(*host, now));
        if self.is_behind_nat(self.me) || others() {
            plan.homes = homes(self.me, &reachable).map(|home| (home, dial(home))).collect();
        }
        plan
    }

    /// Whether the serving ends of this host and another hear each other through agents.
    pub fn is_relayed(&self, host: HostId, now: Moment) -> bool {
        let Some(status) = self.status(host, now) else { return false };
        status.endpoint.is_some_and(is_relayed)
    }

    /// Where the agent takes packets for an end, while its host lives: nobody passes anything on to a dead one.
    pub(crate) fn relay_place(&self, host: HostId, generation: u32) -> Option<SocketAddr> {
        let address = relay_address(tunnel_address(host, generation));
        self.alive.contains(&host).then(|| SocketAddr::new(address.into(), self.relay_port))
    }

    /// Whether some end of a live host is looked for, or found only through agents.
    fn goes_around(&self, host: HostId, now: Moment) -> bool {
        let around = |end: &crate::OtherEnd| {
            let mut contacts = self.own.keys().filter_map(|own| self.contact(*own, host, end.generation));
            contacts.any(|it| !it.is_found(now) || it.status.endpoint.is_some_and(is_relayed))
        };
        self.alive.contains(&host) && self.of(host).iter().any(around)
    }

    /// Hosts whose agents pass packets on to a host, the preferred first: its own, then its homes.
    fn via(&self, host: HostId, reachable: &[HostId]) -> Vec<HostId> {
        let homes = homes(host, reachable).filter(|home| *home != self.me);
        std::iter::once(host).chain(homes).collect()
    }

    /// Live members that nobody hears elsewhere than they say they are, this host included.
    fn reachable(&self) -> Vec<HostId> {
        let everybody = self.alive.iter().copied().chain([self.me]);
        everybody.filter(|host| !self.is_behind_nat(*host)).collect()
    }
}

/// The members of `reachable` that pass packets on to a host. Hashes of pairs spread the work over all.
fn homes(of: HostId, reachable: &[HostId]) -> impl Iterator<Item = HostId> + use<> {
    let mut ranked: Vec<(u64, HostId)> = reachable
        .iter()
        .filter(|host| **host != of)
        .map(|host| (fnv1a(FNV1A, host.bytes().iter().chain(of.bytes())), *host))
        .collect();
    ranked.sort_unstable();
    ranked.truncate(HOMES);
    ranked.into_iter().map(|(_, host)| host)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn homes_are_spread_and_never_the_host_itself() {
        let hosts: Vec<HostId> = (0..20).map(|number| HostId::new([number; 16])).collect();
        let mut work = BTreeMap::<HostId, usize>::new();
        for host in &hosts {
            let homes: Vec<HostId> = homes(*host, &hosts).collect();
            assert_eq!(homes.len(), HOMES);
            assert!(!homes.contains(host));
            for home in homes {
                *work.entry(home).or_default() += 1;
            }
        }
        assert!(work.len() > hosts.len() / 2, "{work:?}");
        assert!(work.values().all(|count| *count < hosts.len() / 2), "{work:?}");
    }

    #[test]
    fn a_home_that_goes_leaves_the_other_in_place() {
        let hosts: Vec<HostId> = (0..20).map(|number| HostId::new([number; 16])).collect();
        let before: Vec<HostId> = homes(hosts[3], &hosts).collect();
        let left: Vec<HostId> = hosts.iter().copied().filter(|host| *host != before[0]).collect();
        let after: Vec<HostId> = homes(hosts[3], &left).collect();
        assert_eq!(after[0], before[1]);
    }
}
