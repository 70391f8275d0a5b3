//! When a decision is made, and the numbers it draws.

use shoal_kit::Prng;
use shoal_types::{Moment, WallTime};

/// Both clocks at the time of an event.
#[derive(Debug, Clone, Copy, Default)]
pub struct At {
    /// The monotonic clock.
    pub now: Moment,
    /// The wall clock.
    pub wall: WallTime,
}

/// Draws ids: they need to differ, not to be secret.
#[derive(Debug, Clone)]
pub struct Dice(Prng);

impl Dice {
    /// Starts a sequence.
    pub fn new(seed: u64) -> Self {
        Self(Prng::new(seed))
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0.next_u64()
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
