//! Many hosts on a LAN, for figures: how fast news spreads, what an idle host sends, how long catching up takes.
//!
//! A [`Fleet`] runs the same `Fabric` as a [`World`](crate::World), but no disks, kernels and engines, breaks nothing
//! and checks nothing, so that a thousand hosts fit one process. Its clock and its chance are simulated too: the same
//! seed gives the same figures.
//!
//! ```text
//!   sown(hosts, endpoints) ──> run ──> converged ──> spread, idle, catch_up ──> figures
//! ```

mod docker;
mod lan;
mod node;
mod seed;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use shoal_fabric::{At, Effect};
use shoal_kit::Prng;
use shoal_networks::PoolId;
use shoal_schema::FactKey;
use shoal_trust::HostKey;
use shoal_types::{HostId, Moment, NetworkId, WallTime};

use node::{FactsKey, Lean, Node};

pub use lan::{Lan, connections_bytes_per_second, paths_bytes_per_second};
pub use seed::{Seeds, Store};

/// Where every wall clock begins, milliseconds since 1970: 2026-01-01.
const WALL_START_MS: u64 = 1_767_225_600_000;

/// Hosts of one fabric that all hold the same facts, and a network between them.
pub struct Fleet {
    hosts: Vec<Host>,
    index: BTreeMap<HostId, usize>,
    /// Docker's id of the pool of the one network, the same on every host.
    pool: PoolId,
    network: NetworkId,
    lan: Lan,
    prng: Prng,
    now: Moment,
    queue: BinaryHeap<Reverse<Event>>,
    events: u64,
    /// The endpoint that is being spread, and who has heard of it when.
    watched: Option<Watched>,
}

/// One machine.
struct Host {
    key: Arc<HostKey>,
    node: Node,
    tick_due: Option<Moment>,
    traffic: Traffic,
}

/// What a host has sent, on the wire as [`lan`] estimates it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams.
    pub datagrams: u64,
    /// Messages.
    pub messages: u64,
    /// Bytes of both with everything around them.
    pub wire_bytes: u64,
}

#[derive(Debug)]
struct Watched {
    author: HostId,
    key: Vec<u8>,
    since: Moment,
    heard: BTreeMap<usize, Duration>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at: Moment,
    number: u64,
    to: usize,
    what: What,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Tick,
    Datagram(HostId, Vec<u8>),
    Message(HostId, Vec<u8>),
}

/// How one change reached everyone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// For each other host how long it took, sorted.
    pub delays: Vec<Duration>,
    /// Bytes on the wire, all hosts together, until the last one knew.
    pub wire_bytes: u64,
}

/// What it took an empty host to hold everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatchUp {
    /// Simulated time: delays and bytes on the LAN. `None`: not within a minute.
    pub time: Option<Duration>,
    /// Bytes sent to it.
    pub received_bytes: u64,
}

impl Fleet {
    /// Starts the hosts of a fabric that was [sown](Seeds::sow), all at once. `lean`: they decide on membership and
    /// replication only and share the memory of what they hold; else they are whole agents.
    ///
    /// # Panics
    /// If an agent does not take what it wrote itself.
    pub fn start(mut seeds: Seeds, lean: bool, lan: Lan, seed: u64) -> Self {
        let now = Moment::from_nanos(1_000_000_000_000);
        let mut fleet = Self {
            hosts: Vec::new(),
            index: seeds.ids().enumerate().map(|(index, id)| (id, index)).collect(),
            pool: seeds.pool().clone(),
            network: seeds.network(),
            lan,
            prng: Prng::new(seed),
            now,
            queue: BinaryHeap::new(),
            events: 0,
            watched: None,
        };
        let shared = lean.then(|| (seeds.facts(at(now)), seeds.ids().collect::<BTreeSet<_>>()));
        for index in 0..seeds.len() {
            let (key, seed) = (seeds.key(index), fleet.prng.next_u64());
            let (node, effects) = match &shared {
                None => {
                    let (agent, effects) = seeds.open(index, seed, at(now));
                    (Node::Whole(Box::new(agent)), effects)
                }
                Some((facts, all)) => {
                    let facts = facts.fork(Arc::new(FactsKey(Arc::clone(&key))), seed, now);
                    let (lean, effects) = Lean::start(facts, key.id(), all, seed, at(now));
                    (Node::Lean(Box::new(lean)), effects)
                }
            };
            fleet.hosts.push(Host { key, node, tick_due: None, traffic: Traffic::default() });
            fleet.perform(index, effects);
            fleet.plan_tick(index);
        }
        fleet
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.queue.peek().is_some_and(|next| next.0.at <= until) {
            let Some(Reverse(event)) = self.queue.pop() else { break };
            self.now = event.at;
            self.happen(event);
        }
        self.now = until;
    }

    /// Lets time pass until every host believes every other one alive; how long that took, `None` if it did not come
    /// about within `patience`.
    pub fn converge(&mut self, patience: Duration) -> Option<Duration> {
        let (start, step) = (self.now, Duration::from_millis(500));
        while self.now.since(start) < patience {
            self.run(step);
            let all = self.hosts.len();
            if self.hosts.iter().all(|host| host.node.alive() + 1 == all) {
                return Some(self.now.since(start));
            }
        }
        None
    }

    /// Starts a container on a host and waits until every other host knows, a minute at most.
    ///
    /// # Errors
    /// What dockerd was told instead.
    pub fn spread(&mut self, host: usize, number: usize) -> Result<Spread, String> {
        let before = self.wire_bytes();
        let (author, endpoint) = (self.hosts[host].node.me(), docker::endpoint_id(host, number));
        self.watched = Some(Watched {
            author,
            key: FactKey::endpoint(self.network, &endpoint).into_bytes(),
            since: self.now,
            heard: BTreeMap::from([(host, Duration::ZERO)]),
        });
        let (network, at) = (self.network, at(self.now));
        let effects = match &mut self.hosts[host].node {
            Node::Whole(agent) => docker::start_container(agent, &self.pool, &endpoint, at)?,
            Node::Lean(lean) => lean.publish(&seed::endpoint_fact(network, host, number), at),
        };
        self.perform(host, effects);
        let start = self.now;
        while self.now.since(start) < Duration::from_secs(60) {
            self.run(Duration::from_millis(100));
            if self.watched.as_ref().is_some_and(|watched| watched.heard.len() == self.hosts.len()) {
                break;
            }
        }
        let heard = self.watched.take().map(|watched| watched.heard).unwrap_or_default();
        let mut delays: Vec<Duration> =
            heard.into_iter().filter(|(other, _)| *other != host).map(|(_, delay)| delay).collect();
        delays.sort_unstable();
        if delays.len() + 1 < self.hosts.len() {
            return Err(format!(
                "only {} of {} hosts have heard within a minute",
                delays.len(),
                self.hosts.len()
            ));
        }
        Ok(Spread { delays, wire_bytes: self.wire_bytes() - before })
    }

    /// Takes everything from a host but its key and its membership, and waits until it holds what the others hold.
    pub fn catch_up(&mut self, host: usize) -> CatchUp {
        let (start, before) = (self.now, self.lan.received(host));
        let (seed, at) = (self.prng.next_u64(), at(self.now));
        let all = self.hosts.iter().map(|it| (it.key.id(), it.key.public())).collect();
        let (node, effects) = match &self.hosts[host].node {
            Node::Whole(agent) => {
                let (agent, effects) = seed::emptied(agent, &self.hosts[host].key, all, seed, at);
                (Node::Whole(Box::new(agent)), effects)
            }
            Node::Lean(_) => {
                let key = &self.hosts[host].key;
                let facts = seed::no_facts(key, seed, at);
                let all = all.into_iter().map(|(id, _)| id).collect();
                let (lean, effects) = Lean::start(facts, key.id(), &all, seed, at);
                (Node::Lean(Box::new(lean)), effects)
            }
        };
        (self.hosts[host].node, self.hosts[host].tick_due) = (node, None);
        self.perform(host, effects);
        self.plan_tick(host);
        let mut time = None;
        while time.is_none() && self.now.since(start) < Duration::from_secs(60) {
            self.run(Duration::from_millis(20));
            let complete = self.holds_all_of(host, usize::from(host == 0));
            time = complete.then(|| self.now.since(start));
        }
        CatchUp { time, received_bytes: self.lan.received(host) - before }
    }

    /// What each host has sent so far.
    pub fn traffic(&self) -> Vec<Traffic> {
        self.hosts.iter().map(|host| host.traffic).collect()
    }

    /// Whether all hosts hold the same facts.
    pub fn all_agree(&self) -> bool {
        (1..self.hosts.len()).all(|host| self.agree(0, host))
    }

    /// Events so far: packets that arrived, timers.
    pub fn events(&self) -> u64 {
        self.events
    }

    fn agree(&self, a: usize, b: usize) -> bool {
        self.hosts[a].node.digest() == self.hosts[b].node.digest()
    }

    /// Whether a host holds the newest states that another one holds of all others. Its own is newer than anybody's: it
    /// starts over.
    fn holds_all_of(&self, host: usize, other: usize) -> bool {
        let me = self.hosts[host].node.me();
        let held =
            |node: &Node| node.versions().into_iter().filter(|(author, _)| *author != me).collect::<Vec<_>>();
        held(&self.hosts[host].node) == held(&self.hosts[other].node)
    }

    fn wire_bytes(&self) -> u64 {
        self.hosts.iter().map(|host| host.traffic.wire_bytes).sum()
    }

    fn happen(&mut self, event: Event) {
        let (to, at) = (event.to, at(self.now));
        let host = &mut self.hosts[to];
        let effects = match event.what {
            What::Tick if host.tick_due == Some(event.at) => {
                host.tick_due = None;
                host.node.tick(at)
            }
            What::Tick => return,
            What::Datagram(from, bytes) => host.node.datagram(from, &bytes, at),
            What::Message(from, bytes) => host.node.message(from, &bytes, at),
        };
        self.perform(to, effects);
        self.plan_tick(to);
        self.watch(to);
    }

    fn watch(&mut self, host: usize) {
        let Some(watched) = &mut self.watched else { return };
        if !watched.heard.contains_key(&host) && self.hosts[host].node.knows(watched.author, &watched.key) {
            watched.heard.insert(host, self.now.since(watched.since));
        }
    }

    fn perform(&mut self, host: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Datagram(to, bytes) => self.send(host, to, bytes, true),
                Effect::Message(to, bytes) => self.send(host, to, bytes, false),
                Effect::DrawTunnelKeys => {
                    let at = at(self.now);
                    if let Node::Whole(agent) = &mut self.hosts[host].node {
                        let effects = agent.tunnel_keys(seed::tunnel_keys(agent.me()), at);
                        self.perform(host, effects);
                    }
                }
                // There is no machine to do anything to.
                Effect::Save { .. }
                | Effect::Clear(_)
                | Effect::Project(_)
                | Effect::ProjectSoon
                | Effect::Engine(_)
                | Effect::Certificate(_)
                | Effect::Trust(_)
                | Effect::Notice(_)
                | Effect::Stop(_) => {}
            }
        }
    }

    fn send(&mut self, host: usize, to: HostId, bytes: Vec<u8>, is_datagram: bool) {
        let Some(target) = self.index.get(&to).copied() else { return };
        let from = self.hosts[host].node.me();
        let wire = if is_datagram { lan::of_datagram(bytes.len()) } else { lan::of_message(bytes.len()) };
        let traffic = &mut self.hosts[host].traffic;
        traffic.wire_bytes += wire;
        traffic.datagrams += u64::from(is_datagram);
        traffic.messages += u64::from(!is_datagram);
        let Some(arrives) = self.lan.carry(host, target, wire, is_datagram, self.now, &mut self.prng) else {
            return;
        };
        let what = if is_datagram { What::Datagram(from, bytes) } else { What::Message(from, bytes) };
        self.push(arrives, target, what);
    }

    fn plan_tick(&mut self, host: usize) {
        let it = &mut self.hosts[host];
        let Some(due) = it.node.next_timeout() else { return };
        let due = due.max(self.now + Duration::from_micros(50));
        if it.tick_due.is_none_or(|known| due < known || known <= self.now) {
            it.tick_due = Some(due);
            self.push(due, host, What::Tick);
        }
    }

    fn push(&mut self, at: Moment, to: usize, what: What) {
        self.events += 1;
        self.queue.push(Reverse(Event { at, number: self.events, to, what }));
    }
}

/// Both clocks, which are right.
fn at(now: Moment) -> At {
    At { now, wall: WallTime::from_millis(WALL_START_MS + now.as_nanos() / 1_000_000) }
}
