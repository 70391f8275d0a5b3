//! The network between hosts: delay, loss, duplication, reordering, cuts.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use shoal_kit::Prng;

use crate::NetworkOptions;

/// All links, each direction for itself.
#[derive(Debug)]
pub(crate) struct Network {
    options: NetworkOptions,
    delays: BTreeMap<(usize, usize), Duration>,
    cut: BTreeSet<(usize, usize)>,
}

impl Network {
    pub(crate) fn new(options: NetworkOptions, hosts: usize, prng: &mut Prng) -> Self {
        let pairs = (0..hosts).flat_map(|a| (0..hosts).map(move |b| (a, b)));
        let delays = pairs.map(|pair| (pair, draw(prng, &options.delay))).collect();
        Self { options, delays, cut: BTreeSet::new() }
    }

    /// When the copies of a datagram arrive; none: it is lost.
    pub(crate) fn datagram(&self, from: usize, to: usize, prng: &mut Prng) -> Vec<Duration> {
        if self.is_cut(from, to) || chance(prng, self.options.loss_per_mille) {
            return Vec::new();
        }
        let copies = if chance(prng, self.options.duplication_per_mille) { 2 } else { 1 };
        (0..copies).map(|_| self.way(from, to, prng)).collect()
    }

    /// When a message arrives; `None`: there is no connection. One needs both directions.
    pub(crate) fn message(&self, from: usize, to: usize, prng: &mut Prng) -> Option<Duration> {
        if !self.connects(from, to) {
            return None;
        }
        let lost = chance(prng, self.options.loss_per_mille);
        let resent = if lost { self.options.resend } else { Duration::ZERO };
        Some(self.way(from, to, prng) + resent)
    }

    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.contains(&(from, to))
    }

    /// Whether both directions work.
    pub(crate) fn connects(&self, a: usize, b: usize) -> bool {
        !self.is_cut(a, b) && !self.is_cut(b, a)
    }

    /// Whether every host hears every other one.
    pub(crate) fn is_whole(&self) -> bool {
        self.cut.is_empty()
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
    }

    pub(crate) fn isolate(&mut self, host: usize) {
        let pairs: Vec<_> = self.delays.keys().filter(|(a, b)| *a == host || *b == host).copied().collect();
        self.cut.extend(pairs);
    }

    pub(crate) fn part(&mut self, groups: &[Vec<usize>]) {
        let together = |a, b| groups.iter().any(|group| group.contains(&a) && group.contains(&b));
        self.cut = self.delays.keys().filter(|(a, b)| a != b && !together(*a, *b)).copied().collect();
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    fn way(&self, from: usize, to: usize, prng: &mut Prng) -> Duration {
        let base = self.delays.get(&(from, to)).copied().unwrap_or_default();
        let jitter = draw(prng, &(Duration::ZERO..self.options.jitter));
        let held = chance(prng, self.options.reordering_per_mille);
        base + jitter + if held { self.options.held_up } else { Duration::ZERO }
    }
}

/// Whether something of this probability, in thousandths, happens.
pub(crate) fn chance(prng: &mut Prng, per_mille: u32) -> bool {
    prng.below(1_000) < u64::from(per_mille)
}

/// A duration between two ends.
pub(crate) fn draw(prng: &mut Prng, range: &Range<Duration>) -> Duration {
    let span = u64::try_from(range.end.saturating_sub(range.start).as_nanos()).unwrap_or(u64::MAX);
    range.start + Duration::from_nanos(prng.below(span))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_cuts_between_groups_only_and_heals() {
        let mut prng = Prng::new(1);
        let mut network = Network::new(NetworkOptions::default(), 4, &mut prng);
        network.part(&[vec![0, 1], vec![2]]);
        assert!(network.connects(0, 1));
        assert!(network.is_cut(1, 2) && network.is_cut(2, 1) && network.is_cut(0, 3));
        assert_eq!(network.message(0, 2, &mut prng), None);
        network.heal();
        assert!(network.is_whole());
    }

    #[test]
    fn a_one_way_link_carries_datagrams_back_but_no_messages() {
        let mut prng = Prng::new(1);
        let quiet = NetworkOptions { loss_per_mille: 0, ..NetworkOptions::default() };
        let mut network = Network::new(quiet, 2, &mut prng);
        network.cut(0, 1);
        assert!(network.datagram(0, 1, &mut prng).is_empty());
        assert!(!network.datagram(1, 0, &mut prng).is_empty());
        assert_eq!(network.message(1, 0, &mut prng), None);
    }
}
