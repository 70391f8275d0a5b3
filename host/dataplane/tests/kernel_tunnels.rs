//! The kernel's WireGuard under the data plane: plans and packets. Needs root and a kernel with WireGuard; `make
//! test-kernels` runs it on those of Debian.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod bed;

use bed::{
    ALL_FEATURES, Container, Host, Over, encrypted, end, name, outer, peer, public, two_hosts, with_backend,
};
use shoal_plan::{Backend, Change, EndpointEntry, EndpointKey, Observed, Peer, Tunnel};
use shoal_ports::Kernel;

fn two_containers() -> ((Host, Host), [Container; 2]) {
    let hosts = two_hosts(ALL_FEATURES, Over::Kernel);
    let both = [hosts.0.container(1), hosts.1.container(2)];
    hosts.0.learn(&both[1], outer(2, Over::Kernel));
    hosts.1.learn(&both[0], outer(1, Over::Kernel));
    both.iter().for_each(Container::settle);
    (hosts, both)
}

fn observe(host: &Host) -> Observed {
    host.kernel(|kernel| kernel.observe().unwrap())
}

fn program(host: &Host, device: &str) -> String {
    let filters = host.namespace.run(&format!("tc filter show dev {device} ingress")).unwrap();
    let known = ["from_clear", "from_tunnel", "from_engine"];
    known.into_iter().find(|name| filters.contains(name)).unwrap_or_default().to_owned()
}

#[test]
fn containers_reach_each_other_through_the_kernels_wireguard() {
    let (hosts, [one, _two]) = two_containers();
    assert_eq!(program(&hosts.0, "dp-wg"), "from_tunnel");
    assert!(one.namespace.run("ping -n -c 5 -i 0.2 -W 5 10.7.0.2").is_ok());
    assert!(one.namespace.run("ping -n -c 5 -i 0.2 -W 5 fd07::2").is_ok());
    // As large as a path may take, with everything around it.
    assert!(one.namespace.run("ping -n -c 2 -W 5 -M do -s 1342 10.7.0.2").is_ok());
    let counters = hosts.0.kernel(|kernel| kernel.counters().unwrap());
    assert!(counters.tunnel_drops.is_empty(), "{counters:?}");
    let status = &counters.wireguard[&(name("dp-wg"), public(2))];
    assert!(status.last_handshake.is_some() && status.sent_bytes > 1000, "{status:?}");
}

#[test]
fn what_was_applied_is_what_is_observed() {
    let (hosts, _containers) = two_containers();
    let observed = observe(&hosts.0);
    assert!(observed.broken.is_empty() && observed.dangling.is_empty(), "{observed:?}");
    let tunnel = with_backend(encrypted(1), Backend::Kernel);
    assert_eq!(observed.plan.tunnels.into_iter().collect::<Vec<_>>(), [(name("dp-wg"), tunnel)]);
    let ends: Vec<_> = observed.plan.wireguard.into_iter().collect();
    assert_eq!(ends, [((name("dp-wg"), public(2)), end(2))]);
    let peers: Vec<_> = observed.plan.peers.into_iter().collect();
    assert_eq!(peers, [(outer(2, Over::Kernel), peer(1, Over::Kernel))]);
}

#[test]
fn a_tunnel_that_becomes_one_in_clear_is_another_device_with_another_program() {
    let (hosts, [one, _two]) = two_containers();
    assert!(one.namespace.run("ping -n -c 3 -i 0.2 -W 5 10.7.0.2").is_ok());
    for host in [&hosts.0, &hosts.1] {
        host.apply(&[Change::SetTunnel(name("dp-wg"), Tunnel::Clear { port: 4790 })]);
        assert_eq!(program(host, "dp-wg"), "from_clear");
        assert_eq!(observe(host).plan.peers.values().next().unwrap().tunnel, name("(none)"));
    }
    let lost = |reason: &str| {
        let counters = hosts.0.kernel(|kernel| kernel.counters().unwrap());
        counters.links[&name("dp-out1")].drops.get(reason).copied().unwrap_or_default()
    };
    assert!(!one.namespace.pings("10.7.0.2"));
    assert_eq!(lost("no-tunnel"), 1);
    // Even a peer that is led into it carries nothing of an encrypted network.
    let astray = Peer { tunnel: name("dp-wg"), ..peer(1, Over::V4) };
    hosts.0.apply(&[Change::SetPeer(outer(2, Over::V4), astray)]);
    let key = EndpointKey { vni: bed::vni(bed::SHOP), address: "10.7.0.2".parse().unwrap() };
    hosts.0.apply(&[Change::SetEndpoint(key, EndpointEntry::Remote(outer(2, Over::V4)))]);
    assert!(!one.namespace.pings("10.7.0.2"));
    assert_eq!(lost("path-in-clear"), 1);
}

#[test]
fn removing_a_tunnel_leaves_nothing() {
    let (hosts, _containers) = two_containers();
    hosts.0.apply(&[Change::RemoveTunnel(name("dp-wg"))]);
    let observed = observe(&hosts.0).plan;
    assert_eq!((observed.tunnels.len(), observed.wireguard.len(), observed.peers.len()), (0, 0, 0));
    assert_eq!(std::fs::read_dir(hosts.0.pins.run_dir()).unwrap().count(), 0);
}
