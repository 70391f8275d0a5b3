//! What the engine tells, in time, late, or never.

use shoal_networks::{EngineReport, EngineRequest, Naming};
use shoal_schema::Fact;

use crate::host::{Create, Host, plain, share};

#[test]
fn a_list_from_before_the_creation_does_no_harm() {
    let mut a = Host::new(1);
    let stale = a.views();
    let docker = a.create(&plain("shop")).unwrap();
    a.report(EngineReport::Listed(stale.clone()));
    assert_eq!(a.networks.docker_networks().count(), 1, "not yet named");
    a.serve();
    a.report(EngineReport::Listed(stale));
    a.serve();
    assert!(!a.networks.is_off(a.id_of("shop")), "named, and still there");
    a.run(&docker, 1, None).unwrap();
}

#[test]
fn a_list_from_before_the_removal_does_not_bring_the_network_back() {
    let mut a = Host::new(1);
    a.create(&plain("shop")).unwrap();
    a.serve();
    let stale = a.views();
    a.rm(&a.docker_of("shop"));
    a.report(EngineReport::Listed(stale));
    assert_eq!(a.networks.docker_networks().count(), 0);
    assert!(a.networks.is_off(a.id_of("shop")));
}

#[test]
fn a_network_removed_while_the_agent_was_away_is_off() {
    let (mut a, mut b) = Host::pair();
    a.create(&plain("shop")).unwrap();
    a.serve();
    share(&mut a, &mut b);
    a.docker.clear();
    a.restart();
    a.report(EngineReport::Listed(Vec::new()));
    a.serve();
    assert!(a.networks.is_off(a.id_of("shop")));
    assert!(a.facts.values().any(|fact| matches!(fact, Fact::Use(used) if used.off)));
    a.wait(30);
    a.serve();
    assert!(!a.has("shop"));
}

#[test]
fn a_creation_that_docker_forgot_is_forgotten_too() {
    let mut a = Host::new(1);
    a.create(&plain("shop")).unwrap();
    a.docker.clear();
    for _ in 0..20 {
        a.serve();
        a.wait(1);
    }
    assert!(a.disk.is_empty() && a.networks.next_retry().is_none());
    assert!(a.notices.iter().any(|text| text.contains("docker network rm")), "{:?}", a.notices);
    a.create(&plain("shop")).unwrap();
}

#[test]
fn a_bound_creation_that_docker_forgot_is_made_again() {
    let (mut a, mut b) = Host::pair();
    a.create(&plain("shop")).unwrap();
    a.serve();
    share(&mut a, &mut b);
    let Some(EngineRequest::Create(network)) = b.requests.pop() else { panic!() };
    let bound = crate::host::pairs(&[("shoal.network", "shop")]);
    let prefix: &'static str = network.spec.subnets[0].prefix.to_string().leak();
    let wanted =
        Create { subnets: vec![prefix], options: bound.clone(), ipam_options: bound, ..plain("shop") };
    b.create(&wanted).unwrap();
    b.docker.clear();
    b.report(EngineReport::Created(network.id, Err("the engine was killed".into())));
    for _ in 0..40 {
        b.serve();
        b.wait(1);
    }
    assert!(b.has("shop") && !b.networks.is_off(network.id));
}

#[test]
fn a_network_whose_records_were_lost_is_taken_up_again() {
    let (mut a, mut b) = Host::pair();
    a.create(&plain("shop")).unwrap();
    a.serve();
    share(&mut a, &mut b);
    b.serve();
    b.disk.clear();
    b.restart();
    b.serve();
    let docker = b.docker_of("shop");
    assert!(matches!(b.networks.docker_networks().next().unwrap().naming, Naming::Settled));
    assert!(b.notices.iter().any(|text| text.contains("taken up again")));
    b.run(&docker, 1, None).unwrap();
}

#[test]
fn a_name_is_read_until_the_engine_answers() {
    let mut a = Host::new(1);
    let docker = a.create(&plain("shop")).unwrap();
    a.requests.clear();
    a.wait(1);
    assert!(a.requests.is_empty(), "one request at a time");
    a.wait(20);
    assert_eq!(a.requests, [EngineRequest::Read(docker.clone())]);
    a.requests.clear();
    a.report(EngineReport::Read(docker.clone(), None));
    assert!(a.requests.is_empty());
    a.wait(1);
    a.serve();
    a.run(&docker, 1, None).unwrap();
}

#[test]
fn a_pending_name_outlives_a_restart() {
    let mut a = Host::new(1);
    let docker = a.create(&plain("shop")).unwrap();
    a.restart();
    a.serve();
    a.run(&docker, 1, None).unwrap();
}

#[test]
fn containers_of_a_network_without_a_name_are_not_told() {
    let mut a = Host::new(1);
    let docker = a.create(&plain("shop")).unwrap();
    a.report(EngineReport::Containers(docker, vec!["early".into()]));
    assert!(!a.facts.values().any(|fact| matches!(fact, Fact::Use(_))));
}
