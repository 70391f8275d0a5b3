//! Boots Debian's stock kernels under qemu, without KVM, and runs the tests of the kernel's side in them.
//!
//! ```text
//!     kernels [6.1] [6.12] [TESTS...]           all kernels if none is named; TESTS are parts of test binaries' names
//!     kernels --bench [6.1] [6.12]              measures what the data path costs, instead
//!     SHOAL_KERNELS=FOLDER                      where unpacked kernels are kept; target/kernels
//! ```
//!
//! The guest has this machine's root as its own, with a layer of memory over it that takes what is written. So the test
//! binaries run where cargo has left them, with this machine's tools. Nothing is installed and no root is needed.
#![allow(clippy::print_stdout, reason = "a program's output")]

mod kernel;
mod machine;
mod report;
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use kernel::{Kernel, SERIES, Series};
use tests::Tests;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every test passed in every kernel.
fn run() -> Result<bool> {
    let is_kernel = |word: &String| SERIES.iter().any(|series| series.name == word);
    let (wanted, mut parts): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(is_kernel);
    let measures = parts.iter().any(|word| word == "--bench");
    parts.retain(|word| word != "--bench");
    let folder = folder()?;
    let mut tests = if measures { tests::build_benches()? } else { tests::build()? };
    tests.retain(|tests| parts.is_empty() || parts.iter().any(|part| tests.label.contains(part)));
    ensure!(!tests.is_empty(), "neither a kernel nor a test binary is called {}", parts.join(" or "));
    let is_wanted = |series: &&Series| wanted.is_empty() || wanted.iter().any(|name| name == series.name);
    let kernels: Vec<Kernel> = SERIES
        .iter()
        .filter(is_wanted)
        .map(|series| Kernel::fetch(series, &folder))
        .collect::<Result<_>>()?;
    // All at once: each guest is one thread's work.
    let outcomes: Vec<Result<String, String>> = std::thread::scope(|scope| {
        let guests: Vec<_> = kernels.iter().map(|kernel| scope.spawn(|| tried(kernel, &tests))).collect();
        let ended = || Err("a guest's thread ended".to_owned());
        guests.into_iter().map(|guest| guest.join().unwrap_or_else(|_| ended())).collect()
    });
    for outcome in &outcomes {
        println!("{}", outcome.as_ref().unwrap_or_else(|failed| failed));
    }
    Ok(outcomes.iter().all(Result::is_ok))
}

/// The summary of the tests in one kernel, as an error if not all passed.
#[allow(clippy::disallowed_methods, reason = "what a guest took is real time")]
fn tried(kernel: &Kernel, tests: &[Tests]) -> Result<String, String> {
    let began = Instant::now();
    let report =
        machine::boot(kernel, tests).map_err(|error| format!("kernel {}: {error:#}", kernel.version))?;
    let summary = report.summary(&kernel.version, began.elapsed());
    if report.has_passed() { Ok(summary) } else { Err(summary) }
}

fn folder() -> Result<PathBuf> {
    let folder =
        std::env::var_os("SHOAL_KERNELS").map_or_else(|| tests::target().join("kernels"), PathBuf::from);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    folder.canonicalize().with_context(|| format!("cannot find {}", folder.display()))
}
