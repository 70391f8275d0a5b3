//! Endpoints: a container's attachment, from address to link and back.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use shoal_schema::{EndpointFact, Fact, FactKey};
use shoal_types::{EndpointId, IpNet, LinkName, MacAddr, Moment};

use crate::pool::save;
use crate::record::{EndpointRecord, Record, Stage};
use crate::{DockerNetworkId, Effect, INTERFACE_PREFIX, Networks, Refusal, Reply, Route, sentence};

/// How long an endpoint may be missing from the engine's list.
const UNKNOWN_ENDPOINT_MAX: Duration = Duration::from_secs(60);

impl Networks {
    pub(crate) fn create_endpoint(
        &mut self,
        docker: &DockerNetworkId,
        endpoint: &EndpointId,
        (v4, v6): (Option<IpNet>, Option<IpNet>),
        mac: Option<MacAddr>,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        let record = self.dockers.get(docker).ok_or_else(|| sentence::unknown_network(docker))?;
        let network = record.network;
        if self.catalog.get(network).is_none() || record.naming != crate::Naming::Settled {
            return Err(self.why_not_ready(record));
        }
        let v4 = v4.and_then(|net| if let IpAddr::V4(address) = net.addr() { Some(address) } else { None });
        let v6 = v6.and_then(|net| if let IpAddr::V6(address) = net.addr() { Some(address) } else { None });
        for address in v4.map(IpAddr::V4).into_iter().chain(v6.map(IpAddr::V6)) {
            if !self.leases.contains_key(&(network, address)) {
                return Err(Refusal(format!(
                    "address {address} was not given out by shoal: start the container again"
                )));
            }
            if let Some(other) =
                self.endpoint_at(network, address).filter(|other| other.endpoint != *endpoint)
            {
                let container = other.container.as_deref().unwrap_or_else(|| other.endpoint.short());
                return Err(sentence::address_in_use(address, container));
            }
        }
        let derived = derived_mac(v4, endpoint);
        let (mac, told) = mac.map_or((derived, Some(derived)), |given| (given, None));
        let (docker, stage, container) = (docker.clone(), Stage::Created, None);
        let record =
            EndpointRecord { endpoint: endpoint.clone(), docker, network, v4, v6, mac, stage, container };
        for address in v4.map(IpAddr::V4).into_iter().chain(v6.map(IpAddr::V6)) {
            self.unclaimed_leases.remove(&(network, address));
        }
        match self.endpoints.get(endpoint) {
            // A repeated call: what has been joined stays joined.
            Some(known) if (known.network, known.v4, known.v6, known.mac) == (network, v4, v6, mac) => {}
            _ => {
                self.delete_endpoint(endpoint, effects);
                self.keep_endpoint(record, effects);
            }
        }
        Ok(Reply::Endpoint { mac: told })
    }

    pub(crate) fn join(
        &mut self,
        docker: &DockerNetworkId,
        endpoint: &EndpointId,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        let unknown = || {
            Refusal(format!("endpoint {} is not known to shoal: start the container again", endpoint.short()))
        };
        let mut record = self.endpoints.get(endpoint).cloned().ok_or_else(unknown)?;
        let Some(spec) = self.catalog.get(record.network) else {
            let known = self.dockers.get(docker).ok_or_else(|| sentence::unknown_network(docker))?;
            return Err(self.why_not_ready(known));
        };
        let own = |prefix: &IpNet| {
            let v4 = record.v4.is_some_and(|address| prefix.contains(&IpAddr::V4(address)));
            v4 || record.v6.is_some_and(|address| prefix.contains(&IpAddr::V6(address)))
        };
        let family = |prefix: &IpNet| {
            if matches!(prefix, IpNet::V4(_)) { record.v4.is_some() } else { record.v6.is_some() }
        };
        let others = spec.subnets.iter().map(|subnet| subnet.prefix).filter(|p| !own(p) && family(p));
        let routes = others.map(|destination| Route { destination }).collect();
        let no_gateway_bridge = spec.internal;
        let (_, inner_name) = LinkName::pair_of(endpoint);
        if record.stage != Stage::Joined {
            record.stage = Stage::Joined;
            effects.push(Effect::Publish(Fact::Endpoint(endpoint_fact(&record))));
            self.keep_endpoint(record, effects);
        }
        effects.push(Effect::Project(endpoint.clone()));
        Ok(Reply::Joined { inner_name, prefix: INTERFACE_PREFIX, routes, no_gateway_bridge })
    }

    pub(crate) fn leave(&mut self, endpoint: &EndpointId, effects: &mut Vec<Effect>) -> Reply {
        if let Some(record) =
            self.endpoints.get(endpoint).filter(|record| record.stage == Stage::Joined).cloned()
        {
            effects.push(Effect::Withdraw(FactKey::endpoint(record.network, endpoint)));
            self.keep_endpoint(EndpointRecord { stage: Stage::Left, ..record }, effects);
            effects.push(Effect::Project(endpoint.clone()));
        }
        Reply::Done
    }

    pub(crate) fn delete_endpoint(&mut self, endpoint: &EndpointId, effects: &mut Vec<Effect>) -> Reply {
        if let Some(record) = self.endpoints.remove(endpoint) {
            if record.stage == Stage::Joined {
                effects.push(Effect::Withdraw(FactKey::endpoint(record.network, endpoint)));
            }
            effects.push(Effect::Save(Record::Endpoint(record).key(), None));
            effects.push(Effect::Project(endpoint.clone()));
        }
        Reply::Done
    }

    pub(crate) fn endpoint_info(&self, endpoint: &EndpointId) -> Reply {
        let mut info = BTreeMap::new();
        if let Some(record) = self.endpoints.get(endpoint) {
            info.insert("shoal.network".into(), record.network.to_string());
            info.insert("shoal.host".into(), self.me.to_string());
        }
        Reply::Info(info)
    }

    /// The engine told containers' names; endpoints tell them to the fabric.
    pub(crate) fn name_endpoints(&mut self, names: &BTreeMap<EndpointId, String>, effects: &mut Vec<Effect>) {
        let renamed: Vec<EndpointRecord> = self
            .endpoints
            .values()
            .filter_map(|record| {
                let name = names.get(&record.endpoint)?;
                let changed = record.container.as_ref() != Some(name);
                changed.then(|| EndpointRecord { container: Some(name.clone()), ..record.clone() })
            })
            .collect();
        for record in renamed {
            if record.stage == Stage::Joined {
                effects.push(Effect::Publish(Fact::Endpoint(endpoint_fact(&record))));
            }
            self.keep_endpoint(record, effects);
        }
    }

    /// Lets go of endpoints that the engine no longer knows: dockerd died before it deleted them, or could not reach
    /// the agent when it did. One that is just being made is not in the engine's list yet, so each gets time.
    pub(crate) fn drop_unknown_endpoints(
        &mut self,
        known: &BTreeMap<EndpointId, String>,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        self.unknown
            .retain(|endpoint, _| self.endpoints.contains_key(endpoint) && !known.contains_key(endpoint));
        let unknown: Vec<EndpointId> =
            self.endpoints.keys().filter(|endpoint| !known.contains_key(endpoint)).cloned().collect();
        for endpoint in unknown {
            let since = *self.unknown.entry(endpoint.clone()).or_insert(now);
            if now.since(since) >= UNKNOWN_ENDPOINT_MAX {
                effects.push(Effect::Notice(sentence::endpoint_gone(&endpoint)));
                self.delete_endpoint(&endpoint, effects);
            }
        }
    }

    fn keep_endpoint(&mut self, record: EndpointRecord, effects: &mut Vec<Effect>) {
        effects.push(save(&Record::Endpoint(record.clone())));
        self.endpoints.insert(record.endpoint.clone(), record);
    }
}

/// The fact that tells other hosts where an endpoint is.
pub(crate) fn endpoint_fact(record: &EndpointRecord) -> EndpointFact {
    EndpointFact {
        network: record.network,
        endpoint: record.endpoint.clone(),
        v4: record.v4,
        v6: record.v6,
        mac: record.mac,
        container: record.container.clone(),
    }
}

/// A hardware address that is the same for the same address, so that neighbours' caches stay right when a container
/// is made again: locally administered (02), then the IPv4 address, else bits of the endpoint's id.
fn derived_mac(v4: Option<Ipv4Addr>, endpoint: &EndpointId) -> MacAddr {
    let low = v4.map_or_else(
        || u32::from_str_radix(&endpoint.short()[..8], 16).unwrap_or(0).to_be_bytes(),
        |address| address.octets(),
    );
    let [a, b, c, d] = low;
    MacAddr::new([0x02, 0x5a, a, b, c, d])
}
