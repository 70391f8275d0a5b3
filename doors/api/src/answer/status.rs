//! The host at a glance, and what `doctor` found.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shoal_types::{FabricId, HostId, HostName, LinkName};

/// The host at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The machine and its agent.
    pub host: ThisHost,
    /// `None`: the host belongs to no fabric.
    pub fabric: Option<FabricInfo>,
    /// QUIC between agents.
    pub transport: TransportInfo,
    /// The device that carries containers' packets between hosts.
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
}

/// The tunnel device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelInfo {
    /// Its name.
    pub device: LinkName,
    /// Its UDP port.
    pub port: u16,
    /// Whether the kernel has it; it has none while the host belongs to no fabric.
    pub up: bool,
    /// Whether traffic between hosts is encrypted.
    pub encryption: Encryption,
    /// What that means, one sentence.
    pub encryption_note: String,
}

/// Whether traffic is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encryption {
    /// It is not: whoever can read the underlay can read it.
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
