//! One pool of one network on this host: what it owns, what it has handed out, what it gives.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;

use shoal_schema::Subnet;
use shoal_types::{HostId, Moment};

use crate::asking::Asking;
use crate::error::AllocateError;
use crate::lease::Leases;
use crate::space::{Kept, Space};
use crate::spare::{Spare, without};
use crate::{Ownership, Run};

/// A subnet with its owners, and this host's part in it.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    pub(crate) me: HostId,
    pub(crate) space: Space,
    pub(crate) ownership: Ownership,
    pub(crate) leases: Leases,
    pub(crate) asking: Asking,
    /// What this host owns and may not use.
    pub(crate) spare: Spare,
    /// This host's derived number (IPv6 of /64 or shorter).
    derived: u64,
    /// This host's runs by ownership, ascending; follows `ownership`.
    own: Vec<Run>,
    /// The address that was chosen last: the search goes on behind it, so that none is reused soon.
    last_chosen: Option<u128>,
}

impl Pool {
    pub(crate) fn new(me: HostId, subnet: &Subnet, ownership: Ownership, derived: u64) -> Self {
        let mut pool = Self {
            me,
            space: Space::new(subnet),
            ownership,
            leases: Leases::default(),
            asking: Asking::default(),
            spare: Spare::default(),
            derived,
            own: Vec::new(),
            last_chosen: None,
        };
        pool.ownership_changed();
        pool
    }

    /// Takes over what an edit may change: gateway, reserved addresses, the dynamic part.
    pub(crate) fn update(&mut self, subnet: &Subnet) {
        self.space = Space::new(subnet);
    }

    pub(crate) fn set_derived(&mut self, derived: u64) {
        self.derived = derived;
    }

    /// To be called after every change of `ownership` that touches this host.
    pub(crate) fn ownership_changed(&mut self) {
        self.own = self.ownership.runs_of(self.me);
    }

    /// Hands out the address wished for, or the next free one.
    pub(crate) fn allocate(&mut self, wish: Option<IpAddr>, now: Moment) -> Result<IpAddr, AllocateError> {
        let number = match wish {
            Some(address) => self.wished(address)?,
            None => self.choose(now)?,
        };
        self.leases.take(number);
        Ok(self.space.address(number))
    }

    /// Whether the address was in use.
    pub(crate) fn release(&mut self, address: IpAddr, now: Moment) -> bool {
        self.space.number(address).is_some_and(|number| self.leases.release(number, now))
    }

    /// Notes an address that was in use before a restart. Whether this host owns it in its present view.
    pub(crate) fn restore(&mut self, address: IpAddr) -> Result<bool, AllocateError> {
        let prefix = self.space.prefix;
        let number = self.space.number(address).ok_or(AllocateError::OutsidePool { address, prefix })?;
        self.leases.take(number);
        self.last_chosen = self.last_chosen.max(Some(number));
        Ok(self.is_own(number))
    }

    /// The runs from which this host chooses, ascending: its ranges as far as they are dynamic, and its derived range.
    /// In a pool with derived ranges the given ones are for wishes, unless the network names a dynamic part.
    pub(crate) fn choices(&self) -> Vec<Run> {
        let given =
            if self.space.derives && self.space.dynamic.is_none() { Vec::new() } else { self.givable() };
        let derived = self.derived().and_then(|derived| self.space.dynamic_in(derived));
        given.into_iter().chain(derived).collect()
    }

    /// The runs out of which this host gives to others, ascending.
    pub(crate) fn givable(&self) -> Vec<Run> {
        self.spare.closed().fold(self.all_own_given(), without)
    }

    /// The runs that this host owns by claims, as far as they are dynamic, spare ones included; ascending.
    pub(crate) fn all_own_given(&self) -> Vec<Run> {
        self.own.iter().filter_map(|run| self.space.dynamic_in(*run)).collect()
    }

    /// How many addresses containers could have of these runs.
    pub(crate) fn usable(&self, runs: &[Run]) -> u128 {
        runs.iter().map(|run| self.space.usable_in(*run)).sum()
    }

    /// How many of these runs' addresses could be handed out now.
    pub(crate) fn free(&self, runs: &[Run], now: Moment) -> u128 {
        let busy = |run: &Run| self.leases.used_in(*run) + self.leases.resting_in(*run, now);
        self.usable(runs).saturating_sub(runs.iter().map(busy).sum())
    }

    /// Every run that this host owns, its derived range included, ascending.
    pub(crate) fn all_own(&self) -> Vec<Run> {
        self.own.iter().copied().chain(self.derived()).collect()
    }

    /// Whether this host may hand the address out.
    pub(crate) fn is_own(&self, number: u128) -> bool {
        let by_range = self.ownership.owner_of(number) == Some(self.me);
        by_range || self.derived().is_some_and(|derived| derived.contains(number))
    }

    fn derived(&self) -> Option<Run> {
        self.space.derived(self.derived)
    }

    fn wished(&self, address: IpAddr) -> Result<u128, AllocateError> {
        let prefix = self.space.prefix;
        let number = self.space.number(address).ok_or(AllocateError::OutsidePool { address, prefix })?;
        match self.space.kept(number) {
            Some(Kept::Gateway) => return Err(AllocateError::IsGateway { address }),
            Some(Kept::Reserved(name)) => {
                return Err(AllocateError::IsReserved { address, name: name.clone() });
            }
            Some(Kept::Network) => return Err(AllocateError::NetworkAddress { address, prefix }),
            Some(Kept::Broadcast) => return Err(AllocateError::BroadcastAddress { address, prefix }),
            None => {}
        }
        if self.leases.is_used(number) {
            return Err(AllocateError::Taken { address });
        }
        if !self.is_own(number) {
            return Err(self.not_own(number, address));
        }
        if self.spare.is_closed(number) { Err(AllocateError::Spare { address }) } else { Ok(number) }
    }

    fn not_own(&self, number: u128, address: IpAddr) -> AllocateError {
        if self.space.given.contains(number) {
            let owner = self.ownership.owner_of(number);
            return owner.map_or(AllocateError::OwnerUnknown { address }, |owner| AllocateError::OwnedBy {
                address,
                owner,
            });
        }
        let (typed, own) = (self.space.given, self.derived().unwrap_or(self.space.given));
        AllocateError::OutsideRanges {
            address,
            prefix: self.space.prefix,
            typed_first: self.space.address(typed.first() + 1),
            typed_last: self.space.address(typed.last()),
            own_first: self.space.address(own.first()),
            own_last: self.space.address(own.last()),
        }
    }

    /// The next free address in rotation.
    fn choose(&mut self, now: Moment) -> Result<u128, AllocateError> {
        let choices = self.choices();
        let behind = self.last_chosen.and_then(|last| last.checked_add(1));
        let later = choices.iter().filter_map(|run| run.starting_at(behind.unwrap_or(0)));
        let found = later.chain(choices.iter().copied()).find_map(|run| self.first_free(run, now));
        let Some(number) = found else { return Err(self.nothing_free(&choices, now)) };
        self.last_chosen = Some(number);
        self.asking.satisfied();
        Ok(number)
    }

    /// O(k log n) when the first k addresses of the run are busy.
    fn first_free(&self, run: Run, now: Moment) -> Option<u128> {
        let busy = |number: u128| {
            self.leases.is_used(number)
                || self.leases.is_resting(number, now)
                || self.space.kept(number).is_some()
        };
        let mut number = run.first();
        while busy(number) {
            number = number.checked_add(1).filter(|next| run.contains(*next))?;
        }
        Some(number)
    }

    fn nothing_free(&mut self, choices: &[Run], now: Moment) -> AllocateError {
        self.asking.waits(now);
        let prefix = self.space.prefix;
        let spare = self.closed_in_all();
        if spare > 0 {
            return AllocateError::ReserveUsedUp { prefix, spare };
        }
        if self.may_get_more(now) {
            return AllocateError::NoRangeYet { prefix };
        }
        let total = self.space.dynamic_given().map_or(0, |run| self.space.usable_in(run));
        let resting = choices.iter().map(|run| self.leases.resting_in(*run, now)).sum();
        AllocateError::Full { prefix, owned: self.usable(choices), resting, total }
    }

    /// Whether another host may still give: one owns usable addresses and has not refused a waiting container lately,
    /// or a part has no known owner.
    fn may_get_more(&self, now: Moment) -> bool {
        let Some(dynamic) = self.space.dynamic_given() else { return false };
        if !self.space.chooses_given() {
            return false;
        }
        let known: u128 = self.ownership.within(dynamic).map(|(run, _)| run.size()).sum();
        known < dynamic.size() || self.owner_to_ask(true, now).is_some()
    }

    /// The other host that owns most addresses we could use and has not refused lately.
    pub(crate) fn owner_to_ask(&self, waiting: bool, now: Moment) -> Option<HostId> {
        let dynamic = self.space.dynamic_given()?;
        let mut owned = BTreeMap::<HostId, u128>::new();
        for (run, claim) in self.ownership.within(dynamic) {
            *owned.entry(claim.owner).or_default() += self.space.usable_in(run);
        }
        let others = owned.into_iter().filter(|(host, usable)| *host != self.me && *usable > 0);
        let willing = others.filter(|(host, _)| !self.asking.has_refused(*host, waiting, now));
        willing.max_by_key(|(host, usable)| (*usable, Reverse(*host))).map(|(host, _)| host)
    }
}
