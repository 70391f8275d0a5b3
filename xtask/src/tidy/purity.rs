//! Crates that decide touch nothing: no clock, no chance, no file, no socket, no waiting.

use crate::exceptions::Exceptions;
use crate::{Finding, Tree};

/// What a pure crate must not hold, and what to do instead.
const IMPURE: &[(&str, &str)] = &[
    ("Instant::now", "take `now: Moment` as an argument"),
    ("SystemTime", "take `wall: WallTime` as an argument"),
    ("UNIX_EPOCH", "take `wall: WallTime` as an argument"),
    ("thread_rng", "take a seed as an argument"),
    ("rand::rng(", "take a seed as an argument"),
    ("from_os_rng", "take a seed as an argument"),
    ("OsRng", "take a seed as an argument"),
    ("SysRng", "take a seed as an argument"),
    ("SystemRandom", "take the random bytes as an argument"),
    ("getrandom", "take the random bytes as an argument"),
    ("std::fs", "return an effect; the agent writes files"),
    ("std::env", "take settings as arguments"),
    ("std::process", "return an effect; the agent runs programs"),
    ("std::thread", "return an effect; the agent owns threads"),
    ("TcpStream", "return an effect; the agent owns sockets"),
    ("TcpListener", "return an effect; the agent owns sockets"),
    ("UdpSocket", "return an effect; the agent owns sockets"),
    ("UnixStream", "return an effect; the agent owns sockets"),
    ("async fn", "return an effect; a decision never waits"),
    (".await", "return an effect; a decision never waits"),
    ("tokio", "return an effect; a decision never waits"),
    ("println!", "return it; the agent prints"),
    ("RandomState", "use an ordered map; a run must replay from its seed"),
    ("HashMap", "use an ordered map; a run must replay from its seed"),
    ("HashSet", "use an ordered set; a run must replay from its seed"),
];

pub(super) fn pure_crates_are_pure(tree: &Tree) -> Vec<Finding> {
    let exceptions = Exceptions::read(tree);
    let mut findings = Vec::new();
    let pure =
        tree.ending(&[".rs"]).filter(|file| file.path.starts_with("base/") || file.path.starts_with("core/"));
    for file in pure.filter(|file| exceptions.impure.iter().all(|exception| exception.path != file.path)) {
        for (number, line) in file.production_lines() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            let impure = IMPURE.iter().filter(|(word, _)| line.contains(word));
            findings.extend(impure.map(|(word, instead)| {
                Finding::new(file.path, number, format!("`{word}` in a crate that decides: {instead}"))
            }));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    #[test]
    fn a_clock_in_a_core_is_found_and_one_in_a_host_crate_is_not() {
        let text =
            "//! HashMap is named.\nlet now = Instant::now();\n#[cfg(test)]\nmod tests {\n    tokio\n}\n";
        let files = [("core/x/src/lib.rs", text), ("host/x/src/lib.rs", text), ("core/x/tests/a.rs", text)];
        assert_eq!(places(pure_crates_are_pure, &files), ["core/x/src/lib.rs:2"]);
    }
}
