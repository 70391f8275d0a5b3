//! What a host has written, and what of it would outlast a power loss.

use std::collections::BTreeMap;

use shoal_fabric::Writes;

/// A store in memory. Batches are kept in order; one that must last takes all before it with it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    lasting: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Batches that a power loss may take, the oldest first.
    floating: Vec<Writes>,
}

impl Disk {
    pub(crate) fn write(&mut self, writes: Writes, durable: bool) {
        self.floating.push(writes);
        if durable {
            self.flush();
        }
    }

    /// Everything that a process which starts now would read.
    pub(crate) fn read(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut all = self.clone();
        all.flush();
        all.lasting.into_iter().collect()
    }

    /// Takes up to `batches` of the last batches away; says whether there were any.
    pub(crate) fn lose(&mut self, batches: usize) -> bool {
        let kept = self.floating.len().saturating_sub(batches);
        let lost = kept < self.floating.len();
        self.floating.truncate(kept);
        self.flush();
        lost
    }

    fn flush(&mut self) {
        for (key, value) in std::mem::take(&mut self.floating).into_iter().flatten() {
            match value {
                Some(value) => drop(self.lasting.insert(key, value)),
                None => drop(self.lasting.remove(&key)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_loss_takes_the_last_batches_that_nobody_waited_for() {
        let put = |key: u8| vec![(vec![key], Some(vec![key]))];
        let mut disk = Disk::default();
        disk.write(put(1), false);
        disk.write(put(2), true);
        disk.write(put(3), false);
        disk.write(put(4), false);
        assert_eq!(disk.read().len(), 4);
        assert!(disk.lose(1));
        assert_eq!(disk.read().iter().map(|(key, _)| key[0]).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(!disk.lose(9));
    }
}
