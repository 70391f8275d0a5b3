//! Which processors belong to which host: a half of the machine's each, as if they were two machines.
//!
//! Without it the scheduler puts both ends of a conversation on one processor in some seconds and on two in others,
//! and a round trip takes twice as long in the one case as in the other. What the kernel does for a packet on its way
//! runs where the sender runs, for both hosts.

use std::fmt;
use std::ops::Range;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use shoal_netbed::Host;

/// A host's processors, in the words of `docker run --cpuset-cpus`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Processors(Range<usize>);

/// The first host's, or the second's.
pub(crate) fn of(host: &Host) -> Processors {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    half(all, host.name() == "h1")
}

/// One half of so many; of one both have it.
fn half(all: usize, is_first: bool) -> Processors {
    let middle = (all / 2).max(1);
    Processors(if is_first || all == 1 { 0..middle } else { middle..all })
}

impl Processors {
    /// Keeps a running process on these, threads that it starts later too.
    ///
    /// # Errors
    /// There is no such process.
    pub(crate) fn keep(&self, process: u32) -> Result<()> {
        let mut set = CpuSet::new();
        self.0.clone().try_for_each(|processor| set.set(processor))?;
        let tasks = std::fs::read_dir(format!("/proc/{process}/task"));
        for task in tasks.with_context(|| format!("there is no process {process}"))? {
            let name = task?.file_name();
            let thread = name.to_str().and_then(|name| name.parse().ok()).context("a thread has a number")?;
            // A thread that has ended since needs no processor.
            let _ = sched_setaffinity(Pid::from_raw(thread), &set);
        }
        Ok(())
    }
}

impl fmt::Display for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.start, self.0.end - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hosts_share_no_processor_unless_there_is_but_one() {
        assert_eq!((half(2, true).to_string(), half(2, false).to_string()), ("0-0".into(), "1-1".into()));
        assert_eq!((half(5, true).to_string(), half(5, false).to_string()), ("0-1".into(), "2-4".into()));
        assert_eq!(half(1, true), half(1, false));
    }
}
