//! What must outlive a restart: dockerd never tells it twice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use shoal_types::{EndpointId, HostId, IpNet, MacAddr, NetworkId, NetworkName, PoolIndex, Stamp, WallTime};

use crate::{DockerNetworkId, PoolId};

/// A pool that dockerd asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRecord {
    /// Its id, as dockerd keeps it.
    pub id: PoolId,
    /// Its prefix.
    pub prefix: IpNet,
    /// Its gateway.
    pub gateway: IpAddr,
    /// Where addresses are chosen from, if not from the whole prefix.
    pub dynamic: Option<IpNet>,
    /// Addresses that dockerd reserved (`--aux-address`) before the network was made.
    pub reserved: BTreeSet<IpAddr>,
    /// The network it belongs to, once that is known.
    pub network: Option<(NetworkId, PoolIndex)>,
    /// The fabric's name for the network, when the caller gave it.
    pub name: Option<NetworkName>,
    /// The engine's network that uses it; `None` between RequestPool and CreateNetwork.
    pub claimed: Option<DockerNetworkId>,
    /// How often it was asked for less how often it was released: dockerd asks again for a pool it already has.
    pub requests: u32,
    /// When it was asked for; a pool that no network claims expires.
    pub requested: WallTime,
}

/// A network of the container engine that uses Shoal's driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DockerRecord {
    /// The engine's id.
    pub docker: DockerNetworkId,
    /// The fabric's id.
    pub network: NetworkId,
    /// Whether the fabric's name for it is settled.
    pub naming: Naming,
    /// Whether it was ever seen in the engine's own list.
    pub listed: bool,
}

/// How a network gets the name by which every host knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Naming {
    /// Made by a plain `docker network create`: the name must be read from the engine. Holds the encoded definition.
    Pending(Vec<u8>),
    /// The fabric has the network.
    Settled,
    /// The name belongs to another network of the fabric; holds the sentence that containers are refused with.
    Refused(String),
}

/// An endpoint on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointRecord {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The engine's network.
    pub docker: DockerNetworkId,
    /// The fabric's network.
    pub network: NetworkId,
    /// Its IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub v6: Option<Ipv6Addr>,
    /// Hardware address of the container's end.
    pub mac: MacAddr,
    /// How far it has come.
    pub stage: Stage,
    /// The container's name, once known.
    pub container: Option<String>,
}

/// The life of an endpoint, in the order of dockerd's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stage {
    /// Created: an address, no link.
    Created,
    /// Joined: reachable.
    Joined,
    /// Left: its link still stands, because dockerd moves the inner end back before it deletes the endpoint; it is
    /// reachable no more.
    Left,
}

/// An address in use on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// The network.
    pub network: NetworkId,
    /// Which of its subnets.
    pub pool: PoolIndex,
    /// The address.
    pub address: IpAddr,
    /// Since when; a lease that no endpoint follows is taken back.
    pub since: WallTime,
}

/// The edits of a network that wait because their stamps lie ahead of this host's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingRecord {
    /// The network.
    pub network: NetworkId,
    /// Whose edits wait, and their stamps; the edits themselves are among the facts.
    pub waited: BTreeMap<HostId, Stamp>,
    /// Edits that count meanwhile although their authors no longer say so: author and encoded fact.
    pub stays: Vec<(HostId, Vec<u8>)>,
}

/// An edit of this host that lost to one that was made at the same time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostRecord {
    /// The network.
    pub network: NetworkId,
    /// What people call it, after the word "network".
    pub name: String,
    /// The edit: an encoded fact.
    pub edit: Vec<u8>,
    /// Whose edit won.
    pub to: HostId,
    /// That one's stamp.
    pub stamp: Stamp,
    /// When it was seen.
    pub since: WallTime,
    /// What people are told.
    pub finding: String,
}

/// Any record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// See [`PoolRecord`].
    Pool(PoolRecord),
    /// See [`DockerRecord`].
    Docker(DockerRecord),
    /// See [`EndpointRecord`].
    Endpoint(EndpointRecord),
    /// See [`LeaseRecord`].
    Lease(LeaseRecord),
    /// The engine was told to remove this network from this host.
    Off(NetworkId),
    /// See [`WaitingRecord`].
    Waiting(WaitingRecord),
    /// See [`LostRecord`].
    Lost(LostRecord),
}

impl Record {
    /// All records' keys start with this.
    pub const PREFIX: &'static [u8] = b"networks/";

    /// The key under which it is kept.
    pub fn key(&self) -> Vec<u8> {
        let text = match self {
            Self::Pool(pool) => format!("networks/pool/{}", pool.id),
            Self::Docker(docker) => format!("networks/docker/{}", docker.docker),
            Self::Endpoint(endpoint) => format!("networks/endpoint/{}", endpoint.endpoint),
            Self::Lease(lease) => format!("networks/lease/{}/{}", lease.network, lease.address),
            Self::Off(network) => format!("networks/off/{network}"),
            Self::Lost(lost) => format!("networks/lost/{}", lost.network),
            Self::Waiting(waiting) => return Self::waiting_key(waiting.network),
        };
        text.into_bytes()
    }

    /// The key of a network's [`Record::Waiting`].
    pub(crate) fn waiting_key(network: NetworkId) -> Vec<u8> {
        format!("networks/waiting/{network}").into_bytes()
    }

    /// Its bytes (postcard).
    pub fn encode(&self) -> Vec<u8> {
        // Postcard fails only on types it does not know, and these are all plain.
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// Reads bytes that [`Record::encode`] wrote; `None` if they are damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back_as_they_were_kept() {
        let record = Record::Pool(PoolRecord {
            id: "p".into(),
            prefix: "10.1.0.0/24".parse().unwrap(),
            gateway: "10.1.0.1".parse().unwrap(),
            dynamic: None,
            reserved: BTreeSet::new(),
            network: Some((NetworkId::new([1; 16]), PoolIndex(0))),
            name: Some("shop".parse().unwrap()),
            claimed: Some("d".into()),
            requests: 1,
            requested: WallTime::from_millis(1),
        });
        assert_eq!(Record::decode(&record.encode()), Some(record));
        assert_eq!(Record::decode(b"\xff"), None);
    }
}
