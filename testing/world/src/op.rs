//! Work of a container engine that takes several calls of the driver, in the order in which dockerd 20.10 makes them.
//!
//! ```text
//!   create   per pool: RequestPool, RequestAddress (gateway, unless it came with the pool), RequestAddress (reserved);
//!            CreateNetwork; later the network is listed.     failed: ReleaseAddress, ReleasePool
//!   remove   per pool: ReleaseAddress (gateway), ReleasePool; DeleteNetwork. Nothing of it can fail.
//!   start    per pool: RequestAddress; CreateEndpoint; Join. failed: DeleteEndpoint, ReleaseAddress
//!   stop     Leave; DeleteEndpoint; ReleaseAddress
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use shoal_networks::{DockerNetworkId, EngineRequest, LOCAL_SPACE, PoolData, PoolId, Refusal, Reply, Verb};
use shoal_types::{EndpointId, IpNet};

use crate::engine::{Attachment, Container, DockerNetwork, DockerPool, Engine};

/// Work under way.
#[derive(Debug)]
pub(crate) struct Op {
    /// The network's name or the container's: dockerd locks it.
    pub(crate) object: String,
    pub(crate) work: Work,
    pub(crate) tasks: VecDeque<Task>,
    /// How often the driver's socket was found dead for the present task.
    pub(crate) tries: u32,
    pub(crate) failure: Option<String>,
    /// The request of the agent that is answered when the work is done, and which life of the agent made it.
    pub(crate) answers: Option<(u64, EngineRequest)>,
}

/// What the work is for.
#[derive(Debug)]
pub(crate) enum Work {
    Create(Draft),
    Remove,
    Start(Starting),
    Stop,
}

/// A network in the making.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) id: DockerNetworkId,
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) ipam_options: BTreeMap<String, String>,
    pub(crate) internal: bool,
    pub(crate) asked: Vec<PoolWish>,
    pub(crate) pools: Vec<DockerPool>,
}

/// A pool as it is asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct PoolWish {
    pub(crate) prefix: Option<IpNet>,
    pub(crate) range: Option<IpNet>,
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) aux: BTreeMap<String, IpAddr>,
    pub(crate) v6: bool,
}

/// A container that is being started.
#[derive(Debug, Clone)]
pub(crate) struct Starting {
    pub(crate) container: String,
    pub(crate) docker: DockerNetworkId,
    pub(crate) pools: Vec<(PoolId, Option<IpAddr>)>,
    pub(crate) addresses: Vec<(PoolId, IpNet)>,
    pub(crate) endpoint: EndpointId,
    pub(crate) made: bool,
}

/// One thing to do next.
#[derive(Debug, Clone)]
pub(crate) enum Task {
    RequestPool(usize),
    Gateway(usize),
    Aux(usize, IpAddr),
    CreateNetwork,
    List,
    RequestAddress(usize),
    CreateEndpoint,
    Join,
    Leave(DockerNetworkId, EndpointId),
    DeleteEndpoint(DockerNetworkId, EndpointId),
    ReleaseAddress(PoolId, IpAddr),
    ReleasePool(PoolId),
    DeleteNetwork(DockerNetworkId),
    /// The container is gone.
    Forget(String),
    /// `--restart always`.
    StartAgain(String),
}

/// What an op does next.
#[derive(Debug)]
pub(crate) enum Next {
    Call(Box<Verb>),
    /// Nothing for the driver; go on a little later.
    Pause,
    /// A container wants to be started.
    Start(String),
    Done,
}

impl Op {
    pub(crate) fn create(draft: Draft, answers: Option<(u64, EngineRequest)>) -> Self {
        let mut tasks: VecDeque<Task> = (0..draft.asked.len()).map(Task::RequestPool).collect();
        tasks.extend([Task::CreateNetwork, Task::List]);
        Self {
            object: draft.name.clone(),
            work: Work::Create(draft),
            tasks,
            tries: 0,
            failure: None,
            answers,
        }
    }

    pub(crate) fn remove(network: &DockerNetwork, answers: Option<(u64, EngineRequest)>) -> Self {
        let mut tasks = VecDeque::new();
        for pool in network.pools.iter().filter(|_| network.ours) {
            tasks.extend(pool.gateway.map(|gateway| Task::ReleaseAddress(pool.id.clone(), gateway)));
            tasks.push_back(Task::ReleasePool(pool.id.clone()));
        }
        tasks.extend(network.ours.then(|| Task::DeleteNetwork(network.id.clone())));
        let (object, work) = (network.name.clone(), Work::Remove);
        Self { object, work, tasks, tries: 0, failure: None, answers }
    }

    pub(crate) fn start(starting: Starting) -> Self {
        let mut tasks: VecDeque<Task> = (0..starting.pools.len()).map(Task::RequestAddress).collect();
        tasks.extend([Task::CreateEndpoint, Task::Join]);
        let (object, work) = (starting.container.clone(), Work::Start(starting));
        Self { object, work, tasks, tries: 0, failure: None, answers: None }
    }

    pub(crate) fn stop(name: &str, container: &Container, forget: bool) -> Self {
        let mut tasks = VecDeque::new();
        if let Some(attached) = &container.attached {
            tasks.push_back(Task::Leave(attached.docker.clone(), attached.endpoint.clone()));
            tasks.push_back(Task::DeleteEndpoint(attached.docker.clone(), attached.endpoint.clone()));
            tasks.extend(
                attached.addresses.iter().map(|(pool, net)| Task::ReleaseAddress(pool.clone(), net.addr())),
            );
        }
        tasks.extend(forget.then(|| Task::Forget(name.to_owned())));
        Self { object: name.to_owned(), work: Work::Stop, tasks, tries: 0, failure: None, answers: None }
    }

    /// What a starting engine does about a container that died with it; `tells`: the driver hears of the endpoint.
    pub(crate) fn cleanup(name: &str, attached: &Attachment, tells: bool) -> Self {
        let (docker, wish, restart) = (attached.docker.clone(), None, false);
        let container = Container { docker, wish, restart, attached: Some(attached.clone()) };
        let mut op = Self::stop(name, &container, false);
        op.tasks.retain(|task| tells || matches!(task, Task::ReleaseAddress(..)));
        op
    }

    /// The verb of the present task.
    fn verb(&self, task: &Task) -> Option<Verb> {
        let draft = if let Work::Create(draft) = &self.work { Some(draft) } else { None };
        let starting = if let Work::Start(starting) = &self.work { Some(starting) } else { None };
        Some(match task {
            Task::RequestPool(index) => {
                let wish = draft?.asked.get(*index)?;
                let (space, options) = (LOCAL_SPACE.to_owned(), draft?.ipam_options.clone());
                Verb::RequestPool { space, pool: wish.prefix, sub_pool: wish.range, options, v6: wish.v6 }
            }
            Task::Gateway(index) => {
                let address = draft?.asked.get(*index)?.gateway;
                Verb::RequestAddress { pool: draft?.pools.get(*index)?.id.clone(), address, gateway: true }
            }
            Task::Aux(index, address) => {
                let pool = draft?.pools.get(*index)?.id.clone();
                Verb::RequestAddress { pool, address: Some(*address), gateway: false }
            }
            Task::CreateNetwork => {
                let (network, options, internal) =
                    (draft?.id.clone(), draft?.options.clone(), draft?.internal);
                let data = |pool: &DockerPool| PoolData {
                    space: LOCAL_SPACE.to_owned(),
                    pool: pool.prefix,
                    gateway: pool.gateway,
                    aux: pool.aux.clone(),
                };
                Verb::CreateNetwork {
                    network,
                    options,
                    internal,
                    pools: draft?.pools.iter().map(data).collect(),
                }
            }
            Task::RequestAddress(index) => {
                let (pool, address) = starting?.pools.get(*index)?.clone();
                Verb::RequestAddress { pool, address, gateway: false }
            }
            Task::CreateEndpoint => {
                let starting = starting?;
                let of = |v6: bool| {
                    starting
                        .addresses
                        .iter()
                        .map(|(_, net)| *net)
                        .find(|net| matches!(net, IpNet::V6(_)) == v6)
                };
                let (network, endpoint) = (starting.docker.clone(), starting.endpoint.clone());
                Verb::CreateEndpoint { network, endpoint, v4: of(false), v6: of(true), mac: None }
            }
            Task::Join => {
                let (network, endpoint) = (starting?.docker.clone(), starting?.endpoint.clone());
                Verb::Join { network, endpoint, sandbox: "/run/docker/netns/x".into() }
            }
            Task::Leave(network, endpoint) => {
                Verb::Leave { network: network.clone(), endpoint: endpoint.clone() }
            }
            Task::DeleteEndpoint(network, endpoint) => {
                Verb::DeleteEndpoint { network: network.clone(), endpoint: endpoint.clone() }
            }
            Task::ReleaseAddress(pool, address) => {
                Verb::ReleaseAddress { pool: pool.clone(), address: *address }
            }
            Task::ReleasePool(pool) => Verb::ReleasePool { pool: pool.clone() },
            Task::DeleteNetwork(network) => Verb::DeleteNetwork { network: network.clone() },
            Task::List | Task::Forget(_) | Task::StartAgain(_) => return None,
        })
    }

    /// Takes the driver's answer to the present task.
    fn take(&mut self, task: &Task, reply: Result<Reply, Refusal>) {
        match (task, reply) {
            (Task::RequestPool(index), Ok(Reply::Pool { id, prefix, gateway })) => {
                self.got_pool(*index, id, prefix, gateway);
            }
            (Task::Gateway(index), Ok(Reply::Address(net))) => self.got_gateway(*index, net),
            (Task::RequestAddress(index), Ok(Reply::Address(net))) => self.got_address(*index, net),
            (Task::CreateEndpoint, Ok(_)) => {
                if let Work::Start(starting) = &mut self.work {
                    starting.made = true;
                }
            }
            (_, Ok(_)) => {}
            (_, Err(refusal)) => self.fail(refusal.0),
        }
    }

    fn got_pool(&mut self, index: usize, id: PoolId, prefix: IpNet, gateway: Option<IpNet>) {
        let Work::Create(draft) = &mut self.work else { return };
        let Some(wish) = draft.asked.get(index) else { return };
        let told = gateway.map(|net| net.addr()).filter(|_| wish.gateway.is_none());
        draft.pools.push(DockerPool { id, prefix, gateway: told.or(wish.gateway), aux: wish.aux.clone() });
        wish.aux.values().rev().for_each(|address| self.tasks.push_front(Task::Aux(index, *address)));
        if told.is_none() {
            self.tasks.push_front(Task::Gateway(index));
        }
    }

    fn got_gateway(&mut self, index: usize, net: IpNet) {
        let Work::Create(draft) = &mut self.work else { return };
        if let Some(pool) = draft.pools.get_mut(index) {
            pool.gateway = Some(net.addr());
        }
    }

    fn got_address(&mut self, index: usize, net: IpNet) {
        let Work::Start(starting) = &mut self.work else { return };
        if let Some((pool, _)) = starting.pools.get(index) {
            starting.addresses.push((pool.clone(), net));
        }
    }

    /// Puts what undoes the work so far in the place of what was left to do. What undoes cannot fail.
    fn fail(&mut self, why: String) {
        let mut undo = VecDeque::new();
        match &self.work {
            Work::Create(draft) => {
                for pool in &draft.pools {
                    undo.extend(pool.gateway.map(|gateway| Task::ReleaseAddress(pool.id.clone(), gateway)));
                    undo.push_back(Task::ReleasePool(pool.id.clone()));
                }
            }
            Work::Start(starting) => {
                let made = starting.made.then(|| (starting.docker.clone(), starting.endpoint.clone()));
                undo.extend(made.map(|(docker, endpoint)| Task::DeleteEndpoint(docker, endpoint)));
                undo.extend(
                    starting
                        .addresses
                        .iter()
                        .map(|(pool, net)| Task::ReleaseAddress(pool.clone(), net.addr())),
                );
            }
            Work::Remove | Work::Stop => return,
        }
        if self.failure.is_none() {
            (self.tasks, self.failure) = (undo, Some(why));
        }
    }
}

impl Engine {
    /// What an op wants next.
    pub(crate) fn next(&mut self, id: u64) -> Next {
        let Some(op) = self.ops.get_mut(&id) else { return Next::Done };
        let Some(task) = op.tasks.front().cloned() else { return Next::Done };
        if let Some(verb) = op.verb(&task) {
            return Next::Call(Box::new(verb));
        }
        op.tasks.pop_front();
        match task {
            Task::List => self.list(id),
            Task::Forget(container) => drop(self.containers.remove(&container)),
            Task::StartAgain(container) => return Next::Start(container),
            _ => {}
        }
        Next::Pause
    }

    /// The driver answered an op's present call.
    pub(crate) fn answered(&mut self, id: u64, reply: Result<Reply, Refusal>) {
        let Some(op) = self.ops.get_mut(&id) else { return };
        op.tries = 0;
        let Some(task) = op.tasks.pop_front() else { return };
        let joined = matches!(task, Task::Join) && reply.is_ok();
        op.take(&task, reply);
        if joined {
            self.attach(id);
        }
        if let Task::Leave(_, endpoint) = task {
            self.detach(&endpoint);
        }
    }

    /// The driver's socket is dead. Says when to try again, in seconds; `None`: the engine gives up.
    pub(crate) fn unanswered(&mut self, id: u64) -> Option<u64> {
        let op = self.ops.get_mut(&id)?;
        op.tries += 1;
        if op.tries <= 4 {
            return Some(1 << (op.tries - 1));
        }
        op.tries = 0;
        let task = op.tasks.pop_front();
        if op.failure.is_none() {
            op.fail("the driver's socket does not answer".into());
        }
        if let Some(Task::Leave(_, endpoint)) = task {
            self.detach(&endpoint);
        }
        None
    }

    fn list(&mut self, id: u64) {
        let Some(Op { work: Work::Create(draft), .. }) = self.ops.get(&id) else { return };
        let Draft { id, name, labels, options, pools, .. } = draft.clone();
        self.networks.insert(id.clone(), DockerNetwork { id, name, ours: true, labels, options, pools });
    }

    fn attach(&mut self, id: u64) {
        let Some(Op { work: Work::Start(starting), .. }) = self.ops.get(&id) else { return };
        let Starting { container, docker, addresses, endpoint, .. } = starting.clone();
        if let Some(container) = self.containers.get_mut(&container) {
            container.attached = Some(Attachment { docker, network: None, endpoint, addresses });
        }
    }

    fn detach(&mut self, endpoint: &EndpointId) {
        for container in self.containers.values_mut() {
            if container.attached.as_ref().is_some_and(|it| it.endpoint == *endpoint) {
                container.attached = None;
            }
        }
    }
}
