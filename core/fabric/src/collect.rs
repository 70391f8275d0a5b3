//! Collects what is left of deleted networks, once no host can have missed the deletion.
//!
//! Every host publishes itself anew with each certificate, twice a week. Its set of facts arrives whole, so whoever
//! holds a host fact with a certificate that began after a deletion also holds every edit that host had made by then.
//! If all known hosts have come that far and nobody else says anything of the network, an edit that is still unknown
//! is younger than the deletion, and would win against it anyway: the deletion may go. `docs/internals/facts.md` has
//! the argument.

use std::collections::BTreeSet;
use std::time::Duration;

use shoal_schema::{Fact, FactKey, FactKind};
use shoal_trust::Certificate;
use shoal_types::{HostId, Moment, NetworkId, WallTime};

use crate::carry::Edits;
use crate::{At, Effect, Fabric};

/// How often it is looked for what may go.
const COLLECT_EVERY: Duration = Duration::from_secs(600);

/// How much earlier than the oldest certificate a deletion must be: clocks that are wrong by more are not covered.
const CLOCKS_DIFFER_MAX: Duration = Duration::from_secs(86_400);

impl Fabric {
    /// Takes back what this host says of networks whose deletion every host has had a chance to contradict.
    pub(crate) fn collect(&mut self, at: At) -> Vec<Effect> {
        if at.now < self.next_collection {
            return Vec::new();
        }
        self.next_collection = at.now + COLLECT_EVERY;
        let Some(horizon) = self.heard_until() else { return Vec::new() };
        let catalog = self.networks.catalog();
        let is_old = |network: &NetworkId| {
            let winner = catalog.winner(*network).filter(|(_, fact)| fact.spec.is_none());
            winner.is_some_and(|(_, fact)| fact.stamp.wall + CLOCKS_DIFFER_MAX < horizon)
        };
        let mut edits: Edits =
            self.own_gifts().filter(|(_, network)| is_old(network)).map(|it| (it.0, None)).collect();
        let deletions = catalog.deletions().filter(|(network, author)| *author == self.me && is_old(network));
        let silent = deletions.filter(|(network, _)| !self.is_spoken_of(*network));
        edits.extend(silent.map(|(network, _)| (FactKey::network(network).into_bytes(), None)));
        let effects = self.publish(edits, at);
        self.drop_old_ownership();
        effects
    }

    /// Up to when every known host has told what it did: when the oldest of their certificates began. `None` if that
    /// cannot be said.
    fn heard_until(&self) -> Option<WallTime> {
        let hosts = &self.member.as_ref()?.hosts;
        let began = hosts.values().map(|host| Some(Certificate::decode(&host.certificate).ok()?.not_before));
        began.collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    /// The keys of this host's gifts, each with its network.
    fn own_gifts(&self) -> impl Iterator<Item = (Vec<u8>, NetworkId)> {
        self.own_facts(FactKey::kind_prefix(FactKind::Gift)).into_iter().filter_map(|fact| match &fact {
            Fact::Gift(gift) => Some((fact.key().into_bytes(), gift.network)),
            _ => None,
        })
    }

    /// Whether anything but this host's deletion is said of a network.
    fn is_spoken_of(&self, network: NetworkId) -> bool {
        let Some(member) = &self.member else { return true };
        let edit = FactKey::network(network);
        let others =
            |(author, key, _): &(HostId, &[u8], &[u8])| *author != self.me || *key != edit.as_bytes();
        let prefixes = [
            edit.as_bytes().to_vec(),
            FactKey::use_of(network).into_bytes(),
            FactKey::gifts_of(network),
            FactKey::endpoints_of(network),
        ];
        prefixes.iter().any(|prefix| member.facts.iter_prefix(prefix).any(|fact| others(&fact)))
    }

    /// What was given in networks of which nothing is said any more need not be remembered.
    fn drop_old_ownership(&mut self) {
        let Some(member) = &self.member else { return };
        let gifts = member.facts.iter_prefix(FactKey::kind_prefix(FactKind::Gift));
        let given: BTreeSet<NetworkId> = gifts
            .filter_map(|(_, key, value)| match Fact::decode(key, value) {
                Ok(Fact::Gift(gift)) => Some(gift.network),
                _ => None,
            })
            .collect();
        self.networks.drop_old_ownership(|network| given.contains(&network));
    }

    /// When it is first looked for what may go.
    pub(crate) fn first_collection(now: Moment) -> Moment {
        now + COLLECT_EVERY
    }
}
