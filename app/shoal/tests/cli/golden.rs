//! Every command against a scripted agent, word for word: what it prints, where, and how it exits.
//!
//! Each file in `expected/` shows the commands of one test as a user would see them. To write the files anew after a
//! change, run this test with `SHOAL_BLESS=1` and read the difference.

use std::path::{Path, PathBuf};
use std::process::Output;

use crate::support::{Bed, Mood, shoal};

/// Runs each line and compares what is seen with `expected/NAME.txt`.
fn golden(name: &str, mood: Mood, lines: &[&str]) {
    let bed = Bed::new(name, mood);
    let seen: String = lines.iter().map(|line| shown(line, &bed.run(line))).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/cli/expected/{name}.txt"));
    compare(&path, &seen);
}

fn compare(path: &PathBuf, seen: &str) {
    if std::env::var_os("SHOAL_BLESS").is_some() {
        std::fs::write(path, seen).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert!(seen == expected, "{} differs. Expected:\n{expected}\nSeen:\n{seen}", path.display());
}

fn shown(line: &str, output: &Output) -> String {
    let part = |name: &str, bytes: &[u8]| match bytes {
        [] => String::new(),
        text => format!("--- {name}\n{}", String::from_utf8_lossy(text)),
    };
    let (stdout, stderr) = (part("stdout", &output.stdout), part("stderr", &output.stderr));
    let shown =
        format!("$ shoal {line}\n{stdout}{stderr}--- exit {}\n\n", output.status.code().unwrap_or(-1));
    // A release must not change these files.
    if line.starts_with("version") { shown.replace(env!("CARGO_PKG_VERSION"), "X.Y.Z") } else { shown }
}

#[test]
fn hosts() {
    golden("hosts", Mood::Fabric, &["hosts", "hosts", "hosts -o json"]);
}

#[test]
fn status() {
    golden("status", Mood::Fabric, &["status", "status -o json"]);
}

#[test]
fn networks() {
    let lines = ["network list", "network ls -o json", "network create shop", "network delete shop old"];
    golden("networks", Mood::Fabric, &lines);
}

#[test]
fn metrics() {
    golden("metrics", Mood::Fabric, &["metrics"]);
}

#[test]
fn endpoints() {
    golden("endpoints", Mood::Fabric, &["endpoints", "endpoints -o json"]);
}

#[test]
fn addresses() {
    golden("addresses", Mood::Fabric, &["addresses", "addresses -o json"]);
}

#[test]
fn doctor() {
    golden("doctor", Mood::Fabric, &["doctor", "doctor -o json"]);
}

#[test]
fn version() {
    golden("version", Mood::Fabric, &["version", "version -o json"]);
}

#[test]
fn membership() {
    golden(
        "membership",
        Mood::Fabric,
        &["init", "token --ttl 7d", "join 10.0.0.2:7000 T", "leave", "forget host-5", "rotate-key"],
    );
}

#[test]
fn tokens() {
    let lines = [
        "token list",
        "token ls -o json",
        "token revoke 5eed5eed",
        "token revoke --all",
        "token revoke",
        "token revoke --all 5eed5eed",
        "token --ttl 1h list",
    ];
    golden("tokens", Mood::Fabric, &lines);
}

#[test]
fn a_host_without_a_fabric() {
    let lines = [
        "status",
        "hosts",
        "token list",
        "network list",
        "endpoints",
        "addresses",
        "doctor",
        "version",
        "token",
        "hosts -o json",
        "network create shop",
    ];
    golden("alone", Mood::Alone, &lines);
}

#[test]
fn an_agent_that_refuses() {
    golden("refused", Mood::Refusing, &["network rm shop", "leave", "join host-1 T", "version"]);
}

#[test]
fn help() {
    let lines = [
        "--help",
        "network create --help",
        "agent --help",
        "token --help",
        "token revoke --help",
        "help network",
    ];
    golden("help", Mood::Fabric, &lines);
}

#[test]
fn an_agent_that_does_not_run() {
    let mut seen = String::new();
    for line in ["status", "join host-1 T", "version", "version -o json"] {
        let output = shoal(line).env("SHOAL_SOCKET", "/nowhere/agent.sock").output().unwrap();
        seen.push_str(&shown(line, &output));
    }
    compare(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/expected/unreached.txt"), &seen);
}
