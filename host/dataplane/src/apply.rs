//! One change at a time, each of them idempotent.

use std::net::IpAddr;

use shoal_abi::{LINK_HAS_V4, LINK_HAS_V6, Plain, TUNNEL_MAC};
use shoal_links::{Device, Kind};
use shoal_plan::{Change, EndpointEntry, EndpointKey, Link, LinkSources, Peer, Tunnel};
use shoal_ports::KernelError;
use shoal_types::LinkName;

use crate::error::refused;
use crate::{HostKernel, hooks};

/// The only key of the settings map.
pub(crate) const FIRST: u32 = 0;

impl HostKernel {
    pub(crate) fn apply_one(&self, change: &Change) -> Result<(), KernelError> {
        match change {
            Change::SetTunnel(tunnel) => self.set_tunnel(tunnel),
            Change::RemoveTunnel(name) => self.remove_tunnel(name),
            Change::SetLink(name, link) => self.set_link(name, link),
            Change::RemoveLink(name) => self.remove_link(name),
            Change::SetEndpoint(key, entry) => self.set_endpoint(*key, entry),
            Change::RemoveEndpoint(key) => self.maps.endpoints.remove(&kernel_key(*key)),
            Change::SetPeer(address, peer) => self.set_peer(*address, peer),
            Change::RemovePeer(address) => self.maps.peers.remove(&(*address).into()),
        }
    }

    /// The device is made, gets its program, comes up, and only then do programs send to it.
    fn set_tunnel(&self, tunnel: &Tunnel) -> Result<(), KernelError> {
        let wanted = Kind::Tunnel { port: tunnel.port, is_external: true };
        let mut found = self.find_ours(&tunnel.name)?;
        if let Some(device) = found.take_if(|device| device.kind != wanted || device.mac != TUNNEL_MAC) {
            self.links.remove(&device)?;
        }
        let device = match found {
            Some(device) => device,
            None => self.links.make_tunnel(tunnel, TUNNEL_MAC)?,
        };
        self.bring_into_service(&device).map_err(|error| KernelError {
            reason: format!("{} (UDP port {})", error.reason, tunnel.port),
            ..error
        })?;
        self.aim_at_tunnel(device.index)
    }

    /// Programs that send to another tunnel already go on doing so.
    fn remove_tunnel(&self, name: &LinkName) -> Result<(), KernelError> {
        let aim = self.maps.settings.get(&FIRST)?.map_or(0, |settings| settings.tunnel_ifindex);
        let is_other = |device: &Device| device.index == aim && device.name != *name;
        if aim != 0 && !self.links.list()?.iter().any(is_other) {
            self.aim_at_tunnel(0)?;
        }
        self.find_ours(name)?.map_or(Ok(()), |device| self.links.remove(&device))
    }

    fn aim_at_tunnel(&self, ifindex: u32) -> Result<(), KernelError> {
        self.maps.settings.set(&FIRST, &shoal_abi::Settings { tunnel_ifindex: ifindex })
    }

    /// The pair is made and left down; settings, program, and up, in this order.
    fn set_link(&self, name: &LinkName, link: &Link) -> Result<(), KernelError> {
        let device = match self.find_ours(name)? {
            Some(device) => self.set_pair_right(device, link)?,
            None => {
                self.sweep_links()?;
                self.links.make_pair(name, link)?
            }
        };
        let settings = kernel_link(link);
        let current = self.maps.links.get(&device.index)?;
        if current.map(|current| current.to_bytes()) != Some(settings.to_bytes()) {
            self.maps.links.set(&device.index, &settings)?;
        }
        self.maps.link_counters.make_per_cpu(&device.index, &shoal_abi::LinkCounters::default())?;
        self.bring_into_service(&device)
    }

    fn set_pair_right(&self, device: Device, link: &Link) -> Result<Device, KernelError> {
        let Kind::Pair { inner_name, .. } = &device.kind else {
            return Err(refused("make link", &device.name, "a device that is no veth pair has this name"));
        };
        if device.mtu != u32::from(link.mtu) {
            self.links.set_mtu(&device, link.mtu)?;
        }
        if inner_name.as_ref() == Some(&link.inner_name) {
            return Ok(device);
        }
        self.links.repair_pair(&device, link)
    }

    fn bring_into_service(&self, device: &Device) -> Result<(), KernelError> {
        let program = self.programs.for_device(device);
        if hooks::attached(device, program)? != Some(program.id()) {
            hooks::attach(device, program)?;
        }
        if device.is_up { Ok(()) } else { self.links.set_up(device) }
    }

    /// The device goes first, so that no packet finds its settings missing.
    fn remove_link(&self, name: &LinkName) -> Result<(), KernelError> {
        match self.find_ours(name)? {
            Some(device) => {
                self.links.remove(&device)?;
                self.forget(device.index)
            }
            None => self.sweep_links(),
        }
    }

    fn set_endpoint(&self, key: EndpointKey, entry: &EndpointEntry) -> Result<(), KernelError> {
        let value = match entry {
            EndpointEntry::Local(name) => {
                let device = self.find_ours(name)?;
                let device = device.ok_or_else(|| refused("send to", name, "there is no such link"))?;
                shoal_abi::Endpoint { ifindex: device.index, ..Default::default() }
            }
            EndpointEntry::Remote(host) => shoal_abi::Endpoint { ifindex: 0, peer: (*host).into() },
        };
        self.maps.endpoints.set(&kernel_key(key), &value)
    }

    fn set_peer(&self, address: IpAddr, peer: &Peer) -> Result<(), KernelError> {
        if address.is_ipv4() != peer.local.is_ipv4() {
            return Err(refused("send to host", address, format!("{} is of the other family", peer.local)));
        }
        self.maps.peers.set(&address.into(), &kernel_peer(peer))
    }

    /// The device with a name, which must be Shoal's if there is one.
    fn find_ours(&self, name: &LinkName) -> Result<Option<Device>, KernelError> {
        let found = self.links.find(name)?;
        if found.as_ref().is_some_and(|device| !device.is_ours) {
            return Err(refused("use link", name, "a device of this name exists and was not made by Shoal"));
        }
        Ok(found)
    }
}

fn kernel_key(key: EndpointKey) -> shoal_abi::EndpointKey {
    shoal_abi::EndpointKey { vni: key.vni.get(), address: key.address.into() }
}

fn kernel_peer(peer: &Peer) -> shoal_abi::Peer {
    shoal_abi::Peer { local: peer.local.into(), mtu: peer.mtu, pad: 0 }
}

fn kernel_link(link: &Link) -> shoal_abi::Link {
    let LinkSources { v4, v6 } = link.sources;
    let mut settings =
        shoal_abi::Link { vni: link.vni.get(), mac: *link.mac.bytes(), mtu: link.mtu, ..Default::default() };
    if let Some(v4) = v4 {
        settings.flags |= LINK_HAS_V4;
        settings.v4 = IpAddr::V4(v4).into();
    }
    if let Some(v6) = v6 {
        settings.flags |= LINK_HAS_V6;
        settings.v6 = IpAddr::V6(v6).into();
    }
    settings
}
