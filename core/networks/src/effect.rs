//! What should happen, for someone else to do.

use std::collections::BTreeMap;
use std::net::IpAddr;

use shoal_ipam::Ask;
use shoal_schema::{Fact, FactKey, NetworkSpec};
use shoal_types::{EndpointId, HostId, NetworkId, NetworkName};

use crate::DockerNetworkId;

/// One thing to do. A list of effects is carried out in its order; when saving or projecting fails, the rest of the
/// list is not carried out and the caller of the verb is told why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Keep (or forget, `None`) a record under a key, durably.
    Save(Vec<u8>, Option<Vec<u8>>),
    /// Make a fact ours, or replace it.
    Publish(Fact),
    /// Take a fact of ours back.
    Withdraw(FactKey),
    /// Bring the kernel in line for one endpoint, before anything that follows.
    Project(EndpointId),
    /// The plan may have changed elsewhere: bring the kernel in line soon.
    ProjectSoon,
    /// Ask the container engine for something; its answer comes back as an [`EngineReport`](crate::EngineReport).
    Engine(EngineRequest),
    /// Ask another host for addresses; a gift that arrives as a fact is its answer.
    Ask(HostId, Ask),
    /// Tell the operator.
    Notice(String),
}

/// What the container engine is asked, outside of any driver call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineRequest {
    /// Read the name, labels and options of a network.
    Read(DockerNetworkId),
    /// Make a network of the fabric on this host.
    Create(Box<EngineNetwork>),
    /// Remove a network that the fabric no longer has.
    Remove(NetworkId, DockerNetworkId),
    /// List all networks of the engine.
    List,
    /// Tell the names of running containers by their endpoints.
    Names,
    /// List the containers, stopped ones included, of a network.
    Containers(DockerNetworkId),
}

/// A network as the engine is told to make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineNetwork {
    /// The fabric's id.
    pub id: NetworkId,
    /// Its definition.
    pub spec: NetworkSpec,
}

/// A network as the engine describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineView {
    /// The engine's id.
    pub docker: DockerNetworkId,
    /// Its name.
    pub name: NetworkName,
    /// Whether it uses Shoal's driver.
    pub ours: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its driver options.
    pub options: BTreeMap<String, String>,
    /// Its prefixes.
    pub subnets: Vec<shoal_types::IpNet>,
}

/// What the container engine answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineReport {
    /// To [`EngineRequest::Read`]; `None`: there is no such network.
    Read(DockerNetworkId, Option<EngineView>),
    /// To [`EngineRequest::Create`].
    Created(NetworkId, Result<DockerNetworkId, String>),
    /// To [`EngineRequest::Remove`].
    Removed(NetworkId, DockerNetworkId, Result<(), String>),
    /// To [`EngineRequest::List`].
    Listed(Vec<EngineView>),
    /// To [`EngineRequest::Containers`]: names by container.
    Containers(DockerNetworkId, Vec<String>),
    /// The addresses that a container wants, told by the engine when the container is made: asked of their owners
    /// ahead of its start, which cannot wait for another host.
    Wishes(Vec<(String, IpAddr)>),
    /// To [`EngineRequest::Names`]: the names of all running containers by endpoint.
    Names(BTreeMap<EndpointId, String>),
    /// What is attached to networks, of all running containers.
    Attached(Vec<crate::Attached>),
    /// The engine could not be asked.
    Unreachable(String),
}
