//! Tunnels: the devices that lead to other hosts, and what encrypts behind them.
//!
//! All three kinds have a device in the host's namespace into which programs redirect packets.
//!
//! - In clear it is a VXLAN device, and that is all.
//! - With the kernel's WireGuard it is a VXLAN device whose socket lies in a namespace of its own. The only other device
//!   there is `wg0`, whose socket in turn lies on the host. Without `wg0`, or without the namespace, there is no way out.
//! - With WireGuard in user space it is a TAP device, and a process reads from it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use shoal_plan::{Tunnel, WireGuardPeer};
use shoal_ports::{KernelError, WireGuardStatus};
use shoal_types::{LinkName, MacAddr, WireGuardKey};

use crate::{Device, Links};

/// Where tunnels keep what is no device, and how the process of the user-space kind is started.
#[derive(Debug, Clone)]
pub struct TunnelOptions {
    /// Folder of namespaces and control sockets: `<device>.netns`, `<device>.sock`. Made if it is missing.
    pub run_dir: PathBuf,
    /// Command line of the process that encrypts in user space; `--device NAME --address A.B.C.D --control PATH` follow.
    pub engine: Vec<OsString>,
}

/// The tunnels of the network namespace of the thread that opened it.
pub struct Tunnels {
    options: TunnelOptions,
}

impl Tunnels {
    /// Makes the folder.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(options: TunnelOptions) -> Result<Self, KernelError> {
        std::fs::create_dir_all(&options.run_dir).map_err(|error| KernelError {
            action: "make folder".into(),
            object: options.run_dir.display().to_string(),
            reason: error.to_string(),
        })?;
        Ok(Self { options })
    }

    /// Makes a tunnel, or sets right what is there. A device that it makes is left down. What was made by half, whenever
    /// that was interrupted, is completed.
    ///
    /// # Errors
    /// The kernel's reason, or the engine's.
    pub fn make(
        &self,
        _links: &Links,
        name: &LinkName,
        _tunnel: &Tunnel,
        _mac: MacAddr,
    ) -> Result<Device, KernelError> {
        Err(self.unknown(name))
    }

    /// Reads a tunnel back in the plan's terms, or says in a few words what is wrong with it.
    ///
    /// # Errors
    /// It cannot be read at all.
    pub fn read(&self, _links: &Links, device: &Device) -> Result<Result<Tunnel, String>, KernelError> {
        Err(self.unknown(&device.name))
    }

    /// Removes a tunnel's device, its namespace, its process. Does nothing if there is none.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn remove(&self, _links: &Links, name: &LinkName) -> Result<(), KernelError> {
        Err(self.unknown(name))
    }

    /// The other ends that an encrypted tunnel knows; none in clear. An end whose allowed addresses are not one single
    /// address is listed with address 0.0.0.0.
    ///
    /// # Errors
    /// The tunnel is not there, or the kernel's or the engine's reason.
    pub fn peers(
        &self,
        name: &LinkName,
        _tunnel: &Tunnel,
    ) -> Result<BTreeMap<WireGuardKey, (WireGuardPeer, WireGuardStatus)>, KernelError> {
        Err(self.unknown(name))
    }

    /// Makes another end known, or sets it right. Without an endpoint in `peer` the endpoint stays as it is.
    ///
    /// # Errors
    /// The tunnel is in clear or not there, or the kernel's or the engine's reason.
    pub fn set_peer(
        &self,
        name: &LinkName,
        _tunnel: &Tunnel,
        _key: &WireGuardKey,
        _peer: &WireGuardPeer,
    ) -> Result<(), KernelError> {
        Err(self.unknown(name))
    }

    /// Forgets another end and its session keys. Does nothing if it is not known.
    ///
    /// # Errors
    /// As `set_peer`.
    pub fn remove_peer(
        &self,
        name: &LinkName,
        _tunnel: &Tunnel,
        _key: &WireGuardKey,
    ) -> Result<(), KernelError> {
        Err(self.unknown(name))
    }

    /// Whether this kernel has WireGuard, found out by making a device and removing it.
    pub fn kernel_has_wireguard() -> bool {
        false
    }

    fn unknown(&self, name: &LinkName) -> KernelError {
        KernelError {
            action: "handle tunnel".into(),
            object: name.to_string(),
            reason: format!("nothing is known of it in {}", self.options.run_dir.display()),
        }
    }
}
