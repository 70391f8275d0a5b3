//! Debian's kernels: found in the archive, fetched, unpacked. They are never installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// A kernel that Debian maintains.
pub(crate) struct Series {
    /// What it is called here.
    pub(crate) name: &'static str,
    /// Where its newest version is listed.
    index: &'static str,
}

/// The oldest kernel that Shoal runs on, and the newest that Debian maintains.
pub(crate) const SERIES: &[Series] = &[
    Series { name: "6.1", index: "dists/bookworm/main/binary-amd64/Packages.xz" },
    Series { name: "6.12", index: "dists/trixie/main/binary-amd64/Packages.xz" },
];

const ARCHIVE: &str = "https://deb.debian.org/debian";

/// An unpacked kernel.
pub(crate) struct Kernel {
    /// As `uname -r` says it.
    pub(crate) version: String,
    /// The folder of this one kernel: `root` is its package, and more may be put beside it.
    pub(crate) folder: PathBuf,
}

impl Kernel {
    /// The kernel of a series that is in the folder, else the newest in the archive.
    pub(crate) fn fetch(series: &Series, folder: &Path) -> Result<Self> {
        let folder = folder.join(series.name);
        if let Ok(kernel) = Self::unpacked(&folder) {
            return Ok(kernel);
        }
        let package = Package::newest(series)?;
        println!("fetching {}", package.file);
        // Under another name until it is whole.
        let partial = folder.with_extension("partial");
        if partial.exists() {
            std::fs::remove_dir_all(&partial)?;
        }
        std::fs::create_dir_all(&partial)?;
        let deb = partial.join("package.deb");
        curl(&package.file, &deb)?;
        run(Command::new("sh")
            .arg("-c")
            .arg("echo \"$0  $1\" | sha256sum --check --status")
            .args([package.sha256.as_ref(), deb.as_os_str()]))
        .context("the package is not what the archive's index says")?;
        run(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(partial.join("root")))?;
        std::fs::remove_file(&deb)?;
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::rename(&partial, &folder)?;
        Self::unpacked(&folder)
    }

    fn unpacked(folder: &Path) -> Result<Self> {
        let boot = folder.join("root/boot");
        for entry in std::fs::read_dir(&boot).with_context(|| format!("no kernel in {}", boot.display()))? {
            if let Some(version) = entry?.file_name().to_str().and_then(|name| name.strip_prefix("vmlinuz-"))
            {
                return Ok(Self { version: version.to_owned(), folder: folder.to_owned() });
            }
        }
        bail!("no kernel in {}", boot.display())
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.folder.join("root/boot").join(format!("vmlinuz-{}", self.version))
    }

    /// The package's modules. Since Debian 13 they are under `/usr`.
    pub(crate) fn modules(&self) -> Result<PathBuf> {
        let folders = ["lib/modules", "usr/lib/modules"].map(|path| self.folder.join("root").join(path));
        let found = folders.into_iter().find(|folder| folder.join(&self.version).exists());
        found.with_context(|| format!("the package of {} has no modules", self.version))
    }
}

struct Package {
    file: String,
    sha256: String,
}

impl Package {
    /// What the package `linux-image-amd64` depends on.
    fn newest(series: &Series) -> Result<Self> {
        let index = Command::new("sh")
            .args(["-c", "curl --fail --silent --show-error --location \"$0\" | xz --decompress"])
            .arg(format!("{ARCHIVE}/{}", series.index))
            .output()
            .context("cannot start sh")?;
        let index = String::from_utf8_lossy(&index.stdout);
        let latest = stanza(&index, "linux-image-amd64").context("the archive's index cannot be read")?;
        let depends = field(latest, "Depends").context("linux-image-amd64 depends on nothing")?;
        let name = depends.split([' ', ',']).next().unwrap_or_default();
        ensure!(name.starts_with(&format!("linux-image-{}.", series.name)), "the archive has {name} instead");
        let stanza = stanza(&index, name).with_context(|| format!("the archive has no {name}"))?;
        let field = |key| field(stanza, key).with_context(|| format!("{name} has no {key}"));
        Ok(Self { file: format!("{ARCHIVE}/{}", field("Filename")?), sha256: field("SHA256")?.to_owned() })
    }
}

/// The part of an index that describes a package.
fn stanza<'a>(index: &'a str, package: &str) -> Option<&'a str> {
    index.split("\n\n").find(|stanza| field(stanza, "Package") == Some(package))
}

fn field<'a>(stanza: &'a str, key: &str) -> Option<&'a str> {
    stanza.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
}

fn curl(from: &str, to: &Path) -> Result<()> {
    run(Command::new("curl")
        .args(["--fail", "--silent", "--show-error", "--location", "--output"])
        .arg(to)
        .arg(from))
}

/// Runs a program that must succeed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    ensure!(status.success(), "{command:?} failed: {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_found_in_an_index() {
        let index = "Package: a\nDepends: b\n\nPackage: linux-image-amd64\nDepends: linux-image-6.1.0-49-amd64 (= 6.1.174-1)\n\n";
        let stanza = stanza(index, "linux-image-amd64").unwrap();
        assert_eq!(field(stanza, "Depends"), Some("linux-image-6.1.0-49-amd64 (= 6.1.174-1)"));
        assert_eq!(super::stanza(index, "linux-image"), None);
    }
}
