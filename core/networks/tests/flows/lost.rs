//! Edits made at the same time: one wins, the other is kept and shown where it was made.

use std::time::Duration;

use shoal_schema::{Fact, NetworkFact};
use shoal_types::Stamp;

use crate::host::{Host, name, plain, share};

fn two() -> (Host, Host) {
    let (mut a, mut b) = Host::pair();
    a.create(&plain("shop")).unwrap();
    a.serve();
    share(&mut a, &mut b);
    b.serve();
    share(&mut a, &mut b);
    (a, b)
}

fn delete(host: &mut Host) {
    let mut effects = Vec::new();
    host.networks.delete(&name("shop"), host.at, &mut effects).unwrap();
    host.act(effects);
}

/// An edit as the core makes it when VXLAN ids clash, or as a later version may make it.
fn edit(host: &mut Host, internal: bool) {
    let id = host.id_of("shop");
    let (_, fact) = host.networks.catalog().winner(id).unwrap();
    let mut spec = fact.spec.clone().unwrap();
    (spec.vni, spec.internal) = (shoal_types::Vni::from_random(77), internal);
    let fact = NetworkFact { id, stamp: fact.stamp.next(host.at.wall), heard: fact.stamp, spec: Some(spec) };
    host.act(vec![shoal_networks::Effect::Publish(Fact::Network(fact))]);
}

fn findings(host: &Host) -> Vec<String> {
    host.networks.findings(host.at.wall).into_iter().map(|it| it.finding).collect()
}

#[test]
fn a_deletion_that_loses_to_a_change_is_kept_and_shown_until_the_next_change() {
    let (mut a, mut b) = two();
    delete(&mut a);
    b.wait(10);
    edit(&mut b, false);
    share(&mut a, &mut b);
    let found = findings(&a);
    let [text] = found.as_slice() else { panic!("{found:?}") };
    for part in ["network \"shop\"", "host host-2", "had deleted it", "`shoal network delete shop`"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(a.notices.contains(text) && findings(&b).is_empty());
    a.restart();
    assert_eq!(findings(&a), found, "it outlives a restart");
    let (id, to, lost) = a.networks.lost_edits().next().unwrap();
    assert_eq!((id, to, lost.spec), (a.id_of("shop"), b.me, None));
    a.wait(11);
    a.serve();
    delete(&mut a);
    a.wait(1);
    assert!(findings(&a).is_empty());
    assert!(!a.disk.keys().any(|key| key.starts_with(b"networks/lost")));
}

#[test]
fn a_change_that_loses_to_a_deletion_is_shown_for_a_week() {
    let (mut a, mut b) = two();
    edit(&mut a, false);
    b.wait(10);
    delete(&mut b);
    share(&mut a, &mut b);
    assert!(findings(&a)[0].contains("it is deleted. `shoal network create shop` makes it anew"));
    a.wait(7 * 86_400);
    assert_eq!(findings(&a).len(), 1);
    a.wait(2);
    assert!(findings(&a).is_empty());
}

#[test]
fn of_two_changes_the_lost_one_tells_what_differs_unless_agents_made_both() {
    for (internal, shown) in [(true, true), (false, false)] {
        let (mut a, mut b) = two();
        edit(&mut a, internal);
        b.wait(10);
        edit(&mut b, false);
        share(&mut a, &mut b);
        let found = findings(&a);
        assert_eq!(found.iter().any(|it| it.contains("had other reach")), shown, "{found:?}");
        assert_eq!(found.len(), usize::from(shown));
    }
}

#[test]
fn an_edit_that_is_replaced_knowingly_is_not_lost() {
    let (mut a, mut b) = two();
    b.wait(10);
    edit(&mut b, true);
    share(&mut a, &mut b);
    assert!(findings(&a).is_empty() && findings(&b).is_empty());
    a.wait(20);
    delete(&mut a);
    share(&mut a, &mut b);
    assert!(findings(&a).is_empty() && findings(&b).is_empty());
}

#[test]
fn lost_edits_are_bounded() {
    let (mut a, mut b) = Host::pair();
    for n in 0..70_u8 {
        let id = shoal_types::NetworkId::new([n; 16]);
        let stamp = |seconds| Stamp { wall: a.at.wall + Duration::from_secs(seconds), logical: 0 };
        let mine = NetworkFact { id, stamp: stamp(1), heard: Stamp::default(), spec: None };
        let mut spec = spec();
        (spec.name, spec.vni) = (name(&format!("n{n}")), shoal_types::Vni::from_random(n.into()));
        let theirs = NetworkFact { id, stamp: stamp(2), heard: Stamp::default(), spec: Some(spec) };
        a.act(vec![shoal_networks::Effect::Publish(Fact::Network(mine))]);
        b.act(vec![shoal_networks::Effect::Publish(Fact::Network(theirs))]);
    }
    share(&mut a, &mut b);
    assert_eq!(findings(&a).len(), 64);
    assert_eq!(a.disk.keys().filter(|key| key.starts_with(b"networks/lost")).count(), 64);
}

fn spec() -> shoal_schema::NetworkSpec {
    let (a, _) = two();
    a.networks.catalog().get(a.id_of("shop")).unwrap().clone()
}
