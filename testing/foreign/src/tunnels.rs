//! What says how an encrypted tunnel does: the process in user space, the kernel.

use shoal_links::foreign::{Settings, parse_engine_answer, parse_engine_drops, parse_kernel_answer};

/// An answer in the text protocol of WireGuard's processes.
pub(crate) fn engine_answer(bytes: &[u8]) {
    match parse_engine_answer(bytes) {
        Ok(settings) => hold(&settings, bytes),
        Err(sentence) => assert!(!sentence.is_empty() && sentence.len() < 4_096 + 8 * bytes.len()),
    }
    let drops = parse_engine_drops(bytes);
    assert!(drops.len() <= 64 && drops.iter().all(|(reason, lost)| reason.len() <= 32 && *lost > 0));
}

/// A datagram of generic netlink from the kernel's WireGuard.
pub(crate) fn kernel_answer(bytes: &[u8]) {
    if let Ok(settings) = parse_kernel_answer(bytes) {
        hold(&settings, bytes);
    }
}

/// Nothing is held that was not said: a key takes 32 bytes at least, an allowed address five.
fn hold(settings: &Settings, bytes: &[u8]) {
    assert!(settings.peers.len() * 32 <= bytes.len(), "more keys than bytes");
    let allowed: usize = settings.peers.values().map(|peer| peer.allowed.len()).sum();
    assert!(allowed * 5 <= bytes.len(), "more addresses than bytes");
}
