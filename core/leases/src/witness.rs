//! The witness's side: word to an owner, or a vote on it, never both.

use std::collections::BTreeSet;

use shoal_schema::{Decision, Fact, FactKey, FactsVersion, LeaseFact, VoteFact};
use shoal_types::{HostId, Moment};

use crate::quorum::votes_needed;
use crate::{Effect, Leases, Scene};

impl Leases {
    /// An owner was heard of.
    pub fn heard(&mut self, owner: HostId, now: Moment) {
        self.heard.insert(owner, now);
    }

    /// What to tell an owner that asks, or whose facts changed: the state `held` of its facts, if this host is its
    /// witness and has no vote on it. To be durable here before it is told, with everything that was held by then.
    pub fn word_to(&self, owner: HostId, held: FactsVersion) -> Option<FactsVersion> {
        let lease = self.leases.get(&owner)?;
        (is_witness(lease, self.me) && self.own_vote(owner).is_none()).then_some(held)
    }

    /// Votes, takes votes back, and decides where this host is the taker.
    pub(crate) fn follow_owners(&mut self, scene: &Scene<'_>) -> Vec<Effect> {
        for owner in self.leases.keys().filter(|owner| scene.alive.contains(owner)) {
            self.heard.insert(*owner, scene.now);
        }
        let out = self.votes.keys().filter(|owner| scene.forgotten.contains(owner));
        let out = out.filter(|owner| self.own_vote(**owner).is_some());
        let mut effects: Vec<Effect> = out.map(|owner| Effect::Withdraw(FactKey::vote(*owner))).collect();
        let others = self.leases.iter().filter(|(owner, _)| scene.hosts.contains(owner));
        effects.extend(others.filter_map(|(owner, lease)| self.follow(*owner, lease, scene)));
        effects
    }

    fn follow(&self, owner: HostId, lease: &LeaseFact, scene: &Scene<'_>) -> Option<Effect> {
        let Some(vote) = self.own_vote(owner) else { return self.first_vote(owner, lease, scene) };
        if lease.term > vote.term && lease.settled.contains(&vote.taker) {
            return Some(Effect::Withdraw(FactKey::vote(owner)));
        }
        if vote.taker == self.me {
            return self.decide(vote, lease, scene);
        }
        let refused = self.decision_of(vote.taker, owner, vote.term) == Decision::Renounced;
        if !refused || vote.term != lease.term || !self.is_silent(owner, scene) {
            return None;
        }
        // Whoever waits for this host's decision takes its vote for another as a refusal, so it is bound by that.
        let taker = self.candidates(owner, lease, scene).into_iter().find(|taker| *taker != self.me)?;
        self.vote(owner, lease, taker, scene)
    }

    fn first_vote(&self, owner: HostId, lease: &LeaseFact, scene: &Scene<'_>) -> Option<Effect> {
        let named = self.votes_on(owner).find(|(_, vote)| vote.taker == self.me && vote.term >= lease.term);
        if let Some((_, vote)) = named.filter(|_| scene.alive.contains(&owner)) {
            let renounced = VoteFact { decision: Decision::Renounced, ..vote.clone() };
            return Some(Effect::Publish(Fact::Vote(renounced)));
        }
        let can_be_won = |witnesses: &Vec<HostId>| {
            let here = |host: &&HostId| **host == self.me || scene.alive.contains(host);
            witnesses.iter().filter(here).count() >= votes_needed(witnesses.len())
        };
        let wins = can_be_won(&lease.witnesses) && (lease.before.is_empty() || can_be_won(&lease.before));
        if !is_witness(lease, self.me) || !wins || !self.is_silent(owner, scene) || !(scene.has_spare)(owner)
        {
            return None;
        }
        let taker = self.candidates(owner, lease, scene).into_iter().next()?;
        self.vote(owner, lease, taker, scene)
    }

    fn vote(&self, owner: HostId, lease: &LeaseFact, taker: HostId, scene: &Scene<'_>) -> Option<Effect> {
        let seen = (scene.version)(owner)?;
        let (term, decision) = (lease.term, Decision::Open);
        Some(Effect::Publish(Fact::Vote(VoteFact { owner, term, taker, seen, decision })))
    }

    fn is_silent(&self, owner: HostId, scene: &Scene<'_>) -> bool {
        let heard = self.heard.get(&owner).map_or(self.started, |heard| *heard);
        scene.now.since(heard) >= self.duration && !scene.alive.contains(&owner)
    }

    /// Who may take over, the best first: whom others named already, then the lowest id.
    fn candidates(&self, owner: HostId, lease: &LeaseFact, scene: &Scene<'_>) -> Vec<HostId> {
        let fits = |taker: &HostId| {
            let here = *taker == self.me || scene.alive.contains(taker);
            here && self.decision_of(*taker, owner, lease.term) == Decision::Open
        };
        let votes = self.votes_on(owner).filter(|(_, vote)| vote.term == lease.term);
        let named: BTreeSet<HostId> = votes.map(|(_, vote)| vote.taker).filter(fits).collect();
        let others = lease.witnesses.iter().copied().filter(fits);
        named.iter().copied().chain(others.filter(|host| !named.contains(host))).collect()
    }
}

fn is_witness(lease: &LeaseFact, host: HostId) -> bool {
    lease.witnesses.contains(&host) || lease.before.contains(&host)
}
