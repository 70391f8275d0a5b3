//! Debian packages unpacked into an image, without being installed on this machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::tool;
use crate::capture::run;

/// Downloads `packages` and what they need into `cache`, and unpacks them under `stage`. Their installation scripts
/// are not run: an image gets what those would have made by itself.
pub(super) fn unpack(packages: &[String], without: &[String], stage: &Path, cache: &Path) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    fs::create_dir_all(cache)?;
    let gather = || -> Result<BTreeSet<String>> {
        let wanted = closure(packages, without)?;
        download(&wanted, cache)?;
        Ok(wanted)
    };
    let wanted = gather().or_else(|_| {
        // No package lists, or lists of packages that the archive has replaced since.
        tool("apt-get", &["-q", "-o", "Acquire::Retries=3", "update"])?;
        gather()
    })?;
    for package in &wanted {
        let archive = find(package, cache).with_context(|| format!("{package} was not downloaded"))?;
        // Nobody reads manuals in there.
        let script = "dpkg-deb --fsys-tarfile \"$0\" | tar -C \"$1\" -x --keep-directory-symlink \
                      --exclude=./usr/share/{doc,man,locale,info,lintian}";
        let (archive, stage) = (archive.display().to_string(), stage.display().to_string());
        tool("bash", &["-euo", "pipefail", "-c", script, &archive, &stage])?;
    }
    Ok(())
}

/// The packages and everything they depend on, level by level.
fn closure(packages: &[String], without: &[String]) -> Result<BTreeSet<String>> {
    let mut known: BTreeSet<String> = packages.iter().cloned().collect();
    let mut fresh: Vec<String> = packages.to_vec();
    while !fresh.is_empty() {
        let mut words = vec!["depends", "--important"];
        words.extend(fresh.iter().map(String::as_str));
        let needed = dependencies(&tool("apt-cache", &words)?);
        let wanted = |name: &String| !without.iter().any(|prefix| name.starts_with(prefix.as_str()));
        fresh = needed.into_iter().filter(wanted).filter(|name| known.insert(name.clone())).collect();
    }
    Ok(known)
}

/// Reads `apt-cache depends`: of alternatives (marked `|`) the first counts, of a virtual package the first provider.
fn dependencies(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut alternatives, mut provider) = (false, false);
    for line in text.lines() {
        let chosen = !alternatives;
        if let Some((kind, name)) = line.split_once("epends: ") {
            alternatives = kind.trim_start().starts_with('|');
            provider = chosen && name.starts_with('<');
            if chosen && !provider {
                found.push(name.trim().to_owned());
            }
        } else if provider && line.starts_with("    ") {
            found.push(line.trim().to_owned());
            provider = false;
        }
    }
    // "libc6:i386" and the like belong to other machines.
    found.retain(|name| !name.contains(':'));
    found
}

fn download(packages: &BTreeSet<String>, cache: &Path) -> Result<()> {
    let missing: Vec<_> = packages.iter().filter(|name| find(name, cache).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut command = Command::new("apt-get");
    // Root's own right to write: the usual download user may not write into a build folder.
    command.args(["-q", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3", "download"]);
    command.args(missing).current_dir(cache);
    run(command, "apt-get download", Duration::from_secs(600))?.ok().map(drop)
}

/// A downloaded archive: `<name>_<version>_<architecture>.deb`.
fn find(package: &str, cache: &Path) -> Option<std::path::PathBuf> {
    let prefix = format!("{package}_");
    let names = fs::read_dir(cache).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    names.into_iter().find(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
            && path.extension().is_some_and(|extension| extension == "deb")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_alternatives_the_first_is_taken_and_of_a_virtual_package_the_first_provider() {
        let text = "redis-server\n  Depends: lsb-base\n |Depends: first\n  Depends: second\n  PreDepends: <virtual>\n    real\n    other\n  Depends: last\n";
        assert_eq!(dependencies(text), ["lsb-base", "first", "real", "last"]);
    }
}
