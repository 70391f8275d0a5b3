//! The fabric's networks: every host's edits merged, last writer wins.
//!
//! For each network the edit with the highest (stamp, host id) is in force; a deletion is an edit. Two networks may
//! come to share a name or a VXLAN id while hosts do not hear each other. The one with the lower id keeps it, on every
//! host alike: the other one is reported, and its last author gives it another VXLAN id.
//!
//! An edit whose stamp lies more than a minute ahead of this host's clock *waits*: it takes no part until the clock has
//! come near it. While edits of a network wait, what they took the place of stays, so that a wrong clock takes nothing
//! away. Once none waits, what is in force follows from the authors' facts alone, on every host alike.

use std::collections::{BTreeMap, BTreeSet};

use shoal_schema::{NetworkFact, NetworkSpec};
use shoal_types::{HostId, NetworkId, NetworkName, Stamp, Vni, WallTime};

/// All networks of the fabric, as this host knows them.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// The edits that count.
    edits: BTreeMap<NetworkId, BTreeMap<HostId, NetworkFact>>,
    waiting: BTreeMap<NetworkId, Waiting>,
}

/// The edits of one network that wait, and what stays meanwhile. Grows with the authors' facts, which have limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) edits: BTreeMap<HostId, NetworkFact>,
    /// Authors who no longer say what of them counts.
    pub(crate) stays: BTreeSet<HostId>,
    /// After a start: which edits waited before it.
    pub(crate) waited: BTreeMap<HostId, Stamp>,
}

impl Catalog {
    /// Takes in an author's edit in place of its earlier one; true if what is in force changed.
    pub fn learn(&mut self, author: HostId, fact: NetworkFact) -> bool {
        let id = fact.id;
        let before = self.in_force(id).cloned();
        if let Some(waiting) = self.waiting.get_mut(&id) {
            waiting.edits.remove(&author);
            waiting.stays.remove(&author);
        }
        self.edits.entry(id).or_default().insert(author, fact);
        self.let_go(id);
        before.as_ref() != self.in_force(id)
    }

    /// Takes in an author's edit that waits.
    pub(crate) fn set_aside(&mut self, author: HostId, fact: NetworkFact) {
        let id = fact.id;
        let counts = self.edits.get(&id).is_some_and(|edits| edits.contains_key(&author));
        let waiting = self.waiting.entry(id).or_default();
        waiting.stays.extend(counts.then_some(author));
        waiting.edits.insert(author, fact);
    }

    /// Drops an author's edit; true if what is in force changed.
    pub fn unlearn(&mut self, author: HostId, id: NetworkId) -> bool {
        let before = self.in_force(id).cloned();
        let wins = self.winner(id).is_some_and(|(winner, _)| winner == author);
        let others = self.waiting.get_mut(&id).is_some_and(|waiting| {
            waiting.edits.remove(&author);
            waiting.stays.extend(wins.then_some(author));
            !waiting.edits.is_empty()
        });
        if !(wins && others) {
            self.drop_edit(author, id);
        }
        self.let_go(id);
        before.as_ref() != self.in_force(id)
    }

    /// Lets the edits count that the clock has come near. Returns their networks, and
    /// whether something else is in force there now.
    pub(crate) fn admit(&mut self, wall: WallTime) -> Vec<(NetworkId, bool)> {
        let ripe = self.waiting().filter(|(_, fact)| !fact.stamp.is_too_far_ahead(wall));
        let ripe: Vec<_> = ripe.map(|(author, fact)| (author, fact.clone())).collect();
        ripe.into_iter().map(|(author, fact)| (fact.id, self.learn(author, fact))).collect()
    }

    /// Every edit that waits, with its author.
    pub fn waiting(&self) -> impl Iterator<Item = (HostId, &NetworkFact)> {
        self.waiting.values().flat_map(|it| it.edits.iter().map(|(author, fact)| (*author, fact)))
    }

    /// What is kept of a network whose edits wait: for the disk.
    pub(crate) fn waiting_of(&self, id: NetworkId) -> Option<(&Waiting, Vec<(HostId, &NetworkFact)>)> {
        let waiting = self.waiting.get(&id)?;
        let edits = self.edits.get(&id);
        let stays = |author: &HostId| Some((*author, edits?.get(author)?));
        Some((waiting, waiting.stays.iter().filter_map(stays).collect()))
    }

    /// What was kept of a network before the start; the authors' facts follow.
    pub(crate) fn restore_waiting(
        &mut self,
        id: NetworkId,
        waited: BTreeMap<HostId, Stamp>,
        stays: Vec<(HostId, NetworkFact)>,
    ) {
        let authors = stays.iter().map(|(author, _)| *author).collect();
        if !stays.is_empty() {
            self.edits.entry(id).or_default().extend(stays);
        }
        self.waiting.insert(id, Waiting { edits: BTreeMap::new(), stays: authors, waited });
    }

    /// Whether this very edit waited before the start.
    pub(crate) fn waited(&self, author: HostId, fact: &NetworkFact) -> bool {
        let waiting = self.waiting.get(&fact.id);
        waiting.and_then(|it| it.waited.get(&author)).is_some_and(|stamp| *stamp == fact.stamp)
    }

    /// All facts that were held before the start are taken in. Returns the networks that wait, or did.
    pub(crate) fn taken_up(&mut self) -> Vec<NetworkId> {
        let ids: Vec<NetworkId> = self.waiting.keys().copied().collect();
        for id in &ids {
            if let Some(waiting) = self.waiting.get_mut(id) {
                waiting.waited.clear();
            }
            self.let_go(*id);
        }
        ids
    }

    /// The stamp of an edit that `me` makes now, and the newest of others that it knows of: above all that counts, so
    /// that it is in force at once. An own edit that was made by a clock far ahead is not outdone but replaced.
    pub(crate) fn next_stamp(&self, id: NetworkId, me: HostId, wall: WallTime) -> (Stamp, Stamp) {
        let edits = self.edits.get(&id);
        let mine = edits.and_then(|edits| edits.get(&me));
        let others = edits.into_iter().flatten().filter(|(author, _)| **author != me);
        let newest = others.map(|(_, fact)| fact.stamp).max().unwrap_or_default();
        let own = mine.map(|fact| fact.stamp).filter(|stamp| !stamp.is_too_far_ahead(wall));
        let heard = newest.max(mine.map(|fact| fact.heard).unwrap_or_default());
        (newest.max(own.unwrap_or_default()).next(wall), heard)
    }

    /// Edits of `me` with stamps far ahead of the clock, which was put back since, each with a stamp that is not and
    /// lies in the same place among the other hosts' edits; none where there is no such place.
    pub(crate) fn overdue(&self, me: HostId, wall: WallTime) -> Vec<NetworkFact> {
        let mine = self.edits.values().filter_map(|edits| edits.get(&me));
        let overdue = mine.filter(|fact| fact.stamp.is_too_far_ahead(wall));
        let restamped = overdue.filter_map(|fact| {
            let counted = self.edits.get(&fact.id).into_iter().flatten();
            let waiting = self.waiting.get(&fact.id).into_iter().flat_map(|it| &it.edits);
            let others = counted.chain(waiting).filter(|(author, _)| **author != me);
            let below = others.filter(|(author, it)| (it.stamp, **author) < (fact.stamp, me));
            let stamp = below.map(|(_, it)| it.stamp).max().unwrap_or_default().next(wall);
            (!stamp.is_too_far_ahead(wall)).then(|| NetworkFact { stamp, ..fact.clone() })
        });
        restamped.collect()
    }

    /// Whether most of the other hosts that ever edited a network seem to be ahead: then the clock that reads `wall` is
    /// more likely to be slow than all of theirs to be fast.
    pub(crate) fn clock_seems_slow(&self, me: HostId, wall: WallTime) -> bool {
        let counted = self.edits.values().flatten().map(|(author, fact)| (*author, fact));
        let others = counted.chain(self.waiting()).filter(|(author, _)| *author != me);
        let mut ahead: BTreeMap<HostId, bool> = BTreeMap::new();
        for (author, fact) in others {
            *ahead.entry(author).or_default() |= fact.stamp.is_too_far_ahead(wall);
        }
        ahead.values().filter(|ahead| **ahead).count() * 2 > ahead.len()
    }

    /// A network's definition; `None` if it is unknown or deleted.
    pub fn get(&self, id: NetworkId) -> Option<&NetworkSpec> {
        self.in_force(id)?.spec.as_ref()
    }

    /// Whether a network is known to have been deleted.
    pub fn is_deleted(&self, id: NetworkId) -> bool {
        self.in_force(id).is_some_and(|fact| fact.spec.is_none())
    }

    /// Networks whose deletion is in force, each with its author.
    pub fn deletions(&self) -> impl Iterator<Item = (NetworkId, HostId)> {
        let winners = self.edits.keys().filter_map(|id| Some((*id, self.winner(*id)?)));
        winners.filter(|(_, (_, fact))| fact.spec.is_none()).map(|(id, (author, _))| (id, author))
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

    /// An author's edit, if it counts.
    pub(crate) fn edit_of(&self, author: HostId, id: NetworkId) -> Option<&NetworkFact> {
        self.edits.get(&id)?.get(&author)
    }

    /// What is in force for a network, and who wrote it.
    pub fn winner(&self, id: NetworkId) -> Option<(HostId, &NetworkFact)> {
        let edits = self.edits.get(&id)?;
        edits.iter().max_by_key(|(author, fact)| (fact.stamp, **author)).map(|(author, fact)| (*author, fact))
    }

    fn drop_edit(&mut self, author: HostId, id: NetworkId) {
        if let Some(edits) = self.edits.get_mut(&id) {
            edits.remove(&author);
            if edits.is_empty() {
                self.edits.remove(&id);
            }
        }
    }

    /// Once no edit of a network waits, what stayed meanwhile goes.
    fn let_go(&mut self, id: NetworkId) {
        let over = |waiting: &Waiting| waiting.edits.is_empty() && waiting.waited.is_empty();
        if self.waiting.get(&id).is_some_and(over)
            && let Some(waiting) = self.waiting.remove(&id)
        {
            waiting.stays.into_iter().for_each(|author| self.drop_edit(author, id));
        }
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
        NetworkFact { id: NetworkId::new([id; 16]), stamp, heard: Stamp::default(), spec }
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
