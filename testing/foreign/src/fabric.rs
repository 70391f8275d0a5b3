//! What a whole host makes of what other hosts send and of what its disk gives back.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use shoal_fabric::{At, Effect, Fabric, Introduction, LocalHost, LocalTunnels};
use shoal_networks::NetworkRequest;
use shoal_plan::Backend;
use shoal_trust::{Certificate, Claim, FabricRoot};
use shoal_tunnels::{KEY_LIFETIME, Making};
use shoal_types::{HostId, Moment, WallTime};

use crate::hosts::{host, key};
use crate::parts;

/// A run of messages from another member. Whatever they were, this host goes on, writes to members only, and what it
/// saved can be taken up again.
pub(crate) fn fabric_messages(bytes: &[u8]) {
    let mut founder = founder();
    for message in parts(bytes) {
        founder.hear(message);
    }
    assert!(founder.stopped.is_none(), "no other host stops this one: {:?}", founder.stopped);
    founder.reopen().expect("what was saved can be taken up again");
}

/// The welcome of the member that let this host in. It is refused in a sentence, or what was saved can be taken up.
pub(crate) fn welcome(bytes: &[u8]) {
    let mut joiner = Member::alone(2);
    let introduction = Introduction { welcome: bytes.to_vec(), ..let_in(&founder()) };
    match joiner.fabric.join(introduction, joiner.at) {
        Ok(effects) => {
            joiner.act(effects);
            joiner.reopen().expect("what was saved can be taken up again");
        }
        Err(sentence) => assert!(!sentence.is_empty(), "a refusal is a sentence"),
    }
}

/// What the store gives back: a key, its value, the next key. It is refused in a sentence, or taken up; and then so is
/// what is saved on the way.
pub(crate) fn stored_state(bytes: &[u8]) {
    let parts = parts(bytes);
    let disk = parts.chunks_exact(2).map(|pair| (pair[0].to_vec(), pair[1].to_vec())).collect();
    match Member::open(1, disk) {
        Ok(member) => {
            member.reopen().expect("what was taken up once can be taken up again");
        }
        Err(sentence) => assert!(!sentence.is_empty(), "a refusal is a sentence"),
    }
}

/// A host with its disk.
pub(crate) struct Member {
    pub(crate) fabric: Fabric,
    pub(crate) disk: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What it sent to the other host as messages.
    pub(crate) sent: Vec<Vec<u8>>,
    /// What it sent to the other host as datagrams.
    datagrams: Vec<Vec<u8>>,
    number: u8,
    at: At,
    stopped: Option<String>,
}

impl Member {
    fn alone(number: u8) -> Self {
        Self::open(number, BTreeMap::new()).expect("nothing was stored")
    }

    fn open(number: u8, disk: BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Self, String> {
        let at = At { now: Moment::ZERO, wall: WallTime::from_millis(1_800_000_000_000) };
        let stored: Vec<_> = disk.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let (fabric, effects) =
            Fabric::open(Arc::new(key(number)), local(number), &stored, number.into(), at)?;
        let mut member =
            Self { fabric, disk, sent: Vec::new(), datagrams: Vec::new(), number, at, stopped: None };
        member.act(effects);
        Ok(member)
    }

    fn reopen(&self) -> Result<Self, String> {
        Self::open(self.number, self.disk.clone())
    }

    fn later(&mut self) -> At {
        let step = Duration::from_millis(50);
        self.at = At { now: self.at.now + step, wall: self.at.wall + step };
        self.at
    }

    /// Takes a message of the other host.
    pub(crate) fn hear(&mut self, message: &[u8]) {
        let at = self.later();
        let effects = self.fabric.message(self.other(), message, at);
        self.act(effects);
        let effects = self.fabric.tick(at);
        self.act(effects);
    }

    /// Saves what is to be saved and keeps what is to be sent.
    pub(crate) fn act(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Save { writes, .. } => {
                    for (key, value) in writes {
                        match value {
                            Some(value) => self.disk.insert(key, value),
                            None => self.disk.remove(&key),
                        };
                    }
                }
                Effect::Clear(prefix) => self.disk.retain(|key, _| !key.starts_with(&prefix)),
                Effect::Message(to, message) => {
                    self.must_know(to);
                    self.sent.push(message);
                }
                Effect::Datagram(to, bytes) => {
                    self.must_know(to);
                    self.datagrams.push(bytes);
                }
                Effect::Stop(sentence) => self.stopped = Some(sentence),
                _ => {}
            }
        }
    }

    fn other(&self) -> HostId {
        host(3 - self.number)
    }

    fn must_know(&self, to: HostId) {
        assert_eq!(to, self.other(), "nobody is written to but members");
    }
}

/// Host 1, which has made the fabric and a network in it.
pub(crate) fn founder() -> Member {
    let mut member = Member::alone(1);
    let effects = member.fabric.init(&FabricRoot::from_seed([5; 32]), member.at).expect("it was alone");
    member.act(effects);
    let request = NetworkRequest {
        name: "shop".parse().expect("a name"),
        subnets: Vec::new(),
        v6: true,
        internal: false,
        labels: BTreeMap::new(),
        options: BTreeMap::new(),
    };
    let at = member.later();
    let (_, effects) = member.fabric.create_network(request, at).expect("nothing stands against it");
    member.act(effects);
    member
}

/// Host 2, let in by host 1, after some seconds in which they talked. Each still holds all messages that it sent.
pub(crate) fn joined(founder: &mut Member, seconds: u32) -> Member {
    let mut joined = Member::alone(2);
    let effects = joined.fabric.join(let_in(founder), joined.at).expect("the welcome is whole");
    joined.act(effects);
    let (mut said, mut answered) = (0, founder.sent.len());
    for _ in 0..seconds * 10 {
        said = pass(&mut joined, founder, said);
        answered = pass(founder, &mut joined, answered);
    }
    joined
}

/// Delivers what a host sent after its first `done` messages, and all datagrams; returns how many messages it has sent.
fn pass(from: &mut Member, to: &mut Member, done: usize) -> usize {
    for datagram in std::mem::take(&mut from.datagrams) {
        let effects = to.fabric.datagram(from.fabric.me(), &datagram, to.at);
        to.act(effects);
    }
    from.sent[done..].iter().for_each(|message| to.hear(message));
    let at = to.later();
    let effects = to.fabric.tick(at);
    to.act(effects);
    from.sent.len()
}

/// What host 1 tells host 2 when it lets it in.
pub(crate) fn let_in(founder: &Member) -> Introduction {
    let identity = founder.fabric.identity().expect("it made a fabric");
    let name = "host-2".parse().expect("a name");
    let claim = Claim { fabric: identity.fabric, key: key(2).public(), name, from: founder.at.wall };
    Introduction {
        certificate: Certificate::issue_by_member(&key(1), claim),
        root_public: identity.root_public,
        introducer: host(1),
        members: vec![(host(1), key(1).public())],
        welcome: founder.fabric.welcome(host(2)).expect("a member welcomes"),
    }
}

fn local(number: u8) -> LocalHost {
    LocalHost {
        name: format!("host-{number}").parse().expect("a name"),
        addresses: vec![IpAddr::from([192, 0, 2, number])],
        quic_port: 7373,
        tunnels: LocalTunnels {
            prefix: "shoal".to_owned(),
            vxlan_port: 7374,
            relay_port: 7377,
            making: Making { backend: Backend::Kernel, port: 7375, software: None },
            key_lifetime: KEY_LIFETIME,
        },
        underlay_mtu: 1500,
        version: "0.1.0".to_owned(),
        lease: shoal_fabric::LEASE,
        probe_link: None,
    }
}
