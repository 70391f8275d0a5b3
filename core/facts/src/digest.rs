//! Digests over ranges of authors, by which two hosts find where they differ in a few small messages.
//!
//! A range is a prefix of the id in hexadecimal digits: the empty one holds everyone, each splits into sixteen. Ids are
//! hashes, hence spread evenly. Where hashes differ, the range is split, down to lists of at most
//! [`LEAVES_MAX`](crate::LEAVES_MAX) authors. A hash covers author, version and digest of every set, so equal root
//! hashes mean equal facts.

use std::collections::BTreeMap;
use std::sync::Arc;

use shoal_types::HostId;

use crate::LEAVES_MAX;
use crate::head::Hasher;
use crate::set::Set;
use crate::wire::{Leaf, Leaves, Range};

/// Hexadecimal digits of an id.
const DIGITS: usize = 32;
/// Bytes of a range's hash: enough that nobody meets two states with one hash by chance; lists are compared in full.
const HASH_BYTES: usize = 16;

type Sets = BTreeMap<HostId, Arc<Set>>;

/// The digest that opens a round.
pub(crate) fn root(sets: &Sets) -> Range {
    range(sets, Vec::new())
}

/// What to answer to a range that a peer sent.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// Both hold the same.
    Equal,
    /// The peer holds something else: this is held here.
    Leaves(Leaves),
    /// The peer holds something else, and here are too many to list.
    Split(Vec<Range>),
}

/// Compares a peer's range with what is held here; `None` if it is not well formed.
pub(crate) fn compare(sets: &Sets, theirs: &Range) -> Option<Answer> {
    let digits = &theirs.digits;
    let (first, last) = bounds(digits)?;
    if range(sets, digits.clone()).hash == theirs.hash {
        return Some(Answer::Equal);
    }
    let count = sets.range(first..=last).count();
    if count <= LEAVES_MAX || digits.len() == DIGITS {
        return Some(Answer::Leaves(leaves(sets, digits.clone(), |_| true, true)));
    }
    let child = |digit| range(sets, [digits.as_slice(), &[digit]].concat());
    Some(Answer::Split((0..16).map(child).collect()))
}

/// Lists what is held in a range of those authors that `wanted` picks.
pub(crate) fn leaves(
    sets: &Sets,
    digits: Vec<u8>,
    wanted: impl Fn(&HostId) -> bool,
    complete: bool,
) -> Leaves {
    let Some((first, last)) = bounds(&digits) else { return Leaves::default() };
    let held = sets.range(first..=last).filter(|(author, _)| wanted(author));
    let leaves = held.map(|(author, set)| Leaf::new(*author, set.head.mark())).collect();
    Leaves { digits, leaves, complete }
}

fn range(sets: &Sets, digits: Vec<u8>) -> Range {
    let mut hasher = Hasher::new(b"shoal facts range 1\0");
    if let Some((first, last)) = bounds(&digits) {
        for (author, set) in sets.range(first..=last) {
            hasher.bytes(author.bytes());
            hasher.number(set.head.version.incarnation);
            hasher.number(set.head.version.counter);
            hasher.bytes(&set.head.digest);
        }
    }
    Range { digits, hash: hasher.finish()[..HASH_BYTES].to_vec() }
}

/// The first and last id of a range; `None` if its digits are none.
pub(crate) fn bounds(digits: &[u8]) -> Option<(HostId, HostId)> {
    if digits.len() > DIGITS || digits.iter().any(|digit| *digit > 15) {
        return None;
    }
    let filled = |rest: u8| {
        let digit = |at: usize| digits.get(at).copied().unwrap_or(rest);
        HostId::new(std::array::from_fn(|byte| digit(2 * byte) << 4 | digit(2 * byte + 1)))
    };
    Some((filled(0), filled(15)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Version;
    use crate::head::Head;
    use crate::set::{Entries, digest_of};
    use crate::testing::TestKey;

    fn sets(numbers: impl Iterator<Item = u64>) -> Sets {
        let set = |number| {
            let key = TestKey::new(number);
            let version = Version { incarnation: 1, counter: 1 };
            let head = Head::sign(&key, version, 0, digest_of(&Entries::new()));
            (key.id(), Arc::new(Set { head, entries: Entries::new() }))
        };
        numbers.map(set).collect()
    }

    #[test]
    fn a_range_is_bounded_by_its_digits() {
        let (first, last) = bounds(&[0xa, 0xb, 0xc]).unwrap();
        assert_eq!(first.to_string(), format!("abc{}", "0".repeat(29)));
        assert_eq!(last.to_string(), format!("abc{}", "f".repeat(29)));
        assert_eq!(bounds(&[16]), None);
        assert_eq!(bounds(&[0; 33]), None);
    }

    #[test]
    fn equal_sets_have_equal_roots_and_a_few_sets_are_listed_at_once() {
        let (few, one_more) = (sets(0..5), sets(0..6));
        assert_eq!(compare(&few, &root(&few)), Some(Answer::Equal));
        let Some(Answer::Leaves(leaves)) = compare(&few, &root(&one_more)) else {
            panic!("a list is expected")
        };
        assert_eq!((leaves.leaves.len(), leaves.complete), (5, true));
    }

    #[test]
    fn many_sets_are_split_and_the_difference_is_found_in_one_part() {
        let (mine, theirs) = (sets(0..200), sets(1..200));
        let Some(Answer::Split(parts)) = compare(&mine, &root(&theirs)) else {
            panic!("a split is expected")
        };
        assert_eq!(parts.len(), 16);
        let answers: Vec<_> = parts.iter().filter_map(|part| compare(&theirs, part)).collect();
        assert_eq!(answers.iter().filter(|answer| **answer == Answer::Equal).count(), 15);
    }
}
