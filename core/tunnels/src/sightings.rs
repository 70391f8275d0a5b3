//! Where hosts hear each other's ends from, as their facts tell it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use shoal_schema::SightingFact;
use shoal_types::HostId;

/// An end: its host and generation.
pub(crate) type EndId = (HostId, u32);

/// Places at which one end is looked for, at most: what many hosts say comes first, so a few liars do not hide it.
pub(crate) const PLACES_MAX: usize = 3;

/// Who hears which end where.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sightings(BTreeMap<EndId, BTreeMap<HostId, SocketAddr>>);

impl Sightings {
    /// Takes what a host tells; returns what it told before.
    pub(crate) fn add(&mut self, observer: HostId, fact: &SightingFact) -> Option<SocketAddr> {
        self.0.entry((fact.host, fact.generation)).or_default().insert(observer, fact.endpoint)
    }

    pub(crate) fn remove(&mut self, observer: HostId, end: EndId) -> bool {
        let Some(seen) = self.0.get_mut(&end) else { return false };
        let gone = seen.remove(&observer).is_some();
        if seen.is_empty() {
            self.0.remove(&end);
        }
        gone
    }

    /// Drops a host as one that is heard and as one that hears.
    pub(crate) fn forget(&mut self, host: HostId) {
        self.0.retain(|(heard, _), seen| {
            seen.remove(&host);
            *heard != host && !seen.is_empty()
        });
    }

    /// Who hears an end, and where.
    pub(crate) fn of(&self, end: EndId) -> impl Iterator<Item = (HostId, SocketAddr)> {
        self.0.get(&end).into_iter().flatten().map(|(observer, endpoint)| (*observer, *endpoint))
    }

    /// What one host says of others.
    pub(crate) fn by(&self, observer: HostId) -> Vec<(EndId, SocketAddr)> {
        self.0.iter().filter_map(|(end, seen)| Some((*end, *seen.get(&observer)?))).collect()
    }

    /// Where an end is heard, each place once: that which most hosts tell first, then the lowest.
    pub(crate) fn places(&self, end: EndId) -> Vec<SocketAddr> {
        let mut counts = BTreeMap::<SocketAddr, usize>::new();
        for (_, endpoint) in self.of(end) {
            *counts.entry(endpoint).or_default() += 1;
        }
        let mut places: Vec<SocketAddr> = counts.keys().copied().collect();
        places.sort_by_key(|place| std::cmp::Reverse(counts.get(place).copied()));
        places.truncate(PLACES_MAX);
        places
    }
}
