//! Hosts behind NATs of every kind find each other through what others tell, within a stated time, or say that they
//! cannot. Each host runs the real `Tunnels`; NATs and WireGuard are models, the clock is virtual.
#![allow(clippy::unwrap_used, reason = "a model stops where it is wrong")]

mod net;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use net::{Filtering, Mapping, Nat, Net, Peer, REKEY_AFTER, REKEY_TIMEOUT};
use shoal_plan::Backend;
use shoal_schema::{Fact, FactKey};
use shoal_tunnels::{Effect, Evidence, Explanation, KEY_LIFETIME, KeyPair, Making, Status, Tunnels, explain};
use shoal_types::{HostId, Moment, WallTime, WireGuardKey, WireGuardSecret};

const STEP: Duration = Duration::from_millis(250);
/// Facts travel within this.
const FACTS_TAKE: Duration = Duration::from_millis(750);
const PORT: u16 = 7375;

struct World {
    now: Moment,
    net: Net,
    hosts: Vec<Host>,
    /// What is under way: when it arrives, the author, the key, the value.
    news: Vec<(Moment, usize, FactKey, Option<Fact>)>,
    /// Whether containers send from a host to another.
    traffic: BTreeSet<(usize, usize)>,
}

struct Host {
    tunnels: Tunnels,
    peers: BTreeMap<usize, Peer>,
    said: BTreeMap<Vec<u8>, Fact>,
    sightings_told: usize,
}

fn id(host: usize) -> HostId {
    HostId::new([host as u8 + 1; 16])
}

fn key(host: usize) -> WireGuardKey {
    WireGuardKey::new([host as u8 + 1; 32])
}

fn making() -> Making {
    Making { backend: Backend::Kernel, port: PORT, software: None }
}

impl World {
    /// The first host is public, each NAT has one host behind it. Everybody probes everybody.
    fn new(nats: &[(Mapping, Filtering)]) -> Self {
        let mut net = Net::default();
        net.hosts.push((SocketAddr::new(Ipv4Addr::new(192, 0, 2, 1).into(), PORT), None));
        for (index, (mapping, filtering)) in nats.iter().enumerate() {
            let number = index as u8 + 1;
            let nat = Nat::new(Ipv4Addr::new(198, 51, 100, number), *mapping, *filtering);
            net.hosts.push((SocketAddr::new(Ipv4Addr::new(10, number, 0, 2).into(), PORT), Some(nat)));
        }
        let count = net.hosts.len();
        let mut world =
            Self { now: Moment::ZERO, net, hosts: Vec::new(), news: Vec::new(), traffic: BTreeSet::new() };
        for host in 0..count {
            let mut tunnels = Tunnels::new(id(host));
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

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    /// Runs until two hosts have a working session; how long it took.
    fn run_until_up(&mut self, a: usize, b: usize, limit: Duration) -> Option<Duration> {
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
    fn passes(&mut self, from: usize, to: usize) -> bool {
        let fresh = |world: &Self, a: usize, b: usize| world.hosts[a].peers[&b].handshake.is_some();
        let Some(endpoint) = self.hosts[from].peers[&to].endpoint else { return false };
        let now = self.now;
        fresh(self, from, to)
            && fresh(self, to, from)
            && self.net.pass(from, endpoint, now).is_some_and(|(reached, _)| reached == to)
    }

    fn step(&mut self) {
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

    fn deliver_news(&mut self) {
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

    fn observe(&mut self, host: usize) {
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
    fn project(&mut self, host: usize) {
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

    fn send(&mut self, host: usize) {
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
    fn packet(&mut self, from: usize, to: usize, bytes: u64, handshake: bool) {
        let now = self.now;
        let peer = self.hosts[from].peers.get_mut(&to).unwrap();
        let Some(endpoint) = peer.endpoint else { return };
        peer.sent_bytes += bytes;
        peer.sent = Some(now);
        if handshake {
            peer.initiated = Some(now);
        }
        let Some((reached, source)) = self.net.pass(from, endpoint, now) else { return };
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
        let Some((back, seen)) = self.net.pass(to, source, now) else { return };
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

    fn explained(&self, from: usize, to: usize) -> Explanation {
        let tunnels = &self.hosts[from].tunnels;
        let looked_for = tunnels.looked_for(id(to), self.now).unwrap();
        explain(Evidence {
            is_up: looked_for == Duration::ZERO,
            looked_for,
            clashes: tunnels.is_clashing(id(to)),
            quic_answers: false,
            clock_behind: Duration::ZERO,
            nat_here: tunnels.nat(id(from)),
            nat_there: tunnels.nat(id(to)),
            passes: None,
            full: 1370,
        })
    }
}

use Filtering::EndpointIndependent as Unfiltered;
use Filtering::{AddressAndPortDependent as PortRestricted, AddressDependent as Restricted};
use Mapping::{AddressAndPortDependent as PerPeer, EndpointIndependent as OneForAll};

const FULL_CONE: (Mapping, Filtering) = (OneForAll, Unfiltered);
const RESTRICTED: (Mapping, Filtering) = (OneForAll, Restricted);
const PORT_RESTRICTED: (Mapping, Filtering) = (OneForAll, PortRestricted);
const SYMMETRIC: (Mapping, Filtering) = (PerPeer, PortRestricted);

/// What is promised for a pair that can meet.
const WITHIN: Duration = Duration::from_secs(15);

#[test]
fn pairs_that_can_meet_do_within_fifteen_seconds_of_joining() {
    let kinds = [FULL_CONE, RESTRICTED, PORT_RESTRICTED];
    for a in kinds {
        for b in kinds {
            let mut world = World::new(&[a, b]);
            let took = world.run_until_up(1, 2, WITHIN);
            assert!(took.is_some(), "{a:?} and {b:?} have no session after {WITHIN:?}");
            world.run(Duration::from_secs(1));
            assert_eq!(world.explained(1, 2), Explanation::Fine);
        }
    }
}

#[test]
fn a_symmetric_host_meets_those_that_let_its_address_in() {
    for other in [FULL_CONE, RESTRICTED] {
        for pair in [[SYMMETRIC, other], [other, SYMMETRIC]] {
            let mut world = World::new(&pair);
            assert!(world.run_until_up(1, 2, WITHIN).is_some(), "{pair:?}");
        }
    }
}

#[test]
fn pairs_that_cannot_meet_say_so_and_reach_the_public_host() {
    for pair in [[SYMMETRIC, SYMMETRIC], [SYMMETRIC, PORT_RESTRICTED]] {
        let mut world = World::new(&pair);
        assert_eq!(world.run_until_up(1, 2, Duration::from_secs(300)), None, "{pair:?}");
        for natted in [1, 2] {
            assert!(world.passes(natted, 0) && world.passes(0, natted), "{pair:?}");
        }
        assert_eq!(world.explained(1, 2), Explanation::NatBoth, "one observer cannot tell which kind it is");
        assert_eq!(world.explained(2, 1), Explanation::NatBoth);
    }
}

#[test]
fn two_observers_tell_a_symmetric_nat_from_others() {
    // The first pair meets, so the third host has two observers.
    let mut world = World::new(&[SYMMETRIC, FULL_CONE, PORT_RESTRICTED]);
    world.run(Duration::from_secs(60));
    assert_eq!(world.hosts[3].tunnels.nat(id(1)), shoal_tunnels::Nat::PerPeer);
    assert_eq!(world.hosts[1].tunnels.nat(id(3)), shoal_tunnels::Nat::Steady);
    assert_eq!(world.explained(3, 1), Explanation::NatPerPeer);
    assert_eq!(world.explained(1, 3), Explanation::NatPerPeer);
}

#[test]
fn only_hosts_behind_nat_keep_alive_and_public_ones_do_not() {
    let mut world = World::new(&[PORT_RESTRICTED, PORT_RESTRICTED]);
    world.run(Duration::from_secs(60));
    assert_eq!(world.hosts[1].peers[&0].keepalive, Some(25));
    assert_eq!(world.hosts[1].peers[&2].keepalive, Some(25));
    assert_eq!(world.hosts[0].peers[&1].keepalive, None);
    let mut world = World::new(&[]);
    world.run(Duration::from_secs(5));
    assert!(world.hosts[0].tunnels.nat(id(0)) == shoal_tunnels::Nat::None);
}

#[test]
fn sessions_without_traffic_stay_open_through_keepalives() {
    let mut world = World::new(&[PORT_RESTRICTED, PORT_RESTRICTED]);
    assert!(world.run_until_up(1, 2, WITHIN).is_some());
    world.traffic.clear();
    for _ in 0..60 {
        world.run(Duration::from_secs(10));
        assert!(world.passes(1, 2) && world.passes(2, 1) && world.passes(0, 1), "{:?}", world.now);
    }
}

#[test]
fn a_nat_that_forgets_is_passed_again() {
    // The mapping changes with the restart: other ports than before.
    let mut world = World::new(&[PORT_RESTRICTED, PORT_RESTRICTED]);
    world.run(Duration::from_secs(60));
    world.net.hosts[1].1.as_mut().unwrap().forget();
    world.run(Duration::from_secs(1));
    let took = world.run_until_up(1, 2, Duration::from_secs(15));
    assert!(took.is_some(), "no way through after {WITHIN:?}");
    assert!(world.passes(0, 1));
}

#[test]
fn a_host_that_moves_to_another_nat_is_met_again() {
    let mut world = World::new(&[PORT_RESTRICTED, RESTRICTED]);
    world.run(Duration::from_secs(60));
    let inner: SocketAddr = "10.9.0.2:7375".parse().unwrap();
    let nat = Nat::new(Ipv4Addr::new(203, 0, 113, 9), OneForAll, PortRestricted);
    world.net.hosts[1] = (inner, Some(nat));
    // Its survey finds the new address, and the facts tell it.
    for host in 0..3 {
        world.hosts[host].tunnels.place(id(1), vec![inner.ip()]);
    }
    world.run(Duration::from_secs(1));
    assert!(world.run_until_up(1, 2, Duration::from_secs(15)).is_some());
    assert!(world.run_until_up(1, 0, Duration::from_secs(1)).is_some());
}

#[test]
fn a_public_host_that_moves_is_followed_by_one_that_only_sends() {
    let mut world = World::new(&[FULL_CONE]);
    world.run(Duration::from_secs(30));
    world.traffic = [(1, 0)].into();
    let address: SocketAddr = "192.0.2.77:7375".parse().unwrap();
    world.net.hosts[0].0 = address;
    for host in 0..2 {
        world.hosts[host].tunnels.place(id(0), vec![address.ip()]);
    }
    assert!(world.run_until_up(1, 0, Duration::from_secs(3)).is_some());
}

#[test]
fn sightings_are_few_change_rarely_and_go_with_their_cause() {
    let mut world = World::new(&[PORT_RESTRICTED, PORT_RESTRICTED]);
    world.run(Duration::from_secs(600));
    for host in &world.hosts {
        assert!(host.sightings_told <= 4, "told {} times", host.sightings_told);
        assert!(host.said.len() <= 2, "{:?}", host.said);
    }
    assert!(!world.hosts[0].said.is_empty());
    // The router in front of a host goes away: it is where it says it is.
    let now = world.now;
    let effects = world.hosts[0].tunnels.forget(id(1));
    assert_eq!(effects, [Effect::Withdraw(FactKey::sighting(id(1), 0))]);
    assert!(world.hosts[0].tunnels.nat(id(1)) == shoal_tunnels::Nat::None);
    world.hosts[0].tunnels.unlearn(id(2), 0);
    let effects = world.hosts[0].tunnels.observe(&BTreeMap::new(), now);
    assert!(effects.contains(&Effect::Withdraw(FactKey::sighting(id(2), 0))), "{effects:?}");
}

#[test]
fn a_lie_moves_no_session_that_is_heard() {
    let mut world = World::new(&[PORT_RESTRICTED, PORT_RESTRICTED]);
    world.run(Duration::from_secs(60));
    let before = world.hosts[2].peers[&1].endpoint;
    let truth = world.hosts[0].said.values().find_map(|fact| match fact {
        Fact::Sighting(sighting) if sighting.host == id(1) => Some(sighting.clone()),
        _ => None,
    });
    let truth = truth.unwrap();
    assert_eq!(Some(truth.endpoint), before);
    for round in 0..20_u16 {
        let lie = SocketAddr::new(Ipv4Addr::new(203, 0, 113, 66).into(), 1000 + round);
        let now = world.now;
        world.hosts[2].tunnels.sight(id(77), &truth, now);
        let lying = shoal_schema::SightingFact { endpoint: lie, ..truth.clone() };
        world.hosts[2].tunnels.sight(id(77), &lying, now);
        world.run(Duration::from_secs(3));
        assert_eq!(world.hosts[2].peers[&1].endpoint, before, "round {round}");
    }
}

#[test]
fn of_many_observers_four_tell() {
    let mut tunnels = Tunnels::new(id(9));
    let keys = KeyPair { secret: WireGuardSecret::new([9; 32]), key: key(9) };
    tunnels.begin(keys, making(), None, Moment::ZERO, WallTime::from_millis(0));
    let natted =
        shoal_schema::TunnelFact { generation: 0, key: key(50), port: PORT, serving: true, preshared: false };
    tunnels.learn(id(50), natted);
    tunnels.place(id(50), vec![Ipv4Addr::new(10, 0, 0, 1).into()]);
    let endpoint: SocketAddr = "198.51.100.1:40001".parse().unwrap();
    let status = |seconds: u64| {
        let status = Status {
            handshake: Some(Duration::ZERO),
            endpoint: Some(endpoint),
            received_bytes: seconds + 1,
            sent_bytes: seconds + 1,
        };
        (BTreeMap::from([((0, key(50)), status)]), Moment::ZERO + Duration::from_secs(seconds))
    };
    let observe = |tunnels: &mut Tunnels, seconds| {
        let (statuses, now) = status(seconds);
        let effects = tunnels.observe(&statuses, now);
        let sights = effects.iter().filter(|effect| matches!(effect, Effect::Sight(_))).count();
        let withdraws = effects.iter().filter(|effect| matches!(effect, Effect::Withdraw(_))).count();
        (sights, withdraws)
    };
    assert_eq!(observe(&mut tunnels, 1), (1, 0), "nobody else has told");
    let sighting = shoal_schema::SightingFact { host: id(50), generation: 0, endpoint };
    for observer in 0..3 {
        tunnels.sight(id(observer), &sighting, Moment::ZERO);
        assert_eq!(observe(&mut tunnels, 2), (0, 0));
    }
    tunnels.sight(id(3), &sighting, Moment::ZERO);
    assert_eq!(observe(&mut tunnels, 3), (0, 1), "four lower hosts tell");
    assert_eq!(observe(&mut tunnels, 20), (0, 0));
    assert!(tunnels.unsight(id(0), id(50), 0));
    assert_eq!(observe(&mut tunnels, 30), (1, 0), "one of the four is gone");
}
