//! Addresses that this host has handed out, and those that rest after use.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shoal_types::Moment;

use crate::Run;

/// How long a released address rests before it is chosen again: longer than neighbours' ARP entries and half-closed
/// connections usually live. A wish for the very address ends the rest. A restart of the agent ends all rests.
pub const REST: Duration = Duration::from_secs(30);

/// The addresses of one pool in use on this host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leases {
    used: BTreeSet<u128>,
    /// Released addresses and the end of their rest.
    resting: BTreeMap<u128, Moment>,
}

impl Leases {
    pub(crate) fn take(&mut self, number: u128) {
        self.resting.remove(&number);
        self.used.insert(number);
    }

    /// Whether the address was in use.
    pub(crate) fn release(&mut self, number: u128, now: Moment) -> bool {
        self.resting.retain(|_, until| *until > now);
        let was_used = self.used.remove(&number);
        if was_used {
            self.resting.insert(number, now + REST);
        }
        was_used
    }

    pub(crate) fn is_used(&self, number: u128) -> bool {
        self.used.contains(&number)
    }

    pub(crate) fn is_resting(&self, number: u128, now: Moment) -> bool {
        self.resting.get(&number).is_some_and(|until| *until > now)
    }

    pub(crate) fn used(&self) -> impl Iterator<Item = u128> + '_ {
        self.used.iter().copied()
    }

    pub(crate) fn used_in(&self, run: Run) -> u128 {
        self.used.range(run.first()..=run.last()).count() as u128
    }

    pub(crate) fn resting_in(&self, run: Run, now: Moment) -> u128 {
        let resting = self.resting.range(run.first()..=run.last());
        resting.filter(|(_, until)| **until > now).count() as u128
    }

    /// Addresses of a run that are in use or rest, ascending.
    pub(crate) fn busy_in(&self, run: Run, now: Moment) -> BTreeSet<u128> {
        let range = run.first()..=run.last();
        let resting = self.resting.range(range.clone()).filter(|(_, until)| **until > now);
        self.used.range(range).copied().chain(resting.map(|(number, _)| *number)).collect()
    }
}
