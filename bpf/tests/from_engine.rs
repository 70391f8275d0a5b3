//! Every path through `from_engine`: what differs from `from_tunnel`, and that the rest is the same.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod rig;

use rig::packet::{TCP, UDP, frame, framed, tcp, udp, v4, v6};
use rig::{
    FABRIC_MAC, OTHER_LINK, OTHER_MAC, OWN_V4, REDIRECT, Rig, SHOP, SHOT, THIRD_HOST, other_link, peer,
    shared,
};
use shoal_abi::{DropReason, Endpoint, LINK_IN_CLEAR, Link, PEER_FRAMED, PEER_IN_CLEAR, Peer};

/// The host that packets come from; the endpoints 10.7.0.2 and fd07::2 are there.
const HOST: &str = "240.1.2.3";

fn rig() -> Rig {
    let rig = Rig::engine();
    rig.set_peer(HOST, Peer { flags: PEER_FRAMED, ..peer("240.0.0.1") });
    for address in ["10.7.0.2", "fd07::2"] {
        rig.set_endpoint(SHOP, address, Endpoint { ifindex: 0, peer: shared(HOST) });
    }
    rig
}

fn good() -> [Vec<u8>; 2] {
    [v4("10.7.0.2", "10.7.0.3", UDP, &udp(30)), v6("fd07::2", "fd07::3", UDP, &udp(30))]
}

#[test]
fn a_packet_is_delivered_and_tells_the_container_no_outer_address() {
    let rig = rig();
    for packet in good() {
        let outcome = rig.run(&framed(SHOP, HOST, &packet));
        assert_eq!((outcome.verdict, outcome.mark), (REDIRECT, 0));
        assert_eq!(outcome.packet, [&OTHER_MAC[..], &FABRIC_MAC, &packet[12..]].concat());
    }
    assert_eq!(rig.carried(OTHER_LINK), (0, 2));
    assert!(rig.lost().is_empty());
}

#[test]
fn a_large_packet_stays_one() {
    let (rig, packet) = (rig(), v4("10.7.0.2", "10.7.0.3", TCP, &tcp(3000)));
    let outcome = rig.run_gso(&framed(SHOP, HOST, &packet), 3, 1000);
    assert_eq!((outcome.verdict, outcome.packet.len()), (REDIRECT, packet.len()));
    assert_eq!(rig.carried(OTHER_LINK), (0, 3));
}

#[test]
fn a_frame_that_does_not_say_host_and_network_is_dropped() {
    let rig = rig();
    let [good, _] = good().map(|packet| framed(SHOP, HOST, &packet));
    for at in [0, 1, 6, 7, 8] {
        for bit in [1, 0x80] {
            let mut frame = good.clone();
            frame[at] ^= bit;
            rig.drops(&frame, DropReason::NoFrameKey);
        }
    }
}

#[test]
fn every_byte_of_host_and_network_counts() {
    let rig = rig();
    let [good, _] = good().map(|packet| framed(SHOP, HOST, &packet));
    for (bytes, reason) in [(2..6, DropReason::ForeignHost), (9..12, DropReason::NotLocal)] {
        for at in bytes {
            let mut frame = good.clone();
            frame[at] ^= 1;
            rig.drops(&frame, reason);
        }
    }
}

#[test]
fn a_host_that_is_reached_in_clear_is_not_heard() {
    let rig = rig();
    for flags in [PEER_IN_CLEAR, PEER_IN_CLEAR | PEER_FRAMED] {
        rig.set_peer(HOST, Peer { flags, ..peer("240.0.0.1") });
        for packet in good() {
            rig.drops(&framed(SHOP, HOST, &packet), DropReason::ForeignTunnel);
        }
    }
    // Reached through WireGuard of the kernel meanwhile: the same kind.
    rig.set_peer(HOST, Peer { flags: 0, ..peer("240.0.0.1") });
    assert_eq!(rig.run(&framed(SHOP, HOST, &good()[0])).verdict, REDIRECT);
}

#[test]
fn a_network_in_clear_is_not_served() {
    let rig = rig();
    rig.set_link(OTHER_LINK, &Link { flags: other_link().flags | LINK_IN_CLEAR, ..other_link() });
    for packet in good() {
        rig.drops(&framed(SHOP, HOST, &packet), DropReason::CameEncrypted);
    }
}

#[test]
fn the_other_rules_are_those_of_every_tunnel() {
    let rig = rig();
    rig.set_peer("240.9.9.9", Peer { flags: PEER_FRAMED, host: THIRD_HOST, ..peer("240.0.0.1") });
    let drops = |host: &str, packet: &[u8], reason| rig.drops(&framed(SHOP, host, packet), reason);
    drops("240.9.9.9", &good()[0], DropReason::ForeignSource);
    // An address that the endpoint's host has beside the one it is known at, as while its keys change.
    rig.set_peer("240.8.8.8", Peer { flags: PEER_FRAMED, ..peer("240.0.0.1") });
    assert_eq!(rig.run(&framed(SHOP, "240.8.8.8", &good()[0])).verdict, REDIRECT);
    drops(HOST, &v4(OWN_V4, "10.7.0.3", UDP, &udp(30)), DropReason::ForeignSource);
    drops(HOST, &v4("10.7.0.2", "10.7.0.2", UDP, &udp(30)), DropReason::NotLocal);
    drops(HOST, &frame(0x0806, &[0; 28]), DropReason::NotIp);
    rig.remove("link_counters", &OTHER_LINK);
    drops(HOST, &good()[0], DropReason::NoReceiver);
}

#[test]
fn a_packet_cut_short_anywhere_is_dropped() {
    let rig = rig();
    for packet in [v4("10.7.0.2", "10.7.0.3", TCP, &tcp(60)), v6("fd07::2", "fd07::3", TCP, &tcp(60))] {
        for length in 0..65 {
            if let Some(outcome) = rig.run_segments(&framed(SHOP, HOST, &packet)[..length], 0, 0) {
                assert_eq!(outcome.verdict, SHOT, "{length} bytes of {packet:?}");
            }
        }
    }
}
