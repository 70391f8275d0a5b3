//! What others may read: leases, for people.

use std::time::Duration;

use shoal_types::{HostId, Moment};

use crate::quorum::acks_needed;
use crate::{Leases, Scene};

/// How a host's lease stands, as this host knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseView {
    /// Its term.
    pub term: u32,
    /// Its witnesses.
    pub witnesses: Vec<HostId>,
    /// How long it still lasts, as this host reckons: of this host by the word of its witnesses, of another by when it
    /// was last heard of here. `None`: for ever, because nobody could take over.
    pub left: Option<Duration>,
    /// Who votes that it has ended.
    pub votes: Vec<HostId>,
}

impl Leases {
    /// A host's lease; `None`: it has none.
    pub fn view(&self, host: HostId, scene: &Scene<'_>) -> Option<LeaseView> {
        let lease = self.leases.get(&host)?;
        let heard = if host == self.me {
            self.heard_by_witnesses(&lease.witnesses)
        } else if scene.alive.contains(&host) {
            Some(scene.now)
        } else {
            self.heard.get(&host).copied()
        };
        let endless = acks_needed(lease.witnesses.len(), 0) == 0;
        let ends = heard.map_or(self.started, |heard| heard) + self.duration;
        Some(LeaseView {
            term: lease.term,
            witnesses: lease.witnesses.clone(),
            left: (!endless).then(|| ends.since(scene.now)),
            votes: self.votes_on(host).map(|(voter, _)| voter).collect(),
        })
    }

    /// When so many witnesses had last spoken that the others are no majority.
    fn heard_by_witnesses(&self, witnesses: &[HostId]) -> Option<Moment> {
        let mut times: Vec<Moment> =
            witnesses.iter().filter_map(|host| self.seen.get(host)).map(|(_, at)| *at).collect();
        times.sort_unstable_by(|one, other| other.cmp(one));
        times.get(acks_needed(witnesses.len(), 0).checked_sub(1)?).copied()
    }
}
