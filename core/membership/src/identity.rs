//! A host in one of its lives.

use serde::{Deserialize, Serialize};
use shoal_types::HostId;

/// SWIM never takes a host back that was declared down; one that was, or has restarted, therefore comes back in a
/// new life. The higher life wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The id's bytes, half as long on the wire as its text.
    host: [u8; 16],
    life: u64,
}

impl Identity {
    pub(crate) fn new(host: HostId, life: u64) -> Self {
        Self { host: *host.bytes(), life }
    }

    /// For an announcement, which a host accepts in any life.
    pub(crate) fn of_any_life(host: HostId) -> Self {
        Self::new(host, 0)
    }

    pub(crate) fn host(&self) -> HostId {
        HostId::new(self.host)
    }

    pub(crate) fn life(&self) -> u64 {
        self.life
    }

    pub(crate) fn next_life(self) -> Option<Self> {
        self.life.checked_add(1).map(|life| Self { life, ..self })
    }
}

impl foca::Identity for Identity {
    type Addr = [u8; 16];

    fn renew(&self) -> Option<Self> {
        self.next_life()
    }

    fn addr(&self) -> [u8; 16] {
        self.host
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.life > adversary.life
    }
}
