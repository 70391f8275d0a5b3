//! Signed single-writer facts with digests, deltas and anti-entropy.
//!
//! A fact is a key and a value, bytes both; what they mean is none of this crate's business, so a host keeps and
//! forwards kinds of facts it does not know. Every host writes its own set of facts and no other's. An author signs
//! not single facts but the state of its whole set: a [head](HeadView) names the version, a digest of every entry,
//! and the author's public key, from which its [`HostId`] follows. A receiver applies a delta to a copy, computes the
//! digest and compares. So the invariant is:
//!
//! > The set of an author, held anywhere, is always one that the author signed whole.
//!
//! Changes are pushed; every second or so a host also compares digests with a random other, whatever membership
//! believes of it. `docs/internals/facts.md` explains why that converges and what it costs.
//!
//! ```text
//!   publish ──┐                              ┌── Persist   write before anything after it in the list
//!   receive ──┤      ┌───────┐               ├── Changed   what readers see differently
//!   set_peers ┼─────>│ Facts │──> effects ───┼── Notice    what a person should hear of
//!   forget  ──┤      └───────┘               ├── Conflict  another host has this host's key: stop
//!   tick    ──┘                              └── Send      bytes for a peer's `receive`
//! ```

mod digest;
mod effect;
mod exchange;
mod head;
mod incoming;
mod limits;
mod load;
mod outcome;
mod outlived;
mod own;
mod peers;
mod set;
mod stats;
#[cfg(test)]
mod testing;
mod view;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shoal_kit::ExpiringMap;
use shoal_types::{HostId, Moment};

pub use effect::{Change, Effect, Notice, TooLarge};
pub use head::{Signer, Version, author_of};
pub use limits::{
    AUTHORS_MAX, ENTRIES_MAX, ENTRY_OVERHEAD_BYTES, KEY_BYTES_MAX, LEAVES_MAX, MESSAGE_BYTES_MAX,
    PUSH_DIRECT_MAX, PUSH_FANOUT, PUSH_HOPS, REFUSAL_LASTS, ROUND_PAUSE_MAX, ROUND_PAUSE_MIN, SET_BYTES_MAX,
    TOMBSTONE_LASTS, TOMBSTONES_MAX, VALUE_BYTES_MAX, WANT_PATIENCE,
};
pub use load::LoadError;
pub use stats::{Discarded, Stats};
pub use view::HeadView;

use head::Mark;
use outcome::Outcome;
use outlived::Outlived;
use own::TombstoneAges;
use peers::Peers;
use set::Set;
use stats::Counters;

/// Decides whether an author's facts may be taken at all.
pub trait Judge {
    /// Whether `author` may hold the entries that `entries` reads by key. Asked each time an author's set changes,
    /// after its signature and digest were found right and before anything is applied.
    ///
    /// # Errors
    /// A sentence why not. The set is then not asked for again, in this version, for [`REFUSAL_LASTS`].
    fn admits(&self, author: HostId, entries: &dyn Fn(&[u8]) -> Option<Vec<u8>>) -> Result<(), String>;
}

/// All facts this host holds, and the exchange of them with its peers.
///
/// Each call returns effects to be carried out in the order of the list. [`Facts::next_timeout`] tells when to call
/// [`Facts::tick`].
pub struct Facts {
    me: HostId,
    key: Arc<dyn Signer>,
    /// By author, this host included once it has published. Never a set that its author did not sign whole. A set is
    /// replaced and never changed, so [forks](Facts::fork) share it.
    sets: BTreeMap<HostId, Arc<Set>>,
    /// The digest of all sets, until one changes.
    root: Option<wire::Range>,
    forgotten: BTreeSet<HostId>,
    peers: Peers,
    tombstones: TombstoneAges,
    /// The newest known state of the life that this run has lost, if it has taken a new incarnation; a second reason to
    /// do so means that another host has our key.
    reborn_after: Option<Mark>,
    outlived: Outlived,
    /// Sets asked for a moment ago, so that several peers that know more do not all send the same.
    asked: ExpiringMap<HostId, Mark>,
    /// Authors whose whole set was asked for a moment ago, because something sent in their name was wrong.
    asked_whole: ExpiringMap<HostId, ()>,
    /// States the judge refused.
    refused: ExpiringMap<HostId, Mark>,
    /// Stored keys of sets found damaged at the start; removed with the next write.
    leftovers: Vec<Vec<u8>>,
    counters: Counters,
}

impl Facts {
    /// Takes what was stored (every pair whose key starts with `b"facts/"`) and goes on from there.
    ///
    /// Sets of others that do not verify are dropped and will be fetched again. `seed` drives the choice of peers
    /// and should differ from host to host.
    ///
    /// # Errors
    /// [`LoadError`] if `key` is not the key of `me`, or the own set does not verify.
    pub fn new(
        me: HostId,
        key: Arc<dyn Signer>,
        loaded: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
        seed: u64,
        now: Moment,
    ) -> Result<Self, LoadError> {
        let loaded = load::load(me, key.as_ref(), loaded)?;
        let tombstones = TombstoneAges::of_loaded(loaded.sets.get(&me).map(Arc::as_ref), now);
        Ok(Self {
            me,
            key,
            sets: loaded.sets,
            root: None,
            forgotten: BTreeSet::new(),
            peers: Peers::new(me, seed, now),
            tombstones,
            reborn_after: None,
            outlived: Outlived::default(),
            asked: ExpiringMap::new(AUTHORS_MAX),
            asked_whole: ExpiringMap::new(AUTHORS_MAX),
            refused: ExpiringMap::new(AUTHORS_MAX),
            leftovers: loaded.leftovers,
            counters: Counters::with_damaged(loaded.damaged),
        })
    }

    /// Changes this host's own facts: `None` removes a key. The edits become one new version; an edit that changes
    /// nothing is dropped, and of two edits of one key the later counts. The own durable `Persist` comes first.
    ///
    /// If the edits do not fit (see [`Facts::check`]), nothing is published and the only effect is
    /// [`Notice::TooLarge`].
    pub fn publish(&mut self, edits: Vec<(Vec<u8>, Option<Vec<u8>>)>, now: Moment) -> Vec<Effect> {
        let mut out = Outcome::default();
        self.publish_edits(edits, now, &mut out);
        self.finish(out)
    }

    /// Whether the edits fit the limits of a key, a value and a set.
    ///
    /// # Errors
    /// [`TooLarge`] names the limit.
    pub fn check(&self, edits: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), TooLarge> {
        let edits = edits.iter().map(|(key, value)| (key.as_slice(), value.as_deref()));
        set::check_edits(self.held(self.me).map(|set| &set.entries), edits)
    }

    /// Takes any bytes that arrived from the peer `from`. Whatever is wrong with them is counted and nothing of it
    /// is applied.
    pub fn receive(&mut self, from: HostId, message: &[u8], now: Moment, judge: &dyn Judge) -> Vec<Effect> {
        let mut out = Outcome::default();
        self.take_message(from, message, now, judge, &mut out);
        self.finish(out)
    }

    /// Tells which hosts exist (`known`: members, dead ones and seeds included) and which of them membership
    /// believes alive. A digest goes to hosts that have come up.
    pub fn set_peers(
        &mut self,
        known: BTreeSet<HostId>,
        alive: BTreeSet<HostId>,
        now: Moment,
    ) -> Vec<Effect> {
        let greet = self.peers.set(known, alive, now);
        let mut out = Outcome::default();
        self.send_digest(&greet, &mut out);
        self.finish(out)
    }

    /// Tells who came up (true) or went down, in order. A digest goes to hosts that have come up.
    pub fn came_and_went(&mut self, changes: &[(HostId, bool)], now: Moment) -> Vec<Effect> {
        let greet = self.peers.come_and_go(changes, now);
        let mut out = Outcome::default();
        self.send_digest(&greet, &mut out);
        self.finish(out)
    }

    /// Drops everything of an author and takes nothing from or about it again. Must be told anew after a restart.
    /// This host itself cannot be forgotten here.
    pub fn forget(&mut self, author: HostId) -> Vec<Effect> {
        let mut out = Outcome::default();
        if author != self.me && self.forgotten.insert(author) {
            self.peers.remove(author);
            self.root = None;
            if let Some(set) = self.sets.remove(&author) {
                out.replace(author, Some(&set), None);
            }
        }
        self.finish(out)
    }

    /// Does what has come due: a round of anti-entropy, the collection of old tombstones.
    pub fn tick(&mut self, now: Moment) -> Vec<Effect> {
        let mut out = Outcome::default();
        self.asked.expire(now);
        self.asked_whole.expire(now);
        self.refused.expire(now);
        self.collect_tombstones(now, &mut out);
        self.hand_back_again(now, &mut out);
        if let Some(peer) = self.peers.round_due(now) {
            self.counters.rounds += 1;
            self.send_digest(&[peer], &mut out);
        }
        self.finish(out)
    }

    /// When [`Facts::tick`] next has something to do.
    pub fn next_timeout(&self) -> Option<Moment> {
        let leftovers = (!self.leftovers.is_empty()).then_some(Moment::ZERO);
        [leftovers, self.peers.next_round(), self.tombstones.due(), self.outlived.due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Everything, as messages for the `receive` of a host that joins. What it held itself, if it was a member
    /// before, is included.
    pub fn snapshot_for(&self, joiner: HostId) -> Vec<Vec<u8>> {
        let whole = |set: &Set| wire::Delta::new(&set.delta_since(None), 0);
        let others = self.sets.iter().filter(|(author, _)| **author != joiner);
        let others = others.map(|(_, set)| set.as_ref());
        wire::pack_deltas(self.held(joiner).into_iter().chain(others).map(whole), usize::MAX)
    }

    /// The host that has `key`, holding what this one holds and nothing of its own besides. Sets are shared until they
    /// are replaced, so that a simulation has memory for thousands of hosts.
    pub fn fork(&self, key: Arc<dyn Signer>, seed: u64, now: Moment) -> Self {
        let me = author_of(&key.public());
        Self {
            me,
            key,
            sets: self.sets.clone(),
            root: self.root.clone(),
            forgotten: self.forgotten.clone(),
            peers: Peers::new(me, seed, now),
            tombstones: TombstoneAges::of_loaded(self.held(me), now),
            reborn_after: None,
            outlived: Outlived::default(),
            asked: ExpiringMap::new(AUTHORS_MAX),
            asked_whole: ExpiringMap::new(AUTHORS_MAX),
            refused: ExpiringMap::new(AUTHORS_MAX),
            leftovers: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// What is held of an author.
    pub(crate) fn held(&self, author: HostId) -> Option<&Set> {
        self.sets.get(&author).map(Arc::as_ref)
    }

    fn finish(&mut self, out: Outcome) -> Vec<Effect> {
        out.into_effects(std::mem::take(&mut self.leftovers), &mut self.counters)
    }
}
