//! The kernel as something that takes a whole desired state.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use shoal_plan::{Change, Observed};
use shoal_types::{LinkName, WireGuardKey};

/// A change that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {action} {object}: {reason}")]
pub struct KernelError {
    /// What was tried: "make link", "attach program to".
    pub action: String,
    /// On what: the link, map or address.
    pub object: String,
    /// The kernel's reason.
    pub reason: String,
}

/// Packets lost, by reason. The numbers and names are those of the programs; see `bpf/include/drops.h`.
pub type Drops = BTreeMap<&'static str, u64>;

/// What a link has carried since it was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Packets and bytes from the container that were forwarded.
    pub sent_packets: u64,
    /// See `sent_packets`.
    pub sent_bytes: u64,
    /// Packets and bytes delivered to the container.
    pub received_packets: u64,
    /// See `received_packets`.
    pub received_bytes: u64,
    /// Packets from or to the container that were lost.
    pub drops: Drops,
}

/// How an encrypted tunnel to one other end does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WireGuardStatus {
    /// Where the other end was heard from last, or is sent to.
    pub endpoint: Option<SocketAddr>,
    /// How long ago the last handshake was completed, to about a second; `None`: there was none.
    pub last_handshake: Option<Duration>,
    /// Bytes received and found genuine, WireGuard's own headers included.
    pub received_bytes: u64,
    /// Bytes sent, WireGuard's own headers included.
    pub sent_bytes: u64,
}

/// Everything that is counted in the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// By link.
    pub links: BTreeMap<LinkName, LinkCounters>,
    /// Lost at the tunnel before a container was known: foreign sources, unknown networks.
    pub tunnel_drops: Drops,
    /// By this host's tunnel device and the other end's key.
    pub wireguard: BTreeMap<(LinkName, WireGuardKey), WireGuardStatus>,
    /// Lost by processes that encrypt in user space, since each of them was started, by the reason that they tell.
    /// WireGuard in the kernel counts none of this.
    pub encryption_drops: BTreeMap<String, u64>,
}

/// Applies changes and tells what is there. Blocking; call it from threads that may wait.
///
/// Several threads may call at once. Changes to links and addresses take a fraction of a millisecond each, whatever
/// else goes on; what has to do with tunnels may take seconds while a process that encrypts does not answer. What one
/// thread observes while another applies is of the time before or after each of its changes, or of a link made by
/// half.
pub trait Kernel: Send + Sync {
    /// Applies changes in the order given, going on after one that fails; returns those that failed.
    fn apply(&self, changes: &[Change]) -> Vec<(Change, KernelError)>;

    /// Reads back everything that Shoal owns.
    fn observe(&self) -> Result<Observed, KernelError>;

    /// Reads all counters.
    fn counters(&self) -> Result<Counters, KernelError>;
}
