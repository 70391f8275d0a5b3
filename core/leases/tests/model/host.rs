//! One host: what it says, what it holds of others, and whom it knows.

use std::collections::{BTreeMap, BTreeSet};

use shoal_leases::Leases;
use shoal_schema::{Fact, FactsVersion, LeaseFact, RosterFact, VoteFact};
use shoal_types::{HostId, Moment};

use super::{LEASE, Number};

/// What one host says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Set {
    pub(crate) version: FactsVersion,
    pub(crate) lease: Option<LeaseFact>,
    pub(crate) votes: BTreeMap<HostId, VoteFact>,
    pub(crate) roster: Option<RosterFact>,
    /// Claims: address and epoch, and whose it is.
    pub(crate) gifts: BTreeMap<(Number, u32), HostId>,
    pub(crate) spare: BTreeSet<Number>,
    pub(crate) wanted: BTreeSet<Number>,
    pub(crate) forgets: BTreeSet<HostId>,
}

impl Set {
    pub(super) fn facts(&self) -> Vec<Fact> {
        let lease = self.lease.clone().map(Fact::Lease);
        let roster = self.roster.clone().map(Fact::Roster);
        lease.into_iter().chain(roster).chain(self.votes.values().cloned().map(Fact::Vote)).collect()
    }
}

pub(crate) struct Host {
    pub(crate) id: HostId,
    /// The sets held, its own among them.
    pub(crate) held: BTreeMap<HostId, Set>,
    /// What would survive power loss.
    pub(super) durable: BTreeMap<HostId, Set>,
    pub(crate) leases: Leases,
    pub(crate) used: BTreeSet<Number>,
    /// The state of its facts since which it has wanted an address back.
    pub(super) wanted_since: BTreeMap<Number, FactsVersion>,
    pub(crate) alive: BTreeSet<HostId>,
    pub(crate) seconds: u64,
    /// Who let it in; renewed by whoever of the fabric knows it.
    pub(super) introducer: Option<HostId>,
    /// Whom it let in or was told of, durable at once.
    pub(super) let_in: BTreeSet<HostId>,
    /// Its own facts and what it used when it was backed up.
    pub(super) backup: Option<(Set, BTreeSet<Number>)>,
}

impl Host {
    pub(crate) fn now(&self) -> Moment {
        Moment::from_nanos(self.seconds * 1_000_000_000)
    }

    pub(crate) fn own(&self) -> &Set {
        &self.held[&self.id]
    }

    pub(crate) fn members(&self) -> BTreeSet<HostId> {
        let forgotten = self.forgotten();
        self.held.keys().copied().filter(|host| *host != self.id && !forgotten.contains(host)).collect()
    }

    /// The members, and those that it let in or was told of and has not heard.
    pub(super) fn known(&self) -> BTreeSet<HostId> {
        let out = self.forgotten();
        let let_in = self.let_in.iter().copied().filter(|host| !out.contains(host));
        self.members().into_iter().chain(let_in).filter(|host| *host != self.id).collect()
    }

    /// Leaves, and takes up again what a member holds of it.
    pub(super) fn leave(&mut self, held_of_it: Set) {
        let mut left = self.own().clone();
        left.forgets.extend(self.forgotten());
        self.let_in.extend(self.members());
        self.held.clear();
        self.leases = Leases::new(self.id, LEASE, self.now());
        self.wanted_since.clear();
        self.alive.clear();
        self.backup = None;
        self.take_back(held_of_it, left);
    }

    /// Goes on from an older state of its own, and tells again of a later one what it must stand by.
    pub(super) fn take_back(&mut self, old: Set, newest: Set) {
        let incarnation = old.version.incarnation.max(newest.version.incarnation) + 1;
        let mut own = old;
        own.version = FactsVersion { incarnation, counter: own.version.counter + 1 };
        own.wanted.extend(own.spare.iter().chain(&newest.spare).chain(&newest.wanted));
        own.spare.clear();
        let term = |lease: &Option<LeaseFact>| lease.as_ref().map(|lease| lease.term);
        if term(&newest.lease) > term(&own.lease) {
            own.lease = newest.lease;
        }
        own.votes = newest.votes;
        own.gifts.extend(newest.gifts);
        own.forgets.extend(newest.forgets);
        self.held.insert(self.id, own);
        let set = self.own().clone();
        self.hold(self.id, &set);
        self.wanted_since = self.own().wanted.iter().map(|number| (*number, self.own().version)).collect();
        self.flush();
    }

    pub(crate) fn forgotten(&self) -> BTreeSet<HostId> {
        self.held
            .values()
            .flat_map(|set| set.forgets.iter().copied())
            .filter(|host| *host != self.id)
            .collect()
    }

    /// A new state of its own facts, durable at once.
    pub(super) fn publish(&mut self, edit: impl FnOnce(&mut Set)) {
        let mut own = self.own().clone();
        own.version.counter += 1;
        edit(&mut own);
        self.hold(self.id, &own);
        self.flush();
    }

    pub(super) fn hold(&mut self, author: HostId, set: &Set) {
        let old = self.held.insert(author, set.clone()).map(|old| old.facts()).unwrap_or_default();
        old.iter().for_each(|fact| self.leases.unlearn(author, fact));
        set.facts().iter().for_each(|fact| self.leases.learn(author, fact));
    }

    pub(super) fn flush(&mut self) {
        self.durable = self.held.clone();
    }

    /// Drops what a forgotten host says, but for what it gave to this one.
    pub(super) fn expel(&mut self, whom: HostId) {
        let Some(set) = self.held.remove(&whom) else { return };
        set.facts().iter().for_each(|fact| self.leases.unlearn(whom, fact));
        let mine: Vec<_> = set.gifts.into_iter().filter(|(_, to)| *to == self.id).collect();
        let (forgets, me) = (set.forgets, self.id);
        self.publish(|own| {
            own.gifts.extend(mine);
            own.forgets.extend(forgets.into_iter().filter(|host| *host != me));
        });
    }
}
