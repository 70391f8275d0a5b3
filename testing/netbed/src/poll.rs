//! Waiting, in the one place that may sleep.

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Environment variable: how many times as long as on a usual machine everything may take, a whole number.
const PATIENCE: &str = "NETBED_PATIENCE";

/// Calls `look` until it returns `Ok`, at most for `limit`. `Err` carries what was seen instead; the last one stands
/// in the error beside `what`.
pub fn eventually<T, E: Display>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<T, E>,
) -> Result<T> {
    let (started, limit) = (now(), patient(limit));
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(seen) if started.elapsed() > limit => {
                bail!("waited {limit:?} for {what}; last seen: {seen:#}");
            }
            Err(_) => thread::sleep(patient(PAUSE)),
        }
    }
}

/// Like [`eventually`], for a condition that is either there or not.
pub fn eventually_ok(what: &str, limit: Duration, mut look: impl FnMut() -> bool) -> Result<()> {
    eventually(what, limit, || if look() { Ok(()) } else { Err("it is not so") })
}

/// Lets time pass before something that must happen at a moment which nothing announces: a kill. What waits for
/// something to happen polls.
pub fn pause(span: Duration) {
    thread::sleep(span);
}

/// What a limit comes to on this machine, or a pause between two looks, which take their time too.
pub(crate) fn patient(usual: Duration) -> Duration {
    let times = std::env::var(PATIENCE).ok().and_then(|text| text.parse().ok());
    usual * times.unwrap_or(1)
}

/// The clock of tests.
#[allow(clippy::disallowed_methods, reason = "real daemons run on real time; only waiting reads it")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
