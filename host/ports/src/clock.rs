//! The only reader of time.

use shoal_types::{Moment, WallTime};

/// Reads both clocks of a machine.
pub trait Clock: Send + Sync {
    /// The monotonic clock, which also counts time spent suspended.
    fn now(&self) -> Moment;
    /// The wall clock.
    fn wall(&self) -> WallTime;
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// A clock whose [`Moment::ZERO`] is now.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn start() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment::ZERO + self.start.elapsed()
    }

    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn wall(&self) -> WallTime {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        WallTime::from_millis(since_epoch.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)))
    }
}
