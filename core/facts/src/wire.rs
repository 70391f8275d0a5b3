//! Messages and stored values: protobuf (proto3 wire format), so that a field may be added without breaking older
//! hosts. Every field that decides anything is covered by an author's signature or checked by the receiver.

use prost::Message as _;
use shoal_types::HostId;

use crate::head::{Head, Mark};
use crate::set::{self, Set};
use crate::{MESSAGE_BYTES_MAX, Version};

/// One message between two hosts. Any mix of its parts is possible.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Message {
    /// Hashes of what the sender holds in ranges of authors; the receiver answers where its own differ.
    #[prost(message, repeated, tag = "1")]
    pub(crate) ranges: Vec<Range>,
    /// Lists of what the sender holds.
    #[prost(message, repeated, tag = "2")]
    pub(crate) leaves: Vec<Leaves>,
    /// What the sender asks for.
    #[prost(message, repeated, tag = "3")]
    pub(crate) wants: Vec<Leaf>,
    /// States for the receiver to take.
    #[prost(message, repeated, tag = "4")]
    pub(crate) deltas: Vec<Delta>,
}

/// A range of authors and the hash of what the sender holds in it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Range {
    /// The range: the first hexadecimal digits of its authors' ids, one per byte; empty for all.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) digits: Vec<u8>,
    /// See [`crate::digest`].
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) hash: Vec<u8>,
}

/// The authors of a range.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Leaves {
    /// As in [`Range`].
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) digits: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) leaves: Vec<Leaf>,
    /// Whether the list is all that the sender holds in the range, so that it lacks what is not listed.
    #[prost(bool, tag = "3")]
    pub(crate) complete: bool,
}

/// Which state of an author someone holds. All numbers zero: none.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Leaf {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) author: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(crate) incarnation: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) counter: u64,
    /// The first 8 bytes of the state's digest, big endian.
    #[prost(fixed64, tag = "4")]
    pub(crate) digest: u64,
}

/// A signed head and the entries to get there.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Delta {
    #[prost(message, optional, tag = "1")]
    pub(crate) head: Option<WireHead>,
    /// See [`set::Delta::since`].
    #[prost(uint64, optional, tag = "2")]
    pub(crate) since: Option<u64>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) entries: Vec<KeyedEntry>,
    /// How often a receiver that learns from it may hand it on.
    #[prost(uint32, tag = "4")]
    pub(crate) hops: u32,
}

/// See [`Head`]. Also stored, under `facts/h/AUTHOR`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WireHead {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) key: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(crate) incarnation: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) counter: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) floor: u64,
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) digest: Vec<u8>,
    #[prost(bytes = "vec", tag = "6")]
    pub(crate) signature: Vec<u8>,
}

/// An entry with its key.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct KeyedEntry {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) key: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(crate) counter: u64,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(crate) value: Option<Vec<u8>>,
}

/// An entry as it is stored, under `facts/e/AUTHOR KEY`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredEntry {
    #[prost(uint64, tag = "1")]
    pub(crate) counter: u64,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) value: Option<Vec<u8>>,
}

impl Leaf {
    pub(crate) fn new(author: HostId, mark: Mark) -> Self {
        let Mark { version, digest } = mark;
        let Version { incarnation, counter } = version;
        Self { author: author.bytes().to_vec(), incarnation, counter, digest }
    }

    /// `None` if it is not well formed.
    pub(crate) fn read(&self) -> Option<(HostId, Mark)> {
        let version = Version { incarnation: self.incarnation, counter: self.counter };
        Some((HostId::from_slice(&self.author)?, Mark { version, digest: self.digest }))
    }
}

impl Delta {
    pub(crate) fn new(delta: &set::Delta, hops: u32) -> Self {
        let entries = delta.entries.iter().map(|(key, entry)| KeyedEntry {
            key: key.clone(),
            counter: entry.counter,
            value: entry.value.clone(),
        });
        Self { head: Some(WireHead::new(&delta.head)), since: delta.since, entries: entries.collect(), hops }
    }

    /// `None` if it is not well formed.
    pub(crate) fn read(self) -> Option<set::Delta> {
        let head = self.head?.read()?;
        let entry =
            |entry: KeyedEntry| (entry.key, set::Entry { counter: entry.counter, value: entry.value });
        Some(set::Delta { head, since: self.since, entries: self.entries.into_iter().map(entry).collect() })
    }
}

impl WireHead {
    pub(crate) fn new(head: &Head) -> Self {
        Self {
            key: head.key.to_vec(),
            incarnation: head.version.incarnation,
            counter: head.version.counter,
            floor: head.floor,
            digest: head.digest.to_vec(),
            signature: head.signature.to_vec(),
        }
    }

    /// `None` if it is not well formed; a version of 0 is none.
    pub(crate) fn read(&self) -> Option<Head> {
        if self.incarnation == 0 || self.counter == 0 {
            return None;
        }
        Some(Head {
            key: self.key.as_slice().try_into().ok()?,
            version: Version { incarnation: self.incarnation, counter: self.counter },
            floor: self.floor,
            digest: self.digest.as_slice().try_into().ok()?,
            signature: self.signature.as_slice().try_into().ok()?,
        })
    }
}

/// The message that carries one delta.
pub(crate) fn delta_message(delta: &set::Delta, hops: u32) -> Vec<u8> {
    Message { deltas: vec![Delta::new(delta, hops)], ..Message::default() }.encode_to_vec()
}

/// Packs deltas into as few messages as their order allows, at most `count_max`; what is beyond is left out.
pub(crate) fn pack_deltas(deltas: impl Iterator<Item = Delta>, count_max: usize) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    let mut current = Message::default();
    let mut bytes = 0;
    for delta in deltas {
        // Tag and length of the delta in the message take at most 5 bytes.
        let more = delta.encoded_len() + 5;
        if bytes + more > MESSAGE_BYTES_MAX && !current.deltas.is_empty() {
            messages.push(std::mem::take(&mut current).encode_to_vec());
            bytes = 0;
        }
        if messages.len() == count_max {
            return messages;
        }
        bytes += more;
        current.deltas.push(delta);
    }
    if !current.deltas.is_empty() {
        messages.push(current.encode_to_vec());
    }
    messages
}

/// The stored form of an entry.
pub(crate) fn stored_entry(entry: &set::Entry) -> Vec<u8> {
    StoredEntry { counter: entry.counter, value: entry.value.clone() }.encode_to_vec()
}

/// The stored form of a set's head.
pub(crate) fn stored_head(set: &Set) -> Vec<u8> {
    WireHead::new(&set.head).encode_to_vec()
}
