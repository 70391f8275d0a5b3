//! Heads: what an author signs.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use shoal_types::HostId;

/// Bytes before everything that is signed here, so that a signature made for one purpose is worth nothing for another.
const SIGNED_AS: &[u8] = b"shoal facts head 1\0";

/// The host's Ed25519 key (RFC 8032; deterministic).
pub trait Signer: Send + Sync {
    /// The public key.
    fn public(&self) -> [u8; 32];
    /// Signs a message, which starts with a prefix that names its purpose.
    fn sign(&self, message: &[u8]) -> [u8; 64];
}

/// The id of the host that has this public key: the first 16 bytes of its SHA-256.
pub fn author_of(public: &[u8; 32]) -> HostId {
    let mut id = [0; 16];
    id.copy_from_slice(&digest(&SHA256, public).as_ref()[..16]);
    HostId::new(id)
}

/// Orders the states of one author.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Which life of the host: rises when it had to start over. The first is 1.
    pub incarnation: u64,
    /// Rises by one with each state. The first is 1.
    pub counter: u64,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.incarnation, self.counter)
    }
}

/// An author's signature under one state of its whole set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// Ed25519 public key; the author's id follows from it.
    pub(crate) key: [u8; 32],
    pub(crate) version: Version,
    /// Tombstones with a counter up to this one are collected.
    pub(crate) floor: u64,
    /// SHA-256 of all entries, see [`crate::set::digest_of`].
    pub(crate) digest: [u8; 32],
    pub(crate) signature: [u8; 64],
}

impl Head {
    pub(crate) fn sign(signer: &dyn Signer, version: Version, floor: u64, digest: [u8; 32]) -> Self {
        let mut head = Self { key: signer.public(), version, floor, digest, signature: [0; 64] };
        head.signature = signer.sign(&head.signed_bytes());
        head
    }

    pub(crate) fn author(&self) -> HostId {
        author_of(&self.key)
    }

    /// Whether the holder of `key` signed this head. The costly check: about 50 microseconds.
    pub(crate) fn is_genuine(&self) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.key).verify(&self.signed_bytes(), &self.signature).is_ok()
    }

    /// Total order of the heads of one author. The digest comes last, so that hosts agree on one state even of
    /// an author that signed two under one version.
    pub(crate) fn mark(&self) -> Mark {
        let [a, b, c, d, e, f, g, h, ..] = self.digest;
        Mark { version: self.version, digest: u64::from_be_bytes([a, b, c, d, e, f, g, h]) }
    }

    /// Prefix, public key (32), incarnation, counter, floor (8 each, big endian), digest (32).
    fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SIGNED_AS.len() + 88);
        bytes.extend_from_slice(SIGNED_AS);
        bytes.extend_from_slice(&self.key);
        for number in [self.version.incarnation, self.version.counter, self.floor] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.digest);
        bytes
    }
}

/// A head in 24 bytes: which of two states of an author is newer. `digest` is the start of the state's digest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) version: Version,
    pub(crate) digest: u64,
}

/// SHA-256 fed in pieces, each with its length before it so that no two lists of pieces hash alike.
pub(crate) struct Hasher(Context);

impl Hasher {
    /// `purpose` keeps hashes of different things apart.
    pub(crate) fn new(purpose: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(purpose);
        Self(context)
    }

    /// A number, 8 bytes big endian.
    pub(crate) fn number(&mut self, number: u64) {
        self.0.update(&number.to_be_bytes());
    }

    /// Bytes, after their length as a number.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.0.finish().as_ref());
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestKey;

    fn head() -> Head {
        Head::sign(&TestKey::new(1), Version { incarnation: 1, counter: 2 }, 0, [7; 32])
    }

    #[test]
    fn a_head_authenticates_itself() {
        assert!(head().is_genuine());
        assert_eq!(head().author(), TestKey::new(1).id());
        assert_eq!(head(), head(), "signatures are deterministic");
    }

    #[test]
    fn no_signed_field_can_be_altered() {
        let altered: [fn(&mut Head); 6] = [
            |head| head.key[0] ^= 1,
            |head| head.version.incarnation += 1,
            |head| head.version.counter += 1,
            |head| head.floor += 1,
            |head| head.digest[31] ^= 1,
            |head| head.signature[63] ^= 1,
        ];
        for alter in altered {
            let mut head = head();
            alter(&mut head);
            assert!(!head.is_genuine(), "{head:?}");
        }
    }

    #[test]
    fn marks_order_by_incarnation_then_counter_then_digest() {
        let mark = |incarnation, counter, digest| Mark { version: Version { incarnation, counter }, digest };
        assert!(mark(2, 0, 0) > mark(1, 9, 9));
        assert!(mark(1, 2, 0) > mark(1, 1, 9));
        assert!(mark(1, 1, 2) > mark(1, 1, 1));
    }
}
