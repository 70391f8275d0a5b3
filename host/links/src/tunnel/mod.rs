//! Tunnels: the devices that lead to other hosts, and what encrypts behind them.
//!
//! All three kinds have a device in the host's namespace into which programs redirect packets.
//!
//! - In clear it is a VXLAN device, and that is all.
//! - With the kernel's WireGuard it is a VXLAN device whose socket lies in a namespace of its own. The only other
//!   device there is `wg0`, whose socket in turn lies on the host. Without `wg0`, or without the namespace, there is no
//!   way out.
//! - With WireGuard in user space it is a TAP device, and a process reads from it.

mod engine;
mod genl;
mod kernel;
mod settings;
mod tap;
mod timer;
mod uapi;
mod user;
mod vxlan;
mod wg_netlink;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sched::{CloneFlags, setns};
use shoal_plan::{Backend, Tunnel, WireGuardPeer};
use shoal_ports::{Clock, KernelError, SystemClock, WireGuardStatus};
use shoal_types::{LinkName, MacAddr, WireGuardKey};

use crate::netlink::refused;
use crate::{Device, Kind, Links};
use settings::{Settings, Step, steps};
use user::Children;

/// Parsers of what others say, for whoever tests them with any bytes.
pub mod foreign {
    pub use super::settings::{PeerSettings, Settings};
    pub use super::uapi::{parse as parse_engine_answer, parse_drops as parse_engine_drops};
    pub use super::wg_netlink::parse_datagram as parse_kernel_answer;
}

/// Where tunnels keep what is no device, and how the process of the user-space kind is started.
#[derive(Debug, Clone)]
pub struct TunnelOptions {
    /// Folder of namespaces and control sockets: `<device>.netns`, `<device>.sock`. Made if it is missing.
    pub run_dir: PathBuf,
    /// Command line of the process that encrypts in user space; `--device NAME --address A.B.C.D --control PATH`
    /// follow.
    pub engine: Vec<OsString>,
}

/// The tunnels of the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Tunnels {
    options: TunnelOptions,
    home: File,
    children: Mutex<Children>,
}

impl Tunnels {
    /// Takes the calling thread's network namespace as the host's, and makes the folder.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(options: TunnelOptions) -> Result<Self, KernelError> {
        let object = options.run_dir.display().to_string();
        let failed = |action: &str, error: std::io::Error| refused(action, &object, error.to_string());
        std::fs::create_dir_all(&options.run_dir).map_err(|error| failed("make folder", error))?;
        let home = File::open("/proc/thread-self/ns/net");
        let home = home.map_err(|error| failed("open the network namespace for", error))?;
        Ok(Self { options, home, children: Mutex::default() })
    }

    /// Makes a tunnel, or sets right what is there. A device that it makes is left down. What was made by half,
    /// whenever that was interrupted, is completed. Other ends are kept, unless WireGuard
    /// itself had to be made again.
    ///
    /// # Errors
    /// The kernel's reason, or the engine's.
    pub fn make(
        &self,
        links: &Links,
        name: &LinkName,
        tunnel: &Tunnel,
        mac: MacAddr,
    ) -> Result<Device, KernelError> {
        let backend = tunnel.wireguard().map(|end| end.backend);
        if backend != Some(Backend::Kernel) {
            kernel::remove(&self.namespace(name))?;
        }
        if backend != Some(Backend::UserSpace) {
            user::remove(&self.options, &mut self.children(), name)?;
        }
        match tunnel {
            Tunnel::Clear { port } => {
                vxlan::Wanted { name, mac, port: *port, behind: None, home: &self.home }.make(links)
            }
            Tunnel::Encrypted(end) => match end.backend {
                Backend::Kernel => kernel::make(links, &self.home, &self.namespace(name), name, end, mac),
                Backend::UserSpace => {
                    let children = &mut self.children();
                    user::make(links, &self.home, &self.options, children, name, end, mac)
                }
            },
        }
    }

    /// Reads a tunnel back in the plan's terms, or says in a few words what is wrong with it. Whether its device is up
    /// and has a program is for others to say.
    ///
    /// # Errors
    /// It cannot be read at all.
    pub fn read(&self, links: &Links, device: &Device) -> Result<Result<Tunnel, String>, KernelError> {
        match device.kind {
            Kind::Tap { .. } => user::read(&self.options, &mut self.children(), device),
            Kind::Tunnel { socket_in: None, port, .. } => {
                Ok(vxlan::fault(device).map_or(Ok(Tunnel::Clear { port }), Err))
            }
            Kind::Tunnel { .. } => kernel::read(links, &self.namespace(&device.name), device),
            _ => Ok(Err("is no tunnel".to_owned())),
        }
    }

    /// Removes a tunnel's device, its namespace, its process. Does nothing if there is none.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn remove(&self, links: &Links, name: &LinkName) -> Result<(), KernelError> {
        if let Some(device) = links.find(name)?.filter(|device| device.is_ours) {
            links.remove(&device)?;
        }
        kernel::remove(&self.namespace(name))?;
        user::remove(&self.options, &mut self.children(), name)
    }

    /// The other ends that an encrypted tunnel knows; none in clear. An end whose allowed addresses are not one single
    /// address is listed with address 0.0.0.0.
    ///
    /// # Errors
    /// The tunnel is not there, or the kernel's or the engine's reason.
    pub fn peers(
        &self,
        name: &LinkName,
        tunnel: &Tunnel,
    ) -> Result<BTreeMap<WireGuardKey, (WireGuardPeer, WireGuardStatus)>, KernelError> {
        if tunnel.wireguard().is_none() {
            return Ok(BTreeMap::new());
        }
        let now = SystemClock::start().wall();
        let settings = self.settings(name, tunnel)?;
        Ok(settings.peers.into_iter().map(|(key, peer)| (key, peer.told(now))).collect())
    }

    /// What the process behind a tunnel has dropped since it was started, by the reason that it tells; only reasons
    /// that it counted. Nothing if there is no such process, or it does not answer.
    pub fn drops(&self, name: &LinkName, tunnel: &Tunnel) -> BTreeMap<String, u64> {
        match tunnel.wireguard().map(|end| end.backend) {
            Some(Backend::UserSpace) => user::drops(&self.options, name).unwrap_or_default(),
            Some(Backend::Kernel) | None => BTreeMap::new(),
        }
    }

    /// Makes another end known, or sets it right. Without an endpoint in `peer` the endpoint stays as it is.
    ///
    /// # Errors
    /// The tunnel is in clear or not there, or the kernel's or the engine's reason.
    pub fn set_peer(
        &self,
        name: &LinkName,
        tunnel: &Tunnel,
        key: &WireGuardKey,
        peer: &WireGuardPeer,
    ) -> Result<(), KernelError> {
        let settings = self.settings(name, tunnel)?;
        self.take(name, tunnel, &steps(key, peer, settings.peers.get(key)))
    }

    /// Forgets another end and its session keys. Does nothing if it is not known.
    ///
    /// # Errors
    /// As `set_peer`.
    pub fn remove_peer(
        &self,
        name: &LinkName,
        tunnel: &Tunnel,
        key: &WireGuardKey,
    ) -> Result<(), KernelError> {
        self.take(name, tunnel, &[Step::Remove(*key)])
    }

    /// Whether this kernel has WireGuard, found out by making a device in a namespace that ends at once.
    pub fn kernel_has_wireguard() -> bool {
        kernel::is_there()
    }

    fn settings(&self, name: &LinkName, tunnel: &Tunnel) -> Result<Settings, KernelError> {
        match backend(name, tunnel)? {
            Backend::Kernel => kernel::settings(&self.namespace(name), name),
            Backend::UserSpace => user::settings(&self.options, name),
        }
    }

    fn take(&self, name: &LinkName, tunnel: &Tunnel, steps: &[Step]) -> Result<(), KernelError> {
        match backend(name, tunnel)? {
            Backend::Kernel => kernel::take(&self.namespace(name), name, steps),
            Backend::UserSpace => user::take(&self.options, name, steps),
        }
    }

    fn namespace(&self, name: &LinkName) -> PathBuf {
        self.options.run_dir.join(format!("{name}.netns"))
    }

    fn children(&self) -> MutexGuard<'_, Children> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn backend(name: &LinkName, tunnel: &Tunnel) -> Result<Backend, KernelError> {
    tunnel
        .wireguard()
        .map(|end| end.backend)
        .ok_or_else(|| refused("find another end of", name.as_str(), "it is in clear".to_owned()))
}

/// Runs `work` on a thread in a network namespace.
fn inside<T: Send>(
    namespace: &File,
    work: impl FnOnce() -> Result<T, KernelError> + Send,
) -> Result<T, KernelError> {
    let failed = |reason: &str| refused("enter", "the host's network namespace", reason.to_owned());
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).map_err(|errno| failed(errno.desc()))?;
            work()
        });
        thread.join().map_err(|_| failed("the thread in it ended"))?
    })
}
