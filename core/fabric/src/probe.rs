//! Addresses in the network in which agents probe each other's paths.

use std::net::Ipv6Addr;

use shoal_types::{HostId, MacAddr};

/// First half of every address in the network of probes: a unique local prefix (RFC 4193) that never leaves it.
const PREFIX: [u8; 8] = [0xfd, 0x53, 0x68, 0x6f, 0x61, 0x6c, 0, 1];

/// A host's address in the network of probes: the prefix, then the first half of its id.
pub fn probe_address(host: HostId) -> Ipv6Addr {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&PREFIX);
    bytes[8..].copy_from_slice(&host.bytes()[..8]);
    bytes.into()
}

/// Hardware address of the agent's end of the probe link.
pub fn probe_mac(host: HostId) -> MacAddr {
    let [a, b, c, d, ..] = *host.bytes();
    MacAddr::new([0x02, 0x5b, a, b, c, d])
}
