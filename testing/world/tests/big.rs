//! One story of a fabric of forty hosts.

use std::time::Duration;

use shoal_world::{Options, run};

/// Bytes of payload that each of forty hosts may send per minute while nothing happens: about three times what was
/// measured.
const IDLE_BYTES_PER_MINUTE_MAX: u64 = 60_000;

#[test]
fn forty_hosts_agree_after_a_story() {
    let (pause, quiet) = (Duration::from_millis(20)..Duration::from_millis(600), Duration::from_secs(60));
    let options = Options { hosts: 40, members: 38, steps: 60, pause, quiet, ..Options::default() };
    // Not shortened: that would take minutes.
    let report = run(40, &options).unwrap_or_else(|story| panic!("{story}"));
    println!(
        "{} events; an idle host sends at most {} bytes per minute",
        report.events, report.idle_bytes_per_minute
    );
    assert!((1..IDLE_BYTES_PER_MINUTE_MAX).contains(&report.idle_bytes_per_minute));
}
