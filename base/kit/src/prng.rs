//! Chance as a value.

/// A small generator of pseudo-random numbers: the same seed gives the same numbers on every machine.
///
/// SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014). It spreads load and
/// breaks step between hosts; it is not fit for secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prng {
    state: u64,
}

impl Prng {
    /// A generator whose numbers follow from `seed` alone.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number, any of 2^64.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if `end` is 0. Uneven by less than `end` / 2^64.
    pub fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(end);
        u64::try_from(wide >> 64).unwrap_or_default()
    }

    /// Up to `count` different items, each equally likely, in random order.
    pub fn sample<T>(&mut self, mut items: Vec<T>, count: usize) -> Vec<T> {
        let count = count.min(items.len());
        for at in 0..count {
            let rest = (items.len() - at) as u64;
            let pick = usize::try_from(self.below(rest)).unwrap_or_default();
            items.swap(at, at + pick);
        }
        items.truncate(count);
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let (mut a, mut b, mut c) = (Prng::new(7), Prng::new(7), Prng::new(8));
        let first: Vec<_> = (0..4).map(|_| a.next_u64()).collect();
        assert_eq!(first, (0..4).map(|_| b.next_u64()).collect::<Vec<_>>());
        assert_ne!(first, (0..4).map(|_| c.next_u64()).collect::<Vec<_>>());
    }

    #[test]
    fn a_number_stays_below_its_end_and_reaches_all_below() {
        let mut prng = Prng::new(1);
        let seen: std::collections::BTreeSet<_> = (0..200).map(|_| prng.below(5)).collect();
        assert_eq!(seen, (0..5).collect());
        assert_eq!(prng.below(0), 0);
    }

    #[test]
    fn a_sample_holds_no_item_twice() {
        let mut prng = Prng::new(3);
        let mut sample = prng.sample((0..10).collect(), 6);
        sample.sort_unstable();
        sample.dedup();
        assert_eq!(sample.len(), 6);
        assert_eq!(prng.sample(vec![1, 2], 9).len(), 2);
        assert!(prng.sample(Vec::<u8>::new(), 3).is_empty());
    }
}
