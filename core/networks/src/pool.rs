//! Pools and addresses: the IPAM driver's verbs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use shoal_ipam::{AllocateError, Ask, Want};
use shoal_types::{IpNet, NetworkName, PoolIndex};

use crate::record::{LeaseRecord, PoolRecord, Record};
use crate::{At, Effect, NETWORK_OPTION, Networks, PoolId, Refusal, Reply, sentence};

/// How long a pool waits for the network it was asked for; dockerd takes milliseconds.
const UNCLAIMED_POOL_TTL: Duration = Duration::from_secs(60);

/// How often a bound pool may be asked for without a prefix: dockerd asks again, without end, when a route of its host
/// overlaps the pool it got.
const REQUESTS_MAX: u32 = 4;

impl Networks {
    pub(crate) fn request_pool(
        &mut self,
        pool: Option<IpNet>,
        sub_pool: Option<IpNet>,
        options: &BTreeMap<String, String>,
        v6: bool,
        at: At,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        self.expire_unclaimed_pools(at, effects);
        let option = network_option(options)?;
        let name = option.clone().or_else(|| self.name_being_created(pool));
        let bound = name.as_ref().and_then(|name| self.catalog.by_name(name)).map(|(id, _)| id);
        let record = match (bound, name) {
            (Some(network), Some(name)) => {
                PoolRecord { name: option, ..self.bound_pool(network, &name, pool, v6, at)? }
            }
            (_, name) => self.draft_pool(name, pool, sub_pool, v6, at)?,
        };
        effects.push(save(&Record::Pool(record.clone())));
        let reply = Reply::Pool {
            id: record.id.clone(),
            prefix: record.prefix,
            gateway: IpNet::new(record.gateway, record.prefix.prefix_len()).ok(),
        };
        self.pools.insert(record.id.clone(), record);
        Ok(reply)
    }

    /// The name of the network that the engine was told to make, if this is one of its prefixes. The engine is told no
    /// option that binds the two, because Compose compares options with those in its file.
    fn name_being_created(&self, pool: Option<IpNet>) -> Option<NetworkName> {
        let spec = self.work.creating().and_then(|network| self.catalog.get(network))?;
        let fits = spec.subnets.iter().any(|subnet| Some(subnet.prefix) == pool);
        fits.then(|| spec.name.clone())
    }

    /// A pool of a network that the fabric has: the same id every time, so that a repeated call changes nothing.
    fn bound_pool(
        &self,
        network: shoal_types::NetworkId,
        name: &NetworkName,
        pool: Option<IpNet>,
        v6: bool,
        at: At,
    ) -> Result<PoolRecord, Refusal> {
        let spec = self.catalog.get(network).ok_or_else(|| Refusal(format!("network \"{name}\" is gone")))?;
        let subnets = (0u8..).zip(&spec.subnets).filter(|(_, subnet)| is_v6(subnet.prefix) == v6);
        let known = |index: u8| self.pools.get(&pool_id(network, index));
        let asked_before = |index: u8| known(index).is_some_and(|pool| pool.claimed.is_none());
        let found = match pool {
            Some(prefix) => subnets.clone().find(|(_, subnet)| subnet.prefix == prefix.trunc()),
            None => {
                subnets.clone().find(|(index, _)| !asked_before(*index)).or_else(|| subnets.clone().next())
            }
        };
        if let Some((index, subnet)) = found.filter(|_| pool.is_none())
            && known(index).is_some_and(|pool| pool.requests >= REQUESTS_MAX)
        {
            return Err(sentence::pool_refused_by_docker(name, subnet.prefix));
        }
        let (index, subnet) = found.ok_or_else(|| {
            let has: Vec<String> = spec.subnets.iter().map(|subnet| subnet.prefix.to_string()).collect();
            let wanted = pool.map_or_else(|| if v6 { "IPv6" } else { "IPv4" }.into(), |p| p.to_string());
            Refusal(format!(
                "network \"{name}\" of the fabric has {}, not {wanted}: run \"shoal network create {name}\" to put it on this \
                 host as it is",
                has.join(", ")
            ))
        })?;
        Ok(PoolRecord {
            id: pool_id(network, index),
            prefix: subnet.prefix,
            gateway: subnet.gateway,
            dynamic: subnet.dynamic,
            reserved: subnet.reserved.values().copied().collect(),
            network: Some((network, PoolIndex(index))),
            name: Some(name.clone()),
            claimed: known(index).and_then(|pool| pool.claimed.clone()),
            requests: known(index).map_or(1, |pool| pool.requests + 1),
            requested: at.wall,
        })
    }

    /// The pool of a known network's subnet.
    pub(crate) fn bound_pool_of(
        &self,
        network: shoal_types::NetworkId,
        prefix: IpNet,
        at: At,
    ) -> Result<PoolRecord, Refusal> {
        let spec = self.catalog.get(network).ok_or_else(|| sentence::unknown_pool(&prefix.to_string()))?;
        self.bound_pool(network, &spec.name, Some(prefix), is_v6(prefix), at)
    }

    /// A pool of a network that is being made by `docker network create`.
    fn draft_pool(
        &mut self,
        name: Option<NetworkName>,
        pool: Option<IpNet>,
        sub_pool: Option<IpNet>,
        v6: bool,
        at: At,
    ) -> Result<PoolRecord, Refusal> {
        let id = format!("draft-{:016x}", self.dice.roll());
        let (prefix, gateway, dynamic) = match pool {
            Some(prefix) => self.explicit_subnet(prefix, None, sub_pool)?,
            None => self.default_subnet(v6)?,
        };
        let equal =
            |other: &PoolRecord| other.claimed.is_none() && other.prefix == prefix && other.name.is_none();
        if name.is_none() && self.pools.values().any(equal) {
            return Err(sentence::equal_pool_pending(prefix));
        }
        let reserved = BTreeSet::new();
        let (network, claimed, requests, requested) = (None, None, 1, at.wall);
        Ok(PoolRecord { id, prefix, gateway, dynamic, reserved, network, name, claimed, requests, requested })
    }

    pub(crate) fn release_pool(&mut self, id: &PoolId, effects: &mut Vec<Effect>) -> Reply {
        let Some(pool) = self.pools.get(id) else { return Reply::Done };
        if pool.requests > 1 {
            let fewer = PoolRecord { requests: pool.requests - 1, ..pool.clone() };
            self.keep_pool(fewer, effects);
        } else if pool.claimed.is_none() {
            self.drop_pool(id, effects);
        }
        // A pool that a network has goes with the network, whose DeleteNetwork follows.
        Reply::Done
    }

    pub(crate) fn drop_pool(&mut self, id: &PoolId, effects: &mut Vec<Effect>) {
        if let Some(pool) = self.pools.remove(id) {
            effects.push(Effect::Save(Record::Pool(pool).key(), None));
        }
    }

    pub(crate) fn request_address(
        &mut self,
        pool: &PoolId,
        address: Option<IpAddr>,
        gateway: bool,
        at: At,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        let record = self.pools.get(pool).cloned().ok_or_else(|| sentence::unknown_pool(pool))?;
        if let Some(address) = address.filter(|address| !record.prefix.contains(address)) {
            return Err(Refusal(format!("address {address} lies outside the subnet {}", record.prefix)));
        }
        let chosen = if gateway {
            self.gateway_address(record.clone(), address, effects)?
        } else if record.claimed.is_none() {
            self.reserved_address(record.clone(), address, effects)?
        } else {
            self.lease_address(&record, address, at, effects)?
        };
        let with_length = IpNet::new(chosen, record.prefix.prefix_len());
        with_length.map(Reply::Address).map_err(|error| Refusal(error.to_string()))
    }

    /// The one gateway address of a subnet. Before the network is made the user may name another one.
    fn gateway_address(
        &mut self,
        mut pool: PoolRecord,
        wish: Option<IpAddr>,
        effects: &mut Vec<Effect>,
    ) -> Result<IpAddr, Refusal> {
        let wish = wish.unwrap_or(pool.gateway);
        if wish != pool.gateway {
            if pool.network.is_some() {
                return Err(Refusal(format!(
                    "the gateway of {} is {} on every host: {wish} cannot be used",
                    pool.prefix, pool.gateway
                )));
            }
            pool.gateway = wish;
            self.keep_pool(pool, effects);
        }
        Ok(wish)
    }

    /// An `--aux-address`: dockerd asks for it like for a container's address, but before the network exists.
    fn reserved_address(
        &mut self,
        mut pool: PoolRecord,
        wish: Option<IpAddr>,
        effects: &mut Vec<Effect>,
    ) -> Result<IpAddr, Refusal> {
        let Some(address) = wish else {
            return Err(Refusal(format!(
                "no network has been made of pool {} yet: it gives no addresses",
                pool.prefix
            )));
        };
        if address == pool.gateway {
            return Err(Refusal(format!(
                "{address} is the gateway of {}: reserve another address",
                pool.prefix
            )));
        }
        if pool.network.is_some() && !pool.reserved.contains(&address) {
            return Err(Refusal(format!("{address} is not reserved in this network of the fabric")));
        }
        if pool.reserved.insert(address) {
            self.keep_pool(pool, effects);
        }
        Ok(address)
    }

    /// An address for a container.
    fn lease_address(
        &mut self,
        pool: &PoolRecord,
        wish: Option<IpAddr>,
        at: At,
        effects: &mut Vec<Effect>,
    ) -> Result<IpAddr, Refusal> {
        let (network, index) = pool.network.ok_or_else(|| sentence::unknown_pool(&pool.id))?;
        let Some(name) = self.catalog.get(network).map(|spec| spec.name.clone()) else {
            return Err(self.why_not_usable(pool));
        };
        // dockerd makes one endpoint of a network at a time: a wish for an address without endpoint is a repeated call.
        let repeated = wish.filter(|address| self.unclaimed_leases.contains(&(network, *address)));
        match repeated.map_or_else(|| self.ipam.allocate(network, index, wish, at.now), Ok) {
            Ok(address) => {
                let lease = LeaseRecord { network, pool: index, address, since: at.wall };
                effects.push(save(&Record::Lease(lease.clone())));
                self.leases.insert((network, address), lease);
                self.unclaimed_leases.insert((network, address));
                Ok(address)
            }
            Err(error) => {
                effects.extend(self.ask_for(network, index, wish, &error));
                Err(self.no_address(&name, &error, wish))
            }
        }
    }

    /// What to ask another host for when an allocation failed.
    fn ask_for(
        &self,
        network: shoal_types::NetworkId,
        pool: PoolIndex,
        wish: Option<IpAddr>,
        error: &AllocateError,
    ) -> Option<Effect> {
        match (error, wish) {
            (AllocateError::OwnedBy { owner, .. }, Some(address)) => {
                let ask = Ask { network, pool, from: *owner, want: Want::Address(address) };
                Some(Effect::Ask(*owner, ask))
            }
            _ => None,
        }
    }

    /// The network behind a pool is not in the fabric: still unnamed, refused, or deleted.
    fn why_not_usable(&self, pool: &PoolRecord) -> Refusal {
        match pool.claimed.as_ref().and_then(|docker| self.dockers.get(docker)) {
            Some(docker) => self.why_not_ready(docker),
            None => sentence::unknown_pool(&pool.id),
        }
    }

    pub(crate) fn release_address(
        &mut self,
        pool: &PoolId,
        address: IpAddr,
        at: At,
        effects: &mut Vec<Effect>,
    ) -> Reply {
        // The verb has no type: a gateway or a reserved address holds no lease, so it is not let go here.
        let network = self.pools.get(pool).and_then(|pool| pool.network).map(|(network, _)| network);
        let lease = network.and_then(|network| self.leases.get(&(network, address)).cloned());
        if let Some(lease) = lease {
            // A dockerd that was killed may release the address of an endpoint without deleting the endpoint.
            if let Some(dead) = self.endpoint_at(lease.network, address).map(|it| it.endpoint.clone()) {
                self.delete_endpoint(&dead, effects);
            }
            self.drop_lease(lease, at, effects);
        }
        Reply::Done
    }

    pub(crate) fn keep_pool(&mut self, pool: PoolRecord, effects: &mut Vec<Effect>) {
        effects.push(save(&Record::Pool(pool.clone())));
        self.pools.insert(pool.id.clone(), pool);
    }

    fn expire_unclaimed_pools(&mut self, at: At, effects: &mut Vec<Effect>) {
        let old =
            |pool: &&PoolRecord| pool.claimed.is_none() && at.wall.since(pool.requested) > UNCLAIMED_POOL_TTL;
        let expired: Vec<PoolId> = self.pools.values().filter(old).map(|pool| pool.id.clone()).collect();
        for id in expired {
            self.drop_pool(&id, effects);
        }
    }
}

/// The effect that keeps a record.
pub(crate) fn save(record: &Record) -> Effect {
    Effect::Save(record.key(), Some(record.encode()))
}

/// The fabric's name in a set of options.
pub(crate) fn network_option(options: &BTreeMap<String, String>) -> Result<Option<NetworkName>, Refusal> {
    let parsed = options.get(NETWORK_OPTION).map(|text| text.parse());
    parsed.transpose().map_err(|error| Refusal(format!("option {NETWORK_OPTION}: {error}")))
}

pub(crate) fn is_v6(prefix: IpNet) -> bool {
    matches!(prefix, IpNet::V6(_))
}

fn pool_id(network: shoal_types::NetworkId, index: u8) -> PoolId {
    format!("net-{network}-{index}")
}
