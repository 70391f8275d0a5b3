//! Brings the engine's networks in line with the fabric's, outside of any driver call.
//!
//! Every request to the engine is made at most once at a time per object and repeated with growing pauses until its
//! effect is seen, so that a lost answer or a restart of the engine only delays.

use std::collections::BTreeMap;
use std::time::Duration;

use shoal_schema::FactKey;
use shoal_types::{Moment, NetworkId, PoolIndex, WallTime};

use crate::record::{LeaseRecord, Naming, Record};
use crate::{At, DockerNetworkId, Effect, EngineNetwork, EngineReport, EngineRequest, EngineView, Networks};

/// First and longest pause before a request to the engine is repeated.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// How long a request may be under way before it counts as lost.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// How long an address may be held without an endpoint: dockerd creates one at once, or died in between.
const LEASE_WITHOUT_ENDPOINT_MAX: Duration = Duration::from_secs(120);

/// What is wanted of the engine, by object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Job {
    Create(NetworkId),
    Remove(DockerNetworkId),
    Read(DockerNetworkId),
}

/// When a job may be tried next, and how often it was.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    due: Moment,
    tries: u32,
}

/// Requests under way or waiting for their next try.
#[derive(Debug, Default)]
pub(crate) struct Work {
    attempts: BTreeMap<Job, Attempt>,
    failures: BTreeMap<NetworkId, String>,
}

impl Work {
    /// Whether a job should be started now; if so, it counts as started.
    fn start(&mut self, job: Job, now: Moment) -> bool {
        let attempt = self.attempts.entry(job).or_insert(Attempt { due: now, tries: 0 });
        if now < attempt.due {
            return false;
        }
        *attempt = Attempt { due: now + ANSWER_MAX, tries: attempt.tries + 1 };
        true
    }

    fn failed(&mut self, job: &Job, now: Moment) {
        if let Some(attempt) = self.attempts.get_mut(job) {
            let pause = RETRY.0.saturating_mul(1 << attempt.tries.min(10)).min(RETRY.1);
            attempt.due = now + pause;
        }
    }

    fn done(&mut self, job: &Job) {
        self.attempts.remove(job);
    }

    /// Forgets pauses and failures of a network, because someone asked for it again.
    pub(crate) fn retry_now(&mut self, network: NetworkId) {
        self.attempts.remove(&Job::Create(network));
        self.failures.remove(&network);
    }
}

impl Networks {
    /// Why the engine has not made a network on this host, if it refused to.
    pub fn engine_failure(&self, network: NetworkId) -> Option<&str> {
        self.work.failures.get(&network).map(String::as_str)
    }

    /// When [`Networks::reconcile`] should be called next at the latest, if requests wait.
    pub fn next_retry(&self) -> Option<Moment> {
        self.work.attempts.values().map(|attempt| attempt.due).min()
    }

    /// Everything that should be done by now. Call it after facts changed, after reports and when
    /// [`Networks::next_retry`] has come.
    pub fn reconcile(&mut self, at: At) -> Vec<Effect> {
        let mut effects: Vec<Effect> = std::mem::take(&mut self.notices).into_iter().map(Effect::Notice).collect();
        self.create_missing(at, &mut effects);
        self.remove_deleted(at, &mut effects);
        self.read_names(at, &mut effects);
        self.give_way_on_vni(at, &mut effects);
        self.drop_outranked(&mut effects);
        self.release_orphans(at, &mut effects);
        effects.extend(self.ipam.needs(at.now).into_iter().map(|ask| Effect::Ask(ask.from, ask)));
        effects
    }

    fn create_missing(&mut self, at: At, effects: &mut Vec<Effect>) {
        let here = |id: NetworkId| self.dockers.values().any(|docker| docker.network == id);
        let missing = self.catalog.iter().filter(|(id, _)| !self.off.contains(id) && !here(*id));
        let wanted: Vec<EngineNetwork> = missing.map(|(id, spec)| EngineNetwork { id, spec: spec.clone() }).collect();
        for network in wanted {
            if self.work.start(Job::Create(network.id), at.now) {
                effects.push(Effect::Engine(EngineRequest::Create(Box::new(network))));
            }
        }
    }

    fn remove_deleted(&mut self, at: At, effects: &mut Vec<Effect>) {
        let deleted = self.dockers.values().filter(|docker| self.catalog.is_deleted(docker.network));
        let wanted: Vec<_> = deleted.map(|docker| (docker.network, docker.docker.clone())).collect();
        for (network, docker) in wanted {
            if self.work.start(Job::Remove(docker.clone()), at.now) {
                effects.push(Effect::Engine(EngineRequest::Remove(network, docker)));
            }
        }
        let gone: Vec<NetworkId> = self.off.iter().filter(|id| self.catalog.is_deleted(**id)).copied().collect();
        for network in gone {
            self.off.remove(&network);
            effects.push(Effect::Save(Record::Off(network).key(), None));
            effects.extend(self.tell_use(network));
        }
    }

    fn read_names(&mut self, at: At, effects: &mut Vec<Effect>) {
        let pending = self.dockers.values().filter(|docker| matches!(docker.naming, Naming::Pending(_)));
        let pending: Vec<DockerNetworkId> = pending.map(|docker| docker.docker.clone()).collect();
        for docker in pending {
            if self.work.start(Job::Read(docker.clone()), at.now) {
                effects.push(Effect::Engine(EngineRequest::Read(docker)));
            }
        }
    }

    /// Of two networks that drew the same VXLAN id, the later one takes another.
    fn give_way_on_vni(&mut self, at: At, effects: &mut Vec<Effect>) {
        for id in self.catalog.vni_clashes() {
            let Some(mut spec) = self.catalog.get(id).cloned() else { continue };
            if spec.creator == self.me {
                spec.vni = self.free_vni();
                self.publish_network(id, Some(spec), at, effects);
            }
        }
    }

    fn drop_outranked(&mut self, effects: &mut Vec<Effect>) {
        for id in self.catalog.outranked(self.me) {
            self.catalog.unlearn(self.me, id);
            effects.push(Effect::Withdraw(FactKey::network(id)));
        }
    }

    /// Takes back addresses that dockerd asked for and then died.
    fn release_orphans(&mut self, at: At, effects: &mut Vec<Effect>) {
        let used = |lease: &LeaseRecord| {
            self.endpoints.values().any(|endpoint| {
                let v4 = endpoint.v4.map(std::net::IpAddr::V4) == Some(lease.address);
                let v6 = endpoint.v6.map(std::net::IpAddr::V6) == Some(lease.address);
                endpoint.network == lease.network && (v4 || v6)
            })
        };
        let old = |lease: &&LeaseRecord| at.wall.since(lease.since) > LEASE_WITHOUT_ENDPOINT_MAX;
        let orphans: Vec<LeaseRecord> = self.leases.values().filter(old).filter(|l| !used(l)).cloned().collect();
        for lease in orphans {
            self.leases.remove(&(lease.network, lease.address));
            self.ipam.release(lease.network, lease.pool, lease.address, at.now);
            effects.push(Effect::Save(Record::Lease(lease).key(), None));
        }
    }

    /// Takes in what the engine answered.
    pub fn engine(&mut self, report: EngineReport, at: At) -> Vec<Effect> {
        let mut effects = Vec::new();
        match report {
            EngineReport::Read(docker, view) => self.read(&docker, view, at, &mut effects),
            EngineReport::Created(network, result) => self.created(network, result, at),
            EngineReport::Removed(network, docker, result) => self.removed(network, &docker, result, at, &mut effects),
            EngineReport::Listed(views) => self.listed(&views, at, &mut effects),
            EngineReport::Containers(docker, names) => {
                if let Some(network) = self.dockers.get(&docker).map(|record| record.network) {
                    effects.extend(self.tell_containers(network, names));
                }
            }
            EngineReport::Wishes(wishes) => self.prefetch(&wishes, &mut effects),
            EngineReport::Names(names) => self.name_endpoints(&names, &mut effects),
            EngineReport::Unreachable(_) => {}
        }
        effects.extend(self.reconcile(at));
        effects
    }

    fn read(
        &mut self,
        docker: &DockerNetworkId,
        view: Option<EngineView>,
        at: At,
        effects: &mut Vec<Effect>,
    ) {
        let job = Job::Read(docker.clone());
        match view {
            Some(view) => {
                self.named(&view, at, effects);
                self.work.done(&job);
            }
            // Asked between CreateNetwork's answer and the engine's own bookkeeping: it will be there in a moment.
            None => self.work.failed(&job, at.now),
        }
    }

    fn created(&mut self, network: NetworkId, result: Result<DockerNetworkId, String>, at: At) {
        let job = Job::Create(network);
        match result {
            Ok(_) => {
                self.work.done(&job);
                self.work.failures.remove(&network);
            }
            Err(reason) => {
                self.work.failed(&job, at.now);
                self.work.failures.insert(network, reason);
            }
        }
    }

    fn removed(
        &mut self,
        network: NetworkId,
        docker: &DockerNetworkId,
        result: Result<(), String>,
        at: At,
        effects: &mut Vec<Effect>,
    ) {
        let job = Job::Remove(docker.clone());
        match result {
            Ok(()) => {
                self.work.done(&job);
                self.drop_docker_network(docker, effects);
                effects.extend(self.tell_use(network));
            }
            Err(reason) => {
                self.work.failed(&job, at.now);
                self.work.failures.insert(network, reason);
            }
        }
    }

    /// The engine's whole list: what it lost while nobody was told, and what it has that we do not know.
    fn listed(&mut self, views: &[EngineView], at: At, effects: &mut Vec<Effect>) {
        let ours: BTreeMap<&DockerNetworkId, &EngineView> =
            views.iter().filter(|view| view.ours).map(|view| (&view.docker, view)).collect();
        let lost: Vec<_> = self.dockers.values().filter(|d| !ours.contains_key(&d.docker)).cloned().collect();
        for record in lost {
            self.drop_docker_network(&record.docker, effects);
            // Removed by Docker's user while the agent was away, unless its creation was cut short before it was ever seen.
            if record.listed && record.naming == Naming::Settled && self.catalog.get(record.network).is_some() {
                self.mark_off(record.network, effects);
            }
            effects.extend(self.tell_use(record.network));
        }
        for view in ours.values() {
            if self.dockers.contains_key(&view.docker) {
                self.named(view, at, effects);
            } else {
                self.adopt(view, at, effects);
            }
        }
    }

    /// The engine has a network of ours that we have no record of: our state was lost. If the fabric has it under
    /// that name, it is taken up again with its pools.
    fn adopt(&mut self, view: &EngineView, at: At, effects: &mut Vec<Effect>) {
        let option = view.options.get(crate::NETWORK_OPTION).and_then(|name| name.parse().ok());
        let name = option.unwrap_or_else(|| view.name.clone());
        let Some((network, spec)) = self.catalog.by_name(&name) else { return };
        let same = spec.subnets.iter().all(|subnet| view.subnets.contains(&subnet.prefix));
        if !same || self.dockers.values().any(|docker| docker.network == network) {
            return;
        }
        let docker = view.docker.clone();
        let naming = Naming::Settled;
        let record = crate::DockerRecord { docker: docker.clone(), network, naming, listed: true };
        effects.push(crate::pool::save(&Record::Docker(record.clone())));
        effects.push(Effect::Notice(format!("network \"{name}\" of Docker was taken up again: its records were lost")));
        self.dockers.insert(docker.clone(), record);
        self.adopt_pools(network, &docker, at.wall, effects);
        effects.extend(self.tell_use(network));
    }

    fn adopt_pools(&mut self, network: NetworkId, docker: &DockerNetworkId, wall: WallTime, effects: &mut Vec<Effect>) {
        let prefixes: Vec<_> = self
            .catalog
            .get(network)
            .map(|spec| spec.subnets.iter().map(|subnet| subnet.prefix).collect())
            .unwrap_or_default();
        for prefix in prefixes {
            let at = At { now: Moment::ZERO, wall };
            if let Ok(mut pool) = self.bound_pool_of(network, prefix, at) {
                pool.claimed = Some(docker.clone());
                pool.requests = 1;
                self.keep_pool(pool, effects);
            }
        }
    }

    /// Asks for addresses that a container will want, before it starts.
    fn prefetch(&mut self, wishes: &[(String, std::net::IpAddr)], effects: &mut Vec<Effect>) {
        for (wanted, address) in wishes {
            let record = self.dockers.values().find(|docker| {
                let name = self.catalog.get(docker.network).map(|spec| spec.name.as_str());
                docker.docker == *wanted || name == Some(wanted.as_str())
            });
            let Some(network) = record.map(|docker| docker.network) else { continue };
            let subnets = self.catalog.get(network).map(|spec| spec.subnets.as_slice()).unwrap_or_default();
            let place = subnets.iter().position(|subnet| subnet.prefix.contains(address));
            let pool = place.and_then(|place| u8::try_from(place).ok()).map(PoolIndex);
            if let Some(ask) = pool.and_then(|pool| self.ipam.ask_for(network, pool, *address)) {
                effects.push(Effect::Ask(ask.from, ask));
            }
        }
    }
}
