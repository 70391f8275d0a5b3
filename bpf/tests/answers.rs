//! The packets that `from_container` makes itself: byte by byte, checksums included.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod rig;

use rig::packet::{
    ICMP, ICMPV6, TCP, UDP, arp, checksum, checksum_icmpv6, solicitation, solicitation_with, tcp, udp, v4, v6,
};
use rig::{FABRIC_MAC, LINK, OTHER_LINK, OWN_MAC, OWN_V4, OWN_V6, REDIRECT, Rig};
use shoal_abi::DropReason;

/// The frame's header of every answer: to the container, from the fabric.
fn header(protocol: u16) -> Vec<u8> {
    [&OWN_MAC[..], &FABRIC_MAC, &protocol.to_be_bytes()].concat()
}

#[test]
fn an_arp_request_for_anyone_else_is_answered_with_the_fabric() {
    let rig = Rig::container();
    for (sender, target) in [(OWN_V4, "10.7.0.3"), (OWN_V4, "10.7.99.99"), ("0.0.0.0", "10.7.0.3")] {
        let question = arp(1, sender, target);
        let answer = rig.run(&question);
        assert_eq!((answer.verdict, answer.mark), (REDIRECT, 0));
        let expected = [
            &header(0x0806)[..],
            &[0, 1, 8, 0, 6, 4, 0, 2],
            &FABRIC_MAC,
            &question[38..42],
            &OWN_MAC,
            &question[28..32],
        ];
        assert_eq!(answer.packet, expected.concat());
    }
    assert!(rig.lost().is_empty());
}

#[test]
fn a_container_that_asks_for_its_own_address_hears_nothing() {
    let rig = Rig::container();
    rig.drops(&arp(1, "0.0.0.0", OWN_V4), DropReason::OwnAddress);
    rig.drops(&arp(1, OWN_V4, OWN_V4), DropReason::OwnAddress);
    rig.drops(&solicitation("::", OWN_V6), DropReason::OwnAddress);
    rig.drops(&solicitation(OWN_V6, OWN_V6), DropReason::OwnAddress);
    rig.drops(&solicitation("::", "fe80::1"), DropReason::Neighbour);
}

#[test]
fn forged_neighbour_messages_are_dropped() {
    let rig = Rig::container();
    rig.drops(&arp(1, "10.7.0.3", "10.7.0.2"), DropReason::ForgedSource);
    rig.drops(&arp(2, "10.7.0.3", "10.7.0.2"), DropReason::ForgedSource);
    rig.drops(&arp(2, OWN_V4, "10.7.0.2"), DropReason::Neighbour);
    rig.drops(&solicitation("fd07::3", "fd07::2"), DropReason::ForgedSource);
    rig.drops(&solicitation_with(OWN_V6, "fd07::2", 254), DropReason::Malformed);
    let mut reverse = arp(1, OWN_V4, "10.7.0.2");
    reverse[14] = 9;
    rig.drops(&reverse, DropReason::Malformed);
}

#[test]
fn a_solicitation_is_answered_with_the_fabric() {
    let rig = Rig::container();
    for asker in [OWN_V6, "fe80::7"] {
        let question = solicitation(asker, "fd07::3");
        let answer = rig.run(&question);
        assert_eq!(answer.verdict, REDIRECT);
        let packet = answer.packet;
        assert_eq!(packet.len(), 86);
        assert_eq!(packet[..14], header(0x86dd));
        assert_eq!(packet[14..22], [0x60, 0, 0, 0, 0, 32, ICMPV6, 255]);
        assert_eq!(packet[22..38], question[62..78], "from the target");
        assert_eq!(packet[38..54], question[22..38], "to the asker");
        assert_eq!(packet[54..56], [136, 0]);
        assert_eq!(packet[58..62], [0x60, 0, 0, 0], "solicited, override");
        assert_eq!(packet[62..78], question[62..78], "the target");
        assert_eq!(packet[78..], [&[2, 1][..], &FABRIC_MAC].concat(), "its hardware address");
        assert_eq!(checksum_icmpv6(&packet), 0);
    }
}

#[test]
fn an_address_that_is_not_the_containers_counts_as_taken() {
    let answer = Rig::container().run(&solicitation("::", "fd07::99"));
    assert_eq!(answer.verdict, REDIRECT);
    let all_nodes = "ff02::1".parse::<std::net::Ipv6Addr>().unwrap().octets();
    assert_eq!(answer.packet[38..54], all_nodes);
    assert_eq!(answer.packet[58], 0x20, "override, not solicited");
    assert_eq!(checksum_icmpv6(&answer.packet), 0);
}

/// A length of a few hundred bytes as on the wire.
fn length(bytes: usize) -> [u8; 2] {
    [(bytes >> 8) as u8, bytes as u8]
}

/// Checks an ICMP error about a packet: from its destination, to its source, quoting its beginning.
fn is_error_v4(answer: &[u8], about: &[u8], kind: [u8; 2], detail: [u8; 4]) {
    let quoted = (about.len() - 14).min(128);
    assert_eq!(answer.len(), 42 + quoted);
    assert_eq!(answer[..14], header(0x0800));
    assert_eq!(answer[14..16], [0x45, 0]);
    assert_eq!(answer[16..18], length(28 + quoted));
    assert_eq!(answer[22..24], [64, ICMP]);
    assert_eq!((&answer[26..30], &answer[30..34]), (&about[30..34], &about[26..30]));
    assert_eq!(checksum(&answer[14..34]), 0);
    assert_eq!((&answer[34..36], &answer[38..42]), (&kind[..], &detail[..]));
    assert_eq!(answer[42..], about[14..][..quoted]);
    assert_eq!(checksum(&answer[34..]), 0);
}

fn is_error_v6(answer: &[u8], about: &[u8], kind: [u8; 2], detail: [u8; 4]) {
    let quoted = (about.len() - 14).min(128);
    assert_eq!(answer.len(), 62 + quoted);
    assert_eq!(answer[..14], header(0x86dd));
    assert_eq!(answer[14..18], [0x60, 0, 0, 0]);
    assert_eq!(answer[18..20], length(8 + quoted));
    assert_eq!(answer[20..22], [ICMPV6, 64]);
    assert_eq!((&answer[22..38], &answer[38..54]), (&about[38..54], &about[22..38]));
    assert_eq!((&answer[54..56], &answer[58..62]), (&kind[..], &detail[..]));
    assert_eq!(answer[62..], about[14..][..quoted]);
    assert_eq!(checksum_icmpv6(answer), 0);
}

#[test]
fn too_big_tells_the_mtu() {
    let rig = Rig::container();
    let mtu = [0, 0, 0x05, 0x5a];
    for payload in [udp(1351), tcp(1400), udp(3000)] {
        let packet = v4(OWN_V4, "10.7.0.2", UDP, &payload);
        let answer = rig.run(&packet);
        assert_eq!((answer.verdict, answer.mark), (REDIRECT, 0));
        is_error_v4(&answer.packet, &packet, [3, 4], mtu);
    }
    let packet = v6(OWN_V6, "fd07::2", TCP, &tcp(1400));
    let answer = rig.run(&packet);
    assert_eq!((answer.verdict, answer.mark), (REDIRECT, 0));
    is_error_v6(&answer.packet, &packet, [2, 0], mtu);
}

#[test]
fn a_large_packet_yet_to_be_segmented_is_answered_too() {
    let rig = Rig::container();
    let packet = v4(OWN_V4, "10.7.0.2", TCP, &tcp(3200));
    is_error_v4(&rig.run_gso(&packet, 3, 1500).packet, &packet, [3, 4], [0, 0, 0x05, 0x5a]);
    let packet = v6(OWN_V6, "fd07::2", TCP, &tcp(3200));
    is_error_v6(&rig.run_gso(&packet, 3, 1500).packet, &packet, [2, 0], [0, 0, 0x05, 0x5a]);
}

#[test]
fn unknown_is_told_for_packets_of_any_length() {
    for length in [0, 1, 2, 3, 8, 63, 100, 107, 108, 109, 500] {
        let rig = Rig::container();
        let packet = v4(OWN_V4, "10.7.0.99", UDP, &vec![7; length]);
        is_error_v4(&rig.run(&packet).packet, &packet, [3, 1], [0; 4]);
        let packet = v6(OWN_V6, "fd07::99", UDP, &vec![7; length]);
        is_error_v6(&rig.run(&packet).packet, &packet, [1, 3], [0; 4]);
        assert_eq!(rig.lost().into_iter().collect::<Vec<_>>(), [(DropReason::UnknownDestination, 2)]);
    }
}

#[test]
fn checksums_are_right_whatever_is_quoted() {
    let rig = Rig::container();
    for number in 0..2000_u32 {
        // Spread over all bytes (Knuth's multiplier), so that sums carry now and then.
        let noise: Vec<u8> =
            (0..30).flat_map(|at| (number * 31 + at).wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        let payload = [&[128, 0][..], &noise, &[0; 1300]].concat();
        let packet = v6(OWN_V6, "fd07::2", ICMPV6, &[&payload[..], &[0; 100]].concat());
        assert_eq!(checksum_icmpv6(&rig.run(&packet).packet), 0);
        let packet = v4(OWN_V4, "10.7.0.2", UDP, &[&payload[..], &[0; 100]].concat());
        assert_eq!(checksum(&rig.run(&packet).packet[34..]), 0);
    }
}

#[test]
fn a_scan_soon_hears_nothing_more() {
    let rig = Rig::container();
    let packet = v4(OWN_V4, "10.7.0.99", UDP, &udp(30));
    let answered = (0..1000).filter(|_| rig.run(&packet).verdict == REDIRECT).count();
    // 51 at once, and one more for each hundredth of a second that a thousand runs take.
    assert!((51..300).contains(&answered), "{answered}");
    assert_eq!(rig.lost()[&DropReason::UnknownDestination], 1000);
    // "Too big" does not share that limit.
    assert_eq!(rig.run(&v4(OWN_V4, "10.7.0.2", UDP, &udp(1400))).verdict, REDIRECT);
}

#[test]
fn without_redirect_peer_a_frame_is_addressed_to_its_receiver() {
    let rig = Rig::container_without_redirect_peer();
    let packet = v4(OWN_V4, "10.7.0.3", UDP, &udp(30));
    let outcome = rig.run(&packet);
    assert_eq!((outcome.verdict, outcome.mark), (REDIRECT, 0));
    assert_eq!(outcome.packet[..6], [2, 0, 0, 0, 7, 3]);
    assert_eq!(outcome.packet[6..12], FABRIC_MAC);
    assert_eq!(outcome.packet[12..], packet[12..]);
    assert_eq!((rig.carried(LINK), rig.carried(OTHER_LINK)), ((1, 0), (0, 1)));
}
