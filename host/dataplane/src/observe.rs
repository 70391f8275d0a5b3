//! Reading the kernel back in a plan's own terms.

use std::collections::BTreeMap;
use std::net::IpAddr;

use shoal_abi::{LINK_HAS_V4, LINK_HAS_V6, LINK_IN_CLEAR, TUNNEL_MAC};
use shoal_links::{Device, Kind};
use shoal_plan::{EndpointEntry, EndpointKey, Link, LinkSources, Observed, Peer, Tunnel};
use shoal_ports::KernelError;
use shoal_types::{HostId, LinkName, MacAddr, Vni};

use crate::error::refused;
use crate::programs::Program;
use crate::{HostKernel, hooks, tunnel};

/// What stands for the tunnel of a peer that is sent nowhere; no plan has it.
const NO_TUNNEL: &str = "(none)";

impl HostKernel {
    /// Reads back everything that Shoal owns.
    pub(crate) fn observe_all(&self) -> Result<Observed, KernelError> {
        let mut observed = Observed::default();
        let devices = self.links.list()?;
        // What entries of peers should say of each tunnel; `None` if what it is cannot be read.
        let mut flags = BTreeMap::new();
        for device in &devices {
            if matches!(device.kind, Kind::Pair { inner_index: Some(_), .. }) {
                observed.unmoved.insert(device.name.clone());
            }
            let fault = if matches!(device.kind, Kind::Pair { .. }) {
                self.observe_link(device, &mut observed)?
            } else {
                let tunnel = self.tunnels.read(&self.links, device);
                let tunnel = tunnel.unwrap_or_else(|error| Err(error.to_string()));
                flags.insert(device.index, tunnel.as_ref().ok().map(tunnel::flags));
                match tunnel {
                    Ok(tunnel) => self.observe_tunnel(device, tunnel, &mut observed)?,
                    Err(fault) => Some(fault),
                }
            };
            if let Some(fault) = fault {
                observed.broken.insert(device.name.clone(), fault);
            }
        }
        self.read_endpoints(&devices, &mut observed)?;
        self.read_peers(&devices, &flags, &mut observed)?;
        Ok(observed)
    }

    /// Enters a tunnel if it is whole, and its other ends in any case; else says what is wrong with it.
    fn observe_tunnel(
        &self,
        device: &Device,
        tunnel: Tunnel,
        observed: &mut Observed,
    ) -> Result<Option<String>, KernelError> {
        if tunnel.wireguard().is_some() {
            match self.tunnels.peers(&device.name, &tunnel) {
                Ok(peers) => {
                    let ends = peers.into_iter().map(|(key, (peer, _))| ((device.name.clone(), key), peer));
                    observed.plan.wireguard.extend(ends);
                }
                Err(error) => return Ok(Some(error.to_string())),
            }
        }
        if device.mac != TUNNEL_MAC {
            return Ok(Some(format!("hardware address is {} instead of {TUNNEL_MAC}", device.mac)));
        }
        let fault = service_fault(device, self.programs.for_tunnel(Some(&tunnel)))?;
        if fault.is_none() {
            observed.plan.tunnels.insert(device.name.clone(), tunnel);
        }
        Ok(fault)
    }

    /// Enters a link if it is whole; else says what is wrong with it.
    fn observe_link(&self, device: &Device, observed: &mut Observed) -> Result<Option<String>, KernelError> {
        match self.whole_link(device)? {
            Ok(link) => {
                observed.plan.links.insert(device.name.clone(), link);
                Ok(None)
            }
            Err(fault) => Ok(Some(fault)),
        }
    }

    /// A link as its settings say, or what is wrong with it.
    fn whole_link(&self, device: &Device) -> Result<Result<Link, String>, KernelError> {
        let Kind::Pair { inner_name, .. } = &device.kind else {
            return Ok(Err("not a veth pair".to_owned()));
        };
        let Some(settings) = self.maps.links.get(&device.index)? else {
            return Ok(Err("has no settings".to_owned()));
        };
        if self.maps.link_counters.get_per_cpu(&device.index)?.is_empty() {
            return Ok(Err("has no counters".to_owned()));
        }
        if let Some(fault) = service_fault(device, self.programs.for_link())? {
            return Ok(Err(fault));
        }
        if device.mtu != u32::from(settings.mtu) {
            return Ok(Err(format!("MTU is {} instead of {}", device.mtu, settings.mtu)));
        }
        Ok(link_of(inner_name.as_ref(), &settings))
    }

    fn read_endpoints(&self, devices: &[Device], observed: &mut Observed) -> Result<(), KernelError> {
        let names = names(devices);
        for (key, endpoint) in self.maps.endpoints.entries()? {
            let Some(vni) = Vni::new(key.vni) else { continue };
            let key = EndpointKey { vni, address: key.address.into() };
            let host = IpAddr::from(endpoint.peer);
            if endpoint.ifindex == 0 && !host.is_unspecified() {
                observed.plan.endpoints.insert(key, EndpointEntry::Remote(host));
            } else if let Some(&name) = names.get(&endpoint.ifindex) {
                observed.plan.endpoints.insert(key, EndpointEntry::Local(name.clone()));
            } else {
                observed.dangling.push(key);
            }
        }
        observed.dangling.sort();
        Ok(())
    }

    /// An entry that leads to no tunnel of ours, or takes it for one of another kind, is listed as what no plan has: a
    /// peer that nothing reaches. So it is set right if the plan has the peer, and removed if not.
    fn read_peers(
        &self,
        devices: &[Device],
        flags: &BTreeMap<u32, Option<u16>>,
        observed: &mut Observed,
    ) -> Result<(), KernelError> {
        let names = names(devices);
        let no_tunnel: LinkName = NO_TUNNEL.parse().map_err(|error| refused("name", NO_TUNNEL, error))?;
        for (address, entry) in self.maps.peers.entries()? {
            let is_right =
                flags.get(&entry.ifindex).is_some_and(|wanted| wanted.is_none_or(|w| w == entry.flags));
            let (tunnel, mtu) = match names.get(&entry.ifindex).filter(|_| is_right) {
                Some(&name) => (name.clone(), entry.mtu),
                None => (no_tunnel.clone(), 0),
            };
            let peer = Peer { host: HostId::new(entry.host), local: entry.local.into(), tunnel, mtu };
            observed.plan.peers.insert(address.into(), peer);
        }
        Ok(())
    }
}

/// What keeps a device from service: its program, or that it is down.
fn service_fault(device: &Device, program: &Program) -> Result<Option<String>, KernelError> {
    let fault = match hooks::attached(device, program)? {
        None => Some("has no program"),
        Some(id) if id != program.id() => Some("has another program"),
        Some(_) if !device.is_up => Some("is down"),
        Some(_) => None,
    };
    Ok(fault.map(str::to_owned))
}

fn link_of(inner_name: Option<&LinkName>, settings: &shoal_abi::Link) -> Result<Link, String> {
    let inner_name = inner_name.ok_or("its making was interrupted")?.clone();
    let vni = Vni::new(settings.vni).ok_or("its network is beyond 24 bits")?;
    let v4 = match IpAddr::from(settings.v4) {
        IpAddr::V4(v4) if settings.flags & LINK_HAS_V4 != 0 => Some(v4),
        _ => None,
    };
    let v6 = match IpAddr::from(settings.v6) {
        IpAddr::V6(v6) if settings.flags & LINK_HAS_V6 != 0 => Some(v6),
        _ => None,
    };
    let sources = LinkSources { v4, v6 };
    let in_clear = settings.flags & LINK_IN_CLEAR != 0;
    Ok(Link { inner_name, mac: MacAddr::new(settings.mac), mtu: settings.mtu, vni, in_clear, sources })
}

fn names(devices: &[Device]) -> BTreeMap<u32, &LinkName> {
    devices.iter().map(|device| (device.index, &device.name)).collect()
}
