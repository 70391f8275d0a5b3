//! One host's whole decision maker: composes the cores, events in, effects out.
//!
//! [`Fabric`] is what the agent runs and what the simulator runs a thousand of. It holds no socket and no clock: each
//! call names the time and returns [`Effect`]s.
//!
//! ```text
//!   dockerd's verbs ──> Networks ──┐                     ┌──> Save, Project, Engine     (this machine)
//!   engine's reports ─>    │  Ipam │   facts published   │
//!   peers' messages ──> Facts ─────┴──> Facts ───────────┼──> Message                   (other hosts)
//!   peers' datagrams ─> Membership ──────────────────────┼──> Datagram
//!   init, join, forget ─> Identity, TrustView ───────────┼──> Certificate, Trust
//!   tunnels' statuses ──> Tunnels ───────────────────────┴──> DrawTunnelKeys
//! ```

mod carry;
mod collect;
mod effect;
mod forget;
mod identity;
mod leases;
mod message;
mod owed;
mod probe;
mod rejoin;
mod room;
mod tokens;
mod trust;
mod tunnels;
mod verbs;
mod view;
mod welcome;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use shoal_facts::Facts;
use shoal_membership::Membership;
use shoal_networks::Networks;
use shoal_schema::{HostFact, Taken};
use shoal_trust::{HostKey, TrustView};
use shoal_tunnels::Tunnels;
use shoal_types::{FabricId, HostId, HostName, Moment};

pub use effect::{Effect, Writes};
pub use identity::Identity;
pub use owed::Owed;
pub use probe::{probe_address, probe_mac};
pub use shoal_leases::{LEASE, LeaseView};
pub use shoal_networks::At;
pub use shoal_tunnels::KeyPair;
pub use tokens::OpenToken;
pub use tunnels::LocalTunnels;
pub use view::{HostState, HostSummary};
pub use welcome::{Introduction, Welcome};

/// How often the cores are brought in line even if nothing happened.
const RECONCILE_EVERY: Duration = Duration::from_secs(1);

/// What a host knows of itself without any fabric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalHost {
    /// Name for people.
    pub name: HostName,
    /// Underlay addresses, the preferred one first.
    pub addresses: Vec<IpAddr>,
    /// UDP port of QUIC.
    pub quic_port: u16,
    /// How tunnel devices are made.
    pub tunnels: LocalTunnels,
    /// MTU of the link that holds the preferred address, bytes.
    pub underlay_mtu: u16,
    /// How long another host does without word of an owner of addresses before it votes that its lease has ended.
    pub lease: Duration,
    /// Software version.
    pub version: String,
    /// Names of the probe link: the end with the program, the agent's end.
    pub probe_link: Option<(shoal_types::LinkName, shoal_types::LinkName)>,
}

/// One host's whole decision maker.
pub struct Fabric {
    me: HostId,
    key: Arc<HostKey>,
    seed: u64,
    local: LocalHost,
    taken: Vec<Taken>,
    networks: Networks,
    tunnels: Tunnels,
    member: Option<Member>,
    lease_work: leases::LeaseWork,
    path_mtus: BTreeMap<HostId, u16>,
    next_reconcile: Moment,
    next_collection: Moment,
    unknown_messages: u64,
    /// What is left of a command that was refused, for the next tick.
    left_over: Vec<shoal_networks::Effect>,
    /// What this host must not lose of fabrics that it has left.
    left: BTreeMap<FabricId, rejoin::Left>,
}

/// What a host has only as part of a fabric.
struct Member {
    identity: Identity,
    facts: Facts,
    membership: Membership,
    trust: TrustView,
    hosts: BTreeMap<HostId, HostFact>,
    alive: BTreeSet<HostId>,
    heard: BTreeMap<HostId, Moment>,
    /// Hosts that this one let in; those that have said nothing yet count, but are trusted by their certificate only.
    let_in: BTreeSet<HostId>,
}

impl Fabric {
    /// Takes up what was stored; `stored` is everything the store holds. `seed` must differ at every start.
    ///
    /// # Errors
    /// A sentence, if this host's own facts on disk are not what it signed.
    pub fn open(
        key: Arc<HostKey>,
        local: LocalHost,
        stored: &[(Vec<u8>, Vec<u8>)],
        seed: u64,
        at: At,
    ) -> Result<(Self, Vec<Effect>), String> {
        let (me, relay_port) = (key.id(), local.tunnels.relay_port);
        let lease_work = leases::LeaseWork::new(me, local.lease, at.now);
        let mut fabric = Self {
            me,
            key,
            seed,
            local,
            taken: Vec::new(),
            networks: Networks::new(me, seed),
            tunnels: Tunnels::new(me, relay_port),
            member: None,
            lease_work,
            path_mtus: BTreeMap::new(),
            next_reconcile: at.now,
            next_collection: Self::first_collection(at.now),
            unknown_messages: 0,
            left_over: Vec::new(),
            left: rejoin::Left::read(stored),
        };
        let records = stored.iter().filter(|(key, _)| key.starts_with(shoal_networks::Record::PREFIX));
        let restored =
            fabric.networks.restore(records.map(|(key, value)| (key.as_slice(), value.as_slice())));
        let mut effects = fabric.carry_networks(restored, at);
        let ends = stored.iter().filter(|(key, _)| key.starts_with(shoal_tunnels::RECORDS));
        fabric.tunnels.restore(ends.map(|(key, value)| (key.as_slice(), value.as_slice())), at.now);
        let identity = stored.iter().find(|(key, _)| key == Identity::KEY);
        if let Some((_, bytes)) = identity {
            let unreadable =
                || "this host's membership on disk is damaged: run `shoal leave` and join again".to_owned();
            let identity = Identity::decode(bytes).ok_or_else(unreadable)?;
            let facts = stored.iter().filter(|(key, _)| key.starts_with(b"facts/")).cloned();
            effects.extend(fabric.become_member(identity, facts, at)?);
            if let Some(member) = &mut fabric.member {
                member.let_in = rejoin::read_let_in(stored);
            }
            effects.extend(fabric.publish_myself(at));
        }
        Ok((fabric, effects))
    }

    /// Brings everything in line with the time. Call it when [`Fabric::next_timeout`] has come.
    pub fn tick(&mut self, at: At) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Some(member) = &mut self.member else { return effects };
        let facts = member.facts.tick(at.now);
        let membership = member.membership.tick(at.now);
        effects.extend(self.carry_facts(facts, at));
        effects.extend(self.carry_membership(membership, at));
        let retry = self.networks.next_retry().is_some_and(|due| at.now >= due);
        if retry || at.now >= self.next_reconcile {
            self.next_reconcile = at.now + RECONCILE_EVERY;
            let mut work = std::mem::take(&mut self.left_over);
            work.extend(self.networks.reconcile(at));
            effects.extend(self.carry_networks(work, at));
            effects.extend(self.tick_tunnels(at));
            effects.extend(self.tick_leases(at));
            effects.extend(self.collect(at));
        }
        carry::saves_first(effects)
    }

    /// When [`Fabric::tick`] has something to do; `None` while the host belongs to no fabric.
    pub fn next_timeout(&self) -> Option<Moment> {
        let member = self.member.as_ref()?;
        let cores =
            [member.facts.next_timeout(), member.membership.next_timeout(), self.networks.next_retry()];
        Some(cores.into_iter().flatten().fold(self.next_reconcile, Moment::min))
    }

    /// A message from a peer that the transport has authenticated.
    pub fn message(&mut self, from: HostId, bytes: &[u8], at: At) -> Vec<Effect> {
        let Some(member) = &mut self.member else { return Vec::new() };
        member.heard.insert(from, at.now);
        match message::parse(bytes, self.me) {
            Some(message::Message::Facts(body)) => {
                let judge = trust::FactsJudge { trust: &member.trust, wall: at.wall };
                let effects = member.facts.receive(from, body, at.now, &judge);
                self.carry_facts(effects, at)
            }
            Some(message::Message::Ask(ask)) => self.give(from, &ask, at),
            Some(message::Message::Renew) => self.renewed_by(from, at),
            Some(message::Message::Word(version)) => {
                self.heard_word(from, version, at);
                Vec::new()
            }
            Some(message::Message::Refused(network, pool)) => {
                self.networks.ipam_mut().refused(network, pool, from, at.now);
                self.next_reconcile = at.now;
                Vec::new()
            }
            None => {
                self.unknown_messages += 1;
                Vec::new()
            }
        }
    }

    /// A datagram from a peer that the transport has authenticated.
    pub fn datagram(&mut self, from: HostId, bytes: &[u8], at: At) -> Vec<Effect> {
        let Some(member) = &mut self.member else { return Vec::new() };
        member.heard.insert(from, at.now);
        let effects = member.membership.receive(from, bytes, at.now);
        self.carry_membership(effects, at)
    }

    /// The largest inner packet that reaches a host, as probes found it; `None`: unknown again.
    pub fn path_mtu(&mut self, host: HostId, mtu: Option<u16>) -> Vec<Effect> {
        let before = match mtu {
            Some(mtu) => self.path_mtus.insert(host, mtu),
            None => self.path_mtus.remove(&host),
        };
        if before == mtu { Vec::new() } else { vec![Effect::ProjectSoon] }
    }
}
