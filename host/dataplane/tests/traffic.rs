//! Packets between containers, through the real kernel.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod bed;

use std::net::TcpStream;

use bed::{ALL_FEATURES, Container, Host, NO_FEATURES, Over, name, outer, peer, transfer, two_hosts};
use shoal_dataplane::Features;
use shoal_plan::{Change, EndpointEntry, EndpointKey, Peer, Tunnel};
use shoal_ports::Kernel;

fn key(address: &str) -> EndpointKey {
    EndpointKey { vni: bed::vni(bed::SHOP), address: address.parse().unwrap() }
}

fn reaches(from: &Container, to: &Container) {
    assert!(from.namespace.pings(&format!("10.7.0.{}", to.number)), "IPv4");
    assert!(from.namespace.pings(&format!("fd07::{:x}", to.number)), "IPv6");
    transfer(from, to, &format!("10.7.0.{}", to.number));
    transfer(from, to, &format!("fd07::{:x}", to.number));
}

/// Containers 1 and 3 on the first host, 2 on the second.
fn three_containers(hosts: &(Host, Host), over: Over) -> [Container; 3] {
    let all = [hosts.0.container(1), hosts.1.container(2), hosts.0.container(3)];
    hosts.0.learn(&all[1], outer(2, over));
    hosts.1.learn(&all[0], outer(1, over));
    hosts.1.learn(&all[2], outer(1, over));
    all.iter().for_each(Container::settle);
    all
}

fn everyone_reaches_everyone(features: Features, over: Over) {
    let hosts = two_hosts(features, over);
    let [one, two, three] = three_containers(&hosts, over);
    reaches(&one, &two);
    reaches(&two, &three);
    reaches(&one, &three);
    for host in [&hosts.0, &hosts.1] {
        let counters = host.kernel(|kernel| kernel.counters().unwrap());
        assert!(counters.tunnel_drops.is_empty(), "{counters:?}");
    }
}

#[test]
fn containers_reach_each_other_with_all_features() {
    everyone_reaches_everyone(ALL_FEATURES, Over::V4);
}

#[test]
fn containers_reach_each_other_with_no_features() {
    everyone_reaches_everyone(NO_FEATURES, Over::V4);
}

#[test]
fn containers_reach_each_other_over_an_ipv6_outer() {
    everyone_reaches_everyone(ALL_FEATURES, Over::V6);
}

#[test]
fn containers_reach_each_other_over_an_ipv6_underlay_with_no_features() {
    everyone_reaches_everyone(NO_FEATURES, Over::V6);
}

#[test]
fn containers_reach_each_other_through_an_engine() {
    everyone_reaches_everyone(ALL_FEATURES, Over::Engine);
}

#[test]
fn containers_reach_each_other_through_an_engine_with_no_features() {
    everyone_reaches_everyone(NO_FEATURES, Over::Engine);
}

#[test]
fn an_encrypted_network_does_not_fall_back_to_a_tunnel_in_clear() {
    let hosts = two_hosts(ALL_FEATURES, Over::Engine);
    let [one, _two, _three] = three_containers(&hosts, Over::Engine);
    for (host, own, other) in [(&hosts.0, 1, 2), (&hosts.1, 2, 1)] {
        host.apply(&[
            Change::SetTunnel(name("dp-vx"), Tunnel::Clear { port: 4790 }),
            Change::SetPeer(outer(other, Over::V4), peer(own, Over::V4)),
        ]);
    }
    assert!(one.namespace.pings("10.7.0.2"));
    let lost = |reason: &str| {
        let counters = hosts.0.kernel(|kernel| kernel.counters().unwrap());
        counters.links[&name("dp-out1")].drops.get(reason).copied().unwrap_or_default()
    };
    // Even if somebody led the endpoint, or the very peer, through the tunnel in clear.
    let astray = |host| Change::SetEndpoint(key("10.7.0.2"), EndpointEntry::Remote(host));
    hosts.0.apply(&[astray(outer(2, Over::V4))]);
    assert!(!one.namespace.pings("10.7.0.2"));
    assert_eq!(lost("path-in-clear"), 1);
    hosts.0.apply(&[Change::SetPeer(
        outer(2, Over::Engine),
        Peer { tunnel: name("dp-vx"), ..peer(1, Over::Engine) },
    )]);
    hosts.0.apply(&[astray(outer(2, Over::Engine))]);
    assert!(!one.namespace.pings("10.7.0.2"));
    assert_eq!(lost("path-in-clear"), 2);
    hosts.0.apply(&[Change::SetPeer(outer(2, Over::Engine), peer(1, Over::Engine))]);
    assert!(one.namespace.pings("10.7.0.2"));
    hosts.0.namespace.ip("link delete dp-wg");
    assert!(!one.namespace.pings("10.7.0.2"));
    assert_eq!(lost("no-tunnel"), 1);
    hosts.0.apply(&[Change::RemoveTunnel(name("dp-wg"))]);
    let devices = hosts.0.namespace.run("cat /proc/self/net/dev").unwrap();
    let line = devices.lines().find(|line| line.contains("dp-vx:")).unwrap();
    assert_eq!(line.split_whitespace().nth(10), Some("0"), "nothing has left in clear: {devices}");
}

#[test]
fn no_packet_is_lost_while_a_host_changes_its_end() {
    let hosts = two_hosts(ALL_FEATURES, Over::Engine);
    let [one, two, _three] = three_containers(&hosts, Over::Engine);
    let pause = || std::thread::sleep(std::time::Duration::from_millis(300));
    let (old, new) = (outer(2, Over::Engine), outer(22, Over::Engine));
    let bed::End { tunnel, known } = bed::end_at(22, 7376);
    let lost = lost_during(&one, "10.7.0.2", || {
        hosts.1.apply(&[
            Change::SetTunnel(name("dp-wg2"), tunnel),
            Change::SetWireGuardPeer(name("dp-wg2"), bed::public(1), bed::end(1)),
        ]);
        let peer_of_new = Change::SetPeer(new, peer(1, Over::Engine));
        hosts.0.apply(&[Change::SetWireGuardPeer(name("dp-wg"), bed::public(22), known), peer_of_new]);
        pause();
        // The second host sends through its new end, and the first does not know that yet.
        let through_new = Peer { local: new, tunnel: name("dp-wg2"), ..peer(2, Over::Engine) };
        hosts.1.apply(&[Change::SetPeer(outer(1, Over::Engine), through_new)]);
        pause();
        hosts.0.learn(&two, new);
        pause();
        hosts.1.apply(&[Change::RemoveTunnel(name("dp-wg"))]);
        hosts.0.apply(&[Change::RemovePeer(old), Change::RemoveWireGuardPeer(name("dp-wg"), bed::public(2))]);
    });
    assert!(lost.contains("400 received"), "{lost}");
}

#[test]
fn what_comes_in_clear_reaches_no_encrypted_network() {
    let hosts = two_hosts(ALL_FEATURES, Over::V4);
    let [one, _two, _three] = three_containers(&hosts, Over::V4);
    assert!(one.namespace.pings("10.7.0.2"));
    let (link, settings) = bed::pair(bed::SHOP, 2);
    hosts.1.apply(&[Change::SetLink(link, shoal_plan::Link { in_clear: false, ..settings })]);
    assert!(!one.namespace.pings("10.7.0.2"));
    let counters = hosts.1.kernel(|kernel| kernel.counters().unwrap());
    assert_eq!(counters.tunnel_drops["came-in-clear"], 1);
}

/// Pings a hundred times a second for some seconds while `work` runs; the packets lost.
fn lost_during(from: &Container, to: &str, work: impl FnOnce()) -> String {
    std::thread::scope(|scope| {
        let pings = scope.spawn(|| from.namespace.run(&format!("ping -n -q -i 0.01 -c 400 -W 1 {to}")));
        work();
        let output = pings.join().unwrap().unwrap_or_else(|error| error);
        output.lines().find(|line| line.contains("packet loss")).unwrap_or(&output).to_owned()
    })
}

#[test]
fn no_packet_is_lost_while_agents_come_and_go() {
    let mut hosts = two_hosts(ALL_FEATURES, Over::V4);
    let [one, _two, three] = three_containers(&hosts, Over::V4);
    for to in ["10.7.0.2", "10.7.0.3"] {
        // Each time an agent starts and ends; every other one brings other programs.
        let lost = lost_during(&one, to, || {
            for round in 0..20 {
                hosts.0.features = if round % 2 == 0 { NO_FEATURES } else { ALL_FEATURES };
                hosts.0.kernel(|kernel| assert!(kernel.observe().unwrap().broken.is_empty()));
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
        });
        assert!(lost.contains("400 received"), "{lost}");
    }
    drop(three);
}

#[test]
fn a_container_learns_the_mtu_of_a_path() {
    let hosts = two_hosts(ALL_FEATURES, Over::V4);
    let [one, two, _three] = three_containers(&hosts, Over::V4);
    let peer = Peer { mtu: 1300, ..peer(1, Over::V4) };
    hosts.0.apply(&[Change::SetPeer(outer(2, Over::V4), peer)]);
    for (to, size) in [("10.7.0.2", 1273), ("fd07::2", 1253)] {
        let ping = one.namespace.run(&format!("ping -n -c 2 -i 0.2 -W 1 -M do -s {size} {to}"));
        let text = ping.expect_err("one byte too many");
        assert!(
            text.contains("mtu = 1300") || text.contains("mtu=1300") || text.contains("mtu: 1300"),
            "{text}"
        );
        one.namespace.run(&format!("ping -n -c 1 -W 1 -M do -s {} {to}", size - 1)).expect("just fits");
    }
    one.namespace.ip("route flush cache");
    one.namespace.ip("-6 route flush cache");
    // Large segments, as the stack hands them down; the first ones are answered, and the rest gets through.
    transfer(&one, &two, "10.7.0.2");
    transfer(&one, &two, "fd07::2");
    let counters = hosts.0.kernel(|kernel| kernel.counters().unwrap());
    assert!(counters.links[&name("dp-out1")].drops["too-big"] >= 4, "{counters:?}");
}

#[test]
fn fragments_arrive() {
    let hosts = two_hosts(ALL_FEATURES, Over::V4);
    let [one, _two, _three] = three_containers(&hosts, Over::V4);
    for to in ["10.7.0.2", "10.7.0.3", "fd07::2", "fd07::3"] {
        one.namespace.run(&format!("ping -n -c 1 -W 1 -s 5000 {to}")).expect("a reply");
    }
}

#[test]
fn an_address_that_nobody_has_is_told() {
    let hosts = two_hosts(ALL_FEATURES, Over::V4);
    let [one, _two, _three] = three_containers(&hosts, Over::V4);
    for to in ["10.7.0.99", "fd07::99"] {
        let text = one.namespace.run(&format!("ping -n -c 1 -W 1 {to}")).unwrap_err();
        assert!(text.contains("nreachable"), "{text}");
        // The first answer comes while the socket is still busy sending, and TCP may then wait for the second.
        let before = std::time::Duration::from_secs(4);
        let address = (to.parse::<std::net::IpAddr>().unwrap(), 80).into();
        let error = one.namespace.inside(|| TcpStream::connect_timeout(&address, before)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::HostUnreachable, "{error}");
    }
}

#[test]
fn containers_pass_for_nobody_else() {
    let hosts = two_hosts(ALL_FEATURES, Over::V4);
    let [one, _two, _three] = three_containers(&hosts, Over::V4);
    one.namespace.ip("address add 10.7.0.50/16 dev eth0");
    one.namespace.ip("address add fd07::50/64 dev eth0 nodad");
    for (from, to) in [("10.7.0.50", "10.7.0.2"), ("10.7.0.50", "10.7.0.3"), ("fd07::50", "fd07::2")] {
        assert!(one.namespace.run(&format!("ping -n -c 1 -W 1 -I {from} {to}")).is_err());
    }
    let counters = hosts.0.kernel(|kernel| kernel.counters().unwrap());
    assert!(counters.links[&name("dp-out1")].drops["forged-source"] >= 3, "{counters:?}");
}

#[test]
fn networks_do_not_meet() {
    let host = Host::new(ALL_FEATURES);
    let [one, two, probe] = [host.container_in(4711, 1), host.container_in(4712, 2), host.container_in(1, 3)];
    for container in [&one, &two, &probe] {
        container.settle();
        for to in [1, 2, 3].into_iter().filter(|to| *to != container.number) {
            assert!(!container.namespace.pings(&format!("10.7.0.{to}")));
            assert!(!container.namespace.pings(&format!("fd07::{to}")));
        }
    }
}

#[test]
fn a_host_that_is_no_peer_is_not_heard() {
    let hosts = two_hosts(ALL_FEATURES, Over::V4);
    let [one, _two, _three] = three_containers(&hosts, Over::V4);
    hosts.1.apply(&[Change::RemovePeer(outer(1, Over::V4))]);
    assert!(!one.namespace.pings("10.7.0.2"));
    let counters = hosts.1.kernel(|kernel| kernel.counters().unwrap());
    assert_eq!(counters.tunnel_drops["foreign-host"], 1);
}

#[test]
fn a_container_without_its_program_reaches_nobody() {
    let hosts = two_hosts(ALL_FEATURES, Over::V4);
    let [one, _two, three] = three_containers(&hosts, Over::V4);
    assert!(one.namespace.pings("10.7.0.3"));
    hosts.0.namespace.run("sysctl -q -w net.ipv4.ip_forward=1").unwrap();
    hosts.0.namespace.run("tc qdisc delete dev dp-out1 clsact").unwrap();
    for to in ["10.7.0.3", "10.7.0.2", "10.99.0.1", "fd07::3"] {
        assert!(!one.namespace.pings(to), "{to}");
    }
    assert!(!three.namespace.pings("10.7.0.1"), "answers are lost too");
}
