//! Layout shared with the kernel, generated from the C headers, and the programs themselves, embedded.
//!
//! [`EndpointKey`] and its siblings are the structs of `bpf/include/maps.h` as the compiler laid them out; [`Plain`]
//! turns them into bytes and back.

mod address;
mod drops;
mod generated;
mod plain;

pub use drops::DropReason;
pub use generated::{DropKey, Endpoint, EndpointKey, Link, LinkCounters, Peer, UnderlayAddress};
pub use generated::{OpenShoalSkel, ShoalSkel, ShoalSkelBuilder};
pub use plain::Plain;

/// The compiled programs, as an ELF object: what a running agent would load.
pub static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shoal.bpf.o"));

/// The hardware address that every neighbour question is answered with and that no device has; `FABRIC_MAC` in
/// `bpf/include/settings.h`.
pub const FABRIC_MAC: shoal_types::MacAddr = shoal_types::MacAddr::new([0x02, 0x73, 0x68, 0x6f, 0x61, 0x01]);

/// The hardware address of tunnel devices, the same on every host: the kernel drops a frame that comes out of a tunnel
/// with its device's address as source, so no container may have it.
pub const TUNNEL_MAC: shoal_types::MacAddr = shoal_types::MacAddr::new([0x02, 0x73, 0x68, 0x6f, 0x61, 0x02]);

/// [`Link::flags`]: `v4` is an address.
pub const LINK_HAS_V4: u32 = 1;
/// [`Link::flags`]: `v6` is an address.
pub const LINK_HAS_V6: u32 = 2;
/// [`Link::flags`]: the link's packets go through tunnels in clear, and through no others; else the reverse.
pub const LINK_IN_CLEAR: u32 = 4;

/// [`Peer::flags`]: the device sends in clear.
pub const PEER_IN_CLEAR: u16 = 1;
/// [`Peer::flags`]: the device is a TAP that takes outer addresses in the frame's own; see `bpf/include/tunnel.h`.
pub const PEER_FRAMED: u16 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fabric_address_is_that_of_the_programs() {
        let bytes = FABRIC_MAC.bytes().map(|byte| format!("0x{byte:02x}")).join(", ");
        let header = include_str!("../../include/settings.h");
        assert!(header.contains(&format!("#define FABRIC_MAC {{ {bytes} }}")), "{bytes}");
    }

    #[test]
    fn the_network_of_probes_is_that_of_the_programs() {
        let header = include_str!("../../include/tunnel.h");
        assert!(header.contains(&format!("#define VNI_PROBE {}\n", shoal_types::Vni::PROBE)));
    }

    #[test]
    fn the_flags_are_those_of_the_programs() {
        let header = include_str!("../../include/maps.h");
        assert!(header.contains(&format!("#define LINK_HAS_V4 {LINK_HAS_V4} ")));
        assert!(header.contains(&format!("#define LINK_HAS_V6 {LINK_HAS_V6} ")));
        assert!(header.contains(&format!("#define LINK_IN_CLEAR {LINK_IN_CLEAR} ")));
        assert!(header.contains(&format!("#define PEER_IN_CLEAR {PEER_IN_CLEAR} ")));
        assert!(header.contains(&format!("#define PEER_FRAMED {PEER_FRAMED} ")));
    }
}
