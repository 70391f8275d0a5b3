//! The host at a glance, and what `doctor` found.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shoal_types::{FabricId, HostId, HostName, LinkName, NetworkName};

/// The host at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The machine and its agent.
    pub host: ThisHost,
    /// `None`: the host belongs to no fabric.
    pub fabric: Option<FabricInfo>,
    /// QUIC between agents.
    pub transport: TransportInfo,
    /// How containers' packets travel between hosts.
    pub tunnel: TunnelInfo,
    /// The container engine.
    pub docker: Docker,
    /// Networks of the fabric.
    pub networks: NetworkCount,
    /// Endpoints.
    pub endpoints: EndpointCounts,
    /// The settings in force, each with the place it came from.
    pub settings: Vec<Setting>,
    /// Everything that was lost since the agent started, by name; a name is there even at zero.
    pub losses: BTreeMap<String, u64>,
    /// Sentences that the user should read.
    pub notices: Vec<String>,
}

/// The machine and its agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThisHost {
    /// The host's id.
    pub id: HostId,
    /// Its name.
    pub name: HostName,
    /// The agent's version.
    pub version: String,
    /// Seconds since the agent started.
    pub uptime_s: u64,
}

/// The fabric as this host sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FabricInfo {
    /// The fabric.
    pub id: FabricId,
    /// Hosts that are not forgotten, this one included.
    pub hosts: u32,
    /// How many of them live, this one included.
    pub alive: u32,
}

/// QUIC between agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransportInfo {
    /// Where the agent listens (UDP); `None` while it does not.
    pub listen: Option<SocketAddr>,
    /// Addresses told to the others, the preferred one first.
    pub advertise: Vec<IpAddr>,
    /// Hosts with a connection that is up.
    pub peers: u32,
    /// Packets of encrypted tunnels that agents carried, since the start.
    #[serde(default)]
    pub relayed: Relayed,
}

/// Packets of encrypted tunnels whose ends cannot meet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relayed {
    /// Sent by this host's end.
    pub sent: u64,
    /// Handed to this host's end.
    pub delivered: u64,
    /// Passed on between two other hosts.
    pub passed_on: u64,
    /// Copies of those sent, to look for the direct way.
    pub copied: u64,
}

/// How packets travel between hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelInfo {
    /// The encrypted tunnel's end through which this host sends; `None` while it has none: then nothing leaves.
    pub encrypted: Option<EncryptedEnd>,
    /// Whether this host's key gives way to another just now.
    pub key_changing: bool,
    /// The device for networks in clear; `None`: there is no such network.
    pub clear: Option<ClearDevice>,
    /// The networks whose packets travel between hosts in clear, as they were asked for.
    pub clear_networks: Vec<NetworkName>,
}

/// This host's end of the encrypted tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncryptedEnd {
    /// Its network device.
    pub device: LinkName,
    /// Its UDP port on the underlay.
    pub port: u16,
    /// Its address inside the tunnel.
    pub address: Ipv4Addr,
    /// Who encrypts.
    pub by: Encrypter,
    /// The public key, as `wg` writes it.
    pub key: String,
    /// How old the key is, seconds.
    pub key_age_s: u64,
    /// Whether it is in place.
    pub up: bool,
}

/// Who encrypts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encrypter {
    /// The kernel's WireGuard.
    Kernel,
    /// A process of Shoal's: the kernel has no WireGuard, or may not use it.
    UserSpace,
}

/// The device for networks in clear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClearDevice {
    /// Its name.
    pub device: LinkName,
    /// Its UDP port.
    pub port: u16,
    /// Whether it is in place.
    pub up: bool,
}

/// Whether a network is encrypted between hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encryption {
    /// It is.
    On,
    /// It is not, by request: whoever can read the underlay can read it.
    Off,
}

/// The container engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Docker {
    /// Docker's own socket.
    pub socket: PathBuf,
    /// Whether it answers.
    pub reachable: bool,
    /// Why not, one sentence.
    pub why: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The socket on which Docker asks Shoal.
    pub plugin_socket: PathBuf,
}

/// How many networks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkCount {
    /// In the fabric.
    pub total: u32,
    /// Those that this host's Docker has.
    pub here: u32,
}

/// How many endpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointCounts {
    /// On this host.
    pub local: u32,
    /// On the others.
    pub remote: u32,
}

/// A setting in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its key in the configuration file.
    pub key: String,
    /// Its value as text; empty: not set, the agent chooses.
    pub value: String,
    /// Where it came from.
    pub source: SettingSource,
}

/// Where a setting came from. In JSON `{"from":"file","path":"/etc/shoal/config.toml","line":3}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum SettingSource {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u32,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// A flag of `shoal agent`.
    Flag {
        /// With its dashes.
        flag: String,
    },
}

/// What was compared and found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doctor {
    /// Every comparison, those without a finding too, in the order they were made.
    pub checks: Vec<Check>,
    /// How many are not as they should be.
    pub differences: u32,
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at: "tunnel device", "network shop", "host-2 port 7374".
    pub subject: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found, one sentence.
    pub finding: String,
    /// What mends it, a sentence or a command.
    pub mend: Option<String>,
}

/// Sentences that go with a command that was carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notices {
    /// The sentences.
    pub notices: Vec<String>,
}

/// A version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The software's.
    pub version: String,
}
