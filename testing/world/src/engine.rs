//! A container engine: what dockerd keeps, and what it does with the driver.
//!
//! Networks and containers outlive a restart of the engine, as they do on disk. Work that takes several calls of the
//! driver is an [`Op`](crate::op::Op), done call by call so that anything can happen in between. Quirks that are
//! played: the driver hears of a removal when it can no longer be refused; a network is in the engine's list only
//! some time after the driver has agreed to it; after its death the engine forgets work half done and may release an
//! address without ever deleting its endpoint; a stopped container keeps the id of its network.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use shoal_kit::Prng;
use shoal_networks::{DockerNetworkId, EngineReport, EngineView, PoolId};
use shoal_types::{EndpointId, IpNet, NetworkId};

use crate::op::{Op, Task, Work};

/// What dockerd keeps.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    pub(crate) up: bool,
    /// Counts starts, so that nothing of an earlier one goes on.
    pub(crate) life: u64,
    pub(crate) networks: BTreeMap<DockerNetworkId, DockerNetwork>,
    pub(crate) containers: BTreeMap<String, Container>,
    pub(crate) ops: BTreeMap<u64, Op>,
    /// Containers made since the agent last looked.
    pub(crate) made: Vec<String>,
    pub(crate) next_op: u64,
}

/// A network.
#[derive(Debug, Clone)]
pub(crate) struct DockerNetwork {
    pub(crate) id: DockerNetworkId,
    pub(crate) name: String,
    pub(crate) ours: bool,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) pools: Vec<DockerPool>,
}

/// A pool of a network.
#[derive(Debug, Clone)]
pub(crate) struct DockerPool {
    pub(crate) id: PoolId,
    pub(crate) prefix: IpNet,
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) aux: BTreeMap<String, IpAddr>,
}

/// A container, running while it is attached.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    pub(crate) docker: DockerNetworkId,
    pub(crate) wish: Option<IpAddr>,
    pub(crate) restart: bool,
    pub(crate) attached: Option<Attachment>,
}

/// A running container's place in its network.
#[derive(Debug, Clone)]
pub(crate) struct Attachment {
    pub(crate) docker: DockerNetworkId,
    pub(crate) network: Option<NetworkId>,
    pub(crate) endpoint: EndpointId,
    pub(crate) addresses: Vec<(PoolId, IpNet)>,
}

impl Engine {
    pub(crate) fn by_name(&self, name: &str) -> Option<&DockerNetwork> {
        self.networks.values().find(|network| network.name == name)
    }

    /// Whether an op works on a container or a name already: dockerd takes locks.
    pub(crate) fn is_busy_with(&self, object: &str) -> bool {
        self.ops.values().any(|op| op.object == object)
    }

    /// Whether a container is, or is being, attached to a network.
    pub(crate) fn is_in_use(&self, docker: &str) -> bool {
        let attached =
            |container: &Container| container.attached.as_ref().is_some_and(|it| it.docker == docker);
        let starting = |op: &Op| matches!(&op.work, Work::Start(start) if start.docker == docker);
        self.containers.values().any(attached) || self.ops.values().any(starting)
    }

    pub(crate) fn add(&mut self, op: Op) -> u64 {
        self.next_op += 1;
        self.ops.insert(self.next_op, op);
        self.next_op
    }

    /// What `GET /networks` shows of a network, if it is there.
    pub(crate) fn view(&self, docker: &str) -> Option<EngineView> {
        self.networks.get(docker).and_then(view)
    }

    /// All networks.
    pub(crate) fn views(&self) -> Vec<EngineView> {
        self.networks.values().filter_map(view).collect()
    }

    /// Names of the containers that have a network, running or not.
    pub(crate) fn containers_of(&self, docker: &str) -> Vec<String> {
        let on = self.containers.iter().filter(|(_, container)| container.docker == docker);
        on.map(|(name, _)| name.clone()).collect()
    }

    /// Everything that an agent which looks at the engine learns, in the order in which it reports it.
    pub(crate) fn look(&mut self) -> Vec<EngineReport> {
        let mut reports = Vec::new();
        let made = std::mem::take(&mut self.made);
        let wish = |name: &String| {
            let container = self.containers.get(name)?;
            Some((container.docker.clone(), container.wish?))
        };
        let wishes: Vec<_> = made.iter().filter_map(wish).collect();
        if !wishes.is_empty() {
            reports.push(EngineReport::Wishes(wishes));
        }
        reports.push(EngineReport::Listed(self.views()));
        for network in self.networks.values().filter(|network| network.ours) {
            reports.push(EngineReport::Containers(network.id.clone(), self.containers_of(&network.id)));
        }
        reports.push(EngineReport::Names(self.names()));
        reports
    }

    /// Names of running containers by their endpoints.
    pub(crate) fn names(&self) -> BTreeMap<EndpointId, String> {
        let name = |(name, container): (&String, &Container)| {
            Some((container.attached.as_ref()?.endpoint.clone(), name.clone()))
        };
        self.containers.iter().filter_map(name).collect()
    }

    /// Starts: cleans up what its death left, then starts containers that want it. Says whether an endpoint was left.
    pub(crate) fn start(&mut self, prng: &mut Prng) -> (Vec<u64>, bool) {
        (self.up, self.life) = (true, self.life + 1);
        let mut left = false;
        let mut begun = Vec::new();
        let stale: Vec<(String, Attachment)> = self
            .containers
            .iter_mut()
            .filter_map(|(name, it)| Some((name.clone(), it.attached.take()?)))
            .collect();
        for (name, attachment) in stale {
            let tells = prng.below(3) > 0;
            left |= !tells;
            let mut op = Op::cleanup(&name, &attachment, tells);
            if self.containers.get(&name).is_some_and(|container| container.restart) {
                op.tasks.push_back(Task::StartAgain(name));
            }
            begun.push(self.add(op));
        }
        (begun, left)
    }

    /// Dies: says whether work was under way.
    pub(crate) fn die(&mut self) -> bool {
        self.up = false;
        let worked = !self.ops.is_empty();
        self.ops.clear();
        worked
    }

    /// Endpoints that live: those of running containers.
    pub(crate) fn endpoints(&self) -> BTreeSet<EndpointId> {
        self.containers.values().filter_map(|it| Some(it.attached.as_ref()?.endpoint.clone())).collect()
    }
}

fn view(network: &DockerNetwork) -> Option<EngineView> {
    Some(EngineView {
        docker: network.id.clone(),
        name: network.name.parse().ok()?,
        ours: network.ours,
        labels: network.labels.clone(),
        options: network.options.clone(),
        subnets: network.pools.iter().map(|pool| pool.prefix).collect(),
    })
}
