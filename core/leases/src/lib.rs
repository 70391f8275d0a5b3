//! Leases: who may take over what a silent host owns and does not use.
//!
//! An owner says beforehand what of its addresses is *spare*; the rest is its reserve. It names *witnesses*, and takes
//! spare addresses back into use only when so many of them hold that wish that the others cannot outvote it. A witness
//! that has not heard of the owner for the lease's duration votes that the lease has ended, for one taker, and answers
//! the owner no more. A taker with the votes of a majority owns what was spare. No step depends on a clock being right:
//! time decides only when a witness votes. docs/internals/addresses.md states the rules and proves them.
//!
//! ```text
//!   owner X                      witnesses A, B, ...                    taker A
//!     spare fact, lease fact ──>   hold them
//!     renew ───────────────────>   seen state v
//!     <──────────── seen state v   (not while a vote on X stands)
//!     wants some back: fact w ─>   seen state w: X may use it
//!     X is silent                  vote: X's term t has ended, A takes,
//!                                  I hold state w of X ──────────────>   majority, and holds w: takes what is spare
//! ```

mod effect;
mod owner;
mod quorum;
mod roster;
mod taker;
mod view;
mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shoal_schema::{Decision, Fact, FactsVersion, LeaseFact, VoteFact};
use shoal_types::{HostId, Moment};

pub use effect::Effect;
pub use quorum::{acks_needed, votes_needed};
pub use view::LeaseView;

/// How long a witness does without word of an owner before it votes, if nothing else is set.
pub const LEASE: Duration = Duration::from_secs(3600);

/// What one host knows of everybody's leases.
#[derive(Debug, Clone)]
pub struct Leases {
    me: HostId,
    duration: Duration,
    started: Moment,
    /// The lease facts held, this host's own among them.
    leases: BTreeMap<HostId, LeaseFact>,
    /// Votes by owner, then by voter; this host's own among them.
    votes: BTreeMap<HostId, BTreeMap<HostId, VoteFact>>,
    /// Which hosts each host says it knows, as a digest.
    rosters: BTreeMap<HostId, [u8; 32]>,
    /// The digest of the hosts this host knows, and since when it is that.
    roster: Option<([u8; 32], Moment)>,
    /// The newest state of this host's facts that each witness says it holds, and when it said so.
    seen: BTreeMap<HostId, (FactsVersion, Moment)>,
    /// When each owner that this host witnesses was last heard of.
    heard: BTreeMap<HostId, Moment>,
    /// The state of this host's facts since which its present lease fact is among them.
    published: Option<(LeaseFact, FactsVersion)>,
    next_renewal: Moment,
}

/// The world as the host sees it when it decides.
pub struct Scene<'a> {
    /// The monotonic clock.
    pub now: Moment,
    /// The other hosts of the fabric whose facts are held, without forgotten ones.
    pub hosts: &'a BTreeSet<HostId>,
    /// The same, with those that were let in and have said nothing yet.
    pub known: &'a BTreeSet<HostId>,
    /// Those that membership hears.
    pub alive: &'a BTreeSet<HostId>,
    /// Hosts that are out for good.
    pub forgotten: &'a BTreeSet<HostId>,
    /// The state of a host's facts that this host holds.
    pub version: &'a dyn Fn(HostId) -> Option<FactsVersion>,
    /// Whether a host owns anything.
    pub owns: &'a dyn Fn(HostId) -> bool,
    /// Whether a host owns something that is spare.
    pub has_spare: &'a dyn Fn(HostId) -> bool,
    /// A state of this host's facts that it waits for its witnesses to hold.
    pub waits_for: Option<FactsVersion>,
}

impl Leases {
    /// For the host `me`, started at `now`, with leases that last `duration` without word.
    pub fn new(me: HostId, duration: Duration, now: Moment) -> Self {
        Self {
            me,
            duration,
            started: now,
            leases: BTreeMap::new(),
            votes: BTreeMap::new(),
            rosters: BTreeMap::new(),
            roster: None,
            seen: BTreeMap::new(),
            heard: BTreeMap::new(),
            published: None,
            next_renewal: now,
        }
    }

    /// Takes in a fact of any host, this one included.
    pub fn learn(&mut self, author: HostId, fact: &Fact) {
        match fact {
            Fact::Lease(lease) => {
                self.leases.insert(author, lease.clone());
            }
            Fact::Vote(vote) => {
                self.votes.entry(vote.owner).or_default().insert(author, vote.clone());
            }
            Fact::Roster(roster) => {
                self.rosters.insert(author, roster.digest);
            }
            _ => {}
        }
    }

    /// Notes that an author says a fact no more, or is out.
    pub fn unlearn(&mut self, author: HostId, fact: &Fact) {
        match fact {
            Fact::Lease(_) => {
                self.leases.remove(&author);
            }
            Fact::Vote(vote) => {
                if let Some(votes) = self.votes.get_mut(&vote.owner) {
                    votes.remove(&author);
                }
                self.votes.retain(|_, votes| !votes.is_empty());
            }
            Fact::Roster(_) => {
                self.rosters.remove(&author);
            }
            _ => {}
        }
    }

    /// Everything that is due. To be called about once a second and when facts have changed.
    pub fn tick(&mut self, scene: &Scene<'_>) -> Vec<Effect> {
        let mut effects = self.follow_owners(scene);
        effects.extend(self.follow_forgotten(scene));
        effects.extend(self.own_lease(scene));
        effects.extend(self.renew(scene));
        effects
    }

    /// This host's vote on an owner.
    fn own_vote(&self, owner: HostId) -> Option<&VoteFact> {
        self.votes.get(&owner)?.get(&self.me)
    }

    /// Votes on an owner, by voter.
    fn votes_on(&self, owner: HostId) -> impl Iterator<Item = (HostId, &VoteFact)> {
        self.votes.get(&owner).into_iter().flatten().map(|(voter, vote)| (*voter, vote))
    }

    /// What a taker has decided on an owner's term. A taker that votes for another one will never take itself.
    fn decision_of(&self, taker: HostId, owner: HostId, term: u32) -> Decision {
        let own = self.votes.get(&owner).and_then(|votes| votes.get(&taker)).filter(|vote| vote.term == term);
        match own {
            Some(vote) if vote.taker == taker => vote.decision,
            Some(_) => Decision::Renounced,
            None => Decision::Open,
        }
    }
}
