//! Networks go: off one host, or for good.

use shoal_networks::{EngineReport, EngineRequest, NetworkRequest};
use shoal_schema::{Fact, FactKey};

use crate::host::{Host, name, pairs, plain, share};

fn delete(host: &mut Host, text: &str) -> Result<(), String> {
    let mut effects = Vec::new();
    let done =
        host.networks.delete(&name(text), host.at, &mut effects).map(|_| ()).map_err(|refusal| refusal.0);
    host.act(effects);
    done
}

fn put_back(host: &mut Host, text: &str) -> Result<(), String> {
    let (options, labels) = (pairs(&[]), pairs(&[]));
    let request =
        NetworkRequest { name: name(text), subnets: Vec::new(), v6: false, internal: false, labels, options };
    let mut effects = Vec::new();
    let done = host.networks.create(request, host.at, &mut effects).map(|_| ()).map_err(|refusal| refusal.0);
    host.act(effects);
    done
}

fn two() -> (Host, Host) {
    let (mut a, mut b) = Host::pair();
    a.create(&plain("shop")).unwrap();
    a.serve();
    share(&mut a, &mut b);
    b.serve();
    share(&mut a, &mut b);
    (a, b)
}

#[test]
fn dockers_rm_means_off_this_host_and_create_puts_it_back() {
    let (mut a, mut b) = two();
    b.rm(&b.docker_of("shop"));
    let id = b.id_of("shop");
    b.wait(5);
    share(&mut a, &mut b);
    b.serve();
    assert!(b.networks.is_off(id) && !b.has("shop") && a.has("shop"));
    assert!(a.networks.uses_of(id).any(|(host, used)| host == b.me && used.off), "the others are told");
    b.restart();
    b.serve();
    assert!(b.networks.is_off(id) && !b.has("shop"));
    put_back(&mut b, "shop").unwrap();
    b.serve();
    assert!(b.has("shop") && !b.networks.is_off(id));
    assert!(put_back(&mut b, "shop").unwrap_err().contains("exists already"));
}

#[test]
fn a_network_is_not_deleted_while_any_container_uses_it() {
    let (mut a, mut b) = two();
    let docker = b.docker_of("shop");
    b.report(EngineReport::Containers(docker.clone(), vec!["stopped".into()]));
    share(&mut a, &mut b);
    let refused = delete(&mut a, "shop").unwrap_err();
    assert!(refused.contains("\"stopped\"") && refused.contains("host-2"), "{refused}");
    b.restart();
    b.serve();
    share(&mut a, &mut b);
    assert!(delete(&mut a, "shop").is_err(), "also after the other agent's restart");
    b.report(EngineReport::Containers(docker.clone(), Vec::new()));
    b.run(&docker, 1, None).unwrap();
    share(&mut a, &mut b);
    assert!(delete(&mut a, "shop").unwrap_err().contains("host host-2"));
    assert!(delete(&mut b, "shop").unwrap_err().contains("this host"));
    b.stop(1);
    share(&mut a, &mut b);
    delete(&mut a, "shop").unwrap();
    assert!(delete(&mut a, "shop").unwrap_err().contains("has no network"));
}

#[test]
fn a_deletion_removes_the_network_from_every_engine_and_leaves_nothing() {
    let (mut a, mut b) = two();
    delete(&mut a, "shop").unwrap();
    share(&mut a, &mut b);
    a.serve();
    b.serve();
    share(&mut a, &mut b);
    for host in [&a, &b] {
        assert!(!host.has("shop"));
        assert!(
            host.disk.is_empty(),
            "{:?}",
            host.disk.keys().map(|key| String::from_utf8_lossy(key)).collect::<Vec<_>>()
        );
        assert!(!host.facts.values().any(|fact| matches!(fact, Fact::Use(_))));
        assert_eq!(host.networks.next_retry(), None);
    }
    let docker = b.create(&plain("shop")).unwrap();
    b.serve();
    b.run(&docker, 1, None).unwrap();
}

#[test]
fn a_deletion_reaches_a_host_where_it_was_off() {
    let (mut a, mut b) = two();
    b.rm(&b.docker_of("shop"));
    share(&mut a, &mut b);
    delete(&mut a, "shop").unwrap();
    share(&mut a, &mut b);
    assert!(b.disk.is_empty() && !b.facts.values().any(|fact| matches!(fact, Fact::Use(_))));
}

#[test]
fn a_container_that_came_while_the_network_was_deleted_is_told_and_the_removal_repeated() {
    let (mut a, mut b) = two();
    let docker = b.docker_of("shop");
    let id = b.id_of("shop");
    b.run(&docker, 1, None).unwrap();
    delete(&mut a, "shop").unwrap();
    share(&mut a, &mut b);
    b.serve();
    assert!(
        b.notices.iter().any(|text| text.contains("active endpoints") && text.contains("disconnect")),
        "{:?}",
        b.notices
    );
    assert!(b.networks.engine_failure(id).is_some());
    assert!(b.run(&docker, 2, None).unwrap_err().contains("deleted from the fabric"));
    b.wait(31);
    assert!(matches!(b.requests.first(), Some(EngineRequest::Remove(_, it)) if *it == docker));
    b.requests.clear();
    b.stop(1);
    let key = FactKey::endpoint(id, &crate::host::endpoint(1)).into_bytes();
    assert!(!b.facts.contains_key(&key));
    b.wait(31);
    b.serve();
    share(&mut a, &mut b);
    b.wait(121);
    assert!(!b.has("shop") && b.disk.is_empty());
    assert_eq!((b.networks.engine_failure(id), b.networks.next_retry()), (None, None));
}

#[test]
fn a_removal_that_a_user_was_quicker_with_ends() {
    let (mut a, mut b) = two();
    let docker = b.docker_of("shop");
    delete(&mut a, "shop").unwrap();
    share(&mut a, &mut b);
    b.requests.clear();
    b.report(EngineReport::Removed(
        a.networks.docker_networks().next().unwrap().network,
        docker.clone(),
        Err("busy".into()),
    ));
    b.rm(&docker);
    b.wait(1);
    assert_eq!(b.networks.next_retry(), None, "nothing is waited for");
}

#[test]
fn a_later_edit_by_a_host_that_had_not_heard_brings_the_network_back() {
    let (mut a, mut b) = two();
    delete(&mut a, "shop").unwrap();
    a.serve();
    let id = b.id_of("shop");
    let spec = b.networks.catalog().get(id).unwrap().clone();
    b.wait(10);
    let stamp = b.networks.catalog().winner(id).unwrap().1.stamp.next(b.at.wall);
    let fact = shoal_schema::NetworkFact { id, stamp, heard: Default::default(), spec: Some(spec) };
    b.act(vec![shoal_networks::Effect::Publish(Fact::Network(fact))]);
    share(&mut a, &mut b);
    a.serve();
    assert!(a.networks.catalog().get(id).is_some() && a.has("shop"));
    assert!(!a.facts.contains_key(FactKey::network(id).as_bytes()), "the outranked edit is withdrawn");
    assert_eq!(a.networks.docker_networks().count(), 1);
}
