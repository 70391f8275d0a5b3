//! Forgetting a host: what it wrote that belongs to all outlives it.
//!
//! Whoever forgets it takes over what it knows of that, in the same version that tells of the forgetting. Another host
//! may know more: it cannot be asked for it once the author is out, so it takes over the rest when it hears. Stamps
//! and epochs stay, so nothing changes by it; of several hosts that take over one edit, one keeps it, since of equal
//! stamps the greater host wins.

use std::collections::{BTreeMap, BTreeSet};

use shoal_schema::{Fact, FactKey, FactKind, ForgottenFact, NetworkFact};
use shoal_types::{HostId, NetworkId, Stamp};

use crate::{At, Effect, Fabric};

impl Fabric {
    /// Puts a host out for good. What it wrote that belongs to all (networks, gifts) is taken over by this host, with
    /// its stamps and epochs, so that nothing else changes by it. Open join tokens end: the host knew them.
    ///
    /// # Errors
    /// A sentence, if no host or several go by that name, or it is this one.
    pub fn forget(&mut self, name: &str, at: At) -> Result<(HostId, Vec<Effect>), String> {
        let Some(member) = &self.member else { return Err("this host belongs to no fabric".into()) };
        let fits =
            |host: &HostId, known: &str| known == name || host.to_string() == name || host.short() == name;
        let found: Vec<_> = member.hosts.iter().filter(|(id, host)| fits(id, host.name.as_str())).collect();
        // One that was let in and never heard of has no name, but others wait for it.
        let unheard = |host: &&HostId| host.to_string() == name || host.short() == name;
        let silent = member
            .trust
            .members
            .keys()
            .chain(&member.let_in)
            .find(unheard)
            .filter(|it| !member.trust.forgotten.contains(it));
        let (host, known_as) = match found.as_slice() {
            [] if let Some(host) = silent => (*host, host.short()),
            [] => return Err(format!("the fabric has no host \"{name}\": `shoal hosts` lists them")),
            [(host, fact)] => (**host, fact.name.to_string()),
            _ => {
                return Err(format!(
                    "several hosts are called \"{name}\": use the id that `shoal hosts` shows"
                ));
            }
        };
        if host == self.me {
            return Err(
                "a host cannot forget itself: run `shoal leave` here, or `shoal forget` on another host"
                    .into(),
            );
        }
        let mut inherited = self.inheritance(host);
        inherited.extend(self.tokens_to_revoke(at.wall));
        inherited.push(Fact::Forgotten(ForgottenFact { host, name: known_as, at: at.wall }));
        Ok((host, self.publish_facts(&inherited, at)))
    }

    /// What a host wrote that must outlive it, less what this host has written under the same key.
    fn inheritance(&self, host: HostId) -> Vec<Fact> {
        let Some(member) = &self.member else { return Vec::new() };
        let mine = |fact: &Fact| member.facts.get(self.me, fact.key().as_bytes()).is_some();
        let catalog = self.networks.catalog();
        let inherits = |fact: &Fact| match fact {
            Fact::Network(network) => {
                let waits = catalog.waiting().any(|(author, it)| author == host && it.id == network.id);
                waits || catalog.winner(network.id).is_some_and(|(author, _)| author == host)
            }
            _ => !mine(fact),
        };
        self.left_by(host).into_iter().filter(inherits).collect()
    }

    /// What a host wrote that belongs to all.
    pub(crate) fn left_by(&self, host: HostId) -> Vec<Fact> {
        let Some(member) = &self.member else { return Vec::new() };
        let facts = member.facts.of(host).filter_map(|(key, value)| Fact::decode(key, value).ok());
        facts
            .filter(|fact| {
                matches!(fact, Fact::Gift(_) | Fact::Network(_) | Fact::Secret(_) | Fact::Forgotten(_))
            })
            .collect()
    }

    /// Takes over what a host that was put out has left and nobody else says: networks and expulsions, and the gifts
    /// that this host got.
    pub(crate) fn adopt(&mut self, left: Vec<Fact>, at: At) -> Vec<Effect> {
        let Some(member) = self.member.as_ref().filter(|_| !left.is_empty()) else { return Vec::new() };
        let newest = self.newest_edits();
        let kinds = [FactKind::Gift, FactKind::Secret, FactKind::Forgotten].map(FactKey::kind_prefix);
        let keys = kinds.into_iter().flat_map(|kind| member.facts.iter_prefix(kind).map(|(_, key, _)| key));
        let keys: BTreeSet<&[u8]> = keys.collect();
        let said = |fact: &Fact| keys.contains(fact.key().as_bytes());
        let orphan = |fact: &Fact| match fact {
            Fact::Network(NetworkFact { id, stamp, .. }) => {
                newest.get(id).is_none_or(|newest| newest < stamp)
            }
            Fact::Gift(gift) => gift.to == self.me && !said(fact),
            _ => !said(fact),
        };
        let orphans: Vec<Fact> = left.into_iter().filter(orphan).collect();
        self.publish_facts(&orphans, at)
    }

    /// The highest stamp that any host's edit of a network has, by network.
    fn newest_edits(&self) -> BTreeMap<NetworkId, Stamp> {
        let mut newest = BTreeMap::new();
        let Some(member) = &self.member else { return newest };
        for (_, key, value) in member.facts.iter_prefix(FactKey::kind_prefix(FactKind::Network)) {
            if let Ok(Fact::Network(edit)) = Fact::decode(key, value) {
                let known: &mut Stamp = newest.entry(edit.id).or_default();
                *known = edit.stamp.max(*known);
            }
        }
        newest
    }

    /// Drops a host's facts.
    pub(crate) fn drop_facts(&mut self, host: HostId, at: At) -> Vec<Effect> {
        let Some(member) = &mut self.member else { return Vec::new() };
        let dropped = member.facts.forget(host);
        self.carry_facts(dropped, at)
    }
}
