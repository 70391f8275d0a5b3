//! Hosts that run the real `Tunnels` over modelled NATs, and a modelled WireGuard, in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use shoal_plan::{Backend, is_relayed, relay_address};
use shoal_schema::{Fact, FactKey};
use shoal_tunnels::{
    Effect, Evidence, Explanation, KEY_LIFETIME, KeyPair, Making, Status, Tunnels, explain, tunnel_address,
};
use shoal_types::{HostId, Moment, WallTime, WireGuardKey, WireGuardSecret};

use crate::net::{Filtering, Mapping, Nat, Net, Peer, REKEY_AFTER, REKEY_TIMEOUT};

pub(crate) const STEP: Duration = Duration::from_millis(250);
/// Facts travel within this.
pub(crate) const FACTS_TAKE: Duration = Duration::from_millis(750);
/// A relayed pair tries the direct way this often.
pub(crate) const COPY_EVERY: Duration = Duration::from_secs(5);
pub(crate) const PORT: u16 = 7375;
pub(crate) const RELAY_PORT: u16 = 7377;

pub(crate) struct World {
    pub(crate) now: Moment,
    /// Whether agents pass packets on.
    pub(crate) relays: bool,
    /// When copies of relayed packets were last sent, by sender and receiver.
    pub(crate) copied: BTreeMap<(usize, usize), Moment>,
    pub(crate) net: Net,
    pub(crate) hosts: Vec<Host>,
    /// What is under way: when it arrives, the author, the key, the value.
    pub(crate) news: Vec<(Moment, usize, FactKey, Option<Fact>)>,
    /// Whether containers send from a host to another.
    pub(crate) traffic: BTreeSet<(usize, usize)>,
}

pub(crate) struct Host {
    pub(crate) tunnels: Tunnels,
    pub(crate) peers: BTreeMap<usize, Peer>,
    pub(crate) said: BTreeMap<Vec<u8>, Fact>,
    pub(crate) sightings_told: usize,
}

pub(crate) fn id(host: usize) -> HostId {
    HostId::new([host as u8 + 1; 16])
}

pub(crate) fn key(host: usize) -> WireGuardKey {
    WireGuardKey::new([host as u8 + 1; 32])
}

pub(crate) fn making() -> Making {
    Making { backend: Backend::Kernel, port: PORT, software: None }
}

impl World {
    /// The first host is public, each NAT has one host behind it. Everybody probes everybody.
    pub(crate) fn new(nats: &[(Mapping, Filtering)]) -> Self {
        let mut net = Net::default();
        net.hosts.push((SocketAddr::new(Ipv4Addr::new(192, 0, 2, 1).into(), PORT), None));
        for (index, (mapping, filtering)) in nats.iter().enumerate() {
            let number = index as u8 + 1;
            let nat = Nat::new(Ipv4Addr::new(198, 51, 100, number), *mapping, *filtering);
            net.hosts.push((SocketAddr::new(Ipv4Addr::new(10, number, 0, 2).into(), PORT), Some(nat)));
        }
        let count = net.hosts.len();
        let mut world = Self {
            now: Moment::ZERO,
            relays: false,
            copied: BTreeMap::new(),
            net,
            hosts: Vec::new(),
            news: Vec::new(),
            traffic: BTreeSet::new(),
        };
        for host in 0..count {
            let mut tunnels = Tunnels::new(id(host), RELAY_PORT);
            let keys = KeyPair { secret: WireGuardSecret::new([host as u8 + 1; 32]), key: key(host) };
            tunnels.begin(keys, making(), None, world.now, WallTime::from_millis(0));
            let peers = (0..count).filter(|it| *it != host).map(|it| (it, Peer::default())).collect();
            world.hosts.push(Host { tunnels, peers, said: BTreeMap::new(), sightings_told: 0 });
            world.traffic.extend((0..count).filter(|it| *it != host).map(|it| (host, it)));
        }
        for host in 0..count {
            let facts = world.hosts[host].tunnels.facts();
            let address = world.net.hosts[host].0.ip();
            for other in 0..count {
                world.hosts[other].tunnels.place(id(host), vec![address]);
                for fact in &facts {
                    world.hosts[other].tunnels.learn(id(host), fact.clone());
                }
            }
        }
        world
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    /// Runs until two hosts have a working session; how long it took.
    pub(crate) fn run_until_up(&mut self, a: usize, b: usize, limit: Duration) -> Option<Duration> {
        let start = self.now;
        while self.now.since(start) < limit {
            if self.passes(a, b) && self.passes(b, a) {
                return Some(self.now.since(start));
            }
            self.step();
        }
        None
    }

    /// Whether both have keys, and a packet to where one sends reaches the other.
    pub(crate) fn passes(&mut self, from: usize, to: usize) -> bool {
        let fresh = |world: &Self, a: usize, b: usize| world.hosts[a].peers[&b].handshake.is_some();
        let Some(endpoint) = self.hosts[from].peers[&to].endpoint else { return false };
        let now = self.now;
        fresh(self, from, to)
            && fresh(self, to, from)
            && self.pass(from, to, endpoint, now).is_some_and(|(reached, _)| reached == to)
    }

    pub(crate) fn step(&mut self) {
        self.now = self.now + STEP;
        self.deliver_news();
        for host in 0..self.hosts.len() {
            // Clocks differ: each host reads its device at a moment of its own, once a second.
            let steps = self.now.as_nanos() / STEP.as_nanos() as u64;
            let turn = (steps + host as u64 * 3).is_multiple_of(4);
            if turn {
                self.observe(host);
            }
            self.project(host);
            self.send(host);
        }
    }

    pub(crate) fn deliver_news(&mut self) {
        let (due, later) = std::mem::take(&mut self.news).into_iter().partition(|(at, ..)| *at <= self.now);
        self.news = later;
        let due: Vec<(Moment, usize, FactKey, Option<Fact>)> = due;
        for (_, author, key, fact) in due {
            let old = match &fact {
                Some(fact) => self.hosts[author].said.insert(key.as_bytes().to_vec(), fact.clone()),
                None => self.hosts[author].said.remove(key.as_bytes()),
            };
            for host in (0..self.hosts.len()).filter(|host| *host != author) {
                let tunnels = &mut self.hosts[host].tunnels;
                match (&fact, &old) {
                    (Some(Fact::Sighting(sighting)), _) => {
                        tunnels.sight(id(author), sighting, self.now);
                    }
                    (None, Some(Fact::Sighting(it))) => {
                        tunnels.unsight(id(author), it.host, it.generation);
                    }
                    _ => {}
                }
            }
        }
    }

    pub(crate) fn observe(&mut self, host: usize) {
        let now = self.now;
        let status = |peer: &Peer| Status {
            handshake: peer.handshake.map(|at| now.since(at)),
            endpoint: peer.endpoint,
            received_bytes: peer.received_bytes,
            sent_bytes: peer.sent_bytes,
        };
        let it = &mut self.hosts[host];
        let statuses = it.peers.iter().map(|(other, peer)| ((0, key(*other)), status(peer))).collect();
        let mut effects = it.tunnels.observe(&statuses, now);
        let alive = it.peers.keys().map(|other| id(*other)).collect();
        effects.extend(it.tunnels.tick(&alive, &making(), KEY_LIFETIME, now, WallTime::from_millis(0)));
        for effect in effects {
            match effect {
                Effect::Sight(fact) => {
                    self.hosts[host].sightings_told += 1;
                    let fact = Fact::Sighting(fact);
                    self.news.push((now + FACTS_TAKE, host, fact.key(), Some(fact)));
                }
                Effect::Withdraw(key) => self.news.push((now + FACTS_TAKE, host, key, None)),
                _ => {}
            }
        }
    }

    /// Brings the model's device in line with what `Tunnels` wants, as the plan does.
    pub(crate) fn project(&mut self, host: usize) {
        let it = &mut self.hosts[host];
        let own = it.tunnels.serving().unwrap().clone();
        for (other, peer) in &mut it.peers {
            let Some(end) = it.tunnels.of(id(*other)).into_iter().next() else { continue };
            let wanted = it.tunnels.endpoint(own.generation, id(*other), &end, self.now);
            if wanted.is_some() && wanted != peer.wanted {
                peer.endpoint = wanted;
            }
            peer.wanted = wanted;
            peer.keepalive = it.tunnels.keepalive(&own, id(*other), &end, self.now);
            peer.key = Some(end.key);
        }
    }

    pub(crate) fn send(&mut self, host: usize) {
        let now = self.now;
        for other in self.hosts[host].peers.keys().copied().collect::<Vec<_>>() {
            let peer = &self.hosts[host].peers[&other];
            let due = |every: Duration| peer.sent.is_none_or(|at| now.since(at) >= every);
            let kept = peer.keepalive.is_some_and(|every| due(Duration::from_secs(every.into())));
            let spoken = self.traffic.contains(&(host, other)) && due(Duration::from_secs(1));
            if !(kept || spoken) {
                continue;
            }
            let fresh = peer.handshake.is_some_and(|at| now.since(at) < REKEY_AFTER);
            let may = peer.initiated.is_none_or(|at| now.since(at) >= REKEY_TIMEOUT);
            let usable = peer.handshake.is_some_and(|at| now.since(at) < Duration::from_secs(180));
            if !fresh && may {
                self.packet(host, other, 148, true);
            } else if usable {
                self.packet(host, other, if spoken { 256 } else { 32 }, false);
            }
        }
    }

    /// One packet and what follows of it at once: the answer to a handshake, or to a probe.
    pub(crate) fn packet(&mut self, from: usize, to: usize, bytes: u64, handshake: bool) {
        let now = self.now;
        let peer = self.hosts[from].peers.get_mut(&to).unwrap();
        let Some(endpoint) = peer.endpoint else { return };
        peer.sent_bytes += bytes;
        peer.sent = Some(now);
        if handshake {
            peer.initiated = Some(now);
        }
        let Some((reached, source)) = self.way(from, to, endpoint, handshake) else { return };
        if reached != to {
            return;
        }
        let there = self.hosts[to].peers.get_mut(&from).unwrap();
        // Only a holder of keys is heard; the initiation itself proves the sender's.
        if !handshake && there.handshake.is_none() {
            return;
        }
        there.received_bytes += bytes;
        there.endpoint = Some(source);
        there.sent_bytes += 92;
        let Some((back, seen)) = self.way(to, from, source, handshake) else { return };
        if back != from {
            return;
        }
        let here = self.hosts[from].peers.get_mut(&to).unwrap();
        here.received_bytes += 92;
        here.endpoint = Some(seen);
        if handshake {
            here.handshake = Some(now);
            self.hosts[to].peers.get_mut(&from).unwrap().handshake = Some(now);
        }
    }

    /// Where a packet arrives first: relayed ones may have copies that take no detour.
    pub(crate) fn way(
        &mut self,
        from: usize,
        to: usize,
        place: SocketAddr,
        is_handshake: bool,
    ) -> Option<(usize, SocketAddr)> {
        let now = self.now;
        let last = self.copied.get(&(from, to));
        if is_relayed(place) && (is_handshake || last.is_none_or(|last| now.since(*last) >= COPY_EVERY)) {
            self.copied.insert((from, to), now);
            let plan = self.hosts[from].tunnels.relay_plan(|_| Vec::new(), now);
            for direct in &plan.ends[&(id(to), 0)].direct {
                let passed = self.net.pass(from, *direct, now);
                if passed.is_some_and(|(reached, _)| reached == to) {
                    return passed;
                }
            }
        }
        self.pass(from, to, place, now)
    }

    /// One packet, through a relay if that is where it goes.
    pub(crate) fn pass(
        &mut self,
        from: usize,
        to: usize,
        place: SocketAddr,
        now: Moment,
    ) -> Option<(usize, SocketAddr)> {
        if !is_relayed(place) {
            return self.net.pass(from, place, now);
        }
        let plan = self.hosts[from].tunnels.relay_plan(|_| Vec::new(), now);
        let end = &plan.ends[&(id(to), 0)];
        assert_eq!(place.ip(), IpAddr::from(end.address));
        let source = SocketAddr::new(relay_address(tunnel_address(id(from), 0)).into(), RELAY_PORT);
        (self.relays && end.via.len() > 1).then_some((to, source))
    }

    pub(crate) fn is_relayed(&self, from: usize, to: usize) -> bool {
        self.hosts[from].tunnels.is_relayed(id(to), self.now)
    }

    pub(crate) fn explained(&self, from: usize, to: usize) -> Explanation {
        let tunnels = &self.hosts[from].tunnels;
        let looked_for = tunnels.looked_for(id(to), self.now).unwrap();
        explain(Evidence {
            is_up: looked_for == Duration::ZERO,
            looked_for,
            clashes: tunnels.is_clashing(id(to)),
            quic_answers: false,
            port_refused: false,
            strangers: false,
            clock_behind: Duration::ZERO,
            nat_here: tunnels.nat(id(from)),
            nat_there: tunnels.nat(id(to)),
            passes: None,
            full: 1370,
        })
    }
}
