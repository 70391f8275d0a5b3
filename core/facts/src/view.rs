//! What others may read.

use shoal_types::HostId;

use crate::{Facts, Stats, Version, digest};

/// An author's state in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadView {
    /// The author.
    pub author: HostId,
    /// The version held.
    pub version: Version,
    /// Tombstones up to this counter are collected.
    pub floor: u64,
    /// Facts, without tombstones.
    pub entries: usize,
    /// Tombstones.
    pub tombstones: usize,
    /// Size, counted as for [`SET_BYTES_MAX`](crate::SET_BYTES_MAX).
    pub bytes: usize,
    /// SHA-256 of all entries; equal digests mean equal sets.
    pub digest: [u8; 32],
}

impl Facts {
    /// The value an author has under a key.
    pub fn get(&self, author: HostId, key: &[u8]) -> Option<&[u8]> {
        self.held(author)?.entries.get(key)?.value.as_deref()
    }

    /// The state of an author that is held.
    pub fn version_of(&self, author: HostId) -> Option<Version> {
        self.sets.get(&author).map(|set| set.view().version)
    }

    /// All facts of an author, in order of keys.
    pub fn of(&self, author: HostId) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.held(author).into_iter().flat_map(|set| set.values_from(b""))
    }

    /// All facts whose key starts with `prefix`: author, key, value, in order of authors, then keys.
    pub fn iter_prefix<'a>(
        &'a self,
        prefix: &'a [u8],
    ) -> impl Iterator<Item = (HostId, &'a [u8], &'a [u8])> + 'a {
        self.sets.iter().flat_map(move |(author, set)| {
            let from = set.values_from(prefix).take_while(move |(key, _)| key.starts_with(prefix));
            from.map(move |(key, value)| (*author, key, value))
        })
    }

    /// A hash of everything held: equal on two hosts exactly when they hold the same facts.
    pub fn digest(&self) -> Vec<u8> {
        digest::root(&self.sets).hash
    }

    /// Every author's state in numbers, in order of authors.
    pub fn heads(&self) -> impl Iterator<Item = HeadView> + '_ {
        self.sets.values().map(|set| set.view())
    }

    /// Sizes now and counts since the start.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            authors: self.sets.len(),
            published: self.counters.published,
            applied: self.counters.applied,
            rounds: self.counters.rounds,
            messages_sent: self.counters.messages_sent,
            bytes_sent: self.counters.bytes_sent,
            messages_received: self.counters.messages_received,
            bytes_received: self.counters.bytes_received,
            discarded: self.counters.discarded.clone(),
            ..Stats::default()
        };
        for head in self.heads() {
            stats.entries += head.entries;
            stats.tombstones += head.tombstones;
            stats.bytes += head.bytes;
        }
        stats
    }
}
