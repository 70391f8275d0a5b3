//! Networks of the container engine: created, named, removed.

use std::collections::BTreeMap;

use shoal_schema::{Fact, NetworkFact, NetworkSpec, Subnet};
use shoal_types::{NetworkId, NetworkName, PoolIndex, Stamp};

use crate::pool::{network_option, save};
use crate::record::{DockerRecord, Naming, PoolRecord, Record};
use crate::work::Job;
use crate::{
    At, DockerNetworkId, Effect, EngineRequest, EngineView, GLOBAL_SPACE, LOCAL_SPACE, Networks, PoolData,
    PoolId,
};
use crate::{Refusal, Reply, sentence};

impl Networks {
    pub(crate) fn create_docker_network(
        &mut self,
        docker: DockerNetworkId,
        options: BTreeMap<String, String>,
        internal: bool,
        data: &[PoolData],
        at: At,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        if self.dockers.contains_key(&docker) {
            return Ok(Reply::Done);
        }
        // Any other address space tells that another IPAM driver was used.
        if data.iter().any(|pool| ![LOCAL_SPACE, GLOBAL_SPACE].contains(&pool.space.as_str())) {
            return Err(sentence::other_ipam_driver());
        }
        let name = network_option(&options)?;
        let mut pools = self.claim(data, name.as_ref())?;
        let name = name.or_else(|| pools.iter().find_map(|pool| pool.name.clone()));
        let bound = pools.iter().find_map(|pool| pool.network).map(|(id, _)| id);
        let (network, naming) = match bound {
            Some(network) => (self.bind(network, &pools)?, Naming::Settled),
            None => self.draft(name, &mut pools, data, options, internal)?,
        };
        for pool in &mut pools {
            pool.claimed = Some(docker.clone());
        }
        pools.into_iter().for_each(|pool| self.keep_pool(pool, effects));
        if self.off.remove(&network) {
            effects.push(Effect::Save(Record::Off(network).key(), None));
        }
        let record = DockerRecord { docker: docker.clone(), network, naming, listed: false };
        effects.push(save(&Record::Docker(record.clone())));
        self.dockers.insert(docker.clone(), record);
        if self.work.start(Job::Read(docker.clone()), at.now) {
            effects.push(Effect::Engine(EngineRequest::Read(docker)));
        }
        effects.extend(self.tell_use(network));
        Ok(Reply::Done)
    }

    /// Finds the pools that were asked for this network: each by prefix and gateway, among those no network has yet. A
    /// creation that gives a name gets pools of that name first, one that gives none gets pools without one first.
    fn claim(&self, data: &[PoolData], name: Option<&NetworkName>) -> Result<Vec<PoolRecord>, Refusal> {
        let find = |wanted: &PoolData| {
            let gateway = |pool: &PoolRecord| wanted.gateway.is_none_or(|gateway| gateway == pool.gateway);
            let fits =
                |pool: &&PoolRecord| pool.claimed.is_none() && pool.prefix == wanted.pool && gateway(pool);
            let others =
                |pool: &PoolRecord| name.is_some() && pool.name.is_some() && pool.name.as_ref() != name;
            // The latest request is the one dockerd has just made; an older equal one was left by a dockerd that died.
            let fitting = self.pools.values().filter(fits).filter(|pool| !others(pool));
            fitting.max_by_key(|pool| (pool.name.as_ref() == name, pool.requested)).cloned()
        };
        let missing = |wanted: &PoolData| match self.pools.values().find(|pool| pool.prefix == wanted.pool) {
            Some(PoolRecord { claimed: Some(_), name: Some(name), .. }) => {
                Refusal(format!("network \"{name}\" of the fabric is on this host already"))
            }
            _ => sentence::unknown_pool(&wanted.pool.to_string()),
        };
        data.iter().map(|wanted| find(wanted).ok_or_else(|| missing(wanted))).collect()
    }

    /// The engine's network is one that the fabric has.
    fn bind(&self, network: NetworkId, pools: &[PoolRecord]) -> Result<NetworkId, Refusal> {
        let Some(spec) = self.catalog.get(network) else {
            return Err(Refusal("the network was deleted from the fabric a moment ago".into()));
        };
        if self.dockers.values().any(|docker| docker.network == network && docker.naming == Naming::Settled) {
            return Err(Refusal(format!("network \"{}\" of the fabric is on this host already", spec.name)));
        }
        if pools.len() != spec.subnets.len()
            || pools.iter().any(|pool| pool.network.is_none_or(|(id, _)| id != network))
        {
            return Err(Refusal(format!(
                "network \"{0}\" of the fabric has {1} subnets, this one was given others: run \"shoal network create {0}\"",
                spec.name,
                spec.subnets.len()
            )));
        }
        Ok(network)
    }

    /// The network is new. Its labels, and its name if no option gave one, must be read from the engine before
    /// the fabric hears of it: an engine never changes labels, and Compose checks them.
    fn draft(
        &mut self,
        name: Option<NetworkName>,
        pools: &mut [PoolRecord],
        data: &[PoolData],
        options: BTreeMap<String, String>,
        internal: bool,
    ) -> Result<(NetworkId, Naming), Refusal> {
        if let Some(name) = name.as_ref().filter(|name| self.catalog.by_name(name).is_some()) {
            return Err(sentence::bind_with_both_options(name));
        }
        let subnets: Vec<Subnet> = pools.iter().zip(data).map(|(pool, data)| subnet(pool, data)).collect();
        let network = NetworkId::new(self.dice.id());
        for (index, pool) in (0u8..).zip(pools.iter_mut()) {
            pool.network = Some((network, PoolIndex(index)));
        }
        let placeholder = || "unnamed".parse().map_err(|error| Refusal(format!("{error}")));
        let spec =
            self.spec(name.map_or_else(placeholder, Ok)?, subnets, options, BTreeMap::new(), internal)?;
        Ok((network, Naming::Pending(tellable(network, &spec)?)))
    }

    /// The engine told a network's name and labels.
    pub(crate) fn named(&mut self, view: &EngineView, at: At, effects: &mut Vec<Effect>) {
        let Some(mut record) = self.dockers.get(&view.docker).cloned() else { return };
        if !record.listed && self.is_mistaken(&record, view) {
            let sentence = sentence::mistaken(view);
            effects.push(Effect::Notice(sentence.clone()));
            self.part(&mut record, effects);
            record.naming = Naming::Refused(sentence);
        }
        record.listed = true;
        if let Naming::Pending(bytes) = &record.naming {
            record.naming = match draft_spec(record.network, bytes) {
                Some(spec) => self.settle(record.network, spec, view, at, effects),
                None => Naming::Refused(
                    "its definition on disk is damaged: remove the network and make it again".into(),
                ),
            };
        }
        if self.dockers.get(&view.docker) != Some(&record) {
            effects.push(save(&Record::Docker(record.clone())));
            let network = record.network;
            self.dockers.insert(view.docker.clone(), record);
            effects.extend(self.tell_use(network));
        }
    }

    /// Whether the engine's network got the pools that the fabric's network was about to get: someone made one with the
    /// same subnets, under another name, at the same moment.
    fn is_mistaken(&self, record: &DockerRecord, view: &EngineView) -> bool {
        let Some(spec) = self.catalog.get(record.network) else { return false };
        let settled = record.naming == Naming::Settled;
        settled && spec.name != view.name && self.name_by_option(&view.docker, spec).is_none()
    }

    /// Takes an engine's network off the fabric's network it was mistaken for, which is then made beside it.
    fn part(&mut self, record: &mut DockerRecord, effects: &mut Vec<Effect>) {
        let own = |pool: &&PoolRecord| pool.claimed.as_ref() == Some(&record.docker);
        let pools: Vec<PoolRecord> = self.pools.values().filter(own).cloned().collect();
        for pool in pools {
            self.keep_pool(PoolRecord { claimed: None, ..pool }, effects);
        }
        self.drop_endpoints_of(&record.docker, effects);
        record.network = NetworkId::new(self.dice.id());
    }

    fn settle(
        &mut self,
        network: NetworkId,
        spec: NetworkSpec,
        view: &EngineView,
        at: At,
        effects: &mut Vec<Effect>,
    ) -> Naming {
        let name = self.name_by_option(&view.docker, &spec).unwrap_or_else(|| view.name.clone());
        let refused = |sentence: String, effects: &mut Vec<Effect>| {
            effects.push(Effect::Notice(sentence.clone()));
            Naming::Refused(sentence)
        };
        if self.catalog.by_name(&name).is_some_and(|(id, _)| id != network) {
            return refused(sentence::name_in_use(&name, &view.docker), effects);
        }
        let spec = NetworkSpec { name, labels: view.labels.clone(), ..spec };
        if let Err(untellable) = tellable(network, &spec) {
            return refused(untellable.0, effects);
        }
        self.publish_network(network, Some(spec), at, effects);
        Naming::Settled
    }

    /// The fabric's name of a network, if an option of the driver or of its pools gave one.
    fn name_by_option(&self, docker: &DockerNetworkId, spec: &NetworkSpec) -> Option<NetworkName> {
        let of_pools = || {
            let mut claimed = self.pools.values().filter(|pool| pool.claimed.as_ref() == Some(docker));
            claimed.find_map(|pool| pool.name.clone())
        };
        network_option(&spec.options).ok().flatten().or_else(of_pools)
    }

    /// Docker's rm and prune cannot be refused; they mean "off this host".
    pub(crate) fn delete_docker_network(
        &mut self,
        docker: &DockerNetworkId,
        at: At,
        effects: &mut Vec<Effect>,
    ) -> Reply {
        let Some(record) = self.dockers.get(docker).cloned() else { return Reply::Done };
        self.drop_docker_network(docker, effects);
        if matches!(record.naming, Naming::Refused(_)) {
            // What stood in the way of the fabric's network goes.
            self.work.hurry(at.now);
        }
        if record.naming == Naming::Settled && self.catalog.get(record.network).is_some() {
            self.off.insert(record.network);
            effects.push(save(&Record::Off(record.network)));
        }
        effects.extend(self.tell_use(record.network));
        Reply::Done
    }

    /// Lets go of an engine's network with all that hung on it.
    pub(crate) fn drop_docker_network(&mut self, docker: &DockerNetworkId, effects: &mut Vec<Effect>) {
        let Some(record) = self.dockers.remove(docker) else { return };
        self.doubts.remove(docker);
        effects.push(Effect::Save(Record::Docker(record).key(), None));
        let claimed = |pool: &&PoolRecord| pool.claimed.as_ref() == Some(docker);
        let pools: Vec<PoolId> = self.pools.values().filter(claimed).map(|pool| pool.id.clone()).collect();
        pools.iter().for_each(|pool| self.drop_pool(pool, effects));
        self.drop_endpoints_of(docker, effects);
    }

    fn drop_endpoints_of(&mut self, docker: &DockerNetworkId, effects: &mut Vec<Effect>) {
        let on_it: Vec<_> =
            self.endpoints.values().filter(|e| e.docker == *docker).map(|e| e.endpoint.clone()).collect();
        for endpoint in on_it {
            self.delete_endpoint(&endpoint, effects);
        }
    }

    /// Why containers cannot use a network of the engine.
    pub(crate) fn why_not_ready(&self, record: &DockerRecord) -> Refusal {
        match &record.naming {
            Naming::Pending(_) => sentence::name_pending(),
            Naming::Refused(sentence) => Refusal(sentence.clone()),
            Naming::Settled => Refusal(format!(
                "the network was deleted from the fabric: remove it here with \"docker network rm {}\"",
                record.docker.chars().take(12).collect::<String>()
            )),
        }
    }
}

fn subnet(pool: &PoolRecord, data: &PoolData) -> Subnet {
    let mut reserved = data.aux.clone();
    for address in &pool.reserved {
        if !reserved.values().any(|known| known == address) {
            reserved.insert(address.to_string(), *address);
        }
    }
    Subnet { prefix: pool.prefix, gateway: pool.gateway, dynamic: pool.dynamic, reserved }
}

/// The bytes of a network's definition, if other hosts can read them.
pub(crate) fn tellable(network: NetworkId, spec: &NetworkSpec) -> Result<Vec<u8>, Refusal> {
    let fact = Fact::Network(NetworkFact {
        id: network,
        stamp: Stamp::default(),
        heard: Stamp::default(),
        spec: Some(spec.clone()),
    });
    let bytes = fact.encode();
    match Fact::decode(fact.key().as_bytes(), &bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(sentence::cannot_tell(spec.name.as_str(), &error)),
    }
}

fn draft_spec(network: NetworkId, bytes: &[u8]) -> Option<NetworkSpec> {
    let key = shoal_schema::FactKey::network(network);
    match Fact::decode(key.as_bytes(), bytes) {
        Ok(Fact::Network(fact)) => fact.spec,
        _ => None,
    }
}
