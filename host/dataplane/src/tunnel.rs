//! Changes to tunnels, to the other ends of encrypted ones, and to where peers are sent.
//!
//! Whether a device is in clear is decided once: when it gets its program. A peer's entry takes it over from there, and
//! a device that is not in service with the program for what it is gets no peers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use shoal_abi::{PEER_FRAMED, PEER_IN_CLEAR, TUNNEL_MAC};
use shoal_links::Device;
use shoal_plan::{Backend, Peer, Tunnel, WireGuardPeer};
use shoal_ports::KernelError;
use shoal_types::{LinkName, WireGuardKey};

use crate::error::refused;
use crate::{HostKernel, hooks};

/// Tunnels as found once, by name, so that a thousand peers do not ask a thousand times.
pub(crate) type Ways = BTreeMap<LinkName, Way>;

/// A tunnel in service.
pub(crate) struct Way {
    device: Device,
    tunnel: Tunnel,
}

impl HostKernel {
    /// The device is made, gets its program, and comes up; whatever leads to it is set afterwards.
    pub(crate) fn set_tunnel(
        &self,
        ways: &mut Ways,
        name: &LinkName,
        tunnel: &Tunnel,
    ) -> Result<(), KernelError> {
        ways.remove(name);
        let device = self.tunnels.make(&self.links, name, tunnel, TUNNEL_MAC)?;
        self.check_kind(&device, tunnel)?;
        self.bring_into_service(&device, self.programs.for_tunnel(Some(tunnel))).map_err(|error| {
            KernelError { reason: format!("{} (UDP port {})", error.reason, port(tunnel)), ..error }
        })
    }

    /// Nothing that was made as one kind of tunnel ever gets the program of another.
    fn check_kind(&self, device: &Device, wanted: &Tunnel) -> Result<(), KernelError> {
        let reason = match self.tunnels.read(&self.links, device)? {
            Ok(there) if flags(&there) == flags(wanted) => return Ok(()),
            Ok(_) => "it turned out to be a tunnel of another kind".to_owned(),
            Err(fault) => fault,
        };
        Err(refused("put tunnel into service", &device.name, reason))
    }

    /// What leads to it goes first.
    pub(crate) fn remove_tunnel(&self, ways: &mut Ways, name: &LinkName) -> Result<(), KernelError> {
        ways.remove(name);
        if let Some(device) = self.links.find(name)?.filter(|device| device.is_ours) {
            let entries = self.maps.peers.entries()?;
            let through = entries.iter().filter(|(_, peer)| peer.ifindex == device.index);
            through.into_iter().try_for_each(|(address, _)| self.maps.peers.remove(address))?;
        }
        self.tunnels.remove(&self.links, name)
    }

    pub(crate) fn set_wireguard_peer(
        &self,
        ways: &mut Ways,
        name: &LinkName,
        key: &WireGuardKey,
        peer: &WireGuardPeer,
    ) -> Result<(), KernelError> {
        let way = self.way(ways, name)?;
        self.tunnels.set_peer(name, &way.tunnel, key, peer)
    }

    /// A tunnel that is gone has forgotten all others already.
    pub(crate) fn remove_wireguard_peer(
        &self,
        ways: &mut Ways,
        name: &LinkName,
        key: &WireGuardKey,
    ) -> Result<(), KernelError> {
        if self.find_ours(name)?.is_none() {
            return Ok(());
        }
        let way = self.way(ways, name)?;
        self.tunnels.remove_peer(name, &way.tunnel, key)
    }

    pub(crate) fn set_peer(&self, ways: &mut Ways, address: IpAddr, peer: &Peer) -> Result<(), KernelError> {
        if address.is_ipv4() != peer.local.is_ipv4() {
            return Err(refused("send to host", address, format!("{} is of the other family", peer.local)));
        }
        let way = self.way(ways, &peer.tunnel)?;
        let flags = flags(&way.tunnel);
        if flags & PEER_IN_CLEAR == 0 && address.is_ipv6() {
            return Err(refused("send to host", address, "addresses in encrypted tunnels are of IPv4"));
        }
        let entry = shoal_abi::Peer {
            local: peer.local.into(),
            ifindex: way.device.index,
            mtu: peer.mtu,
            flags,
            host: *peer.host.bytes(),
        };
        self.maps.peers.set(&address.into(), &entry)
    }

    /// A tunnel with the program that belongs to what it is.
    fn way<'a>(&self, ways: &'a mut Ways, name: &LinkName) -> Result<&'a Way, KernelError> {
        if !ways.contains_key(name) {
            ways.insert(name.clone(), self.find_way(name)?);
        }
        ways.get(name).ok_or_else(|| refused("use tunnel", name, "there is no such tunnel"))
    }

    fn find_way(&self, name: &LinkName) -> Result<Way, KernelError> {
        let refused = |reason: &str| refused("use tunnel", name, reason);
        let device = self.find_ours(name)?.ok_or_else(|| refused("there is no such tunnel"))?;
        let tunnel = self.tunnels.read(&self.links, &device)?.map_err(|fault| refused(&fault))?;
        let program = self.programs.for_tunnel(Some(&tunnel));
        if hooks::attached(&device, program)? != Some(program.id()) {
            return Err(refused("it does not have its program"));
        }
        Ok(Way { device, tunnel })
    }
}

/// What entries of peers that a tunnel leads to say of it.
pub(crate) fn flags(tunnel: &Tunnel) -> u16 {
    match tunnel.wireguard().map(|wireguard| wireguard.backend) {
        None => PEER_IN_CLEAR,
        Some(Backend::Kernel) => 0,
        Some(Backend::UserSpace) => PEER_FRAMED,
    }
}

/// The UDP port on the underlay.
fn port(tunnel: &Tunnel) -> u16 {
    match tunnel {
        Tunnel::Clear { port } => *port,
        Tunnel::Encrypted(wireguard) => wireguard.port,
    }
}
