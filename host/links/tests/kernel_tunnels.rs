//! Tunnels by the kernel's WireGuard: two hosts as network namespaces, joined by a bridge in a third one. Needs root
//! and a kernel with WireGuard; `make test-kernels` runs it on those of Debian.
//!
//! ```text
//!     first: dp-tun 10.7.0.1, dp-out 10.99.0.1 ==== bridge, listener ==== second: dp-out 10.99.0.2, dp-tun 10.7.0.2
//! ```
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]
#![allow(clippy::disallowed_methods, reason = "tests wait on the machine's clock")]

mod bed;
mod wire;

use std::net::{Ipv4Addr, UdpSocket};

use bed::{Bed, name};
use shoal_plan::{Tunnel, WireGuard};
use shoal_types::WireGuardSecret;
use wire::{Host, PORT, Wire, two_hosts};

/// Shoal's device group, as `ip` takes it.
const GROUP: &str = "group 1936224097";

fn joined() -> (Host, Host, Wire) {
    let (first, second, wire) = two_hosts();
    first.furnish();
    second.furnish();
    first.learn(&second);
    second.learn(&first);
    (first, second, wire)
}

#[test]
fn packets_go_through_and_only_wireguard_is_on_the_wire() {
    let (first, second, wire) = joined();
    assert!(first.pings(&second) && second.pings(&first));
    first.transfer(&second);
    second.transfer(&first);
    let frames = wire.frames();
    assert!(frames.iter().filter(|frame| wire::is_wireguard(frame)).count() > 100);
    wire::only_wireguard(&frames);
    first.inside(|bed| {
        let told = bed.tunnels.peers(&name("dp-tun"), &first.tunnel).unwrap();
        let (peer, status) = &told[&second.key];
        assert_eq!(peer.endpoint, Some((second.underlay, PORT).into()));
        assert!(
            status.last_handshake.unwrap().as_secs() < 60 && status.received_bytes > 100_000,
            "{status:?}"
        );
    });
}

#[test]
fn nothing_listens_for_vxlan_on_the_host() {
    let (first, _second, _wire) = joined();
    let sockets = first.run("cat /proc/net/udp /proc/net/udp6");
    // 4789 and 7375 in hexadecimal.
    assert!(!sockets.contains(":12B5 ") && sockets.contains(":1CCF "), "{sockets}");
}

#[test]
fn making_it_a_second_time_changes_nothing() {
    let (first, second, _wire) = joined();
    assert!(first.pings(&second));
    let before = first.fingerprint();
    first.inside(|bed| bed.make(&first.tunnel, first.mac));
    assert_eq!(first.fingerprint(), before);
    assert!(first.pings(&second));
}

#[test]
fn meddling_is_seen_and_mended_in_place() {
    let (first, second, wire) = joined();
    assert!(first.pings(&second));
    let index = first.device().index;
    for (meddling, fault) in [
        ("ip link set wg0 down", "wg0 in its namespace is down"),
        ("ip route del 240.0.0.0/4", "the route in its namespace is gone"),
        ("ip addr flush dev wg0", "wg0 in its namespace has 0 addresses instead of one"),
        ("ip addr add 240.0.0.77/32 dev wg0", "wg0 in its namespace has 2 addresses instead of one"),
        ("sysctl -qw net.ipv4.ip_forward=1", "/proc/sys/net/ipv4/ip_forward in its namespace is not 0"),
    ] {
        first.within(meddling);
        assert_eq!(first.read(), Err(fault.to_owned()), "{meddling}");
        first.mend();
        assert_eq!(first.device().index, index, "{meddling}");
        assert!(first.pings(&second), "{meddling}");
    }
    wire::only_wireguard(&wire.frames());
}

#[test]
fn another_key_port_or_mtu_reads_as_another_tunnel_and_is_set_in_place() {
    let (first, second, _wire) = joined();
    let index = first.device().index;
    let end = first.tunnel.wireguard().unwrap().clone();
    first.within("ip link set wg0 mtu 1300");
    assert_eq!(first.read(), Ok(Tunnel::Encrypted(WireGuard { mtu: 1300, ..end.clone() })));
    first.mend();
    let others = [
        WireGuard { secret: bed::secret(9), ..end.clone() },
        WireGuard { port: 7376, ..end.clone() },
        WireGuard { address: Ipv4Addr::new(240, 0, 0, 99), ..end },
    ];
    for other in others.map(Tunnel::Encrypted) {
        first.inside(|bed| bed.make(&other, first.mac));
        assert_eq!(first.read(), Ok(other));
        first.mend();
        assert_eq!(first.device().index, index);
    }
    assert!(first.pings(&second));
}

#[test]
fn a_key_whose_fixed_bits_are_not_set_is_the_same_key() {
    let (first, _second, _wire) = joined();
    let end = first.tunnel.wireguard().unwrap();
    let mut bytes = *end.secret.reveal();
    bytes[0] |= 7;
    let before = first.fingerprint();
    let loose = WireGuard { secret: WireGuardSecret::new(bytes), ..end.clone() };
    first.inside(|bed| bed.make(&Tunnel::Encrypted(loose), first.mac));
    assert_eq!(first.fingerprint(), before);
    assert!(first.read().as_ref() == Ok(&first.tunnel));
}

#[test]
fn without_its_wireguard_device_nothing_leaves_and_it_is_made_again() {
    let (first, second, wire) = joined();
    assert!(first.pings(&second));
    first.within("ip link del wg0");
    wire.forget();
    assert_eq!(first.read(), Err("wg0 in its namespace is gone".to_owned()));
    assert!(!first.pings(&second));
    wire::silence(&wire.frames(), &first);
    first.mend();
    first.learn(&second);
    assert!(first.pings(&second));
    wire::only_wireguard(&wire.frames());
}

#[test]
fn without_its_namespace_the_device_goes_nothing_leaves_and_it_is_made_again() {
    let (first, second, wire) = joined();
    assert!(first.pings(&second));
    first.run(&format!("umount -l {}", first.namespace().display()));
    wire.forget();
    first.inside(|bed| bed.until(|| bed.links.find(&name("dp-tun")).unwrap().is_none()));
    assert!(!first.pings(&second));
    wire::silence(&wire.frames(), &first);
    first.mend();
    first.lead_to(&second);
    first.learn(&second);
    assert!(first.pings(&second));
    wire::only_wireguard(&wire.frames());
}

#[test]
fn a_device_whose_socket_lies_elsewhere_is_seen_and_replaced() {
    let (first, second, wire) = joined();
    first.run("ip link del dp-tun");
    first.run(&format!("ip link add dp-tun {GROUP} mtu 65000 type vxlan external dstport 4789"));
    assert_eq!(
        first.read(),
        Ok(Tunnel::Clear { port: 4789 }),
        "a tunnel in clear, which is not what is planned"
    );
    first.mend();
    first.lead_to(&second);
    assert!(first.pings(&second));
    first.run("ip link del dp-tun");
    second.within(&format!(
        "ip link add dp-tun netns {} {GROUP} mtu 65000 type vxlan external dstport 4790",
        first.path()
    ));
    assert_eq!(first.read(), Err("UDP port inside is 4790 instead of 4789".to_owned()));
    first.run("ip link del dp-tun");
    second.run("ip link del dp-tun");
    second.within(&format!(
        "ip link add dp-tun netns {} {GROUP} mtu 65000 type vxlan external dstport 4789",
        first.path()
    ));
    assert_eq!(first.read(), Err("its socket is not in its namespace".to_owned()));
    first.mend();
    first.lead_to(&second);
    second.mend();
    second.lead_to(&first);
    assert!(first.pings(&second));
    wire::only_wireguard(&wire.frames());
}

#[test]
fn whatever_step_was_the_last_the_rest_is_made() {
    let (first, second, _wire) = joined();
    let netns = first.namespace();
    first.inside(Bed::remove);
    let steps: [&[&str]; 4] = [
        &["touch NETNS"],
        &["touch NETNS", "unshare -n mount --bind /proc/self/ns/net NETNS"],
        &[
            "touch NETNS",
            "unshare -n mount --bind /proc/self/ns/net NETNS",
            "ip link add netns NETNS type wireguard",
        ],
        &[
            "touch NETNS",
            "unshare -n mount --bind /proc/self/ns/net NETNS",
            "ip link add dp-wg type wireguard",
            "ip link set dp-wg netns NETNS",
            "nsenter --net=NETNS ip link set dp-wg name wg0",
        ],
    ];
    for commands in steps {
        for command in commands {
            first.run(&command.replace("NETNS", &netns.display().to_string()));
        }
        first.furnish();
        first.lead_to(&second);
        first.learn(&second);
        assert_eq!(first.read(), Ok(first.tunnel.clone()), "{commands:?}");
        assert!(first.pings(&second), "{commands:?}");
        first.inside(Bed::remove);
    }
}

#[test]
fn a_device_named_as_ours_inside_does_not_stand_in_the_way_outside() {
    let (first, second, _wire) = two_hosts();
    first.run("ip link add wg0 type wireguard");
    first.furnish();
    second.furnish();
    first.learn(&second);
    second.learn(&first);
    assert!(first.pings(&second));
    first.inside(Bed::remove);
    assert!(first.run("ip -o link show wg0").contains("wg0"));
}

#[test]
fn removing_leaves_nothing_and_the_port_is_free_at_once() {
    let (first, _second, _wire) = joined();
    first.inside(|bed| {
        for _ in 0..5 {
            bed.remove();
            drop(UdpSocket::bind(("0.0.0.0", PORT)).unwrap());
            bed.make(&first.tunnel, first.mac);
        }
        bed.remove();
        bed.remove();
        assert_eq!((bed.links.list().unwrap(), bed.files()), (Vec::new(), Vec::new()));
    });
}

#[test]
fn a_port_that_is_taken_is_named() {
    let (first, _second, _wire) = two_hosts();
    first.inside(|bed| {
        let _taken = UdpSocket::bind(("0.0.0.0", PORT)).unwrap();
        let refused = bed.tunnels.make(&bed.links, &name("dp-tun"), &first.tunnel, first.mac).unwrap_err();
        assert!(refused.reason.contains("Address already in use (UDP port 7375)"), "{refused}");
    });
}

#[test]
fn a_tunnel_changes_its_kind_both_ways() {
    let (first, second, _wire) = joined();
    let clear = Tunnel::Clear { port: 4790 };
    first.inside(|bed| bed.make(&clear, first.mac));
    assert_eq!(first.read(), Ok(clear));
    assert!(!first.namespace().exists());
    first.mend();
    first.lead_to(&second);
    first.learn(&second);
    assert!(first.pings(&second));
}

#[test]
fn other_ends_are_set_one_by_one_and_read_back() {
    let (first, _second, _wire) = two_hosts();
    first.inside(|bed| {
        bed.make(&first.tunnel, first.mac);
        bed::other_ends_are_set_one_by_one_and_read_back(bed, &first.tunnel);
    });
}

#[test]
fn more_ends_than_fit_into_one_message_are_all_read() {
    let (first, _second, _wire) = two_hosts();
    first.inside(|bed| {
        bed.make(&first.tunnel, first.mac);
        let ends: Vec<_> = (0..200).map(|number| (wire::many(number), bed::peer(number))).collect();
        for (key, peer) in &ends {
            bed.tunnels.set_peer(&name("dp-tun"), &first.tunnel, key, peer).unwrap();
        }
        let told = bed.tunnels.peers(&name("dp-tun"), &first.tunnel).unwrap();
        assert_eq!(told.len(), ends.len());
        assert!(ends.iter().all(|(key, peer)| told[key].0 == *peer));
    });
}

#[test]
fn setting_an_end_again_and_again_loses_no_packet() {
    let (first, second, _wire) = joined();
    assert!(first.pings(&second));
    let loss = std::thread::scope(|scope| {
        let ping = scope.spawn(|| first.run(&format!("ping -n -q -i 0.002 -c 1000 {}", second.inner)));
        while !ping.is_finished() {
            first.learn(&second);
            second.learn(&first);
            first.inside(|bed| bed.make(&first.tunnel, first.mac));
        }
        ping.join().unwrap()
    });
    assert!(loss.contains(" 0% packet loss"), "{loss}");
}
