//! A limit in rate.

use std::time::Duration;

use shoal_types::Moment;

/// Allows `burst` at once and then one each `every`.
#[derive(Debug)]
pub(crate) struct Bucket {
    burst: u32,
    level: u32,
    filled: Moment,
}

impl Bucket {
    pub(crate) const fn full(burst: u32, now: Moment) -> Self {
        Self { burst, level: burst, filled: now }
    }

    pub(crate) fn take(&mut self, now: Moment, every: Duration) -> bool {
        let earned = now.since(self.filled).as_nanos() / every.as_nanos().max(1);
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(u32::MAX);
            self.level = self.level.saturating_add(earned).min(self.burst);
            self.filled = now;
        }
        let has_one = self.level > 0;
        self.level = self.level.saturating_sub(1);
        has_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_allows_a_burst_and_then_one_at_a_time() {
        let second = Duration::from_secs(1);
        let at = |seconds| Moment::ZERO + second * seconds;
        let mut bucket = Bucket::full(2, at(0));
        assert_eq!([0, 0, 0].map(|seconds| bucket.take(at(seconds), second)), [true, true, false]);
        assert_eq!([1, 1].map(|seconds| bucket.take(at(seconds), second)), [true, false]);
        assert_eq!([90, 90, 90].map(|seconds| bucket.take(at(seconds), second)), [true, true, false]);
    }
}
