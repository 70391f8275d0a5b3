//! What comes to the WireGuard engine: frames, packets of the tunnel, and text at its control socket.

use std::net::Ipv4Addr;

use shoal_wireguard::coalesce::{Coalescer, From};
use shoal_wireguard::segment::Cut;
use shoal_wireguard::uapi::{Change, PeerChange, Request, parse};
use shoal_wireguard::unwrap::unwrap;
use shoal_wireguard::wire::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, OUTER, Offload};

use crate::{join, parts};

const OWN: Ipv4Addr = Ipv4Addr::new(240, 0, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(240, 0, 0, 2);

/// A run of frames, each also taken as a packet of the tunnel and as an inner packet: what is cut can be unwrapped, and
/// what is joined is as many packets, and as many bytes of payload, as came.
pub(crate) fn tunnel_frames(bytes: &[u8]) {
    for frame in parts(bytes) {
        let _ = unwrap(frame, PEER, OWN);
        if let Ok(cut) = Cut::new(frame, PEER) {
            let mut out = vec![0; cut.longest()];
            let mut packets = Vec::new();
            for index in 0..cut.count() {
                let length = cut.write(index, &mut out);
                packets.push(out[..length].to_vec());
            }
            joined(&packets, OUTER);
        }
    }
    joined(&parts(bytes).into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>(), 0);
}

/// Joins what begins at `from` of each packet.
fn joined(packets: &[Vec<u8>], from: usize) {
    let buffer = packets.concat();
    let (mut coalescer, mut at, mut count) = (Coalescer::default(), 0, 0);
    for packet in packets {
        let inner = at + from.min(packet.len())..at + packet.len();
        let is_v6 = buffer.get(inner.start).is_some_and(|byte| byte >> 4 == 6);
        let ethertype = if is_v6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
        coalescer.push(&buffer, inner, From { address: PEER, vni: 7, ethertype });
        at += packet.len();
        count += 1;
    }
    let total: usize = coalescer.frames().iter().map(shoal_wireguard::coalesce::Joined::count).sum();
    assert_eq!(total, count, "no packet is lost or made");
    for frame in coalescer.frames() {
        let length = frame.parts(&buffer, |head, ranges| {
            let offload = Offload::read(head).expect("a frame has its header");
            assert!(ranges.len() < 2 || usize::from(offload.size) >= ranges[1].len());
            head.len() + ranges.iter().map(ExactSizeIterator::len).sum::<usize>()
        });
        assert_eq!(length, frame.length() + 24, "a frame is its headers and its packet");
    }
}

/// A change that can be read writes back to the same.
pub(crate) fn wireguard_control(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(Request::Set(change)) = parse(text) {
        assert_eq!(parse(&change.text()), Ok(Request::Set(change)));
    }
}

pub(crate) fn frames() -> Vec<(String, Vec<u8>)> {
    let tcp = frame(Offload::TCP4, 6, 16, &[5; 700]);
    let udp = frame(Offload::UDP, 17, 6, &[5; 700]);
    let lone = frame(Offload::NONE, 6, 16, b"one");
    let cut = Cut::new(&tcp, PEER).expect("the seed is a frame");
    let mut out = vec![0; cut.longest()];
    let inner: Vec<Vec<u8>> = (0..cut.count())
        .map(|at| {
            let length = cut.write(at, &mut out);
            out[OUTER..length].to_vec()
        })
        .collect();
    let inner: Vec<&[u8]> = inner.iter().map(Vec::as_slice).collect();
    [join(&[&tcp]), join(&[&udp, &lone]), join(&inner)]
        .into_iter()
        .enumerate()
        .map(|(number, bytes)| (format!("{number:02}"), bytes))
        .collect()
}

/// A frame of IPv4 that asks to be cut into packets with 200 bytes.
fn frame(kind: u8, protocol: u8, offset: u16, payload: &[u8]) -> Vec<u8> {
    let offload = Offload { flags: Offload::NEEDS_CHECKSUM, kind, header: 54, size: 200, start: 34, offset };
    let header = if protocol == 6 { 20 } else { 8 };
    let length = u16::try_from(20 + header + payload.len()).expect("seeds are short");
    let mut packet = vec![0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet.resize(20 + header, 0);
    if protocol == 6 {
        packet[32..34].copy_from_slice(&[0x50, 0x10]);
    }
    let head = [2, 0, 240, 0, 0, 1, 2, 0, 0, 0, 0, 7, 8, 0];
    [&offload.bytes()[..], &head, &packet, payload].concat()
}

pub(crate) fn controls() -> Vec<(String, Vec<u8>)> {
    let peer = PeerChange {
        remove: true,
        preshared: Some(None),
        endpoint: Some(([192, 0, 2, 1], 7375).into()),
        keepalive: Some(25),
        replace_address: true,
        address: Some(PEER),
        ..PeerChange::new(shoal_types::WireGuardKey::new([3; 32]))
    };
    let change = Change {
        private: Some(None),
        port: Some(7375),
        replace_peers: true,
        mtu: Some(1420),
        peers: vec![peer],
    };
    vec![("get".into(), b"get=1\n\n".to_vec()), ("set".into(), change.text().into_bytes())]
}
