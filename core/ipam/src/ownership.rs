//! Who owns which addresses: an interval map that merges claims in any order.
//!
//! Each address carries the claim with the highest epoch that was ever merged; of equal epochs, the one of the lowest
//! host id. That is a maximum, so merging is commutative, associative and idempotent: reordered, repeated and delayed
//! gifts lead every host to the same map (docs/internals/addresses.md has the proof that nobody is wrong meanwhile).
//!
//! With n intervals, a lookup costs O(log n) and a merge that meets k of them O(k log n).

use std::collections::BTreeMap;

use shoal_types::HostId;

use crate::Run;

/// Under which epoch who owns a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// 0 for a network's creation, then one more with every gift.
    pub epoch: u32,
    /// The owner.
    pub owner: HostId,
}

impl Claim {
    fn beats(&self, held: &Self) -> bool {
        (self.epoch, held.owner) > (held.epoch, self.owner)
    }
}

/// A run whose owner or epoch a merge changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The run.
    pub run: Run,
    /// The claim it had; `None`: nobody's.
    pub before: Option<Claim>,
}

/// Two owners of one run under one epoch; honest hosts cannot bring this about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clash {
    /// The run.
    pub run: Run,
    /// The claim that stays.
    pub kept: Claim,
    /// The claim that is ignored.
    pub ignored: Claim,
}

/// What a merge did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merged {
    /// Runs that now carry the merged claim.
    pub changes: Vec<Change>,
    /// Runs that another host claims under the same epoch.
    pub clashes: Vec<Clash>,
}

/// Runs of addresses of one family and their owners.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ownership {
    /// By first address: last address and claim. Disjoint; neighbours with equal claims are one.
    runs: BTreeMap<u128, (u128, Claim)>,
}

impl Ownership {
    /// Merges a claim: it holds wherever it beats what is held.
    pub fn merge(&mut self, run: Run, claim: Claim) -> Merged {
        self.merge_where(run, claim, |held| claim.beats(held))
    }

    /// Merges a claim only where nobody holds anything yet. For a network's grants, which are fixed by its creation.
    pub fn fill(&mut self, run: Run, claim: Claim) -> Merged {
        self.merge_where(run, claim, |_| false)
    }

    /// The claim on an address.
    pub fn claim_of(&self, number: u128) -> Option<Claim> {
        let (_, (last, claim)) = self.runs.range(..=number).next_back()?;
        (number <= *last).then_some(*claim)
    }

    /// The owner of an address.
    pub fn owner_of(&self, number: u128) -> Option<HostId> {
        self.claim_of(number).map(|claim| claim.owner)
    }

    /// A host's runs in ascending order; neighbours are one run, whatever their epochs. O(n).
    pub fn runs_of(&self, host: HostId) -> Vec<Run> {
        let mut runs = Vec::new();
        for (run, _) in self.iter().filter(|(_, claim)| claim.owner == host) {
            append(&mut runs, run);
        }
        runs
    }

    /// Every owner's runs, as [`Ownership::runs_of`] gives them. O(n log hosts).
    pub fn runs_by_owner(&self) -> BTreeMap<HostId, Vec<Run>> {
        let mut owners: BTreeMap<HostId, Vec<Run>> = BTreeMap::new();
        for (run, claim) in self.iter() {
            append(owners.entry(claim.owner).or_default(), run);
        }
        owners
    }

    /// Every run with its claim, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (Run, Claim)> + '_ {
        self.runs.iter().filter_map(|(first, (last, claim))| Some((Run::new(*first, *last)?, *claim)))
    }

    /// The parts of `run` that have an owner, in ascending order.
    pub fn within(&self, run: Run) -> impl Iterator<Item = (Run, Claim)> + '_ {
        let before = self.runs.range(..run.first()).next_back();
        let inside = self.runs.range(run.first()..=run.last());
        before.into_iter().chain(inside).filter_map(move |(first, (last, claim))| {
            let part = Run::new(*first, *last)?.overlap(&run)?;
            Some((part, *claim))
        })
    }

    fn merge_where(&mut self, run: Run, claim: Claim, wins: impl Fn(&Claim) -> bool) -> Merged {
        let mut merged = Merged::default();
        let mut rest = Some(run);
        for (part, held) in self.within(run) {
            let Some(unseen) = rest else { break };
            let [gap, above] = unseen.without(&part);
            merged.changes.extend(gap.map(|run| Change { run, before: None }));
            rest = above;
            let won = wins(&held);
            if won {
                merged.changes.push(Change { run: part, before: Some(held) });
            }
            if held.epoch == claim.epoch && held.owner != claim.owner {
                let (kept, ignored) = if won { (claim, held) } else { (held, claim) };
                merged.clashes.push(Clash { run: part, kept, ignored });
            }
        }
        merged.changes.extend(rest.map(|run| Change { run, before: None }));
        for change in &merged.changes {
            self.put(change.run, claim);
        }
        merged
    }

    /// Writes a claim over whatever is there.
    fn put(&mut self, run: Run, claim: Claim) {
        let covered: Vec<(Run, Claim)> = self.touching(run);
        let mut whole = run;
        for (held, other) in covered {
            self.runs.remove(&held.first());
            if other == claim {
                let (first, last) = (whole.first().min(held.first()), whole.last().max(held.last()));
                whole = Run::new(first, last).unwrap_or(whole);
                continue;
            }
            for part in held.without(&run).into_iter().flatten() {
                self.runs.insert(part.first(), (part.last(), other));
            }
        }
        self.runs.insert(whole.first(), (whole.last(), claim));
    }

    /// Whole intervals that overlap a run or end or begin right beside it.
    fn touching(&self, run: Run) -> Vec<(Run, Claim)> {
        let (from, to) = (run.first().saturating_sub(1), run.last().saturating_add(1));
        let before = self.runs.range(..from).next_back().filter(|(_, (last, _))| *last >= from);
        let found = before.into_iter().chain(self.runs.range(from..=to));
        found.filter_map(|(first, (last, claim))| Some((Run::new(*first, *last)?, *claim))).collect()
    }
}

/// Appends a run to ascending ones, as one with the last if they touch.
fn append(runs: &mut Vec<Run>, run: Run) {
    let touching = runs.last().filter(|last| last.last().checked_add(1) == Some(run.first()));
    let joined = touching.and_then(|last| Run::new(last.first(), run.last()));
    if joined.is_some() {
        runs.pop();
    }
    runs.push(joined.unwrap_or(run));
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn run(first: u128, last: u128) -> Run {
        Run::new(first, last).unwrap()
    }

    fn claim(epoch: u32, host: u8) -> Claim {
        Claim { epoch, owner: HostId::new([host; 16]) }
    }

    #[test]
    fn a_gift_splits_a_grant_and_a_later_one_joins_it_again() {
        let mut map = Ownership::default();
        map.merge(run(0, 15), claim(0, 1));
        map.merge(run(4, 7), claim(1, 2));
        assert_eq!(
            map.iter().collect::<Vec<_>>(),
            [(run(0, 3), claim(0, 1)), (run(4, 7), claim(1, 2)), (run(8, 15), claim(0, 1))]
        );
        map.merge(run(4, 7), claim(2, 1));
        assert_eq!(map.runs_of(HostId::new([1; 16])), [run(0, 15)]);
        assert_eq!(map.owner_of(16), None);
    }

    #[test]
    fn an_older_gift_that_arrives_late_changes_nothing() {
        let mut map = Ownership::default();
        map.merge(run(0, 9), claim(2, 1));
        let merged = map.merge(run(5, 9), claim(1, 2));
        assert_eq!(merged, Merged::default());
    }

    #[test]
    fn two_owners_under_one_epoch_are_reported_and_the_lowest_id_stays() {
        let mut map = Ownership::default();
        map.merge(run(0, 9), claim(1, 2));
        let merged = map.merge(run(5, 12), claim(1, 1));
        assert_eq!(merged.clashes, [Clash { run: run(5, 9), kept: claim(1, 1), ignored: claim(1, 2) }]);
        assert_eq!(map.owner_of(9), Some(HostId::new([1; 16])));
        assert_eq!(map.owner_of(4), Some(HostId::new([2; 16])));
    }

    #[test]
    fn filling_takes_only_what_nobody_has() {
        let mut map = Ownership::default();
        map.merge(run(2, 3), claim(0, 2));
        map.fill(run(0, 5), claim(0, 1));
        assert_eq!(map.owner_of(2), Some(HostId::new([2; 16])));
        assert_eq!(map.runs_of(HostId::new([1; 16])), [run(0, 1), run(4, 5)]);
    }

    #[test]
    fn the_ends_of_the_space_are_addresses_like_any_other() {
        let mut map = Ownership::default();
        map.merge(run(0, u128::MAX), claim(0, 1));
        map.merge(Run::single(0), claim(1, 2));
        map.merge(Run::single(u128::MAX), claim(1, 3));
        assert_eq!(map.iter().count(), 3);
        assert_eq!(map.owner_of(u128::MAX), Some(HostId::new([3; 16])));
    }

    fn claims() -> impl Strategy<Value = Vec<(Run, Claim)>> {
        let one = (0_u128..64, 0_u128..20, 0_u32..4, 0_u8..4)
            .prop_map(|(first, more, epoch, host)| (run(first, first + more), claim(epoch, host)));
        vec(one, 0..20)
    }

    proptest! {
        #[test]
        fn the_order_of_merging_does_not_matter(mut claims in claims(), seed in any::<u64>()) {
            let merged = |claims: &[(Run, Claim)]| {
                let mut map = Ownership::default();
                for (run, claim) in claims {
                    map.merge(*run, *claim);
                }
                map
            };
            let forward = merged(&claims);
            for at in 1..claims.len() {
                claims.swap(at, (seed as usize).wrapping_mul(at) % (at + 1));
            }
            claims.extend(claims.clone().into_iter().take(5));
            prop_assert_eq!(merged(&claims), forward);
        }

        #[test]
        fn every_address_carries_the_best_claim(claims in claims()) {
            let mut map = Ownership::default();
            for (run, claim) in &claims {
                let before = map.clone();
                let merged = map.merge(*run, *claim);
                for number in 0..90 {
                    let changed = merged.changes.iter().any(|change| change.run.contains(number));
                    prop_assert_eq!(changed, before.claim_of(number) != map.claim_of(number));
                }
            }
            for number in 0..90 {
                let on_it = claims.iter().filter(|(run, _)| run.contains(number)).map(|(_, claim)| *claim);
                let best = on_it.reduce(|best, claim| if claim.beats(&best) { claim } else { best });
                prop_assert_eq!(map.claim_of(number), best);
            }
            let neighbours: Vec<_> = map.iter().collect();
            for pair in neighbours.windows(2) {
                let touching = pair[0].0.last() + 1 == pair[1].0.first();
                prop_assert!(pair[0].0.last() < pair[1].0.first() && !(touching && pair[0].1 == pair[1].1));
            }
        }
    }
}
