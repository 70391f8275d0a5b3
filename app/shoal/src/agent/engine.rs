//! The container engine: carries requests out beside the agent's loop, and turns its events into reports.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use shoal_containers::{Attachment, Engine, Event, NetworkSpec, PoolSpec, SHOAL_DRIVER};
use shoal_networks::{Attached, EngineNetwork, EngineReport, EngineRequest, EngineView, NETWORK_OPTION};
use shoal_types::IpNet;
use tokio::sync::mpsc;

use super::Input;

/// Events that come close together are answered by one look.
const SETTLE: Duration = Duration::from_millis(30);

/// Networks of the engine that are not Shoal's: name and prefixes.
pub(crate) type ForeignNetworks = Vec<(String, Vec<IpNet>)>;

/// Carries requests out. One at a time: an engine works no faster when pressed, and creations must not race.
pub(crate) async fn work(
    engine: Arc<dyn Engine>,
    mut requests: mpsc::UnboundedReceiver<EngineRequest>,
    inputs: mpsc::Sender<Input>,
) {
    while let Some(request) = requests.recv().await {
        for report in carry_out(engine.as_ref(), request).await {
            if inputs.send(Input::Engine(report)).await.is_err() {
                return;
            }
        }
    }
}

/// Follows the engine's events and reports what they point to.
pub(crate) async fn watch(engine: Arc<dyn Engine>, inputs: mpsc::Sender<Input>) {
    let mut events = engine.events();
    while let Some(first) = events.next().await {
        let mut news = News::default();
        let mut take = |event: Event| {
            if let Event::ContainerCreated { id } = &event {
                tokio::spawn(tell_wishes(Arc::clone(&engine), id.clone(), inputs.clone()));
            }
            news.add(&event);
        };
        take(first);
        while let Ok(Some(event)) = tokio::time::timeout(SETTLE, events.next()).await {
            take(event);
        }
        for input in news.look(engine.as_ref()).await {
            if inputs.send(input).await.is_err() {
                return;
            }
        }
    }
}

/// Tells which addresses a new container insists on, at once: it is about to start, and by then this host should own
/// them.
async fn tell_wishes(engine: Arc<dyn Engine>, container: String, inputs: mpsc::Sender<Input>) {
    let mut wishes = Vec::new();
    for wish in engine.container_networks(&container).await.unwrap_or_default() {
        let network = wish.network_id.unwrap_or(wish.network);
        let addresses = [wish.v4.map(IpAddr::V4), wish.v6.map(IpAddr::V6)];
        wishes.extend(addresses.into_iter().flatten().map(|address| (network.clone(), address)));
    }
    if !wishes.is_empty() {
        let _ = inputs.send(Input::Engine(EngineReport::Wishes(wishes))).await;
    }
}

async fn carry_out(engine: &dyn Engine, request: EngineRequest) -> Vec<EngineReport> {
    let report = match request {
        EngineRequest::Read(id) => match engine.network(&id).await {
            Ok(found) => EngineReport::Read(id, found.as_ref().and_then(view)),
            Err(error) => EngineReport::Unreachable(error.to_string()),
        },
        EngineRequest::Create(network) => {
            let id = network.id;
            EngineReport::Created(id, create(engine, *network).await)
        }
        EngineRequest::Remove(network, id) => {
            let result = engine.delete_network(&id).await.map_err(|error| error.to_string());
            EngineReport::Removed(network, id, result)
        }
        EngineRequest::List => match engine.networks().await {
            Ok(networks) => EngineReport::Listed(networks.iter().filter_map(view).collect()),
            Err(error) => EngineReport::Unreachable(error.to_string()),
        },
        EngineRequest::Names => match engine.attachments().await {
            Ok(attachments) => return attached(attachments).into(),
            Err(error) => EngineReport::Unreachable(error.to_string()),
        },
        EngineRequest::Containers(id) => match engine.containers_of(&id).await {
            Ok(containers) => {
                EngineReport::Containers(id, containers.into_iter().map(|it| it.name).collect())
            }
            Err(error) => EngineReport::Unreachable(error.to_string()),
        },
    };
    vec![report]
}

/// Makes a network, after looking whether the engine has one of that name: an old one would make a second.
async fn create(engine: &dyn Engine, network: EngineNetwork) -> Result<String, String> {
    let name = network.spec.name.as_str();
    let networks = engine.networks().await.map_err(|error| error.to_string())?;
    if let Some(known) = networks.iter().find(|known| known.name == name) {
        let subnets = || network.spec.subnets.iter().all(|subnet| known.subnets.contains(&subnet.prefix));
        return if known.driver == SHOAL_DRIVER && subnets() {
            Ok(known.id.clone())
        } else {
            Err(format!(
                "Docker on this host already has a network \"{name}\" (driver {}): remove or rename it, then run `shoal \
                 network create {name}` here",
                known.driver
            ))
        };
    }
    engine.create_network(spec(network)).await.map_err(|error| error.to_string())
}

fn spec(network: EngineNetwork) -> NetworkSpec {
    let EngineNetwork { spec, .. } = network;
    // No option is added: Compose compares a network's options with those in its file.
    let named = spec.options.get(NETWORK_OPTION).map(|name| (NETWORK_OPTION.to_owned(), name.clone()));
    let pools = spec.subnets.iter().map(|subnet| PoolSpec {
        subnet: subnet.prefix,
        gateway: Some(subnet.gateway),
        ip_range: subnet.dynamic,
        aux: subnet.reserved.clone(),
    });
    NetworkSpec {
        name: spec.name.to_string(),
        labels: spec.labels,
        options: spec.options,
        ipam_options: named.into_iter().collect(),
        ipv6: spec.subnets.iter().any(|subnet| matches!(subnet.prefix, IpNet::V6(_))),
        pools: pools.collect(),
        internal: spec.internal,
    }
}

/// A network in the words of the core; `None` for one whose name is not a valid one.
fn view(network: &shoal_containers::EngineNetwork) -> Option<EngineView> {
    Some(EngineView {
        docker: network.id.clone(),
        name: network.name.parse().ok()?,
        ours: network.driver == SHOAL_DRIVER,
        labels: network.labels.clone(),
        options: network.options.clone(),
        subnets: network.subnets.clone(),
    })
}

/// What is attached, in the words of the core: the names of containers by endpoint, and all of it.
fn attached(attachments: Vec<Attachment>) -> [EngineReport; 2] {
    let of_core = |it: Attachment| {
        let Attachment { endpoint, network: docker, container, v4, v6 } = it;
        Some(Attached { endpoint: endpoint.parse().ok()?, docker, container, v4, v6 })
    };
    let attached: Vec<Attached> = attachments.into_iter().filter_map(of_core).collect();
    let names = attached.iter().map(|it| (it.endpoint.clone(), it.container.clone()));
    [EngineReport::Names(names.collect()), EngineReport::Attached(attached)]
}

/// What a burst of events asks to look at.
#[derive(Default)]
struct News {
    networks: bool,
    containers: bool,
    up: Option<bool>,
}

impl News {
    fn add(&mut self, event: &Event) {
        match event {
            Event::EngineUp => (self.networks, self.containers, self.up) = (true, true, Some(true)),
            Event::EngineDown => self.up = Some(false),
            Event::NetworkCreated { .. } | Event::NetworkRemoved { .. } => self.networks = true,
            Event::ContainerCreated { .. }
            | Event::NetworkConnected { .. }
            | Event::NetworkDisconnected { .. }
            | Event::ContainerStarted { .. }
            | Event::ContainerDied { .. }
            | Event::ContainerRemoved { .. }
            | Event::ContainerRenamed { .. } => self.containers = true,
        }
    }

    async fn look(self, engine: &dyn Engine) -> Vec<Input> {
        let mut inputs = Vec::new();
        if let Some(up) = self.up {
            let version = engine.version().await.ok();
            inputs.push(Input::EngineState(up.then(|| version.unwrap_or_default())));
        }
        if !(self.networks || self.containers) {
            return inputs;
        }
        let Ok(networks) = engine.networks().await else { return inputs };
        // Also after a container's events: Docker makes its gateway bridge with the first container, and tells nobody.
        let foreign = networks.iter().filter(|network| network.driver != SHOAL_DRIVER);
        let foreign = foreign.map(|network| (network.name.clone(), network.subnets.clone())).collect();
        inputs.push(Input::Foreign(foreign));
        if self.networks {
            inputs.push(Input::Engine(EngineReport::Listed(networks.iter().filter_map(view).collect())));
        }
        for network in networks.iter().filter(|network| network.driver == SHOAL_DRIVER) {
            if let Ok(containers) = engine.containers_of(&network.id).await {
                let names = containers.into_iter().map(|container| container.name).collect();
                inputs.push(Input::Engine(EngineReport::Containers(network.id.clone(), names)));
            }
        }
        if let Ok(stranded) = engine.stranded().await {
            inputs.push(Input::Stranded(stranded));
        }
        if let Ok(attachments) = engine.attachments().await {
            inputs.extend(attached(attachments).map(Input::Engine));
        }
        inputs
    }
}
