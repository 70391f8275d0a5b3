//! Replays every corpus, and a few damages of each entry, without a fuzzer.
#![allow(clippy::expect_used, reason = "a test stops where a corpus cannot be read")]

use std::fs;
use std::path::{Path, PathBuf};

use shoal_foreign::{TARGETS, Target};

/// Damages tried at each place of an input no longer than this; longer ones are damaged at this many places.
const PLACES_MAX: usize = 150;

fn entries(target: &Target) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target.name);
    let files = fs::read_dir(&folder).expect("every target has a corpus");
    files.map(|file| file.expect("a corpus can be listed").path()).collect()
}

fn replay(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("the target is in the table");
    let entries = entries(target);
    assert!(!entries.is_empty(), "{name} has an empty corpus");
    for path in entries {
        let bytes = fs::read(&path).expect("a corpus can be read");
        (target.run)(&bytes);
        for damaged in damages(&bytes) {
            (target.run)(&damaged);
        }
    }
}

/// The input cut short, and with single bytes changed.
fn damages(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let step = (bytes.len() / PLACES_MAX).max(1);
    (0..bytes.len()).step_by(step).flat_map(|at| {
        let changed = [0x01, 0x80, 0xff].map(|mask| {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= mask;
            damaged
        });
        changed.into_iter().chain([bytes[..at].to_vec()])
    })
}

/// One test for each target, and one that none was left out.
macro_rules! replays {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn every_target_is_replayed() {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

replays! {
    admin_command
    certificate
    configuration_file
    docker_answer
    docker_call
    engine_answer
    fabric_messages
    fact
    facts_messages
    join_token
    kernel_answer
    membership_packets
    stored_record
    stored_state
    transport_frame
    tunnel_frames
    welcome
    wireguard_control
}

#[test]
fn every_seed_is_in_the_corpus() {
    for target in TARGETS {
        let entries = entries(target);
        for (name, bytes) in (target.seeds)() {
            let entry = entries.iter().find(|path| path.ends_with(format!("seed-{name}")));
            let path = entry.expect("run `cargo run -p shoal-foreign --bin write-corpus`");
            let found = fs::read(path).expect("a corpus can be read");
            assert_eq!(
                found,
                bytes,
                "{}: run `cargo run -p shoal-foreign --bin write-corpus`",
                path.display()
            );
        }
    }
}
