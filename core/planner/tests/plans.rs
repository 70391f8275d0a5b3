//! Views and the plans they lead to, as text.
#![allow(clippy::unwrap_used, reason = "a test stops where its own table is wrong")]

mod common;

use common::{ViewExt, endpoint, first_host, host};
use shoal_plan::Tunnel;
use shoal_planner::{Claim, Clash, View, mtu_default, plan, plan_text};

/// Compares the plan, line by line, and expects no clash.
fn expect(view: &View, lines: &[&str]) {
    let (wanted, clashes) = plan(view);
    assert_eq!(plan_text(&wanted).lines().collect::<Vec<_>>(), lines);
    assert_eq!(clashes, []);
}

const TUNNEL: &str = "tunnel shoal0 encrypted by the kernel address 240.0.0.1 port 7375 mtu 1420";
const END_2: &str =
    "wireguard shoal0/AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI= address 240.0.0.2 at 192.0.2.2:7375";
const PEER_2: &str = "peer 240.0.0.2 from 240.0.0.1 through shoal0 mtu 1370";

#[test]
fn a_host_of_no_fabric_has_nothing() {
    expect(&View::alone(host(1)), &[]);
}

#[test]
fn a_fabric_of_one_has_only_the_tunnel() {
    expect(&first_host(), &[TUNNEL]);
}

#[test]
fn a_joined_endpoint_has_a_link_and_an_address() {
    let view = first_host().with_endpoint(1, "aa", 1, &["10.0.0.2"]);
    expect(
        &view,
        &[
            TUNNEL,
            "link sh-aa0000000000 inner sc-aa0000000000 mac 02:00:00:00:00:01 mtu 1370 vni 301 sources 10.0.0.2",
            "endpoint 301/10.0.0.2 behind sh-aa0000000000",
        ],
    );
}

#[test]
fn an_endpoint_that_no_container_joined_has_none() {
    let mut view = first_host().with_endpoint(1, "aa", 1, &["10.0.0.2"]);
    view.endpoints.values_mut().for_each(|endpoint| (endpoint.linked, endpoint.joined) = (false, false));
    expect(&view, &[TUNNEL]);
}

#[test]
fn an_endpoint_of_an_unknown_network_has_none() {
    let view = first_host().with_host(2, "192.0.2.2");
    let view = view.with_endpoint(1, "aa", 9, &["10.0.0.2"]).with_endpoint(2, "bb", 9, &["10.0.0.3"]);
    expect(&view, &[TUNNEL, END_2, PEER_2]);
}

#[test]
fn another_hosts_endpoint_is_entered_before_a_container_joined_it() {
    let mut view = first_host().with_host(2, "192.0.2.2").with_endpoint(2, "bb", 1, &["10.0.0.3"]);
    view.endpoints.values_mut().for_each(|endpoint| (endpoint.linked, endpoint.joined) = (false, false));
    expect(&view, &[TUNNEL, END_2, PEER_2, "endpoint 301/10.0.0.3 on 240.0.0.2"]);
}

#[test]
fn an_endpoint_of_an_unknown_or_forgotten_host_is_left_out() {
    let view = first_host().with_endpoint(2, "bb", 1, &["10.0.0.3"]);
    expect(&view, &[TUNNEL]);
}

#[test]
fn both_families_lead_to_one_link() {
    let view = first_host().with_host(2, "192.0.2.2");
    let view = view.with_endpoint(1, "aa", 1, &["10.0.0.2", "fd00::2"]);
    let view = view.with_endpoint(2, "bb", 1, &["10.0.0.3", "fd00::3"]);
    expect(
        &view,
        &[
            TUNNEL,
            END_2,
            PEER_2,
            "link sh-aa0000000000 inner sc-aa0000000000 mac 02:00:00:00:00:01 mtu 1370 vni 301 \
             sources 10.0.0.2,fd00::2",
            "endpoint 301/10.0.0.2 behind sh-aa0000000000",
            "endpoint 301/10.0.0.3 on 240.0.0.2",
            "endpoint 301/fd00::2 behind sh-aa0000000000",
            "endpoint 301/fd00::3 on 240.0.0.2",
        ],
    );
}

#[test]
fn one_address_in_two_networks_is_two_places() {
    let view = first_host().with_host(2, "192.0.2.2");
    let view = view.with_endpoint(1, "aa", 2, &["10.0.0.2"]).with_endpoint(2, "bb", 1, &["10.0.0.2"]);
    expect(
        &view,
        &[
            TUNNEL,
            END_2,
            PEER_2,
            "link sh-aa0000000000 inner sc-aa0000000000 mac 02:00:00:00:00:01 mtu 1280 vni 302 sources 10.0.0.2",
            "endpoint 301/10.0.0.2 on 240.0.0.2",
            "endpoint 302/10.0.0.2 behind sh-aa0000000000",
        ],
    );
}

/// A host with a network in clear beside the encrypted ones.
fn with_a_network_in_clear() -> View {
    let mut view = first_host();
    view.tunnels.insert(common::link("shoal-clear"), Tunnel::Clear { port: 7374 });
    view.networks.get_mut(&common::network(2)).unwrap().in_clear = true;
    view
}

#[test]
fn only_a_network_in_clear_leads_to_underlay_addresses() {
    let view = with_a_network_in_clear().with_host(2, "192.0.2.2");
    let view = view.with_endpoint(2, "bb", 1, &["10.0.0.2"]).with_endpoint(2, "cc", 2, &["10.0.0.2"]);
    let view = view.with_endpoint(1, "aa", 2, &["10.0.0.1"]);
    expect(
        &view,
        &[
            "tunnel shoal-clear in clear port 7374",
            TUNNEL,
            END_2,
            "peer 192.0.2.2 from 192.0.2.1 through shoal-clear mtu 1370",
            PEER_2,
            "link sh-aa0000000000 inner sc-aa0000000000 mac 02:00:00:00:00:01 mtu 1280 vni 302 in clear sources 10.0.0.1",
            "endpoint 301/10.0.0.2 on 240.0.0.2",
            "endpoint 302/10.0.0.1 behind sh-aa0000000000",
            "endpoint 302/10.0.0.2 on 192.0.2.2",
        ],
    );
}

#[test]
fn in_clear_a_host_is_reached_from_an_address_of_its_family() {
    let view = with_a_network_in_clear().with_host(2, "2001:db8::2").with_host(3, "192.0.2.3");
    let (wanted, _) = plan(&view);
    let from = |text| wanted.peers[&common::address(text)].local;
    assert_eq!(from("192.0.2.3"), common::address("192.0.2.1"));
    assert_eq!(from("2001:db8::2"), common::address("2001:db8::1"));
}

#[test]
fn in_clear_a_host_of_another_family_is_left_out_and_named() {
    let mut view = with_a_network_in_clear().with_host(2, "2001:db8::2").with_host(3, "192.0.2.1");
    view.local_addresses.pop();
    let view = view.with_endpoint(2, "bb", 2, &["10.0.0.2"]).with_endpoint(3, "cc", 2, &["10.0.0.3"]);
    let (wanted, _) = plan(&view);
    assert!(wanted.endpoints.is_empty(), "{wanted:?}");
    assert_eq!(view.unreachable(), [host(2), host(3)]);
}

#[test]
fn without_a_tunnel_nothing_leads_to_other_hosts() {
    let mut view = first_host().with_host(2, "192.0.2.2").with_endpoint(2, "bb", 1, &["10.0.0.3"]);
    view.tunnels.clear();
    expect(&view, &[]);
}

#[test]
fn a_missing_encrypted_end_never_makes_a_path_in_clear() {
    // Neither ours, nor the other host's, nor one of it that does not serve yet.
    let whole = with_a_network_in_clear().with_host(2, "192.0.2.2").with_endpoint(2, "bb", 1, &["10.0.0.3"]);
    let mut without_ours = whole.clone();
    without_ours.tunnels.remove(&common::link("shoal0"));
    let mut without_theirs = whole.clone();
    without_theirs.hosts.get_mut(&host(2)).unwrap().ends.clear();
    let mut coming = whole.clone();
    coming.hosts.get_mut(&host(2)).unwrap().ends[0].serving = false;
    assert_eq!(plan(&whole).0.endpoints.len(), 1);
    for view in [without_ours, without_theirs, coming] {
        let (wanted, _) = plan(&view);
        assert!(wanted.endpoints.is_empty(), "{}", plan_text(&wanted));
    }
}

#[test]
fn while_keys_change_every_end_is_a_peer_and_one_of_each_side_is_sent_through() {
    let mut view = first_host().with_host(2, "192.0.2.2").with_endpoint(2, "bb", 1, &["10.0.0.3"]);
    view.tunnels.insert(common::link("shoal1"), common::encrypted(11));
    view.sending = Some(common::link("shoal1"));
    view.hosts.get_mut(&host(2)).unwrap().ends.insert(0, common::end(22, "192.0.2.2", false));
    let (wanted, _) = plan(&view);
    let ends: Vec<_> =
        wanted.wireguard.iter().map(|((name, _), peer)| (name.as_str(), peer.address)).collect();
    let other = |n| std::net::Ipv4Addr::new(240, 0, 0, n);
    assert_eq!(
        ends,
        [("shoal0", other(2)), ("shoal0", other(22)), ("shoal1", other(2)), ("shoal1", other(22))]
    );
    for (address, peer) in &wanted.peers {
        assert_eq!((peer.tunnel.as_str(), peer.local), ("shoal1", other(11).into()), "{address}");
    }
    assert_eq!(wanted.peers.len(), 2, "packets of both ends are taken");
    let entry = wanted.endpoints.values().next().unwrap();
    assert_eq!(*entry, shoal_plan::EndpointEntry::Remote(other(2).into()));
}

#[test]
fn a_peers_mtu_is_the_least_of_both_links_and_what_probes_found() {
    // (own link, peer's link, found by probes) -> planned
    let table = [
        ((1500, 1500, None), 1370),
        ((1500, 1400, None), 1270),
        ((1400, 9000, None), 1270),
        ((9000, 9000, None), 8870),
        ((1500, 1500, Some(1300)), 1300),
        ((1500, 1500, Some(1450)), 1370),
        ((1500, 1500, Some(0)), 576),
        ((0, 1500, None), 576),
    ];
    for ((own, other, found), planned) in table {
        let mut view = first_host().with_host(2, "192.0.2.2");
        view.hosts.get_mut(&host(1)).unwrap().underlay_mtu = own;
        let peer = view.hosts.get_mut(&host(2)).unwrap();
        (peer.underlay_mtu, peer.path_mtu) = (other, found);
        let (wanted, _) = plan(&view);
        assert_eq!(wanted.peers[&peer_address()].mtu, planned, "{own} {other} {found:?}");
    }
    assert_eq!(mtu_default(1500), 1370);
}

fn peer_address() -> std::net::IpAddr {
    common::address("240.0.0.2")
}

#[test]
fn an_address_claimed_twice_goes_to_the_local_endpoint_then_to_the_lowest_host() {
    let view = first_host().with_host(0, "192.0.2.10").with_host(2, "192.0.2.2");
    let view = view.with_endpoint(0, "00", 1, &["10.0.0.2", "fd00::9"]);
    let view = view.with_endpoint(1, "aa", 1, &["10.0.0.2"]).with_endpoint(2, "bb", 1, &["fd00::9"]);
    let (wanted, clashes) = plan(&view);
    let text = plan_text(&wanted);
    let endpoints: Vec<&str> = text.lines().filter(|line| line.starts_with("endpoint")).collect();
    assert_eq!(
        endpoints,
        ["endpoint 301/10.0.0.2 behind sh-aa0000000000", "endpoint 301/fd00::9 on 240.0.0.0"]
    );
    let key = |text: &str| *wanted.endpoints.keys().find(|key| key.address == common::address(text)).unwrap();
    let claim = |on, digits| Claim { host: host(on), endpoint: endpoint(digits) };
    assert_eq!(
        clashes,
        [
            Clash { key: key("10.0.0.2"), winner: claim(1, "aa"), loser: claim(0, "00") },
            Clash { key: key("fd00::9"), winner: claim(0, "00"), loser: claim(2, "bb") },
        ]
    );
}

#[test]
fn a_container_may_not_send_from_an_address_it_lost() {
    let view = first_host().with_endpoint(1, "aa", 1, &["10.0.0.2"]);
    let (wanted, clashes) = plan(&view.with_endpoint(1, "bb", 1, &["10.0.0.2", "fd00::b"]));
    let sources = wanted.links[&common::link("sh-bb0000000000")].sources;
    assert_eq!((sources.v4, sources.v6), (None, Some("fd00::b".parse().unwrap())));
    assert_eq!(clashes.len(), 1);
}

#[test]
fn the_probe_has_a_link_of_its_own_and_knows_every_hosts_address() {
    let view = first_host().with_host(2, "192.0.2.2");
    let view = view.with_probe(&[(1, "fd00:1::1"), (2, "fd00:1::2"), (3, "fd00:1::3")]);
    expect(
        &view,
        &[
            TUNNEL,
            END_2,
            PEER_2,
            "link sh-probe inner shoal-probe mac 02:00:00:00:01:01 mtu 1370 vni 1 sources fd00:1::1",
            "endpoint 1/fd00:1::1 behind sh-probe",
            "endpoint 1/fd00:1::2 on 240.0.0.2",
        ],
    );
}

#[test]
fn a_thousand_hosts_with_forty_endpoints_each_are_all_entered() {
    let mut view = first_host();
    let first = view.hosts[&host(1)].clone();
    let state = first_host().with_endpoint(1, "aa", 1, &["10.0.0.2"]).endpoints.into_values().next().unwrap();
    for n in 0..1_000_u32 {
        let id = shoal_types::HostId::new((u128::from(n) << 8).to_be_bytes());
        let address = std::net::Ipv4Addr::from(0xc612_0000 + n).into();
        let end = shoal_planner::EndView {
            key: shoal_types::WireGuardKey::new(std::array::from_fn(|at| n.to_be_bytes()[at % 4])),
            address: std::net::Ipv4Addr::from(0xf000_1000 + n),
            ..common::end(2, "192.0.2.2", true)
        };
        view.hosts.insert(id, shoal_planner::HostView { address, ends: vec![end], ..first.clone() });
        for m in 0..40 {
            let v4 = Some(std::net::Ipv4Addr::from(0x0a00_0000 + n * 40 + m));
            let entry = shoal_planner::EndpointView { v4, ..state.clone() };
            view.endpoints.insert((id, format!("{m:064x}").parse().unwrap()), entry);
        }
    }
    let (wanted, clashes) = plan(&view);
    assert_eq!((wanted.peers.len(), wanted.endpoints.len(), clashes.len()), (1_000, 40_000, 0));
}
