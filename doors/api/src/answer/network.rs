//! Networks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use shoal_types::{HostName, IpNet, NetworkId, NetworkName};

use super::Encryption;

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its name, the same on every host.
    pub name: NetworkName,
    /// Its id, the same on every host; Docker's own id is another one.
    pub id: NetworkId,
    /// Its VXLAN id, 24 bits.
    pub vni: u32,
    /// Its subnets, IPv4 first.
    pub subnets: Vec<Subnet>,
    /// No way out of it.
    pub internal: bool,
    /// Docker labels.
    pub labels: BTreeMap<String, String>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
    /// The host that made it; its id if the fabric knows no name for it.
    pub creator: String,
    /// Whether its traffic is encrypted between hosts.
    pub encryption: Encryption,
    /// Endpoints on this host.
    pub endpoints_local: u32,
    /// Endpoints on all hosts.
    pub endpoints_total: u32,
    /// Other hosts on which it is off or was refused, for people.
    #[serde(default)]
    pub absent_on: Vec<HostName>,
    /// Whether Docker on this host has it.
    pub here: Here,
}

/// A subnet of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// The prefix.
    pub prefix: IpNet,
    /// The one gateway address, the same on every host.
    pub gateway: IpAddr,
    /// The part that chosen addresses come from, if it was limited.
    pub ip_range: Option<IpNet>,
    /// Reserved addresses by name.
    pub reserved: BTreeMap<String, IpAddr>,
}

/// Whether this host's Docker has a network. In JSON `{"state":"refused","why":"..."}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Here {
    /// It has.
    Present,
    /// Docker was told here to remove it; `shoal network create NAME` puts it back.
    Off,
    /// It is being made.
    Pending,
    /// Docker would not make it.
    Refused {
        /// One sentence.
        why: String,
    },
}
