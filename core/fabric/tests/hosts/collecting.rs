//! What is left of deleted networks goes once every host has been heard since.

use std::time::Duration;

use shoal_networks::Verb;
use shoal_schema::{FactKey, FactKind};
use shoal_trust::{Certificate, Claim};

use crate::world::{World, key};
use crate::{create, has_network, put_on};

const DAY: u64 = 86_400;

/// Lets days pass in one step.
fn pass(world: &mut World, days: u64) {
    world.at.now = world.at.now + Duration::from_secs(days * DAY);
    world.at.wall = world.at.wall + Duration::from_secs(days * DAY);
    world.run(20);
}

fn renew(world: &mut World, host: usize) {
    let fabric = world.hosts[host].fabric.identity().unwrap().fabric;
    let name = format!("host-{host}").parse().unwrap();
    let claim = Claim { fabric, key: key(host).public(), name, from: world.at.wall };
    let at = world.at;
    let effects = world.hosts[host].fabric.renewed(Certificate::issue_by_member(&key(0), claim), at);
    world.act(host, effects);
}

/// Stored facts of a kind on a host, whoever wrote them; tombstones included.
fn stored(world: &World, host: usize, kind: FactKind) -> usize {
    let prefix = FactKey::kind_prefix(kind);
    let has = |key: &&Vec<u8>| key.windows(prefix.len()).any(|part| part == prefix);
    world.hosts[host].disk.keys().filter(|key| key.starts_with(b"facts/e/")).filter(has).count()
}

/// Three hosts, the last of which got addresses as a gift; the network is deleted on the first.
fn deleted() -> World {
    let mut world = World::joined(2);
    create(&mut world, 0, "shop");
    let late = world.join_another();
    world.run(3);
    let pool = put_on(&mut world, late, "shop");
    world.run(10);
    world.verb(late, Verb::RequestAddress { pool, address: None, gateway: false }).unwrap();
    assert!(stored(&world, 1, FactKind::Gift) > 0);
    let at = world.at;
    let (_, effects) = world.hosts[0].fabric.delete_network(&"shop".parse().unwrap(), at).unwrap();
    world.act(0, effects);
    world.run(3);
    world
}

fn left(world: &World) -> Vec<(usize, usize, usize)> {
    let kinds =
        |host| [FactKind::Network, FactKind::Gift, FactKind::Use].map(|kind| stored(world, host, kind));
    (0..3).map(kinds).map(|[networks, gifts, uses]| (networks, gifts, uses)).collect()
}

#[test]
fn a_deletion_and_its_gifts_go_once_every_host_was_heard_since() {
    let mut world = deleted();
    pass(&mut world, 3);
    assert!(left(&world).iter().all(|left| left.0 == 1 && left.1 > 0), "nobody was heard since");
    for host in [0, 1] {
        renew(&mut world, host);
    }
    pass(&mut world, 1);
    assert!(left(&world).iter().all(|left| left.0 == 1 && left.1 > 0), "one host was not");
    renew(&mut world, 2);
    // First the gifts, then the deletion, then its tombstone among the facts.
    (0..3).for_each(|_| pass(&mut world, 1));
    assert_eq!(left(&world), [(0, 0, 0); 3]);
    world.agree();
    for host in 0..3 {
        world.restart(host);
        assert!(!has_network(&world, host, "shop"));
    }
}

#[test]
fn a_host_that_was_away_when_it_was_deleted_cannot_bring_a_network_back() {
    let mut world = World::joined(3);
    create(&mut world, 2, "shop");
    world.cut(2);
    let at = world.at;
    let (_, effects) = world.hosts[0].fabric.delete_network(&"shop".parse().unwrap(), at).unwrap();
    world.act(0, effects);
    for _ in 0..3 {
        pass(&mut world, 3);
        [0, 1].into_iter().for_each(|host| renew(&mut world, host));
    }
    assert!(has_network(&world, 2, "shop"));
    world.heal(2);
    world.run(60);
    assert!((0..3).all(|host| !has_network(&world, host, "shop")));
}

#[test]
fn a_host_that_is_gone_keeps_deletions_until_it_is_forgotten() {
    let mut world = deleted();
    world.cut(2);
    for _ in 0..3 {
        pass(&mut world, 3);
        [0, 1].into_iter().for_each(|host| renew(&mut world, host));
    }
    assert_eq!(left(&world)[0].0, 1);
    let at = world.at;
    let (_, effects) = world.hosts[0].fabric.forget("host-2", at).unwrap();
    world.act(0, effects);
    (0..3).for_each(|_| pass(&mut world, 1));
    assert_eq!(left(&world)[..2], [(0, 0, 0); 2]);
}
