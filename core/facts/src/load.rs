//! What is stored, and how it is read back.
//!
//! `facts/h/AUTHOR` holds an author's head, `facts/e/AUTHOR KEY` one entry; AUTHOR is the id's 16 bytes. Head and
//! entries of one state are written in one batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message as _;
use shoal_types::HostId;

use crate::head::{Signer, author_of};
use crate::set::{Entries, Entry, Set, digest_of};
use crate::wire::{StoredEntry, WireHead};

const HEAD: &[u8] = b"facts/h/";
const ENTRY: &[u8] = b"facts/e/";
const ID_BYTES: usize = 16;

/// Why stored facts cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The key does not belong to the host id.
    #[error(
        "the host key belongs to host {key}, not to {host}: put back the key that belongs to this state directory"
    )]
    ForeignKey {
        /// The id expected.
        host: HostId,
        /// The id that the key has.
        key: HostId,
    },
    /// The own set does not verify: the store is damaged or was edited.
    #[error(
        "the stored facts of this host ({host}) do not match their signature: restore the state directory from a \
         backup, or remove it and join again"
    )]
    OwnSetDamaged {
        /// This host.
        host: HostId,
    },
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) sets: BTreeMap<HostId, Arc<Set>>,
    /// Keys of what was dropped.
    pub(crate) leftovers: Vec<Vec<u8>>,
    /// How many sets were dropped.
    pub(crate) damaged: u64,
}

pub(crate) fn head_key(author: HostId) -> Vec<u8> {
    [HEAD, author.bytes()].concat()
}

pub(crate) fn entry_key(author: HostId, key: &[u8]) -> Vec<u8> {
    [ENTRY, author.bytes(), key].concat()
}

pub(crate) fn load(
    me: HostId,
    signer: &dyn Signer,
    pairs: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
) -> Result<Loaded, LoadError> {
    let key = author_of(&signer.public());
    if key != me {
        return Err(LoadError::ForeignKey { host: me, key });
    }
    let mut parts: BTreeMap<HostId, Parts> = BTreeMap::new();
    for (key, value) in pairs {
        if let Some((author, place)) = place_of(&key) {
            parts.entry(author).or_default().take(place, &key, &value);
        }
    }
    let mut loaded = Loaded::default();
    for (author, parts) in parts {
        match parts.set_of(author) {
            Ok(set) => {
                loaded.sets.insert(author, Arc::new(set));
            }
            Err(_) if author == me => return Err(LoadError::OwnSetDamaged { host: me }),
            Err(keys) => {
                loaded.damaged += 1;
                loaded.leftovers.extend(keys);
            }
        }
    }
    Ok(loaded)
}

/// What a stored key names.
#[derive(Clone, Copy)]
enum Place<'a> {
    Head,
    Entry(&'a [u8]),
}

/// `None` for keys of other versions of this program, which are left alone.
fn place_of(key: &[u8]) -> Option<(HostId, Place<'_>)> {
    let split = |rest: &'_ [u8]| HostId::from_slice(rest.get(..ID_BYTES)?);
    if let Some(rest) = key.strip_prefix(HEAD) {
        return (rest.len() == ID_BYTES).then(|| split(rest)).flatten().map(|author| (author, Place::Head));
    }
    let rest = key.strip_prefix(ENTRY)?;
    Some((split(rest)?, Place::Entry(rest.get(ID_BYTES..)?)))
}

/// What is stored of one author.
#[derive(Default)]
struct Parts {
    head: Option<WireHead>,
    entries: Entries,
    /// Something could not be read.
    broken: bool,
    keys: Vec<Vec<u8>>,
}

impl Parts {
    fn take(&mut self, place: Place<'_>, key: &[u8], value: &[u8]) {
        self.keys.push(key.to_vec());
        match place {
            Place::Head => self.head = WireHead::decode(value).ok(),
            Place::Entry(key) => match StoredEntry::decode(value) {
                Ok(StoredEntry { counter, value }) => {
                    self.entries.insert(key.to_vec(), Entry { counter, value });
                }
                Err(_) => self.broken = true,
            },
        }
    }

    /// The set if it verifies, else the stored keys.
    fn set_of(self, author: HostId) -> Result<Set, Vec<Vec<u8>>> {
        let head = self.head.and_then(|head| head.read());
        let good = head.filter(|head| {
            !self.broken
                && head.author() == author
                && head.digest == digest_of(&self.entries)
                && head.is_genuine()
        });
        good.map(|head| Set { head, entries: self.entries }).ok_or(self.keys)
    }
}
