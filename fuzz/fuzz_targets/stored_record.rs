//! Runs `stored_record` of `testing/foreign`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoal_foreign::run("stored_record", bytes));
