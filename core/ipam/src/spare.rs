//! What a host owns and promises not to use: told to all beforehand, so that it can be taken over if the host is gone.
//!
//! All else that it owns is its reserve, from which it hands out and gives whatever happens. A host keeps about
//! [`RESERVE`] free addresses of a pool in reserve, or a quarter of a small share, and calls the rest spare. It wants
//! some back when half of that is used up, and uses them when its lease lets it (`core/leases`).

use std::net::IpAddr;

use shoal_schema::{GiftFact, SpareFact, limit};
use shoal_types::{HostId, Moment, NetworkId, PoolIndex};

use crate::pool::Pool;
use crate::{AllocateError, Ipam, Notice, Run};

/// Free addresses of a pool that a host keeps in reserve.
pub const RESERVE: u128 = 64;

/// A share of a pool with fewer addresses than this has nothing spare.
const SHARE_MIN: u128 = 16;

/// What is spare of one pool on this host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spare {
    /// Ascending, disjoint.
    spare: Vec<Run>,
    /// Ascending, disjoint.
    wanted: Vec<Run>,
    /// Whether what is wanted may be used.
    settled: bool,
    /// An address that a wish or an ask was for.
    demanded: Option<u128>,
}

impl Spare {
    pub(crate) fn is_closed(&self, number: u128) -> bool {
        self.closed().any(|run| run.contains(number))
    }

    /// Runs that may not be used now.
    pub(crate) fn closed(&self) -> impl Iterator<Item = &Run> {
        self.spare.iter().chain(self.wanted.iter().filter(|_| !self.settled))
    }

    pub(crate) fn demand(&mut self, number: u128) {
        self.demanded = Some(number);
    }
}

impl Ipam {
    /// Takes in what this host says to be spare. What it wants back is closed until [`Ipam::open_wanted`].
    pub fn spared(&mut self, fact: &SpareFact) {
        let key = (fact.network, fact.pool);
        self.spares.insert(key, fact.clone());
        if let Some(pool) = self.pools.get_mut(&key) {
            pool.read_spare(fact);
        }
    }

    /// This host says no more that anything of a pool is spare.
    pub fn unspared(&mut self, network: NetworkId, pool: PoolIndex) {
        self.spares.remove(&(network, pool));
        if let Some(pool) = self.pools.get_mut(&(network, pool)) {
            pool.spare = Spare::default();
        }
    }

    /// Says whether what this host wants back of a pool may be used.
    pub fn open_wanted(&mut self, network: NetworkId, pool: PoolIndex, settled: bool) {
        if let Some(pool) = self.pools.get_mut(&(network, pool)) {
            pool.spare.settled = settled;
        }
    }

    /// The pools of which this host wants something back.
    pub fn wanting(&self) -> Vec<(NetworkId, PoolIndex)> {
        let wanting = self.pools().filter(|(_, _, pool)| !pool.spare.wanted.is_empty());
        wanting.map(|(network, index, _)| (network, index)).collect()
    }

    /// What this host should say to be spare, where that differs from what it says. `close`: also of more than before.
    pub fn plan_spare(&mut self, close: bool, now: Moment) -> Vec<SpareFact> {
        let pools = self.pools.iter_mut();
        let plans = pools.filter_map(|((network, index), pool)| {
            let (spare, wanted) = pool.plan_spare(close, now)?;
            let ends = |run: &Run| (pool.space.address(run.first()), pool.space.address(run.last()));
            let (spare, wanted) = (spare.iter().map(ends).collect(), wanted.iter().map(ends).collect());
            Some(SpareFact { network: *network, pool: *index, spare, wanted })
        });
        plans.collect()
    }

    /// Every host that owns an address of a pool.
    pub fn owners(&self) -> std::collections::BTreeSet<HostId> {
        self.pools().flat_map(|(_, _, pool)| pool.ownership.runs_by_owner().into_keys()).collect()
    }

    /// The parts of runs of a pool that a host owns.
    pub fn owned_of(&self, host: HostId, fact: &SpareFact) -> u128 {
        let Some(pool) = self.pool(fact.network, fact.pool) else { return 0 };
        pool.owned_within(host, &fact.spare).iter().map(|(run, _)| run.size()).sum()
    }

    /// Takes over what another host owns of these runs, `None`: of the whole pool. The caller must be entitled to it by
    /// `core/leases`, and makes the facts durable before anyone hears of them.
    pub fn take_over(
        &mut self,
        from: HostId,
        network: NetworkId,
        pool: PoolIndex,
        runs: Option<&[(IpAddr, IpAddr)]>,
    ) -> (Vec<GiftFact>, Vec<Notice>) {
        let Some(found) = self.pool(network, pool) else { return Default::default() };
        let whole = found.space.given;
        let whole = [(found.space.address(whole.first()), found.space.address(whole.last()))];
        let owned = found.owned_within(from, runs.unwrap_or(&whole));
        let gifts = owned.into_iter().filter_map(|(run, epoch)| {
            let (first, last) = (found.space.address(run.first()), found.space.address(run.last()));
            let epoch = epoch.checked_add(1)?;
            Some(GiftFact { network, pool, first, last, to: self.me, from: Some(from), epoch })
        });
        let gifts: Vec<GiftFact> = gifts.collect();
        let notices = gifts.iter().flat_map(|gift| self.gift(self.me, gift)).collect();
        (gifts, notices)
    }
}

impl Pool {
    pub(crate) fn read_spare(&mut self, fact: &SpareFact) {
        let runs = |runs: &[(IpAddr, IpAddr)]| {
            let runs = runs.iter().filter_map(|(first, last)| self.space.given_between(*first, *last));
            merged(runs.collect())
        };
        let demanded = self.spare.demanded;
        self.spare = Spare { spare: runs(&fact.spare), wanted: runs(&fact.wanted), settled: false, demanded };
    }

    /// How many addresses of these runs this host owns and may not use now.
    pub(crate) fn closed_in_all(&self) -> u128 {
        self.spare.closed().map(|run| self.space.usable_in(*run)).sum()
    }

    /// Notes that an address is needed which is spare.
    pub(crate) fn demanded(&mut self, error: &AllocateError) {
        if let AllocateError::Spare { address } = error
            && let Some(number) = self.space.number(*address)
        {
            self.spare.demand(number);
        }
    }

    fn owned_within(&self, host: HostId, runs: &[(IpAddr, IpAddr)]) -> Vec<(Run, u32)> {
        let runs = runs.iter().filter_map(|(first, last)| self.space.given_between(*first, *last));
        let claims = runs.flat_map(|run| self.ownership.within(run).collect::<Vec<_>>());
        claims.filter(|(_, claim)| claim.owner == host).map(|(run, claim)| (run, claim.epoch)).collect()
    }

    /// What should be spare and wanted; `None`: what is.
    fn plan_spare(&mut self, close: bool, now: Moment) -> Option<(Vec<Run>, Vec<Run>)> {
        let still_wanted = if self.spare.settled { Vec::new() } else { self.spare.wanted.clone() };
        if let Some(back) = self.wanted_back(now) {
            let spare = without(self.spare.spare.clone(), &back);
            return Some((spare, merged(still_wanted.into_iter().chain([back]).collect())));
        }
        let own: Vec<Run> = self.spare.spare.iter().flat_map(|run| self.own_within(*run)).collect();
        let lost = own != self.spare.spare;
        let more = if close { self.superfluous(now) } else { Vec::new() };
        let spare = merged(own.into_iter().chain(more.iter().copied()).collect());
        let changed = lost || !more.is_empty();
        (changed && spare.len() <= limit::SPARE_RUNS_MAX).then_some((spare, still_wanted))
    }

    /// What of the spare addresses this host needs now.
    fn wanted_back(&mut self, now: Moment) -> Option<Run> {
        let demanded = self.spare.demanded.take();
        let demanded = demanded.filter(|number| self.spare.spare.iter().any(|run| run.contains(*number)));
        if let Some(number) = demanded {
            return Some(Run::single(number));
        }
        let waits = !self.spare.settled && !self.spare.wanted.is_empty();
        let first = *self.spare.spare.first().filter(|_| !waits)?;
        let low = self.free(&self.choices(), now) < self.reserve() / 2;
        low.then(|| Run::new(first.first(), first.last().min(first.first() + self.reserve() - 1)))?
    }

    /// Free addresses beyond twice the reserve, from the ends of the longest free runs.
    fn superfluous(&self, now: Moment) -> Vec<Run> {
        let choices = self.choices();
        let (free, reserve) = (self.free(&choices, now), self.reserve());
        if self.usable(&choices) < SHARE_MIN || !self.space.chooses_given() || free <= 2 * reserve {
            return Vec::new();
        }
        let mut parts: Vec<Run> = choices.iter().flat_map(|run| self.free_parts(*run, now)).collect();
        parts.sort_unstable_by_key(|run| std::cmp::Reverse(run.size()));
        let mut left = free - reserve;
        let mut spare = Vec::new();
        for part in parts.into_iter().take(limit::SPARE_RUNS_MAX / 4) {
            if left == 0 || part.size() < reserve / 2 {
                break;
            }
            let tail = part.tail(left);
            left -= tail.size();
            spare.push(tail);
        }
        spare
    }

    /// Free addresses that this host keeps for itself.
    fn reserve(&self) -> u128 {
        (self.usable(&self.all_own_given()) / 4).min(RESERVE)
    }

    fn own_within(&self, run: Run) -> Vec<Run> {
        self.all_own_given().iter().filter_map(|own| own.overlap(&run)).collect()
    }
}

/// Disjoint runs in ascending order, neighbours as one.
fn merged(mut runs: Vec<Run>) -> Vec<Run> {
    runs.sort_unstable();
    let mut merged: Vec<Run> = Vec::with_capacity(runs.len());
    for run in runs {
        let joins = merged.last().filter(|last| run.first() <= last.last().saturating_add(1));
        let joined = joins.and_then(|last| Run::new(last.first(), last.last().max(run.last())));
        if joined.is_some() {
            merged.pop();
        }
        merged.push(joined.unwrap_or(run));
    }
    merged
}

/// Runs without the addresses of another one.
pub(crate) fn without(runs: Vec<Run>, hole: &Run) -> Vec<Run> {
    runs.into_iter().flat_map(|run| run.without(hole)).flatten().collect()
}
