//! Every parser of foreign bytes, as a function that a fuzzer or a test can hold.
//!
//! Foreign is what another host, dockerd, a person or a disk gives us. A [`Target`] takes any bytes at all and panics
//! if the parser breaks a promise: that it returns, that what it read writes back as it was, that nothing is held that
//! was not signed. `fuzz/` runs the targets under a fuzzer; this crate's tests replay the corpora, and a few damages
//! of each entry, on every test run.
#![allow(clippy::expect_used, clippy::panic, reason = "a target's way to report is to panic")]

mod doors;
mod fabric;
mod hosts;
mod seeds;
mod trust;
mod tunnels;
mod wireguard;

/// One parser with what to start from.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Name of the fuzz target and of its corpus.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// Names and bytes of inputs that reach deep; the corpus in `fuzz/corpus` is written from them.
    pub seeds: fn() -> Vec<(String, Vec<u8>)>,
}

/// All targets, in order of names.
pub const TARGETS: &[Target] = &[
    Target { name: "admin_command", run: doors::admin_command, seeds: seeds::admin_commands },
    Target { name: "certificate", run: trust::certificate, seeds: seeds::certificates },
    Target { name: "configuration_file", run: doors::configuration_file, seeds: seeds::configuration_files },
    Target { name: "docker_answer", run: doors::docker_answer, seeds: seeds::docker_answers },
    Target { name: "docker_call", run: doors::docker_call, seeds: seeds::docker_calls },
    Target { name: "engine_answer", run: tunnels::engine_answer, seeds: seeds::engine_answers },
    Target { name: "fabric_messages", run: fabric::fabric_messages, seeds: seeds::fabric_messages },
    Target { name: "fact", run: hosts::fact, seeds: seeds::facts },
    Target { name: "facts_messages", run: hosts::facts_messages, seeds: seeds::facts_messages },
    Target { name: "join_token", run: trust::join_token, seeds: seeds::join_tokens },
    Target { name: "kernel_answer", run: tunnels::kernel_answer, seeds: seeds::kernel_answers },
    Target { name: "membership_packets", run: hosts::membership_packets, seeds: seeds::membership_packets },
    Target { name: "stored_record", run: hosts::stored_record, seeds: seeds::stored_records },
    Target { name: "stored_state", run: fabric::stored_state, seeds: seeds::stored_states },
    Target { name: "transport_frame", run: hosts::transport_frame, seeds: seeds::transport_frames },
    Target { name: "tunnel_frames", run: wireguard::tunnel_frames, seeds: wireguard::frames },
    Target { name: "welcome", run: fabric::welcome, seeds: seeds::welcomes },
    Target { name: "wireguard_control", run: wireguard::wireguard_control, seeds: wireguard::controls },
];

/// Runs the target with this name; for `fuzz/`.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("the target is in the table");
    (target.run)(bytes);
}

/// Splits bytes into parts: each is preceded by its length, two bytes, big endian; the last one may be cut short.
fn parts(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let (part, rest) = rest.split_at(rest.len().min(u16::from_be_bytes(*length).into()));
        parts.push(part);
        bytes = rest;
    }
    parts
}

/// Joins parts so that [`parts`] splits them again.
fn join(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        let length = u16::try_from(part.len()).expect("seeds are short");
        bytes.extend(length.to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_as_they_were_joined() {
        assert_eq!(parts(&join(&[b"ab", b"", b"c"])), [&b"ab"[..], b"", b"c"]);
        assert_eq!(parts(b"\0\x05ab"), [b"ab"]);
    }

    #[test]
    fn the_table_is_in_order() {
        assert!(TARGETS.is_sorted_by_key(|target| target.name));
    }
}
