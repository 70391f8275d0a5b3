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
        self.take_stock();
        let broken = self.same_address().or_else(|| self.handed_out_twice()).or_else(|| self.owned_twice());
        if let Some(broken) = broken {
            self.violate(broken);
        }
        self.look_around();
    }

    /// Two running containers of one network with one address.
    fn same_address(&self) -> Option<String> {
        let mut holders: BTreeMap<(NetworkId, IpAddr), Vec<(usize, String)>> = BTreeMap::new();
        for host in &self.hosts {
            for (name, container) in &host.engine.containers {
                let Some(attached) = &container.attached else { continue };
                let Some(network) = attached.network else { continue };
                for (_, net) in &attached.addresses {
                    let holder = format!("container {name} of h{}", host.index);
                    let others = holders.entry((network, net.addr())).or_default();
                    if let Some((_, other)) =
                        others.iter().find(|(other, _)| !self.are_apart(*other, host.index))
                    {
                        return Some(format!("two live endpoints have {}: {other} and {holder}", net.addr()));
                    }
                    others.push((host.index, holder));
                }
            }
        }
        None
    }

    /// An address that two hosts have handed out.
    fn handed_out_twice(&self) -> Option<String> {
        let mut holders: BTreeMap<(NetworkId, IpAddr), Vec<usize>> = BTreeMap::new();
        for host in &self.hosts {
            let Some(agent) = &host.agent else { continue };
            for (network, spec) in agent.networks().catalog().iter() {
                let pools = (0u8..).map(PoolIndex).zip(&spec.subnets);
                for address in pools.flat_map(|(pool, _)| agent.networks().ipam().used(network, pool)) {
                    let others = holders.entry((network, address)).or_default();
                    others.push(host.index);
                    if let Some(other) = others.iter().find(|other| !self.are_apart(**other, host.index)) {
                        return Some(format!("{address} is handed out by h{other} and by h{}", host.index));
                    }
                }
            }
        }
        None
    }

    /// A run of addresses that two hosts may hand out. A host that was restored cannot know better before it hears, and
    /// one whose disk refuses hands out nothing.
    fn owned_twice(&self) -> Option<String> {
        let mut all = Holdings::new();
        for host in self.hosts.iter().filter(|host| !host.is_behind && host.unsaved.is_empty()) {
            let Some(agent) = &host.agent else { continue };
            for (network, pool, first, last) in agent.networks().ipam().usable() {
                all.entry((network, pool)).or_default().push((first, last, host.index));
            }
        }
        for runs in all.values_mut() {
            runs.sort_unstable();
            for (at, (first, last, a)) in runs.iter().enumerate() {
                let beside = runs[at + 1..].iter().take_while(|(next, ..)| next <= last);
                let twice = beside.into_iter().find(|(.., b)| !self.are_apart(*a, *b));
                if let Some((next, end, b)) = twice {
                    return Some(format!("h{a} may give {first} to {last}, and h{b} {next} to {end}"));
                }
            }
        }
        None
    }

    /// Whether two hosts are of one fabric no more, or the same: one is out for good, or refused because who let it in
    /// is out.
    fn are_apart(&self, a: usize, b: usize) -> bool {
        let out = self.hosts[a].forgotten || self.hosts[b].forgotten;
        a == b || out || self.forgot_issuer(a, b) || self.forgot_issuer(b, a)
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
        let told =
            |words: &str| self.hosts.iter().any(|host| host.notices.iter().any(|it| it.contains(words)));
        seen.extend(told("has taken over what was spare").then_some(Situation::TakenOver));
        seen.extend(told("belong to this host now").then_some(Situation::Inherited));
        let agents = || self.hosts.iter().filter_map(|host| host.agent.as_ref());
        let wants = |agent: &shoal_fabric::Fabric| !agent.networks().ipam().wanting().is_empty();
        seen.extend(agents().any(wants).then_some(Situation::WantedBack));
        self.seen.extend(seen);
    }

    /// Who is out and who has left, from what the agents hold: a command may have worked although the agent died over
    /// it.
    fn take_stock(&mut self) {
        // What the disk has refused was not promised.
        let kept = self.hosts.iter().filter(|host| host.unsaved.is_empty());
        let by_members = kept.filter_map(|host| host.member());
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
