//! Time as a value. Nothing in this crate reads a clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point on a host's monotonic clock: nanoseconds since an arbitrary start. Never compared between hosts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The clock's start.
    pub const ZERO: Self = Self(0);

    /// A moment `nanos` nanoseconds after the clock's start.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`; zero if `earlier` lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    /// Saturates after 584 years.
    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub for Moment {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// A point on the wall clock: milliseconds since 1970-01-01T00:00:00Z. May jump; only stamps and expiry use it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallTime(u64);

impl WallTime {
    /// `millis` milliseconds since 1970.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`; zero if `earlier` lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for WallTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

/// A hybrid logical clock's reading (Kulkarni et al., "Logical Physical Clocks", 2014): wall milliseconds, then a
/// counter for edits within one millisecond or behind a clock that ran ahead. Ordered by both; the last writer wins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Wall clock, milliseconds since 1970.
    pub wall: WallTime,
    /// Counts edits that share `wall`.
    pub logical: u32,
}

impl Stamp {
    /// How far ahead of a reader's clock a stamp may lie; beyond, it does not count yet.
    pub const AHEAD_MAX: Duration = Duration::from_secs(60);

    /// The stamp for an edit made at `wall` by a host that has seen `self` as the newest stamp.
    pub fn next(self, wall: WallTime) -> Self {
        if wall > self.wall {
            return Self { wall, logical: 0 };
        }
        Self { wall: self.wall, logical: self.logical.saturating_add(1) }
    }

    /// Whether this stamp lies more than [`Stamp::AHEAD_MAX`] ahead of `wall`.
    pub fn is_too_far_ahead(self, wall: WallTime) -> bool {
        self.wall.since(wall) > Self::AHEAD_MAX
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.wall.as_millis(), self.logical)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_never_goes_back_with_the_clock() {
        let first = Stamp::default().next(WallTime::from_millis(100));
        let second = first.next(WallTime::from_millis(40));
        assert!(second > first);
        assert_eq!(second, Stamp { wall: WallTime::from_millis(100), logical: 1 });
    }

    #[test]
    fn a_stamp_more_than_a_minute_ahead_is_told_apart() {
        let now = WallTime::from_millis(1_000_000);
        let at = |millis| Stamp { wall: WallTime::from_millis(millis), logical: 0 };
        assert!(!at(1_060_000).is_too_far_ahead(now));
        assert!(at(1_060_001).is_too_far_ahead(now));
    }
}
