//! Asking other hosts for addresses ahead of need, and giving them ours.
//!
//! A host asks when less is free than its low-water mark: a quarter of what it owns, at least 2, at most 256. An
//! owner gives up to half of what it has free and stays above its own mark, so two hosts never pass the same
//! addresses to and fro. Only when a container waits does an owner go below its mark, to its last free address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use shoal_schema::GiftFact;
use shoal_types::{HostId, Moment, NetworkId, PoolIndex};

use crate::Run;
use crate::error::Refused;
use crate::pool::Pool;

/// An ask without an answer after this time counts as refused.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// An owner that refused is not asked again for this time.
pub const REFUSED_FOR: Duration = Duration::from_secs(20);
/// How long a container that found no address makes its host ask for the owners' last ones.
pub const WAITING_FOR: Duration = Duration::from_secs(60);
/// Free addresses at and above which no host asks for more.
pub const LOW_WATER_MAX: u128 = 256;
/// Addresses one ask is for, at most, and at least.
const COUNT: std::ops::RangeInclusive<u128> = 4..=4096;

/// A request to another host, to be sent to it; it answers with what `Ipam::give` returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The network.
    pub network: NetworkId,
    /// Which of its subnets.
    pub pool: PoolIndex,
    /// The host to ask.
    pub from: HostId,
    /// What for.
    pub want: Want,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Any run of free addresses.
    Run {
        /// How many at most.
        count: u32,
        /// A container waits: give even the last free address.
        waiting: bool,
    },
    /// One exact address.
    Address(IpAddr),
}

/// Where one pool's asking stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asking {
    open: Option<Open>,
    /// Who refused.
    refused: BTreeMap<HostId, Refusal>,
    /// Until when a container counts as waiting.
    waiting: Option<Moment>,
}

/// An ask that has no answer yet.
#[derive(Debug, Clone, Copy)]
struct Open {
    from: HostId,
    overdue: Moment,
    waiting: bool,
}

#[derive(Debug, Clone, Copy)]
struct Refusal {
    until: Moment,
    /// Also when a container waits; else the owner may still give its last addresses then.
    to_waiting: bool,
}

impl Asking {
    pub(crate) fn waits(&mut self, now: Moment) {
        self.waiting = Some(now + WAITING_FOR);
    }

    pub(crate) fn satisfied(&mut self) {
        self.waiting = None;
    }

    /// A gift arrived: whoever refused may not have known better.
    pub(crate) fn answered(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn refused(&mut self, by: HostId, now: Moment) {
        let open = self.open.take_if(|open| open.from == by);
        let to_waiting = open.is_none_or(|open| open.waiting || open.overdue <= now);
        self.refused.insert(by, Refusal { until: now + REFUSED_FOR, to_waiting });
    }

    pub(crate) fn has_refused(&self, host: HostId, waiting: bool, now: Moment) -> bool {
        let refusal = self.refused.get(&host).filter(|refusal| refusal.until > now);
        refusal.is_some_and(|refusal| refusal.to_waiting || !waiting)
    }

    fn is_waiting(&self, now: Moment) -> bool {
        self.waiting.is_some_and(|until| until > now)
    }

    /// Whether an answer is still to be waited for; one that is overdue becomes a refusal.
    fn is_open(&mut self, now: Moment) -> bool {
        if let Some(open) = self.open.filter(|open| open.overdue <= now) {
            self.refused(open.from, now);
        }
        self.refused.retain(|_, refusal| refusal.until > now);
        self.open.is_some()
    }
}

impl Pool {
    /// What to ask of whom, if this host runs short and no answer is due.
    pub(crate) fn need(&mut self, now: Moment) -> Option<(HostId, Want)> {
        if self.asking.is_open(now) {
            return None;
        }
        let choices = self.choices();
        let (owned, free) = (self.usable(&choices), self.free(&choices, now));
        let waiting = free == 0 && self.asking.is_waiting(now);
        let closed = self.closed_in_all();
        if free + closed >= low_water(owned + closed) && !(waiting && closed > 0) {
            return None;
        }
        let from = self.owner_to_ask(waiting, now)?;
        self.asking.open = Some(Open { from, overdue: now + ANSWER_WITHIN, waiting });
        let count = u32::try_from(owned.clamp(*COUNT.start(), *COUNT.end())).unwrap_or(u32::MAX);
        Some((from, Want::Run { count, waiting }))
    }

    /// The run to give and the epoch to give it under; ownership is not changed yet.
    pub(crate) fn gift(&self, want: Want, now: Moment) -> Result<(Run, u32), Refused> {
        let run = match want {
            Want::Run { count, waiting } => self.spare_run(count.into(), waiting, now)?,
            Want::Address(address) => self.spare_address(address)?,
        };
        let held = self.ownership.within(run).map(|(_, claim)| claim.epoch).max().unwrap_or(0);
        let epoch = held.checked_add(1).ok_or(Refused::EpochsUsedUp)?;
        Ok((run, epoch))
    }

    fn spare_run(&self, count: u128, waiting: bool, now: Moment) -> Result<Run, Refused> {
        let givable = self.givable();
        let free = self.free(&givable, now);
        let above_mark = (free / 2).min(free.saturating_sub(low_water(self.usable(&givable))));
        let spare = if waiting { (free / 2).max(1) } else { above_mark };
        let nothing = Refused::NothingToSpare { prefix: self.space.prefix };
        let size = spare.min(count);
        let longest = givable.iter().flat_map(|run| self.free_parts(*run, now)).max_by_key(Run::size);
        if size == 0 { Err(nothing) } else { Ok(longest.ok_or(nothing)?.tail(size)) }
    }

    /// The parts of an own run without addresses that are in use, rest, or are kept from containers.
    pub(crate) fn free_parts(&self, run: Run, now: Moment) -> Vec<Run> {
        let mut holes = self.leases.busy_in(run, now);
        holes.extend(self.space.kept_in(run));
        run.without_each(holes)
    }

    fn spare_address(&self, address: IpAddr) -> Result<Run, Refused> {
        let number = self.space.number(address).filter(|number| self.space.given.contains(*number));
        let owner = number.and_then(|number| self.ownership.owner_of(number));
        let number = number.filter(|_| owner == Some(self.me)).ok_or(Refused::NotOwner { address, owner })?;
        if self.space.kept(number).is_some() {
            return Err(Refused::Kept { address });
        }
        if self.spare.is_closed(number) {
            return Err(Refused::Spare { address });
        }
        if self.leases.is_used(number) { Err(Refused::InUse { address }) } else { Ok(Run::single(number)) }
    }
}

/// How many addresses a host that owns so many wants to have free.
fn low_water(owned: u128) -> u128 {
    (owned / 4).clamp(2, LOW_WATER_MAX)
}

/// Of gifts by one author out of one pool, those that newer ones cover whole: for each of their addresses the author
/// says something newer. O(g²) for g gifts.
pub(crate) fn covered(gifts: &[GiftFact]) -> Vec<GiftFact> {
    let runs: Vec<_> =
        gifts.iter().filter_map(|gift| Some((Run::between(gift.first, gift.last)?, gift))).collect();
    let is_covered = |old: &Run, epoch: u32| {
        let newer = runs.iter().filter(|(run, gift)| gift.epoch > epoch && run.overlap(old).is_some());
        let bare = newer.fold(vec![*old], |bare, (run, _)| {
            bare.iter().flat_map(|part| part.without(run)).flatten().collect()
        });
        bare.is_empty()
    };
    runs.iter().filter(|(run, gift)| is_covered(run, gift.epoch)).map(|(_, gift)| (*gift).clone()).collect()
}
