//! Runs `fabric_messages` of `testing/foreign`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoal_foreign::run("fabric_messages", bytes));
