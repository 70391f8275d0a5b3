//! Bytes of facts, there and back.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use shoal_types::{EndpointId, FabricId, HostId, IpNet, MacAddr, NetworkId, PoolIndex, Stamp, Vni, WallTime};
use shoal_types::{WireGuardKey, WireGuardSecret};

use super::{DecodeError, FactKey, FactKind, limit};
use crate::{
    Decision, EndpointFact, Fact, FactsVersion, ForgottenFact, GiftFact, Grant, HostFact, LeaseFact,
    NetworkFact, NetworkSpec, RosterFact, SecretFact, SightingFact, SpareFact, Subnet, Taken, TakenFact,
    TokenFact, TunnelFact, UseFact, VoteFact,
};

fn decoded(fact: &Fact) -> Result<Fact, DecodeError> {
    Fact::decode(fact.key().as_bytes(), &fact.encode())
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<Ipv4Addr>().prop_map(IpAddr::V4), any::<Ipv6Addr>().prop_map(IpAddr::V6)]
}

fn prefix() -> impl Strategy<Value = IpNet> {
    (address(), 0_u8..=128).prop_map(|(address, length)| {
        let max = if address.is_ipv4() { 32 } else { 128 };
        IpNet::new(address, length.min(max)).unwrap()
    })
}

fn host_id() -> impl Strategy<Value = HostId> {
    any::<[u8; 16]>().prop_map(HostId::new)
}

fn network_id() -> impl Strategy<Value = NetworkId> {
    any::<[u8; 16]>().prop_map(NetworkId::new)
}

fn endpoint_id() -> impl Strategy<Value = EndpointId> {
    "[0-9a-f]{64}".prop_map(|text| text.parse().unwrap())
}

fn wall() -> impl Strategy<Value = WallTime> {
    any::<u64>().prop_map(WallTime::from_millis)
}

fn words() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(".{0,20}", ".{0,20}", 0..5)
}

fn host_fact() -> impl Strategy<Value = Fact> {
    let ports = (any::<u16>(), any::<u16>(), any::<u16>());
    let parts = (any::<[u8; 16]>(), "[a-z0-9][a-z0-9.-]{0,60}", vec(address(), 1..=8), ports);
    (parts, ".{0,20}", vec(any::<u8>(), 0..=1024)).prop_map(
        |((fabric, name, addresses, ports), version, certificate)| {
            Fact::Host(HostFact {
                fabric: FabricId::new(fabric),
                name: name.parse().unwrap(),
                addresses,
                quic_port: ports.0,
                vxlan_port: ports.1,
                underlay_mtu: ports.2,
                version,
                certificate,
            })
        },
    )
}

fn taken_fact() -> impl Strategy<Value = Fact> {
    let taken = (prefix(), ".{0,40}").prop_map(|(prefix, by)| Taken { prefix, by });
    vec(taken, 0..10).prop_map(|prefixes| Fact::Taken(TakenFact { prefixes }))
}

fn endpoint_fact() -> impl Strategy<Value = Fact> {
    let addresses = (option::of(any::<Ipv4Addr>()), option::of(any::<Ipv6Addr>()));
    (network_id(), endpoint_id(), addresses, any::<[u8; 6]>(), option::of(".{0,40}")).prop_map(
        |(network, endpoint, (v4, v6), mac, container)| {
            Fact::Endpoint(EndpointFact { network, endpoint, v4, v6, mac: MacAddr::new(mac), container })
        },
    )
}

fn subnet() -> impl Strategy<Value = Subnet> {
    (prefix(), ".{0,10}", any::<bool>()).prop_map(|(prefix, name, narrow)| Subnet {
        prefix: prefix.trunc(),
        gateway: prefix.addr(),
        dynamic: narrow.then(|| IpNet::from(prefix.addr())),
        reserved: BTreeMap::from([(name, prefix.addr())]),
    })
}

fn spec() -> impl Strategy<Value = NetworkSpec> {
    let subnets = vec(subnet(), 1..=16).prop_map(|mut subnets| {
        subnets.sort_by_key(|subnet| subnet.prefix.addr().is_ipv6());
        subnets
    });
    let id = ("[a-z0-9][a-z0-9_.-]{0,30}", 0..=Vni::MAX, host_id());
    (id, subnets, words(), words(), any::<bool>()).prop_map(
        |((name, vni, creator), subnets, options, labels, internal)| {
            let whole = |(pool, subnet): (usize, &Subnet)| Grant {
                pool: PoolIndex(pool as u8),
                first: subnet.prefix.network(),
                last: subnet.prefix.broadcast(),
                to: creator,
            };
            let grants = subnets.iter().enumerate().map(whole).collect();
            let (name, vni) = (name.parse().unwrap(), Vni::new(vni).unwrap());
            NetworkSpec { name, vni, creator, subnets, grants, options, labels, internal }
        },
    )
}

fn network_fact() -> impl Strategy<Value = Fact> {
    let stamp = || (wall(), any::<u32>()).prop_map(|(wall, logical)| Stamp { wall, logical });
    (network_id(), stamp(), stamp(), option::of(spec()))
        .prop_map(|(id, stamp, heard, spec)| Fact::Network(NetworkFact { id, stamp, heard, spec }))
}

fn gift_fact() -> impl Strategy<Value = Fact> {
    let ids = (network_id(), 0_u8..16, host_id(), option::of(host_id()));
    (ids, prefix(), 1..=u32::MAX).prop_map(|((network, pool, to, from), run, epoch)| {
        let (first, last) = (run.addr(), run.broadcast());
        Fact::Gift(GiftFact { network, pool: PoolIndex(pool), first, last, to, from, epoch })
    })
}

fn fact() -> impl Strategy<Value = Fact> {
    let uses = (network_id(), any::<bool>(), vec(".{0,30}", 0..10))
        .prop_map(|(network, off, containers)| Fact::Use(UseFact { network, off, containers }));
    let token = (any::<[u8; 32]>(), wall(), any::<bool>())
        .prop_map(|(verifier, expires, revoked)| Fact::Token(TokenFact { verifier, expires, revoked }));
    let sighting = (host_id(), any::<u32>(), 1_u8..224, any::<[u8; 3]>(), 1..=u16::MAX)
        .prop_filter("no loopback", |(_, _, first, ..)| *first != 127)
        .prop_map(|(host, generation, first, [b, c, d], port)| {
            let endpoint = SocketAddr::new(Ipv4Addr::new(first, b, c, d).into(), port);
            Fact::Sighting(SightingFact { host, generation, endpoint })
        });
    let forgotten = (host_id(), ".{0,30}", wall())
        .prop_map(|(host, name, at)| Fact::Forgotten(ForgottenFact { host, name, at }));
    let tunnel = (any::<[u8; 32]>(), any::<u32>(), 1..=u16::MAX, any::<bool>(), any::<bool>()).prop_map(
        |(key, generation, port, serving, preshared)| {
            let key = WireGuardKey::new(key);
            Fact::Tunnel(TunnelFact { generation, key, port, serving, preshared })
        },
    );
    let secret = any::<[u8; 32]>()
        .prop_map(|secret| Fact::Secret(SecretFact { secret: WireGuardSecret::new(secret) }));
    prop_oneof![
        host_fact(),
        taken_fact(),
        endpoint_fact(),
        network_fact(),
        gift_fact(),
        uses,
        token,
        tunnel,
        secret,
        sighting,
        forgotten,
        lease_fact(),
        spare_fact(),
        vote_fact(),
        any::<[u8; 32]>().prop_map(|digest| Fact::Roster(RosterFact { digest }))
    ]
}

fn lease_fact() -> impl Strategy<Value = Fact> {
    let hosts = || btree_set(host_id(), 0..=15).prop_map(|hosts| hosts.into_iter().collect::<Vec<_>>());
    (1..=u32::MAX, hosts(), hosts(), hosts()).prop_map(|(term, witnesses, before, settled)| {
        Fact::Lease(LeaseFact { term, witnesses, before, settled })
    })
}

fn spare_fact() -> impl Strategy<Value = Fact> {
    let runs = || vec(prefix().prop_map(|run| (run.addr(), run.broadcast())), 0..=64);
    (network_id(), 0_u8..16, runs(), runs()).prop_map(|(network, pool, spare, wanted)| {
        Fact::Spare(SpareFact { network, pool: PoolIndex(pool), spare, wanted })
    })
}

fn vote_fact() -> impl Strategy<Value = Fact> {
    let decision = prop_oneof![Just(Decision::Open), Just(Decision::Taken), Just(Decision::Renounced)];
    (host_id(), any::<u32>(), host_id(), any::<(u64, u64)>(), decision).prop_map(
        |(owner, term, taker, (incarnation, counter), decision)| {
            let seen = FactsVersion { incarnation, counter };
            Fact::Vote(VoteFact { owner, term, taker, seen, decision })
        },
    )
}

proptest! {
    #[test]
    fn a_fact_reads_back_as_it_was_written(fact in fact()) {
        prop_assert_eq!(decoded(&fact), Ok(fact.clone()));
        prop_assert!(fact.key().as_bytes().len() <= limit::KEY_BYTES_MAX);
    }

    #[test]
    fn random_bytes_never_panic(fact in fact(), value in vec(any::<u8>(), 0..200), key in vec(any::<u8>(), 0..70)) {
        let _ = Fact::decode(fact.key().as_bytes(), &value);
        let _ = Fact::decode(&key, &fact.encode());
    }

    #[test]
    fn a_damaged_value_never_panics(fact in fact(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut value = fact.encode();
        if !value.is_empty() {
            let at = at.index(value.len());
            value[at] = byte;
        }
        let _ = Fact::decode(fact.key().as_bytes(), &value);
    }

    #[test]
    fn every_key_falls_in_one_kind_only(fact in fact()) {
        let key = fact.key();
        let kinds = FactKind::ALL.into_iter().filter(|kind| key.as_bytes().starts_with(FactKey::kind_prefix(*kind)));
        prop_assert_eq!(kinds.count(), 1);
    }

    #[test]
    fn a_key_with_a_byte_more_or_less_is_refused(fact in fact()) {
        let value = fact.encode();
        let key = fact.key().into_bytes();
        let longer = [&key[..], &[0]].concat();
        prop_assert!(Fact::decode(&longer, &value).is_err());
        prop_assert!(Fact::decode(&key[..key.len() - 1], &value).is_err());
    }
}

fn gift() -> GiftFact {
    GiftFact {
        network: NetworkId::new([7; 16]),
        pool: PoolIndex(0),
        first: "10.64.0.4".parse().unwrap(),
        last: "10.64.0.7".parse().unwrap(),
        to: HostId::new([2; 16]),
        from: None,
        epoch: 1,
    }
}

fn field(result: Result<Fact, DecodeError>) -> &'static str {
    match result {
        Err(DecodeError::Field { field, .. }) => field,
        other => panic!("a broken field was expected, not {other:?}"),
    }
}

#[test]
fn an_unknown_kind_is_told_apart_from_a_broken_key() {
    assert_eq!(Fact::decode(b"volume/abc", b""), Err(DecodeError::UnknownKind));
    assert_eq!(Fact::decode(b"", b""), Err(DecodeError::UnknownKind));
    assert_eq!(Fact::decode(b"network/abc", b""), Err(DecodeError::Key { kind: FactKind::Network }));
}

#[test]
fn a_field_of_a_later_version_is_passed_over() {
    let fact = Fact::Token(TokenFact { verifier: [7; 32], expires: WallTime::from_millis(1), revoked: true });
    // Protobuf: field 99, bytes.
    let later = [fact.encode(), vec![0x9a, 0x06, 3, b'n', b'e', b'w']].concat();
    assert_eq!(Fact::decode(fact.key().as_bytes(), &later), Ok(fact));
}

#[test]
fn a_key_is_printed_with_its_kind() {
    assert_eq!(FactKey::host().to_string(), "host/");
    assert_eq!(
        FactKey::forgotten(HostId::new([0xab; 16])).to_string(),
        format!("forgotten/{}", "ab".repeat(16))
    );
}

#[test]
fn a_gift_must_agree_with_its_key() {
    let other = GiftFact { first: "10.64.0.5".parse().unwrap(), ..gift() };
    let key = Fact::Gift(other).key();
    assert_eq!(field(Fact::decode(key.as_bytes(), &Fact::Gift(gift()).encode())), "first");
}

#[test]
fn a_gift_under_epoch_0_or_backwards_is_refused() {
    assert_eq!(field(decoded(&Fact::Gift(GiftFact { epoch: 0, ..gift() }))), "epoch");
    assert_eq!(field(decoded(&Fact::Gift(GiftFact { pool: PoolIndex(16), ..gift() }))), "pool");
    let backwards = GiftFact { last: "10.64.0.3".parse().unwrap(), ..gift() };
    assert_eq!(field(decoded(&Fact::Gift(backwards))), "last");
    let mixed = GiftFact { last: "fd00::1".parse().unwrap(), ..gift() };
    assert_eq!(field(decoded(&Fact::Gift(mixed))), "last");
}

#[test]
fn a_lease_with_hosts_twice_or_too_many_is_refused() {
    let lease = |ids: &[u8]| {
        let witnesses = ids.iter().map(|id| HostId::new([*id; 16])).collect();
        decoded(&Fact::Lease(LeaseFact { term: 1, witnesses, before: Vec::new(), settled: Vec::new() }))
    };
    assert!(lease(&[1, 2, 3]).is_ok());
    assert_eq!(field(lease(&[1, 1])), "witnesses");
    assert_eq!(field(lease(&[2, 1])), "witnesses");
    assert_eq!(field(lease(&(1..=16).collect::<Vec<u8>>())), "witnesses");
}

#[test]
fn a_sighting_where_nobody_can_be_is_refused() {
    let sighted = |endpoint: &str| {
        let endpoint = endpoint.parse().unwrap();
        decoded(&Fact::Sighting(SightingFact { host: HostId::new([1; 16]), generation: 3, endpoint }))
    };
    let nowhere = [
        "0.0.0.0:1",
        "127.0.0.1:1",
        "224.0.0.1:1",
        "255.255.255.255:1",
        "192.0.2.1:0",
        "[::]:1",
        "[::1]:1",
        "[ff02::1]:1",
        "[::ffff:192.0.2.1]:1",
    ];
    for endpoint in nowhere {
        assert_eq!(field(sighted(endpoint)), "endpoint", "{endpoint}");
    }
    for endpoint in ["192.0.2.1:1", "10.0.0.1:7375", "[2001:db8::1]:65535"] {
        assert!(sighted(endpoint).is_ok(), "{endpoint}");
    }
}

#[test]
fn a_newer_host_may_add_fields() {
    let mut value = Fact::Gift(gift()).encode();
    value.extend([0xfa, 0x01, 0x02, b'h', b'i']);
    assert_eq!(Fact::decode(Fact::Gift(gift()).key().as_bytes(), &value), Ok(Fact::Gift(gift())));
}

#[test]
fn text_for_people_is_cut_between_characters() {
    let fact = Fact::Forgotten(ForgottenFact {
        host: HostId::new([1; 16]),
        name: "ä".repeat(200),
        at: WallTime::from_millis(1),
    });
    let Ok(Fact::Forgotten(back)) = decoded(&fact) else { panic!("it must be readable") };
    assert_eq!(back.name, "ä".repeat(127));
}

#[test]
fn a_long_list_of_containers_is_cut() {
    let containers = vec!["web".to_owned(); 5000];
    let fact = Fact::Use(UseFact { network: NetworkId::new([1; 16]), off: false, containers });
    let Ok(Fact::Use(back)) = decoded(&fact) else { panic!("it must be readable") };
    assert_eq!(back.containers.len(), limit::CONTAINERS_MAX);
}

#[test]
fn the_largest_facts_for_people_fit_one_value() {
    let containers = vec!["x".repeat(300); 5000];
    let used = Fact::Use(UseFact { network: NetworkId::new([1; 16]), off: true, containers });
    let Ok(Fact::Use(back)) = decoded(&used) else { panic!("it must be readable") };
    assert!((1000..1020).contains(&back.containers.len()), "{}", back.containers.len());
    let taken = Taken { prefix: "ffff::/128".parse().unwrap(), by: "x".repeat(300) };
    let taken = Fact::Taken(TakenFact { prefixes: vec![taken; limit::TAKEN_MAX] });
    assert!(decoded(&taken).is_ok());
}

#[test]
fn a_network_of_three_thousand_hosts_fits_one_value() {
    let grant = |pool, at: u32| Grant {
        pool: PoolIndex(pool),
        first: Ipv4Addr::from_bits(0x0a40_0000 + at).into(),
        last: Ipv4Addr::from_bits(0x0a40_0000 + at).into(),
        to: HostId::new([9; 16]),
    };
    let mut spec = small_spec();
    spec.subnets.push(spec.subnets[0].clone());
    spec.grants = (0..3000).flat_map(|at| [grant(0, at), grant(1, at)]).collect();
    let fact = NetworkFact {
        id: NetworkId::new([1; 16]),
        stamp: Stamp::default(),
        heard: Stamp::default(),
        spec: Some(spec),
    };
    assert!(decoded(&Fact::Network(fact)).is_ok());
}

fn small_spec() -> NetworkSpec {
    NetworkSpec {
        name: "shop".parse().unwrap(),
        vni: Vni::new(300).unwrap(),
        creator: HostId::new([1; 16]),
        subnets: vec![Subnet {
            prefix: "10.64.0.0/16".parse().unwrap(),
            gateway: "10.64.0.1".parse().unwrap(),
            dynamic: None,
            reserved: BTreeMap::new(),
        }],
        grants: vec![],
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
        internal: false,
    }
}

#[test]
fn a_network_that_breaks_a_limit_is_refused_by_the_field() {
    let broken = |change: fn(&mut NetworkSpec)| {
        let mut spec = small_spec();
        change(&mut spec);
        field(decoded(&Fact::Network(NetworkFact {
            id: NetworkId::new([1; 16]),
            stamp: Stamp::default(),
            heard: Stamp::default(),
            spec: Some(spec),
        })))
    };
    assert_eq!(broken(|spec| spec.subnets.clear()), "subnets");
    assert_eq!(broken(|spec| spec.subnets = vec![spec.subnets[0].clone(); 17]), "subnets");
    assert_eq!(broken(|spec| spec.subnets[0].prefix = "10.64.0.1/16".parse().unwrap()), "prefix");
    assert_eq!(broken(|spec| spec.subnets[0].gateway = "10.65.0.1".parse().unwrap()), "gateway");
    assert_eq!(broken(|spec| spec.subnets[0].gateway = "fd00::1".parse().unwrap()), "gateway");
    assert_eq!(broken(|spec| spec.subnets[0].dynamic = Some("10.0.0.0/8".parse().unwrap())), "dynamic");
    assert_eq!(
        broken(|spec| spec.labels = (0..257).map(|n| (n.to_string(), String::new())).collect()),
        "labels"
    );
    assert_eq!(
        broken(|spec| spec.options = (0..65).map(|n| (n.to_string(), String::new())).collect()),
        "options"
    );
    assert_eq!(
        broken(|spec| spec.grants = vec![Grant {
            pool: PoolIndex(1),
            first: "10.64.0.1".parse().unwrap(),
            last: "10.64.0.1".parse().unwrap(),
            to: spec.creator,
        }]),
        "grants"
    );
    assert_eq!(
        broken(|spec| {
            let v6: IpNet = "fd00::/64".parse().unwrap();
            let subnet = Subnet {
                prefix: v6,
                gateway: "fd00::1".parse().unwrap(),
                dynamic: None,
                reserved: BTreeMap::new(),
            };
            spec.subnets.insert(0, subnet);
        }),
        "subnets"
    );
}

#[test]
fn a_value_that_is_too_long_is_refused_unread() {
    let value = vec![0; limit::VALUE_BYTES_MAX + 1];
    let refused = Fact::decode(FactKey::host().as_bytes(), &value);
    assert!(matches!(refused, Err(DecodeError::Bytes { kind: FactKind::Host, .. })));
}
