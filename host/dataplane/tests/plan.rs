//! Plans applied to the real kernel and read back; and what the reading says when somebody has meddled.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod bed;

use bed::{ALL_FEATURES, Host, NO_FEATURES, addresses, name, pair, vni};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use shoal_dataplane::{HostKernel, Options};
use shoal_plan::{Change, EndpointEntry, EndpointKey, HostPlan, Observed, Peer, Tunnel};
use shoal_ports::Kernel;

/// A tunnel, two links, their endpoints, two endpoints elsewhere, a peer of each family.
fn plan() -> HostPlan {
    let mut plan =
        HostPlan { tunnel: Some(Tunnel { name: name("dp-vx"), port: 4790 }), ..HostPlan::default() };
    for number in [1, 2] {
        let (name, link) = pair(bed::SHOP, number);
        for address in addresses(number) {
            plan.endpoints.insert(EndpointKey { vni: link.vni, address }, EndpointEntry::Local(name.clone()));
        }
        plan.links.insert(name, link);
    }
    for (address, host, local) in [("10.7.0.9", "10.99.0.2", "10.99.0.1"), ("fd07::9", "fd99::2", "fd99::1")]
    {
        let key = EndpointKey { vni: vni(bed::SHOP), address: address.parse().unwrap() };
        plan.endpoints.insert(key, EndpointEntry::Remote(host.parse().unwrap()));
        plan.peers.insert(host.parse().unwrap(), Peer { local: local.parse().unwrap(), mtu: 1370 });
    }
    plan
}

fn changes(plan: &HostPlan) -> Vec<Change> {
    let mut changes: Vec<_> = plan.tunnel.iter().cloned().map(Change::SetTunnel).collect();
    changes.extend(plan.peers.iter().map(|(address, peer)| Change::SetPeer(*address, peer.clone())));
    changes.extend(plan.links.iter().map(|(name, link)| Change::SetLink(name.clone(), link.clone())));
    changes.extend(plan.endpoints.iter().map(|(key, entry)| Change::SetEndpoint(*key, entry.clone())));
    changes
}

fn furnished() -> (Host, HostPlan) {
    let (host, plan) = (Host::new(ALL_FEATURES), plan());
    host.apply(&changes(&plan));
    (host, plan)
}

fn observe(host: &Host) -> Observed {
    host.kernel(|kernel| kernel.observe().unwrap())
}

fn whole(plan: &HostPlan) -> Observed {
    Observed { plan: plan.clone(), ..Observed::default() }
}

/// Everything that a needless change would show in: numbers of devices, programs and filters.
fn fingerprint(host: &Host) -> String {
    let links = host.namespace.ip("-o link show");
    let filters = ["dp-out1", "dp-out2", "dp-vx"]
        .map(|device| host.namespace.run(&format!("tc filter show dev {device} ingress")).unwrap());
    assert!(filters.iter().all(|text| text.contains("direct-action")), "{filters:?}");
    format!("{links}{filters:?}")
}

fn map(host: &Host, name: &str) -> MapHandle {
    MapHandle::from_pinned_path(host.pins.path().join("shoal/maps").join(name)).unwrap()
}

#[test]
fn what_was_applied_is_what_is_observed() {
    for features in [ALL_FEATURES, NO_FEATURES] {
        let (host, plan) = (Host::new(features), plan());
        host.apply(&changes(&plan));
        assert_eq!(observe(&host), whole(&plan));
    }
}

#[test]
fn an_empty_host_has_an_empty_plan() {
    assert_eq!(observe(&Host::new(ALL_FEATURES)), Observed::default());
}

#[test]
fn applying_twice_changes_nothing() {
    let (host, plan) = furnished();
    let before = fingerprint(&host);
    host.apply(&changes(&plan));
    assert_eq!(fingerprint(&host), before);
    assert_eq!(observe(&host), whole(&plan));
}

#[test]
fn an_agent_that_starts_again_touches_nothing() {
    let (host, plan) = furnished();
    let before = fingerprint(&host);
    for _ in 0..3 {
        assert_eq!(observe(&host), whole(&plan));
    }
    assert_eq!(fingerprint(&host), before);
}

#[test]
fn other_programs_take_the_place_of_earlier_ones() {
    let (mut host, plan) = furnished();
    let before = fingerprint(&host);
    host.features = NO_FEATURES;
    assert_eq!(observe(&host), whole(&plan));
    assert_ne!(fingerprint(&host), before);
    let pinned = std::fs::read_dir(host.pins.path().join("shoal/programs")).unwrap().count();
    assert_eq!(pinned, 1, "earlier programs are let go");
}

#[test]
fn a_change_of_a_link_arrives() {
    let (host, mut plan) = furnished();
    let index = |host: &Host| host.namespace.ip("-o link show dp-out1").split(':').next().unwrap().to_owned();
    let before = index(&host);
    let link = plan.links.get_mut(&name("dp-out1")).unwrap();
    link.mtu = 1280;
    link.sources.v6 = None;
    host.apply(&changes(&plan));
    assert_eq!(observe(&host), whole(&plan));
    assert_eq!(index(&host), before, "it is the same link");
    assert!(host.namespace.ip("link show dp-in1").contains("mtu 1280"), "both ends");
}

#[test]
fn a_tunnel_gets_another_port() {
    let (host, mut plan) = furnished();
    plan.tunnel.as_mut().unwrap().port = 4791;
    host.apply(&changes(&plan));
    assert_eq!(observe(&host), whole(&plan));
}

/// Breaks one thing by hand, expects the words that tell it, applies the plan again and expects all to be whole.
fn told_and_repaired(line: &str, object: &str, words: &str) {
    let (host, plan) = furnished();
    host.namespace.run(line).unwrap();
    let observed = observe(&host);
    assert_eq!(observed.broken.get(&name(object)).map(String::as_str), Some(words), "{line}");
    assert!(!observed.plan.links.contains_key(&name(object)));
    host.apply(&changes(&plan));
    assert_eq!(observe(&host), whole(&plan), "{line}");
}

#[test]
fn meddling_with_a_link_is_told_and_repaired() {
    told_and_repaired("tc qdisc delete dev dp-out1 clsact", "dp-out1", "has no program");
    told_and_repaired("tc filter delete dev dp-out1 ingress", "dp-out1", "has no program");
    told_and_repaired("ip link set dp-out1 down", "dp-out1", "is down");
    told_and_repaired("ip link set dp-out1 mtu 1500", "dp-out1", "MTU is 1500 instead of 1370");
    told_and_repaired("ip link set dp-out1 alias mine", "dp-out1", "its making was interrupted");
}

#[test]
fn meddling_with_the_tunnel_is_told_and_repaired() {
    told_and_repaired("tc qdisc delete dev dp-vx clsact", "dp-vx", "has no program");
    told_and_repaired("ip link set dp-vx down", "dp-vx", "is down");
    told_and_repaired(
        "ip link set dp-vx address 02:00:00:00:00:01",
        "dp-vx",
        "hardware address is 02:00:00:00:00:01 instead of 02:73:68:6f:61:02",
    );
}

#[test]
fn another_program_in_our_place_is_told_and_replaced() {
    let (host, plan) = furnished();
    let pinned = host.pins.path().join("shoal/programs");
    let folder = std::fs::read_dir(pinned).unwrap().next().unwrap().unwrap().path();
    let filter = "tc filter replace dev dp-out1 ingress prio 1 handle 1 bpf direct-action pinned";
    host.namespace.run(&format!("{filter} {}/from_tunnel", folder.display())).unwrap();
    // An agent that starts puts its own programs in their places; one that runs finds what happened since.
    host.kernel(|kernel| assert_eq!(kernel.observe().unwrap(), whole(&plan)));
    host.kernel(|kernel| {
        let line = format!("{filter} {}/from_tunnel", folder.display());
        let words: Vec<_> = line.split(' ').collect();
        assert!(std::process::Command::new(words[0]).args(&words[1..]).status().unwrap().success());
        let observed = kernel.observe().unwrap();
        assert_eq!(observed.broken[&name("dp-out1")], "has another program");
        assert!(kernel.apply(&changes(&plan)).is_empty());
        assert_eq!(kernel.observe().unwrap(), whole(&plan));
    });
}

#[test]
fn meddling_with_maps_is_told_and_repaired() {
    let (host, plan) = furnished();
    for (map_name, words) in [("links", "has no settings"), ("link_counters", "has no counters")] {
        let links = map(&host, map_name);
        let key = links.keys().next().unwrap();
        links.delete(&key).unwrap();
        let observed = observe(&host);
        assert_eq!(observed.broken.values().collect::<Vec<_>>(), [words]);
        host.apply(&changes(&plan));
        assert_eq!(observe(&host), whole(&plan));
    }
    map(&host, "settings").update(&[0; 4], &[9, 0, 0, 0], MapFlags::ANY).unwrap();
    assert!(observe(&host).broken[&name("dp-vx")].starts_with("programs send to device 9 instead of "));
    host.apply(&changes(&plan));
    assert_eq!(observe(&host), whole(&plan));
}

#[test]
fn an_entry_that_no_plan_has_is_seen() {
    let (host, plan) = furnished();
    let endpoints = map(&host, "endpoints");
    let mut key = endpoints.keys().next().unwrap();
    key[19] = 0xee;
    let remote = [&[0; 14][..], &[0xff, 0xff, 10, 99, 0, 2]].concat();
    endpoints.update(&key, &remote, MapFlags::ANY).unwrap();
    assert_eq!(observe(&host).plan.endpoints.len(), plan.endpoints.len() + 1);
    let nowhere = [&[0xff, 0xff, 0, 0][..], &[0; 16]].concat();
    endpoints.update(&key, &nowhere, MapFlags::ANY).unwrap();
    let observed = observe(&host);
    assert_eq!((observed.plan, observed.dangling.len()), (plan.clone(), 1));
    host.apply(&[Change::RemoveEndpoint(observed.dangling[0])]);
    assert_eq!(observe(&host), whole(&plan));
}

#[test]
fn a_link_that_went_with_its_container_leaves_dangling_entries_and_is_made_again() {
    let (host, plan) = furnished();
    host.namespace.ip("link delete dp-out1");
    let observed = observe(&host);
    assert_eq!(observed.dangling.len(), 2);
    assert!(!observed.plan.links.contains_key(&name("dp-out1")));
    host.apply(&changes(&plan));
    assert_eq!(observe(&host), whole(&plan));
    assert_eq!(map(&host, "links").keys().count(), 2, "settings of the link that is gone are gone");
}

#[test]
fn removing_everything_leaves_nothing_and_twice_is_as_good_as_once() {
    let (host, plan) = furnished();
    let mut removals: Vec<_> = plan.endpoints.keys().map(|key| Change::RemoveEndpoint(*key)).collect();
    removals.extend(plan.links.keys().cloned().map(Change::RemoveLink));
    removals.extend(plan.peers.keys().map(|address| Change::RemovePeer(*address)));
    removals.extend(plan.tunnel.iter().map(|tunnel| Change::RemoveTunnel(tunnel.name.clone())));
    for _ in 0..2 {
        host.apply(&removals);
        assert_eq!(observe(&host), Observed::default());
    }
    for name in ["endpoints", "links", "peers", "link_counters", "drops", "unreachable_budget"] {
        assert_eq!(map(&host, name).keys().count(), 0, "{name}");
    }
    assert_eq!(host.namespace.ip("-o link show").lines().count(), 1, "lo");
}

#[test]
fn a_change_that_fails_is_named_and_the_others_are_made() {
    let host = Host::new(ALL_FEATURES);
    host.namespace.ip("link add dp-out1 type bridge");
    let failed = host.kernel(|kernel| kernel.apply(&changes(&plan())));
    let texts: Vec<_> = failed.iter().map(|(_, error)| error.to_string()).collect();
    let reason = "cannot use link dp-out1: a device of this name exists and was not made by Shoal";
    assert_eq!(texts, [reason; 3], "the link and both its endpoints");
    let observed = observe(&host).plan;
    assert_eq!((observed.links.len(), observed.endpoints.len(), observed.peers.len()), (1, 4, 2));
    let stray = EndpointKey { vni: vni(7), address: addresses(1)[0] };
    let failed =
        host.kernel(|k| k.apply(&[Change::SetEndpoint(stray, EndpointEntry::Local(name("dp-none")))]));
    assert_eq!(failed[0].1.to_string(), "cannot send to dp-none: there is no such link");
}

#[test]
fn a_port_in_use_is_named() {
    let host = Host::new(ALL_FEATURES);
    host.namespace.ip("link add other type vxlan id 9 dstport 4790");
    host.namespace.ip("link set other up");
    let failed =
        host.kernel(|kernel| kernel.apply(&[Change::SetTunnel(Tunnel { name: name("dp-vx"), port: 4790 })]));
    let text = failed[0].1.to_string();
    assert!(text.contains("dp-vx") && text.contains("4790"), "{text}");
}

#[test]
fn a_pinned_map_of_another_layout_is_refused_by_name() {
    let host = Host::new(ALL_FEATURES);
    observe(&host);
    let folder = host.pins.path().join("shoal");
    for stale in std::fs::read_dir(folder.join("programs")).unwrap() {
        std::fs::remove_dir_all(stale.unwrap().path()).unwrap();
    }
    let peers = folder.join("maps/peers");
    std::fs::remove_file(&peers).unwrap();
    let line =
        format!("bpftool map create {} type hash key 16 value 24 entries 9 name peers", peers.display());
    host.namespace.run(&line).unwrap();
    let options = Options { pin_dir: folder, features: ALL_FEATURES };
    let error = host.namespace.inside(|| HostKernel::open(&options).err().unwrap()).to_string();
    assert!(error.starts_with(&format!("cannot use map {}: ", peers.display())), "{error}");
}

#[test]
fn maps_larger_than_a_batch_are_read_whole() {
    for features in [ALL_FEATURES, NO_FEATURES] {
        let host = Host::new(features);
        let key = |number: u32| EndpointKey {
            vni: vni(9),
            address: std::net::Ipv4Addr::from(0x0a00_0000 + number).into(),
        };
        let entry = EndpointEntry::Remote("10.99.0.2".parse().unwrap());
        let changes: Vec<_> = (0..10_000).map(|n| Change::SetEndpoint(key(n), entry.clone())).collect();
        host.apply(&changes);
        assert_eq!(observe(&host).plan.endpoints.len(), 10_000);
    }
}

#[test]
fn a_full_map_says_so() {
    let host = Host::new(ALL_FEATURES);
    let peer = Peer { local: "10.99.0.1".parse().unwrap(), mtu: 1370 };
    let address = |number: u32| std::net::Ipv4Addr::from(0x0a63_0000 + number).into();
    let changes: Vec<_> = (0..=16_384).map(|number| Change::SetPeer(address(number), peer.clone())).collect();
    let failed = host.kernel(|kernel| kernel.apply(&changes));
    let texts: Vec<_> = failed.iter().map(|(_, error)| error.to_string()).collect();
    assert_eq!(texts, ["cannot add to map peers: it holds its 16384 entries already"]);
}

#[test]
fn the_name_of_a_containers_end_that_is_taken_is_named() {
    let host = Host::new(ALL_FEATURES);
    host.namespace.ip("link add dp-in1 type bridge");
    let (name, link) = pair(bed::SHOP, 1);
    let failed = host.kernel(|kernel| kernel.apply(&[Change::SetLink(name, link)]));
    assert!(failed[0].1.to_string().contains("dp-in1"), "{failed:?}");
}

#[test]
fn removing_an_old_tunnel_leaves_the_new_one_in_use() {
    let (host, mut plan) = furnished();
    let new = Tunnel { name: name("dp-vx2"), port: 4792 };
    plan.tunnel = Some(new.clone());
    host.apply(&[Change::SetTunnel(new), Change::RemoveTunnel(name("dp-vx"))]);
    assert_eq!(observe(&host), whole(&plan));
}

#[test]
fn a_peer_and_our_address_towards_it_are_of_one_family() {
    let host = Host::new(ALL_FEATURES);
    let peer = Peer { local: "fd99::1".parse().unwrap(), mtu: 1370 };
    let failed = host.kernel(|kernel| kernel.apply(&[Change::SetPeer("10.99.0.2".parse().unwrap(), peer)]));
    assert_eq!(failed[0].1.to_string(), "cannot send to host 10.99.0.2: fd99::1 is of the other family");
}

#[test]
fn every_kernel_that_shoal_runs_on_has_all_features() {
    assert_eq!(shoal_dataplane::Features::probe(), ALL_FEATURES);
}
