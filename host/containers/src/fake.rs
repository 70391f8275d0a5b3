//! An engine in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::engine::{
    Answer, Attachment, Container, ContainerState, Engine, EngineNetwork, NetworkSpec, SHOAL_DRIVER,
    Stranded, Wish,
};
use crate::error::{EngineError, ErrorKind};
use crate::events::{Event, Events};

/// An engine in memory, for tests and simulation. It keeps what it is told, answers at once and reports each change as
/// an event. Ids are given by the test, or count up for networks that are created through [`Engine`].
#[derive(Debug, Default)]
pub struct FakeEngine {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_down: bool,
    created: u64,
    networks: BTreeMap<String, EngineNetwork>,
    containers: BTreeMap<String, FakeContainer>,
    listeners: Vec<mpsc::Sender<Event>>,
}

#[derive(Debug)]
struct FakeContainer {
    name: String,
    state: ContainerState,
    wishes: Vec<Wish>,
    /// Endpoint ids by network ids.
    endpoints: BTreeMap<String, String>,
}

impl FakeEngine {
    /// Adds a network as if somebody had made it at the engine's own command line.
    pub fn add_network(&self, network: EngineNetwork) {
        let mut state = self.lock();
        let event = Event::NetworkCreated { id: network.id.clone() };
        state.networks.insert(network.id.clone(), network);
        state.tell(&event);
    }

    /// Removes a network, whatever uses it.
    pub fn remove_network(&self, id: &str) {
        let mut state = self.lock();
        if state.networks.remove(id).is_some() {
            state.tell(&Event::NetworkRemoved { id: id.to_owned() });
        }
    }

    /// Adds a container that has not been started.
    pub fn add_container(&self, id: &str, name: &str, wishes: Vec<Wish>) {
        let mut state = self.lock();
        let (name, endpoints) = (name.to_owned(), BTreeMap::new());
        let container = FakeContainer { name, state: ContainerState::Created, wishes, endpoints };
        state.containers.insert(id.to_owned(), container);
        state.tell(&Event::ContainerCreated { id: id.to_owned() });
    }

    /// Starts a container with these endpoints, as pairs of a network's id and an endpoint's id.
    pub fn start_container(&self, id: &str, endpoints: &[(&str, &str)]) {
        let mut state = self.lock();
        let Some(container) = state.containers.get_mut(id) else { return };
        container.state = ContainerState::Running;
        container.endpoints = endpoints.iter().map(|(n, e)| ((*n).to_owned(), (*e).to_owned())).collect();
        for (network, _) in endpoints {
            state.tell(&Event::NetworkConnected { network: (*network).to_owned(), container: id.to_owned() });
        }
        state.tell(&Event::ContainerStarted { id: id.to_owned() });
    }

    /// Stops a container; its endpoints are gone, its wishes stay.
    pub fn stop_container(&self, id: &str) {
        let mut state = self.lock();
        let Some(container) = state.containers.get_mut(id) else { return };
        container.state = ContainerState::Stopped;
        let left = std::mem::take(&mut container.endpoints);
        state.tell(&Event::ContainerDied { id: id.to_owned() });
        for network in left.into_keys() {
            state.tell(&Event::NetworkDisconnected { network, container: id.to_owned() });
        }
    }

    /// Removes a container.
    pub fn remove_container(&self, id: &str) {
        let mut state = self.lock();
        if state.containers.remove(id).is_some() {
            state.tell(&Event::ContainerRemoved { id: id.to_owned() });
        }
    }

    /// Stops or starts the engine: while it is down, every call fails with [`ErrorKind::Down`].
    pub fn set_down(&self, is_down: bool) {
        let mut state = self.lock();
        if state.is_down != is_down {
            state.is_down = is_down;
            state.tell(if is_down { &Event::EngineDown } else { &Event::EngineUp });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers at once, unless the engine is down.
    fn answer<T: Send + 'static>(
        &self,
        action: &'static str,
        object: &str,
        work: impl FnOnce(&mut State) -> Result<T, (ErrorKind, String)>,
    ) -> Answer<'static, T> {
        let mut state = self.lock();
        let down = (ErrorKind::Down, "the engine is down".to_owned());
        let answer = if state.is_down { Err(down) } else { work(&mut state) };
        let error = |(kind, reason)| EngineError { action, object: object.to_owned(), reason, kind };
        let answer = answer.map_err(error);
        Box::pin(async move { answer })
    }
}

impl Engine for FakeEngine {
    fn networks(&self) -> Answer<'_, Vec<EngineNetwork>> {
        self.answer("list", "networks", |state| Ok(state.networks.values().cloned().collect()))
    }

    fn network<'a>(&'a self, id: &'a str) -> Answer<'a, Option<EngineNetwork>> {
        self.answer("inspect", &format!("network {id}"), |state| Ok(state.networks.get(id).cloned()))
    }

    fn create_network(&self, spec: NetworkSpec) -> Answer<'_, String> {
        self.answer("create", &format!("network \"{}\"", spec.name), |state| state.create(spec))
    }

    fn delete_network<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        self.answer("remove", &format!("network {id}"), |state| {
            if state.containers.values().any(|container| container.endpoints.contains_key(id)) {
                return Err((ErrorKind::Refused, format!("network {id} has active endpoints")));
            }
            if state.networks.remove(id).is_some() {
                state.tell(&Event::NetworkRemoved { id: id.to_owned() });
            }
            Ok(())
        })
    }

    fn containers_of<'a>(&'a self, network: &'a str) -> Answer<'a, Vec<Container>> {
        self.answer("list", "containers", |state| Ok(state.containers_of(network)))
    }

    fn container_networks<'a>(&'a self, container: &'a str) -> Answer<'a, Vec<Wish>> {
        self.answer("inspect", &format!("container {container}"), |state| {
            Ok(state.containers.get(container).map(|found| found.wishes.clone()).unwrap_or_default())
        })
    }

    fn stranded(&self) -> Answer<'_, Vec<Stranded>> {
        self.answer("list", "containers", |_| Ok(Vec::new()))
    }

    fn version(&self) -> Answer<'_, String> {
        self.answer("ask", "version", |_| Ok("fake".to_owned()))
    }

    fn attachments(&self) -> Answer<'_, Vec<Attachment>> {
        self.answer("list", "containers", |state| {
            let of_one = |container: &FakeContainer| {
                let container_name = container.name.clone();
                let attached = container.endpoints.iter().map(move |(network, endpoint)| Attachment {
                    endpoint: endpoint.clone(),
                    network: network.clone(),
                    container: container_name.clone(),
                    ..Attachment::default()
                });
                attached.collect::<Vec<_>>()
            };
            let mut attachments: Vec<_> = state.containers.values().flat_map(of_one).collect();
            attachments.sort();
            Ok(attachments)
        })
    }

    fn events(&self) -> Events {
        let (sender, events) = Events::channel();
        let mut state = self.lock();
        let first = if state.is_down { Event::EngineDown } else { Event::EngineUp };
        // The channel is new, so there is room.
        let _ = sender.try_send(first);
        state.listeners.push(sender);
        events
    }
}

impl State {
    /// Reports an event to those who still listen and read.
    fn tell(&mut self, event: &Event) {
        self.listeners.retain(|listener| listener.try_send(event.clone()).is_ok());
    }

    fn create(&mut self, spec: NetworkSpec) -> Result<String, (ErrorKind, String)> {
        if self.networks.values().any(|network| network.name == spec.name) {
            return Err((ErrorKind::Exists, format!("network with name {} already exists", spec.name)));
        }
        self.created += 1;
        let id = format!("{:064x}", self.created);
        let network = EngineNetwork {
            id: id.clone(),
            name: spec.name,
            driver: SHOAL_DRIVER.to_owned(),
            labels: spec.labels,
            options: spec.options,
            ipam_driver: SHOAL_DRIVER.to_owned(),
            ipam_options: spec.ipam_options,
            subnets: spec.pools.iter().map(|pool| pool.subnet.trunc()).collect(),
            internal: spec.internal,
            enable_ipv6: spec.ipv6,
        };
        self.networks.insert(id.clone(), network);
        self.tell(&Event::NetworkCreated { id: id.clone() });
        Ok(id)
    }

    fn containers_of(&self, id: &str) -> Vec<Container> {
        let name = self.networks.get(id).map(|network| network.name.as_str());
        let wishes_for = |wish: &Wish| match &wish.network_id {
            Some(known) => known == id,
            None => Some(wish.network.as_str()) == name || wish.network == id,
        };
        let uses = |container: &FakeContainer| {
            container.endpoints.contains_key(id) || container.wishes.iter().any(wishes_for)
        };
        let users = self.containers.iter().filter(|(_, container)| uses(container));
        users.map(|(id, c)| Container { id: id.clone(), name: c.name.clone(), state: c.state }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str) -> NetworkSpec {
        NetworkSpec { name: name.to_owned(), ..Default::default() }
    }

    fn wish(network: &str) -> Wish {
        Wish { network: network.to_owned(), network_id: None, v4: None, v6: None }
    }

    #[tokio::test]
    async fn a_stopped_container_still_uses_its_network() {
        let engine = FakeEngine::default();
        let id = engine.create_network(spec("shop")).await.unwrap();
        engine.add_container("c1", "db", vec![wish("shop")]);
        engine.start_container("c1", &[(&id, "e1")]);
        let attached = &engine.attachments().await.unwrap()[0];
        assert_eq!((attached.endpoint.as_str(), attached.container.as_str()), ("e1", "db"));
        assert_eq!(engine.delete_network(&id).await.unwrap_err().kind, ErrorKind::Refused);
        engine.stop_container("c1");
        let found = engine.containers_of(&id).await.unwrap();
        assert_eq!(found, [Container { id: "c1".into(), name: "db".into(), state: ContainerState::Stopped }]);
        assert!(engine.attachments().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_name_is_given_once_and_a_dead_engine_says_so() {
        let engine = FakeEngine::default();
        let mut events = engine.events();
        let id = engine.create_network(spec("shop")).await.unwrap();
        let again = engine.create_network(spec("shop")).await.unwrap_err();
        assert_eq!(
            again.to_string(),
            "cannot create network \"shop\": network with name shop already exists"
        );
        engine.set_down(true);
        assert_eq!(engine.networks().await.unwrap_err().kind, ErrorKind::Down);
        engine.set_down(false);
        let seen = [events.next().await, events.next().await, events.next().await, events.next().await];
        let wanted = [Event::EngineUp, Event::NetworkCreated { id }, Event::EngineDown, Event::EngineUp];
        assert_eq!(seen, wanted.map(Some));
    }
}
