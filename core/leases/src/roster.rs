//! Forgotten hosts: everything of theirs comes back when all hosts know that they are out.
//!
//! Whoever got addresses from a forgotten host says so itself before it says that it knows of the forgetting, so when
//! all hosts that are in say that they know the same hosts, all gifts that count are known. The lowest id inherits.
//!
//! A host counts from the moment at which another one lets it in, whether it has said anything or not: it may have got
//! addresses by then.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{Context, SHA256};
use shoal_schema::{Fact, FactKey, RosterFact};
use shoal_types::HostId;

use crate::{Effect, Leases, Scene};

/// The part of a lease's duration for which the hosts that are known must have been the same before that is said.
const STEADY_PART: u32 = 60;

impl Leases {
    /// Whether every host that is in says that it knows the same hosts as this one, and the same to be out.
    pub fn agrees(&self, scene: &Scene<'_>) -> bool {
        self.all_say(&self.digest(scene), scene)
    }

    fn all_say(&self, digest: &[u8; 32], scene: &Scene<'_>) -> bool {
        let says = |host: &HostId| self.rosters.get(host) == Some(digest);
        scene.known.is_empty() || (says(&self.me) && scene.known.iter().all(says))
    }

    /// Hosts that have not said that they know the same hosts as this one.
    pub fn disagreeing(&self, scene: &Scene<'_>) -> Vec<HostId> {
        let digest = self.digest(scene);
        scene.known.iter().copied().filter(|host| self.rosters.get(host) != Some(&digest)).collect()
    }

    /// Says which hosts are known while something waits for all to say the same, and inherits.
    pub(crate) fn follow_forgotten(&mut self, scene: &Scene<'_>) -> Vec<Effect> {
        let owning: Vec<HostId> =
            scene.forgotten.iter().copied().filter(|host| *host != self.me && (scene.owns)(*host)).collect();
        let is_out = |host: &HostId| scene.forgotten.contains(host);
        let witnessed =
            self.leases.values().any(|lease| lease.witnesses.iter().chain(&lease.before).any(is_out));
        let said = self.rosters.get(&self.me).copied();
        if owning.is_empty() && !witnessed {
            return said.map(|_| Effect::Withdraw(FactKey::roster())).into_iter().collect();
        }
        let digest = self.digest(scene);
        if self.all_say(&digest, scene) {
            let first = scene.known.first().is_none_or(|lowest| self.me < *lowest);
            return if first { owning.into_iter().map(Effect::Inherit).collect() } else { Vec::new() };
        }
        let since = self.roster.filter(|(known, _)| *known == digest).map_or(scene.now, |(_, since)| since);
        self.roster = Some((digest, since));
        let steady = scene.now.since(since) >= self.duration / STEADY_PART;
        let due = said != Some(digest) && steady;
        due.then_some(Effect::Publish(Fact::Roster(RosterFact { digest }))).into_iter().collect()
    }

    /// SHA-256 over how many hosts are in, their ids ascending, and the ids of those that are out, ascending.
    fn digest(&self, scene: &Scene<'_>) -> [u8; 32] {
        let mut hosts: BTreeSet<HostId> = scene.known.clone();
        hosts.insert(self.me);
        let mut context = Context::new(&SHA256);
        context.update(&(hosts.len() as u64).to_be_bytes());
        hosts.iter().chain(scene.forgotten).for_each(|host| context.update(host.bytes()));
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        digest
    }
}
