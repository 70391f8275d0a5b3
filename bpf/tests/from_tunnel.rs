//! Every path through `from_tunnel` and `from_clear`, which differ only in the kind of host and network they serve.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod rig;

use rig::packet::{TCP, UDP, frame, tcp, udp, v4, v6};
use rig::{OTHER_LINK, OWN_V4, OWN_V6, REDIRECT, Rig, SHOP, SHOT, THIRD_HOST, other_link, peer, shared};
use shoal_abi::{DropReason, Endpoint, LINK_IN_CLEAR, Link, PEER_FRAMED, PEER_IN_CLEAR, Peer};

/// Both programs, each with hosts and networks of its kind.
fn both() -> [Rig; 2] {
    [Rig::tunnel(), Rig::clear()]
}

#[test]
fn a_packet_from_the_endpoints_own_host_is_delivered() {
    for rig in both() {
        for (host, packet) in [
            ("10.99.0.2", v4("10.7.0.2", "10.7.0.3", UDP, &udp(30))),
            ("fd99::2", v6("fd07::2", "fd07::3", UDP, &udp(30))),
        ] {
            rig.come_from(SHOP, host);
            let outcome = rig.run(&packet);
            assert_eq!((outcome.verdict, outcome.mark, outcome.packet), (REDIRECT, 0, packet));
        }
        assert_eq!(rig.carried(OTHER_LINK), (0, 2));
        assert!(rig.lost().is_empty());
    }
}

#[test]
fn a_packet_that_overtook_the_fact_of_its_sender_is_delivered() {
    for rig in both() {
        rig.come_from(SHOP, "10.99.0.2");
        assert_eq!(rig.run(&v4("10.7.0.200", "10.7.0.3", TCP, &tcp(0))).verdict, REDIRECT);
    }
}

#[test]
fn a_packet_without_a_tunnel_is_dropped() {
    for rig in both() {
        rig.come_from(SHOP, "::");
        rig.drops(&v4("10.7.0.2", "10.7.0.3", UDP, &udp(30)), DropReason::NoTunnelKey);
    }
}

#[test]
fn a_host_that_is_no_peer_is_not_heard() {
    for rig in both() {
        for host in ["10.99.0.3", "fd99::3"] {
            rig.come_from(SHOP, host);
            rig.drops(&v4("10.7.0.2", "10.7.0.3", UDP, &udp(30)), DropReason::ForeignHost);
        }
    }
}

#[test]
fn a_source_that_lives_elsewhere_is_not_believed() {
    for rig in both() {
        rig.set_peer("10.99.0.9", Peer { flags: rig.way_flags(), host: THIRD_HOST, ..peer("10.99.0.1") });
        rig.come_from(SHOP, "10.99.0.9");
        rig.drops(&v4("10.7.0.2", "10.7.0.3", UDP, &udp(30)), DropReason::ForeignSource);
        rig.drops(&v6("fd07::2", "fd07::3", UDP, &udp(30)), DropReason::ForeignSource);
        // Least of all one of this very host.
        rig.drops(&v4(OWN_V4, "10.7.0.3", UDP, &udp(30)), DropReason::ForeignSource);
        rig.drops(&v6(OWN_V6, "fd07::3", UDP, &udp(30)), DropReason::ForeignSource);
    }
}

#[test]
fn an_address_that_is_not_here_gets_nothing() {
    for rig in both() {
        rig.set_endpoint(SHOP, "10.7.0.4", Endpoint { ifindex: 0, peer: shared("10.99.0.2") });
        rig.come_from(SHOP, "10.99.0.2");
        for destination in ["10.7.0.99", "10.7.0.4", "224.0.0.1", "255.255.255.255"] {
            rig.drops(&v4("10.7.0.2", destination, UDP, &udp(30)), DropReason::NotLocal);
        }
        rig.come_from(SHOP + 1, "10.99.0.2");
        rig.drops(&v4("10.7.0.2", "10.7.0.3", UDP, &udp(30)), DropReason::NotLocal);
    }
}

#[test]
fn an_endpoint_whose_link_is_gone_is_told_apart() {
    for rig in both() {
        rig.come_from(SHOP, "10.99.0.2");
        for map in ["link_counters", "links"] {
            rig.remove(map, &OTHER_LINK);
            rig.drops(&v4("10.7.0.2", "10.7.0.3", UDP, &udp(30)), DropReason::NoReceiver);
        }
    }
}

#[test]
fn what_is_not_ip_or_cut_short_is_dropped() {
    for rig in both() {
        rig.come_from(SHOP, "10.99.0.2");
        rig.drops(&frame(0x0806, &[0; 28]), DropReason::NotIp);
        rig.drops(&frame(0x88cc, &[0; 60]), DropReason::NotIp);
        for packet in [v4("10.7.0.2", "10.7.0.3", TCP, &tcp(60)), v6("fd07::2", "fd07::3", TCP, &tcp(60))] {
            for length in 0..65 {
                if let Some(outcome) = rig.run_segments(&packet[..length], 0, 0) {
                    assert_eq!(outcome.verdict, SHOT, "{length} bytes of {packet:?}");
                }
            }
        }
    }
}

#[test]
fn a_host_is_heard_through_tunnels_of_its_own_kind_only() {
    let packet = v4("10.7.0.2", "10.7.0.3", UDP, &udp(30));
    for (rig, flags) in [(Rig::tunnel(), PEER_IN_CLEAR), (Rig::clear(), 0), (Rig::clear(), PEER_FRAMED)] {
        rig.set_peer("10.99.0.2", Peer { flags, ..peer("10.99.0.1") });
        rig.come_from(SHOP, "10.99.0.2");
        rig.drops(&packet, DropReason::ForeignTunnel);
    }
    // Which of the encrypted ones does not matter: while keys change, both backends may be in use.
    let rig = Rig::tunnel();
    rig.set_peer("10.99.0.2", Peer { flags: PEER_FRAMED, ifindex: 12345, ..peer("10.99.0.1") });
    rig.come_from(SHOP, "10.99.0.2");
    assert_eq!(rig.run(&packet).verdict, REDIRECT);
}

#[test]
fn what_came_in_clear_reaches_no_encrypted_network() {
    let rig = Rig::clear();
    rig.set_link(OTHER_LINK, &other_link());
    rig.come_from(SHOP, "10.99.0.2");
    rig.drops(&v4("10.7.0.2", "10.7.0.3", UDP, &udp(30)), DropReason::CameInClear);
    rig.drops(&v6("fd07::200", "fd07::3", UDP, &udp(30)), DropReason::CameInClear);
    assert_eq!(rig.carried(OTHER_LINK), (0, 0));
}

#[test]
fn what_came_encrypted_reaches_no_network_in_clear() {
    let rig = Rig::tunnel();
    rig.set_link(OTHER_LINK, &Link { flags: other_link().flags | LINK_IN_CLEAR, ..other_link() });
    rig.come_from(SHOP, "10.99.0.2");
    rig.drops(&v4("10.7.0.2", "10.7.0.3", UDP, &udp(30)), DropReason::CameEncrypted);
    assert_eq!(rig.carried(OTHER_LINK), (0, 0));
}

#[test]
fn an_endpoint_may_send_from_any_address_of_its_host() {
    for rig in both() {
        let peer = Peer { flags: rig.way_flags(), ..peer("10.99.0.1") };
        rig.set_peer("10.99.0.8", peer);
        rig.come_from(SHOP, "10.99.0.8");
        assert_eq!(rig.run(&v4("10.7.0.2", "10.7.0.3", UDP, &udp(30))).verdict, REDIRECT);
        // Unless it is known at an address that is no peer's any more, or this host's own.
        rig.remove("peers_2", &shared("10.99.0.2"));
        rig.drops(&v4("10.7.0.2", "10.7.0.3", UDP, &udp(30)), DropReason::ForeignSource);
        rig.drops(&v4(OWN_V4, "10.7.0.3", UDP, &udp(30)), DropReason::ForeignSource);
    }
}
