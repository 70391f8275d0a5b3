//! From a packet of the tunnel to what goes to the device: the checks on what a peer sent.

use std::net::Ipv4Addr;
use std::ops::Range;

use shoal_plan::INNER_VXLAN_PORT;

use crate::counters::Drop;
use crate::wire::{
    ETHERNET, IPV4, OUTER, Offload, PROTOCOL_UDP, UDP, VXLAN, VXLAN_VALID, address, number, number32,
};

/// What a tunnel packet carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// Id of the network, 24 bits.
    pub vni: u32,
    /// Ethertype of the inner packet.
    pub ethertype: u16,
    /// The inner packet, counted from the start of the tunnel packet.
    pub packet: Range<usize>,
}

/// Checks a decrypted packet: VXLAN in IPv4, from the one address that the peer has, to ours.
pub fn unwrap(bytes: &[u8], peer: Ipv4Addr, own: Ipv4Addr) -> Result<Carried, Drop> {
    if bytes.len() < OUTER || bytes[0] >> 4 != 4 {
        return Err(Drop::TunnelMalformed);
    }
    if address(bytes, 12) != peer {
        return Err(Drop::SourceForged);
    }
    if address(bytes, 16) != own {
        return Err(Drop::NotForUs);
    }
    let header = usize::from(bytes[0] & 15) * 4;
    let length = usize::from(number(bytes, 2));
    let is_fragment = number(bytes, 6) & 0x3fff != 0;
    let vxlan = header + UDP;
    let start = vxlan + VXLAN + ETHERNET;
    if header < IPV4 || length > bytes.len() || length <= start || is_fragment || bytes[9] != PROTOCOL_UDP {
        return Err(Drop::TunnelMalformed);
    }
    let is_vxlan = number(bytes, header + 2) == INNER_VXLAN_PORT
        && usize::from(number(bytes, header + 4)) == length - header
        && bytes[vxlan] & VXLAN_VALID != 0;
    if !is_vxlan {
        return Err(Drop::TunnelMalformed);
    }
    let vni = number32(bytes, vxlan + 4) >> 8;
    Ok(Carried { vni, ethertype: number(bytes, start - 2), packet: start..length })
}

/// Length of what stands before the IP packet in a frame to the device.
pub const FRAME_HEAD: usize = Offload::LENGTH + ETHERNET;

/// What stands before the IP packet in a frame to the device: the source's tunnel address and the VNI as hardware
/// addresses.
#[inline]
pub fn frame_head(offload: Offload, from: Ipv4Addr, vni: u32, ethertype: u16) -> [u8; FRAME_HEAD] {
    let mut head = [0; FRAME_HEAD];
    head[..Offload::LENGTH].copy_from_slice(&offload.bytes());
    let ethernet = &mut head[Offload::LENGTH..];
    ethernet[0] = 2;
    ethernet[2..6].copy_from_slice(&from.octets());
    ethernet[6] = 2;
    ethernet[9..12].copy_from_slice(&vni.to_be_bytes()[1..]);
    ethernet[12..14].copy_from_slice(&ethertype.to_be_bytes());
    head
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PEER: Ipv4Addr = Ipv4Addr::new(240, 0, 0, 2);
    const OWN: Ipv4Addr = Ipv4Addr::new(240, 0, 0, 1);

    fn packet() -> Vec<u8> {
        let mut bytes = vec![0; OUTER + 30];
        let length = u16::try_from(bytes.len()).unwrap();
        bytes[0] = 0x45;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        bytes[9] = 17;
        bytes[12..16].copy_from_slice(&PEER.octets());
        bytes[16..20].copy_from_slice(&OWN.octets());
        bytes[22..24].copy_from_slice(&4789u16.to_be_bytes());
        bytes[24..26].copy_from_slice(&(length - 20).to_be_bytes());
        bytes[28] = 8;
        bytes[32..36].copy_from_slice(&[0, 1, 2, 0]);
        bytes[48..50].copy_from_slice(&[8, 0]);
        bytes
    }

    #[test]
    fn what_a_kernel_sends_is_read() {
        let carried = Carried { vni: 258, ethertype: 0x0800, packet: OUTER..OUTER + 30 };
        assert_eq!(unwrap(&packet(), PEER, OWN), Ok(carried));
    }

    #[test]
    fn each_damage_has_its_reason() {
        let damaged = |at: usize, byte: u8| {
            let mut bytes = packet();
            bytes[at] = byte;
            unwrap(&bytes, PEER, OWN).unwrap_err()
        };
        assert_eq!(damaged(15, 3), Drop::SourceForged);
        assert_eq!(damaged(19, 3), Drop::NotForUs);
        for (at, byte) in
            [(0, 0x65), (0, 0x44), (3, 200), (3, 50), (6, 0x20), (7, 1), (9, 6), (23, 1), (25, 1), (28, 0)]
        {
            assert_eq!(damaged(at, byte), Drop::TunnelMalformed, "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = unwrap(&bytes, PEER, OWN);
        }

        #[test]
        fn a_damaged_packet_never_reaches_beyond_itself(at in 0usize..80, byte: u8) {
            let mut bytes = packet();
            bytes[at] = byte;
            if let Ok(carried) = unwrap(&bytes, PEER, OWN) {
                prop_assert!(!bytes[carried.packet].is_empty());
            }
        }
    }
}
