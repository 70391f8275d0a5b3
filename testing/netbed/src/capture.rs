//! Commands: run to their end with a deadline, or in the background with their output kept.
//!
//! Output goes into an anonymous file, not a pipe: a command that leaves a child behind can neither block a reader
//! nor be blocked by one.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::poll::{eventually, now, patient};

/// What a command that has ended left behind.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command as a person would type it.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Output {
    /// Its output without the closing newline; an error with everything printed if it failed.
    pub fn ok(self) -> Result<String> {
        ensure!(self.status.success(), "{self}");
        Ok(self.stdout.trim_end().to_owned())
    }

    /// Everything printed, if it failed; an error if it succeeded.
    pub fn refused(self) -> Result<String> {
        ensure!(!self.status.success(), "this should have been refused: {self}");
        Ok(format!("{}{}", self.stdout, self.stderr).trim().to_owned())
    }

    /// Whether it ended with exit code 0.
    pub fn success(&self) -> bool {
        self.status.success()
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, status, stdout, stderr, .. } = self;
        write!(f, "`{command}` ended with {status}\n{}\n{}", stdout.trim_end(), stderr.trim_end())
    }
}

/// A command in the background. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    command: String,
    child: Child,
    stdout: File,
    stderr: File,
    started: std::time::Instant,
    over: bool,
}

impl Running {
    /// Starts a command; `shown` is how messages name it.
    pub fn start(mut command: Command, shown: impl Into<String>) -> Result<Self> {
        let shown = shown.into();
        let stdout = memory_file()?;
        let stderr = memory_file()?;
        command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
        let child = command.spawn().with_context(|| format!("`{shown}` does not start"))?;
        Ok(Self { command: shown, child, stdout, stderr, started: now(), over: false })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        read_all(&self.stdout).unwrap_or_default()
    }

    /// Waits until it has printed `text`.
    pub fn prints(&mut self, text: &str, limit: Duration) -> Result<()> {
        let what = format!("`{}` to print \"{text}\"", self.command);
        eventually(&what, limit, || {
            let printed = self.printed();
            if printed.contains(text) { Ok(()) } else { Err(format!("{printed}{}", self.complaints())) }
        })
    }

    /// Waits for its end.
    pub fn finish(mut self, limit: Duration) -> Result<Output> {
        let (started, limit) = (now(), patient(limit));
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if started.elapsed() > limit {
                let text = format!("{}{}", self.printed(), self.complaints());
                bail!("`{}` did not end within {limit:?}; it printed:\n{text}", self.command);
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        self.over = true;
        let (stdout, stderr) = (self.printed(), self.complaints());
        Ok(Output { command: self.command.clone(), status, stdout, stderr, took: self.started.elapsed() })
    }

    /// Sends SIGINT and waits for its end.
    pub fn interrupt(self, limit: Duration) -> Result<Output> {
        self.signal(Signal::SIGINT)?;
        self.finish(limit)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?)
    }

    fn complaints(&self) -> String {
        read_all(&self.stderr).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.over {
            // An error means that it is dead already.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: Command, shown: impl Into<String>, limit: Duration) -> Result<Output> {
    Running::start(command, shown)?.finish(limit)
}

fn memory_file() -> Result<File> {
    Ok(File::from(memfd_create(c"netbed", MFdFlags::MFD_CLOEXEC)?))
}

/// Reads from the start without moving the writer: the offset is shared with it, so a second description is opened.
fn read_all(file: &File) -> Result<String> {
    use std::os::fd::AsRawFd;
    let mut again = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    again.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    again.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_is_kept_apart_from_complaints() {
        let output = run(shell("echo out; echo err >&2; exit 3"), "demo", Duration::from_secs(5)).unwrap();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(output.status.code(), Some(3));
        assert!(output.ok().unwrap_err().to_string().contains("`demo` ended with"));
    }

    #[test]
    fn a_command_that_hangs_is_named_with_what_it_printed() {
        let error = run(shell("echo so far; sleep 60"), "demo", Duration::from_millis(200)).unwrap_err();
        assert!(error.to_string().contains("so far"), "{error}");
    }

    #[test]
    fn output_can_be_read_while_a_command_runs() {
        let mut running = Running::start(shell("echo one; exec sleep 60"), "demo").unwrap();
        running.prints("one", Duration::from_secs(5)).unwrap();
        assert!(running.interrupt(Duration::from_secs(5)).unwrap().stdout.starts_with("one"));
    }
}
