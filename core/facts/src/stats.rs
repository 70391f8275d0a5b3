//! What is counted.

use std::collections::BTreeMap;

/// Why something that arrived was not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Discarded {
    /// Bytes that are no message, or a part of one that is not well formed or exceeds a limit.
    Malformed,
    /// From or about a forgotten host.
    Forgotten,
    /// Not newer than what is held: duplicates and replays.
    Stale,
    /// A delta that starts after the version held; the whole or a longer delta is asked for.
    Gap,
    /// The author did not sign this head.
    BadSignature,
    /// The entries are not those the author signed.
    BadDigest,
    /// The judge refused the author, now or a moment ago.
    NotAdmitted,
    /// A new author beyond [`AUTHORS_MAX`](crate::AUTHORS_MAX).
    TooManyAuthors,
    /// A stored set that did not verify when it was loaded.
    Damaged,
}

/// Sizes now and counts since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Authors held, this host included.
    pub authors: usize,
    /// Entries of all authors, without tombstones.
    pub entries: usize,
    /// Tombstones of all authors.
    pub tombstones: usize,
    /// Bytes of all sets, counted as for [`SET_BYTES_MAX`](crate::SET_BYTES_MAX).
    pub bytes: usize,
    /// Versions this host published.
    pub published: u64,
    /// States of others applied.
    pub applied: u64,
    /// Rounds of anti-entropy begun.
    pub rounds: u64,
    /// Messages sent.
    pub messages_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// What was not applied, by reason.
    pub discarded: BTreeMap<Discarded, u64>,
}

/// The counting part of [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) published: u64,
    pub(crate) applied: u64,
    pub(crate) rounds: u64,
    pub(crate) messages_sent: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) messages_received: u64,
    pub(crate) bytes_received: u64,
    pub(crate) discarded: BTreeMap<Discarded, u64>,
}

impl Counters {
    pub(crate) fn with_damaged(damaged: u64) -> Self {
        let mut counters = Self::default();
        if damaged > 0 {
            counters.discarded.insert(Discarded::Damaged, damaged);
        }
        counters
    }

    pub(crate) fn discard(&mut self, reason: Discarded) {
        *self.discarded.entry(reason).or_default() += 1;
    }
}
