//! Runs `tunnel_frames` of `testing/foreign`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoal_foreign::run("tunnel_frames", bytes));
