//! Many stories of small fabrics, each with everything checked.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use shoal_world::{Options, Report, Situation, Story, generate, missing, run, run_steps, shorten};

/// Bytes of payload that a host may send per minute while nothing happens, in a fabric of up to six hosts: about three
/// times what was measured.
const IDLE_BYTES_PER_MINUTE_MAX: u64 = 50_000;

/// The seeds of every test run.
const SEEDS: Range<u64> = 0..100;

/// The world of a seed: 3 to 6 hosts, of which all but one or two are members from the start.
fn options(seed: u64) -> Options {
    let hosts = 3 + usize::try_from(seed % 4).unwrap_or_default();
    let quiet = if seed.is_multiple_of(8) { Duration::from_secs(120) } else { Duration::ZERO };
    Options { hosts, members: hosts - 1 - usize::from(hosts > 4), quiet, ..Options::default() }
}

/// Plays seeds. The first that is broken is told as the shortest story that breaks in the same way; the others by
/// number.
#[allow(clippy::panic, reason = "a test's way to fail, in its helper")]
fn play(seeds: impl Iterator<Item = u64>) -> Vec<Report> {
    let (mut reports, mut broken) = (Vec::new(), Vec::new());
    for seed in seeds {
        match run(seed, &options(seed)) {
            Ok(report) => reports.push(report),
            Err(story) => broken.push(story),
        }
    }
    let Some(first) = broken.first() else { return reports };
    let all: Vec<String> =
        broken.iter().map(|story| format!("seed {}: {}", story.seed, story.broken)).collect();
    let shortest = shorten(first, &options(first.seed));
    panic!("{shortest}\n{}\n\nall that broke:\n{}", keep(&shortest), all.join("\n"));
}

/// Writes a story to a file; returns how to play it again from there.
fn keep(story: &Story) -> String {
    let path = format!("{}/seed-{}.story.json", env!("CARGO_TARGET_TMPDIR"), story.seed);
    let kept = story.to_json().map_err(|error| error.to_string());
    match kept.and_then(|text| std::fs::write(&path, text).map_err(|error| error.to_string())) {
        Ok(()) => format!("or, once seeds tell other stories: SHOAL_WORLD_STORY={path} (the test one_story)"),
        Err(error) => format!("{path} cannot be written: {error}"),
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn every_story_ends_in_agreement_and_every_situation_is_met() {
    let reports = play(SEEDS);
    let seen: BTreeSet<Situation> = reports.iter().flat_map(|report| report.seen.clone()).collect();
    assert_eq!(missing(&seen), [], "no seed meets these any more");
    let most = reports.iter().map(|report| report.idle_bytes_per_minute).max().unwrap_or_default();
    println!("an idle host sends at most {most} bytes per minute");
    assert!((1..IDLE_BYTES_PER_MINUTE_MAX).contains(&most), "an idle host sends {most} bytes per minute");
}

#[test]
fn a_seed_is_always_the_same_story() {
    let [first, again, other] = [7, 7, 8].map(|seed| run(seed, &options(7)));
    assert_eq!(first, again);
    assert_ne!(first.map(|report| report.trace), other.map(|report| report.trace));
}

/// Replays SHOAL_WORLD_SEED, and prints it.
#[test]
fn one_seed() {
    let seed = number("SHOAL_WORLD_SEED").unwrap_or(1);
    for report in play(std::iter::once(seed)) {
        report.lines.iter().for_each(|line| println!("{line}"));
        println!("seed {seed}: {} events, trace {:016x}, saw {:?}", report.events, report.trace, report.seen);
    }
}

/// Plays the story in the file SHOAL_WORLD_STORY; without one, a story that went through a file.
#[test]
fn one_story() {
    let text = match std::env::var("SHOAL_WORLD_STORY") {
        Ok(path) => std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}")),
        Err(_) => {
            let steps = generate(3, &options(3));
            Story { seed: 3, steps, lines: Vec::new(), broken: String::new() }.to_json().unwrap()
        }
    };
    let (seed, steps) = Story::from_json(&text).unwrap();
    let report = run_steps(seed, &options(seed), &steps).unwrap_or_else(|story| panic!("{story}"));
    if std::env::var("SHOAL_WORLD_STORY").is_err() {
        assert_eq!(Some(report), run(3, &options(3)).ok(), "a file holds all of a story");
    }
}

/// Plays SHOAL_WORLD_SEEDS further seeds, from SHOAL_WORLD_FROM on, or as many as SHOAL_WORLD_MINUTES have room for.
#[test]
fn further_seeds() {
    let from = number("SHOAL_WORLD_FROM").unwrap_or(1_000);
    let count = number("SHOAL_WORLD_SEEDS").unwrap_or(4);
    let Some(minutes) = number("SHOAL_WORLD_MINUTES") else {
        let reports = play(from..from + count);
        return println!("{} stories from seed {from} on ended well", reports.len());
    };
    let (begun, time) = (now(), Duration::from_secs(60 * minutes));
    let seeds = (from..).take_while(|_| now().duration_since(begun) < time);
    let reports = play(seeds);
    println!("{} stories from seed {from} on ended well", reports.len());
}

#[allow(clippy::disallowed_methods, reason = "how long a soak may take is a person's time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
