//! Hosts whose wall clocks differ: edits from the future wait, and everybody heals once the clocks agree.

use std::time::Duration;

use shoal_schema::{Fact, FactKey};
use shoal_types::WallTime;

use crate::host::{Host, name, plain, share};

const TEN_MINUTES: Duration = Duration::from_secs(600);

fn set_clock(host: &mut Host, wall: WallTime) {
    host.at.wall = wall;
}

fn delete(host: &mut Host, text: &str) {
    let mut effects = Vec::new();
    host.networks.delete(&name(text), host.at, &mut effects).unwrap();
    host.act(effects);
}

/// Gives a network another VXLAN id, as its last author does when two clash.
fn edit(host: &mut Host, text: &str) {
    let id = host.id_of(text);
    let (_, fact) = host.networks.catalog().winner(id).unwrap();
    let mut fact = fact.clone();
    fact.stamp = fact.stamp.next(host.at.wall);
    fact.spec.as_mut().unwrap().internal ^= true;
    host.act(vec![shoal_networks::Effect::Publish(Fact::Network(fact))]);
}

fn is_internal(host: &Host, text: &str) -> bool {
    host.networks.catalog().by_name(&name(text)).unwrap().1.internal
}

fn has(host: &Host, text: &str) -> bool {
    host.networks.catalog().by_name(&name(text)).is_some()
}

fn findings(host: &Host) -> Vec<String> {
    host.networks.findings(host.at.wall).into_iter().map(|it| it.finding).collect()
}

/// Hosts 1 and 2 with the network "shop" of host 1; the clock of host 1 is ten minutes ahead from now on.
fn first_is_ahead() -> (Host, Host) {
    let (mut a, mut b) = Host::pair();
    a.create(&plain("shop")).unwrap();
    a.serve();
    share(&mut a, &mut b);
    b.serve();
    a.wait(5);
    b.wait(5);
    let ahead = a.at.wall + TEN_MINUTES;
    set_clock(&mut a, ahead);
    (a, b)
}

#[test]
fn a_new_network_from_the_future_waits_and_counts_when_its_time_has_come() {
    let (mut a, mut b) = first_is_ahead();
    a.create(&plain("web")).unwrap();
    a.serve();
    share(&mut a, &mut b);
    assert!(has(&a, "web") && !has(&b, "web"));
    assert_eq!(b.notices.iter().filter(|told| told.contains("the clock of host host-1")).count(), 1);
    let found = findings(&b);
    assert!(found.len() == 1 && found[0].contains("host-1") && found[0].contains("\"web\""), "{found:?}");
    b.restart();
    assert!(!has(&b, "web"), "it waits over a restart");
    assert_eq!(findings(&b), found);
    b.wait(530);
    assert!(!has(&b, "web"));
    b.wait(15);
    assert!(has(&b, "web"));
    assert!(findings(&b).is_empty());
    assert!(!b.disk.keys().any(|key| key.starts_with(b"networks/waiting")), "nothing is kept of it any more");
}

#[test]
fn what_an_edit_from_the_future_replaces_stays_until_it_counts() {
    let (mut a, mut b) = first_is_ahead();
    delete(&mut a, "shop");
    share(&mut a, &mut b);
    assert!(!has(&a, "shop") && has(&b, "shop"));
    b.restart();
    b.serve();
    assert!(has(&b, "shop") && b.has("shop"), "also over a restart");
    b.wait(545);
    b.serve();
    assert!(!has(&b, "shop") && !b.has("shop"));
}

#[test]
fn an_edit_that_others_replace_by_one_from_the_future_stays_too() {
    let (mut a, mut b) = first_is_ahead();
    let mut c = Host::new(3);
    share(&mut b, &mut c);
    share(&mut a, &mut c);
    let ahead = c.at.wall + TEN_MINUTES;
    set_clock(&mut c, ahead);
    edit(&mut c, "shop");
    share(&mut b, &mut c);
    share(&mut a, &mut c);
    let id = c.id_of("shop");
    assert!(!a.facts.contains_key(FactKey::network(id).as_bytes()), "outranked as host 1 sees it");
    share(&mut a, &mut b);
    assert!(!is_internal(&b, "shop"));
    b.restart();
    assert!(!is_internal(&b, "shop"));
    b.wait(700);
    assert!(is_internal(&b, "shop"));
}

#[test]
fn a_host_whose_clock_is_put_back_puts_its_stamps_right() {
    let (mut a, mut b) = first_is_ahead();
    a.create(&plain("web")).unwrap();
    a.serve();
    share(&mut a, &mut b);
    assert!(!has(&b, "web"));
    let right = b.at.wall;
    set_clock(&mut a, right);
    a.wait(1);
    share(&mut a, &mut b);
    assert!(has(&a, "web") && has(&b, "web"));
    assert!(findings(&a).is_empty() && findings(&b).is_empty());
    delete(&mut b, "web");
    share(&mut a, &mut b);
    assert!(!has(&a, "web"), "nobody is pulled ahead");
}

#[test]
fn a_slow_host_suspects_its_own_clock_and_its_edits_hold() {
    let (mut a, mut b) = Host::pair();
    let mut c = Host::new(3);
    share(&mut a, &mut c);
    share(&mut b, &mut c);
    a.create(&plain("shop")).unwrap();
    a.serve();
    share(&mut a, &mut c);
    assert!(has(&c, "shop"));
    for host in [&mut a, &mut b] {
        let later = host.at.wall + 2 * TEN_MINUTES;
        set_clock(host, later);
    }
    a.create(&plain("web")).unwrap();
    b.create(&plain("db")).unwrap();
    a.serve();
    b.serve();
    share(&mut a, &mut c);
    share(&mut b, &mut c);
    assert!(has(&c, "shop") && !has(&c, "web"));
    let found = findings(&c);
    assert!(found.len() == 1 && found[0].starts_with("This host's clock is probably slow"), "{found:?}");
    delete(&mut c, "shop");
    share(&mut a, &mut c);
    assert!(!has(&a, "shop") && !has(&c, "shop"), "its own edit is in force at once");
    c.restart();
    assert!(!has(&c, "shop"));
    let right = a.at.wall;
    set_clock(&mut c, right);
    c.wait(1);
    assert!(has(&c, "web") && has(&c, "db") && findings(&c).is_empty(), "it heals with its clock");
}

#[test]
fn a_host_that_starts_with_a_slow_clock_keeps_what_has_counted() {
    let (mut a, mut b) = first_is_ahead();
    let slow = WallTime::from_millis(b.at.wall.as_millis() - 3_600_000);
    set_clock(&mut b, slow);
    b.restart();
    b.serve();
    assert!(has(&b, "shop") && b.has("shop"));
    delete(&mut b, "shop");
    share(&mut a, &mut b);
    assert!(!has(&a, "shop") && !has(&b, "shop"), "and edits it");
}

#[test]
fn a_name_that_waits_is_not_given_again() {
    let (mut a, mut b) = first_is_ahead();
    a.create(&plain("web")).unwrap();
    a.serve();
    share(&mut a, &mut b);
    let request = shoal_networks::NetworkRequest {
        name: name("web"),
        subnets: Vec::new(),
        v6: false,
        internal: false,
        labels: Default::default(),
        options: Default::default(),
    };
    let refused = b.networks.create(request, b.at, &mut Vec::new()).unwrap_err();
    assert!(refused.0.contains("host-1 made a network \"web\""), "{refused}");
}
