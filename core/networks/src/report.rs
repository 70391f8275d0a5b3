//! What the engine answers and tells.
//!
//! The engine is asked and watched by several tasks at once, so an answer may describe a moment before another one that
//! arrived earlier. A list that lacks a network is therefore only a reason to doubt: the network is looked for
//! by its id, and given up when it is not found either.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use shoal_types::{Moment, NetworkId, PoolIndex, WallTime};

use crate::pool::save;
use crate::record::{Naming, Record};
use crate::work::Job;
use crate::{
    At, DockerNetworkId, DockerRecord, Effect, EngineReport, EngineRequest, EngineView, Networks, sentence,
};

/// How long after CreateNetwork the engine may still not know its own network.
const NOT_YET_MAX: Duration = Duration::from_secs(10);

/// Something that is wrong, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub subject: String,
    /// What was found: a sentence.
    pub finding: String,
    /// What to do: a sentence.
    pub mend: String,
}

impl Networks {
    /// Takes in what the engine answered.
    pub fn engine(&mut self, report: EngineReport, at: At) -> Vec<Effect> {
        let mut effects = Vec::new();
        match report {
            EngineReport::Read(docker, view) => self.read(&docker, view, at, &mut effects),
            EngineReport::Created(network, result) => self.created(network, result, at, &mut effects),
            EngineReport::Removed(network, docker, result) => {
                self.removed(network, &docker, result, at, &mut effects);
            }
            EngineReport::Listed(views) => self.listed(&views, at, &mut effects),
            EngineReport::Containers(docker, names) => {
                if let Some(network) = self.dockers.get(&docker).map(|record| record.network) {
                    effects.extend(self.tell_containers(network, names));
                }
            }
            EngineReport::Wishes(wishes) => self.prefetch(&wishes, &mut effects),
            EngineReport::Names(names) => {
                self.name_endpoints(&names, &mut effects);
                self.drop_unknown_endpoints(&names, at.now, &mut effects);
            }
            EngineReport::Attached(list) => self.compare_attached(list, at.now),
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
        if let Some(view) = view {
            self.work.done(&job);
            self.doubts.remove(docker);
            return self.named(&view, at, effects);
        }
        let Some(record) = self.dockers.get(docker).cloned() else { return };
        let doubted = self.doubts.get(docker).copied();
        self.doubts.entry(docker.clone()).or_insert(at.now);
        let gone = doubted.is_some_and(|since| record.listed || at.now.since(since) >= NOT_YET_MAX);
        if !gone {
            // Asked between CreateNetwork's answer and the engine's own bookkeeping: it will be there in a moment.
            self.work.failed(&job, at.now);
            return;
        }
        if !record.listed {
            effects.push(Effect::Notice(sentence::never_seen(docker)));
        }
        self.lost(&record, effects);
    }

    /// The engine no longer has a network, and nobody was told.
    fn lost(&mut self, record: &DockerRecord, effects: &mut Vec<Effect>) {
        self.drop_docker_network(&record.docker, effects);
        // Removed by Docker's user while the agent was away, unless its creation was cut short before it was ever seen.
        if record.listed && record.naming == Naming::Settled && self.catalog.get(record.network).is_some() {
            self.mark_off(record.network, effects);
        }
        effects.extend(self.tell_use(record.network));
    }

    fn created(
        &mut self,
        network: NetworkId,
        result: Result<DockerNetworkId, String>,
        at: At,
        effects: &mut Vec<Effect>,
    ) {
        let job = Job::Create(network);
        let docker = match result {
            Ok(docker) => docker,
            Err(reason) => {
                self.work.failed(&job, at.now);
                return self.work.refused(network, reason);
            }
        };
        match self.dockers.get(&docker) {
            Some(record) if record.network == network => self.work.done(&job),
            Some(_) => {
                self.work.failed(&job, at.now);
                self.work.refused(network, sentence::name_held(&docker));
            }
            // The engine has it and we have no record of it: the list says whether it can be taken up again.
            None => {
                if self.work.failed(&job, at.now) > 2 {
                    self.work.refused(network, sentence::unknown_network(&docker).0);
                }
                effects.push(Effect::Engine(EngineRequest::List));
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
        if let Err(reason) = result {
            let told = sentence::cannot_remove(docker, &reason);
            if self.work.failed(&Job::Remove(docker.clone()), at.now) == 1 {
                effects.push(Effect::Notice(told.clone()));
            }
            // It may be that there is nothing left to remove.
            self.doubts.entry(docker.clone()).or_insert(at.now);
            return self.work.refused(network, told);
        }
        self.drop_docker_network(docker, effects);
        effects.extend(self.tell_use(network));
    }

    /// Networks of the engine on this host that the fabric does not know and has not deleted.
    pub(crate) fn unknown_findings(&self) -> impl Iterator<Item = Finding> {
        let known = |network| self.catalog.winner(network).is_some();
        let waits = |network| self.catalog.waiting().any(|(_, fact)| fact.id == network);
        let unknown = self.dockers.values().filter(move |docker| {
            docker.naming == Naming::Settled && !known(docker.network) && !waits(docker.network)
        });
        unknown.map(|record| {
            let short: String = record.docker.chars().take(12).collect();
            let finding =
                "Docker on this host has this network, and no host of the fabric knows it (any more): its containers reach nobody.";
            let mend = format!("Detach its containers, and remove it with `docker network rm {short}`.");
            Finding { subject: format!("Docker network {short}"), finding: finding.into(), mend }
        })
    }

    /// The engine's whole list: what it lost while nobody was told, and what it has that we do not know.
    fn listed(&mut self, views: &[EngineView], at: At, effects: &mut Vec<Effect>) {
        let ours: BTreeMap<&DockerNetworkId, &EngineView> =
            views.iter().filter(|view| view.ours).map(|view| (&view.docker, view)).collect();
        let missing = self.dockers.values().filter(|it| it.listed && !ours.contains_key(&it.docker));
        let missing: Vec<DockerNetworkId> = missing.map(|record| record.docker.clone()).collect();
        for docker in missing {
            self.doubts.entry(docker).or_insert(at.now);
        }
        for view in ours.into_values() {
            self.doubts.remove(&view.docker);
            if self.dockers.contains_key(&view.docker) {
                self.named(view, at, effects);
            } else {
                self.adopt(view, at, effects);
            }
        }
        self.work.hurry(at.now);
    }

    /// The engine has a network of ours that we have no record of: our state was lost. If the fabric has it under
    /// that name, it is taken up again with its pools. One that is off this host stays off: the list is older
    /// than that.
    fn adopt(&mut self, view: &EngineView, at: At, effects: &mut Vec<Effect>) {
        let option = view.options.get(crate::NETWORK_OPTION).and_then(|name| name.parse().ok());
        let name = option.unwrap_or_else(|| view.name.clone());
        let Some((network, spec)) = self.catalog.by_name(&name) else { return };
        let same = spec.subnets.iter().all(|subnet| view.subnets.contains(&subnet.prefix));
        let here = self.dockers.values().any(|docker| docker.network == network);
        if !same || here || self.off.contains(&network) {
            return;
        }
        let docker = view.docker.clone();
        let naming = Naming::Settled;
        let record = DockerRecord { docker: docker.clone(), network, naming, listed: true };
        effects.push(save(&Record::Docker(record.clone())));
        effects.push(Effect::Notice(format!(
            "network \"{name}\" of Docker was taken up again: its records were lost"
        )));
        self.dockers.insert(docker.clone(), record);
        self.adopt_pools(network, &docker, at.wall, effects);
        effects.extend(self.tell_use(network));
    }

    fn adopt_pools(
        &mut self,
        network: NetworkId,
        docker: &DockerNetworkId,
        wall: WallTime,
        effects: &mut Vec<Effect>,
    ) {
        let subnets = self.catalog.get(network).map(|spec| spec.subnets.as_slice()).unwrap_or_default();
        let prefixes: Vec<_> = subnets.iter().map(|subnet| subnet.prefix).collect();
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
    fn prefetch(&mut self, wishes: &[(String, IpAddr)], effects: &mut Vec<Effect>) {
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
