//! What the hosts of a fabric have written when they start: made host by host, without any exchange, since a thousand
//! hosts that join one after the other would take an hour.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use shoal_fabric::{At, Effect, Fabric, Identity, Introduction, KeyPair, LocalHost};
use shoal_facts::Facts;
use shoal_networks::{NetworkRequest, PoolId, SubnetRequest};
use shoal_schema::{EndpointFact, Fact, Taken};
use shoal_trust::{Certificate, Claim, FabricRoot, HostKey};
use shoal_types::{HostId, MacAddr, Moment, NetworkId, WireGuardKey, WireGuardSecret};

use super::node::{FactsKey, Lean};
use super::{at, docker};
use crate::host::usual_tunnels;

/// What a host has written: keys and values.
pub type Store = BTreeMap<Vec<u8>, Vec<u8>>;

const FACTS: &[u8] = b"facts/";

/// When everything was made.
const MADE: Moment = Moment::from_nanos(900_000_000_000);

/// Room for more containers than any fleet has.
const SUBNET: &str = "10.128.0.0/10";

/// A fabric's hosts before they start.
pub struct Seeds {
    keys: Vec<Arc<HostKey>>,
    /// Of each host what only it holds.
    own: Vec<Store>,
    /// All facts of all hosts, and behind them room for what one host holds alone.
    facts: Vec<(Vec<u8>, Vec<u8>)>,
    pool: PoolId,
    network: NetworkId,
}

impl Seeds {
    /// Makes so many hosts, each with so many endpoints on one network.
    ///
    /// # Errors
    /// What an agent refused: the fleet is set up wrongly.
    pub fn sow(hosts: usize, endpoints: usize) -> Result<Self, String> {
        let root = root();
        let keys: Vec<Arc<HostKey>> = (0..hosts).map(|host| Arc::new(key(host))).collect();
        let mut own: Vec<Store> = Vec::with_capacity(hosts);
        for (index, key) in keys.iter().enumerate() {
            own.push(alone(index, key, &root)?);
        }
        let id = make_network(&keys, &mut own)?;
        let (first, others) = own.split_at_mut(1);
        let network: Store = first[0].iter().filter(|(key, _)| key.starts_with(FACTS)).map(copy).collect();
        let pool = populate(0, &keys[0], &mut first[0], &Store::new(), endpoints)?;
        for (index, store) in others.iter_mut().enumerate() {
            populate(index + 1, &keys[index + 1], store, &network, endpoints)?;
        }
        let mut facts = Vec::new();
        for store in &mut own {
            let (told, kept) = std::mem::take(store).into_iter().partition(|(key, _)| key.starts_with(FACTS));
            *store = kept;
            let told: Store = told;
            facts.extend(told);
        }
        Ok(Self { keys, own, facts, pool, network: id })
    }

    /// How many hosts.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no host.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Docker's id of the network's pool.
    pub fn pool(&self) -> &PoolId {
        &self.pool
    }

    /// The fabric's id of the network.
    pub fn network(&self) -> NetworkId {
        self.network
    }

    /// All facts as one replica, the first host's.
    ///
    /// # Panics
    /// If they are not what their authors signed.
    pub(crate) fn facts(&self, at: At) -> Facts {
        let key = &self.keys[0];
        let signer = Arc::new(FactsKey(Arc::clone(key)));
        let facts = Facts::new(key.id(), signer, self.facts.iter().cloned(), 0, at.now);
        facts.unwrap_or_else(|why| unreachable!("{why}"))
    }

    /// A host's key.
    pub fn key(&self, index: usize) -> Arc<HostKey> {
        Arc::clone(&self.keys[index])
    }

    /// The hosts' ids, by number.
    pub fn ids(&self) -> impl Iterator<Item = HostId> {
        self.keys.iter().map(|key| key.id())
    }

    /// Starts one host's agent on all it has written and heard.
    ///
    /// # Panics
    /// If the agent does not take what it wrote itself.
    pub fn open(&mut self, index: usize, seed: u64, at: At) -> (Fabric, Vec<Effect>) {
        let shared = self.facts.len();
        self.facts.extend(self.own[index].iter().map(copy));
        let key = Arc::clone(&self.keys[index]);
        let opened = Fabric::open(key, local(index), &self.facts, seed, at);
        self.facts.truncate(shared);
        let (mut agent, mut effects) = opened.unwrap_or_else(|why| unreachable!("{why}"));
        effects.extend(agent.set_taken(taken(), at));
        (agent, effects)
    }

    /// The messages with which a host tells the first one of so many endpoints more than it has, one by one.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn changes(&self, host: usize, count: usize, at: At) -> (HostId, Vec<Vec<u8>>) {
        let (key, first) = (&self.keys[host], BTreeSet::from([self.keys[0].id()]));
        let facts = self.facts(at).fork(Arc::new(FactsKey(Arc::clone(key))), 1, at.now);
        let (mut lean, _) = Lean::start(facts, key.id(), &first, 1, at);
        let facts = (0..count).map(|number| endpoint_fact(self.network, host, 9_000 + number));
        (key.id(), facts.map(|fact| lean.tell(&fact, &first, at)).collect())
    }

    /// A host that no other one knows, and what one of them hands it when it joins.
    ///
    /// # Panics
    /// If `member` lets nobody in.
    pub fn joiner(&self, member: &Fabric, at: At) -> (Fabric, Introduction) {
        let (index, introducer) = (self.keys.len(), &self.keys[0]);
        let key = Arc::new(key(index));
        let opened = Fabric::open(Arc::clone(&key), local(index), &[], 7, at);
        let (joiner, _) = opened.unwrap_or_else(|why| unreachable!("{why}"));
        let (fabric, name) = (root().id(), joiner.local().name.clone());
        let claim = Claim { fabric, key: key.public(), name, from: at.wall };
        let introduction = Introduction {
            certificate: Certificate::issue_by_member(introducer, claim),
            root_public: root().public(),
            introducer: introducer.id(),
            members: self.keys.iter().map(|key| (key.id(), key.public())).collect(),
            welcome: member.welcome(key.id()).unwrap_or_else(|why| unreachable!("{why}")),
        };
        (joiner, introduction)
    }

    /// Bytes of all facts as they are stored.
    pub fn facts_bytes(&self) -> usize {
        self.facts.iter().map(|(key, value)| key.len() + value.len()).sum()
    }
}

/// The host that lost everything but its key, its certificate and the members' names.
///
/// # Panics
/// If there is no such host.
pub(crate) fn emptied(
    agent: &Fabric,
    key: &Arc<HostKey>,
    vouched: Vec<(HostId, [u8; 32])>,
    seed: u64,
    at: At,
) -> (Fabric, Vec<Effect>) {
    let identity = agent.identity().map(|identity| Identity { vouched, ..identity.clone() });
    let stored: Vec<_> =
        identity.map(|identity| (Identity::KEY.to_vec(), identity.encode())).into_iter().collect();
    let opened = Fabric::open(Arc::clone(key), agent.local().clone(), &stored, seed, at);
    opened.unwrap_or_else(|why| unreachable!("{why}"))
}

/// A replica that holds nothing.
///
/// # Panics
/// Never: nothing can be damaged.
pub(crate) fn no_facts(key: &Arc<HostKey>, seed: u64, at: At) -> Facts {
    let signer = Arc::new(FactsKey(Arc::clone(key)));
    Facts::new(key.id(), signer, [], seed, at.now).unwrap_or_else(|why| unreachable!("{why}"))
}

/// Keys that differ by host; nobody here looks into them.
pub(crate) fn tunnel_keys(host: HostId) -> KeyPair {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(host.bytes());
    KeyPair { secret: WireGuardSecret::new(bytes), key: WireGuardKey::new(bytes) }
}

/// A host that has published itself, and is alone.
fn alone(index: usize, key: &Arc<HostKey>, root: &FabricRoot) -> Result<Store, String> {
    let (fabric, name) = (root.id(), format!("h{index}").parse().map_err(|error| format!("{error}"))?);
    let claim = Claim { fabric, key: key.public(), name, from: at(MADE).wall };
    let certificate = Certificate::issue_by_root(root, claim);
    let vouched = vec![(key.id(), key.public())];
    let identity = Identity { fabric, root_public: root.public(), certificate, vouched };
    let mut store = Store::from([(Identity::KEY.to_vec(), identity.encode())]);
    with_agent(index, key, &mut store, &Store::new(), |agent| Ok(agent.set_taken(taken(), at(MADE))))?;
    Ok(store)
}

/// The first host knows all others and makes the network.
fn make_network(keys: &[Arc<HostKey>], own: &mut [Store]) -> Result<NetworkId, String> {
    let facts =
        |store: &Store| store.iter().filter(|(key, _)| key.starts_with(FACTS)).map(copy).collect::<Vec<_>>();
    let others: Store = own[1..].iter().flat_map(facts).collect();
    let subnet = SubnetRequest {
        prefix: SUBNET.parse().map_err(|error| format!("{error}"))?,
        gateway: None,
        dynamic: None,
        reserved: BTreeMap::new(),
    };
    let (labels, options) = (BTreeMap::new(), BTreeMap::new());
    let name = docker::NETWORK.parse().map_err(|error| format!("{error}"))?;
    let request = NetworkRequest { name, subnets: vec![subnet], v6: false, internal: false, labels, options };
    let mut id = None;
    with_agent(0, &keys[0], &mut own[0], &others, |agent| {
        let (made, effects) = agent.create_network(request, at(MADE)).map_err(|refusal| refusal.0)?;
        id = Some(made);
        Ok(effects)
    })?;
    id.ok_or_else(|| "no network was made".into())
}

/// A host gets the network and its containers.
fn populate(
    index: usize,
    key: &Arc<HostKey>,
    store: &mut Store,
    network: &Store,
    endpoints: usize,
) -> Result<PoolId, String> {
    let mut pool = PoolId::new();
    with_agent(index, key, store, network, |agent| {
        let mut effects = agent.tick(at(MADE));
        let (id, put_on) = docker::put_on(agent, at(MADE))?;
        effects.extend(put_on);
        pool = id;
        for number in 0..endpoints {
            effects.extend(docker::start_container(
                agent,
                &pool,
                &docker::endpoint_id(index, number),
                at(MADE),
            )?);
        }
        Ok(effects)
    })?;
    Ok(pool)
}

/// Runs an agent on a store for one decision, and stores what it writes of its own. `heard` is held in memory only.
fn with_agent(
    index: usize,
    key: &Arc<HostKey>,
    store: &mut Store,
    heard: &Store,
    decide: impl FnOnce(&mut Fabric) -> Result<Vec<Effect>, String>,
) -> Result<(), String> {
    let stored: Vec<_> = store.iter().chain(heard).map(copy).collect();
    let (mut agent, mut effects) =
        Fabric::open(Arc::clone(key), local(index), &stored, index as u64 + 1, at(MADE))?;
    effects.extend(agent.tick(at(MADE)));
    effects.extend(decide(&mut agent)?);
    if effects.contains(&Effect::DrawTunnelKeys) {
        effects.extend(agent.tunnel_keys(tunnel_keys(key.id()), at(MADE)));
    }
    for effect in effects {
        if let Effect::Save { writes, .. } = effect {
            write(store, writes);
        }
    }
    Ok(())
}

fn write(store: &mut Store, writes: shoal_fabric::Writes) {
    for (key, value) in writes {
        match value {
            Some(value) => drop(store.insert(key, value)),
            None => drop(store.remove(&key)),
        }
    }
}

/// What a host says of one endpoint, without asking a driver.
pub(crate) fn endpoint_fact(network: NetworkId, host: usize, number: usize) -> Fact {
    let (endpoint, mac) = (docker::endpoint_id(host, number), MacAddr::new([2, 0, 0, 0, 0, 1]));
    let v4 = Some(Ipv4Addr::new(10, 191, 255, 254));
    Fact::Endpoint(EndpointFact { network, endpoint, v4, v6: None, mac, container: None })
}

fn root() -> FabricRoot {
    FabricRoot::from_seed([9; 32])
}

fn key(index: usize) -> HostKey {
    let mut bytes = [3; 32];
    bytes[..8].copy_from_slice(&(index as u64 + 1).to_be_bytes());
    HostKey::from_seed(bytes)
}

fn local(index: usize) -> LocalHost {
    let [_, _, high, low] = u32::try_from(index + 1).unwrap_or_default().to_be_bytes();
    LocalHost {
        name: format!("h{index}").parse().unwrap_or_else(|_| unreachable!("a letter and digits are a name")),
        addresses: vec![IpAddr::V4(Ipv4Addr::new(192, 168, high, low))],
        quic_port: 7373,
        tunnels: usual_tunnels(),
        underlay_mtu: 1500,
        lease: shoal_fabric::LEASE,
        version: "0.1.0".into(),
        probe_link: None,
    }
}

/// What a host with Docker typically uses: its underlay and two of Docker's networks.
fn taken() -> Vec<Taken> {
    let taken = |(prefix, by): (&str, &str)| Some(Taken { prefix: prefix.parse().ok()?, by: by.into() });
    let used = [
        ("192.168.0.0/16", "route via eth0"),
        ("172.17.0.0/16", "Docker network bridge"),
        ("172.18.0.0/16", "Docker network docker_gwbridge"),
    ];
    used.into_iter().filter_map(taken).collect()
}

fn copy((key, value): (&Vec<u8>, &Vec<u8>)) -> (Vec<u8>, Vec<u8>) {
    (key.clone(), value.clone())
}
