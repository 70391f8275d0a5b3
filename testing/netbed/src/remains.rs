//! What beds leave on a machine, and its removal.
//!
//! A bed owns: processes that carry its name in their environment ([`TAG`]), in their control group (containers) or
//! among their mounts (what the agent starts without an environment), control groups of that name, and one folder.
//! Network devices and mounts live in namespaces that end with the last process. A folder names the bed's owner by
//! process id and start time, so that nothing of a living bed is touched.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::host::Host;
use crate::poll::eventually;

/// Environment variable that every process of a bed carries.
pub(crate) const TAG: &str = "NETBED_NAME";
/// Every bed's name begins so.
const PREFIX: &str = "shoalbed-";
/// Where beds keep their folders, unless `$NETBED_ROOT` says otherwise: on disk, for Docker's data are large.
const ROOT: &str = "/var/tmp/shoal-netbed";

/// A bed's name: `shoalbed-<process id>-<count>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BedName(String);

impl BedName {
    pub(crate) fn new(owner: u32, count: u32) -> Self {
        Self(format!("{PREFIX}{owner}-{count}"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads a name; `None` if the text holds none.
    pub fn read(text: &str) -> Option<Self> {
        bed_in(text)
    }

    fn folder(&self) -> PathBuf {
        root().join(&self.0)
    }
}

impl fmt::Display for BedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes a bed's folder, with its owner recorded before anybody can see it.
pub(crate) fn claim(name: &BedName) -> Result<PathBuf> {
    let own = std::process::id();
    let (folder, unborn) = (name.folder(), root().join(format!("unborn-{own}")));
    fs::create_dir_all(&unborn).with_context(|| format!("cannot make {}", unborn.display()))?;
    fs::write(unborn.join("owner"), format!("{own} {}", start_time(own).unwrap_or_default()))?;
    fs::rename(&unborn, &folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// Removes what beds have left whose owner is dead; a kept bed is left alone.
pub fn sweep() -> Result<()> {
    for name in all_beds() {
        if !is_alive(&name) && !name.folder().join("kept").exists() {
            remove(&name).with_context(|| format!("cannot remove what bed {name} has left"))?;
        }
    }
    Ok(())
}

/// Ends every bed that is kept.
pub fn take_down() -> Result<Vec<BedName>> {
    let kept: Vec<_> = all_beds().into_iter().filter(|name| name.folder().join("kept").exists()).collect();
    for name in &kept {
        remove(name)?;
    }
    Ok(kept)
}

/// The process that holds a host's namespaces, in a bed that is kept.
pub fn kept_host(host: &str) -> Option<u32> {
    let kept = all_beds().into_iter().filter(|name| name.folder().join("kept").exists());
    kept.filter_map(|name| fs::read_to_string(name.folder().join(host).join("pid")).ok()?.parse().ok()).next()
}

/// Everything of beds without a living owner that is still on this machine, one line each. Empty is clean.
pub fn leftovers() -> Vec<String> {
    let dead = all_beds().into_iter().filter(|name| !is_alive(name));
    let mut found: Vec<_> = dead.flat_map(|name| remains_of(&name)).collect();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    found.extend(mounts.lines().filter(|line| line.contains(PREFIX)).map(|line| format!("mount {line}")));
    found
}

/// Everything of one bed that is on this machine, one line each.
pub fn remains_of(name: &BedName) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(processes(name).iter().map(|pid| format!("{name}: process {pid} {}", program(*pid))));
    found.extend(control_groups(name).iter().map(|path| format!("{name}: control group {}", path.display())));
    if name.folder().exists() {
        found.push(format!("{name}: folder {}", name.folder().display()));
    }
    found
}

/// Kills a bed's processes and removes its control groups and its folder.
pub(crate) fn remove(name: &BedName) -> Result<()> {
    eventually(&format!("the processes of {name} to end"), Duration::from_secs(20), || {
        let left = processes(name);
        for pid in &left {
            // An error means that it has just ended.
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })?;
    eventually(&format!("the control groups of {name} to go"), Duration::from_secs(10), || {
        let left = control_groups(name);
        left.iter().for_each(|path| remove_groups(path));
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })?;
    // Docker's data are mounted in namespaces that the kernel takes apart a moment after their last process.
    eventually(
        &format!("the folder of {name} to go"),
        Duration::from_secs(10),
        || match fs::remove_dir_all(name.folder()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    )?;
    // Fails while another bed has its folder there.
    let _ = fs::remove_dir(root());
    Ok(())
}

/// Kills every process of a host but the one that holds its namespaces, and removes its control groups.
pub(crate) fn end_host(host: &Host) -> Result<()> {
    let mounts = |pid| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let (own, group) = (mounts(host.pid().cast_signed()), format!("{}-{}", host.bed(), host.name()));
    let is_of_it = |pid: &i32| {
        // Containers have mounts of their own, and a control group below the host's.
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        mounts(*pid) == own || (!is_zombie(*pid) && names(&groups, &group))
    };
    eventually(&format!("the processes of {} to end", host.name()), Duration::from_secs(20), || {
        let all = processes(host.bed()).into_iter().filter(is_of_it);
        let left: Vec<_> = all.filter(|pid| *pid != host.pid().cast_signed()).collect();
        for pid in &left {
            // An error means that it has just ended.
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })?;
    // Both are dead; their parent has yet to look.
    host.kill_agent()?;
    host.kill_dockerd()?;
    eventually(&format!("the control groups of {} to go", host.name()), Duration::from_secs(10), || {
        let all = control_groups(host.bed()).into_iter();
        let left: Vec<_> = all.filter(|path| names(&path.to_string_lossy(), &group)).collect();
        left.iter().for_each(|path| remove_groups(path));
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
}

/// Whether a path, or a line that ends with one, has a folder of this name.
fn names(text: &str, folder: &str) -> bool {
    text.split(['/', '\n']).any(|part| part == folder)
}

/// Every bed that has a folder, a process or a control group.
fn all_beds() -> BTreeSet<BedName> {
    let folders = entries(&root()).filter_map(|path| bed_in(&path.to_string_lossy()));
    let groups = group_roots()
        .iter()
        .flat_map(|root| entries(root))
        .filter_map(|path| bed_in(&path.to_string_lossy()))
        .collect::<Vec<_>>();
    folders.chain(groups).chain(all_processes().filter_map(bed_of_process)).collect()
}

/// The bed's owner runs still: its process id is in the name, its start time in the folder.
fn is_alive(name: &BedName) -> bool {
    let record = fs::read_to_string(name.folder().join("owner")).unwrap_or_default();
    let Some((pid, started)) = record.split_once(' ') else { return false };
    pid.parse().ok().and_then(start_time).is_some_and(|now| now == started)
}

fn processes(name: &BedName) -> Vec<i32> {
    all_processes().filter(|pid| bed_of_process(*pid).as_ref() == Some(name)).collect()
}

fn all_processes() -> impl Iterator<Item = i32> {
    entries(Path::new("/proc")).filter_map(|path| path.file_name()?.to_str()?.parse().ok())
}

fn bed_of_process(pid: i32) -> Option<BedName> {
    if i64::from(pid) == i64::from(std::process::id()) {
        return None;
    }
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let prefix = format!("{TAG}=");
    let tagged = environment
        .split(|byte| *byte == 0)
        .find_map(|variable| String::from_utf8_lossy(variable).strip_prefix(&prefix).and_then(bed_in));
    tagged.or_else(|| {
        // A dead process keeps its control group until its parent has looked; there is nothing left to kill.
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        if is_zombie(pid) { None } else { bed_in(&groups).or_else(|| bed_mounted(pid)) }
    })
}

/// The bed whose host a process sees as its machine: the source of the file system at `/run`.
fn bed_mounted(pid: i32) -> Option<BedName> {
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok()?;
    let run = mounts.lines().rfind(|line| line.split(' ').nth(4) == Some("/run"))?;
    bed_in(run.split_once(" - ")?.1)
}

/// The bed's name in a text, without a host's name behind it.
fn bed_in(text: &str) -> Option<BedName> {
    let from = text.find(PREFIX)?;
    let mut parts = text[from + PREFIX.len()..].split(|c: char| !c.is_ascii_digit());
    let (owner, count) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(BedName::new(owner, count))
}

fn control_groups(name: &BedName) -> Vec<PathBuf> {
    let ours = |path: &PathBuf| path.is_dir() && bed_in(&path.to_string_lossy()).as_ref() == Some(name);
    group_roots().iter().flat_map(|root| entries(root)).filter(ours).collect()
}

/// Where control groups are mounted: one place, or one per controller with version 1.
fn group_roots() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let groups = mounts.lines().filter(|line| line.contains(" - cgroup"));
    groups.filter_map(|line| line.split(' ').nth(4).map(PathBuf::from)).collect()
}

/// Removes a control group from the leaves up; what is still busy stays for the next look.
fn remove_groups(path: &Path) {
    entries(path).filter(|child| child.is_dir()).for_each(|child| remove_groups(&child));
    let _ = fs::remove_dir(path);
}

/// Field 22 of `/proc/<pid>/stat` (proc(5)): with the process id it names a process for ever.
fn start_time(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19).map(str::to_owned)
}

fn is_zombie(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

fn program(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

fn root() -> PathBuf {
    std::env::var_os("NETBED_ROOT").map_or_else(|| ROOT.into(), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bed_is_found_in_a_path_a_control_group_and_a_variable() {
        let bed = BedName::new(12, 3);
        for text in ["shoalbed-12-3", "/sys/fs/cgroup/memory/shoalbed-12-3-h2", "4:cpu:/shoalbed-12-3-h1/abc"]
        {
            assert_eq!(bed_in(text), Some(bed.clone()), "{text}");
        }
        assert_eq!(bed_in("/docker/abc"), None);
    }

    #[test]
    fn a_process_id_that_is_used_again_is_another_owner() {
        let own = start_time(std::process::id());
        assert!(own.is_some());
        assert_ne!(own, start_time(1));
    }
}
