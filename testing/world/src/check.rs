//! What must hold at any time, whatever has happened.

use std::collections::BTreeMap;
use std::net::IpAddr;

use shoal_types::{NetworkId, PoolIndex};

use crate::Situation;
use crate::world::World;

/// Runs of addresses with the host that holds them.
type Holdings = BTreeMap<(NetworkId, PoolIndex), Vec<(IpAddr, IpAddr, usize)>>;

impl World {
    /// Checks what must hold at any time.
    pub(crate) fn check(&mut self) {
        let broken = self.same_address().or_else(|| self.handed_out_twice()).or_else(|| self.owned_twice());
        if let Some(broken) = broken {
            self.violate(broken);
        }
        self.look_around();
    }

    /// Two running containers of one network with one address.
    fn same_address(&self) -> Option<String> {
        let mut holders: BTreeMap<(NetworkId, IpAddr), String> = BTreeMap::new();
        for host in &self.hosts {
            for (name, container) in &host.engine.containers {
                let Some(attached) = &container.attached else { continue };
                let Some(network) = attached.network else { continue };
                for (_, net) in &attached.addresses {
                    let holder = format!("container {name} of h{}", host.index);
                    if let Some(other) = holders.insert((network, net.addr()), holder.clone()) {
                        return Some(format!("two live endpoints have {}: {other} and {holder}", net.addr()));
                    }
                }
            }
        }
        None
    }

    /// An address that two hosts have handed out.
    fn handed_out_twice(&self) -> Option<String> {
        let mut holders: BTreeMap<(NetworkId, IpAddr), usize> = BTreeMap::new();
        for host in &self.hosts {
            let Some(agent) = &host.agent else { continue };
            for (network, spec) in agent.networks().catalog().iter() {
                let pools = (0u8..).map(PoolIndex).zip(&spec.subnets);
                for address in pools.flat_map(|(pool, _)| agent.networks().ipam().used(network, pool)) {
                    if let Some(other) = holders.insert((network, address), host.index) {
                        return Some(format!("{address} is handed out by h{other} and by h{}", host.index));
                    }
                }
            }
        }
        None
    }

    /// A run of addresses that two hosts believe to own. A host that was restored cannot know better before it hears.
    fn owned_twice(&self) -> Option<String> {
        let mut all = Holdings::new();
        for host in self.hosts.iter().filter(|host| !host.is_behind) {
            let Some(agent) = &host.agent else { continue };
            let own = agent
                .networks()
                .ipam()
                .holders(self.now)
                .into_iter()
                .filter(|holding| holding.host == host.id);
            for holding in own {
                let runs = holding.runs.iter().map(|(first, last)| (*first, *last, host.index));
                all.entry((holding.network, holding.pool)).or_default().extend(runs);
            }
        }
        for runs in all.values_mut() {
            runs.sort_unstable();
            for pair in runs.windows(2) {
                let ((first, last, a), (next, end, b)) = (pair[0], pair[1]);
                if next <= last && a != b {
                    return Some(format!("h{a} owns {first} to {last}, and h{b} owns {next} to {end}"));
                }
            }
        }
        None
    }

    /// Notes situations that show in the state.
    fn look_around(&mut self) {
        let mut seen = Vec::new();
        for agent in self.hosts.iter().filter_map(|host| host.agent.as_ref()) {
            let mut names: Vec<_> = agent.networks().catalog().iter().map(|(_, spec)| &spec.name).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            seen.extend((names.len() < all).then_some(Situation::NameShared));
            let refused =
                |it: &shoal_networks::DockerRecord| matches!(it.naming, shoal_networks::Naming::Refused(_));
            let waits = agent.networks().catalog().waiting().next().is_some();
            seen.extend(waits.then_some(Situation::EditWaited));
            seen.extend(agent.networks().docker_networks().any(refused).then_some(Situation::NameRefused));
        }
        self.seen.extend(seen);
        self.take_stock();
    }

    /// Who is out and who has left, from what the agents hold: a command may have worked although the agent died over
    /// it.
    fn take_stock(&mut self) {
        let by_members = self.hosts.iter().filter_map(|host| host.member());
        let out: Vec<_> = by_members.flat_map(shoal_fabric::Fabric::forgotten).collect();
        for host in &mut self.hosts {
            host.forgotten |= out.contains(&host.id);
            match host.agent.as_ref().map(|agent| agent.identity().is_some()) {
                Some(true) => (host.was_member, host.has_left) = (true, false),
                Some(false) => host.has_left |= host.was_member,
                None => {}
            }
        }
    }
}
