//! What a transport is started with, and its limits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use shoal_trust::{Certificate, FabricRoot, HostKey};

/// The UDP port unless another is set.
pub const PORT_DEFAULT: u16 = 7373;

/// Longest message or datagram, bytes.
pub const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// How to start a transport.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen. `[::]` serves IPv4 too, and falls back to `0.0.0.0` where IPv6 is off.
    pub listen: SocketAddr,
    /// This host's key.
    pub key: Arc<HostKey>,
    /// Limits; the default is right outside tests.
    pub limits: Limits,
}

/// This host's place in its fabric.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its certificate, over the key in [`Config::key`].
    pub certificate: Certificate,
    /// The fabric's root key, on the host that keeps it: it renews its own certificate and needs no other for that.
    pub root: Option<Arc<FabricRoot>>,
}

/// Bounds in time and number.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Strangers (connections that have not proved membership) at once; more are dropped and counted.
    pub strangers_max: usize,
    /// How long a stranger may take for its handshake and hello.
    pub hello_timeout: Duration,
    /// How long to wait for an answer when dialling, over all addresses.
    pub dial_timeout: Duration,
    /// Wait after the first failed dial of a host; doubled after each.
    pub backoff_min: Duration,
    /// Longest such wait.
    pub backoff_max: Duration,
    /// Joins with a good token at once.
    pub joins_burst: u32,
    /// After how long another join is allowed.
    pub join_every: Duration,
    /// Connections are probed this often; up to five times less often in a fabric of more than a hundred hosts.
    pub keep_alive: Duration,
    /// A connection without a sign of life for so long is closed; longer in proportion where it is probed less often.
    pub idle_timeout: Duration,
    /// Waiting parcels per peer.
    pub outbox_parcels: usize,
    /// Waiting bytes per peer.
    pub outbox_bytes: usize,
    /// How long the loser of two simultaneous connections is still read.
    pub retire_after: Duration,
    /// How often certificates are looked at.
    pub upkeep_every: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            strangers_max: 64,
            hello_timeout: Duration::from_secs(5),
            dial_timeout: Duration::from_secs(5),
            backoff_min: Duration::from_millis(250),
            backoff_max: Duration::from_secs(15),
            joins_burst: 10,
            join_every: Duration::from_secs(1),
            keep_alive: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(15),
            outbox_parcels: 256,
            outbox_bytes: 32 << 20,
            retire_after: Duration::from_secs(2),
            upkeep_every: Duration::from_secs(60),
        }
    }
}
