//! Hosts behind NATs of every kind find each other through what others tell, within a stated time, or say that they
//! cannot. Each host runs the real `Tunnels`; NATs and WireGuard are models, the clock is virtual.
#![allow(clippy::unwrap_used, reason = "a model stops where it is wrong")]

mod net;
mod world;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use net::{Filtering, Mapping, Nat};
use shoal_plan::is_relayed;
use shoal_schema::{Fact, FactKey};
use shoal_tunnels::{Effect, Explanation, KeyPair, Status, Tunnels};
use shoal_types::{Moment, WallTime, WireGuardSecret};
use world::{PORT, RELAY_PORT, STEP, World, id, key, making};

use Filtering::EndpointIndependent as Unfiltered;
use Filtering::{AddressAndPortDependent as PortRestricted, AddressDependent as Restricted};
use Mapping::{AddressAndPortDependent as PerPeer, EndpointIndependent as OneForAll};

const FULL_CONE: (Mapping, Filtering) = (OneForAll, Unfiltered);
const RESTRICTED: (Mapping, Filtering) = (OneForAll, Restricted);
const PORT_RESTRICTED: (Mapping, Filtering) = (OneForAll, PortRestricted);
const SYMMETRIC: (Mapping, Filtering) = (PerPeer, PortRestricted);

/// What is promised for a pair that can meet.
const WITHIN: Duration = Duration::from_secs(15);

#[test]
fn pairs_that_can_meet_do_within_fifteen_seconds_of_joining() {
    let kinds = [FULL_CONE, RESTRICTED, PORT_RESTRICTED];
    for a in kinds {
        for b in kinds {
            let mut world = World::new(&[a, b]);
            let took = world.run_until_up(1, 2, WITHIN);
            assert!(took.is_some(), "{a:?} and {b:?} have no session after {WITHIN:?}");
            world.run(Duration::from_secs(1));
            assert_eq!(world.explained(1, 2), Explanation::Fine);
        }
    }
}

#[test]
fn a_symmetric_host_meets_those_that_let_its_address_in() {
    for other in [FULL_CONE, RESTRICTED] {
        for pair in [[SYMMETRIC, other], [other, SYMMETRIC]] {
            let mut world = World::new(&pair);
            assert!(world.run_until_up(1, 2, WITHIN).is_some(), "{pair:?}");
        }
    }
}

#[test]
fn pairs_that_cannot_meet_say_so_and_reach_the_public_host() {
    for pair in [[SYMMETRIC, SYMMETRIC], [SYMMETRIC, PORT_RESTRICTED]] {
        let mut world = World::new(&pair);
        assert_eq!(world.run_until_up(1, 2, Duration::from_secs(300)), None, "{pair:?}");
        for natted in [1, 2] {
            assert!(world.passes(natted, 0) && world.passes(0, natted), "{pair:?}");
        }
        assert_eq!(world.explained(1, 2), Explanation::NatBoth, "one observer cannot tell which kind it is");
        assert_eq!(world.explained(2, 1), Explanation::NatBoth);
    }
}

#[test]
fn pairs_that_cannot_meet_go_through_a_relay() {
    for pair in [[SYMMETRIC, SYMMETRIC], [SYMMETRIC, PORT_RESTRICTED]] {
        let mut world = World::new(&pair);
        world.relays = true;
        let took = world.run_until_up(1, 2, Duration::from_secs(30));
        assert!(took.is_some(), "{pair:?} have no session");
        for _ in 0..30 {
            world.run(Duration::from_secs(10));
            assert!(world.passes(1, 2) && world.passes(2, 1), "{pair:?}, {:?}", world.now);
            assert!(world.is_relayed(1, 2) && world.is_relayed(2, 1), "{pair:?}, {:?}", world.now);
        }
        assert!(!world.is_relayed(1, 0) && !world.is_relayed(0, 2), "{pair:?}");
        let told = world.hosts.iter().flat_map(|host| host.said.values());
        let places =
            told.filter_map(|fact| if let Fact::Sighting(it) = fact { Some(it.endpoint) } else { None });
        assert!(
            places.into_iter().all(|place| !is_relayed(place)),
            "a relay's place is nobody else's business"
        );
    }
}

#[test]
fn a_relayed_pair_meets_as_soon_as_it_can() {
    let mut world = World::new(&[SYMMETRIC, PORT_RESTRICTED]);
    world.relays = true;
    assert!(world.run_until_up(1, 2, Duration::from_secs(30)).is_some());
    world.run(Duration::from_secs(30));
    assert!(world.is_relayed(1, 2));
    // The host's router is replaced by one that maps alike for all.
    world.net.hosts[1].1 = Some(Nat::new(Ipv4Addr::new(198, 51, 100, 1), OneForAll, PortRestricted));
    let mut passed = true;
    for _ in 0..240 {
        world.run(STEP);
        passed &= world.passes(1, 2) && world.passes(2, 1);
    }
    assert!(!world.is_relayed(1, 2) && !world.is_relayed(2, 1), "still relayed after a minute");
    assert!(passed, "the change of ways lost packets");
}

#[test]
fn pairs_that_can_meet_do_not_stay_with_a_relay() {
    let kinds = [FULL_CONE, RESTRICTED, PORT_RESTRICTED];
    for a in kinds {
        for b in kinds {
            let mut world = World::new(&[a, b]);
            world.relays = true;
            assert!(world.run_until_up(1, 2, WITHIN).is_some(), "{a:?} and {b:?}");
            world.run(Duration::from_secs(60));
            assert!(!world.is_relayed(1, 2) && !world.is_relayed(2, 1), "{a:?} and {b:?}");
        }
    }
}

#[test]
fn two_observers_tell_a_symmetric_nat_from_others() {
    // The first pair meets, so the third host has two observers.
    let mut world = World::new(&[SYMMETRIC, FULL_CONE, PORT_RESTRICTED]);
    world.run(Duration::from_secs(60));
    assert_eq!(world.hosts[3].tunnels.nat(id(1)), shoal_tunnels::Nat::PerPeer);
    assert_eq!(world.hosts[1].tunnels.nat(id(3)), shoal_tunnels::Nat::Steady);
    assert_eq!(world.explained(3, 1), Explanation::NatPerPeer);
    assert_eq!(world.explained(1, 3), Explanation::NatPerPeer);
}

#[test]
fn only_hosts_behind_nat_keep_alive_and_public_ones_do_not() {
    let mut world = World::new(&[PORT_RESTRICTED, PORT_RESTRICTED]);
    world.run(Duration::from_secs(60));
    assert_eq!(world.hosts[1].peers[&0].keepalive, Some(25));
    assert_eq!(world.hosts[1].peers[&2].keepalive, Some(25));
    assert_eq!(world.hosts[0].peers[&1].keepalive, None);
    let mut world = World::new(&[]);
    world.run(Duration::from_secs(5));
    assert!(world.hosts[0].tunnels.nat(id(0)) == shoal_tunnels::Nat::None);
}

#[test]
fn sessions_without_traffic_stay_open_through_keepalives() {
    let mut world = World::new(&[PORT_RESTRICTED, PORT_RESTRICTED]);
    assert!(world.run_until_up(1, 2, WITHIN).is_some());
    world.traffic.clear();
    for _ in 0..60 {
        world.run(Duration::from_secs(10));
        assert!(world.passes(1, 2) && world.passes(2, 1) && world.passes(0, 1), "{:?}", world.now);
    }
}

#[test]
fn a_nat_that_forgets_is_passed_again() {
    // The mapping changes with the restart: other ports than before.
    let mut world = World::new(&[PORT_RESTRICTED, PORT_RESTRICTED]);
    world.run(Duration::from_secs(60));
    world.net.hosts[1].1.as_mut().unwrap().forget();
    world.run(Duration::from_secs(1));
    let took = world.run_until_up(1, 2, Duration::from_secs(15));
    assert!(took.is_some(), "no way through after {WITHIN:?}");
    assert!(world.passes(0, 1));
}

#[test]
fn a_host_that_moves_to_another_nat_is_met_again() {
    let mut world = World::new(&[PORT_RESTRICTED, RESTRICTED]);
    world.run(Duration::from_secs(60));
    let inner: SocketAddr = "10.9.0.2:7375".parse().unwrap();
    let nat = Nat::new(Ipv4Addr::new(203, 0, 113, 9), OneForAll, PortRestricted);
    world.net.hosts[1] = (inner, Some(nat));
    // Its survey finds the new address, and the facts tell it.
    for host in 0..3 {
        world.hosts[host].tunnels.place(id(1), vec![inner.ip()]);
    }
    world.run(Duration::from_secs(1));
    assert!(world.run_until_up(1, 2, Duration::from_secs(15)).is_some());
    assert!(world.run_until_up(1, 0, Duration::from_secs(1)).is_some());
}

#[test]
fn a_public_host_that_moves_is_followed_by_one_that_only_sends() {
    let mut world = World::new(&[FULL_CONE]);
    world.run(Duration::from_secs(30));
    world.traffic = [(1, 0)].into();
    let address: SocketAddr = "192.0.2.77:7375".parse().unwrap();
    world.net.hosts[0].0 = address;
    for host in 0..2 {
        world.hosts[host].tunnels.place(id(0), vec![address.ip()]);
    }
    assert!(world.run_until_up(1, 0, Duration::from_secs(3)).is_some());
}

#[test]
fn sightings_are_few_change_rarely_and_go_with_their_cause() {
    let mut world = World::new(&[PORT_RESTRICTED, PORT_RESTRICTED]);
    world.run(Duration::from_secs(600));
    for host in &world.hosts {
        assert!(host.sightings_told <= 4, "told {} times", host.sightings_told);
        assert!(host.said.len() <= 2, "{:?}", host.said);
    }
    assert!(!world.hosts[0].said.is_empty());
    // The router in front of a host goes away: it is where it says it is.
    let now = world.now;
    let effects = world.hosts[0].tunnels.forget(id(1));
    assert_eq!(effects, [Effect::Withdraw(FactKey::sighting(id(1), 0))]);
    assert!(world.hosts[0].tunnels.nat(id(1)) == shoal_tunnels::Nat::None);
    world.hosts[0].tunnels.unlearn(id(2), 0);
    let effects = world.hosts[0].tunnels.observe(&BTreeMap::new(), now);
    assert!(effects.contains(&Effect::Withdraw(FactKey::sighting(id(2), 0))), "{effects:?}");
}

#[test]
fn a_lie_moves_no_session_that_is_heard() {
    let mut world = World::new(&[PORT_RESTRICTED, PORT_RESTRICTED]);
    world.run(Duration::from_secs(60));
    let before = world.hosts[2].peers[&1].endpoint;
    let truth = world.hosts[0].said.values().find_map(|fact| match fact {
        Fact::Sighting(sighting) if sighting.host == id(1) => Some(sighting.clone()),
        _ => None,
    });
    let truth = truth.unwrap();
    assert_eq!(Some(truth.endpoint), before);
    for round in 0..20_u16 {
        let lie = SocketAddr::new(Ipv4Addr::new(203, 0, 113, 66).into(), 1000 + round);
        let now = world.now;
        world.hosts[2].tunnels.sight(id(77), &truth, now);
        let lying = shoal_schema::SightingFact { endpoint: lie, ..truth.clone() };
        world.hosts[2].tunnels.sight(id(77), &lying, now);
        world.run(Duration::from_secs(3));
        assert_eq!(world.hosts[2].peers[&1].endpoint, before, "round {round}");
    }
}

#[test]
fn of_many_observers_four_tell() {
    let mut tunnels = Tunnels::new(id(9), RELAY_PORT);
    let keys = KeyPair { secret: WireGuardSecret::new([9; 32]), key: key(9) };
    tunnels.begin(keys, making(), None, Moment::ZERO, WallTime::from_millis(0));
    let natted =
        shoal_schema::TunnelFact { generation: 0, key: key(50), port: PORT, serving: true, preshared: false };
    tunnels.learn(id(50), natted);
    tunnels.place(id(50), vec![Ipv4Addr::new(10, 0, 0, 1).into()]);
    let endpoint: SocketAddr = "198.51.100.1:40001".parse().unwrap();
    let status = |seconds: u64| {
        let status = Status {
            handshake: Some(Duration::ZERO),
            endpoint: Some(endpoint),
            received_bytes: seconds + 1,
            sent_bytes: seconds + 1,
        };
        (BTreeMap::from([((0, key(50)), status)]), Moment::ZERO + Duration::from_secs(seconds))
    };
    let observe = |tunnels: &mut Tunnels, seconds| {
        let (statuses, now) = status(seconds);
        let effects = tunnels.observe(&statuses, now);
        let sights = effects.iter().filter(|effect| matches!(effect, Effect::Sight(_))).count();
        let withdraws = effects.iter().filter(|effect| matches!(effect, Effect::Withdraw(_))).count();
        (sights, withdraws)
    };
    assert_eq!(observe(&mut tunnels, 1), (1, 0), "nobody else has told");
    let sighting = shoal_schema::SightingFact { host: id(50), generation: 0, endpoint };
    for observer in 0..3 {
        tunnels.sight(id(observer), &sighting, Moment::ZERO);
        assert_eq!(observe(&mut tunnels, 2), (0, 0));
    }
    tunnels.sight(id(3), &sighting, Moment::ZERO);
    assert_eq!(observe(&mut tunnels, 3), (0, 1), "four lower hosts tell");
    assert_eq!(observe(&mut tunnels, 20), (0, 0));
    assert!(tunnels.unsight(id(0), id(50), 0));
    assert_eq!(observe(&mut tunnels, 30), (1, 0), "one of the four is gone");
}
