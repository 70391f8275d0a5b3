//! What the engine lists is compared with what was made here.

use shoal_networks::{Attached, EndpointDifference, EngineReport};

use crate::host::{Create, Host, endpoint, plain};

fn attached(docker: &str, n: u32, v4: Option<&str>) -> Attached {
    let v4 = v4.map(|text| text.parse().unwrap());
    Attached { endpoint: endpoint(n), docker: docker.to_owned(), container: "web".to_owned(), v4, v6: None }
}

fn running(n: u8) -> (Host, String, String) {
    let mut host = Host::new(n);
    let docker = host.create(&Create { subnets: vec!["10.9.0.0/24"], ..plain("shop") }).unwrap();
    host.serve();
    let address = host.run(&docker, 1, None).unwrap()[0].to_string();
    (host, docker, address)
}

fn differences(host: &Host) -> Vec<EndpointDifference> {
    host.networks.endpoint_differences(host.at.now)
}

#[test]
fn what_is_the_same_on_both_sides_is_no_difference() {
    let (mut a, docker, address) = running(1);
    let other_driver = attached("bridge", 7, Some("172.17.0.2"));
    a.report(EngineReport::Attached(vec![attached(&docker, 1, Some(&address)), other_driver]));
    a.report(EngineReport::Names([(endpoint(1), "web".to_owned())].into()));
    a.wait(30);
    assert_eq!(differences(&a), []);
}

#[test]
fn an_endpoint_that_only_the_engine_has_is_told_when_it_lasts() {
    let (mut a, docker, address) = running(1);
    let list = vec![attached(&docker, 1, Some(&address)), attached(&docker, 2, None)];
    a.report(EngineReport::Attached(list.clone()));
    assert_eq!(differences(&a), [], "it may be on its way out");
    a.wait(5);
    let network = a.id_of("shop");
    assert_eq!(differences(&a), [EndpointDifference::NotHere { network, attached: list[1].clone() }]);
    a.report(EngineReport::Attached(list));
    assert_eq!(differences(&a).len(), 1, "it is as old as it was");
    a.run(&docker, 2, None).unwrap();
    assert_eq!(differences(&a), [], "it was made meanwhile");
    a.stop(2);
    a.report(EngineReport::Attached(vec![attached(&docker, 1, Some(&address))]));
    a.wait(5);
    assert_eq!(differences(&a), []);
}

#[test]
fn an_endpoint_with_another_address_in_the_engine_is_told() {
    let (mut a, docker, address) = running(1);
    let moved = attached(&docker, 1, Some("10.9.0.77"));
    a.report(EngineReport::Attached(vec![moved.clone()]));
    a.wait(5);
    let (network, here) = (a.id_of("shop"), (Some(address.parse().unwrap()), None));
    assert_eq!(differences(&a), [EndpointDifference::OtherAddress { network, attached: moved, here }]);
}

#[test]
fn an_endpoint_that_the_engine_does_not_list_is_told_until_it_is_let_go() {
    let (mut a, _, _) = running(1);
    a.report(EngineReport::Names([(endpoint(1), "web".to_owned())].into()));
    a.report(EngineReport::Names([].into()));
    assert_eq!(differences(&a), []);
    a.wait(5);
    let (network, container) = (a.id_of("shop"), Some("web".to_owned()));
    assert_eq!(
        differences(&a),
        [EndpointDifference::NotInEngine { network, endpoint: endpoint(1), container }]
    );
    a.wait(60);
    a.report(EngineReport::Names([].into()));
    assert_eq!((differences(&a), a.networks.endpoints().count()), (vec![], 0));
}
