//! What a simulated host runs: the whole agent, or only what hosts say to each other when nothing happens.

use std::collections::BTreeSet;
use std::sync::Arc;

use shoal_fabric::{At, Effect, Fabric};
use shoal_facts::{Effect as FactsEffect, Facts, Judge, Version};
use shoal_membership::{Effect as MembershipEffect, Membership};
use shoal_schema::Fact;
use shoal_types::{HostId, Moment};

/// First byte of a message for `core/facts`, as `core/fabric` has it.
const FACTS: u8 = b'f';

/// One host's decisions.
pub(crate) enum Node {
    /// Everything that an agent decides.
    Whole(Box<Fabric>),
    /// Membership and replication only.
    Lean(Box<Lean>),
}

/// Membership and replication, wired as `core/fabric` wires them. What it holds it shares with the other hosts of its
/// fleet until it changes, and it makes nothing of it, so three thousand fit one process.
pub(crate) struct Lean {
    pub(crate) me: HostId,
    pub(crate) facts: Facts,
    membership: Membership,
    alive: usize,
}

struct TakesAll;

impl Judge for TakesAll {
    fn admits(&self, _: HostId, _: &dyn Fn(&[u8]) -> Option<Vec<u8>>) -> Result<(), String> {
        Ok(())
    }
}

impl Lean {
    /// Starts with the facts of `all` hosts.
    pub(crate) fn start(
        facts: Facts,
        me: HostId,
        all: &BTreeSet<HostId>,
        seed: u64,
        at: At,
    ) -> (Self, Vec<Effect>) {
        let membership = Membership::new(me, at.wall.as_millis(), seed);
        let mut lean = Self { me, facts, membership, alive: 0 };
        let known = lean.facts.set_peers(all.clone(), BTreeSet::new(), at.now);
        let mut effects = carry_facts(known);
        let called = lean.membership.announce(all.iter().copied(), at.now);
        effects.extend(lean.carry(called, at.now));
        (lean, effects)
    }

    /// Makes a fact its own.
    pub(crate) fn publish(&mut self, fact: &Fact, at: At) -> Vec<Effect> {
        carry_facts(self.facts.publish(vec![(fact.key().into_bytes(), Some(fact.encode()))], at.now))
    }

    /// The message with which it tells `peers` of a fact.
    pub(crate) fn tell(&mut self, fact: &Fact, peers: &BTreeSet<HostId>, at: At) -> Vec<u8> {
        drop(self.facts.set_peers(peers.clone(), peers.clone(), at.now));
        let message = |effect| if let Effect::Message(_, bytes) = effect { Some(bytes) } else { None };
        self.publish(fact, at).into_iter().find_map(message).unwrap_or_default()
    }

    fn carry(&mut self, effects: Vec<MembershipEffect>, now: Moment) -> Vec<Effect> {
        let (mut carried, mut changes) = (Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                MembershipEffect::Send { to, bytes } => carried.push(Effect::Datagram(to, bytes)),
                MembershipEffect::Up(host) => changes.push((host, true)),
                MembershipEffect::Down(host) => changes.push((host, false)),
            }
        }
        self.alive = self.membership.alive().len();
        carried.extend(carry_facts(self.facts.came_and_went(&changes, now)));
        carried
    }
}

impl Node {
    pub(crate) fn me(&self) -> HostId {
        match self {
            Self::Whole(agent) => agent.me(),
            Self::Lean(lean) => lean.me,
        }
    }

    pub(crate) fn tick(&mut self, at: At) -> Vec<Effect> {
        match self {
            Self::Whole(agent) => agent.tick(at),
            Self::Lean(lean) => {
                let mut effects = carry_facts(lean.facts.tick(at.now));
                let membership = lean.membership.tick(at.now);
                effects.extend(lean.carry(membership, at.now));
                effects
            }
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Moment> {
        match self {
            Self::Whole(agent) => agent.next_timeout(),
            Self::Lean(lean) => {
                [lean.facts.next_timeout(), lean.membership.next_timeout()].into_iter().flatten().min()
            }
        }
    }

    pub(crate) fn datagram(&mut self, from: HostId, bytes: &[u8], at: At) -> Vec<Effect> {
        match self {
            Self::Whole(agent) => agent.datagram(from, bytes, at),
            Self::Lean(lean) => {
                let effects = lean.membership.receive(from, bytes, at.now);
                lean.carry(effects, at.now)
            }
        }
    }

    pub(crate) fn message(&mut self, from: HostId, bytes: &[u8], at: At) -> Vec<Effect> {
        match (self, bytes) {
            (Self::Whole(agent), _) => agent.message(from, bytes, at),
            (Self::Lean(lean), [FACTS, body @ ..]) => {
                carry_facts(lean.facts.receive(from, body, at.now, &TakesAll))
            }
            (Self::Lean(_), _) => Vec::new(),
        }
    }

    /// Other hosts believed alive.
    pub(crate) fn alive(&self) -> usize {
        match self {
            Self::Whole(agent) => agent.alive(),
            Self::Lean(lean) => lean.alive,
        }
    }

    /// A hash of all facts held.
    pub(crate) fn digest(&self) -> Option<Vec<u8>> {
        match self {
            Self::Whole(agent) => agent.facts_digest(),
            Self::Lean(lean) => Some(lean.facts.digest()),
        }
    }

    /// The newest state held of each author.
    pub(crate) fn versions(&self) -> Vec<(HostId, Version)> {
        match self {
            Self::Whole(agent) => agent.heads().into_iter().map(|head| (head.author, head.version)).collect(),
            Self::Lean(lean) => lean.facts.heads().map(|head| (head.author, head.version)).collect(),
        }
    }

    /// Whether it knows a fact of another host.
    pub(crate) fn knows(&self, author: HostId, key: &[u8]) -> bool {
        match self {
            Self::Whole(agent) => agent.fact(author, key).is_some(),
            Self::Lean(lean) => lean.facts.get(author, key).is_some(),
        }
    }
}

fn carry_facts(effects: Vec<FactsEffect>) -> Vec<Effect> {
    let carry = |effect| match effect {
        FactsEffect::Send { to, message } => {
            Some(Effect::Message(to, [&[FACTS], message.as_slice()].concat()))
        }
        _ => None,
    };
    effects.into_iter().filter_map(carry).collect()
}

/// The key of a host as `core/facts` uses it.
pub(crate) struct FactsKey(pub(crate) Arc<shoal_trust::HostKey>);

impl shoal_facts::Signer for FactsKey {
    fn public(&self) -> [u8; 32] {
        self.0.public()
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }
}
