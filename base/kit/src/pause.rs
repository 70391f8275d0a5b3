//! A pause that grows while nothing happens.

use std::time::Duration;

use crate::Prng;

/// How long to wait before the next try: doubles from `min` to `max`, and falls back to `min` when reset. Each pause
/// is drawn from three to five quarters of the nominal one, so that hosts that started together drift apart.
#[derive(Debug, Clone)]
pub struct Pause {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Pause {
    /// A pause that starts at `min`.
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, next: min }
    }

    /// Starts again at the shortest pause.
    pub const fn reset(&mut self) {
        self.next = self.min;
    }

    /// The pause to make, after which the nominal one is doubled.
    pub fn draw(&mut self, prng: &mut Prng) -> Duration {
        let nominal = self.next;
        self.next = (nominal * 2).min(self.max);
        let spread = u64::try_from(nominal.as_nanos() / 2).unwrap_or(u64::MAX);
        nominal * 3 / 4 + Duration::from_nanos(prng.below(spread))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_up_to_its_limit_and_falls_back_when_reset() {
        let second = Duration::from_secs(1);
        let mut pause = Pause::new(second, second * 8);
        let mut prng = Prng::new(1);
        for nominal in [1, 2, 4, 8, 8] {
            let drawn = pause.draw(&mut prng);
            assert!(drawn >= second * nominal * 3 / 4 && drawn < second * nominal * 5 / 4, "{drawn:?}");
        }
        pause.reset();
        assert!(pause.draw(&mut prng) < second * 5 / 4);
    }
}
