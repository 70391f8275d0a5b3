//! One change at a time, each of them idempotent.

use std::net::IpAddr;

use shoal_abi::{LINK_HAS_V4, LINK_HAS_V6, LINK_IN_CLEAR, Plain};
use shoal_links::{Device, Kind};
use shoal_plan::{Change, EndpointEntry, EndpointKey, Link, LinkSources};
use shoal_ports::KernelError;
use shoal_types::LinkName;

use crate::error::refused;
use crate::programs::Program;
use crate::tunnel::Ways;
use crate::{HostKernel, hooks};

impl HostKernel {
    /// `ways` remembers tunnels for the length of one series of changes.
    pub(crate) fn apply_one(&self, ways: &mut Ways, change: &Change) -> Result<(), KernelError> {
        match change {
            Change::SetTunnel(name, tunnel) => self.set_tunnel(ways, name, tunnel),
            Change::RemoveTunnel(name) => self.remove_tunnel(ways, name),
            Change::SetWireGuardPeer(name, key, peer) => self.set_wireguard_peer(ways, name, key, peer),
            Change::RemoveWireGuardPeer(name, key) => self.remove_wireguard_peer(ways, name, key),
            Change::SetLink(name, link) => self.set_link(name, link),
            Change::RemoveLink(name) => self.remove_link(ways, name),
            Change::SetEndpoint(key, entry) => self.set_endpoint(*key, entry),
            Change::RemoveEndpoint(key) => self.maps.endpoints.remove(&kernel_key(*key)),
            Change::SetPeer(address, peer) => self.set_peer(ways, *address, peer),
            Change::RemovePeer(address) => self.maps.peers.remove(&(*address).into()),
        }
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
        self.bring_into_service(&device, self.programs.for_link())
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

    /// Gives a device its program, and only then sets it up.
    pub(crate) fn bring_into_service(&self, device: &Device, program: &Program) -> Result<(), KernelError> {
        if hooks::attached(device, program)? != Some(program.id()) {
            hooks::attach(device, program)?;
        }
        if device.is_up { Ok(()) } else { self.links.set_up(device) }
    }

    /// The device goes first, so that no packet finds its settings missing. What is broken may turn out to be a tunnel:
    /// its name alone does not tell.
    fn remove_link(&self, ways: &mut Ways, name: &LinkName) -> Result<(), KernelError> {
        match self.find_ours(name)? {
            Some(device) if !matches!(device.kind, Kind::Pair { .. }) => self.remove_tunnel(ways, name),
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

    /// The device with a name, which must be Shoal's if there is one.
    pub(crate) fn find_ours(&self, name: &LinkName) -> Result<Option<Device>, KernelError> {
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

fn kernel_link(link: &Link) -> shoal_abi::Link {
    let LinkSources { v4, v6 } = link.sources;
    let mut settings =
        shoal_abi::Link { vni: link.vni.get(), mac: *link.mac.bytes(), mtu: link.mtu, ..Default::default() };
    if link.in_clear {
        settings.flags |= LINK_IN_CLEAR;
    }
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
