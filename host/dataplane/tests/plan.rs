//! Plans applied to the real kernel and read back; and what the reading says when somebody has meddled.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod bed;

use bed::{
    ALL_FEATURES, Host, NO_FEATURES, Over, addresses, encrypted, end, name, outer, pair, peer, public, vni,
};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use shoal_dataplane::HostKernel;
use shoal_plan::{Change, EndpointEntry, EndpointKey, HostPlan, Observed, Peer, Tunnel};
use shoal_ports::Kernel;

/// A tunnel in clear and one with an engine, two links, their endpoints, three endpoints elsewhere, and a peer for each
/// outer address.
fn plan() -> HostPlan {
    let mut plan = HostPlan::default();
    plan.tunnels.insert(name("dp-vx"), Tunnel::Clear { port: 4790 });
    plan.tunnels.insert(name("dp-wg"), encrypted(1));
    plan.wireguard.insert((name("dp-wg"), public(2)), end(2));
    for number in [1, 2] {
        let (name, mut link) = pair(bed::SHOP, number);
        link.in_clear = number == 1;
        for address in addresses(number) {
            plan.endpoints.insert(EndpointKey { vni: link.vni, address }, EndpointEntry::Local(name.clone()));
        }
        plan.links.insert(name, link);
    }
    for (address, over) in [("10.7.0.9", Over::V4), ("fd07::9", Over::V6), ("fd07::8", Over::Engine)] {
        let key = EndpointKey { vni: vni(bed::SHOP), address: address.parse().unwrap() };
        plan.endpoints.insert(key, EndpointEntry::Remote(outer(2, over)));
        plan.peers.insert(outer(2, over), peer(1, over));
    }
    plan
}

fn changes(plan: &HostPlan) -> Vec<Change> {
    let tunnels = plan.tunnels.iter().map(|(name, tunnel)| Change::SetTunnel(name.clone(), tunnel.clone()));
    let mut changes: Vec<_> = tunnels.collect();
    let ends = plan.wireguard.iter();
    changes.extend(ends.map(|((name, key), end)| Change::SetWireGuardPeer(name.clone(), *key, end.clone())));
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
    Observed { plan: plan.clone(), unmoved: plan.links.keys().cloned().collect(), ..Observed::default() }
}

/// Everything that a needless change would show in: numbers of devices, programs and filters.
fn fingerprint(host: &Host) -> String {
    let links = host.namespace.ip("-o link show");
    let filters = ["dp-out1", "dp-out2", "dp-vx", "dp-wg"]
        .map(|device| host.namespace.run(&format!("tc filter show dev {device} ingress")).unwrap());
    assert!(filters.iter().all(|text| text.contains("direct-action")), "{filters:?}");
    format!("{}{filters:?}", without_carrier(&links))
}

/// Whether a device has a carrier the kernel finds out in its own time.
fn without_carrier(links: &str) -> String {
    let states = ["UP", "DOWN", "LOWERLAYERDOWN", "UNKNOWN"];
    links.split(' ').filter(|word| !word.starts_with('<') && !states.contains(word)).collect()
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
    plan.tunnels.insert(name("dp-vx"), Tunnel::Clear { port: 4791 });
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
}

#[test]
fn a_peer_that_is_led_astray_is_seen_as_one_that_no_plan_has() {
    let (host, plan) = furnished();
    let peers = map(&host, "peers_2");
    for key in peers.keys() {
        // Device, then flags: bytes 16 and 22 of the entry.
        for at in [16, 22] {
            let mut entry = peers.lookup(&key, MapFlags::ANY).unwrap().unwrap();
            entry[at] ^= 1;
            peers.update(&key, &entry, MapFlags::ANY).unwrap();
            let observed = observe(&host);
            let astray: Vec<_> = observed.plan.peers.values().filter(|peer| peer.mtu == 0).collect();
            assert_eq!(astray.len(), 1);
            assert_eq!(astray[0].tunnel, name("(none)"));
            host.apply(&changes(&plan));
            assert_eq!(observe(&host), whole(&plan));
        }
    }
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
    let ends = plan.wireguard.keys().cloned();
    removals.extend(ends.map(|(name, key)| Change::RemoveWireGuardPeer(name, key)));
    removals.extend(plan.tunnels.keys().cloned().map(Change::RemoveTunnel));
    for _ in 0..2 {
        host.apply(&removals);
        assert_eq!(observe(&host), Observed::default());
    }
    for name in ["endpoints", "links", "peers_2", "link_counters", "drops", "unreachable_budget"] {
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
    assert_eq!((observed.links.len(), observed.endpoints.len(), observed.peers.len()), (1, 5, 3));
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
        host.kernel(|kernel| kernel.apply(&[Change::SetTunnel(name("dp-vx"), Tunnel::Clear { port: 4790 })]));
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
    let peers = folder.join("maps/peers_2");
    std::fs::remove_file(&peers).unwrap();
    let line =
        format!("bpftool map create {} type hash key 16 value 24 entries 9 name peers_2", peers.display());
    host.namespace.run(&line).unwrap();
    let options = host.options();
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
    host.apply(&[Change::SetTunnel(name("dp-vx"), Tunnel::Clear { port: 4790 })]);
    let peer = peer(1, Over::V4);
    let address = |number: u32| std::net::Ipv4Addr::from(0x0a63_0000 + number).into();
    let changes: Vec<_> = (0..=16_384).map(|number| Change::SetPeer(address(number), peer.clone())).collect();
    let failed = host.kernel(|kernel| kernel.apply(&changes));
    let texts: Vec<_> = failed.iter().map(|(_, error)| error.to_string()).collect();
    assert_eq!(texts, ["cannot add to map peers_2: it holds its 16384 entries already"]);
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
fn nothing_leads_to_a_tunnel_that_was_removed() {
    let (host, mut plan) = furnished();
    host.apply(&[Change::RemoveTunnel(name("dp-vx"))]);
    plan.tunnels.remove(&name("dp-vx"));
    plan.peers.retain(|_, peer| peer.tunnel != name("dp-vx"));
    assert_eq!(observe(&host), whole(&plan));
    // What is broken is removed as a link, since its name alone does not tell.
    host.namespace.ip("link set dp-wg down");
    host.apply(&[Change::RemoveLink(name("dp-wg"))]);
    (plan.tunnels, plan.wireguard, plan.peers) = Default::default();
    assert_eq!(observe(&host), whole(&plan));
    assert_eq!(
        std::fs::read_dir(host.pins.run_dir()).unwrap().count(),
        0,
        "nor is anything left of its process"
    );
}

#[test]
fn peers_move_to_a_new_tunnel_before_the_old_one_goes() {
    let (host, mut plan) = furnished();
    plan.tunnels.remove(&name("dp-vx"));
    plan.tunnels.insert(name("dp-vx2"), Tunnel::Clear { port: 4792 });
    plan.peers
        .values_mut()
        .filter(|peer| peer.tunnel == name("dp-vx"))
        .for_each(|p| p.tunnel = name("dp-vx2"));
    host.apply(&changes(&plan));
    host.apply(&[Change::RemoveTunnel(name("dp-vx"))]);
    assert_eq!(observe(&host), whole(&plan));
}

#[test]
fn a_process_that_ends_is_told_and_started_again_with_all_it_knew() {
    let (host, plan) = furnished();
    host.kill_engine("dp-wg");
    let observed = observe(&host);
    assert!(observed.broken.contains_key(&name("dp-wg")), "{observed:?}");
    assert_eq!((observed.plan.tunnels.len(), observed.plan.wireguard.len()), (1, 0));
    assert_eq!(observed.plan.peers, plan.peers, "they lead there still");
    host.apply(&changes(&plan));
    assert_eq!(observe(&host), whole(&plan));
}

#[test]
fn a_tunnel_that_cannot_be_read_is_taken_for_one_in_clear() {
    let (mut host, plan) = furnished();
    let program = |host: &Host, device: &str| {
        let text = host.namespace.run(&format!("tc filter show dev {device} ingress")).unwrap();
        ["from_clear", "from_engine"].into_iter().find(|name| text.contains(name)).map(str::to_owned)
    };
    assert_eq!(program(&host, "dp-vx").as_deref(), Some("from_clear"));
    assert_eq!(program(&host, "dp-wg").as_deref(), Some("from_engine"));
    host.features = NO_FEATURES;
    observe(&host);
    assert_eq!(program(&host, "dp-wg").as_deref(), Some("from_engine"));
    host.kill_engine("dp-wg");
    host.features = ALL_FEATURES;
    observe(&host);
    assert_eq!(program(&host, "dp-wg").as_deref(), Some("from_clear"));
    host.apply(&changes(&plan));
    assert_eq!(program(&host, "dp-wg").as_deref(), Some("from_engine"));
    assert_eq!(observe(&host), whole(&plan));
}

#[test]
fn other_ends_are_changed_and_forgotten_one_by_one() {
    let (host, mut plan) = furnished();
    plan.wireguard.insert((name("dp-wg"), public(3)), end(3));
    plan.wireguard.get_mut(&(name("dp-wg"), public(2))).unwrap().keepalive = Some(5);
    host.apply(&changes(&plan));
    assert_eq!(observe(&host), whole(&plan));
    let counters = host.kernel(|kernel| kernel.counters().unwrap());
    let figures: Vec<_> =
        counters.wireguard.values().map(|end| (end.received_bytes, end.sent_bytes)).collect();
    assert_eq!(figures, [(7, 8), (7, 8)]);
    plan.wireguard.remove(&(name("dp-wg"), public(2)));
    for tunnel in ["dp-wg", "dp-none"] {
        host.apply(&[Change::RemoveWireGuardPeer(name(tunnel), public(2))]);
    }
    assert_eq!(observe(&host), whole(&plan));
}

#[test]
fn no_peer_is_led_to_a_tunnel_that_is_not_in_service() {
    let (host, _) = furnished();
    host.namespace.run("tc qdisc delete dev dp-vx clsact").unwrap();
    let refusals = [
        (peer(1, Over::V4), "cannot use tunnel dp-vx: it does not have its program"),
        (
            Peer { tunnel: name("dp-none"), ..peer(1, Over::V4) },
            "cannot use tunnel dp-none: there is no such tunnel",
        ),
        (Peer { tunnel: name("dp-out1"), ..peer(1, Over::V4) }, "cannot use tunnel dp-out1: is no tunnel"),
    ];
    for (peer, text) in refusals {
        let failed = host.kernel(|kernel| kernel.apply(&[Change::SetPeer(outer(2, Over::V4), peer)]));
        assert_eq!(failed[0].1.to_string(), text);
    }
}

#[test]
fn addresses_are_of_the_family_that_their_tunnel_carries() {
    let (host, _) = furnished();
    let refusal =
        |at, peer| host.kernel(|kernel| kernel.apply(&[Change::SetPeer(at, peer)]))[0].1.to_string();
    assert_eq!(
        refusal(outer(2, Over::V4), peer(1, Over::V6)),
        "cannot send to host 10.99.0.2: fd99::1 is of the other family"
    );
    assert_eq!(
        refusal(outer(2, Over::V6), Peer { tunnel: name("dp-wg"), ..peer(1, Over::V6) }),
        "cannot send to host fd99::2: addresses in encrypted tunnels are of IPv4"
    );
}

#[test]
fn programs_of_an_earlier_version_serve_until_the_new_maps_are_filled() {
    let (host, plan) = furnished();
    let folder = host.pins.path().join("shoal");
    // As if the version before had another map of peers.
    std::fs::rename(folder.join("maps/peers_2"), folder.join("maps/peers")).unwrap();
    let before = fingerprint(&host);
    let filters = host.kernel(|kernel| {
        let observed = kernel.observe().unwrap();
        assert_eq!(observed.broken.values().collect::<Vec<_>>(), ["has another program"; 4]);
        assert!(observed.plan.peers.is_empty());
        fingerprint(&host)
    });
    assert_eq!(filters, before);
    assert!(!folder.join("maps/peers").exists(), "programs in service hold on to it");
    host.apply(&changes(&plan));
    assert_eq!(observe(&host), whole(&plan));
}

#[test]
fn every_kernel_that_shoal_runs_on_has_all_features() {
    assert_eq!(shoal_dataplane::Features::probe(), ALL_FEATURES);
}
