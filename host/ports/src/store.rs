//! Durable state: keys and values, written in batches.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// One write of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The key; keys are ordered as bytes.
    pub key: Vec<u8>,
    /// The new value; `None` removes the key.
    pub value: Option<Vec<u8>>,
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Why state could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {reason}")]
pub struct StoreError {
    /// "open", "read" or "write".
    pub action: &'static str,
    /// The file.
    pub path: String,
    /// The system's reason.
    pub reason: String,
}

/// Keeps keys and values over restarts and power loss.
pub trait Store: Send {
    /// Writes all or nothing. When it returns, the batch survives power loss. After an error nothing of the batch is
    /// kept and later batches may succeed again (a disk that was full).
    fn write(&mut self, batch: &[Write]) -> Result<(), StoreError>;

    /// Everything whose key starts with `prefix`, in order of keys.
    fn scan(&self, prefix: &[u8]) -> Result<Vec<Entry>, StoreError>;
}

/// Keeps everything in memory; for tests and simulation.
#[derive(Debug, Default)]
pub struct MemoryStore {
    entries: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Store for MemoryStore {
    fn write(&mut self, batch: &[Write]) -> Result<(), StoreError> {
        let mut entries = self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for Write { key, value } in batch {
            match value {
                Some(value) => entries.insert(key.clone(), value.clone()),
                None => entries.remove(key),
            };
        }
        Ok(())
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        let entries = self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let from = entries.range(prefix.to_vec()..);
        Ok(from.take_while(|(key, _)| key.starts_with(prefix)).map(|(k, v)| (k.clone(), v.clone())).collect())
    }
}

/// The contract every [`Store`] keeps; `reopen` closes a store and opens the same one again.
#[allow(
    clippy::expect_used,
    reason = "a contract suite is a test, kept here so that every implementation can run it"
)]
pub fn contract<S: Store>(mut store: S, reopen: impl Fn(S) -> S) {
    let put = |key: &[u8], value: &[u8]| Write { key: key.to_vec(), value: Some(value.to_vec()) };
    let remove = |key: &[u8]| Write { key: key.to_vec(), value: None };
    let must = "the contract's writes are all possible";

    store.write(&[put(b"a/1", b"one"), put(b"a/2", b"two"), put(b"b/1", b"other")]).expect(must);
    store.write(&[put(b"a/2", b"zwei"), remove(b"a/1"), remove(b"never")]).expect(must);
    store = reopen(store);
    let all = store.scan(b"").expect(must);
    assert_eq!(all, [(b"a/2".to_vec(), b"zwei".to_vec()), (b"b/1".to_vec(), b"other".to_vec())]);
    assert_eq!(store.scan(b"a/").expect(must), [(b"a/2".to_vec(), b"zwei".to_vec())]);

    store.write(&[put(b"x", b"1"), remove(b"x"), put(b"y", b"")]).expect(must);
    assert!(store.scan(b"x").expect(must).is_empty(), "writes of a batch apply in order");
    assert_eq!(store.scan(b"y").expect(must), [(b"y".to_vec(), vec![])]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_keeps_the_contract() {
        contract(MemoryStore::default(), |store| store);
    }
}
