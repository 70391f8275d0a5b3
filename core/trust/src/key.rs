//! Keys: one per host, one per fabric. Ed25519 (RFC 8032).

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use shoal_types::{FabricId, HostId};
use zeroize::Zeroizing;

/// The key that makes a host itself. Kept for as long as the host is in the fabric.
pub struct HostKey(Pair);

impl HostKey {
    /// The key of a seed of 32 random bytes; the seed is what is stored.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(Pair::from_seed(seed))
    }

    /// The host's id.
    pub fn id(&self) -> HostId {
        host_id_of(&self.public())
    }

    /// The public half.
    pub fn public(&self) -> [u8; 32] {
        self.0.public
    }

    /// Signs; the caller puts a purpose in front of the message, so that no signature serves two.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }

    /// A secret of its own for the purpose `label`, the same at every start.
    pub fn derive(&self, label: &str) -> [u8; 32] {
        self.0.derive(label)
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostKey({})", self.id().short())
    }
}

/// The key that makes a fabric itself: it signs the first host's certificate. Whoever holds it can make members.
pub struct FabricRoot(Pair);

impl FabricRoot {
    /// A secret of its own for the purpose `label`, always the same.
    pub fn derive(&self, label: &str) -> [u8; 32] {
        self.0.derive(label)
    }

    /// The key of a seed of 32 random bytes; the seed is what is stored.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(Pair::from_seed(seed))
    }

    /// The fabric's id.
    pub fn id(&self) -> FabricId {
        fabric_id_of(&self.public())
    }

    /// The public half.
    pub fn public(&self) -> [u8; 32] {
        self.0.public
    }

    /// Signs; the caller puts a purpose in front of the message, so that no signature serves two.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }
}

impl fmt::Debug for FabricRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FabricRoot({})", self.id().short())
    }
}

/// The id of the host with this public key: the first 16 bytes of its SHA-256.
pub fn host_id_of(public: &[u8; 32]) -> HostId {
    HostId::new(fixed(digest(&SHA256, public).as_ref()))
}

/// The id of the fabric with this root public key: the first 16 bytes of its SHA-256.
pub fn fabric_id_of(public: &[u8; 32]) -> FabricId {
    FabricId::new(fixed(digest(&SHA256, public).as_ref()))
}

/// Whether `signature` was made over `message` with the key whose public half is `public`.
pub fn verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).is_ok()
}

struct Pair {
    seed: Zeroizing<[u8; 32]>,
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl Pair {
    #[allow(
        clippy::expect_used,
        reason = "every 32 bytes are an Ed25519 seed; the error is for other lengths"
    )]
    fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).expect("a seed of 32 bytes");
        let public = fixed(pair.public_key().as_ref());
        Self { seed, pair, public }
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        fixed(self.pair.sign(message).as_ref())
    }

    fn derive(&self, label: &str) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &*self.seed);
        fixed(hmac::sign(&key, label.as_bytes()).as_ref())
    }
}

/// The first `N` bytes of a hash or signature, whose length its algorithm fixes; missing ones would read as zero.
pub(crate) fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_hash_of_the_public_key() {
        // RFC 8032, section 7.1, test 1: this seed has this public key.
        let seed = bytes("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        let public = bytes("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        let key = HostKey::from_seed(seed);
        assert_eq!(key.public(), public);
        assert_eq!(&digest(&SHA256, &public).as_ref()[..16], key.id().bytes());
        assert_eq!(FabricRoot::from_seed(seed).id().bytes(), key.id().bytes());
    }

    #[test]
    fn a_signature_holds_for_one_message_and_one_key() {
        let (key, other) = (HostKey::from_seed([1; 32]), HostKey::from_seed([2; 32]));
        let signature = key.sign(b"fish");
        assert!(verify(&key.public(), b"fish", &signature));
        assert!(!verify(&key.public(), b"fist", &signature));
        assert!(!verify(&other.public(), b"fish", &signature));
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = HostKey::from_seed([0xab; 32]);
        assert_eq!(format!("{key:?}"), format!("HostKey({})", key.id().short()));
        assert!(!format!("{:?}", FabricRoot::from_seed([0xab; 32])).contains("abab"));
    }

    #[test]
    fn derived_secrets_differ_by_purpose_and_host() {
        let key = HostKey::from_seed([1; 32]);
        assert_eq!(key.derive("a"), HostKey::from_seed([1; 32]).derive("a"));
        assert_ne!(key.derive("a"), key.derive("b"));
        assert_ne!(key.derive("a"), HostKey::from_seed([2; 32]).derive("a"));
    }

    fn bytes(hex: &str) -> [u8; 32] {
        std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
    }
}
