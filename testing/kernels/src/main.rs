//! Boots Debian's stock kernels under qemu, without KVM, and runs the tests of the kernel's side in them.
//!
//! ```text
//!     kernels [6.1] [6.12]                      all of them if none is named
//!     SHOAL_KERNELS=FOLDER                      where unpacked kernels are kept; target/kernels
//! ```
//!
//! The guest has this machine's root as a read-only file system, so the test binaries run where cargo has left them,
//! with this machine's tools. Nothing is installed and no root is needed.
#![allow(clippy::print_stdout, reason = "a program's output")]

mod kernel;
mod machine;
mod report;
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use kernel::{Kernel, SERIES};

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
#[allow(clippy::disallowed_methods, reason = "what a guest took is real time")]
fn run() -> Result<bool> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    for name in &wanted {
        ensure!(SERIES.iter().any(|series| series.name == name), "no kernel {name} is known here");
    }
    let folder = folder()?;
    let tests = tests::build()?;
    let mut all_passed = true;
    for series in
        SERIES.iter().filter(|series| wanted.is_empty() || wanted.iter().any(|name| name == series.name))
    {
        let kernel = Kernel::fetch(series, &folder)?;
        let began = Instant::now();
        let report = machine::boot(&kernel, &tests)?;
        println!("{}", report.summary(&kernel.version, began.elapsed()));
        all_passed &= report.has_passed();
    }
    Ok(all_passed)
}

fn folder() -> Result<PathBuf> {
    let folder =
        std::env::var_os("SHOAL_KERNELS").map_or_else(|| tests::target().join("kernels"), PathBuf::from);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    folder.canonicalize().with_context(|| format!("cannot find {}", folder.display()))
}
