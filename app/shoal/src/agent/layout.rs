//! Which layout the state on disk has, so that an agent refuses what a later one has written and it would misread.

use std::path::Path;

use shoal_ports::{Store, Write};

const KEY: &[u8] = b"agent/layout";

/// What this agent writes. It rises when an older agent would misread the state, not when something is added to it.
const LAYOUT: u32 = 1;

/// Marks the state as this agent's.
///
/// # Errors
/// A sentence, if a later version has written it.
pub(crate) fn check(store: &mut impl Store, state_dir: &Path) -> anyhow::Result<()> {
    let stored = store.scan(KEY)?.into_iter().find(|(key, _)| key == KEY);
    let layout = stored.map(|(_, bytes)| String::from_utf8_lossy(&bytes).parse().unwrap_or(u32::MAX));
    match layout {
        Some(LAYOUT) => Ok(()),
        Some(layout) if layout > LAYOUT => anyhow::bail!(
            "the state in {} was written by a later version of Shoal (layout {layout}, this version reads {LAYOUT}): \
             install that version again; nothing was changed",
            state_dir.display()
        ),
        _ => Ok(store.write(&[Write { key: KEY.to_vec(), value: Some(LAYOUT.to_string().into_bytes()) }])?),
    }
}

#[cfg(test)]
mod tests {
    use shoal_ports::MemoryStore;

    use super::*;

    fn written(layout: &str) -> MemoryStore {
        let mut store = MemoryStore::default();
        store.write(&[Write { key: KEY.to_vec(), value: Some(layout.into()) }]).unwrap();
        store
    }

    #[test]
    fn state_of_a_later_version_is_refused_in_a_sentence_and_kept() {
        for later in ["2", "no number"] {
            let mut store = written(later);
            let told = check(&mut store, Path::new("/var/lib/shoal")).unwrap_err().to_string();
            assert!(told.contains("/var/lib/shoal was written by a later version"), "{told}");
            assert_eq!(store.scan(KEY).unwrap()[0].1, later.as_bytes());
        }
    }

    #[test]
    fn state_that_says_nothing_or_less_is_marked_and_taken() {
        for mut store in [MemoryStore::default(), written("0"), written("1")] {
            check(&mut store, Path::new("/var/lib/shoal")).unwrap();
            assert_eq!(store.scan(KEY).unwrap()[0].1, b"1");
        }
    }
}
