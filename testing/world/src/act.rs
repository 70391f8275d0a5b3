//! Plays steps.

use std::collections::BTreeMap;
use std::time::Duration;

use shoal_fabric::Introduction;
use shoal_networks::{NetworkRequest, Refusal, SubnetRequest};
use shoal_trust::{Certificate, Claim};
use shoal_types::{IpNet, NetworkName};

use crate::work::numbered;
use crate::world::World;
use crate::{Situation, Step, Wanted};

/// How long the world's join tokens last.
const TOKEN_LASTS: Duration = Duration::from_secs(600);

impl World {
    /// Does what a step says; what cannot be done is remarked.
    pub(crate) fn act(&mut self, step: &Step) {
        let result = match step {
            Step::Join { host, via } => self.join(*host, *via),
            Step::Leave { host } => self.leave(*host),
            Step::Forget { host, whom } => self.forget(*host, *whom),
            Step::Create { host, network } => self.create(*host, network),
            Step::Delete { host, network } => self.delete(*host, network),
            Step::Clock { host, by_ms } => {
                self.jump(*host, *by_ms);
                Ok(())
            }
            Step::DiskRefuses { host } => {
                self.hosts[*host].disk_refuses = true;
                Ok(())
            }
            Step::DiskWrites { host } => {
                self.hosts[*host].disk_refuses = false;
                Ok(())
            }
            Step::Slow { host, by } => {
                self.hosts[*host].slow = *by;
                self.seen.insert(Situation::SlowHost);
                Ok(())
            }
            Step::Wait(time) => {
                self.pass(*time);
                Ok(())
            }
            Step::Kill { .. }
            | Step::KillAfter { .. }
            | Step::Agent { .. }
            | Step::PowerLoss { .. }
            | Step::Restore { .. } => self.fail(step),
            Step::Drift { host, ppm } => {
                self.seen.extend((*ppm != 0).then_some(Situation::Drifted));
                let now = self.now;
                self.hosts[*host].let_drift(*ppm, now);
                Ok(())
            }
            Step::Backup { host } => {
                self.hosts[*host].back_up();
                Ok(())
            }
            Step::Partition { .. } | Step::Isolate { .. } | Step::OneWay { .. } | Step::Heal => {
                self.rewire(step);
                Ok(())
            }
            _ => self.engine_step(step),
        };
        if let Err(why) = result {
            self.line(&format!("    {why}"));
        }
    }

    pub(crate) fn init(&mut self, host: usize) {
        let root = shoal_trust::FabricRoot::from_seed(self.root_seed);
        self.line(&format!("h{host}: shoal init"));
        let mut failure = None;
        self.with_agent(host, |agent, at| {
            agent.init(&root, at).unwrap_or_else(|why| {
                failure = Some(why);
                Vec::new()
            })
        });
        if let Some(why) = failure {
            self.violate(format!("shoal init fails: {why}"));
        }
    }

    fn join(&mut self, host: usize, via: usize) -> Result<(), String> {
        if host == via || !self.network.connects(host, via) {
            return Err("cannot be reached".into());
        }
        if self.hosts[via].forgotten {
            return Err("the member was put out: whom it lets in, it lets into a fabric of its own".into());
        }
        let Some(introduction) = self.introduce(host, via)? else {
            return Err("the member's agent died over it".into());
        };
        let is_new = self.hosts[host].agent.as_ref().is_some_and(|it| it.identity().is_none());
        let late = is_new
            && self.hosts[via]
                .agent
                .as_ref()
                .is_some_and(|it| it.networks().catalog().iter().next().is_some());
        let again = self.hosts[host].has_left;
        let mut refused = None;
        self.with_agent(host, |agent, at| {
            agent.join(introduction, at).unwrap_or_else(|why| {
                refused = Some(why);
                Vec::new()
            })
        });
        if let Some(why) = refused {
            return Err(why);
        }
        self.hosts[host].has_left = false;
        self.seen.extend(late.then_some(Situation::JoinedLate));
        self.seen.extend(again.then_some(Situation::JoinedAgain));
        self.plan_look(host);
        Ok(())
    }

    /// What the member's transport and its agent do for a host that shows a token.
    fn introduce(&mut self, host: usize, via: usize) -> Result<Option<Introduction>, String> {
        let joiner = &self.hosts[host];
        let agent = joiner.agent.as_ref().ok_or("the agent is off")?;
        let (id, key, name) = (joiner.id, joiner.key.public(), agent.local().name.clone());
        let mut secret = [0; 20];
        secret[..8].copy_from_slice(&self.prng.next_u64().to_be_bytes());
        let mut refused = None;
        let done = self.with_agent(via, |agent, at| match agent.token(secret, TOKEN_LASTS, at) {
            Ok((_, effects)) => effects,
            Err(why) => {
                refused = Some(why);
                Vec::new()
            }
        });
        if let Some(why) = refused {
            return Err(why);
        }
        let (mut welcome, members) = (Err("the agent is off".to_owned()), self.hosts[via].trust.clone());
        let done = done
            && self.with_agent(via, |agent, _| {
                let let_in = agent.let_in(id);
                let (told, effects) =
                    let_in.map_or_else(|why| (Err(why), Vec::new()), |(told, effects)| (Ok(told), effects));
                welcome = told;
                effects
            });
        let member = &self.hosts[via];
        let (Some(trust), true) = (members, done) else { return Ok(None) };
        let (welcome, fabric) = (welcome?, trust.fabric);
        let claim = Claim { fabric, key, name, from: member.at(self.now).wall };
        let certificate = Certificate::issue_by_member(&member.key, claim);
        let members = trust.members.iter().filter(|(id, _)| !trust.forgotten.contains(*id));
        let members = members.map(|(id, key)| (*id, *key)).collect();
        let root_public = trust.root_public;
        Ok(Some(Introduction { certificate, root_public, introducer: member.id, members, welcome }))
    }

    fn leave(&mut self, host: usize) -> Result<(), String> {
        let mut refused = None;
        let done = self.with_agent(host, |agent, at| {
            agent.leave(at).unwrap_or_else(|why| {
                refused = Some(why);
                Vec::new()
            })
        });
        match refused {
            Some(why) => Err(why),
            None if done => {
                self.hosts[host].has_left = true;
                self.seen.insert(Situation::Left);
                Ok(())
            }
            None => Err("the agent is off".into()),
        }
    }

    fn forget(&mut self, host: usize, whom: usize) -> Result<(), String> {
        if self.hosts[host].forgotten {
            return Err("it was forgotten itself".into());
        }
        let (name, mut refused) = (format!("h{whom}"), None);
        let done = self.with_agent(host, |agent, at| match agent.forget(&name, at) {
            Ok((_, effects)) => effects,
            Err(why) => {
                refused = Some(why);
                Vec::new()
            }
        });
        match refused {
            Some(why) => Err(why),
            None if done => {
                self.hosts[whom].forgotten = true;
                self.seen.insert(Situation::Forgotten);
                let unheard = !self.network.connects(host, whom) || self.hosts[whom].agent.is_none();
                self.seen.extend(unheard.then_some(Situation::ForgottenUnheard));
                Ok(())
            }
            None => Err("the agent is off".into()),
        }
    }

    fn create(&mut self, host: usize, wanted: &Wanted) -> Result<(), String> {
        let request = request(wanted).ok_or("no such network can be asked for")?;
        let off = |world: &Self| {
            let networks = world.hosts[host].agent.as_ref()?.networks();
            Some(networks.is_off(networks.catalog().by_name(&request.name)?.0))
        };
        let was_off = off(self) == Some(true);
        let result = self.decide(host, |agent, at| agent.create_network(request.clone(), at));
        if result.is_ok() {
            self.seen.extend(was_off.then_some(Situation::PutBack));
            self.seen.extend((!self.network.is_whole()).then_some(Situation::CreatedWhilePartitioned));
        }
        result.map(|_| ())
    }

    fn delete(&mut self, host: usize, name: &str) -> Result<(), String> {
        let name: NetworkName = name.parse().map_err(|error| format!("{error}"))?;
        let result = self.decide(host, |agent, at| agent.delete_network(&name, at));
        match &result {
            Ok(network) => {
                self.deleted.insert(*network, host);
                self.seen.extend((!self.network.is_whole()).then_some(Situation::DeletedWhilePartitioned));
            }
            Err(why) if why.contains("is in use by") => drop(self.seen.insert(Situation::DeleteRefused)),
            Err(_) => {}
        }
        result.map(|_| ())
    }

    /// Lets an agent decide on a command that it may refuse.
    fn decide<T>(
        &mut self,
        host: usize,
        decide: impl FnOnce(
            &mut shoal_fabric::Fabric,
            shoal_fabric::At,
        ) -> Result<(T, Vec<shoal_fabric::Effect>), Refusal>,
    ) -> Result<T, String> {
        let mut result = Err("the agent is off".to_owned());
        let done = self.with_agent(host, |agent, at| match decide(agent, at) {
            Ok((value, effects)) => {
                result = Ok(value);
                effects
            }
            Err(refusal) => {
                result = Err(refusal.0);
                Vec::new()
            }
        });
        if result.is_ok() && !done { Err("the agent died over it".into()) } else { result }
    }

    fn engine_step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::EngineUp { host } if !self.hosts[*host].engine.up => self.engine_up(*host),
            Step::EngineDown { host } if self.hosts[*host].engine.up => self.engine_down(*host),
            _ => return self.docker(step),
        }
        Ok(())
    }

    /// What users type after `docker`.
    fn docker(&mut self, step: &Step) -> Result<(), String> {
        let (Step::DockerCreate { host, .. }
        | Step::DockerBridge { host, .. }
        | Step::DockerRemove { host, .. }
        | Step::Run { host, .. }
        | Step::Start { host, .. }
        | Step::Stop { host, .. }
        | Step::Remove { host, .. }) = step
        else {
            return Err("nothing to do".into());
        };
        if !self.hosts[*host].engine.up {
            return Err("Cannot connect to the Docker daemon".into());
        }
        match step {
            Step::DockerCreate { host, network, bound } => self.docker_create(*host, network, *bound),
            Step::DockerBridge { host, name } => self.docker_bridge(*host, name),
            Step::DockerRemove { host, network } => {
                let known = self.hosts[*host].engine.by_name(network).cloned();
                let known = known.ok_or_else(|| format!("network {network} not found"))?;
                self.remove_network(*host, &known, None)?;
                self.seen.extend(known.ours.then_some(Situation::TurnedOff));
                Ok(())
            }
            Step::Run { host, container, network, address, restart } => {
                self.docker_run(*host, container, network, *address, *restart)
            }
            Step::Start { host, container } => self.docker_start(*host, container),
            Step::Stop { host, container } => self.docker_stop(*host, container, false),
            Step::Remove { host, container } => self.docker_stop(*host, container, true),
            _ => Ok(()),
        }
    }

    fn fail(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Agent { host } if self.hosts[*host].agent.is_none() => self.start_agent(*host),
            Step::Kill { host } if self.hosts[*host].agent.is_some() => self.kill_agent(*host),
            Step::KillAfter { host, effects } if self.hosts[*host].agent.is_some() => {
                self.hosts[*host].fuse = Some(*effects);
            }
            Step::PowerLoss { host } => {
                self.kill_agent(*host);
                if self.hosts[*host].engine.up {
                    self.engine_down(*host);
                }
                let batches = usize::try_from(self.prng.below(6)).unwrap_or_default();
                let it = &mut self.hosts[*host];
                it.kernel = Default::default();
                if it.disk.lose(batches) {
                    self.seen.insert(Situation::WritesLost);
                }
            }
            Step::Restore { host } => self.restore(*host)?,
            _ => return Err("nothing to do".into()),
        }
        Ok(())
    }

    /// What the host knew since its backup is gone; agent and engine are off.
    fn restore(&mut self, host: usize) -> Result<(), String> {
        let (disk, networks, containers) = self.hosts[host].backup.clone().ok_or("there is no backup")?;
        self.kill_agent(host);
        if self.hosts[host].engine.up {
            self.engine_down(host);
        }
        // What it had deleted and nobody else had heard of was never deleted.
        let others = || self.hosts.iter().filter(|it| it.index != host).filter_map(|it| it.member());
        let heard = |network| others().any(|agent| agent.networks().catalog().get(network).is_none());
        let unheard = self.deleted.iter().filter(|(network, by)| **by == host && !heard(**network));
        let unheard: Vec<_> = unheard.map(|(network, _)| *network).collect();
        self.deleted.retain(|network, _| !unheard.contains(network));
        let it = &mut self.hosts[host];
        (it.disk, it.engine.networks, it.engine.containers) = (disk, networks, containers);
        (it.kernel, it.is_restored, it.is_behind) = (Default::default(), true, true);
        Ok(())
    }

    fn rewire(&mut self, step: &Step) {
        match step {
            Step::Partition { groups } => self.network.part(groups),
            Step::Isolate { host } => self.network.isolate(*host),
            Step::OneWay { from, to } => {
                self.network.cut(*from, *to);
                self.seen.insert(Situation::OneWayLink);
            }
            _ => self.network.heal(),
        }
    }

    fn jump(&mut self, host: usize, by_ms: i64) {
        self.hosts[host].skew_ms += by_ms;
        self.seen.extend((by_ms < 0).then_some(Situation::ClockWentBack));
    }
}

fn request(wanted: &Wanted) -> Option<NetworkRequest> {
    let mut subnets = Vec::new();
    if let Some(prefix) = wanted.prefix() {
        let prefix: IpNet = prefix.parse().ok()?;
        let own = |number| numbered(prefix, number).filter(|_| wanted.gateway);
        let reserved = own(4).map(|address| ("x".to_owned(), address)).into_iter().collect();
        subnets.push(SubnetRequest { prefix, gateway: own(3), dynamic: None, reserved });
    }
    let (labels, options) = (BTreeMap::new(), BTreeMap::new());
    Some(NetworkRequest {
        name: wanted.name.parse().ok()?,
        subnets,
        v6: wanted.v6,
        internal: false,
        labels,
        options,
    })
}
