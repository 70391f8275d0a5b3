//! A host for tests: the core, a disk, and an engine that calls the driver as dockerd does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use shoal_networks::{At, Effect, EngineReport, EngineRequest, EngineView, Networks, PoolId, Reply, Verb};
use shoal_schema::{Fact, HostFact, Taken, TakenFact};
use shoal_types::{EndpointId, FabricId, HostId, IpNet, Moment, NetworkId, NetworkName, WallTime};

/// Outside of 1970, so that a stamp of zero is older than all.
const START: WallTime = WallTime::from_millis(1_700_000_000_000);

pub(crate) fn host_id(n: u8) -> HostId {
    HostId::new([n; 16])
}

pub(crate) fn endpoint(n: u32) -> EndpointId {
    format!("{n:064x}").parse().unwrap()
}

pub(crate) fn name(text: &str) -> NetworkName {
    text.parse().unwrap()
}

pub(crate) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// `docker network create` with its options.
#[derive(Debug, Clone, Default)]
pub(crate) struct Create {
    pub(crate) name: String,
    /// `--subnet`; empty: the driver chooses.
    pub(crate) subnets: Vec<&'static str>,
    pub(crate) gateway: Option<&'static str>,
    pub(crate) aux: Vec<(&'static str, &'static str)>,
    pub(crate) v6: bool,
    pub(crate) internal: bool,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) ipam_options: BTreeMap<String, String>,
}

pub(crate) fn plain(name: &str) -> Create {
    Create { name: name.into(), ..Create::default() }
}

pub(crate) fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

/// A network as the engine keeps it.
#[derive(Debug, Clone)]
pub(crate) struct Docker {
    pub(crate) view: EngineView,
    pub(crate) pools: Vec<(PoolId, IpNet, Option<IpAddr>)>,
}

/// What a pool was asked for and answered as.
pub(crate) type Asked = (PoolId, IpNet, IpAddr);

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) me: HostId,
    pub(crate) networks: Networks,
    pub(crate) disk: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) facts: BTreeMap<Vec<u8>, Fact>,
    seen: BTreeMap<HostId, BTreeMap<Vec<u8>, Fact>>,
    pub(crate) docker: BTreeMap<String, Docker>,
    pub(crate) requests: Vec<EngineRequest>,
    pub(crate) asks: Vec<(HostId, shoal_ipam::Ask)>,
    pub(crate) notices: Vec<String>,
    pub(crate) at: At,
    /// Containers attached by endpoint: network, pools and addresses.
    pub(crate) attached: BTreeMap<EndpointId, (String, Vec<(PoolId, IpAddr)>)>,
    pub(crate) dockers_made: u32,
    starts: u64,
}

impl Host {
    pub(crate) fn new(n: u8) -> Self {
        let at = At { now: Moment::ZERO, wall: START };
        let mut host = Self {
            me: host_id(n),
            networks: Networks::new(host_id(n), n.into()),
            disk: BTreeMap::new(),
            facts: BTreeMap::new(),
            seen: BTreeMap::new(),
            docker: BTreeMap::new(),
            requests: Vec::new(),
            asks: Vec::new(),
            notices: Vec::new(),
            at,
            attached: BTreeMap::new(),
            dockers_made: 0,
            starts: 0,
        };
        let said = HostFact {
            fabric: FabricId::new([9; 16]),
            name: format!("host-{n}").parse().unwrap(),
            addresses: vec![ip("192.0.2.1")],
            quic_port: 1,
            vxlan_port: 2,
            underlay_mtu: 1500,
            version: "1".into(),
            certificate: vec![1],
        };
        host.act(vec![Effect::Publish(Fact::Host(said))]);
        host
    }

    /// Hosts that know each other.
    pub(crate) fn pair() -> (Self, Self) {
        let (mut a, mut b) = (Self::new(1), Self::new(2));
        share(&mut a, &mut b);
        (a, b)
    }

    pub(crate) fn takes(&mut self, prefix: &str) {
        let taken = Taken { prefix: net(prefix), by: "route via eth0".into() };
        self.act(vec![Effect::Publish(Fact::Taken(TakenFact { prefixes: vec![taken] }))]);
    }

    pub(crate) fn wait(&mut self, seconds: u64) {
        let by = Duration::from_secs(seconds);
        self.at = At { now: self.at.now + by, wall: self.at.wall + by };
        let effects = self.networks.reconcile(self.at);
        self.act(effects);
    }

    /// Carries effects out.
    pub(crate) fn act(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Save(key, Some(value)) => drop(self.disk.insert(key, value)),
                Effect::Save(key, None) => drop(self.disk.remove(&key)),
                Effect::Publish(fact) => {
                    let key = fact.key().into_bytes();
                    assert_eq!(Fact::decode(&key, &fact.encode()).as_ref(), Ok(&fact), "others can read it");
                    self.networks.learn(self.me, fact.clone(), self.at.wall);
                    self.facts.insert(key, fact);
                }
                Effect::Withdraw(key) => {
                    if let Some(fact) = self.facts.remove(key.as_bytes()) {
                        self.networks.unlearn(self.me, fact);
                    }
                }
                Effect::Engine(request) => self.requests.push(request),
                Effect::Ask(owner, ask) => self.asks.push((owner, ask)),
                Effect::Notice(text) => self.notices.push(text),
                Effect::Project(_) | Effect::ProjectSoon => {}
            }
        }
    }

    pub(crate) fn verb(&mut self, verb: Verb) -> Result<Reply, String> {
        let (effects, reply) = self.networks.verb(verb, self.at);
        self.act(effects);
        reply.map_err(|refusal| refusal.0)
    }

    pub(crate) fn report(&mut self, report: EngineReport) {
        let effects = self.networks.engine(report, self.at);
        self.act(effects);
    }

    pub(crate) fn views(&self) -> Vec<EngineView> {
        self.docker.values().map(|docker| docker.view.clone()).collect()
    }

    /// The agent starts again with what it kept.
    pub(crate) fn restart(&mut self) {
        self.starts += 1;
        self.networks = Networks::new(self.me, u64::from(self.me.bytes()[0]) + 1000 * self.starts);
        let records: Vec<_> = self.disk.clone().into_iter().collect();
        let effects =
            self.networks.restore(records.iter().map(|(key, value)| (key.as_slice(), value.as_slice())));
        self.act(effects);
        let own = self.facts.values().map(|fact| (self.me, fact.clone()));
        let others =
            self.seen.iter().flat_map(|(host, facts)| facts.values().map(|fact| (*host, fact.clone())));
        for (author, fact) in own.chain(others).collect::<Vec<_>>() {
            self.networks.take_up(author, fact);
        }
        self.networks.taken_up();
        self.requests.clear();
        let effects = self.networks.reconcile(self.at);
        self.act(effects);
    }

    /// The engine answers everything it was asked.
    pub(crate) fn serve(&mut self) {
        for _ in 0..20 {
            let requests = std::mem::take(&mut self.requests);
            if requests.is_empty() {
                return;
            }
            for request in requests {
                let report = self.answer(request);
                self.report(report);
            }
        }
        panic!("the core asks the engine for ever");
    }

    pub(crate) fn id_of(&self, text: &str) -> NetworkId {
        self.networks.catalog().by_name(&name(text)).expect("the fabric has it").0
    }

    /// The engine's network of that name.
    pub(crate) fn docker_of(&self, text: &str) -> String {
        let found = self.docker.values().find(|docker| docker.view.name == name(text));
        found.expect("the engine has it").view.docker.clone()
    }

    pub(crate) fn has(&self, text: &str) -> bool {
        self.docker.values().any(|docker| docker.view.name == name(text))
    }

    /// Answers what another host asked of this one.
    fn give(&mut self, to: HostId, ask: &shoal_ipam::Ask) -> Option<()> {
        let gift = self.networks.ipam_mut().give(ask.network, ask.pool, to, ask.want, self.at.now).ok()?;
        self.act(vec![Effect::Publish(Fact::Gift(gift))]);
        Some(())
    }

    pub(crate) fn leases(&self) -> BTreeSet<(NetworkId, IpAddr)> {
        let of = |record: &shoal_networks::EndpointRecord| {
            let addresses = [record.v4.map(IpAddr::V4), record.v6.map(IpAddr::V6)];
            addresses.into_iter().flatten().map(|address| (record.network, address)).collect::<Vec<_>>()
        };
        self.networks.endpoints().flat_map(of).collect()
    }
}

fn hear(to: &mut Host, from: &Host) {
    let seen = to.seen.insert(from.me, from.facts.clone()).unwrap_or_default();
    for (key, fact) in &seen {
        if !from.facts.contains_key(key) {
            to.networks.unlearn(from.me, fact.clone());
        }
    }
    for (key, fact) in &from.facts {
        if seen.get(key) != Some(fact) {
            to.networks.learn(from.me, fact.clone(), to.at.wall);
        }
    }
    let effects = to.networks.reconcile(to.at);
    to.act(effects);
}

/// Two hosts tell each other everything.
pub(crate) fn share(a: &mut Host, b: &mut Host) {
    for _ in 0..3 {
        hear(a, b);
        hear(b, a);
        answer_asks(a, b);
        answer_asks(b, a);
    }
}

fn answer_asks(asker: &mut Host, owner: &mut Host) {
    for (_, ask) in asker.asks.extract_if(.., |(of, _)| *of == owner.me).collect::<Vec<_>>() {
        if owner.give(asker.me, &ask).is_none() {
            asker.networks.ipam_mut().refused(ask.network, ask.pool, owner.me, asker.at.now);
        }
    }
}
