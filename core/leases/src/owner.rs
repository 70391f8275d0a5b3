//! The owner's side: which witnesses, and what they hold.

use std::collections::BTreeSet;
use std::time::Duration;

use shoal_schema::{Decision, Fact, FactsVersion, LeaseFact, limit};
use shoal_types::{HostId, Moment};

use crate::quorum::acks_needed;
use crate::{Effect, Leases, Scene};

/// How often a wish that not enough witnesses hold is told again.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// With more hosts than can be witnesses, dead ones are exchanged when fewer than this many live.
const LIVING_MIN: usize = 12;

impl Leases {
    /// A witness says which state of this host's facts it holds; `own` is the one that this host has. Word of a newer
    /// one is of a life that this host has lost with its disk: it proves nothing of what this host says now.
    pub fn seen(&mut self, witness: HostId, version: FactsVersion, own: FactsVersion, now: Moment) {
        if version > own {
            return;
        }
        let held = self.seen.get(&witness).map_or(version, |(held, _)| version.max(*held));
        self.seen.insert(witness, (held, now));
    }

    /// Whether nobody can take over any more what is not spare in a state of this host's facts.
    pub fn is_settled(&self, version: FactsVersion, scene: &Scene<'_>) -> bool {
        // A lease that is not published yet has no witnesses, and nobody votes on it.
        let Some(lease) = self.leases.get(&self.me) else { return true };
        [&lease.witnesses, &lease.before].into_iter().all(|witnesses| {
            let is_out = |host: &&HostId| scene.forgotten.contains(host) && self.agrees(scene);
            let out = witnesses.iter().filter(is_out).count();
            let holds = |host: &&HostId| {
                let held = self.seen.get(host).is_some_and(|(held, _)| *held >= version);
                held && !scene.forgotten.contains(host)
            };
            witnesses.iter().filter(holds).count() >= acks_needed(witnesses.len(), out)
        })
    }

    /// Publishes the lease fact that should be, when the present one is settled.
    pub(crate) fn own_lease(&mut self, scene: &Scene<'_>) -> Option<Effect> {
        let present = self.leases.get(&self.me).cloned();
        let Some(present) = present else {
            let witnesses = self.witnesses_wanted(&[], scene);
            return Some(publish(LeaseFact { term: 1, witnesses, before: Vec::new(), settled: Vec::new() }));
        };
        let version = (scene.version)(self.me)?;
        if self.published.as_ref().is_none_or(|(fact, _)| *fact != present) {
            self.published = Some((present.clone(), version));
        }
        let since = self.published.as_ref().map_or(version, |(_, since)| *since);
        let witnesses = self.witnesses_wanted(&present.witnesses, scene);
        let settled = self.settled_takers(scene);
        let answered = |voter: HostId| {
            let vote = self.votes.get(&self.me).and_then(|votes| votes.get(&voter));
            vote.is_none_or(|vote| {
                let waits = !settled.contains(&vote.taker);
                waits || (vote.term < present.term && present.settled.contains(&vote.taker))
            })
        };
        let news = !self.votes_on(self.me).all(|(voter, _)| answered(voter));
        let outdated = witnesses != present.witnesses || present.before != present.witnesses;
        if !(news || outdated) || !self.is_settled(since, scene) {
            return None;
        }
        let term = present.term.checked_add(1)?;
        Some(publish(LeaseFact {
            term,
            witnesses,
            before: present.witnesses,
            settled: settled.into_iter().take(limit::SETTLED_MAX).collect(),
        }))
    }

    /// Asks witnesses which state they hold: all of them four times in a lease, and again while one is waited for.
    pub(crate) fn renew(&mut self, scene: &Scene<'_>) -> Vec<Effect> {
        let (Some(lease), Some((_, since))) = (self.leases.get(&self.me), &self.published) else {
            return Vec::new();
        };
        if scene.now < self.next_renewal {
            return Vec::new();
        }
        let wanted = scene.waits_for.map_or(*since, |version| version.max(*since));
        let all: BTreeSet<HostId> = lease.witnesses.iter().chain(&lease.before).copied().collect();
        let waits = !self.is_settled(wanted, scene);
        self.next_renewal =
            scene.now + if waits { ASK_AGAIN.min(self.duration / 4) } else { self.duration / 4 };
        let known = all.into_iter().filter(|host| scene.hosts.contains(host));
        known.map(Effect::Renew).collect()
    }

    /// Takers that votes on this host named and that have decided, as this host knows.
    fn settled_takers(&self, scene: &Scene<'_>) -> BTreeSet<HostId> {
        let decided = |taker: HostId, term: u32| {
            let out = scene.forgotten.contains(&taker) && self.agrees(scene);
            out || self.decision_of(taker, self.me, term) != Decision::Open
        };
        let open: BTreeSet<HostId> = self
            .votes_on(self.me)
            .filter(|(_, vote)| !decided(vote.taker, vote.term))
            .map(|(_, vote)| vote.taker)
            .collect();
        self.votes_on(self.me).map(|(_, vote)| vote.taker).filter(|taker| !open.contains(taker)).collect()
    }

    /// All other hosts, or of many those that follow in the order of ids, living ones first.
    fn witnesses_wanted(&self, present: &[HostId], scene: &Scene<'_>) -> Vec<HostId> {
        if scene.hosts.len() <= limit::WITNESSES_MAX {
            return scene.hosts.iter().copied().collect();
        }
        let kept: Vec<HostId> = present.iter().copied().filter(|host| scene.hosts.contains(host)).collect();
        let living = kept.iter().filter(|host| scene.alive.contains(host)).count();
        if kept.len() == limit::WITNESSES_MAX && living >= LIVING_MIN {
            return kept;
        }
        let ring = || scene.hosts.range(self.me..).chain(scene.hosts.range(..self.me)).copied();
        let is_alive = |host: &HostId| scene.alive.contains(host);
        let order = kept.iter().copied().filter(is_alive).chain(ring().filter(is_alive)).chain(kept.clone());
        let mut chosen = BTreeSet::new();
        for host in order.chain(ring()) {
            if chosen.len() < limit::WITNESSES_MAX {
                chosen.insert(host);
            }
        }
        chosen.into_iter().collect()
    }
}

fn publish(lease: LeaseFact) -> Effect {
    Effect::Publish(Fact::Lease(lease))
}
