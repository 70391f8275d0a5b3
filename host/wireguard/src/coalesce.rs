//! Joins TCP segments that arrived together into super-packets, so that the stack is walked once for many.
//!
//! The rules are those of the kernel's GRO (`tcp_gro_receive`, `inet_gro_receive`): consecutive in sequence, all else
//! equal, checksum right. What does not fit into a super-packet of its flow ends that one, so no flow is reordered. A
//! wrong checksum is never joined and never replaced: the packet goes on as it is, and the receiver finds it wrong.
//!
//! Packets are not copied: a [`Joined`] says where its parts lie in the caller's buffer.

use std::net::Ipv4Addr;
use std::ops::Range;

use shoal_kit::checksum;

use crate::segment::addresses;
use crate::unwrap::{FRAME_HEAD, frame_head};
use crate::wire::{
    ETHERNET, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4, IPV6, Offload, PROTOCOL_TCP, TCP, number, number32, put,
};

/// Longest IP packet, bytes.
const LONGEST: usize = 65_535;
/// Packets that one super-packet is made of at most.
pub const SEGMENTS_MAX: usize = 64;
/// Super-packets that may grow at a time. A packet of yet another flow ends the one that began first.
const GROWING_MAX: usize = 32;

const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const CWR: u8 = 0x80;
const ECE: u8 = 0x40;

/// From whom and in which network a packet came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct From {
    /// The sender's tunnel address.
    pub address: Ipv4Addr,
    /// Id of the network.
    pub vni: u32,
    /// Ethertype of the packet.
    pub ethertype: u16,
}

/// One frame to the device: a packet as it came, or several in one.
#[derive(Debug)]
pub struct Joined {
    from: From,
    /// Of the first packet: all of it if it is alone, else its headers.
    first: Range<usize>,
    headers: usize,
    transport: usize,
    /// Where the payload of each lies in the buffer; of the first too.
    payloads: Vec<Range<usize>>,
    /// Payload of the first, bytes.
    size: usize,
    total: usize,
    next_sequence: u32,
    next_id: u16,
    /// FIN and PSH of the last one.
    last_flags: u8,
    is_growing: bool,
}

/// What of a segment matters to joining.
#[derive(Debug)]
struct Segment {
    transport: usize,
    headers: usize,
    payload: usize,
    sequence: u32,
    flags: u8,
}

/// The frames of one batch, in the order in which the first packet of each came.
#[derive(Debug, Default)]
pub struct Coalescer {
    joined: Vec<Joined>,
    used: usize,
    growing: Vec<usize>,
}

impl Coalescer {
    /// Takes the packet at `packet` of `buffer`.
    pub fn push(&mut self, buffer: &[u8], packet: Range<usize>, from: From) {
        let bytes = &buffer[packet.clone()];
        let Some(segment) = Segment::read(bytes, from.ethertype) else {
            self.end_flow(buffer, bytes, from);
            return self.begin(packet, from, None);
        };
        let same = |at: &usize| self.joined[*at].is_of_flow(buffer, bytes, from, &segment);
        // The newest is the likeliest.
        if let Some(place) = self.growing.iter().rposition(same) {
            let at = self.growing[place];
            if self.joined[at].grow(buffer, packet.clone(), &segment) {
                if !self.joined[at].is_growing {
                    self.growing.swap_remove(place);
                }
                return;
            }
            self.growing.swap_remove(place);
        }
        let grows = segment.flags & (FIN | PSH) == 0;
        self.begin(packet, from, Some(&segment));
        if grows {
            if self.growing.len() == GROWING_MAX {
                self.growing.remove(0);
            }
            self.growing.push(self.used - 1);
        }
    }

    /// The frames so far, in order.
    pub fn frames(&self) -> &[Joined] {
        &self.joined[..self.used]
    }

    /// Forgets them; their memory is used again.
    pub fn clear(&mut self) {
        self.used = 0;
        self.growing.clear();
    }

    fn begin(&mut self, packet: Range<usize>, from: From, segment: Option<&Segment>) {
        if self.used == self.joined.len() {
            self.joined.push(Joined::empty(from));
        }
        self.joined[self.used].begin(packet, from, segment);
        self.used += 1;
    }

    /// Nothing may join what came before this packet of the same flow, or it would overtake it.
    fn end_flow(&mut self, buffer: &[u8], bytes: &[u8], from: From) {
        let joined = &self.joined;
        self.growing.retain(|at| !joined[*at].may_be_of_flow(buffer, bytes, from));
    }
}

impl Segment {
    /// Reads a TCP segment that may be joined with others: with payload, without IP options, with a right checksum.
    fn read(bytes: &[u8], ethertype: u16) -> Option<Self> {
        let transport = match ethertype {
            ETHERTYPE_IPV4 => ipv4_header(bytes)?,
            ETHERTYPE_IPV6 => ipv6_header(bytes)?,
            _ => return None,
        };
        if bytes.len() < transport + TCP {
            return None;
        }
        let headers = transport + usize::from(bytes[transport + 12] >> 4) * 4;
        let flags = bytes[transport + 13];
        let is_plain = flags & !(FIN | PSH | CWR | ECE) == ACK;
        if headers < transport + TCP || headers >= bytes.len() || !is_plain {
            return None;
        }
        let length = (bytes.len() - transport) as u16;
        let pseudo = checksum::pseudo_header(addresses(bytes), PROTOCOL_TCP, length);
        let is_right = checksum::finish(checksum::add(pseudo, &bytes[transport..])) == 0;
        is_right.then(|| Self {
            transport,
            headers,
            payload: bytes.len() - headers,
            sequence: number32(bytes, transport + 4),
            flags,
        })
    }
}

/// Where TCP starts, if this is a whole IPv4 packet of TCP with a right header and no options.
fn ipv4_header(bytes: &[u8]) -> Option<usize> {
    let is_whole = bytes.len() >= IPV4
        && bytes[0] == 0x45
        && usize::from(number(bytes, 2)) == bytes.len()
        && number(bytes, 6) & 0x3fff == 0
        && bytes[9] == PROTOCOL_TCP
        && checksum::finish(checksum::add(0, &bytes[..IPV4])) == 0;
    is_whole.then_some(IPV4)
}

fn ipv6_header(bytes: &[u8]) -> Option<usize> {
    let is_whole = bytes.len() >= IPV6
        && bytes.len() <= LONGEST
        && bytes[0] >> 4 == 6
        && usize::from(number(bytes, 4)) == bytes.len() - IPV6
        && bytes[6] == PROTOCOL_TCP;
    is_whole.then_some(IPV6)
}

impl Joined {
    fn empty(from: From) -> Self {
        Self {
            from,
            first: 0..0,
            headers: 0,
            transport: 0,
            payloads: Vec::new(),
            size: 0,
            total: 0,
            next_sequence: 0,
            next_id: 0,
            last_flags: 0,
            is_growing: false,
        }
    }

    fn begin(&mut self, packet: Range<usize>, from: From, segment: Option<&Segment>) {
        self.from = from;
        self.payloads.clear();
        self.total = packet.len();
        self.is_growing = segment.is_some();
        if let Some(segment) = segment {
            self.headers = segment.headers;
            self.transport = segment.transport;
            self.size = segment.payload;
            self.next_sequence = segment.sequence.wrapping_add(segment.payload as u32);
            self.next_id = 1;
            self.last_flags = segment.flags & (FIN | PSH);
            self.payloads.push(packet.start + segment.headers..packet.end);
        }
        self.first = packet;
    }

    /// Whether both are of one connection of one network, and so may neither overtake the other.
    fn is_of_flow(&self, buffer: &[u8], bytes: &[u8], from: From, segment: &Segment) -> bool {
        let head = &buffer[self.first.clone()];
        self.from == from
            && addresses(head) == addresses(bytes)
            && head[self.transport..self.transport + 4] == bytes[segment.transport..segment.transport + 4]
    }

    /// As [`Joined::is_of_flow`], of a packet that may be anything: the same addresses are enough.
    fn may_be_of_flow(&self, buffer: &[u8], bytes: &[u8], from: From) -> bool {
        let head = &buffer[self.first.clone()];
        let header = if from.ethertype == ETHERTYPE_IPV6 { IPV6 } else { IPV4 };
        self.from == from
            && bytes.len() >= header
            && bytes[0] >> 4 == head[0] >> 4
            && addresses(head) == addresses(bytes)
    }

    /// Takes a segment of its flow, or says that it cannot. Then it is complete.
    fn grow(&mut self, buffer: &[u8], packet: Range<usize>, segment: &Segment) -> bool {
        let head = &buffer[self.first.clone()];
        let bytes = &buffer[packet.clone()];
        let fits = segment.sequence == self.next_sequence
            && segment.payload <= self.size
            && segment.headers == self.headers
            && self.total + segment.payload <= LONGEST
            && self.payloads.len() < SEGMENTS_MAX
            && segment.flags & CWR == 0
            && self.has_equal_headers(head, bytes);
        if !fits {
            return false;
        }
        self.next_sequence = segment.sequence.wrapping_add(segment.payload as u32);
        self.next_id = self.next_id.wrapping_add(1);
        self.total += segment.payload;
        self.last_flags = segment.flags & (FIN | PSH);
        self.is_growing = self.last_flags == 0 && segment.payload == self.size;
        self.payloads.push(packet.start + segment.headers..packet.end);
        true
    }

    fn has_equal_headers(&self, a: &[u8], b: &[u8]) -> bool {
        let ip = if a[0] >> 4 == 6 {
            a[..4] == b[..4] && a[7] == b[7]
        } else {
            // Ids count up; those of packets that are never cut up may also stand still.
            let (first, id) = (number(a, 4), number(b, 4));
            let is_next = id == first.wrapping_add(self.next_id) || (a[6] & 0x40 != 0 && id == first);
            a[1] == b[1] && a[6..9] == b[6..9] && is_next
        };
        let t = self.transport;
        let flags = |bytes: &[u8]| bytes[t + 13] & !(FIN | PSH | CWR);
        ip && a[t + 8..t + 13] == b[t + 8..t + 13]
            && flags(a) == flags(b)
            && a[t + 14..t + 16] == b[t + 14..t + 16]
            && a[t + 18..self.headers] == b[t + 18..self.headers]
    }

    /// How many packets it is made of.
    pub fn count(&self) -> usize {
        self.payloads.len().max(1)
    }

    /// Length of the IP packet, bytes.
    pub fn length(&self) -> usize {
        self.total
    }

    /// Hands the parts of the frame to `write`, in order: the headers, then what follows them in `buffer`.
    pub fn parts<R>(&self, buffer: &[u8], write: impl FnOnce(&[u8], &[Range<usize>]) -> R) -> R {
        let From { address, vni, ethertype } = self.from;
        if self.payloads.len() < 2 {
            let head = frame_head(Offload::default(), address, vni, ethertype);
            return write(&head, std::slice::from_ref(&self.first));
        }
        let is_reduced = buffer[self.first.start + self.transport + 13] & CWR != 0;
        let kind = if ethertype == ETHERTYPE_IPV6 { Offload::TCP6 } else { Offload::TCP4 };
        let offload = Offload {
            flags: Offload::NEEDS_CHECKSUM,
            kind: kind | if is_reduced { Offload::ECN } else { 0 },
            header: (ETHERNET + self.headers) as u16,
            size: self.size as u16,
            start: (ETHERNET + self.transport) as u16,
            offset: 16,
        };
        // IPv6 and the longest header of TCP.
        let mut head = [0; FRAME_HEAD + IPV6 + 60];
        head[..FRAME_HEAD].copy_from_slice(&frame_head(offload, address, vni, ethertype));
        let packet = &mut head[FRAME_HEAD..FRAME_HEAD + self.headers];
        packet.copy_from_slice(&buffer[self.first.start..self.first.start + self.headers]);
        self.mend(packet);
        write(&head[..FRAME_HEAD + self.headers], &self.payloads)
    }

    /// Lengths, flags and checksums of the super-packet's headers. The checksum of TCP is partial: that of each part
    /// was found right.
    fn mend(&self, packet: &mut [u8]) {
        if packet[0] >> 4 == 6 {
            put(packet, 4, (self.total - IPV6) as u16);
        } else {
            put(packet, 2, self.total as u16);
            packet[10..12].fill(0);
            let sum = checksum::finish(checksum::add(0, &packet[..IPV4]));
            packet[10..12].copy_from_slice(&sum.to_ne_bytes());
        }
        let t = self.transport;
        packet[t + 13] = (packet[t + 13] & !(FIN | PSH)) | self.last_flags;
        let length = (self.total - t) as u16;
        let pseudo = checksum::fold(checksum::pseudo_header(addresses(packet), PROTOCOL_TCP, length));
        packet[t + 16..t + 18].copy_from_slice(&pseudo.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests;
