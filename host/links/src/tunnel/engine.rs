//! The process that encrypts in user space: started, found again, ended.
//!
//! It outlives the agent, so whoever needs it finds it by its control socket, or by its command line if it does not
//! listen (yet, or any more).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use shoal_ports::KernelError;
use shoal_types::LinkName;

use super::timer::Timer;
use super::uapi::{Engine, Failure};
use crate::netlink::refused;

/// Longest that a new process may take until it listens.
const START_MAX: Duration = Duration::from_secs(5);

/// How long a process may take to end by itself.
const END_MAX: Duration = Duration::from_secs(2);

const POLL: Duration = Duration::from_millis(5);

/// Where a tunnel's process is configured.
pub(crate) fn control(run_dir: &Path, name: &LinkName) -> PathBuf {
    run_dir.join(format!("{name}.sock"))
}

/// Everything that a process leaves behind: beside its socket it keeps a lock, and the socket has another name until it
/// is open to root only.
pub(crate) fn leftovers(run_dir: &Path, name: &LinkName) -> Vec<PathBuf> {
    let endings = ["sock", "sock.new", "sock.lock", "log"];
    endings.iter().map(|ending| run_dir.join(format!("{name}.{ending}"))).collect()
}

/// What a process says before it ends; written over by the next one.
pub(crate) fn log(run_dir: &Path, name: &LinkName) -> PathBuf {
    run_dir.join(format!("{name}.log"))
}

/// Starts a process in the network namespace of the calling thread and waits until it listens.
///
/// It gets a process group of its own, an empty environment, no file of the agent's, and a file for its last words.
pub(crate) fn start(
    command: &[OsString],
    run_dir: &Path,
    name: &LinkName,
    address: Ipv4Addr,
) -> Result<Child, KernelError> {
    let failed = |reason: String| refused("start the process of", name.as_str(), reason);
    let (control, log) = (control(run_dir, name), log(run_dir, name));
    let (program, arguments) = command.split_first().ok_or_else(|| failed("no command is set".into()))?;
    match std::fs::remove_file(&control) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error.to_string())),
        _ => {}
    }
    let words = File::options().create(true).write(true).truncate(true).mode(0o600).open(&log);
    let words = words.map_err(|error| failed(format!("{}: {error}", log.display())))?;
    let mut child = Command::new(program)
        .args(arguments)
        .args(["--device", name.as_str(), "--address", &address.to_string(), "--control"])
        .arg(&control)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(words)
        .process_group(0)
        .spawn()
        .map_err(|error| failed(format!("{}: {error}", Path::new(program).display())))?;
    let timer = Timer::start();
    loop {
        match Engine::connect(&control) {
            Ok(_) => return Ok(child),
            Err(Failure::Refused(reason)) => return Err(failed(reason)),
            Err(_) => {}
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(failed(format!("it ended ({status}): {}", last_words(&log))));
        }
        if timer.left_of(START_MAX).is_zero() {
            end_process(child.id().cast_signed(), &control);
            let _ = child.wait();
            return Err(failed(format!("it does not listen: {}", last_words(&log))));
        }
        std::thread::sleep(POLL);
    }
}

/// The last lines that a process wrote.
fn last_words(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let last = lines.get(lines.len().saturating_sub(3)..).unwrap_or_default();
    if last.is_empty() { "it said nothing".to_owned() } else { last.join(" / ") }
}

/// Ends every process of a tunnel, also one that was never heard of. Does nothing if there is none.
pub(crate) fn end(run_dir: &Path, name: &LinkName, children: &mut BTreeMap<LinkName, Child>) {
    let control = control(run_dir, name);
    for pid in processes(&control) {
        end_process(pid, &control);
    }
    if let Some(mut child) = children.remove(name) {
        // It is one of those above, or ended earlier. A process loses its command line a moment before it can be waited
        // for, and one that is never waited for stays as a zombie.
        let timer = Timer::start();
        while matches!(child.try_wait(), Ok(None)) && !timer.left_of(END_MAX).is_zero() {
            std::thread::sleep(POLL);
        }
    }
}

/// Asks a process to end, and makes it end if it does not.
fn end_process(pid: i32, control: &Path) {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let timer = Timer::start();
        // The command line is looked at each time: the number may soon be another process's.
        while is_of(pid, control) && !timer.left_of(END_MAX).is_zero() {
            let _ = kill(Pid::from_raw(pid), signal);
            std::thread::sleep(POLL);
        }
    }
}

/// The processes with this control socket in their command line, of this user.
fn processes(control: &Path) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_of(*pid, control)).collect()
}

/// Whether a process is running with this control socket. One that has ended and was not waited for has no command
/// line. The same path in another mount namespace is another host's socket.
fn is_of(pid: i32, control: &Path) -> bool {
    let is_own = std::fs::metadata(format!("/proc/{pid}")).is_ok_and(|its| its.uid() == geteuid().as_raw());
    let mounts = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/mnt")).ok();
    is_own
        && mounts(&pid.to_string()) == mounts("self")
        && argument(pid, "--control").is_some_and(|there| there == control.as_os_str())
}

/// The address in the tunnel that a process was started with.
pub(crate) fn address(pid: i32) -> Option<Ipv4Addr> {
    argument(pid, "--address")?.to_str()?.parse().ok()
}

/// The argument that follows `flag` on a process's command line.
fn argument(pid: i32, flag: &str) -> Option<OsString> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut arguments = line.split(|byte| *byte == 0);
    arguments.find(|argument| *argument == flag.as_bytes())?;
    arguments.next().map(|argument| OsStr::from_bytes(argument).to_owned())
}
