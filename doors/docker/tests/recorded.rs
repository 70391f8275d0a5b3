//! What a real dockerd sent, replayed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a step that fails must fail its test"
)]

mod door;

use std::collections::BTreeMap;
use std::net::IpAddr;

use door::{Door, Scripted, agree};
use shoal_docker::Settings;
use shoal_networks::{PoolData, Verb};
use shoal_types::IpNet;

const RECORDED: &str = include_str!("data/recorded.txt");

/// Verbs and bodies in the order in which dockerd sent them.
fn recorded() -> impl Iterator<Item = (&'static str, &'static str)> {
    let calls = RECORDED.lines().filter(|line| !line.starts_with('#'));
    calls.map(|line| {
        let mut parts = line.splitn(3, ' ');
        let (verb, body) = (parts.next().unwrap(), parts.next().unwrap());
        (verb, if body == "-" { "" } else { body })
    })
}

/// Replays everything and returns what the handler was asked.
async fn replay() -> Vec<Verb> {
    let handler = Scripted::new(agree);
    let door = Door::open(handler.clone(), Settings::default());
    for (verb, body) in recorded() {
        let (status, answer) = door.post(verb, body).await;
        assert_eq!(status, 200, "{verb} {body}: {answer}");
    }
    door.close().await;
    handler.calls()
}

fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn pool(space: &str, pool: &str, gateway: &str, aux: &[(&str, &str)]) -> PoolData {
    let aux = aux.iter().map(|(name, address)| ((*name).to_owned(), ip(address))).collect();
    PoolData { space: space.to_owned(), pool: net(pool), gateway: Some(ip(gateway)), aux }
}

#[tokio::test]
async fn every_recorded_call_becomes_its_verb() {
    let verbs = replay().await;
    let without_decision = [
        "Plugin.Activate",
        "NetworkDriver.GetCapabilities",
        "IpamDriver.GetCapabilities",
        "IpamDriver.GetDefaultAddressSpaces",
        "NetworkDriver.ProgramExternalConnectivity",
        "NetworkDriver.RevokeExternalConnectivity",
    ];
    let decided = recorded().filter(|(verb, _)| !without_decision.contains(verb)).count();
    assert_eq!(verbs.len(), decided);

    let first_network = "6042eb4251aebd33e81b7c42e5ac07f9ded6c098aef7a4ab41ff6fec0b963b79".to_owned();
    let second_network = "6714c2373f5a8d01d892a7263467e3b505a86aa39e52d923e0c0e47e741ea84e".to_owned();
    let endpoint = || "219a01ad80839020f697a0be62acaf40163e262d02eaffa8d57f22dd411ac5d7".parse().unwrap();
    let ask_pool = |pool: Option<&str>, pairs: &[(&str, &str)], v6| Verb::RequestPool {
        space: "MockLocal".into(),
        pool: pool.map(net),
        sub_pool: None,
        options: options(pairs),
        v6,
    };
    let ask = |pool: &str, address: Option<&str>, gateway| Verb::RequestAddress {
        pool: pool.to_owned(),
        address: address.map(ip),
        gateway,
    };
    let named = [("shoal.network", "abc")];
    let wanted = [
        // A creation without our IPAM driver: known by its address space.
        Verb::CreateNetwork {
            network: "c4f1d8109c2719eb8b6941a2d75ce20b3e2fa592b838fc834515cdc149feb8e2".into(),
            options: options(&[]),
            internal: false,
            pools: vec![pool("LocalDefault", "172.18.0.0/16", "172.18.0.1", &[])],
        },
        // With it, both families, `-o` and `--ipam-opt`.
        ask_pool(None, &named, false),
        ask("pool-10.42.0.0/16", None, true),
        ask_pool(Some("fd42:42::/64"), &named, true),
        ask("pool-fd42:42::/64", None, true),
        Verb::CreateNetwork {
            network: first_network.clone(),
            options: options(&[("shoal.x", "1")]),
            internal: false,
            pools: vec![
                pool("MockLocal", "10.42.0.0/16", "10.42.0.2", &[]),
                pool("MockLocal", "fd42:42::/64", "fd42:42::3", &[]),
            ],
        },
        // A container starts.
        ask("pool-10.42.0.0/16", None, false),
        ask("pool-fd42:42::/64", None, false),
        Verb::CreateEndpoint {
            network: first_network.clone(),
            endpoint: endpoint(),
            v4: Some(net("10.42.0.4/16")),
            v6: Some(net("fd42:42::5/64")),
            mac: None,
        },
        Verb::Join {
            network: first_network.clone(),
            endpoint: endpoint(),
            sandbox: "/run/docker/netns/5f87b5ede52f".into(),
        },
        // `--internal`, `--gateway` and `--aux-address`.
        ask_pool(Some("10.50.0.0/24"), &[], false),
        ask("pool-10.50.0.0/24", Some("10.50.0.9"), true),
        ask("pool-10.50.0.0/24", Some("10.50.0.7"), false),
        Verb::CreateNetwork {
            network: second_network,
            options: options(&[]),
            internal: true,
            pools: vec![pool("MockLocal", "10.50.0.0/24", "10.50.0.9", &[("x", "10.50.0.7")])],
        },
        // `docker network connect --ip`.
        ask("pool-10.50.0.0/24", Some("10.50.0.33"), false),
    ];
    assert_eq!(verbs[..wanted.len()], wanted);

    // The container stops, then both networks go.
    let stopping = verbs.iter().position(|verb| matches!(verb, Verb::Leave { .. })).unwrap();
    let wanted = [
        Verb::Leave { network: first_network.clone(), endpoint: endpoint() },
        Verb::DeleteEndpoint { network: first_network.clone(), endpoint: endpoint() },
        Verb::ReleaseAddress { pool: "pool-10.42.0.0/16".into(), address: ip("10.42.0.4") },
        Verb::ReleaseAddress { pool: "pool-fd42:42::/64".into(), address: ip("fd42:42::5") },
    ];
    assert_eq!(verbs[stopping..stopping + wanted.len()], wanted);
    let release = verbs.iter().position(|verb| matches!(verb, Verb::ReleasePool { .. })).unwrap();
    assert_eq!(verbs[release], Verb::ReleasePool { pool: "pool-10.42.0.0/16".into() });
    assert!(verbs.contains(&Verb::DeleteNetwork { network: first_network }));
    let asked_for_details = verbs.iter().filter(|verb| matches!(verb, Verb::EndpointInfo { .. })).count();
    assert_eq!(asked_for_details, 2);
}

#[tokio::test]
async fn a_recorded_call_that_breaks_off_never_reaches_the_handler() {
    let handler = Scripted::new(agree);
    let door = Door::open(handler.clone(), Settings::default());
    let mut tried = BTreeMap::new();
    for (verb, body) in recorded().filter(|(_, body)| !body.is_empty()) {
        if verb.ends_with("ExternalConnectivity") || tried.insert(verb, body).is_some() {
            continue;
        }
        for length in 0..body.len() {
            let (status, _) = door.post(verb, &body.as_bytes()[..length]).await;
            assert_eq!(status, 400, "{verb} {}", &body[..length]);
        }
    }
    assert!(handler.calls().is_empty());
    assert_eq!(tried.len(), 11, "every verb that is decided was recorded");
}

#[tokio::test]
async fn noise_gets_an_answer_and_never_reaches_the_handler() {
    let handler = Scripted::new(agree);
    let door = Door::open(handler.clone(), Settings::default());
    // A linear congruential generator (Knuth, MMIX): the same noise each time.
    let mut state = 1_u64;
    let mut noise = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33).to_le_bytes()[0]
    };
    let verbs: std::collections::BTreeSet<_> =
        recorded().filter(|(_, body)| !body.is_empty()).map(|(v, _)| v).collect();
    for verb in verbs.into_iter().filter(|verb| !verb.ends_with("ExternalConnectivity")) {
        for length in [0, 1, 2, 3, 10, 100, 1000, 65_536] {
            let body: Vec<u8> = (0..length).map(|_| noise()).collect();
            assert_eq!(door.post(verb, body).await.0, 400, "{verb}");
        }
        for body in [
            "null",
            "0",
            "\"\"",
            "[{}]",
            "{}",
            "{\"\":null}",
            "\u{feff}{}",
            "{\"NetworkID\":{},\"PoolID\":[]}",
        ] {
            assert_eq!(door.post(verb, body).await.0, 400, "{verb} {body}");
        }
    }
    assert!(handler.calls().is_empty());
}
