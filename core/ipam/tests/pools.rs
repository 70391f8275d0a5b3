//! One host and its pools, case by case.

#![allow(clippy::unwrap_used, reason = "a test panics when what it needs is absent")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use common::{NETWORK, POOL, at, host, ip, spec, spec_with};
use shoal_ipam::{AllocateError, Ask, Ipam, LocalUse, Notice, Refused, Want, derived_prefix};
use shoal_schema::{GiftFact, Subnet};
use shoal_types::{HostId, PoolIndex};

fn ipam(me: u8, prefix: &str, gateway: &str, known: u8) -> Ipam {
    let mut ipam = Ipam::new(host(me));
    assert_eq!(ipam.network(NETWORK, &spec(prefix, gateway, known)), []);
    ipam
}

fn next(ipam: &mut Ipam, seconds: u64) -> Result<IpAddr, AllocateError> {
    ipam.allocate(NETWORK, POOL, None, at(seconds))
}

fn wish(ipam: &mut Ipam, address: &str) -> Result<IpAddr, AllocateError> {
    ipam.allocate(NETWORK, POOL, Some(ip(address)), at(0))
}

fn gift(first: &str, last: &str, to: u8, epoch: u32) -> GiftFact {
    GiftFact {
        network: NETWORK,
        pool: POOL,
        first: ip(first),
        last: ip(last),
        to: host(to),
        from: None,
        epoch,
    }
}

fn run(count: u32, waiting: bool) -> Want {
    Want::Run { count, waiting }
}

#[test]
fn addresses_are_chosen_in_rotation_and_never_the_kept_ones() {
    let mut ipam = ipam(1, "10.64.0.0/29", "10.64.0.1", 1);
    let found: Vec<_> = (0..5).map(|_| next(&mut ipam, 0).unwrap().to_string()).collect();
    assert_eq!(found, ["10.64.0.2", "10.64.0.3", "10.64.0.4", "10.64.0.5", "10.64.0.6"]);
    let full = next(&mut ipam, 0).unwrap_err();
    assert_eq!(
        full.to_string(),
        "no free address in 10.64.0.0/29: all 5 are in use; remove containers or make a network with a larger subnet"
    );
}

#[test]
fn a_full_pool_says_who_has_the_addresses() {
    let full = |owned, resting, total| {
        let prefix = "10.64.0.0/24".parse().unwrap();
        AllocateError::Full { prefix, owned, resting, total }.to_string()
    };
    assert_eq!(
        full(0, 0, 0),
        "10.64.0.0/24 has no address for a container: make a network with a larger subnet"
    );
    assert_eq!(
        full(0, 0, 253),
        "no free address in 10.64.0.0/24: this host has none, and the other hosts need theirs; remove containers or make a \
         network with a larger subnet"
    );
    assert_eq!(
        full(3, 1, 253),
        "no free address in 10.64.0.0/24: the 3 of this host are in use (1 of them rest for up to 30 seconds after use), \
         and the other hosts need their 250; remove containers or make a network with a larger subnet"
    );
}

#[test]
fn a_released_address_rests_but_is_given_to_whoever_wishes_for_it() {
    let mut ipam = ipam(1, "10.64.0.0/30", "10.64.0.1", 1);
    let address = next(&mut ipam, 0).unwrap();
    assert!(ipam.release(NETWORK, POOL, address, at(10)));
    assert!(!ipam.release(NETWORK, POOL, address, at(10)));
    assert!(matches!(next(&mut ipam, 39), Err(AllocateError::Full { owned: 1, resting: 1, .. })));
    assert_eq!(ipam.allocate(NETWORK, POOL, Some(address), at(39)), Ok(address));
    assert!(ipam.release(NETWORK, POOL, address, at(40)));
    assert_eq!(next(&mut ipam, 70), Ok(address));
}

#[test]
fn the_rotation_goes_on_behind_restored_addresses_and_round_the_end() {
    let mut ipam = ipam(1, "10.64.0.0/29", "10.64.0.1", 1);
    assert_eq!(ipam.restore(NETWORK, POOL, ip("10.64.0.5")), Ok(true));
    assert_eq!(next(&mut ipam, 0), Ok(ip("10.64.0.6")));
    assert_eq!(next(&mut ipam, 0), Ok(ip("10.64.0.2")));
    assert_eq!(ipam.used(NETWORK, POOL), [ip("10.64.0.2"), ip("10.64.0.5"), ip("10.64.0.6")]);
}

#[test]
fn every_wish_that_cannot_be_met_is_refused_by_name() {
    let mut subnet = spec("10.64.0.0/24", "10.64.0.1", 2).subnets.remove(0);
    subnet.reserved = BTreeMap::from([("router".to_owned(), ip("10.64.0.9"))]);
    let mut ipam = Ipam::new(host(1));
    ipam.network(NETWORK, &spec_with(subnet, 2));
    let prefix = "10.64.0.0/24".parse().unwrap();
    let address = ip;
    assert_eq!(wish(&mut ipam, "10.64.0.7"), Ok(ip("10.64.0.7")));
    let cases = [
        ("10.64.1.0", AllocateError::OutsidePool { address: address("10.64.1.0"), prefix }),
        ("fd00::1", AllocateError::OutsidePool { address: address("fd00::1"), prefix }),
        ("10.64.0.0", AllocateError::NetworkAddress { address: address("10.64.0.0"), prefix }),
        ("10.64.0.255", AllocateError::BroadcastAddress { address: address("10.64.0.255"), prefix }),
        ("10.64.0.1", AllocateError::IsGateway { address: address("10.64.0.1") }),
        ("10.64.0.9", AllocateError::IsReserved { address: address("10.64.0.9"), name: "router".to_owned() }),
        ("10.64.0.7", AllocateError::Taken { address: address("10.64.0.7") }),
        ("10.64.0.254", AllocateError::OwnedBy { address: address("10.64.0.254"), owner: host(2) }),
    ];
    for (text, error) in cases {
        assert_eq!(wish(&mut ipam, text), Err(error), "{text}");
    }
    assert_eq!(ipam.allocate(NETWORK, PoolIndex(1), None, at(0)), Err(AllocateError::UnknownPool));
}

#[test]
fn a_pool_of_one_or_two_addresses_says_that_it_is_full() {
    let mut pair = ipam(1, "10.64.0.0/31", "10.64.0.0", 3);
    assert_eq!(next(&mut pair, 0), Ok(ip("10.64.0.1")));
    assert!(matches!(next(&mut pair, 0), Err(AllocateError::Full { owned: 1, total: 1, .. })));
    let mut single = ipam(1, "10.64.0.0/32", "10.64.0.0", 3);
    assert!(matches!(next(&mut single, 0), Err(AllocateError::Full { owned: 0, total: 0, .. })));
    assert_eq!(single.needs(at(0)), []);
}

#[test]
fn outside_the_dynamic_part_addresses_are_given_by_wish_only() {
    let mut subnet = spec("10.64.0.0/24", "10.64.0.1", 1).subnets.remove(0);
    subnet.dynamic = Some("10.64.0.128/30".parse().unwrap());
    let mut ipam = Ipam::new(host(1));
    ipam.network(NETWORK, &spec_with(subnet, 1));
    for last in 128..132 {
        assert_eq!(next(&mut ipam, 0), Ok(ip(&format!("10.64.0.{last}"))));
    }
    assert!(matches!(next(&mut ipam, 0), Err(AllocateError::Full { owned: 4, total: 4, .. })));
    assert_eq!(wish(&mut ipam, "10.64.0.5"), Ok(ip("10.64.0.5")));
}

#[test]
fn a_host_that_joined_later_asks_the_largest_owner_and_goes_on_with_what_it_gets() {
    let mut late = ipam(9, "10.64.0.0/24", "10.64.0.1", 3);
    let mut creator = ipam(1, "10.64.0.0/24", "10.64.0.1", 3);
    assert_eq!(
        next(&mut late, 0).unwrap_err().to_string(),
        "this host has no free addresses of 10.64.0.0/24 yet and is asking others for some: try again in a few seconds"
    );
    let ask = Ask { network: NETWORK, pool: POOL, from: host(1), want: run(4, true) };
    assert_eq!(late.needs(at(0)), [ask]);
    assert_eq!(late.needs(at(1)), [], "the answer is still due");
    let given = creator.give(NETWORK, POOL, host(9), run(4, true), at(1)).unwrap();
    assert_eq!(given, gift("10.64.0.124", "10.64.0.127", 9, 1));
    assert_eq!(
        wish(&mut creator, "10.64.0.125"),
        Err(AllocateError::OwnedBy { address: ip("10.64.0.125"), owner: host(9) })
    );
    assert_eq!(late.gift(host(1), &given), []);
    assert_eq!(next(&mut late, 1), Ok(ip("10.64.0.124")));
}

#[test]
fn an_owner_that_refuses_or_is_silent_is_passed_over() {
    let mut late = ipam(9, "10.64.0.0/24", "10.64.0.1", 3);
    let asked = |late: &mut Ipam, seconds| late.needs(at(seconds)).first().map(|ask| ask.from);
    assert_eq!(asked(&mut late, 0), Some(host(1)));
    assert_eq!(asked(&mut late, 3), Some(host(2)), "host 1 did not answer");
    late.refused(NETWORK, POOL, host(2), at(4));
    assert_eq!(asked(&mut late, 4), Some(host(3)));
    late.refused(NETWORK, POOL, host(3), at(4));
    assert_eq!(asked(&mut late, 4), None);
    assert!(matches!(next(&mut late, 4), Err(AllocateError::NoRangeYet { .. })));
    for owner in [host(2), host(3)] {
        assert_eq!(asked(&mut late, 4), Some(owner), "a container waits for its last ones");
        late.refused(NETWORK, POOL, owner, at(4));
    }
    assert!(matches!(next(&mut late, 4), Err(AllocateError::Full { owned: 0, total: 253, .. })));
    assert_eq!(asked(&mut late, 23), Some(host(1)), "the refusal is forgotten");
}

#[test]
fn an_owner_gives_half_of_what_is_free_and_keeps_what_it_needs() {
    let mut owner = ipam(1, "10.64.0.0/28", "10.64.0.1", 1);
    for _ in 0..5 {
        next(&mut owner, 0).unwrap();
    }
    // 13 usable, 8 free, mark 3.
    let given = owner.give(NETWORK, POOL, host(2), run(100, false), at(0)).unwrap();
    assert_eq!(given, gift("10.64.0.11", "10.64.0.14", 2, 1));
    let given = owner.give(NETWORK, POOL, host(2), run(1, false), at(0)).unwrap();
    assert_eq!(given, gift("10.64.0.10", "10.64.0.10", 2, 1));
    let refused = owner.give(NETWORK, POOL, host(2), run(100, false), at(0)).unwrap();
    assert_eq!(refused.first, ip("10.64.0.9"));
    let nothing = Refused::NothingToSpare { prefix: "10.64.0.0/28".parse().unwrap() };
    assert_eq!(owner.give(NETWORK, POOL, host(2), run(100, false), at(0)), Err(nothing.clone()));
    assert!(owner.give(NETWORK, POOL, host(2), run(100, true), at(0)).is_ok(), "a container waits");
    assert!(owner.give(NETWORK, POOL, host(2), run(100, true), at(0)).is_ok(), "the last one");
    assert_eq!(owner.give(NETWORK, POOL, host(2), run(100, true), at(0)), Err(nothing));
}

#[test]
fn an_exact_address_is_given_unless_it_is_used_or_kept() {
    let mut owner = ipam(1, "10.64.0.0/28", "10.64.0.1", 1);
    let used = next(&mut owner, 0).unwrap();
    let rested = next(&mut owner, 0).unwrap();
    owner.release(NETWORK, POOL, rested, at(0));
    let mut give = |address, to| owner.give(NETWORK, POOL, host(to), Want::Address(address), at(0));
    assert_eq!(give(used, 2), Err(Refused::InUse { address: used }));
    assert_eq!(give(rested, 2).map(|gift| (gift.first, gift.last)), Ok((rested, rested)));
    assert_eq!(give(rested, 3), Err(Refused::NotOwner { address: rested, owner: Some(host(2)) }));
    assert_eq!(give(ip("10.64.0.1"), 2), Err(Refused::Kept { address: ip("10.64.0.1") }));
    assert_eq!(give(ip("10.65.0.1"), 2), Err(Refused::NotOwner { address: ip("10.65.0.1"), owner: None }));
    assert_eq!(give(ip("10.64.0.9"), 1), Err(Refused::ToItself));
}

#[test]
fn a_gift_outlives_the_next_gift_of_a_part_of_it() {
    let mut owner = ipam(1, "10.64.0.0/28", "10.64.0.1", 1);
    let first = gift("10.64.0.8", "10.64.0.11", 2, 1);
    owner.gift(host(1), &first);
    owner.gift(host(2), &gift("10.64.0.8", "10.64.0.8", 1, 2));
    let part = owner.give(NETWORK, POOL, host(3), Want::Address(ip("10.64.0.8")), at(0)).unwrap();
    assert_eq!(part, gift("10.64.0.8", "10.64.0.8", 3, 3));
    assert_eq!(owner.obsolete_gifts(NETWORK, POOL), []);
    owner.gift(host(2), &gift("10.64.0.9", "10.64.0.11", 1, 2));
    for last in 9..=11 {
        let address = Want::Address(ip(&format!("10.64.0.{last}")));
        owner.give(NETWORK, POOL, host(3), address, at(0)).unwrap();
    }
    assert_eq!(owner.obsolete_gifts(NETWORK, POOL), [first]);
}

#[test]
fn gifts_may_arrive_before_their_network() {
    let mut ipam = Ipam::new(host(3));
    assert_eq!(ipam.gift(host(1), &gift("10.64.0.8", "10.64.0.11", 3, 1)), []);
    ipam.network(NETWORK, &spec("10.64.0.0/28", "10.64.0.1", 1));
    assert_eq!(next(&mut ipam, 0), Ok(ip("10.64.0.8")));
    ipam.remove_network(NETWORK);
    assert_eq!(next(&mut ipam, 0), Err(AllocateError::UnknownPool));
}

#[test]
fn a_network_that_comes_back_knows_what_was_given() {
    let spec = spec("10.64.0.0/28", "10.64.0.1", 1);
    let mut owner = Ipam::new(host(1));
    owner.network(NETWORK, &spec);
    let given = owner.give(NETWORK, POOL, host(2), run(4, false), at(0)).unwrap();
    owner.remove_network(NETWORK);
    owner.remove_network(NETWORK);
    assert_eq!(owner.gift(host(2), &gift("10.64.0.2", "10.64.0.2", 3, 9)), []);
    assert!(owner.network(NETWORK, &spec).len() <= 1);
    assert_eq!(owner.owner_of(NETWORK, POOL, given.first), Some(host(2)));
    assert_eq!(owner.owner_of(NETWORK, POOL, ip("10.64.0.2")), Some(host(3)));
}

#[test]
fn a_run_that_others_gave_away_is_lost_and_reported_while_containers_keep_their_addresses() {
    let mut ipam = ipam(1, "10.64.0.0/28", "10.64.0.1", 1);
    let address = next(&mut ipam, 0).unwrap();
    let lie = gift("10.64.0.0", "10.64.0.15", 5, u32::MAX);
    let lost = Notice::Lost {
        network: NETWORK,
        pool: POOL,
        first: ip("10.64.0.0"),
        last: ip("10.64.0.15"),
        author: host(4),
        to: host(5),
    };
    assert_eq!(ipam.gift(host(4), &lie), [lost]);
    assert!(matches!(next(&mut ipam, 0), Err(AllocateError::NoRangeYet { .. })));
    let mine = ipam.holders(at(0)).into_iter().find(|holding| holding.host == host(1)).unwrap();
    assert_eq!(mine.local, Some(LocalUse { used: 1, not_owned: 1, resting: 0 }));
    assert_eq!(ipam.used(NETWORK, POOL), [address]);
}

#[test]
fn a_run_with_the_highest_epoch_cannot_be_given_but_nothing_breaks() {
    let mut ipam = ipam(1, "10.64.0.0/28", "10.64.0.1", 1);
    ipam.gift(host(4), &gift("10.64.0.0", "10.64.0.15", 1, u32::MAX));
    assert_eq!(ipam.give(NETWORK, POOL, host(2), run(4, false), at(0)), Err(Refused::EpochsUsedUp));
}

#[test]
fn an_edit_can_change_neither_prefix_nor_grants() {
    let mut ipam = ipam(1, "10.64.0.0/28", "10.64.0.1", 1);
    let notices = ipam.network(NETWORK, &spec("10.65.0.0/28", "10.65.0.1", 1));
    assert!(matches!(notices[..], [Notice::PrefixChanged { .. }]));
    let mut edit = spec("10.64.0.0/28", "10.64.0.1", 1);
    edit.grants[0].to = host(0);
    let notices = ipam.network(NETWORK, &edit);
    assert!(
        matches!(notices[..], [Notice::Clash { kept, ignored, .. }] if kept == host(1) && ignored == host(0))
    );
    assert!(next(&mut ipam, 0).is_ok());
}

#[test]
fn gifts_of_the_wrong_family_or_outside_the_subnet_count_for_nothing() {
    let mut ipam = ipam(1, "10.64.0.0/28", "10.64.0.1", 1);
    for (first, last) in [("fd00::", "fd00::ff"), ("::", "ffff::"), ("10.65.0.0", "10.65.0.9")] {
        assert_eq!(ipam.gift(host(2), &gift(first, last, 2, 1)), []);
    }
    assert_eq!(ipam.holders(at(0)).len(), 1);
    ipam.gift(host(2), &gift("0.0.0.0", "255.255.255.255", 2, 1));
    assert_eq!(ipam.owner_of(NETWORK, POOL, ip("10.64.0.3")), Some(host(2)));
}

fn large(dynamic: Option<&str>) -> Subnet {
    Subnet {
        prefix: "fd00::/64".parse().unwrap(),
        gateway: ip("fd00::1"),
        dynamic: dynamic.map(|dynamic| dynamic.parse().unwrap()),
        reserved: BTreeMap::new(),
    }
}

#[test]
fn in_a_large_ipv6_pool_every_host_has_addresses_without_asking() {
    let mut ipam = Ipam::new(host(0xab));
    ipam.network(NETWORK, &spec_with(large(None), 2));
    assert_eq!(next(&mut ipam, 0), Ok(ip("fd00::abab:abab:ab00:1")));
    assert_eq!(next(&mut ipam, 0), Ok(ip("fd00::abab:abab:ab00:2")));
    assert_eq!(ipam.needs(at(0)), []);
    assert_eq!(wish(&mut ipam, "fd00::abab:abab:ab12:34"), Ok(ip("fd00::abab:abab:ab12:34")));
    assert_eq!(ipam.restore(NETWORK, POOL, ip("fd00::abab:abab:ab00:7")), Ok(true));
}

#[test]
fn typed_ipv6_addresses_have_owners_and_all_else_is_refused_in_a_sentence() {
    let mut creator = Ipam::new(host(1));
    creator.network(NETWORK, &spec_with(large(None), 2));
    assert_eq!(wish(&mut creator, "fd00::10"), Ok(ip("fd00::10")));
    assert_eq!(wish(&mut creator, "fd00::10"), Err(AllocateError::Taken { address: ip("fd00::10") }));
    let mut other = Ipam::new(host(3));
    other.network(NETWORK, &spec_with(large(None), 2));
    assert_eq!(
        wish(&mut other, "fd00::10"),
        Err(AllocateError::OwnedBy { address: ip("fd00::10"), owner: host(1) })
    );
    let ask = other.ask_for(NETWORK, POOL, ip("fd00::11")).unwrap();
    let given = creator.give(NETWORK, POOL, host(3), ask.want, at(0)).unwrap();
    other.gift(host(1), &given);
    assert_eq!(wish(&mut other, "fd00::11"), Ok(ip("fd00::11")));
    assert!(matches!(wish(&mut other, "fd00::"), Err(AllocateError::NetworkAddress { .. })));
    assert_eq!(
        wish(&mut other, "fd00::101:101:100:1").unwrap_err().to_string(),
        "fd00::101:101:100:1 cannot be used on this host: in fd00::/64 choose an address from fd00::1 to fd00::ff:ffff or \
         from fd00::303:303:300:1 to fd00::303:303:3ff:ffff"
    );
}

#[test]
fn a_dynamic_part_among_the_typed_addresses_is_shared_by_ranges() {
    let mut late = Ipam::new(host(9));
    late.network(NETWORK, &spec_with(large(Some("fd00::1:0/112")), 2));
    assert!(matches!(next(&mut late, 0), Err(AllocateError::NoRangeYet { .. })));
    assert_eq!(late.needs(at(0)).len(), 1);
}

#[test]
fn a_collision_of_derived_ranges_moves_the_greater_id() {
    let (mut low, mut high) = ([7; 16], [7; 16]);
    (low[15], high[15]) = (1, 2);
    let (low, high) = (HostId::new(low), HostId::new(high));
    assert_eq!(derived_prefix(low, 0), derived_prefix(high, 0));
    let mut ipam = Ipam::new(high);
    ipam.network(NETWORK, &spec_with(large(None), 2));
    let before = next(&mut ipam, 0).unwrap();
    ipam.hosts(&BTreeSet::from([low, high]));
    let after = next(&mut ipam, 0).unwrap();
    assert_ne!(before.to_string()[..18], after.to_string()[..18]);
    assert_eq!(ipam.used(NETWORK, POOL).len(), 2, "what was handed out stays");
}

#[test]
fn holders_lists_every_owner_with_its_runs() {
    let mut ipam = ipam(1, "10.64.0.0/28", "10.64.0.1", 3);
    let address = next(&mut ipam, 0).unwrap();
    next(&mut ipam, 0).unwrap();
    ipam.release(NETWORK, POOL, address, at(0));
    let holders = ipam.holders(at(1));
    let runs: Vec<_> = holders.iter().map(|h| (h.host, h.runs.clone(), h.owned, h.local)).collect();
    assert_eq!(
        runs,
        [
            (
                host(1),
                vec![(ip("10.64.0.0"), ip("10.64.0.7"))],
                6,
                Some(LocalUse { used: 1, not_owned: 0, resting: 1 })
            ),
            (host(2), vec![(ip("10.64.0.8"), ip("10.64.0.11"))], 4, None),
            (host(3), vec![(ip("10.64.0.12"), ip("10.64.0.15"))], 3, None),
        ]
    );
}
