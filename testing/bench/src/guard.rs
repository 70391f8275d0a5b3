//! The process that waits for the one that measures, and takes down what that has laid out.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use crate::programs::COUNTING;

/// Tells a process that it is the one that measures.
const INNER: &str = "BENCH_INNER";

/// Whether this process is the one that measures.
pub(crate) fn is_inner() -> bool {
    std::env::var_os(INNER).is_some()
}

/// Runs this program once more, to measure `shoal`, and sweeps behind it.
///
/// # Errors
/// Something cannot be started, or is still there.
pub(crate) fn watch(shoal: &Path) -> Result<ExitCode> {
    ensure!(nix::unistd::geteuid().is_root(), "it needs root: namespaces, dockerd, eBPF");
    let shoal = shoal.canonicalize();
    let shoal =
        shoal.context("the binary to measure is missing; build it: cargo build --release -p shoal")?;
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    // Before there is another thread; a child begins with no signal blocked.
    signals.thread_block()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).env(INNER, "1").env("SHOAL_BIN", shoal);
    let counting = fs::read_to_string(COUNTING).with_context(|| format!("cannot read {COUNTING}"))?;
    let mut child = command.spawn()?;
    let pid = Pid::from_raw(child.id().cast_signed());
    thread::spawn(move || {
        while signals.wait().is_ok() {
            // An interrupt from a terminal has reached the child too.
            let _ = kill(pid, Signal::SIGKILL);
        }
    });
    let status = child.wait()?;
    fs::write(COUNTING, counting)?;
    shoal_netbed::sweep()?;
    let left = shoal_netbed::leftovers();
    ensure!(left.is_empty(), "this is left and should not be:\n{}", left.join("\n"));
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
