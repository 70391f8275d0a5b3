//! What should happen, for the agent to do.

use shoal_networks::EngineRequest;
use shoal_trust::{Certificate, TrustView};
use shoal_types::{EndpointId, HostId};

/// A batch of writes: key and new value, `None` removing the key.
pub type Writes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// One thing to do.
///
/// A list is carried out in its order, but for what is to be saved or cleared: that comes first, as what else is done
/// may lead to further decisions, whose writes must come later. Nothing that others are told or asked goes out before
/// what was to be saved ahead of it is; when saving fails, that is put off (see [`Owed`](crate::Owed)) and whoever
/// asked is told why. Datagrams and the kernel need not wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Write all or nothing.
    Save {
        /// What to write.
        writes: Writes,
        /// Whether the batch must survive power loss before the effects after it.
        durable: bool,
    },
    /// Remove everything that is stored under keys with this prefix.
    Clear(Vec<u8>),
    /// Bring the kernel in line for one endpoint. Whoever asked is answered when that is done, or told why it is not;
    /// nothing else waits for it.
    Project(EndpointId),
    /// The plan may have changed: bring the kernel in line soon.
    ProjectSoon,
    /// Ask the container engine; the answer comes back through [`Fabric::engine`](crate::Fabric::engine).
    Engine(EngineRequest),
    /// Send a datagram of at most 1,200 bytes; it may get lost.
    Datagram(HostId, Vec<u8>),
    /// Send a message; it may get lost when the connection does.
    Message(HostId, Vec<u8>),
    /// Show this certificate to peers from now on; `None`: belong to no fabric.
    Certificate(Option<Certificate>),
    /// Judge peers by this from now on.
    Trust(TrustView),
    /// Draw a pair of WireGuard keys and hand it to [`Fabric::tunnel_keys`](crate::Fabric::tunnel_keys).
    DrawTunnelKeys,
    /// Tell the operator.
    Notice(String),
    /// Stop the agent for good, with this sentence: going on would harm the fabric.
    Stop(String),
}
