//! What must hold once everything was healed and left alone for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use shoal_fabric::Fabric;
use shoal_networks::{DockerRecord, Naming};
use shoal_plan::{EndpointEntry, EndpointKey, Observed};
use shoal_planner::{diff, plan};
use shoal_types::{EndpointId, HostId, LinkName, NetworkId};

use crate::host::Host;
use crate::world::World;

/// No clock was ever further ahead: a jump is of ten minutes at most, and a few may add up.
const STAMPS_AHEAD_MAX: Duration = Duration::from_secs(3_600);

type Broken = Result<(), String>;

impl World {
    /// Heals everything, sets all clocks right, starts everything, and waits until all should agree.
    pub fn settle(&mut self) {
        self.line("everything is healed and left alone");
        self.network.heal();
        for host in 0..self.hosts.len() {
            (self.hosts[host].slow, self.hosts[host].fuse) = (Duration::ZERO, None);
            (self.hosts[host].skew_ms, self.hosts[host].disk_refuses) = (0, false);
            self.hosts[host].drift = (0, self.now);
            if !self.hosts[host].engine.up {
                self.engine_up(host);
            }
            if self.hosts[host].agent.is_none() {
                self.start_agent(host);
            }
        }
        self.pass(self.options.settle);
        self.wait_for_stamps();
        if self.violation.is_none()
            && let Err(broken) = self.find_stranded().and_then(|()| self.agreed())
        {
            self.violate(broken);
        }
    }

    /// A host puts its own stamps right with its clock. One that has left does not: its edits count when their time has
    /// come.
    fn wait_for_stamps(&mut self) {
        let until = self.now + STAMPS_AHEAD_MAX;
        let waits = |agent: &Fabric| agent.networks().catalog().waiting().next().is_some();
        while self.violation.is_none() && self.members().iter().any(|(_, agent)| waits(agent)) {
            if self.now >= until {
                return self.violate("an edit waits although all clocks are right".into());
            }
            self.pass(Duration::from_secs(30));
        }
    }

    /// Lets quiet time pass; returns the bytes that a host sent per minute, payload only: the most of any host.
    pub fn idle(&mut self, time: Duration) -> u64 {
        let before: Vec<_> = self.hosts.iter().map(|host| host.traffic).collect();
        self.pass(time);
        let sent = |(host, before): (&Host, &crate::host::Traffic)| {
            let now = host.traffic;
            now.datagram_bytes + now.message_bytes - before.datagram_bytes - before.message_bytes
        };
        let most = self.hosts.iter().zip(&before).map(sent).max().unwrap_or_default();
        most * 60 / time.as_secs().max(1)
    }

    fn agreed(&self) -> Broken {
        self.same_facts()?;
        self.same_catalog()?;
        self.deleted_stay_gone()?;
        self.forgotten_are_nowhere()?;
        self.no_ghosts()?;
        self.same_endpoints()?;
        self.planned_everywhere()?;
        self.docker_matches()?;
        self.reopens_the_same()
    }

    fn members(&self) -> Vec<(&Host, &Fabric)> {
        let of_fabric = self.hosts.iter().filter(|host| !self.stranded.contains(&host.index));
        of_fabric.filter_map(|host| Some((host, host.member()?))).collect()
    }

    fn same_facts(&self) -> Broken {
        let heads = |agent: &Fabric| -> BTreeMap<HostId, [u8; 32]> {
            agent.heads().into_iter().map(|head| (head.author, head.digest)).collect()
        };
        let members = self.members();
        let Some((first, agent)) = members.first() else { return Ok(()) };
        let expected = heads(agent);
        for (host, agent) in &members[1..] {
            let other = heads(agent);
            if other != expected {
                let authors: BTreeSet<_> = expected.keys().chain(other.keys()).collect();
                let differ = authors.into_iter().filter(|author| expected.get(*author) != other.get(*author));
                let differ: Vec<_> = differ.map(|author| self.called(*author)).collect();
                return Err(format!(
                    "hosts hold different facts: h{} and h{}, of {differ:?}",
                    first.index, host.index
                ));
            }
        }
        Ok(())
    }

    fn called(&self, host: HostId) -> String {
        self.index_of(host).map_or_else(|| host.short(), |index| format!("h{index}"))
    }

    fn same_catalog(&self) -> Broken {
        let members = self.members();
        let Some((first, agent)) = members.first() else { return Ok(()) };
        let expected: Vec<_> = agent.networks().catalog().iter().collect();
        for (host, agent) in &members[1..] {
            let other: Vec<_> = agent.networks().catalog().iter().collect();
            if other != expected {
                let names = |list: &[(NetworkId, &shoal_schema::NetworkSpec)]| -> Vec<String> {
                    list.iter().map(|(id, spec)| format!("{} {}", spec.name, id.short())).collect()
                };
                return Err(format!(
                    "catalogs differ: h{} has {:?}, h{} has {:?}",
                    first.index,
                    names(&expected),
                    host.index,
                    names(&other)
                ));
            }
        }
        Ok(())
    }

    fn deleted_stay_gone(&self) -> Broken {
        for (network, by) in &self.deleted {
            let by = &self.hosts[*by];
            if by.forgotten || by.member().is_none() || self.stranded.contains(&by.index) {
                continue;
            }
            for (host, agent) in self.members() {
                if let Some(spec) = agent.networks().catalog().get(*network) {
                    return Err(format!("a deleted network is back: {} on h{}", spec.name, host.index));
                }
            }
        }
        Ok(())
    }

    fn forgotten_are_nowhere(&self) -> Broken {
        for gone in self.hosts.iter().filter(|host| host.forgotten) {
            for (host, agent) in self.members() {
                let by_fact = agent.heads().iter().any(|head| head.author == gone.id);
                let by_endpoint = agent.networks().remote_endpoints().any(|(host, _)| host == gone.id);
                let by_peer = host.kernel.plan.peers.contains_key(&gone.address());
                if by_fact || by_endpoint || by_peer {
                    return Err(format!(
                        "a forgotten host is not gone: h{} on h{} (facts {by_fact}, endpoints {by_endpoint}, peer {by_peer})",
                        gone.index, host.index
                    ));
                }
            }
        }
        Ok(())
    }

    /// Endpoints that the fabric knows and no engine has.
    fn no_ghosts(&self) -> Broken {
        for (host, agent) in self.members() {
            let live = host.engine.endpoints();
            if let Some(ghost) =
                agent.networks().endpoints().find(|endpoint| !live.contains(&endpoint.endpoint))
            {
                return Err(format!(
                    "an endpoint outlives its container: {:?} on h{}, stage {:?}, address {:?}",
                    ghost.endpoint, host.index, ghost.stage, ghost.v4
                ));
            }
        }
        Ok(())
    }

    /// Endpoints of members in networks that exist, as the engines know them.
    fn live(&self) -> BTreeMap<(HostId, EndpointId), (usize, NetworkId, BTreeSet<IpAddr>)> {
        let mut live = BTreeMap::new();
        for (host, agent) in self.members() {
            let attached =
                host.engine.containers.values().filter_map(|container| container.attached.as_ref());
            for attached in attached {
                let Some(network) = attached.network else { continue };
                if agent.networks().catalog().get(network).is_some() {
                    let addresses = attached.addresses.iter().map(|(_, net)| net.addr()).collect();
                    live.insert((host.id, attached.endpoint.clone()), (host.index, network, addresses));
                }
            }
        }
        live
    }

    fn same_endpoints(&self) -> Broken {
        let live = self.live();
        for (host, agent) in self.members() {
            let catalog = agent.networks().catalog();
            let own = agent.networks().endpoints().filter(|it| it.stage == shoal_networks::Stage::Joined);
            let own = own.map(|it| (host.id, it.endpoint.clone(), it.network));
            let remote =
                agent.networks().remote_endpoints().map(|(host, it)| (host, it.endpoint.clone(), it.network));
            // Who left while this host could not hear it stays, like any dead host, until someone forgets it.
            let gone = |of: HostId| self.index_of(of).is_some_and(|index| self.hosts[index].has_left);
            let known =
                own.chain(remote).filter(|(of, _, network)| catalog.get(*network).is_some() && !gone(*of));
            let known: BTreeSet<_> = known.map(|(host, endpoint, _)| (host, endpoint)).collect();
            let wanted: BTreeSet<_> = live.keys().cloned().collect();
            if let Some((of, endpoint)) = wanted.symmetric_difference(&known).next() {
                let (of, here) = (self.called(*of), known.contains(&(*of, endpoint.clone())));
                let what =
                    if here { "knows an endpoint that is not there" } else { "does not know an endpoint" };
                return Err(format!("endpoint views differ: h{} {what}: {endpoint:?} of {of}", host.index));
            }
        }
        Ok(())
    }

    fn planned_everywhere(&self) -> Broken {
        let live = self.live();
        for (host, agent) in self.members() {
            let (wanted, clashes) = plan(&agent.view(self.now));
            if let Some(clash) = clashes.first() {
                return Err(format!(
                    "two endpoints claim one address: {} on h{}",
                    clash.key.address, host.index
                ));
            }
            let observed = Observed { plan: host.kernel.plan.clone(), ..Observed::default() };
            if let Some(change) = diff(&wanted, &observed).first() {
                return Err(format!("the kernel is not as planned: h{} lacks {change:?}", host.index));
            }
            for ((_, endpoint), (at, network, addresses)) in &live {
                let Some(spec) = agent.networks().catalog().get(*network) else { continue };
                for address in addresses {
                    let key = EndpointKey { vni: spec.vni, address: *address };
                    let right = if *at == host.index {
                        EndpointEntry::Local(LinkName::pair_of(endpoint).0)
                    } else {
                        let Some(end) = self.hosts[*at].kernel.tunnel_address() else { continue };
                        EndpointEntry::Remote(end.into())
                    };
                    if wanted.endpoints.get(&key) != Some(&right) {
                        let entry = wanted.endpoints.get(&key);
                        return Err(format!(
                            "a live endpoint is not reached: {address} on h{at}, from h{} {entry:?}",
                            host.index
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    fn docker_matches(&self) -> Broken {
        for (host, agent) in self.members() {
            self.docker_has_all(host, agent)?;
            self.docker_has_no_more(host, agent)?;
        }
        Ok(())
    }

    /// Every network of the fabric that is not off here, unless its name stands for something else here.
    fn docker_has_all(&self, host: &Host, agent: &Fabric) -> Broken {
        let networks = agent.networks();
        for (id, spec) in networks.catalog().iter().filter(|(id, _)| !networks.is_off(*id)) {
            let shared = networks.catalog().iter().any(|(other, it)| other != id && it.name == spec.name);
            let found = networks.docker_networks().find(|record| record.network == id);
            let other = host
                .engine
                .by_name(spec.name.as_str())
                .filter(|it| found.is_none_or(|record| record.docker != it.id));
            let there = found.is_some_and(|record| host.engine.networks.contains_key(&record.docker));
            if !there && !shared && other.is_none() {
                return Err(format!(
                    "Docker lacks a network of the fabric: {} on h{} (failure: {:?})",
                    spec.name,
                    host.index,
                    networks.engine_failure(id)
                ));
            }
        }
        Ok(())
    }

    /// No network of the driver that the fabric does not have, but for refused ones and those whose containers run.
    fn docker_has_no_more(&self, host: &Host, agent: &Fabric) -> Broken {
        let networks = agent.networks();
        for ours in host.engine.networks.values().filter(|network| network.ours) {
            let record = networks.docker_networks().find(|record| record.docker == ours.id);
            let excused = |record: &DockerRecord| match record.naming {
                Naming::Refused(_) => true,
                Naming::Pending(_) => false,
                Naming::Settled => {
                    networks.catalog().get(record.network).is_some() || host.engine.is_in_use(&ours.id)
                }
            };
            if !record.is_some_and(excused) {
                let naming = record.map(|record| &record.naming);
                return Err(format!(
                    "Docker has a network too many: {} on h{}, {naming:?}",
                    ours.name, host.index
                ));
            }
        }
        for record in networks.docker_networks() {
            if !host.engine.networks.contains_key(&record.docker) {
                return Err(format!(
                    "the agent believes in a network that Docker does not have: h{}, {record:?}",
                    host.index
                ));
            }
        }
        Ok(())
    }

    /// An agent that starts from its store knows what it knew.
    fn reopens_the_same(&self) -> Broken {
        for (host, agent) in self.members() {
            let Some(local) = host.local() else { continue };
            let opened = Fabric::open(host.key.clone(), local, &host.disk.read(), 1, host.at(self.now));
            let (again, _) =
                opened.map_err(|why| format!("a host cannot start again: h{}, {why}", host.index))?;
            let differ = self.differ(host, agent, &again);
            if let Some(what) = differ {
                return Err(format!("a restart changes {what}: h{}", host.index));
            }
        }
        Ok(())
    }

    fn differ(&self, host: &Host, before: &Fabric, after: &Fabric) -> Option<&'static str> {
        let (a, b) = (before.networks(), after.networks());
        let others = |agent: &Fabric| -> Vec<_> {
            agent.heads().into_iter().filter(|head| head.author != host.id).collect()
        };
        let owned = |agent: &Fabric| -> Vec<_> {
            let own = agent
                .networks()
                .ipam()
                .holders(self.now)
                .into_iter()
                .filter(|holding| holding.host == host.id);
            own.map(|holding| {
                (holding.network, holding.pool, holding.runs, holding.local.map(|local| local.used))
            })
            .collect()
        };
        let checks = [
            ("the catalog", a.catalog().iter().eq(b.catalog().iter())),
            ("its endpoints", a.endpoints().eq(b.endpoints())),
            ("other hosts' endpoints", a.remote_endpoints().eq(b.remote_endpoints())),
            ("Docker's networks", a.docker_networks().eq(b.docker_networks())),
            ("what is off", a.catalog().iter().all(|(id, _)| a.is_off(id) == b.is_off(id))),
            ("the others' facts", others(before) == others(after)),
            ("what addresses it owns and uses", owned(before) == owned(after)),
            ("the plan", plan(&before.view(self.now)).0 == plan(&after.view(self.now)).0),
            ("who is forgotten", before.forgotten() == after.forgotten()),
        ];
        checks.iter().find(|(_, same)| !same).map(|(what, _)| *what)
    }
}
