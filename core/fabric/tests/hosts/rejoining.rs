//! Who is let in, who comes back, and what must not be overlooked meanwhile.

use std::net::IpAddr;

use shoal_networks::Verb;
use shoal_types::{HostId, NetworkId, PoolIndex};

use crate::world::{World, key};
use crate::{create, put_on, run_container};

fn shop(world: &World, host: usize) -> NetworkId {
    world.hosts[host].fabric.networks().catalog().by_name(&"shop".parse().unwrap()).unwrap().0
}

fn owner(world: &World, host: usize, address: IpAddr) -> Option<HostId> {
    world.hosts[host].fabric.networks().ipam().owner_of(shop(world, host), PoolIndex(0), address)
}

/// An address that the host may hand out.
fn owned_by(world: &World, host: usize) -> IpAddr {
    let usable = world.hosts[host].fabric.networks().ipam().usable();
    usable.into_iter().map(|(_, _, _, last)| last).next().unwrap()
}

#[test]
fn a_host_that_no_member_knows_comes_back_neither_with_containers_nor_after_it_has_left() {
    let mut world = World::joined(3);
    create(&mut world, 0, "shop");
    let pool = put_on(&mut world, 2, "shop");
    run_container(&mut world, 2, "shop", &pool, 7);
    let at = world.at;
    // The same fabric, where nobody has heard of them.
    let mut others = World::joined(1);
    let stranger = others.introduction(2);
    let refused = world.hosts[2].fabric.join(stranger, at).unwrap_err();
    assert!(refused.contains("does not know this host"), "{refused}");
    assert!(refused.contains("loses its network"), "the container is named: {refused}");
    assert_eq!(world.hosts[2].fabric.networks().endpoints().count(), 1);

    let effects = world.hosts[1].fabric.leave(at).unwrap();
    world.act(1, effects);
    world.restart(1);
    let stranger = others.introduction(1);
    let refused = world.hosts[1].fabric.join(stranger, at).unwrap_err();
    assert!(refused.contains("does not know this host"), "{refused}");
    world.join(1);
    world.run(5);
    assert_eq!(world.hosts[1].fabric.hosts().len(), 3, "who is known comes back");
}

#[test]
fn what_a_host_gave_before_it_left_stays_given_whoever_lets_it_in_again() {
    let mut world = World::joined(3);
    create(&mut world, 1, "shop");
    world.run(3);
    let given = owned_by(&world, 1);
    world.cut(0);
    let pool = put_on(&mut world, 2, "shop");
    let ask = Verb::RequestAddress { pool, address: Some(given), gateway: false };
    assert!(world.verb(2, ask.clone()).is_err());
    world.run(3);
    world.verb(2, ask).unwrap();
    let receiver = Some(key(2).id());
    assert_eq!((owner(&world, 1, given), owner(&world, 0, given)), (receiver, Some(key(1).id())));
    let at = world.at;
    let effects = world.hosts[1].fabric.leave(at).unwrap();
    world.act(1, effects);
    world.cut(2);
    world.restart(1);
    // Who lets it in has not heard of the gift, and who has it is not there.
    world.join(1);
    world.run(5);
    assert_eq!(owner(&world, 1, given), receiver);
}

#[test]
fn a_host_that_was_let_in_counts_before_it_has_said_anything() {
    let mut world = World::joined(3);
    create(&mut world, 2, "shop");
    let (address, gone) = (owned_by(&world, 2), key(2).id());
    let silent = key(9).id();
    let (_, effects) = world.fabric(0).let_in(silent).unwrap();
    world.act(0, effects);
    world.restart(0);
    world.cut(2);
    let at = world.at;
    let (_, effects) = world.fabric(1).forget("host-2", at).unwrap();
    world.act(1, effects);
    world.run(shoal_fabric::LEASE.as_secs() / 60 + 20);
    assert_eq!(owner(&world, 0, address), Some(gone), "it may have got that address");
    let now = world.at.now;
    assert!(world.fabric(0).unaware_of_forgotten(now).contains(&silent), "and whoever waits for it says so");
    let at = world.at;
    let (_, effects) = world.fabric(0).forget(&silent.to_string(), at).unwrap();
    world.act(0, effects);
    world.run(shoal_fabric::LEASE.as_secs() / 60 + 20);
    let heir = key(0).id().min(key(1).id());
    assert_eq!((owner(&world, 0, address), owner(&world, 1, address)), (Some(heir), Some(heir)));
}
