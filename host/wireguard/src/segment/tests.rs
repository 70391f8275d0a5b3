use proptest::prelude::*;

use super::*;
use crate::coalesce::{Coalescer, From};
use crate::unwrap::unwrap;

const OWN: Ipv4Addr = Ipv4Addr::new(240, 0, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(240, 0, 0, 2);

/// A super-packet as the stack hands it to the device, with a partial checksum.
pub(crate) fn tcp_frame(v6: bool, size: u16, payload: &[u8], flags: u8, options: usize) -> Vec<u8> {
    let ip = if v6 { IPV6 } else { IPV4 };
    let header = TCP + options;
    let mut packet = vec![0; ip + header];
    if v6 {
        packet[0] = 0x60;
        put(&mut packet, 4, u16::try_from(header + payload.len()).unwrap());
        packet[6..8].copy_from_slice(&[PROTOCOL_TCP, 64]);
        packet[8..40].copy_from_slice(&[7; 32]);
    } else {
        packet[0] = 0x45;
        put(&mut packet, 2, u16::try_from(ip + header + payload.len()).unwrap());
        put(&mut packet, 4, 0xfffe);
        packet[6..10].copy_from_slice(&[0x40, 0, 64, PROTOCOL_TCP]);
        packet[12..20].copy_from_slice(&[10, 9, 0, 1, 10, 9, 0, 2]);
        let sum = checksum::finish(checksum::add(0, &packet[..IPV4]));
        packet[10..12].copy_from_slice(&sum.to_ne_bytes());
    }
    packet[ip..ip + 4].copy_from_slice(&[0x10, 0, 0, 80]);
    packet[ip + 4..ip + 8].copy_from_slice(&0xffff_ff00u32.to_be_bytes());
    packet[ip + 12] = u8::try_from(header / 4).unwrap() << 4;
    packet[ip + 13] = flags;
    packet[ip + TCP..].fill(1);
    packet.extend_from_slice(payload);
    let length = u16::try_from(packet.len() - ip).unwrap();
    let partial = checksum::fold(checksum::pseudo_header(addresses(&packet), PROTOCOL_TCP, length));
    packet[ip + 16..ip + 18].copy_from_slice(&partial.to_ne_bytes());
    let kind = if v6 { Offload::TCP6 } else { Offload::TCP4 };
    let ecn = if flags & CWR != 0 { Offload::ECN } else { 0 };
    let offload = Offload {
        flags: Offload::NEEDS_CHECKSUM,
        kind: kind | ecn,
        header: u16::try_from(ETHERNET + ip + header).unwrap(),
        size,
        start: u16::try_from(ETHERNET + ip).unwrap(),
        offset: 16,
    };
    frame(offload, if v6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 }, &packet)
}

fn frame(offload: Offload, ethertype: u16, packet: &[u8]) -> Vec<u8> {
    let mut frame = offload.bytes().to_vec();
    frame.extend([2, 0]);
    frame.extend(PEER.octets());
    frame.extend([2, 0, 0, 0, 1, 2]);
    frame.extend(ethertype.to_be_bytes());
    frame.extend(packet);
    frame
}

/// The packets of the tunnel that a frame becomes.
pub(crate) fn cut(frame: &[u8]) -> Vec<Vec<u8>> {
    let cut = Cut::new(frame, OWN).unwrap();
    let mut out = vec![0; cut.longest()];
    (0..cut.count())
        .map(|index| {
            let length = cut.write(index, &mut out);
            out[..length].to_vec()
        })
        .collect()
}

fn checks(packet: &[u8], transport: usize, protocol: u8) -> bool {
    let length = u16::try_from(packet.len() - transport).unwrap();
    let pseudo = checksum::pseudo_header(addresses(packet), protocol, length);
    checksum::finish(checksum::add(pseudo, &packet[transport..])) == 0
}

#[test]
fn what_is_sent_is_what_a_kernel_would_send() {
    let packets = cut(&tcp_frame(false, 100, &[5; 250], 0x18, 12));
    assert_eq!(packets.iter().map(Vec::len).collect::<Vec<_>>(), [202, 202, 152]);
    for packet in &packets {
        assert_eq!(checksum::finish(checksum::add(0, &packet[..IPV4])), 0);
        assert_eq!(packet[6..10], [0x40, 0, 64, 17]);
        assert_eq!(packet[12..20], [240, 0, 0, 1, 240, 0, 0, 2]);
        assert!(number(packet, 20) >= 49152);
        assert_eq!(packet[20..22], packets[0][20..22], "a flow keeps its port");
        assert_eq!(number(packet, 22), 4789);
        assert_eq!(packet[26..36], [0, 0, 8, 0, 0, 0, 0, 1, 2, 0]);
        assert_eq!(packet[36..50], *b"\x02shoa\x02\x02shoa\x01\x08\x00");
        let carried = unwrap(packet, OWN, PEER).unwrap();
        assert_eq!((carried.vni, carried.packet.start), (258, OUTER));
    }
}

#[test]
fn segments_count_up_and_keep_their_flags_where_they_belong() {
    let packets = cut(&tcp_frame(false, 100, &[5; 250], 0x10 | FIN_PSH | CWR, 0));
    let inner: Vec<_> = packets.iter().map(|packet| &packet[OUTER..]).collect();
    let ids: Vec<_> = inner.iter().map(|packet| number(packet, 4)).collect();
    assert_eq!(ids, [0xfffe, 0xffff, 0]);
    let sequences: Vec<_> = inner.iter().map(|packet| number32(packet, 24)).collect();
    assert_eq!(sequences, [0xffff_ff00, 0xffff_ff64, 0xffff_ffc8]);
    let flags: Vec<_> = inner.iter().map(|packet| packet[33]).collect();
    assert_eq!(flags, [0x90, 0x10, 0x19]);
    for packet in inner {
        assert_eq!(usize::from(number(packet, 2)), packet.len());
        assert_eq!(checksum::finish(checksum::add(0, &packet[..IPV4])), 0);
        assert!(checks(packet, IPV4, PROTOCOL_TCP));
    }
}

#[test]
fn a_lone_partial_checksum_is_completed() {
    let mut frame = tcp_frame(true, 0, b"odd", 0x18, 0);
    frame[1] = Offload::NONE;
    let packets = cut(&frame);
    assert!(checks(&packets[0][OUTER..], IPV6, PROTOCOL_TCP));
}

#[test]
fn udp_is_cut_into_datagrams_with_headers_of_their_own() {
    let mut packet = vec![0; IPV6 + UDP];
    packet[0] = 0x60;
    packet[6] = PROTOCOL_UDP;
    packet.extend([9; 250]);
    let offload = Offload {
        flags: Offload::NEEDS_CHECKSUM,
        kind: Offload::UDP,
        header: 62,
        size: 100,
        start: 54,
        offset: 6,
    };
    let packets = cut(&frame(offload, ETHERTYPE_IPV6, &packet));
    let inner: Vec<_> = packets.iter().map(|packet| &packet[OUTER..]).collect();
    assert_eq!(inner.iter().map(|packet| number(packet, 44)).collect::<Vec<_>>(), [108, 108, 58]);
    assert!(inner.iter().all(|packet| checks(packet, IPV6, PROTOCOL_UDP)));
    assert!(inner.iter().all(|packet| usize::from(number(packet, 4)) == packet.len() - IPV6));
}

#[test]
fn frames_that_no_program_has_addressed_are_refused() {
    let good = tcp_frame(false, 100, &[5; 250], 0x18, 12);
    for at in [10, 11, 16, 17, 18] {
        let mut frame = good.clone();
        frame[at] ^= 1;
        assert_eq!(Cut::new(&frame, OWN).unwrap_err(), Drop::FrameNotAddressed);
    }
    assert_eq!(Cut::new(&good[..24], OWN).unwrap_err(), Drop::FrameShort);
}

#[test]
fn the_congestion_bits_of_the_inner_packet_show_outside() {
    let mut frame = tcp_frame(false, 100, &[5; 250], 0x10, 0);
    frame[25] = 0xff;
    assert_eq!(cut(&frame)[0][1], 3);
    let mut frame = tcp_frame(true, 100, &[5; 250], 0x10, 0);
    frame[25] = 0x20;
    assert_eq!(cut(&frame)[0][1], 2);
}

proptest! {
    #[test]
    fn any_frame_is_cut_or_refused_without_harm(
        flags in 0u8..2, kind in prop_oneof![0u8..6, any::<u8>()], size: u16, start in 0u16..100, offset in 0u16..100,
        v6: bool, packet in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let offload = Offload { flags, kind, header: 0, size, start, offset };
        let frame = frame(offload, if v6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 }, &packet);
        if let Ok(cut) = Cut::new(&frame, OWN) {
            let mut out = vec![0; cut.longest()];
            for index in 0..cut.count() {
                prop_assert!(cut.write(index, &mut out) <= cut.longest());
            }
        }
    }

    #[test]
    fn what_is_cut_and_joined_is_what_it_was(
        v6: bool, size in 1200u16..1400, options in 0usize..10, flags in 0u8..4, length in 1401usize..60_000, seed: u8,
    ) {
        // ACK, with PSH or FIN or both, and sometimes CWR.
        let flags = 0x10 | (flags & 1) << 3 | flags >> 1 | if seed & 1 == 1 { CWR } else { 0 };
        let payload: Vec<u8> = (0..length).map(|at| (at % 251) as u8 ^ seed).collect();
        let frame = tcp_frame(v6, size, &payload, flags, options * 4);
        let packets = cut(&frame);
        let mut coalescer = Coalescer::default();
        let buffer = packets.concat();
        let mut at = 0;
        for packet in &packets {
            let carried = unwrap(packet, OWN, PEER).unwrap();
            let from = From { address: PEER, vni: carried.vni, ethertype: carried.ethertype };
            coalescer.push(&buffer, at + carried.packet.start..at + carried.packet.end, from);
            at += packet.len();
        }
        prop_assert_eq!(coalescer.frames().len(), 1);
        let joined = coalescer.frames()[0].parts(&buffer, |head, parts| {
            let parts: Vec<&[u8]> = parts.iter().map(|part| &buffer[part.clone()]).collect();
            [head, &parts.concat()].concat()
        });
        prop_assert!(joined == frame, "{:02x?}\n{:02x?}", &joined[..100], &frame[..100]);
    }
}
