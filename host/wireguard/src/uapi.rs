//! The configuration protocol of WireGuard implementations in user space, as text:
//! <https://www.wireguard.com/xplatform/>. Reading and writing only; what it means is decided elsewhere.
//!
//! A request is lines `key=value` that end with an empty one. Beside `get=1` and `set=1` there is `shoal_counters=1`,
//! and a set may hold `shoal_mtu`. A request is read whole before any of it is done: half a set never happens.

mod state;

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use shoal_types::{WireGuardKey, WireGuardSecret, hex, unhex};

pub use state::{DeviceState, PeerState, Unanswered};

/// Longest request, bytes: thousands of peers.
pub const REQUEST_MAX: usize = 4 << 20;
/// Smallest MTU that a tunnel can have: the smallest IPv6 packet with its wrapping.
pub const MTU_MIN: u16 = 1280 + 50;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `get=1`
    Get,
    /// `shoal_counters=1`
    Counters,
    /// `set=1`
    Set(Change),
}

/// A change of the device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// The new private key; the inner `None` takes it away.
    pub private: Option<Option<WireGuardSecret>>,
    /// The new port, 0 for any.
    pub port: Option<u16>,
    /// The new size of the largest packet inside the tunnel, bytes.
    pub mtu: Option<u16>,
    /// All peers that are not named go.
    pub replace_peers: bool,
    /// What happens to peers, in order.
    pub peers: Vec<PeerChange>,
}

/// A change of one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerChange {
    /// Which one.
    pub key: WireGuardKey,
    /// It goes.
    pub remove: bool,
    /// It is not made if it is not there.
    pub update_only: bool,
    /// The new pre-shared key; the inner `None` takes it away.
    pub preshared: Option<Option<WireGuardSecret>>,
    /// Where it is.
    pub endpoint: Option<SocketAddr>,
    /// The new interval of keepalives, seconds; 0 for none.
    pub keepalive: Option<u16>,
    /// It loses its address.
    pub replace_address: bool,
    /// Its one address in the tunnel.
    pub address: Option<Ipv4Addr>,
}

impl PeerChange {
    /// One that changes nothing.
    pub const fn new(key: WireGuardKey) -> Self {
        Self {
            key,
            remove: false,
            update_only: false,
            preshared: None,
            endpoint: None,
            keepalive: None,
            replace_address: false,
            address: None,
        }
    }
}

/// Why a request is refused; the answer is `errno=` and the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A line is not understood or has an impossible value.
    #[error("the request has a line that is not understood")]
    Invalid,
    /// It is neither of the known requests.
    #[error("the request is not known")]
    Unknown,
    /// The listen port cannot be opened.
    #[error("the listen port cannot be opened")]
    Port,
}

impl Refusal {
    /// The number of errno.
    pub const fn errno(self) -> i32 {
        match self {
            Self::Invalid => 22,
            Self::Unknown => 71,
            Self::Port => 98,
        }
    }
}

/// Reads a request, with or without the empty line at its end.
pub fn parse(text: &str) -> Result<Request, Refusal> {
    let mut lines = text.lines().take_while(|line| !line.is_empty());
    match lines.next() {
        Some("get=1") => lines.next().map_or(Ok(Request::Get), |_| Err(Refusal::Invalid)),
        Some("shoal_counters=1") => lines.next().map_or(Ok(Request::Counters), |_| Err(Refusal::Invalid)),
        Some("set=1") => {
            let mut change = Change::default();
            for line in lines {
                let (key, value) = line.split_once('=').ok_or(Refusal::Invalid)?;
                read_line(&mut change, key, value).ok_or(Refusal::Invalid)?;
            }
            Ok(Request::Set(change))
        }
        _ => Err(Refusal::Unknown),
    }
}

fn read_line(change: &mut Change, key: &str, value: &str) -> Option<()> {
    if key == "public_key" {
        change.peers.push(PeerChange::new(WireGuardKey::new(unhex(value)?)));
        return Some(());
    }
    match change.peers.last_mut() {
        Some(peer) => read_peer_line(peer, key, value),
        None => read_device_line(change, key, value),
    }
}

fn read_device_line(change: &mut Change, key: &str, value: &str) -> Option<()> {
    match key {
        "private_key" => change.private = Some(secret(value)?),
        "listen_port" => change.port = Some(value.parse().ok()?),
        "shoal_mtu" => change.mtu = Some(value.parse().ok().filter(|mtu| *mtu >= MTU_MIN)?),
        "replace_peers" => change.replace_peers = truth(value)?,
        // Packets are not marked: "none" is all that can be asked for.
        "fwmark" => (value == "0" || value.is_empty()).then_some(())?,
        _ => return None,
    }
    Some(())
}

fn read_peer_line(peer: &mut PeerChange, key: &str, value: &str) -> Option<()> {
    match key {
        "remove" => peer.remove = truth(value)?,
        "update_only" => peer.update_only = truth(value)?,
        "preshared_key" => peer.preshared = Some(secret(value)?),
        "endpoint" => peer.endpoint = Some(value.parse().ok()?),
        "persistent_keepalive_interval" => peer.keepalive = Some(value.parse().ok()?),
        "replace_allowed_ips" => {
            peer.replace_address = truth(value)?;
            peer.address = None;
        }
        "allowed_ip" => peer.address = Some(value.strip_suffix("/32")?.parse().ok()?),
        "protocol_version" => (value == "1").then_some(())?,
        _ => return None,
    }
    Some(())
}

fn truth(value: &str) -> Option<bool> {
    // "false" is not in the protocol: what is not wished is not written.
    (value == "true").then_some(true)
}

/// A secret, where all zeros stand for none.
fn secret(value: &str) -> Option<Option<WireGuardSecret>> {
    let bytes = unhex(value)?;
    Some((bytes != [0; 32]).then(|| WireGuardSecret::new(bytes)))
}

impl Change {
    /// The request that asks for this.
    pub fn text(&self) -> String {
        let mut text = String::from("set=1\n");
        let secret = |secret: &Option<WireGuardSecret>| {
            hex(secret.as_ref().map_or(&[0; 32], |secret| secret.reveal()))
        };
        if let Some(private) = &self.private {
            let _ = writeln!(text, "private_key={}", secret(private));
        }
        if let Some(port) = self.port {
            let _ = writeln!(text, "listen_port={port}");
        }
        if let Some(mtu) = self.mtu {
            let _ = writeln!(text, "shoal_mtu={mtu}");
        }
        if self.replace_peers {
            text.push_str("replace_peers=true\n");
        }
        for peer in &self.peers {
            let _ = writeln!(text, "public_key={}", hex(peer.key.bytes()));
            let flags = [(peer.remove, "remove"), (peer.update_only, "update_only")];
            for (_, name) in flags.iter().filter(|(is_set, _)| *is_set) {
                let _ = writeln!(text, "{name}=true");
            }
            if let Some(preshared) = &peer.preshared {
                let _ = writeln!(text, "preshared_key={}", secret(preshared));
            }
            if let Some(endpoint) = peer.endpoint {
                let _ = writeln!(text, "endpoint={endpoint}");
            }
            if let Some(keepalive) = peer.keepalive {
                let _ = writeln!(text, "persistent_keepalive_interval={keepalive}");
            }
            if peer.replace_address {
                text.push_str("replace_allowed_ips=true\n");
            }
            if let Some(address) = peer.address {
                let _ = writeln!(text, "allowed_ip={address}/32");
            }
        }
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests;
