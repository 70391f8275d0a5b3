//! Network namespaces of the agent's own: for the inner end of its probe link, and for what encrypts.
//!
//! Each is kept alive by a bind mount, so that it outlives the agent: links in it stay when the agent is killed.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use netlink_packet_route::address::{AddressHeaderFlags, AddressMessage};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use shoal_ports::KernelError;
use shoal_types::LinkName;

use crate::netlink::Netlink;

/// A network namespace under a name in the file system.
#[derive(Debug)]
pub struct Namespace {
    path: PathBuf,
    file: File,
}

impl Namespace {
    /// Opens the namespace that is mounted at `path`, or makes a new one there. The folder must exist.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn open_or_make(path: &Path) -> Result<Self, KernelError> {
        if let Some(namespace) = Self::open(path) {
            return Ok(namespace);
        }
        let failed = |reason: String| KernelError {
            action: "make network namespace".into(),
            object: path.display().to_string(),
            reason,
        };
        File::create(path).map_err(|error| failed(error.to_string()))?;
        let target = path.to_owned();
        let made = std::thread::spawn(move || -> nix::Result<()> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            mount(Some("/proc/thread-self/ns/net"), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        });
        let made = made.join().map_err(|_| failed("its thread ended".into()))?;
        made.map_err(|error| failed(error.to_string()))?;
        Self::open(path).ok_or_else(|| failed("it is not a network namespace after it was made".into()))
    }

    /// Takes away what keeps a namespace alive: with nobody in it, it ends soon, and its devices with it. Does
    /// nothing if there is none.
    pub(crate) fn remove(path: &Path) -> Result<(), KernelError> {
        let failed = |reason: String| KernelError {
            action: "remove network namespace".into(),
            object: path.display().to_string(),
            reason,
        };
        loop {
            match umount2(path, MntFlags::MNT_DETACH) {
                Ok(()) => {}
                // Nothing is mounted there, any more or at all.
                Err(nix::Error::EINVAL | nix::Error::ENOENT) => break,
                Err(errno) => return Err(failed(errno.desc().into())),
            }
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error.to_string())),
            _ => Ok(()),
        }
    }

    /// The namespace itself. Whoever holds it keeps the namespace alive.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The namespace that is mounted at a path.
    pub(crate) fn open(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        // Entering tells whether the file is a namespace at all: it is a plain one after a reboot.
        let copy = file.try_clone().ok()?;
        let entered = std::thread::spawn(move || setns(copy.as_fd(), CloneFlags::CLONE_NEWNET).is_ok());
        entered.join().ok()?.then(|| Self { path: path.to_owned(), file })
    }

    /// Runs `work` on a thread inside the namespace.
    ///
    /// # Errors
    /// The namespace cannot be entered, or the work's own error.
    pub fn run<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, KernelError> + Send,
    ) -> Result<T, KernelError> {
        let failed = |reason: String| KernelError {
            action: "enter network namespace".into(),
            object: self.path.display().to_string(),
            reason,
        };
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET)
                    .map_err(|error| failed(error.to_string()))?;
                work()
            });
            inside.join().map_err(|_| failed("the thread in it ended".into()))?
        })
    }

    /// Takes a link of the caller's namespace in, gives it an address and sets it up. A link that is in already keeps
    /// its place.
    ///
    /// # Errors
    /// The kernel's reason; the link is nowhere to be found.
    pub fn take_in(&self, link: &LinkName, address: IpAddr, prefix_len: u8) -> Result<(), KernelError> {
        self.fetch(link)?;
        self.run(|| {
            let inside = Netlink::open()?;
            let device = inside.find(link)?.ok_or_else(|| KernelError {
                action: "find link".into(),
                object: link.to_string(),
                reason: "it is in neither namespace".into(),
            })?;
            inside.set_address(&device, address, prefix_len)?;
            inside.set_up_by_index(&device)
        })
    }
}

impl Namespace {
    /// Moves a link here if it is in the caller's namespace. On a thread of its own, because the caller's may drive an
    /// async runtime.
    fn fetch(&self, link: &LinkName) -> Result<(), KernelError> {
        let moved = std::thread::scope(|scope| {
            let outside = scope.spawn(|| {
                let outside = Netlink::open()?;
                match outside.find(link)? {
                    Some(device) => outside.move_to(&device, self.file.as_fd()),
                    None => Ok(()),
                }
            });
            outside.join()
        });
        moved.map_err(|_| KernelError {
            action: "move".into(),
            object: link.to_string(),
            reason: "its thread ended".into(),
        })?
    }
}

/// Marks an address as usable at once: in a network of the agent's own nobody else has it.
pub(crate) fn without_detection(message: &mut AddressMessage) {
    message.header.flags |= AddressHeaderFlags::Nodad;
}
