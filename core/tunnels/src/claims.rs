//! Who has which address and key: two ends must not share either.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use shoal_plan::relay_address;
use shoal_schema::TunnelFact;
use shoal_types::{HostId, WireGuardKey};

use crate::tunnel_address;

/// Every end by its key and by what relays know of its address.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claims {
    addresses: BTreeMap<Ipv4Addr, BTreeSet<(HostId, u32)>>,
    keys: BTreeMap<WireGuardKey, BTreeSet<(HostId, u32)>>,
}

impl Claims {
    pub(crate) fn add(&mut self, host: HostId, fact: &TunnelFact) {
        let end = (host, fact.generation);
        self.addresses.entry(place(host, fact.generation)).or_default().insert(end);
        self.keys.entry(fact.key).or_default().insert(end);
    }

    pub(crate) fn remove(&mut self, host: HostId, fact: &TunnelFact) {
        let end = (host, fact.generation);
        take(&mut self.addresses, &place(host, fact.generation), end);
        take(&mut self.keys, &fact.key, end);
    }

    /// Whether this end has both its address and its key: the lowest host id does, whichever is newer, so that every
    /// host decides alike.
    pub(crate) fn is_held(&self, host: HostId, fact: &TunnelFact) -> bool {
        let end = (host, fact.generation);
        let first = |set: Option<&BTreeSet<_>>| set.and_then(BTreeSet::first) == Some(&end);
        first(self.addresses.get(&place(host, fact.generation))) && first(self.keys.get(&fact.key))
    }

    /// Whether nobody has the address of an end yet to be made.
    pub(crate) fn is_free(&self, host: HostId, generation: u32) -> bool {
        !self.addresses.contains_key(&place(host, generation))
    }
}

fn place(host: HostId, generation: u32) -> Ipv4Addr {
    relay_address(tunnel_address(host, generation))
}

fn take<K: Ord>(map: &mut BTreeMap<K, BTreeSet<(HostId, u32)>>, key: &K, end: (HostId, u32)) {
    if let Some(set) = map.get_mut(key) {
        set.remove(&end);
        if set.is_empty() {
            map.remove(key);
        }
    }
}
