//! A few hosts that hear each other: joining, sharing, asking, forgetting, leaving, starting again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod collecting;
mod rejoining;
mod tokens;
mod world;

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use shoal_fabric::{Effect, Introduction};
use shoal_networks::{EngineReport, EngineRequest, NetworkRequest, PoolData, Reply, Verb};
use shoal_trust::{Certificate, Claim, FabricRoot, HostKey};
use shoal_types::{FabricId, Moment};

use world::{World, key};

fn request(name: &str) -> NetworkRequest {
    let (options, labels) = Default::default();
    NetworkRequest {
        name: name.parse().unwrap(),
        subnets: Vec::new(),
        v6: false,
        internal: false,
        labels,
        options,
    }
}

fn create(world: &mut World, host: usize, name: &str) {
    let (_, effects) = world.hosts[host].fabric.create_network(request(name), world.at).unwrap();
    world.act(host, effects);
    world.run(3);
}

fn has_network(world: &World, host: usize, name: &str) -> bool {
    world.hosts[host].fabric.networks().catalog().by_name(&name.parse().unwrap()).is_some()
}

/// Puts the network on a host's engine as dockerd does; returns the pool.
fn put_on(world: &mut World, host: usize, name: &str) -> String {
    let spec =
        world.hosts[host].fabric.networks().catalog().by_name(&name.parse().unwrap()).unwrap().1.clone();
    let options: std::collections::BTreeMap<_, _> = [("shoal.network".to_owned(), name.to_owned())].into();
    let (space, pool) = ("ShoalLocal".to_owned(), Some(spec.subnets[0].prefix));
    let ask =
        Verb::RequestPool { space: space.clone(), pool, sub_pool: None, options: options.clone(), v6: false };
    let Ok(Reply::Pool { id, prefix, .. }) = world.verb(host, ask) else { panic!() };
    let pools = vec![PoolData { space, pool: prefix, gateway: None, aux: [].into() }];
    let network = format!("{name}-{host}");
    world.verb(host, Verb::CreateNetwork { network, options, internal: false, pools }).unwrap();
    id
}

fn run_container(world: &mut World, host: usize, name: &str, pool: &str, n: u32) -> IpAddr {
    let ask = Verb::RequestAddress { pool: pool.into(), address: None, gateway: false };
    let Ok(Reply::Address(net)) = world.verb(host, ask) else { panic!() };
    let (network, endpoint) = (format!("{name}-{host}"), world::endpoint(n));
    let v4 = Some(net);
    let create = Verb::CreateEndpoint {
        network: network.clone(),
        endpoint: endpoint.clone(),
        v4,
        v6: None,
        mac: None,
    };
    world.verb(host, create).unwrap();
    world.verb(host, Verb::Join { network, endpoint, sandbox: String::new() }).unwrap();
    net.addr()
}

#[test]
fn a_network_and_its_containers_appear_on_every_host() {
    let mut world = World::joined(3);
    create(&mut world, 0, "shop");
    for host in 0..3 {
        assert!(has_network(&world, host, "shop"), "host {host}");
    }
    assert!(world.hosts[2].engine.iter().any(|request| matches!(request, EngineRequest::Create(_))));
    let (of_0, of_1) = (put_on(&mut world, 0, "shop"), put_on(&mut world, 1, "shop"));
    let one = run_container(&mut world, 0, "shop", &of_0, 1);
    let two = run_container(&mut world, 1, "shop", &of_1, 2);
    assert_ne!(one, two);
    world.run(3);
    assert_eq!(world.hosts[2].fabric.networks().remote_endpoints().count(), 2);
    assert_eq!(world.hosts[2].fabric.view(Moment::ZERO).endpoints.len(), 2);
    world.agree();
}

#[test]
fn a_host_whose_clock_runs_ahead_is_named_and_does_not_win_for_ever() {
    let mut world = World::joined(2);
    let right = world.at.wall;
    world.at.wall = right + Duration::from_secs(600);
    let (_, effects) = world.hosts[0].fabric.create_network(request("shop"), world.at).unwrap();
    world.at.wall = right;
    world.act(0, effects);
    world.run(3);
    assert!(world.hosts[1].notices.iter().any(|told| told.contains("clock of host host-0")));
    let at = world.at;
    let (_, effects) = world.hosts[1].fabric.delete_network(&"shop".parse().unwrap(), at).unwrap();
    world.act(1, effects);
    world.run(3);
    assert!(!has_network(&world, 0, "shop"), "a later edit wins whatever the clocks say");
}

#[test]
fn a_host_that_joined_later_gets_addresses_for_the_asking() {
    let mut world = World::joined(1);
    create(&mut world, 0, "shop");
    let late = world.join_another();
    world.run(3);
    let pool = put_on(&mut world, late, "shop");
    let ask = Verb::RequestAddress { pool: pool.clone(), address: None, gateway: false };
    world.run(10);
    assert!(world.verb(late, ask).is_ok());
    let wish = Verb::RequestAddress { pool, address: Some(world.address_of(0)), gateway: false };
    assert!(world.verb(late, wish.clone()).unwrap_err().0.contains("host-0"));
    world.run(2);
    world.verb(late, wish).unwrap();
}

#[test]
fn a_forgotten_host_is_out_everywhere_and_its_networks_stay() {
    let mut world = World::joined(3);
    create(&mut world, 2, "shop");
    let gone = world.hosts[2].fabric.me();
    world.cut(2);
    let (_, effects) = world.hosts[0].fabric.forget("host-2", world.at).unwrap();
    world.act(0, effects);
    world.run(5);
    for host in 0..2 {
        assert!(has_network(&world, host, "shop"));
        assert!(world.hosts[host].fabric.forgotten().contains(&gone));
        assert!(world.hosts[host].trust.as_ref().unwrap().forgotten.contains(&gone));
        assert!(!world.hosts[host].fabric.hosts().iter().any(|it| it.id == gone));
    }
    world.heal(2);
    create(&mut world, 2, "late");
    world.run(10);
    assert!(!has_network(&world, 0, "late"), "nothing of it is taken any more");
    world.restart(0);
    world.run(5);
    assert!(has_network(&world, 0, "shop") && world.hosts[0].fabric.forgotten().contains(&gone));
    let welcome = world.hosts[0].fabric.welcome(gone);
    assert!(welcome.unwrap_err().contains("forgotten"));
}

#[test]
fn a_host_that_leaves_and_joins_again_keeps_its_networks_and_its_gifts() {
    let mut world = World::joined(2);
    create(&mut world, 1, "shop");
    let pool = put_on(&mut world, 0, "shop");
    run_container(&mut world, 0, "shop", &pool, 1);
    world.run(3);
    let effects = world.hosts[1].fabric.leave(world.at).unwrap();
    world.act(1, effects);
    assert!(
        !world.hosts[1].disk.keys().any(|key| key.starts_with(b"facts/") || key.starts_with(b"networks/"))
    );
    assert!(world.hosts[1].fabric.leave(world.at).is_err());
    world.run(3);
    assert!(has_network(&world, 0, "shop"), "the fabric keeps what the host made");
    world.join(1);
    world.run(5);
    for host in 0..2 {
        assert!(has_network(&world, host, "shop"), "host {host}");
    }
    let owners: Vec<_> =
        (0..2).map(|host| world.hosts[host].fabric.networks().ipam().holders(world.at.now)).collect();
    assert_eq!(owners[0].len(), owners[1].len());
    create(&mut world, 1, "second");
    assert!(has_network(&world, 0, "second") && has_network(&world, 0, "shop"));
    world.agree();
}

#[test]
fn a_host_that_was_off_for_too_long_joins_again_and_keeps_its_containers() {
    let mut world = World::joined(2);
    create(&mut world, 0, "shop");
    let pools = [0, 1].map(|host| put_on(&mut world, host, "shop"));
    world.run(3);
    run_container(&mut world, 1, "shop", &pools[1], 1);
    world.run(3);
    world.cut(1);
    world.at.now = world.at.now + Duration::from_secs(8 * 86_400);
    world.at.wall = world.at.wall + Duration::from_secs(8 * 86_400);
    let newcomer = world.join_another();
    create(&mut world, 0, "meanwhile");
    world.run(5);
    let ended = world.hosts[1].fabric.identity().unwrap().certificate.clone();
    let (wall, id) = (world.at.wall, world.hosts[1].fabric.me());
    assert!(world.hosts[0].trust.as_ref().unwrap().judge(&ended, wall).is_err(), "its certificate has ended");

    world.join(1);
    let identity = world.hosts[1].fabric.identity().unwrap().clone();
    assert!(world.hosts[0].trust.as_ref().unwrap().judge(&identity.certificate, wall).is_ok());
    assert_eq!(world.hosts[1].fabric.me(), id);
    let known = &world.hosts[1].trust.as_ref().unwrap().members;
    assert!(known.contains_key(&key(newcomer).id()), "whom it did not know it must trust at once");
    world.heal(1);
    world.run(10);
    assert!(has_network(&world, 1, "meanwhile"));
    assert_eq!(world.hosts[1].fabric.networks().endpoints().count(), 1);
    for other in [0, newcomer] {
        assert_eq!(world.hosts[other].fabric.networks().remote_endpoints().count(), 1, "host {other}");
    }
    world.agree();
    world.restart(1);
    assert_eq!(world.hosts[1].fabric.identity(), Some(&identity), "it is kept");
}

#[test]
fn a_host_that_starts_again_knows_what_it_knew() {
    let mut world = World::joined(2);
    create(&mut world, 0, "shop");
    let pool = put_on(&mut world, 0, "shop");
    run_container(&mut world, 0, "shop", &pool, 1);
    world.run(2);
    let before = world.hosts[0].fabric.view(Moment::ZERO);
    world.restart(0);
    assert_eq!(world.hosts[0].fabric.view(Moment::ZERO), before);
    world.run(5);
    world.agree();
    let fabric = world.hosts[0].fabric.identity().unwrap().fabric;
    assert_eq!(world.hosts[1].fabric.identity().unwrap().fabric, fabric);
    assert!(world.hosts[0].fabric.hosts().iter().all(|host| host.state != shoal_fabric::HostState::Down));
}

#[test]
fn what_a_host_restored_from_an_old_backup_gave_away_stays_given() {
    let mut world = World::joined(1);
    create(&mut world, 0, "shop");
    let late = world.join_another();
    let backup = world.hosts[0].disk.clone();
    world.run(5);
    let wish = world.address_of(0);
    let pool = put_on(&mut world, late, "shop");
    let ask = Verb::RequestAddress { pool, address: Some(wish), gateway: false };
    let _ = world.verb(late, ask.clone());
    world.run(2);
    world.verb(late, ask).unwrap();
    create(&mut world, 0, "after");
    world.hosts[0].disk = backup;
    world.restart(0);
    world.run(5);
    assert!(
        has_network(&world, 0, "after") && has_network(&world, late, "after"),
        "networks made since are told again"
    );
    let pool = put_on(&mut world, 0, "shop");
    let again = Verb::RequestAddress { pool, address: Some(wish), gateway: false };
    assert!(world.verb(0, again).unwrap_err().0.contains("host-1"), "one address is not handed out twice");
}

#[test]
fn what_was_spare_when_a_host_was_backed_up_or_since_is_used_only_with_the_word_of_others() {
    let mut world = World::joined(3);
    let backup = world.hosts[0].disk.clone();
    create(&mut world, 0, "shop");
    world.run(shoal_fabric::LEASE.as_secs() / 60 + 10);
    let me = world.hosts[0].fabric.me();
    let spare = |world: &World| -> Vec<_> {
        world.hosts[0].fabric.spare_of(me).into_iter().flat_map(|(fact, _)| fact.spare).collect()
    };
    let before = spare(&world);
    let term = world.hosts[0].fabric.lease_of(me, world.at.now).unwrap().term;
    assert!(!before.is_empty(), "the creator has more than it needs");
    let wish = before[0].0;
    world.hosts[0].disk = backup;
    world.restart(0);
    world.lost = Some(b'w');
    world.run(5);
    let pool = put_on(&mut world, 0, "shop");
    let ask = Verb::RequestAddress { pool, address: Some(wish), gateway: false };
    assert!(world.verb(0, ask.clone()).is_err(), "it may have been taken over");
    world.lost = None;
    world.run(10);
    assert!(world.hosts[0].fabric.lease_of(me, world.at.now).unwrap().term >= term, "terms never go back");
    world.verb(0, ask).unwrap();
}

#[test]
fn without_a_fabric_everything_is_refused_and_letting_go_is_not() {
    let mut world = World::new(1);
    let ask =
        Verb::RequestPool { space: String::new(), pool: None, sub_pool: None, options: [].into(), v6: false };
    assert!(world.verb(0, ask).unwrap_err().0.contains("shoal init"));
    assert_eq!(world.verb(0, Verb::DeleteNetwork { network: "x".into() }), Ok(Reply::Done));
    let at = world.at;
    let fabric = &mut world.hosts[0].fabric;
    assert!(fabric.create_network(request("x"), at).is_err());
    assert!(
        fabric.leave(at).is_err() && fabric.welcome(key(1).id()).is_err() && fabric.forget("x", at).is_err()
    );
    assert!(fabric.token([0; 20], Duration::from_secs(1), at).is_err());
    assert!(fabric.tick(at).is_empty() && fabric.message(key(1).id(), b"f", at).is_empty());
    assert!(fabric.engine(EngineReport::Listed(Vec::new()), at).is_empty());
}

#[test]
fn facts_of_a_host_with_a_foreign_certificate_are_refused() {
    let mut world = World::joined(2);
    let mut foreign = World::new(3);
    // The stranger belongs to a fabric of its own, and shows its facts here.
    let root = FabricRoot::from_seed([77; 32]);
    let effects = foreign.hosts[2].fabric.init(&root, world.at).unwrap();
    foreign.act(2, effects);
    let stranger = foreign.hosts[2].fabric.me();
    let welcome = foreign.hosts[2].fabric.welcome(key(0).id()).unwrap();
    let messages = <shoal_fabric::Welcome as prost::Message>::decode(welcome.as_slice()).unwrap().facts;
    for message in messages {
        let bytes = [b"f".as_slice(), &message].concat();
        let effects = world.hosts[0].fabric.message(stranger, &bytes, world.at);
        assert!(
            effects.iter().any(|effect| matches!(effect, Effect::Notice(text) if text.contains("refused"))),
            "{effects:?}"
        );
        world.act(0, effects);
    }
    world.run(3);
    assert_eq!(world.hosts[0].fabric.hosts().len(), 2);
}

#[test]
fn a_host_joins_one_fabric_at_a_time() {
    let mut world = World::joined(1);
    let certificate = Certificate::issue_by_member(
        &HostKey::from_seed([1; 32]),
        Claim {
            fabric: FabricId::new([3; 16]),
            key: key(0).public(),
            name: "host-0".parse().unwrap(),
            from: world.at.wall,
        },
    );
    let (introducer, at) = (key(1).id(), world.at);
    let introduction = Introduction {
        certificate,
        root_public: [0; 32],
        introducer,
        members: Vec::new(),
        welcome: Vec::new(),
    };
    assert!(world.hosts[0].fabric.join(introduction, at).unwrap_err().contains("shoal leave"));
    assert!(world.hosts[0].fabric.init(&FabricRoot::from_seed([1; 32]), at).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_from_a_peer_change_nothing(
        messages in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..200)), 0..40),
        kinds in proptest::collection::vec(prop_oneof![Just(b'f'), Just(b'a'), Just(b'r'), any::<u8>()], 40),
    ) {
        let mut world = World::joined(2);
        create(&mut world, 0, "shop");
        let (before, peer) = (world.hosts[0].fabric.heads(), world.hosts[1].fabric.me());
        let view = world.hosts[0].fabric.view(Moment::ZERO);
        for ((datagram, mut bytes), kind) in messages.into_iter().zip(kinds) {
            let at = world.at;
            let effects = if datagram {
                world.hosts[0].fabric.datagram(peer, &bytes, at)
            } else {
                bytes.insert(0, kind);
                world.hosts[0].fabric.message(peer, &bytes, at)
            };
            let harmful = effects.iter().any(|effect| matches!(effect, Effect::Save { .. } | Effect::Stop(_)));
            prop_assert!(!harmful);
        }
        prop_assert_eq!(world.hosts[0].fabric.heads(), before);
        prop_assert_eq!(world.hosts[0].fabric.view(Moment::ZERO), view);
    }
}

#[test]
fn what_only_one_host_had_heard_of_a_forgotten_one_stays() {
    let mut world = World::joined(4);
    world.cut(0);
    world.cut(1);
    create(&mut world, 2, "shop");
    let deleted = "old".parse().unwrap();
    create(&mut world, 2, "old");
    let (_, effects) = world.hosts[2].fabric.delete_network(&deleted, world.at).unwrap();
    world.act(2, effects);
    world.run(2);
    assert!(has_network(&world, 3, "shop") && !has_network(&world, 0, "shop"));
    world.cut(2);
    world.cut(3);
    let (_, effects) = world.hosts[0].fabric.forget("host-2", world.at).unwrap();
    world.act(0, effects);
    // The one that has heard more hears of the forgetting before it tells anybody.
    [0, 3].into_iter().for_each(|host| world.heal(host));
    world.run(5);
    world.heal(1);
    world.run(30);
    for host in [0, 1, 3] {
        assert!(has_network(&world, host, "shop"), "host {host}");
        let catalog = world.hosts[host].fabric.networks().catalog();
        let (author, _) = catalog.winner(catalog.by_name(&"shop".parse().unwrap()).unwrap().0).unwrap();
        assert_eq!(author, world.hosts[3].fabric.me(), "host {host}");
        assert!(!has_network(&world, host, "old"), "host {host}");
    }
    assert!(world.hosts[0].notices.iter().all(|told| !told.contains("without having heard")));
    world.restart(3);
    assert!(has_network(&world, 3, "shop"));
}

#[test]
fn a_network_that_the_fabric_cannot_be_told_of_is_refused_and_exists_nowhere() {
    let mut world = World::joined(2);
    let labels: std::collections::BTreeMap<_, _> =
        (0..250).map(|n| (format!("label-{n}"), "x".repeat(1000))).collect();
    let mut made = 0;
    let refused = loop {
        let request = NetworkRequest { labels: labels.clone(), ..request(&format!("n{made}")) };
        let at = world.at;
        match world.hosts[0].fabric.create_network(request, at) {
            Ok((_, effects)) => world.act(0, effects),
            Err(refused) => break refused,
        }
        made += 1;
        assert!(made < 30, "a set has a limit");
    };
    assert!(refused.0.contains("bytes"), "{refused}");
    assert!(made > 5 && !has_network(&world, 0, &format!("n{made}")));
    world.hosts[0].engine.clear();
    world.run(30);
    assert!(!world.hosts[0].engine.iter().any(
        |asked| matches!(asked, EngineRequest::Create(it) if it.spec.name.as_str() == format!("n{made}"))
    ));
    assert!(has_network(&world, 1, "n0") && !has_network(&world, 1, &format!("n{made}")));
    world.agree();
    let (_, effects) = world.hosts[0]
        .fabric
        .delete_network(&"n0".parse().unwrap(), world.at)
        .expect("there is room for that");
    world.act(0, effects);
    world.run(3);
    assert!(!has_network(&world, 1, "n0"));
}
