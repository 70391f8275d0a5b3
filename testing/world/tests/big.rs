//! One fabric of forty hosts.

use std::time::Duration;

use shoal_world::{Options, run, shorten};

#[test]
fn forty_hosts_agree_after_a_story() {
    let options = Options {
        hosts: 40,
        members: 38,
        steps: 60,
        pause: Duration::from_millis(20)..Duration::from_millis(600),
        quiet: Duration::from_secs(60),
        ..Options::default()
    };
    let report = run(40, &options).unwrap_or_else(|story| panic!("{}", shorten(&story, &options)));
    println!("40 hosts: {} events, at most {} bytes per idle minute", report.events, report.idle_bytes_per_minute);
}
