//! One author's set: entries under a signed head, and the deltas between two states of it.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::head::{Hasher, Head, Mark};
use crate::{
    ENTRIES_MAX, ENTRY_OVERHEAD_BYTES, HeadView, KEY_BYTES_MAX, SET_BYTES_MAX, TooLarge, VALUE_BYTES_MAX,
};

/// A fact or its tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The counter of the version that last changed it.
    pub(crate) counter: u64,
    /// `None`: a tombstone.
    pub(crate) value: Option<Vec<u8>>,
}

/// By key.
pub(crate) type Entries = BTreeMap<Vec<u8>, Entry>;

/// A state of an author's set. Always one that the author signed: `head.digest == digest_of(&entries)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) head: Head,
    pub(crate) entries: Entries,
}

/// A head and what a receiver needs to get there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delta {
    pub(crate) head: Head,
    /// The entries are those with a higher counter, for receivers that hold at least this version's counter
    /// in the head's incarnation. `None`: the entries are the whole set.
    pub(crate) since: Option<u64>,
    pub(crate) entries: Vec<(Vec<u8>, Entry)>,
}

/// Why a delta does not lead from what is held to what the head's digest says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It starts after what is held.
    Gap,
    /// The result is not what the head names, or exceeds a limit.
    Mismatch,
}

impl Set {
    /// The shortest delta for a receiver that holds `held` of this author.
    pub(crate) fn delta_since(&self, held: Option<Mark>) -> Delta {
        let version = self.head.version;
        let since = held.map(|mark| mark.version).filter(|held| {
            held.incarnation == version.incarnation
                && held.counter >= self.head.floor.max(1)
                && held.counter <= version.counter
        });
        let since = since.map(|held| held.counter);
        let newer = self.entries.iter().filter(|(_, entry)| since.is_none_or(|since| entry.counter > since));
        let entries = newer.map(|(key, entry)| (key.clone(), entry.clone())).collect();
        Delta { head: self.head.clone(), since, entries }
    }

    pub(crate) fn values_from<'a>(
        &'a self,
        first: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + 'a {
        let from = self.entries.range::<[u8], _>((Bound::Included(first), Bound::Unbounded));
        from.filter_map(|(key, entry)| Some((key.as_slice(), entry.value.as_deref()?)))
    }

    pub(crate) fn view(&self) -> HeadView {
        let tombstones = self.entries.values().filter(|entry| entry.value.is_none()).count();
        HeadView {
            author: self.head.author(),
            version: self.head.version,
            floor: self.head.floor,
            entries: self.entries.len() - tombstones,
            tombstones,
            bytes: self.entries.iter().map(|(key, entry)| weight(key, entry.value.as_deref())).sum(),
            digest: self.head.digest,
        }
    }
}

impl Delta {
    /// The set this delta leads to from `held`, checked against the head's digest; the signature is not looked at.
    ///
    /// Why overlaying is right: an entry that changed after `since` has a higher counter and is in the delta, unless
    /// it is a tombstone that was collected, which needs a floor above `since`. All others are as the receiver holds
    /// them, except tombstones up to the floor, which are dropped here as the author dropped them.
    pub(crate) fn apply_to(self, held: Option<&Set>) -> Result<Set, Unfit> {
        let mut entries = match self.since {
            None => Entries::new(),
            Some(since) => base(held, &self.head, since)?.entries.clone(),
        };
        entries.extend(self.entries);
        entries.retain(|_, entry| entry.value.is_some() || entry.counter > self.head.floor);
        let last = self.head.version.counter;
        let fits = check(&entries).is_ok() && entries.values().all(|entry| entry.counter <= last);
        if !fits || digest_of(&entries) != self.head.digest {
            return Err(Unfit::Mismatch);
        }
        Ok(Set { head: self.head, entries })
    }
}

fn base<'a>(held: Option<&'a Set>, head: &Head, since: u64) -> Result<&'a Set, Unfit> {
    let held = held.ok_or(Unfit::Gap)?;
    let version = held.head.version;
    let reaches = version.incarnation == head.version.incarnation
        && version.counter >= since
        && version.counter >= head.floor;
    if reaches { Ok(held) } else { Err(Unfit::Gap) }
}

/// SHA-256 over all entries in order of keys: key with length, counter, 0 or 1, value with length.
pub(crate) fn digest_of(entries: &Entries) -> [u8; 32] {
    let mut hasher = Hasher::new(b"shoal facts set 1\0");
    for (key, entry) in entries {
        hasher.bytes(key);
        hasher.number(entry.counter);
        match &entry.value {
            None => hasher.number(0),
            Some(value) => {
                hasher.number(1);
                hasher.bytes(value);
            }
        }
    }
    hasher.finish()
}

/// Checks a whole set against the limits.
fn check(entries: &Entries) -> Result<(), TooLarge> {
    let mut bytes = 0;
    for (key, entry) in entries {
        check_one(key, entry.value.as_deref())?;
        bytes += weight(key, entry.value.as_deref());
    }
    check_sums(entries.len(), bytes)
}

/// Checks what a set would be after edits; of two edits of one key the later counts.
pub(crate) fn check_edits<'a>(
    entries: Option<&Entries>,
    edits: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
) -> Result<(), TooLarge> {
    let held = entries.into_iter().flatten();
    let mut count = entries.map_or(0, BTreeMap::len);
    let mut bytes: usize = held.map(|(key, entry)| weight(key, entry.value.as_deref())).sum();
    let last_of_each_key: BTreeMap<_, _> = edits.collect();
    for (key, value) in last_of_each_key {
        check_one(key, value)?;
        match entries.and_then(|entries| entries.get(key)) {
            Some(old) => bytes -= weight(key, old.value.as_deref()),
            None => count += 1,
        }
        bytes += weight(key, value);
    }
    check_sums(count, bytes)
}

fn check_one(key: &[u8], value: Option<&[u8]>) -> Result<(), TooLarge> {
    let value_bytes = value.map_or(0, <[u8]>::len);
    if key.len() > KEY_BYTES_MAX {
        return Err(TooLarge::Key(key.len()));
    }
    if value_bytes > VALUE_BYTES_MAX {
        return Err(TooLarge::Value(value_bytes));
    }
    Ok(())
}

fn check_sums(count: usize, bytes: usize) -> Result<(), TooLarge> {
    if count > ENTRIES_MAX {
        return Err(TooLarge::Entries(count));
    }
    if bytes > SET_BYTES_MAX {
        return Err(TooLarge::Set(bytes));
    }
    Ok(())
}

fn weight(key: &[u8], value: Option<&[u8]>) -> usize {
    key.len() + value.map_or(0, <[u8]>::len) + ENTRY_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Version;
    use crate::testing::TestKey;

    fn entry(counter: u64, value: Option<&[u8]>) -> Entry {
        Entry { counter, value: value.map(<[u8]>::to_vec) }
    }

    fn set(counter: u64, floor: u64, entries: &[(&[u8], Entry)]) -> Set {
        let entries: Entries = entries.iter().map(|(key, entry)| (key.to_vec(), entry.clone())).collect();
        let version = Version { incarnation: 1, counter };
        Set { head: Head::sign(&TestKey::new(1), version, floor, digest_of(&entries)), entries }
    }

    fn older() -> Set {
        set(2, 0, &[(b"a", entry(1, Some(b"1"))), (b"b", entry(2, None)), (b"c", entry(2, Some(b"3")))])
    }

    fn newer() -> Set {
        set(4, 2, &[(b"a", entry(3, Some(b"9"))), (b"c", entry(2, Some(b"3"))), (b"d", entry(4, None))])
    }

    #[test]
    fn a_delta_holds_what_changed_and_drops_collected_tombstones() {
        let delta = newer().delta_since(Some(older().head.mark()));
        assert_eq!(delta.since, Some(2));
        assert_eq!(delta.entries.iter().map(|(key, _)| key.as_slice()).collect::<Vec<_>>(), [b"a", b"d"]);
        assert_eq!(delta.apply_to(Some(&older())), Ok(newer()));
    }

    #[test]
    fn a_receiver_below_the_floor_gets_the_whole_set() {
        let before = set(1, 0, &[(b"b", entry(1, Some(b"gone since")))]);
        let delta = newer().delta_since(Some(before.head.mark()));
        assert_eq!(delta.since, None);
        assert_eq!(delta.apply_to(Some(&before)), Ok(newer()));
    }

    #[test]
    fn a_delta_that_starts_too_late_is_a_gap() {
        let mut delta = newer().delta_since(Some(older().head.mark()));
        assert_eq!(delta.clone().apply_to(None), Err(Unfit::Gap));
        delta.since = Some(3);
        assert_eq!(delta.apply_to(Some(&older())), Err(Unfit::Gap));
    }

    #[test]
    fn an_altered_entry_does_not_match_the_digest() {
        let mut delta = newer().delta_since(None);
        delta.entries[0].1.value = Some(b"8".to_vec());
        assert_eq!(delta.apply_to(None), Err(Unfit::Mismatch));
    }

    #[test]
    fn edits_are_checked_against_what_the_set_would_be() {
        let value = vec![0; VALUE_BYTES_MAX];
        let keys: Vec<Vec<u8>> = (0..16_u8).map(|n| vec![n]).collect();
        let many = || keys.iter().map(|key| (key.as_slice(), Some(value.as_slice())));
        assert!(matches!(check_edits(None, many()), Err(TooLarge::Set(_))));
        assert_eq!(check_edits(None, many().take(15)), Ok(()));
        assert_eq!(check_edits(None, [(vec![0; 513].as_slice(), None)].into_iter()), Err(TooLarge::Key(513)));
        let full: Entries = keys[..15].iter().map(|key| (key.clone(), entry(1, Some(&value)))).collect();
        assert_eq!(check_edits(Some(&full), many().take(15)), Ok(()));
    }

    #[test]
    fn lengths_are_part_of_the_digest() {
        let one = set(1, 0, &[(b"ab", entry(1, Some(b"c")))]);
        let other = set(1, 0, &[(b"a", entry(1, Some(b"bc")))]);
        assert_ne!(one.head.digest, other.head.digest);
    }
}
