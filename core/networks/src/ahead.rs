//! Edits with stamps from the future: set aside, named, taken in when their time has come.
//!
//! A host whose clock runs ahead would win against everybody else's edits until their clocks catch up. So its edits
//! wait (see [`Catalog`](crate::Catalog)); which ones do is kept, because after a start with a wrong clock nothing
//! else tells them from edits that have counted for long.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shoal_schema::{Fact, FactKey, NetworkFact};
use shoal_types::{HostId, NetworkId, NetworkName, Stamp, WallTime};

use crate::pool::save;
use crate::record::{Record, WaitingRecord};
use crate::{At, Effect, Finding, Networks};

impl Networks {
    /// Takes in a network's edit, or lets it wait. True if what is in force changed.
    pub(crate) fn learn_edit(&mut self, author: HostId, fact: NetworkFact, wall: WallTime) -> bool {
        if author == self.me || !fact.stamp.is_too_far_ahead(wall) {
            return self.learn_network(author, fact);
        }
        if !self.catalog.waiting().any(|(waiting, _)| waiting == author) {
            let host = self.host_name(author);
            self.notices.push(format!(
                "the clock of host {host} is more than a minute ahead of this one's, or this one's is slow: its changes to \
                 networks wait; set both by a time server"
            ));
        }
        self.unkept.insert(fact.id);
        self.catalog.set_aside(author, fact);
        false
    }

    /// Takes in an edit that was held before the start.
    pub(crate) fn take_up_edit(&mut self, author: HostId, fact: NetworkFact) {
        if author != self.me && self.catalog.waited(author, &fact) {
            self.catalog.set_aside(author, fact);
        } else {
            self.learn_network(author, fact);
        }
    }

    /// What must be kept together with the facts that were just taken in.
    pub fn keep(&mut self) -> Vec<Effect> {
        self.introduce_hosts();
        let changed = std::mem::take(&mut self.unkept);
        changed.into_iter().map(|id| self.keep_waiting(id)).collect()
    }

    fn keep_waiting(&self, network: NetworkId) -> Effect {
        let Some((waiting, stays)) = self.catalog.waiting_of(network) else {
            return Effect::Save(Record::waiting_key(network), None);
        };
        let waited = waiting.edits.iter().map(|(author, fact)| (*author, fact.stamp)).collect();
        let encoded = |(author, fact): (HostId, &NetworkFact)| (author, Fact::Network(fact.clone()).encode());
        save(&Record::Waiting(WaitingRecord {
            network,
            waited,
            stays: stays.into_iter().map(encoded).collect(),
        }))
    }

    pub(crate) fn restore_waiting(&mut self, record: WaitingRecord) {
        let WaitingRecord { network, waited, stays } = record;
        let decode = |(author, bytes): (HostId, Vec<u8>)| {
            let fact = Fact::decode(FactKey::network(network).as_bytes(), &bytes).ok()?;
            if let Fact::Network(fact) = fact { Some((author, fact)) } else { None }
        };
        let stays = stays.into_iter().filter_map(decode).collect();
        self.catalog.restore_waiting(network, waited, stays);
        self.follow_catalog(network);
    }

    /// Lets edits count whose time has come, and puts right the stamps of our own that were made by a wrong clock.
    pub(crate) fn follow_clock(&mut self, at: At, effects: &mut Vec<Effect>) {
        for (id, changed) in self.catalog.admit(at.wall) {
            self.unkept.insert(id);
            if changed {
                self.follow_catalog(id);
                effects.push(Effect::ProjectSoon);
            }
        }
        // Of a slow clock, which is put right some time, our own stamps are right.
        if self.catalog.clock_seems_slow(self.me, at.wall) {
            return;
        }
        for fact in self.catalog.overdue(self.me, at.wall) {
            effects.push(Effect::Publish(Fact::Network(fact.clone())));
            self.learn_network(self.me, fact);
        }
    }

    /// What is wrong with clocks, as far as edits of networks show it.
    pub(crate) fn clock_findings(&self, wall: WallTime) -> Vec<Finding> {
        let mut hosts: BTreeMap<HostId, (Stamp, BTreeSet<String>)> = BTreeMap::new();
        for (author, fact) in self.catalog.waiting() {
            let (latest, networks) = hosts.entry(author).or_default();
            *latest = fact.stamp.max(*latest);
            networks.insert(self.network_called(fact));
        }
        let mend = "Set both clocks by a time server; the changes then count by themselves.";
        if hosts.len() > 1 && self.catalog.clock_seems_slow(self.me, wall) {
            let ahead = hosts.values().map(|(latest, _)| latest.wall.since(wall)).min().unwrap_or_default();
            let names: Vec<String> = hosts.keys().map(|host| self.host_name(*host)).collect();
            let finding = format!(
                "This host's clock is probably slow: most hosts that changed networks are ahead of it, {} at least by {}. Their \
                 changes wait.",
                names.join(", "),
                minutes(ahead)
            );
            let mend = "Set this host's clock by a time server; the changes then count by themselves.";
            return vec![Finding { subject: "clock".into(), finding, mend: mend.into() }];
        }
        let finding = |(host, (latest, networks)): (HostId, (Stamp, BTreeSet<String>))| {
            let (name, ahead) = (self.host_name(host), minutes(latest.wall.since(wall)));
            let networks: Vec<String> = networks.into_iter().collect();
            let finding = format!(
                "The clock of host {name} is ahead of this one's, at least by {ahead}, or this one's is slow: the last changes \
                 of host {name} to {} wait.",
                networks.join(", ")
            );
            Finding { subject: format!("clock of host {name}"), finding, mend: mend.into() }
        };
        hosts.into_iter().map(finding).collect()
    }

    /// A network of that name which is known only from an edit that waits, with its author.
    pub(crate) fn waiting_called(&self, name: &NetworkName) -> Option<(HostId, NetworkId)> {
        let called = |fact: &NetworkFact| fact.spec.as_ref().is_some_and(|spec| spec.name == *name);
        let found = self.catalog.waiting().find(|(_, fact)| called(fact))?;
        Some((found.0, found.1.id))
    }

    fn network_called(&self, fact: &NetworkFact) -> String {
        let spec = fact.spec.as_ref().or_else(|| self.catalog.get(fact.id));
        spec.map_or_else(
            || format!("network {}", fact.id.short()),
            |spec| format!("network \"{}\"", spec.name),
        )
    }
}

fn minutes(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    match minutes {
        0 | 1 => "a minute".into(),
        2..=120 => format!("{minutes} minutes"),
        _ if minutes <= 2_880 => format!("{} hours", minutes / 60),
        _ => format!("{} days", minutes / 1_440),
    }
}
