//! Hosts for unit tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use shoal_types::{HostId, Moment};

use crate::{Effect, Facts, Judge, Signer, author_of};

/// A host key that follows from a number.
pub(crate) struct TestKey(Ed25519KeyPair);

impl TestKey {
    pub(crate) fn new(number: u64) -> Self {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        Self(Ed25519KeyPair::from_seed_unchecked(&seed).unwrap())
    }

    pub(crate) fn id(&self) -> HostId {
        author_of(&self.public())
    }
}

impl Signer for TestKey {
    fn public(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().unwrap()
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).as_ref().try_into().unwrap()
    }
}

/// What a host's `Persist` effects leave behind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Store(pub(crate) BTreeMap<Vec<u8>, Vec<u8>>);

impl Store {
    pub(crate) fn keep(&mut self, effects: &[Effect]) {
        for effect in effects {
            let Effect::Persist { writes, .. } = effect else { continue };
            for (key, value) in writes {
                match value {
                    Some(value) => self.0.insert(key.clone(), value.clone()),
                    None => self.0.remove(key),
                };
            }
        }
    }
}

/// A host with nothing stored.
pub(crate) fn host(number: u64) -> (HostId, Facts) {
    (TestKey::new(number).id(), open(number, &Store::default(), Moment::ZERO))
}

pub(crate) fn open(number: u64, store: &Store, now: Moment) -> Facts {
    let key = TestKey::new(number);
    Facts::new(key.id(), Arc::new(key), store.0.clone(), number, now).unwrap()
}

pub(crate) fn put(key: &[u8], value: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    (key.to_vec(), Some(value.to_vec()))
}

pub(crate) fn remove(key: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    (key.to_vec(), None)
}

/// Takes everybody's facts.
pub(crate) struct Lenient;

impl Judge for Lenient {
    fn admits(&self, _: HostId, _: &dyn Fn(&[u8]) -> Option<Vec<u8>>) -> Result<(), String> {
        Ok(())
    }
}
