//! Space comes back: positive checks, host by host.

#![allow(clippy::unwrap_used, reason = "a test panics when what it needs is absent")]

mod model;

use model::{LEASE, World, id};

/// Lets the hosts named hear everything of each other, and act, 20 seconds a round.
fn live(world: &mut World, hosts: &[usize], rounds: usize) {
    (0..rounds).for_each(|_| world.live(hosts, 20));
}

/// A fabric whose hosts each own `12 / hosts` addresses and use the first of them; the rest is spare.
fn fabric(hosts: usize) -> World {
    let mut world = World::new(hosts, 12);
    let all: Vec<usize> = (0..hosts).collect();
    live(&mut world, &all, 3);
    for host in &all {
        world.hand_out(*host, u8::try_from(*host).unwrap());
    }
    (0..12).for_each(|number| world.spare(usize::from(number) % hosts, number));
    live(&mut world, &all, 3);
    world
}

fn owned(world: &World, seen_by: usize, owner: usize) -> Vec<u8> {
    (0..12).filter(|number| world.owner(seen_by, *number) == id(owner)).collect()
}

#[test]
fn what_is_spare_of_a_dead_host_is_taken_over_when_its_lease_has_ended() {
    let mut world = fabric(3);
    assert_eq!(owned(&world, 0, 2), [2, 5, 8, 11]);
    live(&mut world, &[0, 1], (LEASE.as_secs() / 20 - 5) as usize);
    assert_eq!(owned(&world, 0, 2), [2, 5, 8, 11], "its lease lasts");
    live(&mut world, &[0, 1], 12);
    for witness in [0, 1] {
        assert_eq!(owned(&world, witness, 2), [2], "the address in use stays");
    }
    assert!(world.may_use(0, 5), "the lowest id has taken over");
    // Back again, it knows what it lost and has all rights on the rest.
    live(&mut world, &[0, 1, 2], 12);
    assert_eq!(owned(&world, 2, 2), [2]);
    assert!(world.hosts.iter().all(|host| host.own().votes.is_empty()), "the votes are settled");
}

#[test]
fn a_minority_takes_nothing_and_a_cut_off_owner_gets_nothing_back() {
    let mut world = fabric(5);
    live(&mut world, &[0, 1], 100);
    assert_eq!(owned(&world, 0, 2), [2, 7]);
    world.want(0, 5);
    live(&mut world, &[0, 1], 10);
    assert!(!world.may_use(0, 5), "its witnesses are a minority");
    live(&mut world, &[0, 1, 2], 10);
    assert!(world.may_use(0, 5));
}

#[test]
fn an_owner_that_comes_back_before_enough_have_voted_keeps_everything() {
    let mut world = fabric(5);
    live(&mut world, &[0, 1, 3, 4], 5);
    // Only one of four witnesses has had enough.
    world.hosts[1].seconds += LEASE.as_secs();
    world.hosts[1].alive.extend([0, 3, 4].map(id));
    world.tick(1);
    assert_eq!(world.hosts[1].own().votes.len(), 1);
    live(&mut world, &[0, 1, 2, 3, 4], 12);
    assert_eq!(owned(&world, 0, 2), [2, 7]);
    assert!(world.hosts.iter().all(|host| host.own().votes.is_empty()), "the vote is settled");
    world.want(2, 7);
    live(&mut world, &[0, 1, 2, 3, 4], 3);
    assert!(world.may_use(2, 7));
}

#[test]
fn of_two_nobody_takes_over_and_nobody_needs_word() {
    let mut world = fabric(2);
    live(&mut world, &[0], 200);
    assert_eq!(owned(&world, 0, 1).len(), 6);
    world.want(0, 4);
    assert!(world.may_use(0, 4));
}

#[test]
fn everything_of_a_forgotten_host_comes_back() {
    for hosts in [2, 3, 5] {
        let mut world = fabric(hosts);
        let rest: Vec<usize> = (0..hosts - 1).collect();
        world.forget(0, hosts - 1);
        live(&mut world, &rest, 6);
        for host in &rest {
            assert_eq!(owned(&world, *host, hosts - 1), [0_u8; 0], "of {hosts}");
        }
        assert!(world.may_use(0, u8::try_from(hosts - 1).unwrap()), "what was in use there too");
        assert!(
            world.hosts[..hosts - 1].iter().all(|host| host.own().roster.is_none()),
            "nothing is left to compare"
        );
    }
}

#[test]
fn a_forgotten_host_waits_for_all_that_may_have_its_gifts() {
    let mut world = fabric(4);
    world.want(3, 7);
    live(&mut world, &[0, 1, 2, 3], 3);
    world.give(3, 7, 2);
    // Host 2 has the gift, and the others have not heard of it.
    world.deliver(3, 2, 3);
    world.forget(0, 3);
    live(&mut world, &[0, 1], 200);
    assert_eq!(world.owner(0, 7), id(3), "host 2 may have got it");
    live(&mut world, &[0, 1, 2], 6);
    assert_eq!((world.owner(0, 7), world.owner(0, 11)), (id(2), id(0)));
}

#[test]
fn with_many_witnesses_forgotten_an_owner_is_free_again() {
    let mut world = fabric(5);
    [2, 3, 4].into_iter().for_each(|host| world.forget(0, host));
    live(&mut world, &[0, 1], 8);
    world.want(0, 5);
    live(&mut world, &[0, 1], 3);
    assert!(world.may_use(0, 5));
    assert_eq!(world.hosts[0].own().lease.as_ref().unwrap().witnesses, [id(1)]);
}

#[test]
fn a_taker_waits_for_the_newest_state_that_a_voter_holds() {
    let mut world = fabric(5);
    world.want(4, 9);
    for witness in [1, 2] {
        world.deliver(4, witness, 4);
    }
    (0..world.messages.len()).for_each(|which| world.receive(which, false));
    assert!(world.may_use(4, 9), "two of four witnesses hold the wish");
    // Host 0 hears of the votes, and not of the wish.
    for _ in 0..60 {
        world.hosts[..4].iter_mut().for_each(|host| {
            host.seconds += 20;
            host.alive = (0..4).map(id).filter(|other| *other != host.id).collect();
        });
        (0..4).for_each(|host| world.tick(host));
        (1..4).for_each(|voter| world.deliver(voter, 0, voter));
    }
    assert_eq!(world.hosts[0].own().votes.len(), 1);
    assert_eq!(world.owner(0, 9), id(4));
    world.deliver(1, 0, 4);
    world.tick(0);
    assert_eq!(world.owner(0, 9), id(4), "it was wanted back");
    assert_eq!(world.hosts[0].own().gifts.len(), 0, "the other one was in use");
}

#[test]
fn word_on_a_state_that_an_owner_has_lost_with_its_disk_does_not_count() {
    let mut world = fabric(5);
    world.back_up(4);
    // In the life that is lost, the wish was heard and given up again.
    world.want(4, 9);
    let (heard, now) = (world.hosts[4].own().version, world.hosts[4].now());
    for witness in [0, 1] {
        world.hosts[4].leases.seen(id(witness), heard, heard, now);
    }
    world.spare(4, 9);
    let lost = world.hosts[4].own().version;
    world.go_back(4);
    world.want(4, 9);
    let own = world.hosts[4].own().version;
    assert!(own == heard && own < lost, "the new life counts as the old one did");
    for witness in [0, 1, 2] {
        world.hosts[4].leases.seen(id(witness), lost, own, now);
    }
    assert!(!world.may_use(4, 9), "the witnesses hold a state in which the address is spare");
    for witness in [0, 1] {
        world.hosts[4].leases.seen(id(witness), own, own, now);
    }
    assert!(world.may_use(4, 9));
}
