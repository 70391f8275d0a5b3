//! Where things stand in packets: Ethernet, IPv4, IPv6, TCP, UDP, VXLAN, and the header of a TAP device.

use std::net::Ipv4Addr;

/// Ethernet header, bytes.
pub const ETHERNET: usize = 14;
/// IPv4 header without options, bytes.
pub const IPV4: usize = 20;
/// IPv6 header, bytes.
pub const IPV6: usize = 40;
/// TCP header without options, bytes.
pub const TCP: usize = 20;
/// UDP header, bytes.
pub const UDP: usize = 8;
/// VXLAN header, bytes (RFC 7348 section 5).
pub const VXLAN: usize = 8;
/// What stands before the inner IP packet in a packet of the tunnel: IPv4, UDP, VXLAN, Ethernet.
pub const OUTER: usize = IPV4 + UDP + VXLAN + ETHERNET;

/// Ethertype of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// Ethertype of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// Protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;

/// Flag I of VXLAN: the VNI is valid.
pub const VXLAN_VALID: u8 = 0x08;

/// Reads a number in network byte order. The caller has checked that it is there.
#[inline]
pub fn number(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Reads a number of four bytes in network byte order. The caller has checked that it is there.
#[inline]
pub fn number32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Writes a number in network byte order.
#[inline]
pub fn put(bytes: &mut [u8], at: usize, number: u16) {
    bytes[at..at + 2].copy_from_slice(&number.to_be_bytes());
}

/// Reads an IPv4 address.
#[inline]
pub fn address(bytes: &[u8], at: usize) -> Ipv4Addr {
    number32(bytes, at).into()
}

/// The header that a TAP device puts before each frame: `struct virtio_net_hdr` of linux/virtio_net.h, in the byte
/// order of the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offload {
    /// [`Offload::NEEDS_CHECKSUM`] or nothing.
    pub flags: u8,
    /// How to cut: [`Offload::NONE`], [`Offload::TCP4`] and so on, with [`Offload::ECN`] added.
    pub kind: u8,
    /// Length of all headers, a hint only.
    pub header: u16,
    /// Payload of each packet when cut, bytes.
    pub size: u16,
    /// Where the checksummed part starts in the frame.
    pub start: u16,
    /// Where the checksum stands, counted from there.
    pub offset: u16,
}

impl Offload {
    /// Its length, bytes.
    pub const LENGTH: usize = 10;
    /// The checksum field holds the sum of the pseudo header; the rest is still to be added.
    pub const NEEDS_CHECKSUM: u8 = 1;
    /// One packet.
    pub const NONE: u8 = 0;
    /// TCP over IPv4, to be cut.
    pub const TCP4: u8 = 1;
    /// TCP over IPv6, to be cut.
    pub const TCP6: u8 = 4;
    /// UDP over either, to be cut into datagrams.
    pub const UDP: u8 = 5;
    /// The first packet says that the congestion window was reduced, and the others must not.
    pub const ECN: u8 = 0x80;

    /// Reads it; `None` if there are too few bytes.
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LENGTH] = bytes.first_chunk()?;
        let number = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        Some(Self {
            flags: bytes[0],
            kind: bytes[1],
            header: number(2),
            size: number(4),
            start: number(6),
            offset: number(8),
        })
    }

    /// Its bytes.
    #[inline]
    pub fn bytes(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[0] = self.flags;
        bytes[1] = self.kind;
        for (at, number) in [(2, self.header), (4, self.size), (6, self.start), (8, self.offset)] {
            bytes[at..at + 2].copy_from_slice(&number.to_ne_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_a_tap_device_is_read_as_written() {
        let header = Offload { flags: 1, kind: 0x81, header: 66, size: 1318, start: 34, offset: 16 };
        assert_eq!(Offload::read(&header.bytes()), Some(header));
        assert_eq!(Offload::read(&header.bytes()[..9]), None);
    }
}
