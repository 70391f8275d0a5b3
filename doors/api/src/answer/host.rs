//! Hosts, and how this one joins them.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use shoal_types::{FabricId, HostId, HostName, WallTime};

/// This host belongs to a fabric now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The fabric.
    pub fabric: FabricId,
    /// This host's id.
    pub host: HostId,
    /// This host's name.
    pub name: HostName,
    /// Addresses that this host tells the others, the preferred one first.
    pub addresses: Vec<IpAddr>,
    /// UDP port of QUIC.
    pub quic_port: u16,
    /// UDP port of the encrypted tunnel.
    pub wireguard_port: u16,
    /// Hosts of the fabric, this one included.
    pub hosts: u32,
    /// Sentences that the user should read.
    pub notices: Vec<String>,
}

/// A join token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The text to hand to `shoal join`. A secret until it ends.
    pub token: String,
    /// What to call it by afterwards, 8 hexadecimal digits. No secret.
    pub name: String,
    /// When it ends, milliseconds since 1970.
    #[serde(rename = "expires_at_ms")]
    pub expires_at: WallTime,
    /// Addresses at which this host may be joined, the preferred one first.
    pub addresses: Vec<IpAddr>,
    /// UDP port of QUIC.
    pub quic_port: u16,
}

/// A join token that has not ended and was not revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenToken {
    /// What it is called by.
    pub name: String,
    /// Name of the host that made it.
    pub made_by: String,
    /// When it ends, milliseconds since 1970.
    #[serde(rename = "expires_at_ms")]
    pub expires_at: WallTime,
    /// Seconds until then, by this host's clock.
    pub expires_in_s: u64,
}

/// A host of the fabric, as this one sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its id.
    pub id: HostId,
    /// Its name for people; not unique.
    pub name: HostName,
    /// Underlay addresses, the preferred one first.
    pub addresses: Vec<IpAddr>,
    /// UDP port of QUIC.
    pub quic_port: u16,
    /// UDP port of its encrypted tunnel; `None` until it has said so.
    pub tunnel_port: Option<u16>,
    /// Whether it lives.
    pub state: HostState,
    /// Its software's version.
    pub version: String,
    /// Largest IP packet of a container that reaches it, bytes; `None` until it was found, and for this host.
    pub path_mtu: Option<u16>,
    /// Whether its QUIC port answers.
    pub quic: Reach,
    /// Whether packets pass through the encrypted tunnel.
    pub tunnel: Reach,
    /// Whether other hosts hear its tunnel from elsewhere than it says it is: it is behind NAT.
    pub behind_nat: bool,
    /// The encrypted tunnel to it; `None` for this host, and until both have an end.
    pub wireguard: Option<HostTunnel>,
    /// Round trip over QUIC, microseconds.
    pub rtt_us: Option<u64>,
    /// How long ago anything was heard from it, milliseconds; `None`: never since this agent started.
    pub last_seen_ms: Option<u64>,
}

/// The encrypted tunnel between this host and another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostTunnel {
    /// The other host's public key, as `wg` writes it.
    pub key: String,
    /// Where the other host was heard from last, or is looked for.
    pub endpoint: Option<SocketAddr>,
    /// Whether that is an endpoint which hosts have observed; else the other host tells of it itself.
    pub endpoint_observed: bool,
    /// How packets get there.
    pub way: Way,
    /// How long ago the last handshake was completed, seconds; `None`: there was none.
    pub last_handshake_s: Option<u64>,
    /// Bytes received and found genuine since the tunnel was made, WireGuard's headers included.
    pub received_bytes: u64,
    /// Bytes sent, likewise.
    pub sent_bytes: u64,
}

/// How the packets of two encrypted ends reach each other. In JSON `{"kind":"relay","host":"host-3"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Way {
    /// From end to end; also while they have not found each other.
    Direct,
    /// Over the connection of the two hosts' agents, since no other UDP port lets them through.
    Agents,
    /// Through the agent of a third host that both reach.
    Relay {
        /// Its name.
        host: String,
    },
    /// Through agents, while no connection to any that could pass them on is there.
    Broken,
}

/// Whether a host lives, by membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostState {
    /// This host.
    #[serde(rename = "self")]
    This,
    /// It answers.
    Alive,
    /// It missed an answer; others are asked.
    Suspect,
    /// Nobody reaches it.
    Down,
    /// It is out for good.
    Forgotten,
}

/// Whether a port answers. In JSON `{"state":"unreachable","why":"..."}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Reach {
    /// It does.
    Ok,
    /// It does not.
    Unreachable {
        /// One sentence: which port of which address, what was tried.
        why: String,
    },
    /// Not tried to the end yet; also this host's own ports.
    Unknown,
}
