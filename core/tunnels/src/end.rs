//! This host's own ends.

use serde::{Deserialize, Serialize};
use shoal_plan::Backend;
use shoal_types::{Moment, WallTime, WireGuardKey, WireGuardSecret};

/// A fresh pair of keys, drawn by someone who has chance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// The private half.
    pub secret: WireGuardSecret,
    /// The public half.
    pub key: WireGuardKey,
}

/// How a new end is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Making {
    /// Who encrypts.
    pub backend: Backend,
    /// UDP port of even generations; odd ones have the next, so that two ends can stand side by side.
    pub port: u16,
    /// Version of the software, of an end in user space only: a process goes on running what it was started from.
    pub software: Option<String>,
}

/// One of this host's ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Which of this host's keys it is.
    pub generation: u32,
    /// The keys.
    pub keys: KeyPair,
    /// How it was made.
    pub making: Making,
    /// The fabric's secret, if it was known when the end was made: the end mixes what follows from it into handshakes
    /// with ends that do so too.
    pub secret: Option<WireGuardSecret>,
    /// When it was made.
    pub made: WallTime,
    /// How far it has come.
    pub stage: Stage,
    /// Since when it has been at this stage, as far as this process knows.
    pub since: Moment,
}

/// The life of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stage {
    /// Other hosts learn of it and shake hands; nobody sends to it yet.
    Coming,
    /// Packets go through it both ways.
    Serving,
    /// Its successor serves; it still takes what is on its way, and what comes from hosts that have not heard.
    Leaving,
}

impl Own {
    /// The UDP port of this end on the underlay.
    pub fn port(&self) -> u16 {
        self.making.port.saturating_add(u16::from(self.generation % 2 == 1))
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    secret: [u8; 32],
    key: [u8; 32],
    in_kernel: bool,
    port: u16,
    software: Option<String>,
    made: u64,
    stage: Stage,
    fabric_secret: Option<[u8; 32]>,
}

/// What every record's key begins with; the generation follows, big-endian.
pub(crate) const PREFIX: &[u8] = b"secret/tunnel/";

impl Own {
    /// Where it is kept.
    pub(crate) fn record_key(generation: u32) -> Vec<u8> {
        [PREFIX, &generation.to_be_bytes()].concat()
    }

    /// Its record.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let stored = Stored {
            secret: *self.keys.secret.reveal(),
            key: *self.keys.key.bytes(),
            in_kernel: self.making.backend == Backend::Kernel,
            port: self.making.port,
            software: self.making.software.clone(),
            made: self.made.as_millis(),
            stage: self.stage,
            fabric_secret: self.secret.as_ref().map(|secret| *secret.reveal()),
        };
        // Postcard fails only on types it does not know, and these are all plain.
        postcard::to_allocvec(&stored).unwrap_or_default()
    }

    /// Reads a record back. Its stage begins anew at `now`.
    pub(crate) fn decode(key: &[u8], value: &[u8], now: Moment) -> Option<Self> {
        let generation = u32::from_be_bytes(key.strip_prefix(PREFIX)?.try_into().ok()?);
        let stored: Stored = postcard::from_bytes(value).ok()?;
        let keys =
            KeyPair { secret: WireGuardSecret::new(stored.secret), key: WireGuardKey::new(stored.key) };
        let backend = if stored.in_kernel { Backend::Kernel } else { Backend::UserSpace };
        let making = Making { backend, port: stored.port, software: stored.software };
        let made = WallTime::from_millis(stored.made);
        let secret = stored.fabric_secret.map(WireGuardSecret::new);
        Some(Self { generation, keys, making, secret, made, stage: stored.stage, since: now })
    }
}
