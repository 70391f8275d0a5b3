use proptest::prelude::*;

use super::*;
use crate::segment::tests::{cut, tcp_frame};
use crate::wire::OUTER;

const FROM: From = From { address: Ipv4Addr::new(240, 0, 0, 2), vni: 258, ethertype: ETHERTYPE_IPV4 };

/// Inner packets of one flow, in order, each with a payload of 100 bytes but the last.
fn flow() -> Vec<Vec<u8>> {
    cut(&tcp_frame(false, 100, &[5; 450], 0x10, 12)).iter().map(|packet| packet[OUTER..].to_vec()).collect()
}

/// How many packets each frame is made of.
fn join(packets: &[Vec<u8>]) -> Vec<usize> {
    joined(packets).iter().map(|(count, _)| *count).collect()
}

/// Counts, and the bytes behind the hardware addresses, of all frames.
fn joined(packets: &[Vec<u8>]) -> Vec<(usize, Vec<u8>)> {
    let buffer = packets.concat();
    let mut coalescer = Coalescer::default();
    let mut at = 0;
    for packet in packets {
        coalescer.push(&buffer, at..at + packet.len(), FROM);
        at += packet.len();
    }
    let bytes = |frame: &Joined| {
        frame.parts(&buffer, |head, parts| {
            let parts: Vec<_> = parts.iter().map(|part| &buffer[part.clone()]).collect();
            [&head[FRAME_HEAD..], &parts.concat()].concat()
        })
    };
    coalescer.frames().iter().map(|frame| (frame.count(), bytes(frame))).collect()
}

/// Changes a byte of TCP and makes its checksum right again.
fn change(packet: &mut [u8], at: usize, byte: u8) {
    packet[at] = byte;
    packet[36..38].fill(0);
    let length = u16::try_from(packet.len() - IPV4).unwrap();
    let pseudo = checksum::pseudo_header(addresses(packet), PROTOCOL_TCP, length);
    let sum = checksum::finish(checksum::add(pseudo, &packet[IPV4..]));
    packet[36..38].copy_from_slice(&sum.to_ne_bytes());
}

#[test]
fn segments_in_order_become_one() {
    assert_eq!(join(&flow()), [5]);
}

#[test]
fn a_hole_ends_a_super_packet() {
    let mut packets = flow();
    packets.remove(2);
    assert_eq!(join(&packets), [2, 2]);
    let mut packets = flow();
    packets.swap(1, 2);
    assert_eq!(join(&packets), [1, 1, 1, 2]);
}

#[test]
fn a_push_ends_a_super_packet() {
    let mut packets = flow();
    change(&mut packets[1], 33, ACK | PSH);
    assert_eq!(join(&packets), [2, 3]);
}

#[test]
fn other_acknowledgements_windows_options_and_flags_end_it() {
    for (at, byte) in [(31, 9), (34, 9), (45, 9), (33, ACK | ECE), (33, ACK | CWR)] {
        let mut packets = flow();
        change(&mut packets[2], at, byte);
        assert_eq!(join(&packets)[0], 2, "byte {at}");
    }
}

#[test]
fn other_ip_headers_end_it() {
    for (at, byte) in [(1, 3), (5, 9), (6, 0), (8, 9)] {
        let mut packets = flow();
        packets[2][at] = byte;
        packets[2][10..12].fill(0);
        let sum = checksum::finish(checksum::add(0, &packets[2][..IPV4]));
        packets[2][10..12].copy_from_slice(&sum.to_ne_bytes());
        assert_eq!(join(&packets)[0], 2, "byte {at}");
    }
}

#[test]
fn what_cannot_be_joined_is_not_overtaken() {
    let mut packets = flow();
    // A pure acknowledgement in the middle of data, and a fragment.
    let mut lone = packets[0][..52].to_vec();
    put(&mut lone, 2, 52);
    packets.insert(2, lone);
    assert_eq!(join(&packets), [2, 1, 3]);
    let mut packets = flow();
    packets[2][6] = 0x20;
    assert_eq!(join(&packets), [2, 1, 2]);
}

#[test]
fn flows_that_alternate_are_joined_each() {
    let (one, mut two) = (flow(), flow());
    two.iter_mut().for_each(|packet| change(packet, 21, 77));
    let both: Vec<_> = one.into_iter().zip(two).flat_map(|(a, b)| [a, b]).collect();
    assert_eq!(join(&both), [5, 5]);
}

#[test]
fn networks_and_senders_are_told_apart() {
    let packets = flow();
    let buffer = packets.concat();
    let mut coalescer = Coalescer::default();
    let length = packets[0].len();
    coalescer.push(&buffer, 0..length, FROM);
    coalescer.push(&buffer, length..2 * length, From { vni: 7, ..FROM });
    coalescer.push(&buffer, 2 * length..3 * length, From { address: Ipv4Addr::new(240, 0, 0, 9), ..FROM });
    assert_eq!(coalescer.frames().len(), 3);
    coalescer.clear();
    assert!(coalescer.frames().is_empty());
}

#[test]
fn a_super_packet_ends_before_it_is_too_long() {
    let payload = vec![3; 60_000];
    let first = cut(&tcp_frame(false, 1300, &payload, 0x10, 0));
    let mut packets: Vec<_> = first.iter().map(|packet| packet[OUTER..].to_vec()).collect();
    packets.pop();
    let all = joined(&packets);
    assert!(all.iter().all(|(count, bytes)| *count <= SEGMENTS_MAX && bytes.len() <= LONGEST));
    let small = cut(&tcp_frame(false, 100, &[3; 20_000], 0x10, 0));
    let small: Vec<_> = small.iter().map(|packet| packet[OUTER..].to_vec()).collect();
    assert_eq!(join(&small), [64, 64, 64, 8]);
}

proptest! {
    #[test]
    fn a_damage_is_never_hidden(which in 0usize..5, at in 0usize..600, bit in 0u8..8) {
        let mut packets = flow();
        let at = at % packets[which].len();
        packets[which][at] ^= 1 << bit;
        let damaged = packets[which].clone();
        // Either it goes on alone, as it came, or the damage is one that no checksum covers (none is).
        prop_assert!(joined(&packets).iter().any(|(count, bytes)| *count == 1 && *bytes == damaged));
    }

    #[test]
    fn any_packets_are_joined_without_harm(
        packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..120), 0..8), heads: bool,
    ) {
        let mut packets = packets;
        if heads {
            let real = flow();
            for (packet, real) in packets.iter_mut().zip(&real) {
                let length = packet.len().min(30);
                packet[..length].copy_from_slice(&real[..length]);
            }
        }
        let count: usize = join(&packets).iter().sum();
        prop_assert_eq!(count, packets.len());
    }

    #[test]
    fn no_flow_is_reordered_and_no_byte_is_lost(order in proptest::collection::vec((0usize..3, 0usize..5), 0..40)) {
        let flows: Vec<Vec<Vec<u8>>> = (0..3).map(|port| {
            let mut flow = flow();
            flow.iter_mut().for_each(|packet| change(packet, 21, port));
            flow
        }).collect();
        let packets: Vec<_> = order.iter().map(|(flow, at)| flows[*flow][*at].clone()).collect();
        let frames = joined(&packets);
        for port in 0..3u8 {
            let sent: Vec<u8> = packets.iter().filter(|p| p[21] == port).flat_map(|p| p[52..].to_vec()).collect();
            let got: Vec<u8> = frames.iter().filter(|f| f.1[21] == port).flat_map(|f| f.1[52..].to_vec()).collect();
            prop_assert_eq!(sent, got);
        }
    }
}
