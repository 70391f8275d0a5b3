//! Endpoints and addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use shoal_types::{EndpointId, HostName, IpNet, LinkName, MacAddr, NetworkName};

/// All endpoints, and what the tunnel lost before an endpoint was known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// By network, host, address.
    pub endpoints: Vec<Endpoint>,
    /// Packets that came through this host's tunnel and were dropped before an endpoint was known, by reason.
    pub tunnel_drops: BTreeMap<String, u64>,
}

/// A container's attachment to a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The network.
    pub network: NetworkName,
    /// The host it is on.
    pub host: HostName,
    /// The container's name; `None` until the engine was asked.
    pub container: Option<String>,
    /// The engine's id of the endpoint.
    pub endpoint: EndpointId,
    /// IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// IPv6 address.
    pub v6: Option<Ipv6Addr>,
    /// Hardware address.
    pub mac: MacAddr,
    /// The host's end of its link; only for endpoints of this host.
    pub link: Option<LinkName>,
    /// Whether it is on this host.
    pub local: bool,
    /// What its link has carried; only for endpoints of this host.
    pub traffic: Option<Traffic>,
}

/// What a link has carried since it was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Packets from the container that were forwarded.
    pub sent_packets: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Packets delivered to the container.
    pub received_packets: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Packets from or to the container that were lost, by reason.
    pub drops: BTreeMap<String, u64>,
}

/// What one host owns of one subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressShare {
    /// The network.
    pub network: NetworkName,
    /// The subnet.
    pub subnet: IpNet,
    /// The owner.
    pub host: HostName,
    /// What it owns, in order, disjoint.
    pub ranges: Vec<AddressRange>,
    /// How many addresses these are; `u64::MAX` if more.
    pub owned: u64,
    /// How many of them are spare: not used, and to be taken over if the owner is gone. The others are its reserve.
    pub spare: u64,
    /// How many of them containers hold.
    pub used: u64,
    /// How many rest before reuse; `None` for other hosts, which do not tell.
    pub resting: Option<u64>,
    /// The owner's lease; `None`: it has none, so nothing of it is taken over while it is not forgotten.
    pub lease: Option<LeaseInfo>,
    /// Whether the owner is out for good; its addresses come back when every host knows.
    pub forgotten: bool,
    /// Hosts from which the owner took over some of them.
    pub taken_from: Vec<String>,
}

/// A host's lease on its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseInfo {
    /// Seconds until witnesses vote that it has ended, as the asked host reckons; `None`: nobody could take over.
    pub left_s: Option<u64>,
    /// How many hosts witness it.
    pub witnesses: u32,
    /// How many of them vote that it has ended.
    pub votes: u32,
}

/// An inclusive run of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRange {
    /// First address.
    pub first: IpAddr,
    /// Last address, not below `first`, same family.
    pub last: IpAddr,
}
