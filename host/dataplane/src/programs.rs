//! Loading programs, and finding them again.
//!
//! Programs are pinned in a folder named by a hash of the object and the settings it was loaded with:
//!
//! ```text
//! PIN_DIR/maps/NAME
//! PIN_DIR/programs/HASH/from_container, from_clear, from_tunnel, from_engine
//! ```
//!
//! An agent that finds its own hash takes those programs, and the filters that hold them stay as they are.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, MapHandle, ProgramHandle};
use shoal_abi::{OpenShoalSkel, ShoalSkelBuilder};
use shoal_plan::{Backend, Tunnel};
use shoal_ports::KernelError;

use crate::error::refused;
use crate::maps::Maps;
use crate::{Features, bpffs, log};

const FROM_CONTAINER: &str = "from_container";
const FROM_CLEAR: &str = "from_clear";
const FROM_TUNNEL: &str = "from_tunnel";
const FROM_ENGINE: &str = "from_engine";

/// A loaded program.
pub(crate) struct Program {
    handle: ProgramHandle,
}

/// The loaded programs, one per attach point.
pub(crate) struct Programs {
    folder: PathBuf,
    from_container: Program,
    from_clear: Program,
    from_tunnel: Program,
    from_engine: Program,
}

impl Program {
    fn open(path: &Path) -> Result<Self, KernelError> {
        let handle = ProgramHandle::from_pinned_path(path);
        Ok(Self { handle: handle.map_err(|error| refused("open program", path.display(), error))? })
    }

    /// The kernel's number for it.
    pub(crate) fn id(&self) -> u32 {
        self.handle.id()
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl Programs {
    /// Takes up the pinned programs, or loads and pins them, and with them the maps.
    pub(crate) fn open(pin_dir: &Path, features: Features) -> Result<Self, KernelError> {
        let maps = pin_dir.join("maps");
        let folder = pin_dir.join("programs").join(hash(features));
        // Programs hold on to maps whose pins are gone: such are no longer ours to fill.
        if !(folder.is_dir() && Maps::are_all_in(pin_dir)) {
            bpffs::make_folder(&maps)?;
            bpffs::make_folder(&pin_dir.join("programs"))?;
            load(&maps, &folder, features)?;
        }
        Ok(Self {
            from_container: Program::open(&folder.join(FROM_CONTAINER))?,
            from_clear: Program::open(&folder.join(FROM_CLEAR))?,
            from_tunnel: Program::open(&folder.join(FROM_TUNNEL))?,
            from_engine: Program::open(&folder.join(FROM_ENGINE))?,
            folder,
        })
    }

    /// The program for the host's end of a container's link.
    pub(crate) fn for_link(&self) -> &Program {
        &self.from_container
    }

    /// The program for a tunnel's device, which says what kind the tunnel is. `None`: it is not known, so nothing that
    /// comes out of it is taken for encrypted.
    pub(crate) fn for_tunnel(&self, tunnel: Option<&Tunnel>) -> &Program {
        match tunnel.and_then(Tunnel::wireguard).map(|wireguard| wireguard.backend) {
            None => &self.from_clear,
            Some(Backend::Kernel) => &self.from_tunnel,
            Some(Backend::UserSpace) => &self.from_engine,
        }
    }

    /// Removes the pins of other programs: those of earlier agents, and what an interrupted loading has left.
    pub(crate) fn forget_others(&self) -> Result<(), KernelError> {
        let all = self.folder.parent().unwrap_or(&self.folder);
        let failed = |error: std::io::Error| refused("remove earlier programs from", all.display(), error);
        for entry in fs::read_dir(all).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path != self.folder {
                fs::remove_dir_all(&path).map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// Names what is loaded: the object and its settings.
fn hash(features: Features) -> String {
    let mut hasher = DefaultHasher::new();
    (shoal_abi::OBJECT, features.redirect_peer).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Loads the programs and pins them all at once, by renaming their folder.
fn load(maps: &Path, folder: &Path, features: Features) -> Result<(), KernelError> {
    let mut object = MaybeUninit::uninit();
    let mut builder = ShoalSkelBuilder::default();
    let failed = |error: libbpf_rs::Error| refused("load", "programs", format!("{error}: {}", log::end()));
    builder.object_builder_mut().pin_root_path(maps).map_err(failed)?;
    let mut skeleton = builder.open(&mut object).map_err(failed)?;
    if let Some(settings) = skeleton.maps.rodata_data.as_mut() {
        settings.use_redirect_peer = u8::from(features.redirect_peer);
    }
    check_maps(&skeleton, maps)?;
    let mut skeleton = skeleton.load().map_err(failed)?;

    // A name on a bpffs has no dot.
    let unfinished = folder.parent().unwrap_or(folder).join("unfinished");
    let pins = |error: std::io::Error| refused("pin programs in", folder.display(), error);
    for stale in [&unfinished, folder].into_iter().filter(|path| path.exists()) {
        fs::remove_dir_all(stale).map_err(pins)?;
    }
    bpffs::make_folder(&unfinished)?;
    skeleton.progs.from_container.pin(unfinished.join(FROM_CONTAINER)).map_err(failed)?;
    skeleton.progs.from_clear.pin(unfinished.join(FROM_CLEAR)).map_err(failed)?;
    skeleton.progs.from_tunnel.pin(unfinished.join(FROM_TUNNEL)).map_err(failed)?;
    skeleton.progs.from_engine.pin(unfinished.join(FROM_ENGINE)).map_err(failed)?;
    fs::rename(&unfinished, folder).map_err(pins)
}

/// Refuses pinned maps that are not as these programs need them.
fn check_maps(skeleton: &OpenShoalSkel<'_>, folder: &Path) -> Result<(), KernelError> {
    for wanted in skeleton.open_object().maps() {
        let path = folder.join(wanted.name());
        if !path.exists() {
            continue;
        }
        let found =
            MapHandle::from_pinned_path(&path).map_err(|error| refused("open map", path.display(), error))?;
        let has = (found.map_type(), found.key_size(), found.value_size(), found.max_entries());
        let needs = (wanted.map_type(), wanted.key_size(), wanted.value_size(), wanted.max_entries());
        if has != needs {
            let reason = format!(
                "another version made it with another layout (type, key, value, entries: {has:?} instead of \
                 {needs:?}); stop the agent, remove the file, start the agent"
            );
            return Err(refused("use map", path.display(), reason));
        }
    }
    Ok(())
}
