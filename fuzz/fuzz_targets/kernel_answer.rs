//! Runs `kernel_answer` of `testing/foreign`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoal_foreign::run("kernel_answer", bytes));
