//! Runs `wireguard_control` of `testing/foreign`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoal_foreign::run("wireguard_control", bytes));
