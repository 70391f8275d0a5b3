//! How long something has taken.

use std::time::Duration;

use shoal_ports::{Clock, SystemClock};
use shoal_types::Moment;

/// Counts from when it was started.
#[derive(Clone, Copy)]
pub(crate) struct Timer(SystemClock);

impl Timer {
    pub(crate) fn start() -> Self {
        Self(SystemClock::start())
    }

    /// What is left of a limit; zero once it has passed.
    pub(crate) fn left_of(&self, limit: Duration) -> Duration {
        limit.saturating_sub(self.0.now().since(Moment::ZERO))
    }
}
