//! Brings the engine's networks in line with the fabric's, outside of any driver call.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use shoal_types::{Moment, NetworkId};

use crate::pool::save;
use crate::record::{LeaseRecord, Naming, Record};
use crate::work::Job;
use crate::{At, DockerRecord, Effect, EngineNetwork, EngineRequest, Networks, sentence};

/// How long an address may be held without an endpoint: dockerd creates one at once, or died in between.
const LEASE_WITHOUT_ENDPOINT_MAX: Duration = Duration::from_secs(120);

impl Networks {
    /// Why the engine has not made a network on this host, or does not remove it, if it refused to.
    pub fn engine_failure(&self, network: NetworkId) -> Option<&str> {
        self.work.failure(network)
    }

    /// When [`Networks::reconcile`] should be called next at the latest, if requests wait.
    pub fn next_retry(&self) -> Option<Moment> {
        self.work.next_due()
    }

    /// Everything that should be done by now. Call it after facts changed, after reports and when
    /// [`Networks::next_retry`] has come.
    pub fn reconcile(&mut self, at: At) -> Vec<Effect> {
        let mut effects: Vec<Effect> =
            std::mem::take(&mut self.notices).into_iter().map(Effect::Notice).collect();
        self.follow_clock(at, &mut effects);
        effects.extend(self.keep());
        self.settle_names(at, &mut effects);
        self.give_way_on_vni(at, &mut effects);
        self.ask_engine(at, &mut effects);
        self.forget_deleted_offs(&mut effects);
        self.correct_uses(&mut effects);
        self.drop_outranked(at, &mut effects);
        self.release_orphans(at, &mut effects);
        effects.extend(self.ipam.needs(at.now).into_iter().map(|ask| Effect::Ask(ask.from, ask)));
        effects
    }

    /// Starts what is wanted of the engine and due; forgets what is wanted no more.
    fn ask_engine(&mut self, at: At, effects: &mut Vec<Effect>) {
        let wanted = self.wanted();
        self.work.keep(|job| wanted.contains_key(job));
        let networks: BTreeSet<NetworkId> = wanted.values().filter_map(network_of).collect();
        self.work.keep_failures(|network| networks.contains(&network));
        for (job, request) in wanted {
            if self.work.start(job, at.now) {
                effects.push(Effect::Engine(request));
            }
        }
    }

    fn wanted(&self) -> BTreeMap<Job, EngineRequest> {
        let here: BTreeSet<NetworkId> = self.dockers.values().map(|docker| docker.network).collect();
        let nameless = self.catalog.name_clashes();
        let missing = self
            .catalog
            .iter()
            .filter(|(id, _)| !self.off.contains(id) && !here.contains(id) && !nameless.contains_key(id));
        let create = missing.map(|(id, spec)| {
            let network = EngineNetwork { id, spec: spec.clone() };
            (Job::Create(id), EngineRequest::Create(Box::new(network)))
        });
        let deleted = self.dockers.values().filter(|docker| self.catalog.is_deleted(docker.network));
        let remove = deleted
            .map(|it| (Job::Remove(it.docker.clone()), EngineRequest::Remove(it.network, it.docker.clone())));
        let unseen = self.dockers.values().filter(|docker| {
            matches!(docker.naming, Naming::Pending(_))
                || !docker.listed
                || self.doubts.contains_key(&docker.docker)
        });
        let read = unseen.map(|it| (Job::Read(it.docker.clone()), EngineRequest::Read(it.docker.clone())));
        create.chain(remove).chain(read).collect()
    }

    /// Two networks may have got one name while hosts did not hear each other. The lower id keeps it, on every
    /// host alike; the other one takes no new container, and goes for good once no host's engine has it.
    fn settle_names(&mut self, at: At, effects: &mut Vec<Effect>) {
        let clashes = self.catalog.name_clashes();
        let known = |record: &&DockerRecord| {
            !matches!(record.naming, Naming::Pending(_)) && self.catalog.get(record.network).is_some()
        };
        let mut changed = Vec::new();
        for record in self.dockers.values().filter(known) {
            let naming = match clashes.get(&record.network) {
                Some(winner) => Naming::Refused(self.outnamed(record, *winner)),
                None => Naming::Settled,
            };
            if naming != record.naming {
                changed.push(DockerRecord { naming, ..record.clone() });
            }
        }
        for record in changed {
            if let Naming::Refused(sentence) = &record.naming {
                effects.push(Effect::Notice(sentence.clone()));
            }
            effects.push(save(&Record::Docker(record.clone())));
            self.dockers.insert(record.docker.clone(), record);
        }
        for loser in clashes.into_keys() {
            self.delete_nameless(loser, at, effects);
        }
    }

    fn outnamed(&self, record: &DockerRecord, winner: NetworkId) -> String {
        let Some(spec) = self.catalog.get(winner) else { return String::new() };
        sentence::outnamed(&spec.name, &record.docker, &self.host_name(spec.creator))
    }

    /// The last author of a network that lost its name deletes it when it is used nowhere.
    fn delete_nameless(&mut self, loser: NetworkId, at: At, effects: &mut Vec<Effect>) {
        let mine = self.catalog.winner(loser).is_some_and(|(author, _)| author == self.me);
        let used = self.uses_of(loser).next().is_some() || self.any_user(loser).is_some();
        if !mine || used {
            return;
        }
        let Some(name) = self.catalog.get(loser).map(|spec| spec.name.clone()) else { return };
        effects.push(Effect::Notice(sentence::nameless_deleted(&name)));
        self.publish_network(loser, None, at, effects);
    }

    /// Of two networks that drew the same VXLAN id, the later one takes another; its last author sees to that.
    fn give_way_on_vni(&mut self, at: At, effects: &mut Vec<Effect>) {
        for id in self.catalog.vni_clashes() {
            let Some((author, fact)) = self.catalog.winner(id) else { continue };
            let Some(mut spec) = fact.spec.clone().filter(|_| author == self.me) else { continue };
            spec.vni = self.free_vni();
            self.publish_network(id, Some(spec), at, effects);
        }
    }

    /// "Off this host" ends with the network.
    fn forget_deleted_offs(&mut self, effects: &mut Vec<Effect>) {
        let gone: Vec<NetworkId> =
            self.off.iter().filter(|id| self.catalog.is_deleted(**id)).copied().collect();
        for network in gone {
            self.off.remove(&network);
            effects.push(Effect::Save(Record::Off(network).key(), None));
        }
    }

    /// What this host says of its use of networks that it no longer has, or that are gone, is taken back.
    fn correct_uses(&mut self, effects: &mut Vec<Effect>) {
        let told = self.uses.keys().filter(|(host, _)| *host == self.me).map(|(_, network)| *network);
        let stale: Vec<NetworkId> = told.filter(|network| !self.is_user_of(*network)).collect();
        for network in stale {
            effects.extend(self.tell_use(network));
        }
    }

    /// Takes back addresses that dockerd asked for and then died.
    fn release_orphans(&mut self, at: At, effects: &mut Vec<Effect>) {
        let old = |lease: &&LeaseRecord| at.wall.since(lease.since) > LEASE_WITHOUT_ENDPOINT_MAX;
        let unused = |lease: &&LeaseRecord| self.endpoint_at(lease.network, lease.address).is_none();
        let orphans: Vec<LeaseRecord> = self.leases.values().filter(old).filter(unused).cloned().collect();
        for lease in orphans {
            self.drop_lease(lease, at, effects);
        }
    }

    pub(crate) fn drop_lease(&mut self, lease: LeaseRecord, at: At, effects: &mut Vec<Effect>) {
        let key = (lease.network, lease.address);
        self.leases.remove(&key);
        self.unclaimed_leases.remove(&key);
        self.ipam.release(lease.network, lease.pool, lease.address, at.now);
        effects.push(Effect::Save(Record::Lease(lease).key(), None));
    }

    /// This host's endpoint that has an address.
    pub(crate) fn endpoint_at(&self, network: NetworkId, address: IpAddr) -> Option<&crate::EndpointRecord> {
        let has = |endpoint: &&crate::EndpointRecord| match address {
            IpAddr::V4(address) => endpoint.v4 == Some(address),
            IpAddr::V6(address) => endpoint.v6 == Some(address),
        };
        self.endpoints.values().filter(|endpoint| endpoint.network == network).find(has)
    }
}

fn network_of(request: &EngineRequest) -> Option<NetworkId> {
    match request {
        EngineRequest::Create(network) => Some(network.id),
        EngineRequest::Remove(network, _) => Some(*network),
        EngineRequest::Read(_)
        | EngineRequest::List
        | EngineRequest::Names
        | EngineRequest::Containers(_) => None,
    }
}
