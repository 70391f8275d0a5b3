//! A Docker daemon behind its socket.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::query_parameters::{InspectContainerOptions, ListContainersOptions};
use bollard::{API_DEFAULT_VERSION, BollardRequest};
use bytes::Bytes;
use http_body_util::{Either, Full};
use serde_json::json;
use tokio::time::timeout;

use crate::convert;
use crate::engine::{
    Answer, Attachment, Container, Engine, EngineNetwork, NetworkSpec, SHOAL_DRIVER, Stranded, Wish,
};
use crate::error::{EngineError, ErrorKind};
use crate::events::{self, Events};

/// How long any call may take. dockerd may be waiting for a plugin, which may be this agent: waiting longer could
/// never help.
pub const CALL_TIME_MAX: Duration = Duration::from_secs(5);

/// A Docker daemon behind a Unix socket.
///
/// Connects when first asked, in the newest API version that both sides know (agreed anew after the daemon was away,
/// since it may have been upgraded meanwhile). Clones of the connection share it.
#[derive(Debug)]
pub struct Docker {
    socket: String,
    client: Mutex<Option<bollard::Docker>>,
}

impl Docker {
    /// The daemon behind `socket`, an absolute path such as `/var/run/docker.sock`. It need not run yet.
    pub fn at(socket: impl Into<String>) -> Self {
        Self { socket: socket.into(), client: Mutex::new(None) }
    }

    /// Runs one call with a deadline, on a client that is made anew after the daemon was away.
    async fn ask<T, F>(
        &self,
        what: What<'_>,
        call: impl FnOnce(bollard::Docker) -> F,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, bollard::errors::Error>>,
    {
        let known = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_new = known.is_none();
        let work = async {
            let client = match known {
                Some(client) => client,
                None => connect(&self.socket).await?,
            };
            Ok((call(client.clone()).await?, client))
        };
        let answer = match timeout(CALL_TIME_MAX, work).await {
            Ok(answer) => answer.map_err(|error| what.failed(&self.socket, error)),
            Err(_) => Err(what.silent(&self.socket)),
        };
        match answer {
            Ok((value, client)) if is_new => {
                self.keep(Some(client));
                Ok(value)
            }
            Ok((value, _)) => Ok(value),
            Err(error) => {
                if error.kind == ErrorKind::Down || error.reason.contains("client version") {
                    self.keep(None);
                }
                Err(error)
            }
        }
    }

    fn keep(&self, client: Option<bollard::Docker>) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
    }

    async fn list_containers(
        &self,
        all: bool,
    ) -> Result<Vec<bollard::models::ContainerSummary>, EngineError> {
        let options = ListContainersOptions { all, ..Default::default() };
        let what = What { action: "list", object: "containers" };
        self.ask(what, |client| async move { client.list_containers(Some(options)).await }).await
    }
}

impl Engine for Docker {
    fn networks(&self) -> Answer<'_, Vec<EngineNetwork>> {
        Box::pin(async {
            let what = What { action: "list", object: "networks" };
            let listed = self.ask(what, |client| async move { client.list_networks(None).await }).await?;
            let mut networks: Vec<_> = listed.into_iter().map(convert::network).collect();
            networks.sort_by(|a, b| a.id.cmp(&b.id));
            Ok(networks)
        })
    }

    /// By its id. Docker would also take a name or the start of an id; an answer for another id is taken for none.
    fn network<'a>(&'a self, id: &'a str) -> Answer<'a, Option<EngineNetwork>> {
        Box::pin(async move {
            let object = format!("network {id}");
            let what = What { action: "inspect", object: &object };
            let found = self.ask(what, |client| async move { client.inspect_network(id, None).await }).await;
            Ok(missing_is_none(found)?.map(convert::inspected_network).filter(|network| network.id == id))
        })
    }

    /// dockerd asks Shoal's own plugin socket meanwhile. If that takes longer than [`CALL_TIME_MAX`], the network may
    /// still appear afterwards: list before the next attempt.
    fn create_network(&self, spec: NetworkSpec) -> Answer<'_, String> {
        Box::pin(async move {
            let object = format!("network \"{}\"", spec.name);
            let what = What { action: "create", object: &object };
            let body = Bytes::from(creation(&spec).to_string());
            let call = |client: bollard::Docker| async move {
                // The body is ours: the client's own request type has no CheckDuplicate, without which API 1.43 and
                // older make a second network of the same name.
                let with_body = client.with_request_modifier(move |request: BollardRequest| {
                    request.map(|_| Either::Left(Full::new(body.clone())))
                });
                with_body.create_network(bollard::models::NetworkCreateRequest::default()).await
            };
            match self.ask(what, call).await {
                Ok(created) => Ok(created.id),
                // What is missing here is the driver, not the network.
                Err(error) if error.kind == ErrorKind::Missing => {
                    Err(EngineError { kind: ErrorKind::Refused, ..error })
                }
                Err(error) => Err(error),
            }
        })
    }

    fn delete_network<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let object = format!("network {id}");
            let what = What { action: "remove", object: &object };
            match self
                .ask(what, |client: bollard::Docker| async move { client.remove_network(id).await })
                .await
            {
                Err(error) if error.kind != ErrorKind::Missing => Err(error),
                _ => Ok(()),
            }
        })
    }

    /// From the list of all containers: Docker's filter by network does not find a container that was never started.
    fn containers_of<'a>(&'a self, network: &'a str) -> Answer<'a, Vec<Container>> {
        Box::pin(async move {
            let name = self.network(network).await?.map(|network| network.name);
            let all = self.list_containers(true).await?;
            let uses = |summary: &_| convert::uses_network(summary, network, name.as_deref());
            let mut containers: Vec<_> = all.into_iter().filter(uses).map(convert::container).collect();
            containers.sort_by(|a, b| a.id.cmp(&b.id));
            Ok(containers)
        })
    }

    fn container_networks<'a>(&'a self, container: &'a str) -> Answer<'a, Vec<Wish>> {
        Box::pin(async move {
            let object = format!("container {container}");
            let what = What { action: "inspect", object: &object };
            let call = |client: bollard::Docker| async move {
                client.inspect_container(container, None::<InspectContainerOptions>).await
            };
            let found = missing_is_none(self.ask(what, call).await)?;
            Ok(found.map(convert::wishes).unwrap_or_default())
        })
    }

    fn stranded(&self) -> Answer<'_, Vec<Stranded>> {
        Box::pin(async {
            let networks = self.networks().await?;
            let mut stranded: Vec<_> = self
                .list_containers(true)
                .await?
                .iter()
                .flat_map(|it| convert::stranded(it, &networks))
                .collect();
            stranded.sort();
            Ok(stranded)
        })
    }

    fn version(&self) -> Answer<'_, String> {
        Box::pin(async move {
            let what = What { action: "ask", object: "Docker's version" };
            let version =
                self.ask(what, |client: bollard::Docker| async move { client.version().await }).await?;
            Ok(version.version.unwrap_or_default())
        })
    }

    fn attachments(&self) -> Answer<'_, Vec<Attachment>> {
        Box::pin(async {
            let running = self.list_containers(false).await?;
            let mut attachments: Vec<_> = running.iter().flat_map(convert::attachments).collect();
            attachments.sort();
            Ok(attachments)
        })
    }

    fn events(&self) -> Events {
        let (sender, events) = Events::channel();
        tokio::spawn(events::follow(self.socket.clone(), sender));
        events
    }
}

/// A client in the newest API version that both sides know.
pub(crate) async fn connect(socket: &str) -> Result<bollard::Docker, bollard::errors::Error> {
    let client = bollard::Docker::connect_with_unix(socket, CALL_TIME_MAX.as_secs(), API_DEFAULT_VERSION)?;
    client.negotiate_version().await
}

/// The body of `POST /networks/create` (Docker Engine API 1.24 and later).
fn creation(spec: &NetworkSpec) -> serde_json::Value {
    let pools = spec.pools.iter().map(|pool| {
        let mut config = serde_json::Map::new();
        config.insert("Subnet".to_owned(), json!(pool.subnet.to_string()));
        if let Some(gateway) = pool.gateway {
            config.insert("Gateway".to_owned(), json!(gateway.to_string()));
        }
        if let Some(range) = pool.ip_range {
            config.insert("IPRange".to_owned(), json!(range.to_string()));
        }
        if !pool.aux.is_empty() {
            config.insert("AuxiliaryAddresses".to_owned(), json!(pool.aux));
        }
        serde_json::Value::Object(config)
    });
    json!({
        "Name": spec.name,
        "CheckDuplicate": true,
        "Driver": SHOAL_DRIVER,
        "Attachable": true,
        "Internal": spec.internal,
        "EnableIPv6": spec.ipv6,
        "IPAM": {"Driver": SHOAL_DRIVER, "Options": spec.ipam_options, "Config": pools.collect::<Vec<_>>()},
        "Options": spec.options,
        "Labels": spec.labels,
    })
}

/// What is being asked, for the error.
struct What<'a> {
    action: &'static str,
    object: &'a str,
}

impl What<'_> {
    fn failed(&self, socket: &str, error: bollard::errors::Error) -> EngineError {
        use bollard::errors::Error;
        let (kind, reason) = match error {
            Error::DockerResponseServerError { status_code, message } => (refusal(status_code), message),
            Error::RequestTimeoutError => return self.silent(socket),
            Error::JsonDataError { message, .. } => {
                (ErrorKind::Refused, format!("Docker's answer is not understood: {message}"))
            }
            Error::SocketNotFoundError(_) => {
                (ErrorKind::Down, format!("{socket} is missing; is Docker running?"))
            }
            other => (ErrorKind::Down, format!("{socket} does not answer: {}", innermost(&other))),
        };
        self.error(kind, reason)
    }

    fn silent(&self, socket: &str) -> EngineError {
        self.error(ErrorKind::Down, format!("{socket} did not answer within {} s", CALL_TIME_MAX.as_secs()))
    }

    fn error(&self, kind: ErrorKind, reason: String) -> EngineError {
        EngineError { action: self.action, object: self.object.to_owned(), reason, kind }
    }
}

fn refusal(status: u16) -> ErrorKind {
    match status {
        404 => ErrorKind::Missing,
        409 => ErrorKind::Exists,
        _ => ErrorKind::Refused,
    }
}

/// The system's own words: the client library's outer errors only say that a request failed.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

fn missing_is_none<T>(found: Result<T, EngineError>) -> Result<Option<T>, EngineError> {
    match found {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind == ErrorKind::Missing => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::PoolSpec;

    #[test]
    fn a_creation_asks_for_both_drivers_and_no_duplicate() {
        let spec = NetworkSpec {
            name: "shop".to_owned(),
            labels: BTreeMap::from([("com.docker.compose.network".to_owned(), "shop".to_owned())]),
            ipam_options: BTreeMap::from([("shoal.network".to_owned(), "shop".to_owned())]),
            pools: vec![PoolSpec {
                subnet: "10.7.0.0/16".parse().unwrap(),
                gateway: Some("10.7.0.1".parse().unwrap()),
                ip_range: Some("10.7.1.0/24".parse().unwrap()),
                aux: BTreeMap::from([("router".to_owned(), "10.7.0.9".parse().unwrap())]),
            }],
            internal: true,
            ..Default::default()
        };
        let wanted = json!({
            "Name": "shop", "CheckDuplicate": true, "Driver": "shoal", "Attachable": true, "Internal": true,
            "EnableIPv6": false, "Options": {}, "Labels": {"com.docker.compose.network": "shop"},
            "IPAM": {"Driver": "shoal", "Options": {"shoal.network": "shop"}, "Config": [{
                "Subnet": "10.7.0.0/16", "Gateway": "10.7.0.1", "IPRange": "10.7.1.0/24",
                "AuxiliaryAddresses": {"router": "10.7.0.9"},
            }]},
        });
        assert_eq!(creation(&spec), wanted);
    }

    #[tokio::test]
    async fn a_daemon_that_is_not_there_is_named() {
        let error = Docker::at("/nonexistent/docker.sock").networks().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Down);
        let sentence = "cannot list networks: /nonexistent/docker.sock is missing; is Docker running?";
        assert_eq!(error.to_string(), sentence);
    }
}
