//! What makes this host a member: kept over restarts.

use serde::{Deserialize, Serialize};
use shoal_trust::Certificate;
use shoal_types::{FabricId, HostId};

/// A host's membership in a fabric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The fabric.
    pub fabric: FabricId,
    /// Its root's public key.
    pub root_public: [u8; 32],
    /// What this host shows to others.
    pub certificate: Certificate,
    /// Members and their keys as the introducer told them: trusted because a token vouched for the introducer.
    pub vouched: Vec<(HostId, [u8; 32])>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    root_public: [u8; 32],
    certificate: Vec<u8>,
    vouched: Vec<(HostId, [u8; 32])>,
}

impl Identity {
    /// Where it is kept.
    pub const KEY: &'static [u8] = b"fabric/identity";

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let stored = Stored {
            root_public: self.root_public,
            certificate: self.certificate.encode(),
            vouched: self.vouched.clone(),
        };
        // Postcard fails only on types it does not know, and these are all plain.
        postcard::to_allocvec(&stored).unwrap_or_default()
    }

    /// Reads what [`Identity::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let stored: Stored = postcard::from_bytes(bytes).ok()?;
        let certificate = Certificate::decode(&stored.certificate).ok()?;
        let (root_public, vouched) = (stored.root_public, stored.vouched);
        Some(Self { fabric: certificate.fabric, root_public, certificate, vouched })
    }
}
