//! What should happen, as values.

use shoal_types::HostId;

use crate::{ENTRIES_MAX, KEY_BYTES_MAX, SET_BYTES_MAX, VALUE_BYTES_MAX, Version};

/// Something for the caller to do. Carry them out in the order of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Write all or nothing, `None` removing the key; keys start with `b"facts/"`.
    Persist {
        /// Key and new value.
        writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
        /// Whether the batch must survive power loss before the effects after it are carried out: own facts. Facts
        /// of others can be fetched again.
        durable: bool,
    },
    /// Readers see these facts differently; own changes are among them. By author, then by key.
    Changed(Vec<Change>),
    /// A person should hear of this.
    Notice(Notice),
    /// Another live host has this host's key; the sentence says what to do. This host must stop, and must not
    /// be started again by itself.
    Conflict(String),
    /// Hand the bytes to a peer's [`receive`](crate::Facts::receive). May be lost, doubled or reordered.
    Send {
        /// The peer.
        to: HostId,
        /// At most [`MESSAGE_BYTES_MAX`](crate::MESSAGE_BYTES_MAX).
        message: Vec<u8>,
    },
}

/// One fact that differs from before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whose fact.
    pub author: HostId,
    /// Its key.
    pub key: Vec<u8>,
    /// The value before; `None`: there was none.
    pub old: Option<Vec<u8>>,
    /// The value now; `None`: there is none.
    pub new: Option<Vec<u8>>,
}

/// Something a person should hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The fabric held a newer state of this host than this host itself: it was restored from an old backup or
    /// cloned. It has published its own state anew under a higher incarnation.
    Restored {
        /// The newest version the fabric held.
        held: Version,
        /// The version taken.
        taken: Version,
        /// Where the two differ: `old` is what the fabric held, `new` what holds from here on. Whoever must
        /// not lose an entry (an address range given away) publishes it again.
        lost: Vec<Change>,
    },
    /// An author signed two different states under one version: it was restored from an old backup and published
    /// before it heard of what it had published since, or two live hosts share its key. The state with the higher
    /// digest is kept everywhere.
    TwoStates {
        /// The author.
        author: HostId,
        /// The version.
        version: Version,
    },
    /// The judge refused an author's facts.
    Refused {
        /// The author.
        author: HostId,
        /// The judge's sentence.
        reason: String,
    },
    /// A new author's facts were refused because [`AUTHORS_MAX`](crate::AUTHORS_MAX) are held.
    TooManyAuthors {
        /// The author.
        author: HostId,
    },
    /// Own edits were not published.
    TooLarge(TooLarge),
}

/// Edits that exceed a limit; nothing of them was published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// See [`KEY_BYTES_MAX`].
    #[error("a fact's key has {0} bytes; at most {KEY_BYTES_MAX} are possible")]
    Key(usize),
    /// See [`VALUE_BYTES_MAX`].
    #[error("a fact's value has {0} bytes; at most {VALUE_BYTES_MAX} are possible")]
    Value(usize),
    /// See [`ENTRIES_MAX`].
    #[error(
        "this host would publish {0} facts; at most {ENTRIES_MAX} are possible: remove containers or networks"
    )]
    Entries(usize),
    /// See [`SET_BYTES_MAX`].
    #[error(
        "this host's facts would take {0} bytes; at most {SET_BYTES_MAX} are possible: remove containers or networks"
    )]
    Set(usize),
}
