use std::net::IpAddr;

use shoal_plan::Backend;
use shoal_types::{WireGuardKey, WireGuardSecret};

use super::*;

const RELAY_PORT: u16 = 7377;

const DAY: Duration = Duration::from_secs(86_400);

fn host(number: u8) -> HostId {
    HostId::new([number; 16])
}

fn keys(number: u8) -> KeyPair {
    KeyPair { secret: WireGuardSecret::new([number; 32]), key: WireGuardKey::new([number + 100; 32]) }
}

fn making() -> Making {
    Making { backend: Backend::Kernel, port: 7375, software: None }
}

fn at(seconds: u64) -> Moment {
    Moment::ZERO + Duration::from_secs(seconds)
}

fn wall(seconds: u64) -> WallTime {
    WallTime::from_millis(1_000_000_000 + seconds * 1000)
}

/// A host with one serving end, and another host whose serving end it knows.
fn pair() -> Tunnels {
    let mut tunnels = Tunnels::new(host(1), RELAY_PORT);
    assert_eq!(tick(&mut tunnels, 0), [Effect::DrawKeys]);
    assert!(tick(&mut tunnels, 0).is_empty(), "keys are drawn once");
    tunnels.begin(keys(0), making(), None, at(0), wall(0));
    tunnels.learn(
        host(2),
        TunnelFact { generation: 5, key: keys(50).key, port: 7376, serving: true, preshared: false },
    );
    tunnels
}

fn tick(tunnels: &mut Tunnels, seconds: u64) -> Vec<Effect> {
    let alive = [host(2)].into();
    tunnels.tick(&alive, &making(), KEY_LIFETIME, at(seconds), wall(seconds))
}

/// Handshakes of our generations with the other host, just now.
fn shake(tunnels: &mut Tunnels, generations: &[u32], seconds: u64) {
    let status = Status { handshake: Some(Duration::ZERO), sent_bytes: seconds * 100, ..Status::default() };
    let statuses = generations.iter().map(|own| ((*own, keys(50).key), status.clone())).collect();
    tunnels.observe(&statuses, at(seconds));
}

fn published(effects: &[Effect]) -> Vec<(u32, bool)> {
    let facts = effects.iter().filter_map(|effect| match effect {
        Effect::Publish(fact) => Some((fact.generation, fact.serving)),
        _ => None,
    });
    facts.collect()
}

#[test]
fn the_first_end_serves_at_once_and_the_next_ones_only_when_they_are_reached() {
    let mut tunnels = pair();
    shake(&mut tunnels, &[0], 1);
    tunnels.rotate().unwrap();
    assert!(tunnels.rotate().is_err(), "one change at a time");
    assert_eq!(tick(&mut tunnels, 2), [Effect::DrawKeys]);
    let begun = tunnels.begin(keys(1), making(), None, at(2), wall(2));
    assert_eq!(published(&begun), [(1, false)]);
    shake(&mut tunnels, &[0], 10);
    assert!(tick(&mut tunnels, 10).is_empty(), "host 2 has not reached the new end");
    assert_eq!(tunnels.serving().unwrap().generation, 0);

    shake(&mut tunnels, &[0, 1], 12);
    assert_eq!(published(&tick(&mut tunnels, 12)), [(1, true), (0, false)]);
    assert_eq!(tunnels.serving().unwrap().generation, 1);
    assert!(tick(&mut tunnels, 71).is_empty());
    let ended = tick(&mut tunnels, 72);
    assert!(ended.contains(&Effect::Withdraw(FactKey::tunnel(0))), "{ended:?}");
    assert_eq!(tunnels.own().count(), 1);
}

#[test]
fn a_new_end_that_somebody_cannot_reach_is_given_up_and_the_host_named() {
    let mut tunnels = pair();
    tunnels.rotate().unwrap();
    tick(&mut tunnels, 2);
    tunnels.begin(keys(1), making(), None, at(2), wall(2));
    let mut told = Vec::new();
    for seconds in (3..700).step_by(10) {
        shake(&mut tunnels, &[0], seconds);
        told.extend(tick(&mut tunnels, seconds));
    }
    let notices: Vec<_> = told.iter().filter(|effect| matches!(effect, Effect::Notice(_))).collect();
    assert_eq!(notices.len(), 1, "{told:?}");
    assert!(format!("{notices:?}").contains("UDP port 7376"), "{notices:?}");
    assert_eq!(tunnels.serving().unwrap().generation, 0);
}

#[test]
fn a_host_that_never_talked_to_the_old_end_does_not_hold_the_new_one_up() {
    let mut tunnels = pair();
    tunnels.rotate().unwrap();
    tick(&mut tunnels, 2);
    tunnels.begin(keys(1), making(), None, at(2), wall(2));
    assert_eq!(published(&tick(&mut tunnels, 6)), [(1, true), (0, false)]);
}

#[test]
fn keys_change_with_age_port_and_software() {
    let table = [
        (making(), 0, false),
        (making(), 7, true),
        (Making { port: 9000, ..making() }, 0, true),
        (Making { backend: Backend::UserSpace, ..making() }, 0, true),
    ];
    for (making, days, changes) in table {
        let mut tunnels = pair();
        let later = wall(0) + DAY * days;
        let effects = tunnels.tick(&BTreeSet::new(), &making, KEY_LIFETIME, at(5), later);
        assert_eq!(effects.contains(&Effect::DrawKeys), changes, "{making:?} after {days} days");
    }
}

#[test]
fn ends_survive_a_restart_and_their_facts_with_them() {
    let mut tunnels = Tunnels::new(host(1), RELAY_PORT);
    let effects = tunnels.begin(keys(3), making(), None, at(0), wall(0));
    let records: Vec<(Vec<u8>, Vec<u8>)> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Save(key, value) => Some((key.clone(), value.clone()?)),
            _ => None,
        })
        .collect();
    let mut again = Tunnels::new(host(1), RELAY_PORT);
    again.restore(records.iter().map(|(key, value)| (key.as_slice(), value.as_slice())), at(9));
    assert_eq!(again.facts(), tunnels.facts());
    assert_eq!(again.serving().unwrap().keys, keys(3));
}

#[test]
fn an_end_that_does_not_answer_is_looked_for_at_each_address_in_turn() {
    let mut tunnels = pair();
    let addresses: [IpAddr; 2] = [[192, 0, 2, 1].into(), [198, 51, 100, 1].into()];
    let sent = |bytes| Status { sent_bytes: bytes, ..Status::default() };
    let look = |tunnels: &Tunnels, seconds| {
        let end = &tunnels.of(host(2))[0];
        tunnels.endpoint(0, host(2), end, at(seconds))
    };
    assert!(tunnels.place(host(2), addresses.to_vec()));
    let read = |tunnels: &mut Tunnels, seconds, bytes| {
        let effects = tunnels.observe(&[((0, keys(50).key), sent(bytes))].into(), at(seconds));
        effects.contains(&Effect::ProjectSoon)
    };
    assert_eq!(look(&tunnels, 0), Some((addresses[0], 7376).into()));
    read(&mut tunnels, 0, 0);
    read(&mut tunnels, 30, 0);
    assert_eq!(
        look(&tunnels, 30),
        Some((addresses[0], 7376).into()),
        "nothing was sent, so nothing can be missed"
    );
    // Between two addresses the agents' way is tried.
    let relay = tunnels.relay_place(host(2), 5).unwrap();
    for (seconds, place) in [(31, relay), (38, (addresses[1], 7376).into()), (45, relay)] {
        assert!(read(&mut tunnels, seconds, seconds * 148));
        assert_eq!(look(&tunnels, seconds), Some(place));
    }
    assert!(read(&mut tunnels, 52, 52 * 148));
    assert_eq!(look(&tunnels, 52), Some((addresses[0], 7376).into()));
    shake(&mut tunnels, &[0], 53);
    assert_eq!(look(&tunnels, 54), None, "an end that is heard stays where it is");
    assert_eq!(look(&tunnels, 53 + 180), Some((addresses[0], 7376).into()));
}

#[test]
fn only_tunnels_to_live_hosts_are_worth_a_look_more_often() {
    let mut tunnels = pair();
    assert!(tunnels.is_unsettled(at(1)), "a live host's end that was never looked at");
    shake(&mut tunnels, &[0], 2);
    assert!(!tunnels.is_unsettled(at(3)));
    assert!(tunnels.is_unsettled(at(2 + 180)), "its session has ended");
    tunnels.tick(&BTreeSet::new(), &making(), KEY_LIFETIME, at(183), wall(183));
    assert!(!tunnels.is_unsettled(at(183)), "host 2 is down");
}

#[test]
fn of_two_ends_with_one_key_the_lower_host_has_it_and_a_clash_of_our_own_changes_keys() {
    let mut tunnels = pair();
    tunnels.learn(
        host(3),
        TunnelFact { generation: 0, key: keys(50).key, port: 7375, serving: true, preshared: false },
    );
    assert_eq!(tunnels.of(host(2)).len(), 1);
    assert!(tunnels.of(host(3)).is_empty());
    assert!(tunnels.unlearn(host(2), 5));
    assert_eq!(tunnels.of(host(3)).len(), 1);

    tunnels.learn(
        host(0),
        TunnelFact { generation: 0, key: keys(0).key, port: 7375, serving: true, preshared: false },
    );
    assert_eq!(tick(&mut tunnels, 5), [Effect::DrawKeys], "a lower host has our key");
}

#[test]
fn a_forgotten_host_has_no_end_left() {
    let mut tunnels = pair();
    shake(&mut tunnels, &[0], 1);
    assert!(tunnels.status(host(2), at(2)).is_some());
    tunnels.forget(host(2));
    assert!(tunnels.of(host(2)).is_empty());
    assert!(tunnels.status(host(2), at(2)).is_none());
    assert!(tunnels.claims.is_free(host(2), 5));
}
