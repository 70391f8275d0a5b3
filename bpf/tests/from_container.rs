//! Every path through `from_container`: its verdicts, its answers and each reason for a loss.
//!
//! DROP_KERNEL is missing: the kernel refuses nothing here until it runs out of memory.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod rig;

use rig::packet::{ICMP, ICMPV6, TCP, UDP, frame, frame_to, framed, tcp, udp, v4, v4_with, v6};
use rig::{
    GONE, LINK, OTHER_LINK, OWN_MAC, OWN_V4, OWN_V6, REDIRECT, Rig, SHOP, SHOT, own_link, peer, shared,
};
use shoal_abi::{DropReason, Endpoint, LINK_IN_CLEAR, Link, PEER_FRAMED, PEER_IN_CLEAR, Peer};

#[test]
fn a_packet_for_a_neighbour_is_delivered_and_counted_at_both_ends() {
    let rig = Rig::container();
    for packet in [v4(OWN_V4, "10.7.0.3", UDP, &udp(30)), v6(OWN_V6, "fd07::3", UDP, &udp(30))] {
        let outcome = rig.run(&packet);
        assert_eq!((outcome.verdict, outcome.mark), (REDIRECT, 0));
        assert_eq!(outcome.packet, packet, "the frame stays as it is");
    }
    assert_eq!((rig.carried(LINK), rig.carried(OTHER_LINK)), ((2, 0), (0, 2)));
    assert!(rig.lost().is_empty());
}

#[test]
fn a_packet_for_another_host_enters_the_tunnel() {
    let (encrypted, clear) = (Rig::container(), Rig::container());
    clear.set_all_in_clear();
    for rig in [encrypted, clear] {
        for packet in [v4(OWN_V4, "10.7.0.2", TCP, &tcp(10)), v6(OWN_V6, "fd07::2", TCP, &tcp(10))] {
            let outcome = rig.run(&packet);
            assert_eq!((outcome.verdict, outcome.mark, outcome.packet), (REDIRECT, 0, packet));
        }
        assert_eq!(rig.carried(LINK), (2, 0));
    }
}

#[test]
fn an_engine_is_told_host_and_network_in_the_frame() {
    let rig = Rig::container();
    rig.set_peer("240.1.2.3", Peer { flags: PEER_FRAMED, ..peer("240.0.0.1") });
    for address in ["10.7.0.2", "fd07::2"] {
        rig.set_endpoint(SHOP, address, Endpoint { ifindex: 0, peer: shared("240.1.2.3") });
    }
    for packet in [v4(OWN_V4, "10.7.0.2", TCP, &tcp(10)), v6(OWN_V6, "fd07::2", TCP, &tcp(10))] {
        let outcome = rig.run(&packet);
        assert_eq!((outcome.verdict, outcome.mark), (REDIRECT, 0));
        assert_eq!(outcome.packet, framed(SHOP, "240.1.2.3", &packet));
    }
    let large = v4(OWN_V4, "10.7.0.2", TCP, &tcp(3000));
    assert_eq!(rig.run_gso(&large, 3, 1000).packet, framed(SHOP, "240.1.2.3", &large));
    assert_eq!(rig.carried(LINK), (5, 0));
    assert!(rig.lost().is_empty());
}

#[test]
fn every_bit_of_a_network_is_told_to_an_engine() {
    let rig = Rig::container();
    rig.set_link(LINK, &Link { vni: 0x00fe_dcba, ..own_link() });
    rig.set_peer("255.255.255.254", Peer { flags: PEER_FRAMED, ..peer("240.0.0.1") });
    rig.set_endpoint(0x00fe_dcba, "10.7.0.2", Endpoint { ifindex: 0, peer: shared("255.255.255.254") });
    let outcome = rig.run(&v4(OWN_V4, "10.7.0.2", UDP, &udp(30)));
    assert_eq!(outcome.packet[..12], [2, 0, 255, 255, 255, 254, 2, 0, 0, 0xfe, 0xdc, 0xba]);
}

#[test]
fn an_encrypted_network_has_no_way_in_clear() {
    let rig = Rig::container();
    for flags in [PEER_IN_CLEAR, PEER_IN_CLEAR | PEER_FRAMED] {
        rig.set_peer("10.99.0.2", Peer { flags, ..peer("10.99.0.1") });
        rig.set_peer("fd99::2", Peer { flags, ..peer("fd99::1") });
        // Nor is the path's size told, which only those learn who may use it.
        for length in [30, 1500] {
            rig.drops(&v4(OWN_V4, "10.7.0.2", UDP, &udp(length)), DropReason::PathInClear);
            rig.drops(&v6(OWN_V6, "fd07::2", UDP, &udp(length)), DropReason::PathInClear);
        }
    }
    assert_eq!(rig.carried(LINK), (0, 0));
}

#[test]
fn a_network_in_clear_has_no_way_through_an_encrypted_tunnel() {
    let rig = Rig::container();
    rig.set_all_in_clear();
    for flags in [0, PEER_FRAMED] {
        rig.set_peer("10.99.0.2", Peer { flags, ..peer("10.99.0.1") });
        rig.drops(&v4(OWN_V4, "10.7.0.2", UDP, &udp(30)), DropReason::PathEncrypted);
        rig.drops(&v4(OWN_V4, "10.7.0.2", UDP, &udp(1500)), DropReason::PathEncrypted);
    }
}

#[test]
fn on_one_host_it_does_not_matter_how_tunnels_are() {
    let rig = Rig::container();
    rig.set_link(LINK, &Link { flags: own_link().flags | LINK_IN_CLEAR, ..own_link() });
    assert_eq!(rig.run(&v4(OWN_V4, "10.7.0.3", UDP, &udp(30))).verdict, REDIRECT);
    assert_eq!(rig.carried(OTHER_LINK), (0, 1));
}

#[test]
fn fragments_and_extension_headers_pass() {
    let rig = Rig::container();
    let first = v4_with(OWN_V4, "10.7.0.2", UDP, 0x2000, &udp(64));
    let later = v4_with(OWN_V4, "10.7.0.2", UDP, 0x0008, &[1; 9]);
    let hop_by_hop = [&[UDP, 0, 1, 4, 0, 0, 0, 0][..], &udp(30)].concat();
    let fragment = [&[UDP, 0, 0, 1, 0, 0, 0, 7][..], &udp(30)].concat();
    let of_v6 =
        [(0, hop_by_hop), (44, fragment)].map(|(header, bytes)| v6(OWN_V6, "fd07::3", header, &bytes));
    for packet in [first, later].iter().chain(&of_v6) {
        assert_eq!(rig.run(packet).verdict, REDIRECT);
    }
}

#[test]
fn segments_are_counted_and_not_the_packet_they_come_in() {
    let rig = Rig::container();
    let large = v4(OWN_V4, "10.7.0.2", TCP, &tcp(3000));
    assert_eq!(rig.run_gso(&large, 3, 1000).verdict, REDIRECT);
    assert_eq!(rig.carried(LINK), (3, 0));
}

#[test]
fn a_link_without_settings_carries_nothing() {
    let rig = Rig::container();
    rig.remove("links", &LINK);
    rig.drops(&v4(OWN_V4, "10.7.0.3", UDP, &udp(30)), DropReason::NoLink);
}

#[test]
fn what_is_not_ip_is_dropped() {
    let rig = Rig::container();
    rig.drops(&frame(0x88cc, &[0; 60]), DropReason::NotIp);
    rig.drops(&frame(0x8100, &[0; 60]), DropReason::NotIp);
    rig.drops(&frame(0x0026, &[0; 60]), DropReason::NotIp);
}

#[test]
fn headers_that_contradict_themselves_are_dropped() {
    let rig = Rig::container();
    let change = |mut packet: Vec<u8>, at: usize, byte: u8| {
        packet[at] = byte;
        packet
    };
    let good = v4(OWN_V4, "10.7.0.3", UDP, &udp(30));
    for (at, byte) in [(14, 0x65), (14, 0x44), (17, 200), (17, 19)] {
        rig.drops(&change(good.clone(), at, byte), DropReason::Malformed);
    }
    let good = v6(OWN_V6, "fd07::3", UDP, &udp(30));
    for (at, byte) in [(14, 0x40), (19, 31)] {
        rig.drops(&change(good.clone(), at, byte), DropReason::Malformed);
    }
}

#[test]
fn groups_and_everyone_are_not_served() {
    let rig = Rig::container();
    rig.drops(&v4(OWN_V4, "224.0.0.251", UDP, &udp(30)), DropReason::Multicast);
    rig.drops(&v4(OWN_V4, "255.255.255.255", UDP, &udp(30)), DropReason::Multicast);
    rig.drops(&v6(OWN_V6, "ff02::fb", UDP, &udp(30)), DropReason::Multicast);
    let subnet = v4(OWN_V4, "10.7.255.255", UDP, &udp(30));
    rig.drops(&frame_to([0xff; 6], 0x0800, &subnet[14..]), DropReason::Multicast);
    // A container's own chatter from its link-local address is no forgery.
    rig.drops(&v6("fe80::1", "ff02::2", ICMPV6, &[133, 0, 0, 0, 0, 0, 0, 0]), DropReason::Multicast);
}

#[test]
fn a_source_that_is_not_the_containers_is_dropped() {
    let rig = Rig::container();
    for source in ["10.7.0.3", "10.7.0.9", "0.0.0.0", "127.0.0.1"] {
        rig.drops(&v4(source, "10.7.0.3", UDP, &udp(30)), DropReason::ForgedSource);
    }
    for source in ["fd07::3", "fe80::1", "::", "::1", "::ffff:10.7.0.1"] {
        rig.drops(&v6(source, "fd07::3", UDP, &udp(30)), DropReason::ForgedSource);
    }
    rig.drops(&v6(OWN_V6, "::ffff:10.7.0.3", UDP, &udp(30)), DropReason::ForgedSource);
}

#[test]
fn a_link_without_an_address_of_a_family_sends_nothing_of_it() {
    let rig = Rig::container();
    let mut link = rig::link(OWN_V4, "::", OWN_MAC);
    link.flags = shoal_abi::LINK_HAS_V4;
    rig.set_link(LINK, &link);
    rig.drops(&v6("::", "fd07::3", UDP, &udp(30)), DropReason::ForgedSource);
    link.flags = shoal_abi::LINK_HAS_V6;
    link.v4 = shared("0.0.0.0");
    rig.set_link(LINK, &link);
    rig.drops(&v4("0.0.0.0", "10.7.0.3", UDP, &udp(30)), DropReason::ForgedSource);
}

#[test]
fn another_networks_addresses_are_unknown() {
    let rig = Rig::container();
    rig.set_endpoint(SHOP + 1, "10.7.0.8", Endpoint { ifindex: OTHER_LINK, ..Default::default() });
    let outcome = rig.run(&v4(OWN_V4, "10.7.0.8", UDP, &udp(30)));
    assert_eq!(outcome.verdict, REDIRECT, "an ICMP error goes back");
    assert_eq!(rig.lost().into_iter().collect::<Vec<_>>(), [(DropReason::UnknownDestination, 1)]);
    assert_eq!(rig.carried(OTHER_LINK), (0, 0));
}

#[test]
fn a_host_that_is_no_peer_gets_nothing() {
    let rig = Rig::container();
    rig.remove("peers_2", &shared("10.99.0.2"));
    rig.drops(&v4(OWN_V4, "10.7.0.2", UDP, &udp(30)), DropReason::UnknownPeer);
}

#[test]
fn without_a_tunnel_nothing_leaves_the_host() {
    let rig = Rig::container();
    for ifindex in [0, GONE] {
        rig.set_peer("10.99.0.2", Peer { ifindex, ..peer("10.99.0.1") });
        rig.set_peer("fd99::2", Peer { ifindex, ..peer("fd99::1") });
        rig.drops(&v4(OWN_V4, "10.7.0.2", UDP, &udp(30)), DropReason::NoTunnel);
        rig.drops(&v6(OWN_V6, "fd07::2", UDP, &udp(30)), DropReason::NoTunnel);
    }
    assert_eq!(rig.carried(LINK), (0, 0));
}

#[test]
fn no_engine_leads_to_an_address_of_ipv6() {
    let rig = Rig::container();
    rig.set_peer("fd99::2", Peer { flags: PEER_FRAMED, ..peer("fd99::1") });
    rig.drops(&v6(OWN_V6, "fd07::2", UDP, &udp(30)), DropReason::NoTunnel);
}

#[test]
fn a_tunnel_takes_what_is_longer_than_its_own_mtu() {
    // The loopback device plays the tunnel; this thread gets one of its own.
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
    let mtu = std::process::Command::new("ip").args(["link", "set", "lo", "mtu", "100"]).status();
    assert!(mtu.unwrap().success());
    let rig = Rig::container();
    assert_eq!(rig.run(&v4(OWN_V4, "10.7.0.2", UDP, &udp(1300))).verdict, REDIRECT);
    assert!(rig.lost().is_empty());
}

#[test]
fn an_endpoint_whose_link_is_gone_is_told_apart() {
    let rig = Rig::container();
    rig.remove("link_counters", &OTHER_LINK);
    rig.drops(&v4(OWN_V4, "10.7.0.3", UDP, &udp(30)), DropReason::NoReceiver);
    assert_eq!(rig.carried(LINK), (0, 0));
}

#[test]
fn the_largest_packet_passes_and_one_byte_more_does_not() {
    let rig = Rig::container();
    assert_eq!(rig.run(&v4(OWN_V4, "10.7.0.2", UDP, &udp(1350))).verdict, REDIRECT);
    assert!(rig.lost().is_empty());
    rig.run(&v4(OWN_V4, "10.7.0.2", UDP, &udp(1351)));
    assert_eq!(rig.lost().into_iter().collect::<Vec<_>>(), [(DropReason::TooBig, 1)]);
}

#[test]
fn probes_of_a_path_are_not_held_to_its_mtu() {
    let rig = Rig::container();
    let vni = shoal_types::Vni::PROBE.get();
    rig.set_link(LINK, &Link { vni, ..own_link() });
    rig.set_endpoint(vni, "10.7.0.2", Endpoint { ifindex: 0, peer: shared("10.99.0.2") });
    let packet = v4(OWN_V4, "10.7.0.2", UDP, &udp(1500));
    assert_eq!(rig.run(&packet).packet, packet);
    assert!(rig.lost().is_empty());
}

#[test]
fn a_path_with_a_smaller_mtu_is_measured_by_segments() {
    let rig = Rig::container();
    rig.set_peer("10.99.0.2", Peer { mtu: 1040, ..peer("10.99.0.1") });
    let large = v4(OWN_V4, "10.7.0.2", TCP, &tcp(3000));
    assert_eq!(rig.run_gso(&large, 3, 1000).packet, large, "20 + 20 + 1000 bytes fit");
    assert!(rig.lost().is_empty());
    let answer = rig.run_gso(&large, 3, 1001);
    assert_eq!((answer.verdict, answer.packet[23]), (REDIRECT, ICMP));
    assert_eq!(rig.lost().into_iter().collect::<Vec<_>>(), [(DropReason::TooBig, 1)]);
    let datagrams = v4(OWN_V4, "10.7.0.2", UDP, &udp(3000));
    assert_eq!(rig.run_gso(&datagrams, 3, 1012).packet, datagrams, "20 + 8 + 1012 bytes fit");
}

#[test]
fn errors_are_not_told_about_errors_and_later_fragments() {
    let rig = Rig::container();
    let quoted = [&[3, 1, 0, 0, 0, 0, 0, 0][..], &[0x45; 28]].concat();
    rig.drops(&v4(OWN_V4, "10.7.0.99", ICMP, &quoted), DropReason::UnknownDestination);
    rig.drops(&v6(OWN_V6, "fd07::99", ICMPV6, &quoted), DropReason::UnknownDestination);
    rig.drops(&v4_with(OWN_V4, "10.7.0.99", UDP, 0x0008, &[1; 9]), DropReason::UnknownDestination);
    rig.drops(&v4_with(OWN_V4, "10.7.0.2", UDP, 0x0008, &[1; 1400]), DropReason::TooBig);
    let echo = [&[8, 0, 0, 0, 0, 0, 0, 0][..], &[0; 28]].concat();
    assert_eq!(rig.run(&v4(OWN_V4, "10.7.0.99", ICMP, &echo)).verdict, REDIRECT);
}

#[test]
fn a_packet_cut_short_anywhere_is_dropped() {
    let rig = Rig::container();
    let whole = [
        v4(OWN_V4, "10.7.0.3", TCP, &tcp(60)),
        v6(OWN_V6, "fd07::3", TCP, &tcp(60)),
        rig::packet::solicitation(OWN_V6, "fd07::3"),
        rig::packet::arp(1, OWN_V4, "10.7.0.3"),
    ];
    for packet in whole {
        for length in 0..packet.len().min(65) {
            // The kernel itself refuses to make a packet without a whole Ethernet header, and some without an IP one.
            if let Some(outcome) = rig.run_segments(&packet[..length], 0, 0) {
                assert_eq!(outcome.verdict, SHOT, "{length} bytes of {packet:?}");
            }
        }
    }
}
