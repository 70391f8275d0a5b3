//! When a decision is made, and the numbers it draws.

use shoal_types::{Moment, WallTime};

/// Both clocks at the time of an event.
#[derive(Debug, Clone, Copy, Default)]
pub struct At {
    /// The monotonic clock.
    pub now: Moment,
    /// The wall clock.
    pub wall: WallTime,
}

/// Draws ids: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014). The ids need
/// to differ, not to be secret.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Starts a sequence.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Sixteen bytes for an id.
    pub fn id(&mut self) -> [u8; 16] {
        (u128::from(self.roll()) << 64 | u128::from(self.roll())).to_be_bytes()
    }

    /// Thirty-two bits.
    pub fn number(&mut self) -> u32 {
        (self.roll() >> 32) as u32
    }
}
