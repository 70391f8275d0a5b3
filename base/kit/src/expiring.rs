//! A map whose entries end by themselves.

use std::collections::{BTreeMap, BTreeSet};

use shoal_types::Moment;

/// Keeps at most `capacity` entries, each until its own moment. When it is full, the entry that would end first
/// makes room.
#[derive(Debug, Clone)]
pub struct ExpiringMap<K, V> {
    capacity: usize,
    entries: BTreeMap<K, (Moment, V)>,
    ends: BTreeSet<(Moment, K)>,
}

impl<K: Ord + Clone, V> ExpiringMap<K, V> {
    /// An empty map; a capacity of 0 is taken for 1.
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), entries: BTreeMap::new(), ends: BTreeSet::new() }
    }

    /// Keeps `value` until `end` (exclusive), in place of what the key held.
    pub fn insert(&mut self, key: K, value: V, end: Moment) {
        self.remove(&key);
        while self.entries.len() >= self.capacity {
            let Some((_, first)) = self.ends.pop_first() else { break };
            self.entries.remove(&first);
        }
        self.ends.insert((end, key.clone()));
        self.entries.insert(key, (end, value));
    }

    /// The value, unless it has ended by `now`.
    pub fn get(&self, key: &K, now: Moment) -> Option<&V> {
        self.entries.get(key).filter(|(end, _)| now < *end).map(|(_, value)| value)
    }

    /// Drops a key before its end.
    pub fn remove(&mut self, key: &K) {
        if let Some((end, _)) = self.entries.remove(key) {
            self.ends.remove(&(end, key.clone()));
        }
    }

    /// Drops everything that has ended by `now`.
    pub fn expire(&mut self, now: Moment) {
        while let Some((end, _)) = self.ends.first()
            && *end <= now
        {
            if let Some((_, key)) = self.ends.pop_first() {
                self.entries.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Moment {
        Moment::from_nanos(nanos)
    }

    #[test]
    fn an_entry_ends_at_its_moment() {
        let mut map = ExpiringMap::new(4);
        map.insert("a", 1, at(10));
        assert_eq!(map.get(&"a", at(9)), Some(&1));
        assert_eq!(map.get(&"a", at(10)), None);
        map.expire(at(10));
        assert!(map.entries.is_empty() && map.ends.is_empty());
    }

    #[test]
    fn an_entry_inserted_again_keeps_its_later_end() {
        let mut map = ExpiringMap::new(4);
        map.insert("a", 1, at(10));
        map.insert("a", 2, at(20));
        map.expire(at(15));
        assert_eq!(map.get(&"a", at(15)), Some(&2));
    }

    #[test]
    fn a_full_map_drops_what_would_end_first() {
        let mut map = ExpiringMap::new(2);
        map.insert("a", 1, at(30));
        map.insert("b", 2, at(10));
        map.insert("c", 3, at(20));
        assert_eq!(map.get(&"b", at(0)), None);
        assert_eq!((map.get(&"a", at(0)), map.get(&"c", at(0))), (Some(&1), Some(&3)));
    }
}
