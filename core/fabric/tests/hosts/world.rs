//! Hosts connected by queues: what one sends another gets, in order, unless it is cut off.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use shoal_fabric::{At, Effect, Fabric, Introduction, KeyPair, LocalHost, LocalTunnels};
use shoal_networks::{EngineRequest, Refusal, Reply, Verb};
use shoal_plan::Backend;
use shoal_trust::{Certificate, Claim, FabricRoot, HostKey, TrustView};
use shoal_tunnels::Making;
use shoal_types::{EndpointId, HostId, Moment, WallTime, WireGuardKey, WireGuardSecret};

pub(crate) fn key(n: usize) -> HostKey {
    HostKey::from_seed([u8::try_from(n).unwrap() + 1; 32])
}

pub(crate) fn endpoint(n: u32) -> EndpointId {
    format!("{n:064x}").parse().unwrap()
}

fn local(n: usize) -> LocalHost {
    LocalHost {
        name: format!("host-{n}").parse().unwrap(),
        addresses: vec![IpAddr::from([192, 0, 2, u8::try_from(n).unwrap() + 1])],
        quic_port: 7373,
        tunnels: LocalTunnels {
            prefix: "shoal".into(),
            vxlan_port: 7374,
            relay_port: 7377,
            making: Making { backend: Backend::Kernel, port: 7375, software: None },
            key_lifetime: shoal_tunnels::KEY_LIFETIME,
        },
        underlay_mtu: 1500,
        version: "test".into(),
        lease: shoal_fabric::LEASE,
        probe_link: None,
    }
}

pub(crate) struct Host {
    pub(crate) fabric: Fabric,
    pub(crate) disk: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) engine: Vec<EngineRequest>,
    pub(crate) trust: Option<TrustView>,
    pub(crate) notices: Vec<String>,
    starts: u64,
    keys: u8,
}

enum Packet {
    Datagram(HostId, HostId, Vec<u8>),
    Message(HostId, HostId, Vec<u8>),
}

pub(crate) struct World {
    pub(crate) hosts: Vec<Host>,
    pub(crate) at: At,
    queue: VecDeque<Packet>,
    cut: BTreeSet<HostId>,
    /// The kind of messages that never arrive.
    pub(crate) lost: Option<u8>,
}

impl World {
    pub(crate) fn new(hosts: usize) -> Self {
        let at = At { now: Moment::ZERO, wall: WallTime::from_millis(1_700_000_000_000) };
        let mut world =
            Self { hosts: Vec::new(), at, queue: VecDeque::new(), cut: BTreeSet::new(), lost: None };
        (0..hosts).for_each(|_| world.add());
        world
    }

    fn add(&mut self) {
        let n = self.hosts.len();
        let (fabric, effects) = Fabric::open(Arc::new(key(n)), local(n), &[], n as u64, self.at).unwrap();
        assert!(effects.is_empty(), "a host alone has nothing to do");
        self.hosts.push(Host {
            fabric,
            disk: BTreeMap::new(),
            engine: Vec::new(),
            trust: None,
            notices: Vec::new(),
            starts: 0,
            keys: 0,
        });
    }

    /// Hosts of one fabric.
    pub(crate) fn joined(hosts: usize) -> Self {
        let mut world = Self::new(1);
        let effects = world.hosts[0].fabric.init(&FabricRoot::from_seed([9; 32]), world.at).unwrap();
        world.act(0, effects);
        (1..hosts).for_each(|_| {
            world.join_another();
        });
        world.run(5);
        world
    }

    pub(crate) fn join_another(&mut self) -> usize {
        self.add();
        self.join(self.hosts.len() - 1);
        self.hosts.len() - 1
    }

    /// Joins as the transport lets a host join.
    pub(crate) fn join(&mut self, n: usize) {
        let (introduction, at) = (self.introduction(n), self.at);
        let effects = self.hosts[n].fabric.join(introduction, at).unwrap();
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Stop(_))));
        self.act(n, effects);
    }

    /// What the first host tells one that shows a token, with a certificate that it issued.
    pub(crate) fn introduction(&mut self, n: usize) -> Introduction {
        let at = self.at;
        let (_, effects) = self.fabric(0).token([7; 20], Duration::from_secs(60), at).unwrap();
        self.act(0, effects);
        let (welcome, effects) = self.fabric(0).let_in(key(n).id()).unwrap();
        self.act(0, effects);
        let member = &self.hosts[0].fabric;
        let identity = member.identity().unwrap();
        let name = format!("host-{n}").parse().unwrap();
        let claim = Claim { fabric: identity.fabric, key: key(n).public(), name, from: at.wall };
        let members = &self.hosts[0].trust.as_ref().unwrap().members;
        Introduction {
            certificate: Certificate::issue_by_member(&key(0), claim),
            root_public: identity.root_public,
            introducer: member.me(),
            members: members.iter().map(|(host, key)| (*host, *key)).collect(),
            welcome,
        }
    }

    pub(crate) fn fabric(&mut self, host: usize) -> &mut Fabric {
        &mut self.hosts[host].fabric
    }

    pub(crate) fn cut(&mut self, host: usize) {
        self.cut.insert(self.hosts[host].fabric.me());
    }

    pub(crate) fn heal(&mut self, host: usize) {
        self.cut.remove(&self.hosts[host].fabric.me());
    }

    pub(crate) fn verb(&mut self, host: usize, verb: Verb) -> Result<Reply, Refusal> {
        let (effects, reply) = self.hosts[host].fabric.verb(verb, self.at);
        self.act(host, effects);
        reply
    }

    /// An address that the host owns, of its first network.
    pub(crate) fn address_of(&self, host: usize) -> IpAddr {
        let networks = self.hosts[host].fabric.networks();
        let (_, spec) = networks.catalog().iter().next().unwrap();
        match spec.subnets[0].prefix.network() {
            IpAddr::V4(first) => IpAddr::V4((u32::from(first) + 77).into()),
            IpAddr::V6(_) => panic!("the first subnet is an IPv4 one"),
        }
    }

    pub(crate) fn act(&mut self, n: usize, effects: Vec<Effect>) {
        let me = self.hosts[n].fabric.me();
        for effect in effects {
            let host = &mut self.hosts[n];
            match effect {
                Effect::Save { writes, .. } => {
                    for (key, value) in writes {
                        match value {
                            Some(value) => drop(host.disk.insert(key, value)),
                            None => drop(host.disk.remove(&key)),
                        }
                    }
                }
                Effect::Clear(prefix) => host.disk.retain(|key, _| !key.starts_with(&prefix)),
                Effect::Engine(request) => host.engine.push(request),
                Effect::Datagram(to, bytes) => self.queue.push_back(Packet::Datagram(me, to, bytes)),
                Effect::Message(to, bytes) => self.queue.push_back(Packet::Message(me, to, bytes)),
                Effect::Trust(view) => host.trust = Some(view),
                Effect::DrawTunnelKeys => {
                    host.keys += 1;
                    let seed: Vec<u8> = [host.keys, n as u8 + 1].repeat(16);
                    let bytes: [u8; 32] = seed.try_into().unwrap();
                    let keys = KeyPair { secret: WireGuardSecret::new(bytes), key: WireGuardKey::new(bytes) };
                    let effects = host.fabric.tunnel_keys(keys, self.at);
                    self.act(n, effects);
                }
                Effect::Stop(sentence) => panic!("{sentence}"),
                Effect::Notice(sentence) => host.notices.push(sentence),
                Effect::Project(_) | Effect::ProjectSoon | Effect::Certificate(_) => {}
            }
        }
    }

    fn deliver(&mut self) {
        while let Some(packet) = self.queue.pop_front() {
            let (from, to) = match &packet {
                Packet::Datagram(from, to, _) | Packet::Message(from, to, _) => (*from, *to),
            };
            let kind = match &packet {
                Packet::Message(_, _, bytes) => bytes.first().copied(),
                Packet::Datagram(..) => None,
            };
            let is_lost = kind.is_some() && kind == self.lost;
            let open = !is_lost && !self.cut.contains(&from) && !self.cut.contains(&to);
            let Some(host) = self.hosts.iter().position(|host| host.fabric.me() == to).filter(|_| open)
            else {
                continue;
            };
            let fabric = &mut self.hosts[host].fabric;
            let effects = match packet {
                Packet::Datagram(_, _, bytes) => fabric.datagram(from, &bytes, self.at),
                Packet::Message(_, _, bytes) => fabric.message(from, &bytes, self.at),
            };
            self.act(host, effects);
        }
    }

    /// Lets seconds pass.
    pub(crate) fn run(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            self.deliver();
            let step = Duration::from_millis(100);
            self.at = At { now: self.at.now + step, wall: self.at.wall + step };
            for host in 0..self.hosts.len() {
                if self.hosts[host].fabric.next_timeout().is_some_and(|due| due <= self.at.now) {
                    let effects = self.hosts[host].fabric.tick(self.at);
                    self.act(host, effects);
                }
            }
        }
        self.deliver();
    }

    /// The agent starts again with what it wrote.
    pub(crate) fn restart(&mut self, n: usize) {
        let host = &mut self.hosts[n];
        host.starts += 1;
        let stored: Vec<_> = host.disk.clone().into_iter().collect();
        let seed = 1000 * host.starts + n as u64;
        let (fabric, effects) = Fabric::open(Arc::new(key(n)), local(n), &stored, seed, self.at).unwrap();
        host.fabric = fabric;
        self.act(n, effects);
    }

    /// All hosts hold the same facts.
    pub(crate) fn agree(&self) {
        let heads: Vec<_> = self.hosts.iter().map(|host| host.fabric.heads()).collect();
        assert!(heads.windows(2).all(|pair| pair[0] == pair[1]), "{heads:?}");
    }
}
