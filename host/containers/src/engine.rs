//! What the agent asks of a container engine, in our own words.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;

use shoal_types::IpNet;

use crate::{EngineError, Events};

/// The name under which Docker knows Shoal, as network driver and as IPAM driver.
pub const SHOAL_DRIVER: &str = "shoal";

/// An answer that is on its way.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, EngineError>> + Send + 'a>>;

/// A container engine on this host.
///
/// Every call may fail with [`EngineError`], ends within [`crate::CALL_TIME_MAX`] and changes nothing unless it says
/// so.
pub trait Engine: Send + Sync + 'static {
    /// All networks, those of foreign drivers included: their subnets are ranges that Shoal must avoid. In order of
    /// ids.
    fn networks(&self) -> Answer<'_, Vec<EngineNetwork>>;

    /// One network by its id; `None` if the engine does not know it.
    fn network<'a>(&'a self, id: &'a str) -> Answer<'a, Option<EngineNetwork>>;

    /// Creates a network of Shoal's drivers and returns the engine's id of it. The caller lists first: an old engine
    /// makes a second network of the same name when two creations race.
    fn create_network(&self, spec: NetworkSpec) -> Answer<'_, String>;

    /// Deletes a network. One that is gone already is no error; one that a running container is attached to is
    /// [`ErrorKind::Refused`](crate::ErrorKind::Refused).
    fn delete_network<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;

    /// The containers that are attached to a network or would be when started, stopped ones included. In order of ids.
    fn containers_of<'a>(&'a self, network: &'a str) -> Answer<'a, Vec<Container>>;

    /// Containers that hold the old id of a network of Shoal's which was removed and made again under its name: Docker
    /// does not start them. In order of names.
    fn stranded(&self) -> Answer<'_, Vec<Stranded>>;

    /// What a container was created with: its networks and the addresses it insists on (`--ip`, `--ip6`). Empty for
    /// a container that is gone.
    fn container_networks<'a>(&'a self, container: &'a str) -> Answer<'a, Vec<Wish>>;

    /// What running containers are attached to, networks of other drivers included. In order of the endpoints' ids.
    fn attachments(&self) -> Answer<'_, Vec<Attachment>>;

    /// The engine's version, for people.
    fn version(&self) -> Answer<'_, String>;

    /// What happens from now on. Must be called within a tokio runtime.
    fn events(&self) -> Events;
}

/// A network as the engine keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineNetwork {
    /// The engine's id: 64 hexadecimal digits in Docker.
    pub id: String,
    /// Its name; old engines allow a name twice.
    pub name: String,
    /// The network driver: "bridge", "shoal".
    pub driver: String,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `-o`, the driver's options.
    pub options: BTreeMap<String, String>,
    /// The IPAM driver: "default", "shoal".
    pub ipam_driver: String,
    /// `--ipam-opt`.
    pub ipam_options: BTreeMap<String, String>,
    /// Its prefixes without host bits, in the engine's order.
    pub subnets: Vec<IpNet>,
    /// `--internal`.
    pub internal: bool,
    /// `--ipv6`.
    pub enable_ipv6: bool,
}

/// A network to create. Network driver and IPAM driver are Shoal's, containers may be attached by hand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkSpec {
    /// Its name.
    pub name: String,
    /// Labels; Compose refuses a network without its own, so they are copied from the first host.
    pub labels: BTreeMap<String, String>,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// The IPAM driver's options.
    pub ipam_options: BTreeMap<String, String>,
    /// Its pools; none leaves the choice to Shoal's IPAM driver.
    pub pools: Vec<PoolSpec>,
    /// Without a way out.
    pub internal: bool,
    /// With IPv6.
    pub ipv6: bool,
}

/// A pool of a network to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSpec {
    /// The prefix.
    pub subnet: IpNet,
    /// The gateway; `None` leaves it to the IPAM driver.
    pub gateway: Option<IpAddr>,
    /// The part that addresses are chosen from.
    pub ip_range: Option<IpNet>,
    /// Reserved addresses by name.
    pub aux: BTreeMap<String, IpAddr>,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The engine's id: 64 hexadecimal digits in Docker.
    pub id: String,
    /// Its name, without Docker's leading slash.
    pub name: String,
    /// What it is doing.
    pub state: ContainerState,
}

/// A container that cannot start, because its network was made again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stranded {
    /// The container's name.
    pub container: String,
    /// The network's name.
    pub network: String,
}

/// A running container's place in a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment {
    /// The endpoint's id: 64 hexadecimal digits in Docker.
    pub endpoint: String,
    /// The network's id.
    pub network: String,
    /// The container's name.
    pub container: String,
    /// Its IPv4 address there.
    pub v4: Option<Ipv4Addr>,
    /// Its IPv6 address there.
    pub v6: Option<Ipv6Addr>,
}

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Running, also while paused, restarting or stopping.
    Running,
    /// Ended, or being removed; it may start again unless it is being removed.
    Stopped,
    /// A state that this version does not know.
    Unknown,
}

/// A network that a container was created for or connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The network as the user wrote it: a name, or an id.
    pub network: String,
    /// The engine's id of the network, if the container was attached to it before.
    pub network_id: Option<String>,
    /// The IPv4 address the container insists on.
    pub v4: Option<Ipv4Addr>,
    /// The IPv6 address the container insists on.
    pub v6: Option<Ipv6Addr>,
}
