//! Ways around: packets of two encrypted ends that cannot meet are carried by the hosts' agents.
//!
//! ```text
//!   end of host 1 ── 127.b.c.d ── agent 1 ==QUIC==> agent of host 3 ==QUIC==> agent 2 ── 127.b'.c'.d' ── end of host 2
//! ```
//!
//! An end is looked for at an address of this host's own loopback device, where the agent takes its packets and hands
//! them on as they are: encrypted by and for the ends.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use serde::Serialize;
use shoal_types::HostId;

/// The address on the loopback device at which the agent stands in for the end with the tunnel address `tunnel`: the
/// same last 24 bits in 127.0.0.0/8. Ends of one fabric differ in these.
pub fn relay_address(tunnel: Ipv4Addr) -> Ipv4Addr {
    let [_, b, c, d] = tunnel.octets();
    Ipv4Addr::new(127, b, c, d)
}

/// Whether an end that is heard at `endpoint` is heard through this host's agent.
pub fn is_relayed(endpoint: SocketAddr) -> bool {
    endpoint.ip().to_canonical().is_loopback()
}

/// What the agent's carrier of packets must know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RelayPlan {
    /// This host's ends: the UDP port of each, by generation.
    pub own: BTreeMap<u32, u16>,
    /// The other hosts' ends, by host and generation.
    pub ends: BTreeMap<(HostId, u32), RelayedEnd>,
    /// Members to which this host keeps a connection open, since others reach it through them.
    pub homes: BTreeMap<HostId, Vec<SocketAddr>>,
}

/// Another host's end, as the carrier knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RelayedEnd {
    /// Where it stands on the loopback device.
    pub address: Ipv4Addr,
    /// Hosts that may pass packets on to it, the preferred first, with the addresses of their agents; the end's own
    /// host stands first. Empty while it is not looked for.
    pub via: Vec<(HostId, Vec<SocketAddr>)>,
    /// Where copies of some packets are sent, as if by this host's end: one that arrives shows both ends a way without
    /// a relay. At most six.
    pub direct: Vec<SocketAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_on_the_loopback_device_is_relayed() {
        let address = relay_address(Ipv4Addr::new(243, 1, 2, 3));
        assert_eq!(address, Ipv4Addr::new(127, 1, 2, 3));
        assert!(is_relayed(SocketAddr::new(address.into(), 7377)));
        assert!(is_relayed(SocketAddr::new(address.to_ipv6_mapped().into(), 7377)));
        assert!(!is_relayed(([192, 0, 2, 1], 7375).into()));
    }
}
