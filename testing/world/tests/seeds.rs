//! Many stories, each with everything checked.

use std::collections::BTreeSet;
use std::time::Duration;

use shoal_world::{Options, Report, Situation, missing, run, shorten};

/// Bytes of payload that a host may send per minute while nothing happens, in a fabric of up to six hosts.
const IDLE_BYTES_PER_MINUTE_MAX: u64 = 60_000;

/// The world of a seed: 3 to 6 hosts, of which all but one or two are members from the start.
fn options(seed: u64) -> Options {
    let hosts = 3 + usize::try_from(seed % 4).unwrap_or_default();
    let quiet = if seed.is_multiple_of(8) { Duration::from_secs(120) } else { Duration::ZERO };
    Options { hosts, members: hosts - 1 - usize::from(hosts > 4), quiet, ..Options::default() }
}

/// Plays a seed; a broken one is told as the shortest story that breaks the same way.
fn told(seed: u64, options: &Options) -> Report {
    run(seed, options).unwrap_or_else(|story| panic!("{}", shorten(&story, options)))
}

fn seeds(of: std::ops::Range<u64>) -> BTreeSet<Situation> {
    of.flat_map(|seed| told(seed, &options(seed)).seen).collect()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn one_seed() {
    let seed = number("SHOAL_WORLD_SEED").unwrap_or(1);
    let report = told(seed, &options(seed));
    report.lines.iter().for_each(|line| println!("{line}"));
    println!("seed {seed}: {} events, saw {:?}", report.events, report.seen);
}

#[test]
fn many_seeds() {
    let from = number("SHOAL_WORLD_FROM").unwrap_or(1_000);
    let count = number("SHOAL_WORLD_SEEDS").unwrap_or(0);
    let mut kinds = std::collections::BTreeMap::<String, Vec<u64>>::new();
    let mut all = BTreeSet::new();
    for seed in from..from + count {
        match run(seed, &options(seed)) {
            Ok(report) => all.extend(report.seen),
            Err(story) => kinds.entry(story.kind()).or_default().push(seed),
        }
    }
    println!("missing {:?}", missing(&all));
    for (kind, seeds) in &kinds {
        println!("{kind}: {} {seeds:?}", seeds.len());
    }
    assert!(kinds.is_empty());
}

#[test]
fn a_seed_is_always_the_same_story() {
    let first = run(7, &options(7));
    assert_eq!(first, run(7, &options(7)));
    let traces: BTreeSet<_> = [7, 8].map(|seed| run(seed, &options(seed)).map(|report| report.trace).ok()).into();
    assert_eq!(traces.len(), 2);
}

#[test]
fn idle() {
    let report = told(16, &options(16));
    println!("{} bytes per minute", report.idle_bytes_per_minute);
    assert!(report.idle_bytes_per_minute < IDLE_BYTES_PER_MINUTE_MAX);
    let _ = seeds(0..0);
}
