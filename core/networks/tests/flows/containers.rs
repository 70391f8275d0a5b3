//! Containers come and go.

use shoal_networks::{EngineReport, Reply, Stage, Verb};
use shoal_schema::{Fact, FactKey};
use shoal_types::PoolIndex;

use crate::host::{Create, Host, endpoint, host_id, ip, net, plain, share};

fn shop(host: &mut Host) -> String {
    let docker = host.create(&Create { subnets: vec!["10.9.0.0/24"], ..plain("shop") }).unwrap();
    host.serve();
    docker
}

/// Two hosts with the network; the first made it.
fn two() -> (Host, String, Host, String) {
    let (mut a, mut b) = Host::pair();
    let of_a = shop(&mut a);
    share(&mut a, &mut b);
    b.serve();
    share(&mut a, &mut b);
    let of_b = b.docker_of("shop");
    (a, of_a, b, of_b)
}

#[test]
fn a_container_is_told_to_the_others_while_it_runs() {
    let (mut a, docker, mut b, _) = two();
    let address = a.run(&docker, 1, None).unwrap()[0];
    share(&mut a, &mut b);
    let (host, fact) = b.networks.remote_endpoints().next().unwrap();
    assert_eq!((host, fact.v4.map(Into::into)), (host_id(1), Some(address)));
    a.stop(1);
    share(&mut a, &mut b);
    assert_eq!(b.networks.remote_endpoints().count(), 0);
    assert!(
        !a.disk.keys().any(|key| key.starts_with(b"networks/lease") || key.starts_with(b"networks/endpoint"))
    );
}

#[test]
fn a_restarted_container_gets_another_address_and_keeps_the_one_it_insists_on() {
    let mut a = Host::new(1);
    let docker = shop(&mut a);
    let first = a.run(&docker, 1, None).unwrap();
    a.run(&docker, 2, Some("10.9.0.33")).unwrap();
    a.stop(1);
    a.stop(2);
    assert_ne!(a.run(&docker, 3, None).unwrap(), first, "a released address rests");
    assert_eq!(a.run(&docker, 4, Some("10.9.0.33")).unwrap(), [ip("10.9.0.33")]);
}

#[test]
fn wishes_that_cannot_be_are_refused_with_the_reason() {
    let mut a = Host::new(1);
    let wanted = Create { subnets: vec!["10.9.0.0/24"], aux: vec![("x", "10.9.0.7")], ..plain("shop") };
    let docker = a.create(&wanted).unwrap();
    a.serve();
    a.run(&docker, 1, Some("10.9.0.33")).unwrap();
    let cases = [
        ("10.9.0.33", "in use"),
        ("10.9.0.1", "gateway"),
        ("10.9.0.7", "\"x\""),
        ("10.9.0.255", "broadcast"),
    ];
    for (wish, reason) in cases {
        let refused = a.run(&docker, 2, Some(wish)).unwrap_err();
        assert!(refused.contains(reason) && refused.contains(wish) && refused.contains("shop"), "{refused}");
    }
    let pool = a.docker[&docker].pools[0].0.clone();
    let refused = a.address(&pool, Some(ip("10.8.0.1")), false).unwrap_err();
    assert!(refused.contains("10.8.0.1") && refused.contains("10.9.0.0/24"), "{refused}");
}

#[test]
fn an_address_of_another_hosts_range_is_asked_for_and_works_at_the_second_try() {
    let (mut a, _, mut b, docker) = two();
    let refused = b.run(&docker, 1, Some("10.9.0.5")).unwrap_err();
    assert!(refused.contains("host-1") && refused.contains("10.9.0.5"), "{refused}");
    assert_eq!(b.asks[0].0, host_id(1));
    share(&mut a, &mut b);
    assert_eq!(b.run(&docker, 1, Some("10.9.0.5")).unwrap(), [ip("10.9.0.5")]);
    b.report(EngineReport::Wishes(vec![(docker, ip("10.9.0.6"))]));
    assert_eq!(b.asks[0].0, host_id(1), "and ahead of the start, when the engine tells");
}

#[test]
fn repeated_calls_change_nothing() {
    let mut a = Host::new(1);
    let docker = shop(&mut a);
    a.run(&docker, 1, Some("10.9.0.33")).unwrap();
    let (disk, facts) = (a.disk.clone(), a.facts.clone());
    let (network, endpoint) = (docker.clone(), endpoint(1));
    let v4 = Some(net("10.9.0.33/24"));
    let create = Verb::CreateEndpoint {
        network: network.clone(),
        endpoint: endpoint.clone(),
        v4,
        v6: None,
        mac: None,
    };
    let join = Verb::Join { network: network.clone(), endpoint: endpoint.clone(), sandbox: "/x".into() };
    let again = Verb::CreateNetwork {
        network: network.clone(),
        options: [].into(),
        internal: false,
        pools: Vec::new(),
    };
    for verb in [create, join, again] {
        a.verb(verb).unwrap();
    }
    assert_eq!((a.disk.clone(), a.facts.clone()), (disk, facts));
    a.stop(1);
    let disk = a.disk.clone();
    let pool = a.docker[&docker].pools[0].0.clone();
    for verb in [
        Verb::Leave { network: network.clone(), endpoint: endpoint.clone() },
        Verb::DeleteEndpoint { network, endpoint },
        Verb::ReleaseAddress { pool, address: ip("10.9.0.33") },
    ] {
        assert_eq!(a.verb(verb), Ok(Reply::Done));
    }
    assert_eq!(a.disk, disk);
}

#[test]
fn a_wish_whose_answer_was_lost_is_granted_again_but_never_twice() {
    let mut a = Host::new(1);
    let docker = shop(&mut a);
    let pool = a.docker[&docker].pools[0].0.clone();
    a.address(&pool, Some(ip("10.9.0.33")), false).unwrap();
    a.run(&docker, 1, Some("10.9.0.33")).unwrap();
    assert!(a.run(&docker, 2, Some("10.9.0.33")).unwrap_err().contains("in use"));
    a.verb(Verb::DeleteEndpoint { network: docker.clone(), endpoint: endpoint(1) }).unwrap();
    let refused = a.address(&pool, Some(ip("10.9.0.33")), false).unwrap_err();
    assert!(refused.contains("in use"), "its release is still to come: {refused}");
}

#[test]
fn an_address_that_dockerd_never_used_comes_back() {
    let mut a = Host::new(1);
    let docker = shop(&mut a);
    let pool = a.docker[&docker].pools[0].0.clone();
    a.address(&pool, Some(ip("10.9.0.33")), false).unwrap();
    a.run(&docker, 2, Some("10.9.0.34")).unwrap();
    a.restart();
    a.wait(121);
    a.run(&docker, 1, Some("10.9.0.33")).unwrap();
    assert!(a.run(&docker, 3, Some("10.9.0.34")).unwrap_err().contains("in use"), "not one that is in use");
}

#[test]
fn an_address_released_without_its_endpoint_takes_the_endpoint_along() {
    let (mut a, docker, mut b, _) = two();
    a.run(&docker, 1, Some("10.9.0.33")).unwrap();
    let pool = a.docker[&docker].pools[0].0.clone();
    a.verb(Verb::ReleaseAddress { pool, address: ip("10.9.0.33") }).unwrap();
    share(&mut a, &mut b);
    assert_eq!((a.networks.endpoints().count(), b.networks.remote_endpoints().count()), (0, 0));
    a.run(&docker, 2, Some("10.9.0.33")).unwrap();
}

#[test]
fn calls_out_of_order_and_about_unknown_things_are_answered() {
    let mut a = Host::new(1);
    let docker = shop(&mut a);
    let (network, endpoint) = (docker, endpoint(1));
    let join = Verb::Join { network: network.clone(), endpoint: endpoint.clone(), sandbox: "/x".into() };
    assert!(a.verb(join).unwrap_err().contains("start the container again"));
    let v4 = Some(net("10.9.0.33/24"));
    let create = Verb::CreateEndpoint { network, endpoint: endpoint.clone(), v4, v6: None, mac: None };
    assert!(a.verb(create).unwrap_err().contains("10.9.0.33"));
    let create =
        Verb::CreateEndpoint { network: "gone".into(), endpoint: endpoint.clone(), v4, v6: None, mac: None };
    assert!(a.verb(create).unwrap_err().contains("shoal network create"));
    assert!(a.address(&"gone".into(), None, false).unwrap_err().contains("gone"));
    assert_eq!(a.verb(Verb::DeleteNetwork { network: "gone".into() }), Ok(Reply::Done));
    assert_eq!(a.verb(Verb::ReleasePool { pool: "gone".into() }), Ok(Reply::Done));
    let info = a.verb(Verb::EndpointInfo { network: "gone".into(), endpoint });
    assert_eq!(info, Ok(Reply::Info([].into())));
}

#[test]
fn join_returns_routes_to_the_other_subnets() {
    let mut a = Host::new(1);
    let subnets = vec!["10.9.0.0/24", "10.10.0.0/24", "fd00:9::/64"];
    let docker = a.create(&Create { subnets, v6: true, internal: true, ..plain("shop") }).unwrap();
    a.serve();
    a.run(&docker, 1, None).unwrap();
    let join = Verb::Join { network: docker.clone(), endpoint: endpoint(1), sandbox: "/x".into() };
    let Reply::Joined { routes, no_gateway_bridge, inner_name, .. } = a.verb(join).unwrap() else { panic!() };
    let to: Vec<String> = routes.iter().map(|route| route.destination.to_string()).collect();
    assert_eq!((to, no_gateway_bridge), (vec!["10.10.0.0/24".to_owned()], true));
    assert_eq!(inner_name.as_str(), "sc-000000000000");
}

#[test]
fn an_ipv6_only_endpoint_survives_a_restart() {
    let mut a = Host::new(1);
    let docker = a.create(&Create { v6: true, ..plain("shop") }).unwrap();
    a.serve();
    let pool = a.docker[&docker].pools[1].0.clone();
    let v6 = Some(a.address(&pool, None, false).unwrap());
    a.restart();
    let (network, endpoint) = (docker, endpoint(1));
    a.verb(Verb::CreateEndpoint {
        network: network.clone(),
        endpoint: endpoint.clone(),
        v4: None,
        v6,
        mac: None,
    })
    .unwrap();
    a.verb(Verb::Join { network, endpoint, sandbox: "/x".into() }).unwrap();
    a.restart();
    let record = a.networks.endpoints().next().unwrap();
    assert_eq!(
        (record.stage, record.v4, record.v6.map(Into::into)),
        (Stage::Joined, None, v6.map(|net| net.addr()))
    );
}

#[test]
fn containers_names_are_told_with_their_endpoints() {
    let (mut a, docker, mut b, _) = two();
    a.run(&docker, 1, None).unwrap();
    a.report(EngineReport::Names([(endpoint(1), "web".to_owned())].into()));
    share(&mut a, &mut b);
    assert_eq!(b.networks.remote_endpoints().next().unwrap().1.container.as_deref(), Some("web"));
    let key = FactKey::endpoint(a.id_of("shop"), &endpoint(1)).into_bytes();
    assert!(matches!(&a.facts[&key], Fact::Endpoint(fact) if fact.container.as_deref() == Some("web")));
}

#[test]
fn an_endpoint_that_docker_no_longer_knows_is_let_go_after_a_minute() {
    let (mut a, docker, mut b, _) = two();
    a.run(&docker, 1, None).unwrap();
    a.report(EngineReport::Names([(endpoint(1), "web".to_owned())].into()));
    a.report(EngineReport::Names([].into()));
    a.wait(59);
    a.report(EngineReport::Names([].into()));
    share(&mut a, &mut b);
    assert_eq!(b.networks.remote_endpoints().count(), 1, "it may just be starting");
    a.wait(1);
    a.report(EngineReport::Names([].into()));
    share(&mut a, &mut b);
    assert_eq!((a.networks.endpoints().count(), b.networks.remote_endpoints().count()), (0, 0));
}

#[test]
fn two_hosts_that_hand_out_a_small_pool_never_meet_and_say_when_it_is_full() {
    let (mut a, mut b) = Host::pair();
    let of_a = a.create(&Create { subnets: vec!["10.9.0.0/28"], ..plain("shop") }).unwrap();
    a.serve();
    share(&mut a, &mut b);
    b.serve();
    let of_b = b.docker_of("shop");
    let mut made = 0;
    let mut refusals = Vec::new();
    for n in 0..40 {
        let (host, docker) = if n % 2 == 0 { (&mut a, &of_a) } else { (&mut b, &of_b) };
        match host.run(docker, n, None) {
            Ok(_) => made += 1,
            Err(refusal) => refusals.push(refusal),
        }
        a.wait(5);
        b.wait(5);
        share(&mut a, &mut b);
    }
    assert_eq!(made, 13, "16 less network, broadcast and gateway: {refusals:?}");
    assert!(a.leases().is_disjoint(&b.leases()));
    assert!(
        refusals.iter().all(|text| text.contains("shop") && text.contains("10.9.0.0/28")),
        "{refusals:?}"
    );
    assert!(a.networks.ipam().owner_of(a.id_of("shop"), PoolIndex(0), ip("10.9.0.5")).is_some());
}
