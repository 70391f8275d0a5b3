//! The fabric's networks: every host's edits merged, last writer wins.
//!
//! For each network the edit with the highest (stamp, host id) is in force; a deletion is an edit. Two networks may
//! come to share a name or a VXLAN id while hosts do not hear each other. The one with the lower id keeps it, on every
//! host alike: the other one is reported, and its last author gives it another VXLAN id.

use std::collections::BTreeMap;

use shoal_schema::{NetworkFact, NetworkSpec};
use shoal_types::{HostId, NetworkId, NetworkName, Stamp, Vni};

/// All networks of the fabric, as this host knows them.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    edits: BTreeMap<NetworkId, BTreeMap<HostId, NetworkFact>>,
    newest: Stamp,
}

impl Catalog {
    /// Takes in an author's edit in place of its earlier one; true if what is in force changed.
    pub fn learn(&mut self, author: HostId, fact: NetworkFact) -> bool {
        self.newest = self.newest.max(fact.stamp);
        let id = fact.id;
        let before = self.in_force(id).cloned();
        self.edits.entry(id).or_default().insert(author, fact);
        before.as_ref() != self.in_force(id)
    }

    /// Drops an author's edit; true if what is in force changed.
    pub fn unlearn(&mut self, author: HostId, id: NetworkId) -> bool {
        let before = self.in_force(id).cloned();
        if let Some(edits) = self.edits.get_mut(&id) {
            edits.remove(&author);
            if edits.is_empty() {
                self.edits.remove(&id);
            }
        }
        before.as_ref() != self.in_force(id)
    }

    /// The highest stamp seen; a new edit must lie above it.
    pub fn newest_stamp(&self) -> Stamp {
        self.newest
    }

    /// A network's definition; `None` if it is unknown or deleted.
    pub fn get(&self, id: NetworkId) -> Option<&NetworkSpec> {
        self.in_force(id)?.spec.as_ref()
    }

    /// Whether a network is known to have been deleted.
    pub fn is_deleted(&self, id: NetworkId) -> bool {
        self.in_force(id).is_some_and(|fact| fact.spec.is_none())
    }

    /// All networks in order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (NetworkId, &NetworkSpec)> {
        self.edits.keys().filter_map(|id| Some((*id, self.get(*id)?)))
    }

    /// The network of a name. While two share it, the lower id has it, on every host alike.
    pub fn by_name(&self, name: &NetworkName) -> Option<(NetworkId, &NetworkSpec)> {
        self.iter().find(|(_, spec)| spec.name == *name)
    }

    /// Networks whose VXLAN id an older network (by id) also has.
    pub fn vni_clashes(&self) -> Vec<NetworkId> {
        let mut holders: BTreeMap<Vni, NetworkId> = BTreeMap::new();
        let mut clashes = Vec::new();
        for (id, spec) in self.iter() {
            if *holders.entry(spec.vni).or_insert(id) != id {
                clashes.push(id);
            }
        }
        clashes
    }

    /// Networks whose name one with a lower id also has, each with that one.
    pub fn name_clashes(&self) -> BTreeMap<NetworkId, NetworkId> {
        let mut holders: BTreeMap<&NetworkName, NetworkId> = BTreeMap::new();
        let holder_of = self.iter().map(|(id, spec)| (id, *holders.entry(&spec.name).or_insert(id)));
        holder_of.filter(|(id, holder)| id != holder).collect()
    }

    /// The author's edits that an edit of someone else outranks: they need not be kept.
    pub fn outranked(&self, author: HostId) -> Vec<NetworkId> {
        let lost = |(id, edits): (&NetworkId, &BTreeMap<HostId, NetworkFact>)| {
            let mine = edits.get(&author)?;
            let winner = self.in_force(*id)?;
            (winner != mine).then_some(*id)
        };
        self.edits.iter().filter_map(lost).collect()
    }

    /// What is in force for a network, and who wrote it.
    pub fn winner(&self, id: NetworkId) -> Option<(HostId, &NetworkFact)> {
        let edits = self.edits.get(&id)?;
        edits.iter().max_by_key(|(author, fact)| (fact.stamp, **author)).map(|(author, fact)| (*author, fact))
    }

    fn in_force(&self, id: NetworkId) -> Option<&NetworkFact> {
        self.winner(id).map(|(_, fact)| fact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_types::WallTime;
    use std::collections::BTreeMap as Map;

    fn host(n: u8) -> HostId {
        HostId::new([n; 16])
    }

    fn fact(id: u8, millis: u64, name: Option<&str>) -> NetworkFact {
        let spec = name.map(|name| NetworkSpec {
            name: name.parse().unwrap(),
            vni: Vni::from_random(7),
            creator: host(1),
            subnets: Vec::new(),
            grants: Vec::new(),
            options: Map::new(),
            labels: Map::new(),
            internal: false,
        });
        let stamp = Stamp { wall: WallTime::from_millis(millis), logical: 0 };
        NetworkFact { id: NetworkId::new([id; 16]), stamp, spec }
    }

    #[test]
    fn the_last_writer_wins_in_any_order_of_arrival() {
        let edits = [
            (host(1), fact(9, 10, Some("a"))),
            (host(2), fact(9, 20, Some("b"))),
            (host(3), fact(9, 15, None)),
        ];
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let mut catalog = Catalog::default();
            for at in order {
                catalog.learn(edits[at].0, edits[at].1.clone());
            }
            assert_eq!(catalog.get(NetworkId::new([9; 16])).unwrap().name.as_str(), "b");
        }
    }

    #[test]
    fn a_later_deletion_deletes_and_a_tie_goes_to_the_greater_host() {
        let mut catalog = Catalog::default();
        catalog.learn(host(1), fact(9, 10, Some("a")));
        assert!(catalog.learn(host(2), fact(9, 10, None)));
        assert!(catalog.is_deleted(NetworkId::new([9; 16])));
        assert_eq!(catalog.outranked(host(1)), [NetworkId::new([9; 16])]);
    }

    #[test]
    fn of_two_networks_with_one_vxlan_id_the_greater_id_gives_way() {
        let mut catalog = Catalog::default();
        catalog.learn(host(1), fact(8, 10, Some("a")));
        catalog.learn(host(2), fact(9, 5, Some("b")));
        assert_eq!(catalog.vni_clashes(), [NetworkId::new([9; 16])]);
    }
}
