//! What should happen, for someone else to do.

use shoal_types::HostId;

use crate::Path;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send a probe that makes an IP packet of `bytes` bytes; its answer carries `nonce`.
    Probe {
        /// To whom.
        host: HostId,
        /// Tells answers apart.
        nonce: u64,
        /// Length of the IP packet.
        bytes: u16,
    },
    /// Make a bulk transfer; [`Paths::bulk`](crate::Paths::bulk) takes its outcome.
    Transfer(HostId),
    /// What is known of a path has changed.
    Found(HostId, Path),
}
