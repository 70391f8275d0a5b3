//! Packets as bytes. Checksums are computed here anew, so that the programs' own are checked against something.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{FABRIC_MAC, OWN_MAC};

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMP: u8 = 1;
pub const ICMPV6: u8 = 58;

/// A frame from the container to the fabric.
pub fn frame(protocol: u16, payload: &[u8]) -> Vec<u8> {
    frame_to(FABRIC_MAC, protocol, payload)
}

pub fn frame_to(destination: [u8; 6], protocol: u16, payload: &[u8]) -> Vec<u8> {
    [&destination[..], &OWN_MAC, &protocol.to_be_bytes(), payload].concat()
}

/// The same packet as a TAP device carries it: outer address of the other end and network in place of the frame's own
/// addresses.
pub fn framed(network: u32, host: &str, packet: &[u8]) -> Vec<u8> {
    let [_, vni @ ..] = network.to_be_bytes();
    let host = host.parse::<Ipv4Addr>().unwrap().octets();
    [&[2, 0][..], &host, &[2, 0, 0], &vni, &packet[12..]].concat()
}

/// An IPv4 packet in a frame. `fragment` is the field of flags and offset.
pub fn v4_with(from: &str, to: &str, protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap();
    let mut header = vec![0x45, 0];
    header.extend(length.to_be_bytes());
    header.extend([0x12, 0x34]);
    header.extend(fragment.to_be_bytes());
    header.extend([64, protocol, 0, 0]);
    header.extend(from.parse::<Ipv4Addr>().unwrap().octets());
    header.extend(to.parse::<Ipv4Addr>().unwrap().octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    frame(0x0800, &[header, payload.to_vec()].concat())
}

pub fn v4(from: &str, to: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    v4_with(from, to, protocol, 0x4000, payload)
}

/// An IPv6 packet in a frame.
pub fn v6_with(from: &str, to: &str, protocol: u8, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([protocol, hop_limit]);
    packet.extend(from.parse::<Ipv6Addr>().unwrap().octets());
    packet.extend(to.parse::<Ipv6Addr>().unwrap().octets());
    packet.extend(payload);
    frame(0x86dd, &packet)
}

pub fn v6(from: &str, to: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    v6_with(from, to, protocol, 64, payload)
}

/// A UDP datagram of `length` bytes with its header.
pub fn udp(length: usize) -> Vec<u8> {
    let size = u16::try_from(length).unwrap().to_be_bytes();
    let mut datagram = vec![0x30, 0x39, 0, 53, size[0], size[1], 0, 0];
    datagram.resize(length, 0x5a);
    datagram
}

/// A TCP segment with `payload` bytes of data.
pub fn tcp(payload: usize) -> Vec<u8> {
    let mut segment = vec![0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0];
    segment.resize(20 + payload, 0x5a);
    segment
}

/// An ARP message in a frame.
pub fn arp(operation: u16, sender: &str, target: &str) -> Vec<u8> {
    let mut message = vec![0, 1, 8, 0, 6, 4];
    message.extend(operation.to_be_bytes());
    message.extend(OWN_MAC);
    message.extend(sender.parse::<Ipv4Addr>().unwrap().octets());
    message.extend([0; 6]);
    message.extend(target.parse::<Ipv4Addr>().unwrap().octets());
    frame_to([0xff; 6], 0x0806, &message)
}

/// A neighbour solicitation in a frame, with the sender's hardware address if it has an address.
pub fn solicitation(from: &str, target: &str) -> Vec<u8> {
    solicitation_with(from, target, 255)
}

pub fn solicitation_with(from: &str, target: &str, hop_limit: u8) -> Vec<u8> {
    let target: Ipv6Addr = target.parse().unwrap();
    let last = target.octets();
    let group = Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        0xff00 | u16::from(last[13]),
        u16::from_be_bytes([last[14], last[15]]),
    );
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(last);
    if from != "::" {
        message.extend([1, 1]);
        message.extend(OWN_MAC);
    }
    v6_with(from, &group.to_string(), ICMPV6, hop_limit, &message)
}

/// The Internet checksum (RFC 1071): 0 over bytes that contain their own.
pub fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

/// The checksum of an ICMPv6 message in a frame, with its pseudo header: 0 if it is right.
pub fn checksum_icmpv6(frame: &[u8]) -> u16 {
    let message = &frame[54..];
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    checksum(&[&frame[22..54], &length, &[0, 0, 0, ICMPV6], message].concat())
}
