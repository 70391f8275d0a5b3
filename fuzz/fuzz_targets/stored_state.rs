//! Runs `stored_state` of `testing/foreign`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoal_foreign::run("stored_state", bytes));
