//! Addresses inside encrypted tunnels.

use std::net::Ipv4Addr;

use shoal_kit::{FNV1A, fnv1a};
use shoal_types::HostId;

/// The address of the end that `host` made as its `generation`-th: of 240.0.0.0/4 (class E, reserved by RFC 1112 and
/// taken by Linux as any other unicast address), so that it never meets an address of an underlay.
///
/// It follows from who uses it, so nobody has to give it out. Ends of a fabric must differ in the last 24 bits, since
/// relays know them by these ([`relay_address`](shoal_plan::relay_address)). Two meet by chance: with 500 hosts in one
/// of 130 fabrics, with 3,000 in one of four. Then the end of the lower host id has the address, and the other host
/// takes its next generation.
pub fn tunnel_address(host: HostId, generation: u32) -> Ipv4Addr {
    let hash = fnv1a(FNV1A, host.bytes().iter().chain(&generation.to_be_bytes()));
    let [_, b, c, d] = ((hash ^ (hash >> 32)) as u32).to_be_bytes();
    Ipv4Addr::new(240 + u8::try_from((hash >> 56) % 15).unwrap_or(0), b, c, d)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_class_e_and_differ_by_host_and_generation() {
        let host = |number: u8| HostId::new([number; 16]);
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..100 {
            for generation in 0..4 {
                let address = tunnel_address(host(number), generation);
                assert!((240..255).contains(&address.octets()[0]), "{address}");
                assert!(seen.insert(address), "{address} stands twice");
            }
        }
    }
}
