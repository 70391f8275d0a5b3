//! Networks come to be: by Docker, by the fabric, on one host and on the others.

use shoal_networks::{EngineReport, EngineRequest, Naming, NetworkRequest, PoolData, Verb};

use crate::host::{Create, Host, ip, name, net, pairs, plain, share};

fn request(text: &str) -> NetworkRequest {
    let (options, labels) = (pairs(&[]), pairs(&[]));
    NetworkRequest { name: name(text), subnets: Vec::new(), v6: false, internal: false, labels, options }
}

fn create(host: &mut Host, request: NetworkRequest) -> Result<(), String> {
    let mut effects = Vec::new();
    let done = host.networks.create(request, host.at, &mut effects).map(|_| ()).map_err(|refusal| refusal.0);
    host.act(effects);
    done
}

#[test]
fn a_plain_network_is_told_to_the_fabric_once_its_name_and_labels_are_read() {
    let mut a = Host::new(1);
    let docker = a.create(&Create { labels: pairs(&[("l", "1")]), ..plain("shop") }).unwrap();
    assert_eq!(a.networks.catalog().iter().count(), 0, "without a name nobody hears of it");
    assert!(a.run(&docker, 1, None).unwrap_err().contains("name has not been read"));
    assert!(matches!(a.requests.as_slice(), [EngineRequest::Read(id)] if *id == docker), "asked once");
    a.serve();
    let (_, spec) = a.networks.catalog().by_name(&name("shop")).unwrap();
    assert_eq!(spec.labels, pairs(&[("l", "1")]));
    a.run(&docker, 1, None).unwrap();
}

#[test]
fn a_name_given_by_option_waits_for_the_labels_too() {
    let option = pairs(&[("shoal.network", "shop")]);
    for (options, ipam_options) in
        [(option.clone(), option.clone()), (option.clone(), pairs(&[])), (pairs(&[]), option)]
    {
        let (mut a, mut b) = Host::pair();
        a.create(&Create { labels: pairs(&[("l", "1")]), options, ipam_options, ..plain("other") }).unwrap();
        share(&mut a, &mut b);
        b.serve();
        assert!(!b.has("shop"));
        a.serve();
        share(&mut a, &mut b);
        b.serve();
        let docker = b.docker_of("shop");
        assert_eq!(b.docker[&docker].view.labels, pairs(&[("l", "1")]));
    }
}

#[test]
fn a_network_without_our_ipam_is_refused_with_the_command_that_works() {
    let mut a = Host::new(1);
    let pool =
        PoolData { space: "LocalDefault".into(), pool: net("172.18.0.0/16"), gateway: None, aux: [].into() };
    let verb =
        Verb::CreateNetwork { network: "d".into(), options: [].into(), internal: false, pools: vec![pool] };
    assert!(a.verb(verb).unwrap_err().contains("--ipam-driver shoal"));
    assert!(a.disk.is_empty());
}

#[test]
fn an_mtu_that_cannot_work_is_refused_by_either_way_to_make_a_network() {
    let table = [
        ("575", "", "shoal.mtu=575 cannot be the MTU of a network: give a number from 576 to 65405"),
        ("1279", "fd00:9::/64", "of a network with an IPv6 subnet: give a number from 1280 to 65405"),
        ("65406", "", "from 576 to 65405"),
        ("0", "", "from 576"),
        ("-1", "", "from 576"),
        ("big", "", "shoal.mtu=big cannot"),
        ("", "", "shoal.mtu= cannot"),
    ];
    for (mtu, v6, expected) in table {
        let mut a = Host::new(1);
        let subnets = ["10.9.0.0/24", v6].into_iter().filter(|subnet| !subnet.is_empty());
        let options = pairs(&[("shoal.mtu", mtu)]);
        let refused =
            a.create(&Create { subnets: subnets.collect(), options: options.clone(), ..plain("shop") });
        assert!(refused.as_ref().is_err_and(|sentence| sentence.contains(expected)), "{mtu}: {refused:?}");
        let refused = create(&mut a, NetworkRequest { v6: !v6.is_empty(), options, ..request("shop") });
        assert!(refused.as_ref().is_err_and(|sentence| sentence.contains(expected)), "{mtu}: {refused:?}");
    }
    for (mtu, v6) in [("576", false), ("1280", true), ("9000", true), ("65405", false)] {
        let options = pairs(&[("shoal.mtu", mtu)]);
        create(&mut Host::new(1), NetworkRequest { v6, options, ..request("shop") }).unwrap();
    }
}

#[test]
fn an_mtu_that_cannot_work_is_not_taken_from_another_host() {
    let mut a = Host::new(1);
    create(&mut a, NetworkRequest { options: pairs(&[("shoal.mtu", "1300")]), ..request("shop") }).unwrap();
    let (_, spec) = a.networks.catalog().by_name(&name("shop")).unwrap();
    assert_eq!(shoal_networks::mtu_wanted(spec), Some(1300));
    let mut spec = spec.clone();
    spec.options = pairs(&[("shoal.mtu", "0")]);
    assert_eq!(shoal_networks::mtu_wanted(&spec), None);
}

#[test]
fn every_host_makes_the_network_bound_by_its_name() {
    let (mut a, mut b) = Host::pair();
    let wanted = Create {
        subnets: vec!["10.9.0.0/24"],
        gateway: Some("10.9.0.9"),
        aux: vec![("x", "10.9.0.7")],
        ..plain("shop")
    };
    a.create(&wanted).unwrap();
    a.serve();
    share(&mut a, &mut b);
    b.serve();
    let docker = b.docker_of("shop");
    assert_eq!(b.docker[&docker].pools[0].2, Some(ip("10.9.0.9")));
    assert_eq!(b.id_of("shop"), a.id_of("shop"));
    assert!(b.requests.is_empty() && b.networks.next_retry().is_none(), "nothing is left to do");
    let (_, spec) = b.networks.catalog().by_name(&name("shop")).unwrap();
    assert_eq!(spec.subnets[0].reserved["x"], ip("10.9.0.7"));
}

#[test]
fn the_command_line_makes_a_network_with_both_families() {
    let (mut a, mut b) = Host::pair();
    create(&mut a, NetworkRequest { v6: true, internal: true, ..request("shop") }).unwrap();
    share(&mut a, &mut b);
    a.serve();
    b.serve();
    for host in [&mut a, &mut b] {
        let docker = host.docker_of("shop");
        assert_eq!(host.run(&docker, 1, None).unwrap().len(), 2);
    }
    share(&mut a, &mut b);
    assert!(a.leases().is_disjoint(&b.leases()));
}

#[test]
fn a_creation_that_was_cut_short_is_refused_when_repeated_until_its_pool_expires() {
    let mut a = Host::new(1);
    let wanted = Create { subnets: vec!["10.9.0.0/24"], ..plain("shop") };
    a.ask_pools(&wanted, &mut Vec::new()).unwrap();
    let refused = a.create(&wanted).unwrap_err();
    assert!(refused.contains("10.9.0.0/24") && refused.contains("shoal.network=NAME"), "{refused}");
    a.wait(61);
    a.create(&wanted).unwrap();
    assert_eq!(a.disk.keys().filter(|key| key.starts_with(b"networks/pool/")).count(), 1);
}

#[test]
fn a_creation_never_takes_the_pool_that_another_name_asked_for() {
    let (mut a, mut b) = Host::pair();
    a.create(&Create { subnets: vec!["10.9.0.0/24"], ..plain("shop") }).unwrap();
    a.serve();
    share(&mut a, &mut b);
    b.requests.clear();
    b.report(EngineReport::Created(a.id_of("shop"), Err("busy".into())));
    let bound = Create {
        subnets: vec!["10.9.0.0/24"],
        options: pairs(&[("shoal.network", "shop")]),
        ipam_options: pairs(&[("shoal.network", "shop")]),
        ..plain("shop")
    };
    let mine = Create { subnets: vec!["10.9.0.0/24"], ..plain("mine") };
    let (mut for_mine, mut for_bound) = (Vec::new(), Vec::new());
    b.ask_pools(&mine, &mut for_mine).unwrap();
    b.wait(1);
    b.ask_pools(&bound, &mut for_bound).unwrap();
    b.create_network(&mine, &for_mine).unwrap();
    b.create_network(&bound, &for_bound).unwrap();
    b.serve();
    assert_eq!(b.id_of("shop"), a.id_of("shop"));
    assert_ne!(b.id_of("mine"), a.id_of("shop"));
}

#[test]
fn a_creation_that_is_mistaken_for_the_fabrics_is_told_apart_by_its_name() {
    let (mut a, mut b) = Host::pair();
    a.create(&Create { subnets: vec!["10.9.0.0/24"], ..plain("shop") }).unwrap();
    a.serve();
    share(&mut a, &mut b);
    let create = b.requests.remove(0);
    let docker = b.create(&Create { subnets: vec!["10.9.0.0/24"], ..plain("mine") }).unwrap();
    b.serve();
    assert!(b.run(&docker, 1, None).is_err());
    assert!(b.notices.iter().any(|text| text.contains("\"mine\"") && text.contains("make it again")));
    b.requests.push(create);
    for _ in 0..3 {
        b.serve();
        b.wait(31);
    }
    assert_eq!(b.id_of("shop"), a.id_of("shop"));
    let shop = b.docker_of("shop");
    b.run(&shop, 1, None).unwrap();
    b.rm(&docker);
    b.run(&shop, 2, None).unwrap();
}

#[test]
fn dockerd_may_ask_again_for_a_default_pool_until_it_likes_one() {
    let mut a = Host::new(1);
    let mut prefixes = std::collections::BTreeSet::new();
    for _ in 0..10 {
        let mut asked = Vec::new();
        a.ask_pools(&plain("shop"), &mut asked).unwrap();
        assert!(prefixes.insert(asked[0].1), "{prefixes:?}");
    }
}

#[test]
fn dockerd_does_not_ask_for_ever_for_a_bound_pool_it_does_not_like() {
    let (mut a, mut b) = Host::pair();
    create(&mut a, request("shop")).unwrap();
    share(&mut a, &mut b);
    let bound = Create { ipam_options: pairs(&[("shoal.network", "shop")]), ..plain("shop") };
    let refused = (0..10).find_map(|_| b.ask_pools(&bound, &mut Vec::new()).err()).unwrap();
    assert!(refused.contains("a route of this host"), "{refused}");
}

#[test]
fn a_subnet_that_a_host_uses_is_refused_with_that_host() {
    let (mut a, mut b) = Host::pair();
    b.takes("10.7.0.0/16");
    share(&mut a, &mut b);
    let refused = a.create(&Create { subnets: vec!["10.7.3.0/24"], ..plain("shop") }).unwrap_err();
    assert!(refused.contains("10.7.0.0/16") && refused.contains("host-2"), "{refused}");
    for n in 0..20 {
        let docker = a.create(&plain(&format!("n{n}"))).unwrap();
        let chosen = a.docker[&docker].pools[0].1;
        assert!(!net("10.7.0.0/16").contains(&chosen));
    }
}

#[test]
fn a_full_house_of_default_pools_says_what_to_do() {
    let mut a = Host::new(1);
    a.takes("10.0.0.0/8");
    assert!(a.create(&plain("shop")).unwrap_err().contains("give a --subnet"));
}

#[test]
fn a_name_that_the_fabric_has_is_refused_in_a_sentence() {
    let (mut a, mut b) = Host::pair();
    create(&mut a, request("shop")).unwrap();
    share(&mut a, &mut b);
    let docker = b.create(&plain("shop")).unwrap();
    b.serve();
    let refused = b.run(&docker, 1, None).unwrap_err();
    assert!(refused.contains("already has a network \"shop\""), "{refused}");
    assert!(b.notices.contains(&refused), "the operator is told too");
    b.rm(&docker);
    b.wait(1);
    b.serve();
    assert_eq!(b.id_of("shop"), a.id_of("shop"));
    let docker = b.docker_of("shop");
    b.run(&docker, 1, None).unwrap();
    assert_eq!(b.networks.engine_failure(b.id_of("shop")), None, "a mended cause is no failure");
}

#[test]
fn the_driver_option_alone_does_not_make_a_second_network_of_that_name() {
    let (mut a, mut b) = Host::pair();
    create(&mut a, request("shop")).unwrap();
    share(&mut a, &mut b);
    let refused =
        b.create(&Create { options: pairs(&[("shoal.network", "shop")]), ..plain("shop") }).unwrap_err();
    assert!(refused.contains("--ipam-opt"), "{refused}");
    assert_eq!(b.networks.catalog().iter().count(), 1);
}

#[test]
fn two_networks_that_got_one_name_apart_are_settled_and_told() {
    let (mut a, mut b) = (Host::new(1), Host::new(2));
    for host in [&mut a, &mut b] {
        host.create(&plain("shop")).unwrap();
        host.serve();
    }
    let (of_a, of_b) = (a.id_of("shop"), b.id_of("shop"));
    share(&mut a, &mut b);
    let winner = of_a.min(of_b);
    let (loser, kept) = if winner == of_a { (&mut b, &mut a) } else { (&mut a, &mut b) };
    loser.serve();
    kept.serve();
    assert_eq!((loser.id_of("shop"), kept.id_of("shop")), (winner, winner));
    let docker = loser.docker_of("shop");
    assert!(loser.run(&docker, 1, None).unwrap_err().contains("two networks were made under the name"));
    assert!(loser.notices.iter().any(|text| text.contains("two networks")));
    assert!(loser.networks.docker_networks().any(|it| matches!(it.naming, Naming::Refused(_))));
    assert!(loser.networks.engine_failure(winner).is_some(), "what stands in the way is told");
    loser.rm(&docker);
    for _ in 0..3 {
        loser.wait(1);
        loser.serve();
        share(loser, kept);
    }
    assert_eq!(loser.networks.catalog().iter().count(), 1, "the one without a name is gone");
    assert_eq!(kept.networks.catalog().iter().count(), 1);
    let docker = loser.docker_of("shop");
    loser.run(&docker, 1, None).unwrap();
    assert_eq!(loser.networks.engine_failure(winner), None);
}

#[test]
fn the_loser_gets_its_name_back_when_the_other_network_is_deleted() {
    let (mut a, mut b) = (Host::new(1), Host::new(2));
    for host in [&mut a, &mut b] {
        host.create(&plain("shop")).unwrap();
        host.serve();
    }
    let (of_a, of_b) = (a.id_of("shop"), b.id_of("shop"));
    share(&mut a, &mut b);
    let (loser, kept) = if of_a > of_b { (&mut a, &mut b) } else { (&mut b, &mut a) };
    let mut effects = Vec::new();
    kept.wait(1);
    kept.networks.delete(&name("shop"), kept.at, &mut effects).unwrap();
    kept.act(effects);
    share(loser, kept);
    assert_eq!(loser.id_of("shop"), of_a.max(of_b));
    let docker = loser.docker_of("shop");
    loser.run(&docker, 1, None).unwrap();
}

#[test]
fn of_two_networks_with_one_vxlan_id_one_takes_another() {
    let (mut a, mut b) = (Host::new(1), Host::new(2));
    for (host, text) in [(&mut a, "one"), (&mut b, "two")] {
        create(host, request(text)).unwrap();
    }
    // What chance would do once in sixteen million times.
    let vni = a.networks.catalog().by_name(&name("one")).unwrap().1.vni;
    let key = shoal_schema::FactKey::network(b.id_of("two")).into_bytes();
    let Some(shoal_schema::Fact::Network(mut fact)) = b.facts.get(&key).cloned() else { panic!() };
    fact.spec.as_mut().unwrap().vni = vni;
    b.act(vec![shoal_networks::Effect::Publish(shoal_schema::Fact::Network(fact))]);
    share(&mut a, &mut b);
    for host in [&a, &b] {
        let vnis: std::collections::BTreeSet<_> =
            host.networks.catalog().iter().map(|(_, spec)| spec.vni).collect();
        assert_eq!(vnis.len(), 2);
    }
}

#[test]
fn options_that_other_hosts_could_not_read_are_refused() {
    let mut a = Host::new(1);
    let long = "x".repeat(5000);
    let refused = a.create(&Create { options: pairs(&[("o", &long)]), ..plain("shop") }).unwrap_err();
    assert!(refused.contains("options"), "{refused}");
    let refused =
        create(&mut a, NetworkRequest { labels: pairs(&[("l", &long)]), ..request("shop") }).unwrap_err();
    assert!(refused.contains("shop") && refused.contains("labels"), "{refused}");
    let docker = a.create(&Create { labels: pairs(&[("l", &long)]), ..plain("shop") }).unwrap();
    a.serve();
    assert!(a.run(&docker, 1, None).unwrap_err().contains("labels"));
}

#[test]
fn a_gateway_cannot_be_reserved_and_a_bound_one_cannot_be_changed() {
    let (mut a, mut b) = Host::pair();
    let twice = Create { subnets: vec!["10.9.0.0/24"], aux: vec![("x", "10.9.0.1")], ..plain("shop") };
    assert!(a.create(&twice).unwrap_err().contains("gateway"));
    a.create(&Create { subnets: vec!["10.9.0.0/24"], ..plain("shop") }).unwrap();
    a.serve();
    share(&mut a, &mut b);
    let other = Create {
        subnets: vec!["10.9.0.0/24"],
        gateway: Some("10.9.0.9"),
        ipam_options: pairs(&[("shoal.network", "shop")]),
        ..plain("shop")
    };
    assert!(b.create(&other).unwrap_err().contains("10.9.0.1 on every host"));
    let others = Create { subnets: vec!["10.8.0.0/24"], ..other };
    assert!(b.create(&others).unwrap_err().contains("has 10.9.0.0/24, not 10.8.0.0/24"));
}

#[test]
fn a_failed_creation_is_tried_again_and_its_failure_goes_with_its_cause() {
    let (mut a, mut b) = Host::pair();
    create(&mut a, request("shop")).unwrap();
    share(&mut a, &mut b);
    let id = b.id_of("shop");
    b.requests.clear();
    b.report(EngineReport::Created(id, Err("disk full".into())));
    assert_eq!(b.networks.engine_failure(id), Some("disk full"));
    assert!(b.requests.is_empty(), "not at once");
    b.wait(31);
    b.serve();
    assert!(b.has("shop"));
    assert_eq!((b.networks.engine_failure(id), b.networks.next_retry()), (None, None));
}

#[test]
fn a_network_that_docker_has_and_nobody_remembers_does_not_keep_the_agent_busy() {
    let (mut a, mut b) = Host::pair();
    create(&mut a, request("shop")).unwrap();
    share(&mut a, &mut b);
    b.requests.clear();
    let id = b.id_of("shop");
    b.report(EngineReport::Created(id, Ok("d".repeat(64))));
    assert_eq!(b.requests, [EngineRequest::List]);
    assert!(b.networks.next_retry().unwrap() > b.at.now);
}
