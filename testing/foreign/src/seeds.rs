//! Inputs that reach deep into each parser, from which the corpora are written.

mod machine;
mod talk;

use std::collections::BTreeMap;

use shoal_facts::Effect;
use shoal_membership::Membership;
use shoal_networks::{DockerRecord, EndpointRecord, LeaseRecord, Naming, PoolRecord, Record, Stage};
use shoal_schema::{
    Decision, EndpointFact, Fact, FactsVersion, ForgottenFact, GiftFact, Grant, HostFact, LeaseFact,
    NetworkFact, NetworkSpec, RosterFact, SecretFact, SightingFact, SpareFact, Subnet, Taken, TakenFact,
    TokenFact, TunnelFact, UseFact, VoteFact,
};
use shoal_trust::{Certificate, Claim, FabricRoot, Token};
use shoal_types::{FabricId, HostId, MacAddr, Moment, NetworkId, PoolIndex, Stamp, Vni, WallTime};
use shoal_types::{WireGuardKey, WireGuardSecret};

use crate::hosts::{Everybody, host, key, new_facts};
use crate::join;

pub(crate) use machine::{configuration_files, docker_answers, stored_states};
pub(crate) use talk::{fabric_messages, transport_frames, welcomes};

/// Inputs by name.
type Seeds = Vec<(String, Vec<u8>)>;

/// Numbers inputs of one kind.
fn numbered(inputs: impl IntoIterator<Item = Vec<u8>>) -> Seeds {
    inputs.into_iter().enumerate().map(|(n, bytes)| (format!("{n:02}"), bytes)).collect()
}

const FABRIC: FabricId = FabricId::new([7; 16]);
const NETWORK: NetworkId = NetworkId::new([9; 16]);

fn read<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("seeds are well formed")
}

/// Ends as a token of the fabric would.
fn later() -> WallTime {
    WallTime::from_millis(1_900_000_000_000)
}

pub(crate) fn certificates() -> Seeds {
    let root = FabricRoot::from_seed([5; 32]);
    let claim = |n: u8, name: &str| Claim {
        fabric: root.id(),
        key: key(n).public(),
        name: read(name),
        from: WallTime::from_millis(1_800_000_000_000),
    };
    let by_root = Certificate::issue_by_root(&root, claim(1, "host-1"));
    let by_member = Certificate::issue_by_member(&key(1), claim(2, &"n".repeat(200)));
    vec![("by-root".to_owned(), by_root.encode()), ("by-member".to_owned(), by_member.encode())]
}

pub(crate) fn join_tokens() -> Seeds {
    let token = Token::new(FABRIC, [3; 20], later());
    let text = token.reveal();
    let upper = text.to_uppercase();
    vec![("right".to_owned(), text.into_bytes()), ("upper-case".to_owned(), upper.into_bytes())]
}

pub(crate) fn admin_commands() -> Seeds {
    let texts = [
        r#"{"command":"init","name":"host-1"}"#,
        r#"{"command":"token","ttl_s":3600}"#,
        r#"{"command":"join","host":"192.0.2.1","port":7373,"token":"shoal1-x","advertise":["2001:db8::2"]}"#,
        r#"{"command":"forget","host":"abcd"}"#,
        r#"{"command":"network_create","name":"shop","subnets":[{"prefix":"10.77.0.0/16","gateway":"10.77.0.1",
            "ip_range":"10.77.4.0/24","aux":{"router":"10.77.0.9"}}],"ipv6":true,"labels":{"a":"b"}}"#,
        r#"{"command":"network_delete","name":"shop"}"#,
        r#"{"command":"doctor"}"#,
    ];
    numbered(texts.map(|text| text.as_bytes().to_vec()))
}

/// The first two calls of each verb that a dockerd was seen to make.
pub(crate) fn docker_calls() -> Seeds {
    let recorded = include_str!("../../../doors/docker/tests/data/recorded.txt");
    let mut seen = BTreeMap::<&str, usize>::new();
    let mut seeds = Vec::new();
    for line in recorded.lines().filter(|line| !line.starts_with('#')) {
        let Some((verb, body)) = line.split_once(' ') else { continue };
        let count = seen.entry(verb).or_default();
        *count += 1;
        if *count <= 2 {
            let bytes = join(&[format!("/{verb}").as_bytes(), body.as_bytes()]);
            seeds.push((format!("{verb}-{count}"), bytes));
        }
    }
    seeds
}

pub(crate) fn facts() -> Seeds {
    let seeds = every_fact().into_iter().map(|(name, fact)| {
        let bytes = join(&[fact.key().as_bytes(), &fact.encode()]);
        (name.to_owned(), bytes)
    });
    seeds.collect()
}

fn every_fact() -> Vec<(&'static str, Fact)> {
    vec![
        ("host", Fact::Host(host_fact())),
        ("taken", Fact::Taken(TakenFact { prefixes: vec![taken("10.0.0.0/8"), taken("fd00::/8")] })),
        ("endpoint", Fact::Endpoint(endpoint_fact())),
        ("network", Fact::Network(network_fact())),
        ("network-deleted", Fact::Network(NetworkFact { spec: None, ..network_fact() })),
        ("gift", Fact::Gift(gift_fact())),
        ("use", Fact::Use(UseFact { network: NETWORK, off: true, containers: vec!["db".to_owned()] })),
        (
            "sighting",
            Fact::Sighting(SightingFact {
                host: HostId::new([7; 16]),
                generation: 2,
                endpoint: ([198, 51, 100, 7], 40_000).into(),
            }),
        ),
        ("token", Fact::Token(TokenFact { verifier: [4; 32], expires: later(), revoked: false })),
        ("token-revoked", Fact::Token(TokenFact { verifier: [4; 32], expires: later(), revoked: true })),
        (
            "tunnel",
            Fact::Tunnel(TunnelFact {
                generation: 7,
                key: WireGuardKey::new([5; 32]),
                port: 7376,
                serving: true,
                preshared: true,
            }),
        ),
        (
            "lease",
            Fact::Lease(LeaseFact {
                term: 3,
                witnesses: vec![HostId::new([1; 16]), HostId::new([2; 16])],
                before: vec![HostId::new([1; 16])],
                settled: vec![HostId::new([2; 16])],
            }),
        ),
        (
            "spare",
            Fact::Spare(SpareFact {
                network: NETWORK,
                pool: PoolIndex(1),
                spare: vec![(read("10.64.0.64"), read("10.64.0.127"))],
                wanted: vec![(read("10.64.0.32"), read("10.64.0.63"))],
            }),
        ),
        (
            "vote",
            Fact::Vote(VoteFact {
                owner: HostId::new([7; 16]),
                term: 3,
                taker: HostId::new([1; 16]),
                seen: FactsVersion { incarnation: 1, counter: 99 },
                decision: Decision::Taken,
            }),
        ),
        ("roster", Fact::Roster(RosterFact { digest: [9; 32] })),
        ("secret", Fact::Secret(SecretFact { secret: WireGuardSecret::new([6; 32]) })),
        (
            "forgotten",
            Fact::Forgotten(ForgottenFact { host: host(3), name: "host-3".to_owned(), at: later() }),
        ),
    ]
}

fn host_fact() -> HostFact {
    HostFact {
        fabric: FABRIC,
        name: read("host-1"),
        addresses: vec![read("192.0.2.1"), read("2001:db8::1")],
        quic_port: 7373,
        vxlan_port: 7374,
        underlay_mtu: 1500,
        version: "0.1.0".to_owned(),
        certificate: vec![1; 200],
    }
}

fn taken(prefix: &str) -> Taken {
    Taken { prefix: read(prefix), by: "route via eth0".to_owned() }
}

fn endpoint_fact() -> EndpointFact {
    EndpointFact {
        network: NETWORK,
        endpoint: read(&"ab".repeat(32)),
        v4: Some(read("10.77.0.2")),
        v6: Some(read("fd77::2")),
        mac: MacAddr::new([2, 0, 0, 0, 0, 1]),
        container: Some("db".to_owned()),
    }
}

fn network_fact() -> NetworkFact {
    let v4 = Subnet {
        prefix: read("10.77.0.0/16"),
        gateway: read("10.77.0.1"),
        dynamic: Some(read("10.77.4.0/24")),
        reserved: [("router".to_owned(), read("10.77.0.9"))].into(),
    };
    let v6 = Subnet {
        prefix: read("fd77::/64"),
        gateway: read("fd77::1"),
        dynamic: None,
        reserved: BTreeMap::new(),
    };
    let spec = NetworkSpec {
        name: read("shop"),
        vni: Vni::from_random(4711),
        creator: host(1),
        subnets: vec![v4, v6],
        grants: vec![Grant {
            pool: PoolIndex(0),
            first: read("10.77.0.0"),
            last: read("10.77.127.255"),
            to: host(1),
        }],
        options: [("shoal.mtu".to_owned(), "1300".to_owned())].into(),
        labels: [("com.example".to_owned(), "yes".to_owned())].into(),
        internal: true,
    };
    NetworkFact {
        id: NETWORK,
        stamp: Stamp { wall: later(), logical: 1 },
        heard: Stamp::default(),
        spec: Some(spec),
    }
}

fn gift_fact() -> GiftFact {
    GiftFact {
        network: NETWORK,
        pool: PoolIndex(0),
        first: read("10.77.64.0"),
        last: read("10.77.95.255"),
        to: host(2),
        from: None,
        epoch: 1,
    }
}

/// What host 1 sends to host 2 while it publishes, tombstones included, and answers what host 2 asks.
pub(crate) fn facts_messages() -> Seeds {
    let mut one = new_facts(1);
    let mut two = new_facts(2);
    let now = Moment::from_nanos(1_000_000);
    let put = |(_, fact): &(&str, Fact)| (fact.key().into_bytes(), Some(fact.encode()));
    let edits: Vec<_> = every_fact().iter().map(put).collect();
    let mut sent = sent_to(host(2), &one.publish(edits, now));
    let remove = (Fact::Gift(gift_fact()).key().into_bytes(), None);
    sent.extend(sent_to(host(2), &one.publish(vec![remove], now)));
    let asked: Vec<Vec<u8>> = sent
        .iter()
        .flat_map(|message| sent_to(host(1), &two.receive(host(1), message, now, &Everybody)))
        .collect();
    let answered = asked.iter().flat_map(|ask| sent_to(host(2), &one.receive(host(2), ask, now, &Everybody)));
    let answers: Vec<Vec<u8>> = answered.collect();
    let whole = one.snapshot_for(host(2));
    let all = |messages: &[Vec<u8>]| join(&messages.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let runs = [("pushed", sent), ("asked", asked), ("answered", answers), ("whole", whole)];
    let some = runs.into_iter().filter(|(_, messages)| !messages.is_empty());
    some.map(|(name, messages)| (name.to_owned(), all(&messages))).collect()
}

fn sent_to(whom: HostId, effects: &[Effect]) -> Vec<Vec<u8>> {
    let messages = effects.iter().filter_map(|effect| match effect {
        Effect::Send { to, message } if *to == whom => Some(message.clone()),
        _ => None,
    });
    messages.collect()
}

/// What host 1 sends to host 2 in the first minute after it has announced itself.
pub(crate) fn membership_packets() -> Seeds {
    let (mut one, mut two) = (Membership::new(host(1), 1, 1), Membership::new(host(2), 1, 2));
    let mut now = Moment::ZERO;
    let mut packets = Vec::new();
    let mut under_way = one.announce([host(2)], now);
    for _ in 0..60 {
        let mut answers = Vec::new();
        for effect in &under_way {
            if let shoal_membership::Effect::Send { bytes, .. } = effect {
                packets.push(bytes.clone());
                answers.extend(two.receive(host(1), bytes, now));
            }
        }
        now = now + std::time::Duration::from_secs(1);
        answers.extend(two.tick(now));
        under_way = one.tick(now);
        for effect in &answers {
            if let shoal_membership::Effect::Send { bytes, .. } = effect {
                under_way.extend(one.receive(host(2), bytes, now));
            }
        }
    }
    packets.sort();
    packets.dedup();
    packets.truncate(24);
    let run: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
    vec![("first-packet".to_owned(), join(&run[..1])), ("first-minute".to_owned(), join(&run))]
}

pub(crate) fn stored_records() -> Seeds {
    let endpoint = endpoint_fact();
    let records = [
        Record::Pool(PoolRecord {
            id: "pool-1".to_owned(),
            prefix: read("10.77.0.0/16"),
            gateway: read("10.77.0.1"),
            dynamic: Some(read("10.77.4.0/24")),
            reserved: [read("10.77.0.9")].into(),
            network: Some((NETWORK, PoolIndex(0))),
            name: Some(read("shop")),
            claimed: Some("d0cce2".to_owned()),
            requests: 1,
            requested: later(),
        }),
        Record::Docker(DockerRecord {
            docker: "d0cce2".to_owned(),
            network: NETWORK,
            naming: Naming::Pending(vec![1, 2, 3]),
            listed: true,
        }),
        Record::Endpoint(EndpointRecord {
            endpoint: endpoint.endpoint,
            docker: "d0cce2".to_owned(),
            network: NETWORK,
            v4: endpoint.v4,
            v6: endpoint.v6,
            mac: endpoint.mac,
            stage: Stage::Joined,
            container: endpoint.container,
        }),
        Record::Lease(LeaseRecord {
            network: NETWORK,
            pool: PoolIndex(0),
            address: read("10.77.0.2"),
            since: later(),
        }),
        Record::Off(NETWORK),
    ];
    numbered(records.map(|record| record.encode()))
}

pub(crate) fn engine_answers() -> Seeds {
    let (own, other) = ("70".repeat(32), "8f".repeat(32));
    let peer = format!(
        "public_key={other}\npreshared_key={own}\nendpoint=192.0.2.1:7375\npersistent_keepalive_interval=25\n\
         allowed_ip=240.0.0.2/32\nallowed_ip=fd00::2/128\nrx_bytes=17\ntx_bytes=18\n\
         last_handshake_time_sec=1800000000\nlast_handshake_time_nsec=5\nprotocol_version=1\n"
    );
    let all = format!("private_key={own}\nlisten_port=7375\nfwmark=0\n{peer}errno=0\n\n");
    numbered([all.into_bytes(), b"errno=0\n\n".to_vec(), b"errno=-98\n\n".to_vec()])
}

/// Messages as `linux/wireguard.h` lays them out: type 3 is a private key, 6 a port, 8 the other ends.
pub(crate) fn kernel_answers() -> Seeds {
    let attribute = |kind: u16, value: &[u8]| {
        let length = u16::try_from(4 + value.len()).expect("seeds are short");
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    let message = |kind: u16, body: &[u8]| {
        let length = u32::try_from(16 + body.len()).expect("seeds are short");
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], body].concat()
    };
    let allowed = [attribute(1, &[2, 0]), attribute(2, &[240, 0, 0, 2]), attribute(3, &[32])].concat();
    let peer = [
        attribute(1, &[8; 32]),
        attribute(2, &[5; 32]),
        attribute(4, &[2, 0, 28, 207, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        attribute(5, &[25, 0]),
        attribute(6, &[1; 16]),
        attribute(7, &[1; 8]),
        attribute(9, &attribute(0, &allowed)),
    ]
    .concat();
    let device =
        [attribute(3, &[7; 32]), attribute(6, &[207, 28]), attribute(8, &attribute(0, &peer))].concat();
    let answer = message(30, &[&[0, 1, 0, 0], &device[..]].concat());
    numbered([answer, message(3, &[0; 4]), message(2, &[254, 255, 255, 255])])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts;

    #[test]
    fn every_seed_is_read() {
        assert!(certificates().iter().all(|(_, bytes)| Certificate::decode(bytes).is_ok()));
        assert!(stored_records().iter().all(|(_, bytes)| Record::decode(bytes).is_some()));
        for (name, bytes) in facts() {
            assert!(Fact::decode(parts(&bytes)[0], parts(&bytes)[1]).is_ok(), "{name}");
        }
        for (_, bytes) in admin_commands() {
            assert!(serde_json::from_slice::<shoal_api::Command>(&bytes).is_ok());
        }
        let token = String::from_utf8(join_tokens()[0].1.clone()).unwrap();
        assert!(token.parse::<Token>().is_ok());
    }

    #[test]
    fn the_seeds_of_replication_are_applied() {
        for (name, bytes) in facts_messages().into_iter().filter(|(name, _)| name != "asked") {
            let mut facts = new_facts(2);
            for message in parts(&bytes) {
                facts.receive(host(1), message, Moment::from_nanos(1), &Everybody);
            }
            assert!(facts.of(host(1)).count() > 0, "{name}");
        }
    }

    #[test]
    fn the_seeds_of_membership_make_a_host_alive() {
        for (name, bytes) in membership_packets() {
            let mut membership = Membership::new(host(2), 1, 2);
            for packet in parts(&bytes) {
                membership.receive(host(1), packet, Moment::from_nanos(1));
            }
            assert!(membership.alive().contains(&host(1)), "{name}: {:?}", membership.stats());
        }
    }

    #[test]
    fn every_verb_of_dockerd_is_among_the_seeds() {
        let read = docker_calls().into_iter().filter(|(_, bytes)| {
            let path = String::from_utf8(parts(bytes)[0].to_vec()).unwrap();
            matches!(shoal_docker::read_call(&path, parts(bytes)[1]), Some(Ok(_)))
        });
        assert!(read.count() >= 11);
    }
}
