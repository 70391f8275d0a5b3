//! Every setting, described once.

use std::fmt::Display;
use std::net::IpAddr;
use std::time::Duration;

use shoal_types::LinkName;

use super::{Feature, Raw, Settings};
use crate::span::{parse_span, span_text};

/// A setting.
pub struct Key {
    /// Its name in the file; the variable follows from it.
    pub name: &'static str,
    /// Its flag, with dashes.
    pub flag: &'static str,
    /// Whether it is a list, so that the flag may be given several times.
    pub many: bool,
    /// What it is, as the flag's help and docs/reference/configuration.md say it.
    pub help: &'static str,
    /// Reads a value into the settings, or says in a sentence why not.
    pub(crate) set: fn(&mut Settings, &Raw) -> Result<(), String>,
    /// The value in force as text; empty: not set.
    pub(crate) show: fn(&Settings) -> String,
}

impl Key {
    /// Its environment variable: `SHOAL_QUIC_PORT`.
    pub fn variable(&self) -> String {
        format!("SHOAL_{}", self.name.to_uppercase())
    }
}

/// How many addresses a host may tell the others; the host fact's limit.
const ADVERTISE_MAX: usize = 8;

/// Shortest life of a key.
const KEY_LIFETIME_MIN: Duration = Duration::from_secs(120);

/// Shortest lease.
const LEASE_MIN: Duration = Duration::from_secs(60);

/// Least MTU: what IPv6 asks of every link (RFC 8200, section 5).
const MTU_MIN: u16 = 1280;

/// Largest MTU: the largest IP packet less VXLAN's headers over IPv4 (RFC 7348).
const MTU_MAX: u16 = u16::MAX - 50;

/// All settings, in the order in which they are shown.
pub const KEYS: &[Key] = &[
    Key {
        name: "name",
        flag: "--name",
        many: false,
        help: "The host's name in the fabric [default: the machine's host name]",
        set: |settings, raw| raw.parsed().map(|name| settings.name = Some(name)),
        show: |settings| settings.name.as_ref().map(ToString::to_string).unwrap_or_default(),
    },
    Key {
        name: "advertise",
        flag: "--advertise",
        many: true,
        help: "Underlay addresses told to the other hosts, the preferred one first, at most 8 [default: chosen]",
        set: |settings, raw| advertise(raw).map(|addresses| settings.advertise = addresses),
        show: |settings| joined(&settings.advertise),
    },
    Key {
        name: "quic_port",
        flag: "--quic-port",
        many: false,
        help: "UDP port on which agents talk to each other [default: 7373]",
        set: |settings, raw| raw.number(1, u16::MAX, "a UDP port").map(|port| settings.quic_port = port),
        show: |settings| settings.quic_port.to_string(),
    },
    Key {
        name: "wireguard_port",
        flag: "--wireguard-port",
        many: false,
        help: "UDP port of the encrypted tunnel; while a key changes the next one too [default: 7375]",
        set: |settings, raw| {
            raw.number(1, u16::MAX - 1, "a UDP port with another above it")
                .map(|port| settings.wireguard_port = port)
        },
        show: |settings| settings.wireguard_port.to_string(),
    },
    Key {
        name: "relay_port",
        flag: "--relay-port",
        many: false,
        help: "UDP port on the loopback device for packets to hosts that cannot be met [default: 7377]",
        set: |settings, raw| raw.number(1, u16::MAX, "a UDP port").map(|port| settings.relay_port = port),
        show: |settings| settings.relay_port.to_string(),
    },
    Key {
        name: "key_lifetime",
        flag: "--key-lifetime",
        many: false,
        help: "How long a key of encrypted tunnels is used: a number with m, h or d [default: 7d]",
        set: |settings, raw| key_lifetime(raw).map(|lifetime| settings.key_lifetime = lifetime),
        show: |settings| span_text(settings.key_lifetime),
    },
    Key {
        name: "lease",
        flag: "--lease",
        many: false,
        help: "How long other hosts wait for word of one before they take over its spare addresses [default: 1h]",
        set: |settings, raw| lease(raw).map(|lease| settings.lease = lease),
        show: |settings| span_text(settings.lease),
    },
    Key {
        name: "vxlan_port",
        flag: "--vxlan-port",
        many: false,
        help: "UDP port of VXLAN, for networks in clear only [default: 7374]",
        set: |settings, raw| raw.number(1, u16::MAX, "a UDP port").map(|port| settings.vxlan_port = port),
        show: |settings| settings.vxlan_port.to_string(),
    },
    Key {
        name: "tunnel_device",
        flag: "--tunnel-device",
        many: false,
        help: "What the names of tunnel devices begin with, at most 9 letters [default: shoal]",
        set: |settings, raw| tunnel_device(raw).map(|name| settings.tunnel_device = name),
        show: |settings| settings.tunnel_device.clone(),
    },
    Key {
        name: "mtu",
        flag: "--mtu",
        many: false,
        help: "MTU of containers' links in bytes, 1280 to 65485 [default: from the underlay]",
        set: |settings, raw| raw.number(MTU_MIN, MTU_MAX, "an MTU").map(|mtu| settings.mtu = Some(mtu)),
        show: |settings| settings.mtu.map(|mtu| mtu.to_string()).unwrap_or_default(),
    },
    Key {
        name: "state_dir",
        flag: "--state-dir",
        many: false,
        help: "Folder of the agent's durable state [default: /var/lib/shoal]",
        set: |settings, raw| raw.folder().map(|path| settings.state_dir = path),
        show: |settings| settings.state_dir.display().to_string(),
    },
    Key {
        name: "pin_dir",
        flag: "--pin-dir",
        many: false,
        help: "Folder in a BPF file system for programs and maps [default: /sys/fs/bpf/shoal]",
        set: |settings, raw| raw.folder().map(|path| settings.pin_dir = path),
        show: |settings| settings.pin_dir.display().to_string(),
    },
    Key {
        name: "socket",
        flag: "--socket",
        many: false,
        help: "The agent's own socket, for the command line [default: /run/shoal/agent.sock]",
        set: |settings, raw| raw.socket().map(|path| settings.socket = path),
        show: |settings| settings.socket.display().to_string(),
    },
    Key {
        name: "plugin_socket",
        flag: "--plugin-socket",
        many: false,
        help: "Socket on which Docker asks Shoal [default: /run/docker/plugins/shoal.sock]",
        set: |settings, raw| raw.socket().map(|path| settings.plugin_socket = path),
        show: |settings| settings.plugin_socket.display().to_string(),
    },
    Key {
        name: "docker_socket",
        flag: "--docker-socket",
        many: false,
        help: "Docker's own socket [default: /run/docker.sock]",
        set: |settings, raw| raw.socket().map(|path| settings.docker_socket = path),
        show: |settings| settings.docker_socket.display().to_string(),
    },
    Key {
        name: "log_level",
        flag: "--log-level",
        many: false,
        help: "What is logged: error, warn, info, debug or trace [default: info]",
        set: |settings, raw| raw.parsed().map(|level| settings.log_level = level),
        show: |settings| settings.log_level.to_string(),
    },
    Key {
        name: "features_off",
        flag: "--features-off",
        many: true,
        help: "Kernel features not to use: redirect-peer, map-batch, wireguard [default: none]",
        set: |settings, raw| features(raw).map(|features| settings.features_off = features),
        show: |settings| joined(&settings.features_off),
    },
];

/// "-clear" or a digit is added to it.
fn tunnel_device(raw: &Raw) -> Result<String, String> {
    let prefix = raw.text()?;
    let longest: Result<LinkName, _> = format!("{prefix}-clear").parse();
    longest.map_err(|_| {
        format!("\"{prefix}\" cannot begin the names of links, to which up to 6 letters are added")
    })?;
    Ok(prefix)
}

fn key_lifetime(raw: &Raw) -> Result<Duration, String> {
    let lifetime = parse_span(&raw.text()?)?;
    if lifetime < KEY_LIFETIME_MIN {
        return Err("a key is used for two minutes at least: a change of keys takes one".into());
    }
    Ok(lifetime)
}

fn lease(raw: &Raw) -> Result<Duration, String> {
    let lease = parse_span(&raw.text()?)?;
    if lease < LEASE_MIN {
        return Err(
            "a lease lasts a minute at least: a host that restarts must not lose its addresses".into()
        );
    }
    Ok(lease)
}

fn advertise(raw: &Raw) -> Result<Vec<IpAddr>, String> {
    let addresses = raw.list::<IpAddr>(|word, _| format!("\"{word}\" is not an IP address"))?;
    if let Some(bad) = addresses.iter().find(|a| a.is_unspecified() || a.is_loopback() || a.is_multicast()) {
        return Err(format!("{bad} cannot be reached by another host"));
    }
    if addresses.len() > ADVERTISE_MAX {
        return Err(format!("{} addresses are given; at most {ADVERTISE_MAX} are told", addresses.len()));
    }
    Ok(addresses)
}

fn features(raw: &Raw) -> Result<Vec<Feature>, String> {
    let mut features = raw.list::<Feature>(|_, error| error)?;
    features.sort();
    features.dedup();
    Ok(features)
}

fn joined<T: Display>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
