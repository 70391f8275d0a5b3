//! New networks: subnets that are given or chosen, checked against everything that is in use anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use shoal_ipam::{PoolRefused, check_pool, choose_default_pool, default_v6_pool, plan_grants};
use shoal_schema::{Fact, NetworkFact, NetworkSpec, Subnet};
use shoal_types::{HostId, IpNet, NetworkId, NetworkName, PoolIndex, Vni};

use crate::docker_network::tellable;
use crate::mtu::check_mtu;
use crate::option::check_options;
use crate::pool::is_v6;
use crate::{At, Effect, Networks, Refusal, sentence};

/// The most subnets of a network.
const SUBNETS_MAX: usize = 16;

/// What `shoal network create` was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkRequest {
    /// Its name.
    pub name: NetworkName,
    /// The subnets asked for; none of a wanted family: one is chosen.
    pub subnets: Vec<SubnetRequest>,
    /// An IPv6 subnet is wanted.
    pub v6: bool,
    /// No way out of the network.
    pub internal: bool,
    /// Docker labels.
    pub labels: BTreeMap<String, String>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
}

/// One subnet that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubnetRequest {
    /// Its prefix.
    pub prefix: IpNet,
    /// Its gateway; `None`: the first address.
    pub gateway: Option<IpAddr>,
    /// The part that addresses are chosen from.
    pub dynamic: Option<IpNet>,
    /// Reserved addresses by name.
    pub reserved: BTreeMap<String, IpAddr>,
}

impl Networks {
    /// Makes a network of the fabric, or puts one that the fabric has back on this host. Returns its id.
    pub fn create(
        &mut self,
        request: NetworkRequest,
        at: At,
        effects: &mut Vec<Effect>,
    ) -> Result<NetworkId, Refusal> {
        if let Some((id, _)) = self.catalog.by_name(&request.name) {
            return self.put_back(id, &request, at, effects);
        }
        if let Some((author, _)) = self.waiting_called(&request.name) {
            return Err(sentence::waits(&request.name, &self.host_name(author)));
        }
        let mut subnets = Vec::new();
        for wanted in &request.subnets {
            let (prefix, gateway, dynamic) =
                self.explicit_subnet(wanted.prefix, wanted.gateway, wanted.dynamic)?;
            check_reserved(prefix, gateway, &wanted.reserved)?;
            subnets.push(Subnet { prefix, gateway, dynamic, reserved: wanted.reserved.clone() });
        }
        self.add_default_subnets(&mut subnets, request.v6)?;
        let id = NetworkId::new(self.dice.id());
        let spec = self.spec(request.name, subnets, request.options, request.labels, request.internal)?;
        tellable(id, &spec)?;
        self.publish_network(id, Some(spec), at, effects);
        effects.extend(self.reconcile(at));
        Ok(id)
    }

    /// `shoal network create` for a network that was removed from this host only.
    fn put_back(
        &mut self,
        id: NetworkId,
        request: &NetworkRequest,
        at: At,
        effects: &mut Vec<Effect>,
    ) -> Result<NetworkId, Refusal> {
        let name = &request.name;
        let plain = request.subnets.is_empty() && request.options.is_empty() && request.labels.is_empty();
        if !plain {
            return Err(Refusal(format!(
                "the fabric already has a network \"{name}\": \"shoal network create {name}\" without further options puts it \
                 on this host as it is"
            )));
        }
        if !self.off.remove(&id) {
            if self.dockers.values().any(|docker| docker.network == id) {
                return Err(Refusal(format!("network \"{name}\" exists already, on this host too")));
            }
        } else {
            effects.push(Effect::Save(crate::Record::Off(id).key(), None));
        }
        self.work.retry_now(id);
        effects.extend(self.tell_use(id));
        effects.extend(self.reconcile(at));
        Ok(id)
    }

    /// Removes a network everywhere, unless a container anywhere is attached to it.
    pub fn delete(
        &mut self,
        name: &NetworkName,
        at: At,
        effects: &mut Vec<Effect>,
    ) -> Result<NetworkId, Refusal> {
        let Some((id, _)) = self.catalog.by_name(name) else {
            return Err(Refusal(format!(
                "the fabric has no network \"{name}\": \"shoal network list\" shows them"
            )));
        };
        if let Some(user) = self.any_user(id) {
            return Err(Refusal(format!(
                "network \"{name}\" is in use by {user}: remove the container first, or detach it with \"docker network \
                 disconnect\""
            )));
        }
        self.work.retry_now(id);
        self.publish_network(id, None, at, effects);
        effects.extend(self.reconcile(at));
        Ok(id)
    }

    /// A container that is attached to a network, stopped or not, with its host.
    pub(crate) fn any_user(&self, id: NetworkId) -> Option<String> {
        let by_use = self.uses_of(id).find_map(|(host, fact)| {
            fact.containers
                .first()
                .map(|container| format!("container \"{container}\" on host {}", self.host_name(host)))
        });
        let mine = || {
            let endpoint = self.endpoints.values().find(|endpoint| endpoint.network == id)?;
            let container = endpoint.container.as_deref().unwrap_or_else(|| endpoint.endpoint.short());
            Some(format!("container \"{container}\" on this host"))
        };
        let theirs = || {
            let (host, fact) = self.remote_endpoints().find(|(_, fact)| fact.network == id)?;
            let container = fact.container.as_deref().unwrap_or_else(|| fact.endpoint.short());
            Some(format!("container \"{container}\" on host {}", self.host_name(host)))
        };
        by_use.or_else(mine).or_else(theirs)
    }

    /// Writes our edit of a network: as a fact for the others, and into our own view at once.
    pub(crate) fn publish_network(
        &mut self,
        id: NetworkId,
        spec: Option<NetworkSpec>,
        at: At,
        effects: &mut Vec<Effect>,
    ) {
        let (stamp, heard) = self.catalog.next_stamp(id, self.me, at.wall);
        let fact = NetworkFact { id, stamp, heard, spec };
        effects.push(Effect::Publish(Fact::Network(fact.clone())));
        self.learn_network(self.me, fact);
        effects.push(Effect::ProjectSoon);
    }

    /// Puts a network's definition together: draws its VXLAN id and plans who owns which addresses at first.
    pub(crate) fn spec(
        &mut self,
        name: NetworkName,
        mut subnets: Vec<Subnet>,
        options: BTreeMap<String, String>,
        labels: BTreeMap<String, String>,
        internal: bool,
    ) -> Result<NetworkSpec, Refusal> {
        check_options(&options)?;
        if subnets.len() > SUBNETS_MAX {
            return Err(Refusal(format!(
                "a network has at most {SUBNETS_MAX} subnets, {} were given",
                subnets.len()
            )));
        }
        check_mtu(&options, &subnets)?;
        subnets.sort_by_key(|subnet| is_v6(subnet.prefix));
        let hosts: BTreeSet<HostId> = self.hosts.keys().copied().collect();
        let mut grants = Vec::new();
        for (index, subnet) in (0u8..).zip(&subnets) {
            grants.extend(plan_grants(PoolIndex(index), subnet, self.me, &hosts));
        }
        let (vni, creator) = (self.free_vni(), self.me);
        Ok(NetworkSpec { name, vni, creator, subnets, grants, options, labels, internal })
    }

    /// A VXLAN id that no network we know of has.
    pub(crate) fn free_vni(&mut self) -> Vni {
        loop {
            let vni = Vni::from_random(self.dice.number());
            if self.catalog.iter().all(|(_, spec)| spec.vni != vni) {
                return vni;
            }
        }
    }

    /// Checks a subnet that was asked for, against every host's own address space.
    pub(crate) fn explicit_subnet(
        &self,
        prefix: IpNet,
        gateway: Option<IpAddr>,
        dynamic: Option<IpNet>,
    ) -> Result<(IpNet, IpAddr, Option<IpNet>), Refusal> {
        let taken = self.taken.iter().flat_map(|(host, taken)| taken.iter().map(|taken| (*host, taken)));
        let taken: Vec<_> = taken.collect();
        check_pool(prefix, &taken).map_err(|refused| match refused {
            PoolRefused::Overlap { prefix, host, taken, by } => Refusal(format!(
                "subnet {prefix} overlaps {taken} ({by}) on host {}: choose another --subnet, or none to have one chosen",
                self.host_name(host)
            )),
            other => Refusal(other.to_string()),
        })?;
        let gateway = gateway.unwrap_or_else(|| first_address(prefix));
        if !prefix.contains(&gateway) {
            return Err(Refusal(format!("gateway {gateway} lies outside subnet {prefix}")));
        }
        if let Some(dynamic) = dynamic.filter(|dynamic| !prefix.contains(dynamic)) {
            return Err(Refusal(format!("--ip-range {dynamic} lies outside subnet {prefix}")));
        }
        Ok((prefix, gateway, dynamic))
    }

    /// Chooses a subnet that nobody uses.
    pub(crate) fn default_subnet(&mut self, v6: bool) -> Result<(IpNet, IpAddr, Option<IpNet>), Refusal> {
        if v6 {
            let prefix = IpNet::V6(default_v6_pool(NetworkId::new(self.dice.id())));
            return Ok((prefix, first_address(prefix), None));
        }
        let by_hosts = self.taken.values().flatten().map(|taken| taken.prefix);
        let by_networks =
            self.catalog.iter().flat_map(|(_, spec)| spec.subnets.iter().map(|subnet| subnet.prefix));
        let by_drafts = self.pools.values().map(|pool| pool.prefix);
        let avoid: Vec<IpNet> = by_hosts.chain(by_networks).chain(by_drafts).collect();
        let pool = choose_default_pool(&avoid, self.dice.roll());
        let prefix = pool.map(IpNet::V4).ok_or_else(|| {
            Refusal("every default pool overlaps a network or a route of some host: give a --subnet".into())
        })?;
        Ok((prefix, first_address(prefix), None))
    }

    fn add_default_subnets(&mut self, subnets: &mut Vec<Subnet>, v6: bool) -> Result<(), Refusal> {
        let has = |subnets: &[Subnet], v6: bool| subnets.iter().any(|s| is_v6(s.prefix) == v6);
        for (wanted, family_v6) in [(subnets.is_empty() || !has(subnets, false), false), (v6, true)] {
            if wanted && !has(subnets, family_v6) {
                let (prefix, gateway, dynamic) = self.default_subnet(family_v6)?;
                subnets.push(Subnet { prefix, gateway, dynamic, reserved: BTreeMap::new() });
            }
        }
        for (at, subnet) in subnets.iter().enumerate() {
            let overlaps = |other: &&Subnet| {
                other.prefix.contains(&subnet.prefix) || subnet.prefix.contains(&other.prefix)
            };
            if let Some(other) = subnets[..at].iter().find(overlaps) {
                return Err(Refusal(format!(
                    "subnets {} and {} of one network overlap",
                    other.prefix, subnet.prefix
                )));
            }
        }
        Ok(())
    }
}

fn check_reserved(
    prefix: IpNet,
    gateway: IpAddr,
    reserved: &BTreeMap<String, IpAddr>,
) -> Result<(), Refusal> {
    for (name, address) in reserved {
        if !prefix.contains(address) {
            return Err(Refusal(format!("reserved address {name}={address} lies outside subnet {prefix}")));
        }
        if *address == gateway {
            return Err(Refusal(format!("reserved address {name}={address} is the gateway of {prefix}")));
        }
    }
    Ok(())
}

/// The first address after the network's own; in a /31, /32, /127 or /128 the network's own.
fn first_address(prefix: IpNet) -> IpAddr {
    match prefix {
        IpNet::V4(net) if net.prefix_len() >= 31 => IpAddr::V4(net.network()),
        IpNet::V4(net) => IpAddr::V4((u32::from(net.network()) + 1).into()),
        IpNet::V6(net) if net.prefix_len() >= 127 => IpAddr::V6(net.network()),
        IpNet::V6(net) => IpAddr::V6((u128::from(net.network()) + 1).into()),
    }
}
