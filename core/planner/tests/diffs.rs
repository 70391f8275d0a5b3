//! What is wanted, what is there, and the changes between, as text.
#![allow(clippy::unwrap_used, reason = "a test stops where its own table is wrong")]

mod sample;

use sample::{PlanExt, address, clear, encrypted, end, endpoint, key, name, public};
use shoal_plan::{Backend, Change, EndpointEntry, HostPlan, Observed, Tunnel, WireGuardPeer};
use shoal_planner::{change_text, diff, diff_endpoint, plan_text, restrict};
use shoal_types::WireGuardSecret;

fn there(plan: HostPlan) -> Observed {
    Observed { plan, ..Observed::default() }
}

fn texts(changes: &[Change]) -> Vec<String> {
    changes.iter().map(change_text).collect()
}

/// The changes without the values they set. Keys are shown by their first digits.
fn heads(changes: &[Change]) -> Vec<String> {
    let head = |text: String| text.split(' ').take(3).collect::<Vec<_>>().join(" ");
    let short = |text: String| text.split_at_checked(20).map_or(text.clone(), |(start, _)| start.to_owned());
    let heads = changes.iter().map(change_text).map(head);
    heads.map(|text| if text.contains("wireguard") { short(text) } else { text }).collect()
}

/// Two hosts with a tunnel in the kernel's WireGuard, one container on each.
fn pair() -> HostPlan {
    host().with_link("aa", &["10.0.0.2"]).with_remote("240.0.1.2", &["10.0.0.3"])
}

/// A host with a tunnel to another one.
fn host() -> HostPlan {
    let plan = HostPlan::default().with_tunnel("shoal1", encrypted(1, Backend::Kernel));
    plan.with_end("shoal1", 2).with_peer("240.0.1.2", "shoal1")
}

/// A host with a tunnel in clear to another one.
fn host_in_clear() -> HostPlan {
    HostPlan::default().with_tunnel("shoal0", clear(7374)).with_peer("192.0.2.2", "shoal0")
}

#[test]
fn nothing_is_done_when_all_is_right() {
    assert_eq!(diff(&pair(), &there(pair())), []);
    assert_eq!(diff(&HostPlan::default(), &Observed::default()), []);
}

#[test]
fn everything_is_made_before_something_leads_to_it() {
    assert_eq!(
        heads(&diff(&pair(), &Observed::default())),
        [
            "+ tunnel shoal1",
            "+ wireguard shoal1/A",
            "+ peer 240.0.1.2",
            "+ link sh-aa0000000000",
            "+ endpoint 301/10.0.0.2",
            "+ endpoint 301/10.0.0.3",
        ]
    );
}

#[test]
fn everything_is_removed_after_what_leads_to_it() {
    assert_eq!(
        heads(&diff(&HostPlan::default(), &there(pair()))),
        [
            "- endpoint 301/10.0.0.2",
            "- endpoint 301/10.0.0.3",
            "- link sh-aa0000000000",
            "- peer 240.0.1.2",
            "- tunnel shoal1",
        ],
        "the tunnel takes its other ends along"
    );
}

#[test]
fn an_address_that_moves_to_another_host_is_overwritten() {
    let after = host().with_remote("240.0.1.2", &["10.0.0.2"]);
    assert_eq!(
        texts(&diff(&after, &there(pair()))),
        ["- endpoint 301/10.0.0.3", "+ endpoint 301/10.0.0.2 on 240.0.1.2", "- link sh-aa0000000000"]
    );
}

#[test]
fn a_peer_with_another_mtu_is_set_alone() {
    let mut after = pair();
    after.peers.get_mut(&address("240.0.1.2")).unwrap().mtu = 1300;
    assert_eq!(
        texts(&diff(&after, &there(pair()))),
        ["+ peer 240.0.1.2 from 240.0.0.1 through shoal1 mtu 1300"]
    );
}

#[test]
fn a_peer_that_is_sent_elsewhere_is_set_right_or_removed() {
    let mut observed = there(pair());
    let astray = observed.plan.peers.get_mut(&address("240.0.1.2")).unwrap();
    (astray.tunnel, astray.mtu) = (name("(none)"), 0);
    assert_eq!(heads(&diff(&pair(), &observed)), ["+ peer 240.0.1.2"]);
    let mut without = pair();
    without.peers.clear();
    assert_eq!(heads(&diff(&without, &observed)), ["- peer 240.0.1.2"]);
}

#[test]
fn a_link_that_is_no_longer_in_clear_is_set() {
    let mut before = pair();
    before.links.values_mut().for_each(|link| link.in_clear = true);
    let changes = texts(&diff(&pair(), &there(before.clone())));
    assert!(changes[0].starts_with("+ link ") && !changes[0].contains("in clear"), "{changes:?}");
    let changes = texts(&diff(&before, &there(pair())));
    assert!(changes[0].starts_with("+ link ") && changes[0].contains(" vni 301 in clear "), "{changes:?}");
}

#[test]
fn a_broken_link_is_set_right_and_its_addresses_again() {
    let mut observed = there(pair());
    observed.plan.links.clear();
    observed.broken.insert(name("sh-aa0000000000"), "down".to_owned());
    assert_eq!(heads(&diff(&pair(), &observed)), ["+ link sh-aa0000000000", "+ endpoint 301/10.0.0.2"]);
}

#[test]
fn a_broken_thing_that_nobody_wants_is_removed() {
    let mut observed = Observed::default();
    observed.broken.insert(name("sh-ee0000000000"), "no program".to_owned());
    assert_eq!(heads(&diff(&HostPlan::default(), &observed)), ["- link sh-ee0000000000"]);
}

#[test]
fn a_dangling_address_is_removed_first_and_set_again_if_wanted() {
    let mut observed = there(pair());
    observed.plan.links.clear();
    observed.plan.endpoints.remove(&key("10.0.0.2"));
    observed.dangling = vec![key("10.0.0.2"), key("10.0.0.77")];
    assert_eq!(
        heads(&diff(&pair(), &observed)),
        [
            "- endpoint 301/10.0.0.2",
            "- endpoint 301/10.0.0.77",
            "+ link sh-aa0000000000",
            "+ endpoint 301/10.0.0.2",
        ]
    );
}

#[test]
fn a_tunnel_in_clear_of_another_name_goes_before_the_new_one_comes() {
    let before = HostPlan::default().with_tunnel("old0", clear(7374)).with_peer("192.0.2.2", "old0");
    assert_eq!(
        texts(&diff(&host_in_clear(), &there(before))),
        [
            "- tunnel old0",
            "+ tunnel shoal0 in clear port 7374",
            "+ peer 192.0.2.2 from 192.0.2.1 through shoal0 mtu 1370",
        ]
    );
}

#[test]
fn what_is_broken_may_be_a_tunnel_in_the_way() {
    let mut observed = Observed::default();
    observed.broken.insert(name("old0"), "is down".to_owned());
    observed.broken.insert(name("sh-ee0000000000"), "is down".to_owned());
    observed.plan.endpoints.insert(key("10.0.0.9"), EndpointEntry::Local(name("sh-ee0000000000")));
    assert_eq!(
        heads(&diff(&host_in_clear(), &observed)),
        [
            "- endpoint 301/10.0.0.9",
            "- link old0",
            "- link sh-ee0000000000",
            "+ tunnel shoal0",
            "+ peer 192.0.2.2",
        ]
    );
}

#[test]
fn two_tunnels_that_share_no_port_stand_side_by_side() {
    let before = HostPlan::default().with_tunnel("old0", clear(4789)).with_peer("192.0.2.2", "old0");
    assert_eq!(
        heads(&diff(&host_in_clear(), &there(before))),
        ["+ tunnel shoal0", "+ peer 192.0.2.2", "- tunnel old0"]
    );
    // Of one port, whatever they are.
    let old = HostPlan::default().with_tunnel("old0", clear(7001));
    let changes = heads(&diff(&host(), &there(old)));
    assert_eq!(changes[..2], ["- tunnel old0", "+ tunnel shoal1"]);
}

#[test]
fn a_tunnel_on_another_port_is_set_right_and_peers_are_led_to_it_again() {
    let before = HostPlan::default().with_tunnel("shoal0", clear(4789)).with_peer("192.0.2.2", "shoal0");
    assert_eq!(
        texts(&diff(&host_in_clear(), &there(before))),
        ["+ tunnel shoal0 in clear port 7374", "+ peer 192.0.2.2 from 192.0.2.1 through shoal0 mtu 1370"]
    );
}

#[test]
fn keys_change_without_a_moment_in_between() {
    let mut after = pair().with_tunnel("shoal2", encrypted(2, Backend::UserSpace)).with_end("shoal2", 2);
    assert_eq!(heads(&diff(&after, &there(pair()))), ["+ tunnel shoal2", "+ wireguard shoal2/A"]);
    let before = after.clone();
    after = after.with_peer("240.0.1.2", "shoal2");
    assert_eq!(
        texts(&diff(&after, &there(before.clone()))),
        ["+ peer 240.0.1.2 from 240.0.0.2 through shoal2 mtu 1370"]
    );
    after.tunnels.remove(&name("shoal1"));
    after.wireguard.remove(&(name("shoal1"), public(2)));
    assert_eq!(heads(&diff(&after, &there(before))), ["+ peer 240.0.1.2", "- tunnel shoal1"]);
}

#[test]
fn a_broken_tunnel_is_set_right_and_its_other_ends_and_peers_again() {
    let wanted = pair().with_tunnel("shoal0", clear(7374)).with_peer("192.0.2.2", "shoal0");
    let mut observed = there(wanted.clone());
    observed.plan.tunnels.remove(&name("shoal1"));
    observed.broken.insert(name("shoal1"), "is down".to_owned());
    let again = ["+ tunnel shoal1", "+ wireguard shoal1/A", "+ peer 240.0.1.2"];
    assert_eq!(heads(&diff(&wanted, &observed)), again);
    // Also if nothing of it can be read.
    observed.plan.wireguard.clear();
    assert_eq!(heads(&diff(&wanted, &observed)), again);
}

#[test]
fn a_process_that_has_lost_its_other_ends_is_told_them_again() {
    let mut observed = there(pair());
    observed.plan.wireguard.clear();
    assert_eq!(heads(&diff(&pair(), &observed)), ["+ wireguard shoal1/A"]);
}

#[test]
fn an_other_end_is_set_if_it_differs_and_removed_if_nobody_wants_it() {
    let set = |change: fn(&mut WireGuardPeer)| {
        let mut wanted = pair();
        wanted.wireguard.values_mut().for_each(change);
        diff(&wanted, &there(pair()))
    };
    assert_eq!(set(|end| end.endpoint = None), [], "wherever it is");
    for change in [
        |end: &mut WireGuardPeer| end.endpoint = Some(([192, 0, 2, 99], 7001).into()),
        |end: &mut WireGuardPeer| end.keepalive = Some(25),
        |end: &mut WireGuardPeer| end.preshared = Some(WireGuardSecret::new([1; 32])),
        |end: &mut WireGuardPeer| end.address = [240, 0, 9, 9].into(),
    ] {
        assert_eq!(heads(&set(change)), ["+ wireguard shoal1/A"]);
    }
    let mut wanted = pair();
    wanted.wireguard.clear();
    assert_eq!(heads(&diff(&wanted, &there(pair()))), ["- wireguard shoal1/A"]);
}

#[test]
fn a_forgotten_host_is_no_peer_any_more_before_its_key_goes() {
    let wanted = HostPlan::default().with_tunnel("shoal1", encrypted(1, Backend::Kernel));
    assert_eq!(heads(&diff(&wanted, &there(host()))), ["- peer 240.0.1.2", "- wireguard shoal1/A"]);
}

#[test]
fn no_text_tells_a_secret() {
    let secret = WireGuardSecret::new([0x5e; 32]);
    let end = WireGuardPeer { preshared: Some(secret), keepalive: Some(25), endpoint: None, ..end(2) };
    let mut plan = HostPlan::default().with_tunnel("shoal2", encrypted(2, Backend::UserSpace));
    plan.wireguard.insert((name("shoal2"), public(2)), end);
    let lines = [
        "tunnel shoal2 encrypted in user space address 240.0.0.2 port 7002 mtu 1420".to_owned(),
        format!(
            "wireguard shoal2/{} address 240.0.1.2 anywhere keepalive 25 with a pre-shared key",
            public(2)
        ),
    ];
    assert_eq!(plan_text(&plan).lines().collect::<Vec<_>>(), lines);
    assert_eq!(texts(&diff(&plan, &Observed::default())), lines.map(|line| format!("+ {line}")));
    let kernel = encrypted(1, Backend::Kernel);
    assert_eq!(
        change_text(&Change::SetTunnel(name("shoal1"), kernel)),
        "+ tunnel shoal1 encrypted by the kernel address 240.0.0.1 port 7001 mtu 1420"
    );
}

#[test]
fn a_docker_verb_touches_its_own_endpoint_only() {
    let wanted = pair().with_link("cc", &["10.0.0.4"]);
    let expected = ["+ link sh-cc0000000000", "+ endpoint 301/10.0.0.4"];
    assert_eq!(heads(&diff_endpoint(&wanted, &Observed::default(), &endpoint("cc"))), expected);
    let blind = diff(&restrict(&wanted, &endpoint("cc")), &Observed::default());
    assert_eq!(heads(&blind), expected);
    assert_eq!(diff_endpoint(&wanted, &there(wanted.clone()), &endpoint("cc")), []);
    // Not even if a tunnel is amiss.
    let mut observed = there(wanted.clone());
    observed.plan.tunnels.insert(name("shoal1"), Tunnel::Clear { port: 1 });
    observed.broken.insert(name("shoal1"), "is down".to_owned());
    assert_eq!(diff_endpoint(&wanted, &observed, &endpoint("cc")), []);
}

#[test]
fn a_docker_verb_takes_its_address_over_from_a_stale_entry() {
    let mut observed = there(pair());
    observed.plan.endpoints.insert(key("10.0.0.2"), EndpointEntry::Remote(address("240.0.1.2")));
    assert_eq!(
        texts(&diff_endpoint(&pair(), &observed, &endpoint("aa"))),
        ["+ endpoint 301/10.0.0.2 behind sh-aa0000000000"]
    );
}

#[test]
fn a_docker_verb_removes_the_endpoint_that_left() {
    let changes = diff_endpoint(&host(), &there(pair()), &endpoint("aa"));
    assert_eq!(heads(&changes), ["- endpoint 301/10.0.0.2", "- link sh-aa0000000000"]);
}
