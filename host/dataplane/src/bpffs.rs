//! The folder that keeps maps and programs alive.

use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use shoal_ports::KernelError;

use crate::error::refused;

/// Makes the folder; mounts a bpffs above it if that is none yet.
pub(crate) fn prepare(pin_dir: &Path) -> Result<(), KernelError> {
    let parent = pin_dir.parent().unwrap_or(pin_dir);
    if !is_bpffs(parent)? {
        mount(Some("bpf"), parent, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
            .map_err(|errno| refused("mount a bpffs on", parent.display(), errno.desc()))?;
    }
    make_folder(pin_dir)
}

/// Makes a folder unless it is there.
pub(crate) fn make_folder(path: &Path) -> Result<(), KernelError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(refused("make folder", path.display(), error))
        }
        _ => Ok(()),
    }
}

fn is_bpffs(path: &Path) -> Result<bool, KernelError> {
    let found = statfs(path).map_err(|errno| refused("look at", path.display(), errno.desc()))?;
    Ok(found.filesystem_type() == BPF_FS_MAGIC)
}
