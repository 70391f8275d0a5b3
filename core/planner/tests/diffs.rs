//! What is wanted, what is there, and the changes between, as text.
#![allow(clippy::unwrap_used, reason = "a test stops where its own table is wrong")]

mod common;

use common::{ViewExt, endpoint, first_host, link};
use shoal_plan::{Change, EndpointEntry, EndpointKey, HostPlan, Observed};
use shoal_planner::{View, change_text, diff, diff_endpoint, plan, restrict};

fn planned(view: &View) -> HostPlan {
    plan(view).0
}

fn there(plan: HostPlan) -> Observed {
    Observed { plan, ..Observed::default() }
}

/// The changes without the values they set.
fn heads(changes: &[Change]) -> Vec<String> {
    let head = |text: String| text.split(' ').take(3).collect::<Vec<_>>().join(" ");
    changes.iter().map(change_text).map(head).collect()
}

/// Two hosts, one container on each.
fn pair() -> View {
    let view = first_host().with_host(2, "192.0.2.2");
    view.with_endpoint(1, "aa", 1, &["10.0.0.2"]).with_endpoint(2, "bb", 1, &["10.0.0.3"])
}

fn key(address: &str) -> EndpointKey {
    EndpointKey { vni: shoal_types::Vni::new(301).unwrap(), address: common::address(address) }
}

#[test]
fn nothing_is_done_when_all_is_right() {
    let wanted = planned(&pair());
    assert_eq!(diff(&wanted, &there(wanted.clone())), []);
    assert_eq!(diff(&HostPlan::default(), &Observed::default()), []);
}

#[test]
fn everything_is_made_before_something_leads_to_it() {
    assert_eq!(
        heads(&diff(&planned(&pair()), &Observed::default())),
        [
            "+ tunnel shoal0",
            "+ peer 192.0.2.2",
            "+ link sh-aa0000000000",
            "+ endpoint 301/10.0.0.2",
            "+ endpoint 301/10.0.0.3",
        ]
    );
}

#[test]
fn everything_is_removed_after_what_leads_to_it() {
    assert_eq!(
        heads(&diff(&HostPlan::default(), &there(planned(&pair())))),
        [
            "- endpoint 301/10.0.0.2",
            "- endpoint 301/10.0.0.3",
            "- link sh-aa0000000000",
            "- peer 192.0.2.2",
            "- tunnel shoal0",
        ]
    );
}

#[test]
fn an_address_that_moves_to_another_host_is_overwritten() {
    let before = planned(&pair());
    let after = planned(&first_host().with_host(2, "192.0.2.2").with_endpoint(2, "bb", 1, &["10.0.0.2"]));
    let changes = diff(&after, &there(before));
    assert_eq!(
        changes.iter().map(change_text).collect::<Vec<_>>(),
        ["- endpoint 301/10.0.0.3", "+ endpoint 301/10.0.0.2 on 192.0.2.2", "- link sh-aa0000000000"]
    );
}

#[test]
fn a_peer_with_another_mtu_is_set_alone() {
    let mut after = pair();
    after.hosts.get_mut(&common::host(2)).unwrap().path_mtu = Some(1300);
    let changes = diff(&planned(&after), &there(planned(&pair())));
    assert_eq!(
        changes.iter().map(change_text).collect::<Vec<_>>(),
        ["+ peer 192.0.2.2 from 192.0.2.1 mtu 1300"]
    );
}

#[test]
fn a_broken_link_is_set_right_and_its_addresses_again() {
    let wanted = planned(&pair());
    let mut observed = there(wanted.clone());
    observed.plan.links.clear();
    observed.broken.insert(link("sh-aa0000000000"), "down".to_owned());
    assert_eq!(heads(&diff(&wanted, &observed)), ["+ link sh-aa0000000000", "+ endpoint 301/10.0.0.2"]);
}

#[test]
fn a_broken_link_that_nobody_wants_is_removed() {
    let mut observed = Observed::default();
    observed.broken.insert(link("sh-ee0000000000"), "no program".to_owned());
    assert_eq!(heads(&diff(&HostPlan::default(), &observed)), ["- link sh-ee0000000000"]);
}

#[test]
fn a_dangling_address_is_removed_first_and_set_again_if_wanted() {
    let wanted = planned(&pair());
    let mut observed = there(wanted.clone());
    observed.plan.links.clear();
    observed.plan.endpoints.remove(&key("10.0.0.2"));
    observed.dangling = vec![key("10.0.0.2"), key("10.0.0.77")];
    assert_eq!(
        heads(&diff(&wanted, &observed)),
        [
            "- endpoint 301/10.0.0.2",
            "- endpoint 301/10.0.0.77",
            "+ link sh-aa0000000000",
            "+ endpoint 301/10.0.0.2",
        ]
    );
}

#[test]
fn a_tunnel_of_another_name_goes_before_the_new_one_comes() {
    let mut before = planned(&first_host());
    before.tunnel.as_mut().unwrap().name = link("old0");
    let changes = diff(&planned(&first_host()), &there(before));
    assert_eq!(heads(&changes), ["- tunnel old0", "+ tunnel shoal0"]);
}

#[test]
fn a_tunnel_on_another_port_is_set_right() {
    let mut before = planned(&first_host());
    before.tunnel.as_mut().unwrap().port = 4789;
    let changes = diff(&planned(&first_host()), &there(before));
    assert_eq!(changes.iter().map(change_text).collect::<Vec<_>>(), ["+ tunnel shoal0 port 7374"]);
}

#[test]
fn a_docker_verb_touches_its_own_endpoint_only() {
    let wanted = planned(&pair().with_endpoint(1, "cc", 1, &["10.0.0.4"]));
    let expected = ["+ link sh-cc0000000000", "+ endpoint 301/10.0.0.4"];
    assert_eq!(heads(&diff_endpoint(&wanted, &Observed::default(), &endpoint("cc"))), expected);
    let blind = diff(&restrict(&wanted, &endpoint("cc")), &Observed::default());
    assert_eq!(heads(&blind), expected);
    assert_eq!(diff_endpoint(&wanted, &there(wanted.clone()), &endpoint("cc")), []);
}

#[test]
fn a_docker_verb_takes_its_address_over_from_a_stale_entry() {
    let wanted = planned(&pair());
    let mut observed = there(wanted.clone());
    observed.plan.endpoints.insert(key("10.0.0.2"), EndpointEntry::Remote(common::address("192.0.2.2")));
    let changes = diff_endpoint(&wanted, &observed, &endpoint("aa"));
    assert_eq!(
        changes.iter().map(change_text).collect::<Vec<_>>(),
        ["+ endpoint 301/10.0.0.2 behind sh-aa0000000000"]
    );
}

#[test]
fn a_docker_verb_removes_the_endpoint_that_left() {
    let wanted = planned(&first_host().with_host(2, "192.0.2.2"));
    let changes = diff_endpoint(&wanted, &there(planned(&pair())), &endpoint("aa"));
    assert_eq!(heads(&changes), ["- endpoint 301/10.0.0.2", "- link sh-aa0000000000"]);
}
