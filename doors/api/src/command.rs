//! What may be asked.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use shoal_types::{HostName, IpNet, NetworkName};

/// A request to the agent. In JSON an object whose `command` names the variant, beside the variant's fields:
/// `{"command":"network_delete","name":"shop"}`.
///
/// Fields that the agent does not know are refused, never ignored: a newer client's wish must not be half fulfilled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Start a fabric of one. Refused (conflict) if the host belongs to a fabric. Answer: [`Answer::Joined`].
    ///
    /// [`Answer::Joined`]: crate::Answer::Joined
    Init {
        /// The host's name in the fabric; `None`: as set, else the machine's host name.
        name: Option<HostName>,
    },
    /// Make a join token. Answer: [`Answer::Token`](crate::Answer::Token).
    Token {
        /// Seconds until it ends, at least 1.
        ttl_s: u64,
    },
    /// The join tokens that are open. Answer: [`Answer::Tokens`](crate::Answer::Tokens).
    TokenList,
    /// End open join tokens at once, on every host. Answer: [`Answer::Revoked`](crate::Answer::Revoked).
    TokenRevoke {
        /// A token's name, as the list has it, or its text; `None`: every open one.
        token: Option<String>,
    },
    /// Join a fabric. Answers [`Answer::Joined`](crate::Answer::Joined) once this host has its certificate and the
    /// fabric's facts; whether every host answers is then seen in [`Command::Hosts`].
    Join(Join),
    /// Leave the fabric. Refused while a container of this host is on a network. Answer:
    /// [`Answer::Done`](crate::Answer::Done).
    Leave,
    /// Put a host out of the fabric for good. Answer: [`Answer::Done`](crate::Answer::Done).
    Forget {
        /// Its name, its id, or the first digits of its id (four or more) if no other host's id starts so.
        host: String,
    },
    /// Give this host a new key for encrypted tunnels; the change takes about a minute and costs no packet. Answer:
    /// [`Answer::Done`](crate::Answer::Done).
    RotateKey,
    /// The host at a glance. Answer: [`Answer::Status`](crate::Answer::Status).
    Status,
    /// The fabric's hosts. Answer: [`Answer::Hosts`](crate::Answer::Hosts).
    Hosts,
    /// Make a network on every host. Answer: [`Answer::Network`](crate::Answer::Network).
    NetworkCreate(NetworkCreate),
    /// All networks. Answer: [`Answer::Networks`](crate::Answer::Networks).
    NetworkList,
    /// Remove a network everywhere. Refused (conflict) while a container uses it anywhere. Answer:
    /// [`Answer::Done`](crate::Answer::Done).
    NetworkDelete {
        /// The network.
        name: NetworkName,
    },
    /// All endpoints. Answer: [`Answer::Endpoints`](crate::Answer::Endpoints).
    Endpoints,
    /// Who owns which addresses. Answer: [`Answer::Addresses`](crate::Answer::Addresses).
    Addresses,
    /// Compare kernel, Docker and facts. Answer: [`Answer::Doctor`](crate::Answer::Doctor).
    Doctor,
    /// The agent's version. Answer: [`Answer::Version`](crate::Answer::Version).
    Version,
}

/// See [`Command::Join`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// A member: a host name or an IP address (IPv6 without brackets).
    pub host: String,
    /// The member's QUIC port; `None`: the usual one.
    pub port: Option<u16>,
    /// The token that `shoal token` printed on a member.
    pub token: String,
    /// Underlay addresses at which this host is reached, the preferred one first; empty: as set, else chosen.
    #[serde(default)]
    pub advertise: Vec<IpAddr>,
}

/// See [`Command::NetworkCreate`]: Docker's own flags, sorted by subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkCreate {
    /// The name, the same on every host.
    pub name: NetworkName,
    /// Subnets asked for, at most 16 and at least one of IPv4; empty: choose one.
    #[serde(default)]
    pub subnets: Vec<SubnetRequest>,
    /// The network also carries IPv6; without an IPv6 subnet one is chosen.
    #[serde(default)]
    pub ipv6: bool,
    /// No way out of the network.
    #[serde(default)]
    pub internal: bool,
    /// Docker labels, at most 256.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Driver options (`-o`), at most 64.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

/// A subnet as asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubnetRequest {
    /// The prefix, host bits zero.
    pub prefix: IpNet,
    /// Its gateway; `None`: the first address.
    #[serde(default)]
    pub gateway: Option<IpAddr>,
    /// Addresses chosen by Shoal come from this part only.
    #[serde(default)]
    pub ip_range: Option<IpNet>,
    /// Reserved addresses by name.
    #[serde(default)]
    pub aux: BTreeMap<String, IpAddr>,
}

impl Command {
    /// The name in JSON and in logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Init { .. } => "init",
            Self::Token { .. } => "token",
            Self::TokenList => "token_list",
            Self::TokenRevoke { .. } => "token_revoke",
            Self::Join(_) => "join",
            Self::Leave => "leave",
            Self::Forget { .. } => "forget",
            Self::RotateKey => "rotate_key",
            Self::Status => "status",
            Self::Hosts => "hosts",
            Self::NetworkCreate(_) => "network_create",
            Self::NetworkList => "network_list",
            Self::NetworkDelete { .. } => "network_delete",
            Self::Endpoints => "endpoints",
            Self::Addresses => "addresses",
            Self::Doctor => "doctor",
            Self::Version => "version",
        }
    }
}
