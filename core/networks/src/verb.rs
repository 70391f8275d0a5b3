//! Docker's driver verbs as values, free of JSON.

use std::collections::BTreeMap;
use std::net::IpAddr;

use shoal_types::{EndpointId, IpNet, LinkName, MacAddr};

/// The id of an address pool, drawn by us and kept by dockerd: opaque text.
pub type PoolId = String;

/// Docker's own id of a network, different on every host: opaque text.
pub type DockerNetworkId = String;

/// A call of dockerd, from either plugin interface. Calls without a decision in them (activation, capabilities) are
/// answered by the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// `IpamDriver.RequestPool`
    RequestPool {
        /// The address space, one of those the door announced.
        space: String,
        /// The prefix asked for; `None`: choose one.
        pool: Option<IpNet>,
        /// The part of it that addresses should be chosen from (`--ip-range`).
        sub_pool: Option<IpNet>,
        /// `--ipam-opt`.
        options: BTreeMap<String, String>,
        /// An IPv6 pool is wanted.
        v6: bool,
    },
    /// `IpamDriver.ReleasePool`
    ReleasePool {
        /// Which.
        pool: PoolId,
    },
    /// `IpamDriver.RequestAddress`
    RequestAddress {
        /// Out of which pool.
        pool: PoolId,
        /// The address asked for (`--ip`, `--gateway`, `--aux-address`); `None`: choose one.
        address: Option<IpAddr>,
        /// It is for the network's gateway.
        gateway: bool,
    },
    /// `IpamDriver.ReleaseAddress`
    ReleaseAddress {
        /// Of which pool.
        pool: PoolId,
        /// The address, without mask.
        address: IpAddr,
    },
    /// `NetworkDriver.CreateNetwork`
    CreateNetwork {
        /// Docker's id.
        network: DockerNetworkId,
        /// `-o` (the "generic" options).
        options: BTreeMap<String, String>,
        /// `--internal`.
        internal: bool,
        /// IPv4 pools, then IPv6 pools.
        pools: Vec<PoolData>,
    },
    /// `NetworkDriver.DeleteNetwork`
    DeleteNetwork {
        /// Docker's id.
        network: DockerNetworkId,
    },
    /// `NetworkDriver.CreateEndpoint`
    CreateEndpoint {
        /// Docker's id of the network.
        network: DockerNetworkId,
        /// The endpoint.
        endpoint: EndpointId,
        /// IPv4 address with its prefix length.
        v4: Option<IpNet>,
        /// IPv6 address with its prefix length.
        v6: Option<IpNet>,
        /// Hardware address, if the user gave one.
        mac: Option<MacAddr>,
    },
    /// `NetworkDriver.DeleteEndpoint`
    DeleteEndpoint {
        /// Docker's id of the network.
        network: DockerNetworkId,
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// `NetworkDriver.Join`
    Join {
        /// Docker's id of the network.
        network: DockerNetworkId,
        /// The endpoint.
        endpoint: EndpointId,
        /// Path of the container's network namespace.
        sandbox: String,
    },
    /// `NetworkDriver.Leave`
    Leave {
        /// Docker's id of the network.
        network: DockerNetworkId,
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// `NetworkDriver.EndpointOperInfo`
    EndpointInfo {
        /// Docker's id of the network.
        network: DockerNetworkId,
        /// The endpoint.
        endpoint: EndpointId,
    },
}

/// A pool as `CreateNetwork` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolData {
    /// The address space; Docker's own (`LocalDefault`) tells that its IPAM driver was used instead of ours.
    pub space: String,
    /// The prefix.
    pub pool: IpNet,
    /// The gateway, if any.
    pub gateway: Option<IpAddr>,
    /// Reserved addresses by name.
    pub aux: BTreeMap<String, IpAddr>,
}

/// What dockerd is told when a verb succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Nothing but success.
    Done,
    /// A pool.
    Pool {
        /// Its id.
        id: PoolId,
        /// Its prefix.
        prefix: IpNet,
        /// Its gateway with the prefix length, given with the pool: dockerd asks for one only if its user named one.
        gateway: Option<IpNet>,
    },
    /// An address with its prefix length.
    Address(IpNet),
    /// An endpoint was made; the hardware address only if dockerd gave none.
    Endpoint {
        /// The address that was chosen.
        mac: Option<MacAddr>,
    },
    /// A container may join.
    Joined {
        /// Link to move into the container's namespace.
        inner_name: LinkName,
        /// Prefix of the name it gets there.
        prefix: &'static str,
        /// Routes to add there.
        routes: Vec<Route>,
        /// Whether dockerd must not add its gateway bridge.
        no_gateway_bridge: bool,
    },
    /// Details of an endpoint for `docker inspect`.
    Info(BTreeMap<String, String>),
}

/// A connected route (Docker's RouteType 1) to another subnet of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The destination.
    pub destination: IpNet,
}

/// Why a verb is not carried out: one sentence that reaches the user's terminal through Docker, with what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);
