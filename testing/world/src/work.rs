//! Runs engines: what users and agents ask of them, call by call.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use shoal_networks::{EngineNetwork, EngineReport, EngineRequest, NETWORK_OPTION, Refusal, Reply, Verb};
use shoal_types::{EndpointId, IpNet, LinkName};

use crate::engine::{Container, DockerNetwork, DockerPool};
use crate::network::draw;
use crate::op::{Draft, Next, Op, PoolWish, Starting, Work};
use crate::world::{Event, World};
use crate::{Situation, Wanted};

impl World {
    /// The agent carries out one request to the engine; the next one when this one was answered.
    pub(crate) fn work(&mut self, host: usize) {
        self.hosts[host].working = false;
        let Some(request) = self.hosts[host].requests.pop_front() else { return };
        let engine = &self.hosts[host].engine;
        if !engine.up {
            let down = || "Cannot connect to the Docker daemon".to_owned();
            let report = match request {
                EngineRequest::Create(network) => EngineReport::Created(network.id, Err(down())),
                EngineRequest::Remove(network, docker) => EngineReport::Removed(network, docker, Err(down())),
                EngineRequest::Read(_)
                | EngineRequest::List
                | EngineRequest::Names
                | EngineRequest::Containers(_) => EngineReport::Unreachable(down()),
            };
            return self.answer(host, report);
        }
        match request {
            EngineRequest::Read(docker) => {
                let view = engine.view(&docker);
                self.answer(host, EngineReport::Read(docker, view));
            }
            EngineRequest::List => {
                let views = engine.views();
                self.answer(host, EngineReport::Listed(views));
            }
            EngineRequest::Containers(docker) => {
                let names = engine.containers_of(&docker);
                self.answer(host, EngineReport::Containers(docker, names));
            }
            EngineRequest::Names => {
                let names = engine.names();
                self.answer(host, EngineReport::Names(names));
            }
            EngineRequest::Create(network) => self.create_for_agent(host, &network),
            EngineRequest::Remove(network, docker) => {
                let request = EngineRequest::Remove(network, docker.clone());
                let Some(known) = engine.networks.get(&docker).cloned() else {
                    return self.answer(host, EngineReport::Removed(network, docker, Ok(())));
                };
                let life = self.hosts[host].life;
                if let Err(why) = self.remove_network(host, &known, Some((life, request))) {
                    self.answer(host, EngineReport::Removed(network, docker, Err(why)));
                }
            }
        }
    }

    /// As the agent does it: it looks for the name first.
    fn create_for_agent(&mut self, host: usize, network: &EngineNetwork) {
        let name = network.spec.name.to_string();
        if let Some(known) = self.hosts[host].engine.by_name(&name).cloned() {
            let has = |prefix: IpNet| known.pools.iter().any(|pool| pool.prefix == prefix);
            let same = known.ours && network.spec.subnets.iter().all(|subnet| has(subnet.prefix));
            let taken = || format!("Docker on this host already has a network \"{name}\"");
            if !known.ours {
                self.seen.insert(Situation::NameTakenInDocker);
            }
            let result = if same { Ok(known.id) } else { Err(taken()) };
            return self.answer(host, EngineReport::Created(network.id, result));
        }
        let options = network.spec.options.clone();
        let named = options.get(NETWORK_OPTION).map(|name| (NETWORK_OPTION.to_owned(), name.clone()));
        let asked = network.spec.subnets.iter().map(|subnet| PoolWish {
            prefix: Some(subnet.prefix),
            range: subnet.dynamic,
            gateway: Some(subnet.gateway),
            aux: subnet.reserved.clone(),
            v6: matches!(subnet.prefix, IpNet::V6(_)),
        });
        let draft = Draft {
            id: self.docker_id(),
            name,
            labels: network.spec.labels.clone(),
            options,
            ipam_options: named.into_iter().collect(),
            internal: network.spec.internal,
            asked: asked.collect(),
            pools: Vec::new(),
        };
        let answers = Some((self.hosts[host].life, EngineRequest::Create(Box::new(network.clone()))));
        if self.hosts[host].engine.is_busy_with(&draft.name) {
            return self
                .answer(host, EngineReport::Created(network.id, Err("the name is being worked on".into())));
        }
        self.begin(host, Op::create(draft, answers));
    }

    /// `docker network create`.
    pub(crate) fn docker_create(&mut self, host: usize, wanted: &Wanted, bound: bool) -> Result<(), String> {
        let engine = &self.hosts[host].engine;
        if engine.by_name(&wanted.name).is_some() || engine.is_busy_with(&wanted.name) {
            return Err(format!("network with name {} already exists", wanted.name));
        }
        let option = || BTreeMap::from([(NETWORK_OPTION.to_owned(), wanted.name.clone())]);
        let options = if bound { option() } else { BTreeMap::new() };
        let base = wanted.prefix().and_then(|text| text.parse::<IpNet>().ok());
        let own = |number| base.filter(|_| wanted.gateway).and_then(|prefix| numbered(prefix, number));
        let mut asked = vec![PoolWish { prefix: base, gateway: own(3), ..PoolWish::default() }];
        asked[0].aux = own(4).map(|address| ("x".to_owned(), address)).into_iter().collect();
        if wanted.v6 {
            asked.push(PoolWish { v6: true, ..PoolWish::default() });
        }
        let draft = Draft {
            id: self.docker_id(),
            name: wanted.name.clone(),
            labels: BTreeMap::from([("made-by".to_owned(), "hand".to_owned())]),
            ipam_options: options.clone(),
            options,
            internal: false,
            asked,
            pools: Vec::new(),
        };
        self.begin(host, Op::create(draft, None));
        Ok(())
    }

    /// `docker network create -d bridge`: no call of our driver.
    pub(crate) fn docker_bridge(&mut self, host: usize, name: &str) -> Result<(), String> {
        let engine = &self.hosts[host].engine;
        if engine.by_name(name).is_some() || engine.is_busy_with(name) {
            return Err(format!("network with name {name} already exists"));
        }
        let third = u8::try_from(18 + engine.networks.len()).unwrap_or(250);
        let id = self.docker_id();
        let prefix = format!("172.{third}.0.0/16").parse().map_err(|error| format!("{error}"))?;
        let pools = vec![DockerPool { id: String::new(), prefix, gateway: None, aux: BTreeMap::new() }];
        let (labels, options, ours) = (BTreeMap::new(), BTreeMap::new(), false);
        let network = DockerNetwork { id: id.clone(), name: name.to_owned(), ours, labels, options, pools };
        self.hosts[host].engine.networks.insert(id, network);
        self.plan_look(host);
        Ok(())
    }

    /// `docker network rm`, by its user or by the agent.
    pub(crate) fn remove_network(
        &mut self,
        host: usize,
        network: &DockerNetwork,
        answers: Option<(u64, EngineRequest)>,
    ) -> Result<(), String> {
        let engine = &mut self.hosts[host].engine;
        if engine.is_in_use(&network.id) {
            return Err(format!("network {} has active endpoints", network.name));
        }
        if engine.is_busy_with(&network.name) {
            return Err(format!("network {} is being worked on", network.name));
        }
        engine.networks.remove(&network.id);
        self.begin(host, Op::remove(network, answers));
        Ok(())
    }

    /// `docker run`: the container is made whatever becomes of its start.
    pub(crate) fn docker_run(
        &mut self,
        host: usize,
        name: &str,
        network: &str,
        address: Option<u8>,
        restart: bool,
    ) -> Result<(), String> {
        let engine = &mut self.hosts[host].engine;
        if engine.containers.contains_key(name) {
            return Err(format!("the container name {name} is already in use"));
        }
        let known = engine.by_name(network).filter(|network| network.ours);
        let known = known.ok_or_else(|| format!("network {network} not found"))?;
        let wish = known.pools.first().zip(address).and_then(|(pool, number)| numbered(pool.prefix, number));
        let container = Container { docker: known.id.clone(), wish, restart, attached: None };
        engine.containers.insert(name.to_owned(), container);
        engine.made.push(name.to_owned());
        self.plan_look(host);
        self.docker_start(host, name)
    }

    /// `docker start`.
    pub(crate) fn docker_start(&mut self, host: usize, name: &str) -> Result<(), String> {
        let endpoint = self.endpoint_id();
        let engine = &self.hosts[host].engine;
        let container = engine.containers.get(name).ok_or_else(|| format!("no such container: {name}"))?;
        if container.attached.is_some() || engine.is_busy_with(name) {
            return Err(format!("container {name} runs, or is being worked on"));
        }
        let Some(network) = engine.networks.get(&container.docker) else {
            self.seen.insert(Situation::NetworkGone);
            return Err(format!("network {} not found", container.docker));
        };
        let wish = |index: usize| container.wish.filter(|_| index == 0);
        let pools =
            network.pools.iter().enumerate().map(|(index, pool)| (pool.id.clone(), wish(index))).collect();
        let (docker, container, addresses) = (network.id.clone(), name.to_owned(), Vec::new());
        let endpoint = endpoint.ok_or("no endpoint id")?;
        self.begin(host, Op::start(Starting { container, docker, pools, addresses, endpoint, made: false }));
        Ok(())
    }

    /// `docker stop`, `docker rm -f`.
    pub(crate) fn docker_stop(&mut self, host: usize, name: &str, forget: bool) -> Result<(), String> {
        let engine = &self.hosts[host].engine;
        let container = engine.containers.get(name).ok_or_else(|| format!("no such container: {name}"))?;
        if engine.is_busy_with(name) {
            return Err(format!("container {name} is being worked on"));
        }
        let op = Op::stop(name, container, forget);
        self.begin(host, op);
        Ok(())
    }

    pub(crate) fn begin(&mut self, host: usize, op: Op) {
        let id = self.hosts[host].engine.add(op);
        self.go_on_later(host, id);
    }

    pub(crate) fn go_on_later(&mut self, host: usize, op: u64) {
        let engine_life = self.hosts[host].engine.life;
        let delay = draw(&mut self.prng, &self.options.engine.call) + self.hosts[host].slow;
        self.after(delay, Event::Op { host, engine_life, op });
    }

    /// An op's next call.
    pub(crate) fn go_on(&mut self, host: usize, op: u64) {
        match self.hosts[host].engine.next(op) {
            Next::Done => self.finish(host, op),
            Next::Pause => self.go_on_later(host, op),
            Next::Start(container) => {
                self.hosts[host].engine.ops.remove(&op);
                if let Err(why) = self.docker_start(host, &container) {
                    self.remark(host, &format!("docker start {container}: {why}"));
                }
            }
            Next::Call(verb) => match self.verb(host, (*verb).clone()) {
                Some(reply) => self.replied(host, op, &verb, reply),
                None => self.not_replied(host, op),
            },
        }
    }

    fn replied(&mut self, host: usize, op: u64, verb: &Verb, reply: Result<Reply, Refusal>) {
        self.look_at_reply(host, verb, &reply);
        if self.hosts[host].engine.ops.get(&op).is_some_and(|op| op.tries > 0) {
            self.seen.insert(Situation::VerbRepeated);
        }
        self.hosts[host].engine.answered(op, reply);
        self.tell_networks(host);
        self.go_on_later(host, op);
    }

    fn not_replied(&mut self, host: usize, op: u64) {
        let engine_life = self.hosts[host].engine.life;
        match self.hosts[host].engine.unanswered(op) {
            Some(seconds) => self.after(Duration::from_secs(seconds), Event::Op { host, engine_life, op }),
            None => self.go_on_later(host, op),
        }
    }

    /// Notes of which network of the fabric an attachment is, while the driver knows.
    fn tell_networks(&mut self, host: usize) {
        let it = &mut self.hosts[host];
        let Some(agent) = &it.agent else { return };
        for container in it.engine.containers.values_mut() {
            let Some(attached) = container.attached.as_mut().filter(|attached| attached.network.is_none())
            else {
                continue;
            };
            let found = agent.networks().docker_networks().find(|record| record.docker == attached.docker);
            attached.network = found.map(|record| record.network);
        }
    }

    /// What must hold of single answers.
    fn look_at_reply(&mut self, host: usize, verb: &Verb, reply: &Result<Reply, Refusal>) {
        match (verb, reply) {
            (Verb::Join { endpoint, .. }, Ok(_)) => {
                let (link, _) = LinkName::pair_of(endpoint);
                if !self.hosts[host].kernel.plan.links.contains_key(&link) {
                    self.violate(format!("h{host}: Join was granted, but link {link} is not there"));
                }
            }
            (Verb::RequestAddress { address: Some(wish), gateway: false, .. }, Err(refusal)) => {
                let wish = wish.to_string();
                if refusal.0.contains("has been asked to give it") {
                    self.hosts[host].refused_fixed.insert(wish, refusal.0.clone());
                }
            }
            (Verb::RequestAddress { address: Some(wish), gateway: false, .. }, Ok(_))
                if self.hosts[host].refused_fixed.remove(&wish.to_string()).is_some() =>
            {
                self.seen.insert(Situation::OwnedElsewhereThenGot);
            }
            (Verb::CreateEndpoint { .. }, Err(refusal)) if refusal.0.contains("already has a network") => {
                self.seen.insert(Situation::NameRefused);
            }
            _ => {}
        }
    }

    fn finish(&mut self, host: usize, op: u64) {
        let Some(op) = self.hosts[host].engine.ops.remove(&op) else { return };
        if let Some(why) = &op.failure {
            self.remark(host, &format!("{}: refused: {why}", op.object));
        }
        self.plan_look(host);
        let Some((_, request)) = op.answers.filter(|(life, _)| *life == self.hosts[host].life) else {
            return;
        };
        let result = op.failure.map_or(Ok(()), Err);
        let report = match (request, op.work) {
            (EngineRequest::Create(network), Work::Create(draft)) => {
                EngineReport::Created(network.id, result.map(|()| draft.id))
            }
            (EngineRequest::Remove(network, docker), _) => EngineReport::Removed(network, docker, result),
            _ => return,
        };
        self.answer(host, report);
    }

    /// The engine answers the agent's request; the agent goes on to its next one.
    fn answer(&mut self, host: usize, report: EngineReport) {
        let life = self.hosts[host].life;
        let delay = draw(&mut self.prng, &self.options.engine.answer);
        self.after(delay, Event::Report { host, life, report });
        self.plan_work_after(host, delay);
    }

    pub(crate) fn plan_work(&mut self, host: usize) {
        self.plan_work_after(host, Duration::from_micros(200));
    }

    fn plan_work_after(&mut self, host: usize, delay: Duration) {
        let it = &mut self.hosts[host];
        let busy =
            it.engine.ops.values().any(|op| op.answers.as_ref().is_some_and(|(life, _)| *life == it.life));
        if !it.working && !busy && !it.requests.is_empty() {
            it.working = true;
            let life = it.life;
            self.after(delay, Event::Work { host, life });
        }
    }

    pub(crate) fn engine_down(&mut self, host: usize) {
        if self.hosts[host].engine.die() {
            self.seen.insert(Situation::EngineDiedAtWork);
        }
        // Whoever waited for an answer is told that the connection broke.
        let it = &mut self.hosts[host];
        it.working = false;
        self.plan_work(host);
    }

    pub(crate) fn engine_up(&mut self, host: usize) {
        let (begun, left) = self.hosts[host].engine.start(&mut self.prng);
        if left {
            self.seen.insert(Situation::EndpointNeverDeleted);
        }
        begun.into_iter().for_each(|op| self.go_on_later(host, op));
        self.plan_look(host);
        self.plan_work(host);
    }

    fn docker_id(&mut self) -> String {
        (0..4).map(|_| format!("{:016x}", self.prng.next_u64())).collect()
    }

    fn endpoint_id(&mut self) -> Option<EndpointId> {
        self.docker_id().parse().ok()
    }
}

/// An address of a subnet by its number.
pub(crate) fn numbered(prefix: IpNet, number: u8) -> Option<IpAddr> {
    let address = match prefix.network() {
        IpAddr::V4(network) => IpAddr::V4((u32::from(network) + u32::from(number)).into()),
        IpAddr::V6(network) => IpAddr::V6((u128::from(network) + u128::from(number)).into()),
    };
    prefix.contains(&address).then_some(address)
}
