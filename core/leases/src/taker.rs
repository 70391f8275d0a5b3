//! The taker's side: it alone decides on the votes for it, once and for good.

use shoal_schema::{Decision, Fact, LeaseFact, VoteFact};
use shoal_types::HostId;

use crate::quorum::votes_needed;
use crate::{Effect, Leases, Scene};

impl Leases {
    /// What this host does with its own vote, which names itself.
    pub(crate) fn decide(&self, vote: &VoteFact, lease: &LeaseFact, scene: &Scene<'_>) -> Option<Effect> {
        if vote.decision != Decision::Open {
            return None;
        }
        let gives_way = self.votes_on(vote.owner).any(|(_, other)| {
            let open = self.decision_of(other.taker, vote.owner, vote.term) == Decision::Open;
            let alive = scene.alive.contains(&other.taker);
            other.term == vote.term && other.taker < self.me && open && alive
        });
        if scene.alive.contains(&vote.owner) || lease.term != vote.term || gives_way {
            let renounced = VoteFact { decision: Decision::Renounced, ..vote.clone() };
            return Some(Effect::Publish(Fact::Vote(renounced)));
        }
        let held = (scene.version)(vote.owner)?;
        let enough = self.are_enough(vote, &lease.witnesses, scene)
            && (lease.before.is_empty() || self.are_enough(vote, &lease.before, scene));
        let newest = self.votes_for_me(vote).map(|(_, vote)| vote.seen).max()?;
        (enough && held >= newest)
            .then(|| Effect::TakeOver(VoteFact { decision: Decision::Taken, ..vote.clone() }))
    }

    fn votes_for_me<'a>(&'a self, vote: &'a VoteFact) -> impl Iterator<Item = (HostId, &'a VoteFact)> {
        let votes = self.votes_on(vote.owner);
        votes.filter(|(_, other)| other.taker == self.me && other.term == vote.term)
    }

    fn are_enough(&self, vote: &VoteFact, witnesses: &[HostId], scene: &Scene<'_>) -> bool {
        let counts = |voter: &HostId| witnesses.contains(voter) && !scene.forgotten.contains(voter);
        self.votes_for_me(vote).filter(|(voter, _)| counts(voter)).count() >= votes_needed(witnesses.len())
    }
}
