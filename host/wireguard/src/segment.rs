//! From a frame of the TAP device to the packets of the tunnel: read, cut, wrap in VXLAN.
//!
//! ```text
//!   frame:    02:00 + other end's address | 02:00:00 + VNI | ethertype | IP packet, of up to 64 KiB
//!   packets:  IPv4 | UDP | VXLAN | Ethernet | IP packet of one segment, its checksums complete
//! ```
//!
//! A super-packet is cut as the kernel would (`tcp_gso_segment`, `__udp_gso_segment`): sequence numbers and IPv4 ids
//! count up, FIN and PSH stay on the last, CWR on the first.

use std::net::Ipv4Addr;

use shoal_kit::checksum;
use shoal_plan::INNER_VXLAN_PORT;

use crate::counters::Drop;
use crate::wire::{
    ETHERNET, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4, IPV6, OUTER, Offload, PROTOCOL_TCP, PROTOCOL_UDP, TCP,
    UDP, VXLAN_VALID, number, number32, put,
};

/// Hardware address of the tunnel device of every host: "shoa" and 2.
const TUNNEL_MAC: [u8; 6] = [0x02, 0x73, 0x68, 0x6f, 0x61, 0x02];
/// Hardware address of the gateway, which no device has. The tunnel device's own will not do as a source: the kernel's
/// VXLAN drops a frame that seems to come from itself.
const FABRIC_MAC: [u8; 6] = [0x02, 0x73, 0x68, 0x6f, 0x61, 0x01];
const FIN_PSH: u8 = 0x09;
const CWR: u8 = 0x80;

/// A frame that was read and checked, ready to be cut.
#[derive(Debug)]
pub struct Cut<'a> {
    /// The other end's tunnel address.
    pub to: Ipv4Addr,
    /// The inner IP packet.
    packet: &'a [u8],
    kind: Kind,
    outer: Outer,
}

/// What is done to the inner packet. Offsets count from its start.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// It passes as it is.
    Whole,
    /// Its checksum at `at` is completed over all from `start`.
    Checksum { start: usize, at: usize },
    /// It is cut: `transport` is where TCP or UDP starts, `payload` where its payload does.
    Many { protocol: u8, transport: usize, payload: usize, size: usize },
}

impl<'a> Cut<'a> {
    /// Reads a frame with its offload header, as the TAP device gives it. `own` is this host's tunnel address.
    pub fn new(bytes: &'a [u8], own: Ipv4Addr) -> Result<Self, Drop> {
        let offload = Offload::read(bytes).ok_or(Drop::FrameShort)?;
        let frame = &bytes[Offload::LENGTH..];
        if frame.len() <= ETHERNET {
            return Err(Drop::FrameShort);
        }
        // Neither broadcast nor anything else that no program of ours has addressed.
        if frame[..2] != [2, 0] || frame[6..9] != [2, 0, 0] {
            return Err(Drop::FrameNotAddressed);
        }
        let packet = &frame[ETHERNET..];
        let ethertype = number(frame, 12);
        let kind = kind(offload, ethertype, packet)?;
        let vni = number32(frame, 8) & 0x00ff_ffff;
        let to = number32(frame, 2).into();
        Ok(Self { to, packet, kind, outer: Outer::new(own, to, vni, ethertype, packet) })
    }

    /// How many packets it becomes, at least one.
    #[inline]
    pub fn count(&self) -> usize {
        match self.kind {
            Kind::Many { payload, size, .. } => (self.packet.len() - payload).div_ceil(size).max(1),
            Kind::Whole | Kind::Checksum { .. } => 1,
        }
    }

    /// Length of the longest of them in the tunnel, all headers included.
    #[inline]
    pub fn longest(&self) -> usize {
        match self.kind {
            Kind::Many { payload, size, .. } => OUTER + self.packet.len().min(payload + size),
            Kind::Whole | Kind::Checksum { .. } => OUTER + self.packet.len(),
        }
    }

    /// Writes the packet with this index and returns its length. `out` has room for the longest.
    #[inline]
    pub fn write(&self, index: usize, out: &mut [u8]) -> usize {
        let inner = match self.kind {
            Kind::Whole => self.copy(out),
            Kind::Checksum { start, at } => {
                let length = self.copy(out);
                complete(&mut out[OUTER..OUTER + length], start, at);
                length
            }
            Kind::Many { protocol, transport, payload, size } => {
                let from = payload + index * size;
                let until = (from + size).min(self.packet.len());
                let length = payload + until - from;
                let inner = &mut out[OUTER..OUTER + length];
                inner[..payload].copy_from_slice(&self.packet[..payload]);
                inner[payload..].copy_from_slice(&self.packet[from..until]);
                mend_ip(inner, transport, index);
                match protocol {
                    PROTOCOL_TCP => {
                        mend_tcp(inner, transport, index, index * size, until == self.packet.len());
                    }
                    _ => mend_udp(inner, transport),
                }
                length
            }
        };
        self.outer.write(&mut out[..OUTER], inner);
        OUTER + inner
    }

    #[inline]
    fn copy(&self, out: &mut [u8]) -> usize {
        out[OUTER..OUTER + self.packet.len()].copy_from_slice(self.packet);
        self.packet.len()
    }
}

/// Reads what the device asks for and checks that the packet has it.
fn kind(offload: Offload, ethertype: u16, packet: &[u8]) -> Result<Kind, Drop> {
    let is_partial = offload.flags & Offload::NEEDS_CHECKSUM != 0;
    let start = usize::from(offload.start).checked_sub(ETHERNET);
    let many = match (offload.kind & !Offload::ECN, ethertype) {
        (Offload::NONE, _) if !is_partial => return Ok(Kind::Whole),
        (Offload::NONE, _) => {
            let start = start.ok_or(Drop::FrameMalformed)?;
            let at = start + usize::from(offload.offset);
            // The sum and where it is stored must lie in the packet, and the sum starts on an even byte of it.
            let fits = at + 2 <= packet.len();
            return if fits { Ok(Kind::Checksum { start, at }) } else { Err(Drop::FrameMalformed) };
        }
        (Offload::TCP4, ETHERTYPE_IPV4) | (Offload::TCP6, ETHERTYPE_IPV6) => PROTOCOL_TCP,
        (Offload::UDP, ETHERTYPE_IPV4 | ETHERTYPE_IPV6) => PROTOCOL_UDP,
        _ => return Err(Drop::FrameMalformed),
    };
    let transport = start.filter(|_| is_partial && offload.size > 0).ok_or(Drop::FrameMalformed)?;
    if !is_ip(packet, ethertype, transport) {
        return Err(Drop::FrameMalformed);
    }
    let payload = match many {
        PROTOCOL_TCP if packet.len() >= transport + TCP => {
            transport + (usize::from(packet[transport + 12] >> 4) * 4).max(TCP)
        }
        PROTOCOL_UDP => transport + UDP,
        _ => return Err(Drop::FrameMalformed),
    };
    if payload > packet.len() || packet.len() > usize::from(u16::MAX) {
        return Err(Drop::FrameMalformed);
    }
    Ok(Kind::Many { protocol: many, transport, payload, size: offload.size.into() })
}

/// Whether the packet has an IP header that ends where its transport header starts.
fn is_ip(packet: &[u8], ethertype: u16, transport: usize) -> bool {
    match ethertype {
        ETHERTYPE_IPV4 => {
            packet.len() >= IPV4 && packet[0] >> 4 == 4 && {
                let header = usize::from(packet[0] & 15) * 4;
                header >= IPV4 && header == transport
            }
        }
        _ => packet.len() >= IPV6 && packet[0] >> 4 == 6 && transport >= IPV6,
    }
}

/// Completes a partial checksum: the field holds the sum of the pseudo header.
#[inline]
fn complete(packet: &mut [u8], start: usize, at: usize) {
    let sum = checksum::finish(checksum::add(0, &packet[start..]));
    // Zero means "none" to UDP, and is the same number as its complement to all.
    let sum = if sum == 0 { 0xffff } else { sum };
    packet[at..at + 2].copy_from_slice(&sum.to_ne_bytes());
}

/// Length, id and checksum of the IP header of a segment.
#[inline]
fn mend_ip(packet: &mut [u8], transport: usize, index: usize) {
    let length = packet.len();
    if packet[0] >> 4 == 6 {
        return put(packet, 4, low16(length - IPV6));
    }
    put(packet, 2, low16(length));
    put(packet, 4, number(packet, 4).wrapping_add(low16(index)));
    packet[10..12].fill(0);
    let sum = checksum::finish(checksum::add(0, &packet[..transport]));
    packet[10..12].copy_from_slice(&sum.to_ne_bytes());
}

#[inline]
fn mend_tcp(packet: &mut [u8], transport: usize, index: usize, advance: usize, is_last: bool) {
    let sequence = number32(packet, transport + 4).wrapping_add(low32(advance));
    packet[transport + 4..transport + 8].copy_from_slice(&sequence.to_be_bytes());
    if !is_last {
        packet[transport + 13] &= !FIN_PSH;
    }
    if index > 0 {
        packet[transport + 13] &= !CWR;
    }
    put_checksum(packet, transport, transport + 16, PROTOCOL_TCP);
}

#[inline]
fn mend_udp(packet: &mut [u8], transport: usize) {
    put(packet, transport + 4, low16(packet.len() - transport));
    put_checksum(packet, transport, transport + 6, PROTOCOL_UDP);
}

/// The whole checksum of a TCP or UDP packet.
#[inline]
fn put_checksum(packet: &mut [u8], transport: usize, at: usize, protocol: u8) {
    packet[at..at + 2].fill(0);
    let pseudo = checksum::pseudo_header(addresses(packet), protocol, low16(packet.len() - transport));
    let sum = checksum::finish(checksum::add(pseudo, &packet[transport..]));
    let sum = if sum == 0 && protocol == PROTOCOL_UDP { 0xffff } else { sum };
    packet[at..at + 2].copy_from_slice(&sum.to_ne_bytes());
}

/// Source and destination of an IP packet whose header is there.
#[inline]
pub(crate) fn addresses(packet: &[u8]) -> &[u8] {
    if packet[0] >> 4 == 6 { &packet[8..IPV6] } else { &packet[12..IPV4] }
}

/// What stands before each packet of one frame.
#[derive(Debug)]
struct Outer {
    /// All but the two lengths and the checksum, which are zero.
    bytes: [u8; OUTER],
    /// Sum of the IPv4 header so far.
    sum: u64,
}

impl Outer {
    fn new(from: Ipv4Addr, to: Ipv4Addr, vni: u32, ethertype: u16, packet: &[u8]) -> Self {
        let mut bytes = [0; OUTER];
        bytes[0] = 0x45;
        bytes[1] = congestion_bits(ethertype, packet);
        bytes[6] = 0x40; // DF; an atomic packet needs no id (RFC 6864).
        bytes[8] = 64;
        bytes[9] = PROTOCOL_UDP;
        bytes[12..16].copy_from_slice(&from.octets());
        bytes[16..20].copy_from_slice(&to.octets());
        let sum = checksum::add(0, &bytes[..IPV4]);
        put(&mut bytes, 20, source_port(ethertype, packet));
        put(&mut bytes, 22, INNER_VXLAN_PORT);
        bytes[28] = VXLAN_VALID;
        bytes[32..36].copy_from_slice(&(vni << 8).to_be_bytes());
        bytes[36..42].copy_from_slice(&TUNNEL_MAC);
        bytes[42..48].copy_from_slice(&FABRIC_MAC);
        put(&mut bytes, 48, ethertype);
        Self { bytes, sum }
    }

    #[inline]
    fn write(&self, out: &mut [u8], inner: usize) {
        out.copy_from_slice(&self.bytes);
        let length = low16(OUTER + inner);
        put(out, 2, length);
        put(out, 24, length.wrapping_sub(low16(IPV4)));
        let sum = checksum::finish(checksum::add_number(self.sum, length));
        out[10..12].copy_from_slice(&sum.to_ne_bytes());
    }
}

/// The inner packet's ECN bits, which the outer one must show (RFC 6040 section 4.1).
fn congestion_bits(ethertype: u16, packet: &[u8]) -> u8 {
    match ethertype {
        ETHERTYPE_IPV4 if packet.len() > 1 => packet[1] & 3,
        ETHERTYPE_IPV6 if packet.len() > 1 => (packet[1] >> 4) & 3,
        _ => 0,
    }
}

/// A port of 49152 to 65535 that tells flows apart (RFC 7348 section 5).
fn source_port(ethertype: u16, packet: &[u8]) -> u16 {
    let (addresses, transport) = match ethertype {
        ETHERTYPE_IPV4 if packet.len() >= IPV4 => (&packet[12..20], usize::from(packet[0] & 15) * 4),
        ETHERTYPE_IPV6 if packet.len() >= IPV6 => (&packet[8..40], IPV6),
        _ => (&packet[..0], 0),
    };
    // Fragments but the first have no ports, and all must go one way.
    let is_fragment = ethertype == ETHERTYPE_IPV4 && packet.len() >= IPV4 && number(packet, 6) & 0x3fff != 0;
    let has_ports = transport > 0 && !is_fragment && packet.len() >= transport + 4;
    let ports = if has_ports { number32(packet, transport) } else { 0 };
    let mut hash = u64::from(ports) ^ 0x9e37_79b9_7f4a_7c15;
    for word in addresses.chunks_exact(4) {
        hash = (hash ^ u64::from(number32(word, 0))).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 32;
    }
    0xc000 | (low32_of(hash) as u16 & 0x3fff)
}

#[inline]
fn low16(number: usize) -> u16 {
    (number & 0xffff) as u16
}

#[inline]
fn low32(number: usize) -> u32 {
    (number & 0xffff_ffff) as u32
}

#[inline]
fn low32_of(number: u64) -> u32 {
    (number & 0xffff_ffff) as u32
}

#[cfg(test)]
pub(crate) mod tests;
