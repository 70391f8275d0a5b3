//! What `get=1` tells, written and read.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use shoal_types::{WireGuardKey, WireGuardSecret, hex, unhex};

use super::secret;

/// What `get=1` tells of the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceState {
    /// The private key.
    pub private: Option<WireGuardSecret>,
    /// The port it listens on.
    pub port: Option<u16>,
    /// All peers.
    pub peers: Vec<PeerState>,
}

/// What `get=1` tells of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerState {
    /// Which one.
    pub key: WireGuardKey,
    /// The pre-shared key.
    pub preshared: Option<WireGuardSecret>,
    /// Where it was heard from last, or is expected.
    pub endpoint: Option<SocketAddr>,
    /// Interval of keepalives, seconds.
    pub keepalive: Option<u16>,
    /// When the last handshake was completed, since 1970.
    pub last_handshake: Option<Duration>,
    /// Bytes received from it.
    pub received: u64,
    /// Bytes sent to it.
    pub sent: u64,
    /// Its address in the tunnel.
    pub address: Option<Ipv4Addr>,
}

impl DeviceState {
    /// The answer, without its `errno`.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Some(private) = &self.private {
            let _ = writeln!(text, "private_key={}", hex(private.reveal()));
        }
        if let Some(port) = self.port {
            let _ = writeln!(text, "listen_port={port}");
        }
        for peer in &self.peers {
            peer.write(&mut text);
        }
        text
    }
}

impl PeerState {
    fn write(&self, text: &mut String) {
        let _ = writeln!(text, "public_key={}", hex(self.key.bytes()));
        let preshared = self.preshared.as_ref().map_or([0; 32], |secret| *secret.reveal());
        let _ = writeln!(text, "preshared_key={}", hex(&preshared));
        let _ = writeln!(text, "protocol_version=1");
        if let Some(endpoint) = self.endpoint {
            let _ = writeln!(text, "endpoint={endpoint}");
        }
        let last = self.last_handshake.unwrap_or_default();
        let _ = writeln!(text, "last_handshake_time_sec={}", last.as_secs());
        let _ = writeln!(text, "last_handshake_time_nsec={}", last.subsec_nanos());
        let _ = writeln!(text, "tx_bytes={}", self.sent);
        let _ = writeln!(text, "rx_bytes={}", self.received);
        let _ = writeln!(text, "persistent_keepalive_interval={}", self.keepalive.unwrap_or(0));
        if let Some(address) = self.address {
            let _ = writeln!(text, "allowed_ip={address}/32");
        }
    }
}

/// Why an answer says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// The request was refused, with this errno.
    #[error("refused with errno {0}")]
    Refused(i32),
    /// The answer is cut short or has a line that is not understood.
    #[error("the answer is not understood")]
    Malformed,
}

impl DeviceState {
    /// Reads the answer to `get=1`. What other implementations tell beyond it is passed over.
    pub fn parse(text: &str) -> Result<Self, Unanswered> {
        let mut state = Self { private: None, port: None, peers: Vec::new() };
        for line in text.lines() {
            let (key, value) = line.split_once('=').ok_or(Unanswered::Malformed)?;
            if key == "errno" {
                return match value.parse() {
                    Ok(0) => Ok(state),
                    Ok(errno) => Err(Unanswered::Refused(errno)),
                    Err(_) => Err(Unanswered::Malformed),
                };
            }
            state.read_line(key, value).ok_or(Unanswered::Malformed)?;
        }
        Err(Unanswered::Malformed)
    }

    fn read_line(&mut self, key: &str, value: &str) -> Option<()> {
        if key == "public_key" {
            self.peers.push(PeerState::new(WireGuardKey::new(unhex(value)?)));
            return Some(());
        }
        match (self.peers.last_mut(), key) {
            (Some(peer), _) => peer.read_line(key, value)?,
            (None, "private_key") => self.private = secret(value)?,
            (None, "listen_port") => self.port = Some(value.parse().ok()?),
            (None, _) => {}
        }
        Some(())
    }
}

impl PeerState {
    /// One of which nothing is known but its key.
    pub const fn new(key: WireGuardKey) -> Self {
        Self {
            key,
            preshared: None,
            endpoint: None,
            keepalive: None,
            last_handshake: None,
            received: 0,
            sent: 0,
            address: None,
        }
    }

    fn read_line(&mut self, key: &str, value: &str) -> Option<()> {
        let mut handshake = self.last_handshake.unwrap_or_default();
        match key {
            "preshared_key" => self.preshared = secret(value)?,
            "endpoint" => self.endpoint = Some(value.parse().ok()?),
            "persistent_keepalive_interval" => {
                self.keepalive = Some(value.parse().ok()?).filter(|every| *every > 0);
            }
            "last_handshake_time_sec" => {
                handshake = Duration::new(value.parse().ok()?, handshake.subsec_nanos());
            }
            "last_handshake_time_nsec" => {
                let nanos = value.parse().ok().filter(|nanos| *nanos < 1_000_000_000)?;
                handshake = Duration::new(handshake.as_secs(), nanos);
            }
            "rx_bytes" => self.received = value.parse().ok()?,
            "tx_bytes" => self.sent = value.parse().ok()?,
            "allowed_ip" => self.address = Some(value.strip_suffix("/32")?.parse().ok()?),
            _ => {}
        }
        self.last_handshake = (!handshake.is_zero()).then_some(handshake);
        Some(())
    }
}
