//! Reading the kernel back in a plan's own terms.

use std::collections::BTreeMap;
use std::net::IpAddr;

use shoal_abi::{LINK_HAS_V4, LINK_HAS_V6, TUNNEL_MAC};
use shoal_links::{Device, Kind, Links};
use shoal_plan::{EndpointEntry, EndpointKey, Link, LinkSources, Observed, Peer, Tunnel};
use shoal_ports::KernelError;
use shoal_types::{LinkName, MacAddr, Vni};

use crate::apply::FIRST;
use crate::hooks;
use crate::maps::Maps;
use crate::programs::Programs;

/// Reads back everything that Shoal owns.
pub(crate) fn observe(links: &Links, maps: &Maps, programs: &Programs) -> Result<Observed, KernelError> {
    let mut observed = Observed::default();
    let devices = links.list()?;
    for device in &devices {
        let fault = match &device.kind {
            Kind::Tunnel { port, is_external } => {
                let tunnel = Tunnel { name: device.name.clone(), port: *port };
                let fault = tunnel_fault(device, *is_external, maps, programs)?;
                if fault.is_none() {
                    observed.plan.tunnel = Some(tunnel);
                }
                fault
            }
            _ => match whole_link(device, maps, programs)? {
                Ok(link) => {
                    observed.plan.links.insert(device.name.clone(), link);
                    None
                }
                Err(fault) => Some(fault),
            },
        };
        if let Some(fault) = fault {
            observed.broken.insert(device.name.clone(), fault);
        }
    }
    read_endpoints(maps, &devices, &mut observed)?;
    for (address, peer) in maps.peers.entries()? {
        observed.plan.peers.insert(address.into(), Peer { local: peer.local.into(), mtu: peer.mtu });
    }
    Ok(observed)
}

/// What is wrong with the tunnel device, if anything is.
fn tunnel_fault(
    device: &Device,
    is_external: bool,
    maps: &Maps,
    programs: &Programs,
) -> Result<Option<String>, KernelError> {
    if !is_external {
        return Ok(Some("not in collect-metadata mode".to_owned()));
    }
    if device.mac != TUNNEL_MAC {
        return Ok(Some(format!("hardware address is {} instead of {TUNNEL_MAC}", device.mac)));
    }
    if let Some(fault) = service_fault(device, programs)? {
        return Ok(Some(fault));
    }
    let aim = maps.settings.get(&FIRST)?.map_or(0, |settings| settings.tunnel_ifindex);
    Ok((aim != device.index).then(|| format!("programs send to device {aim} instead of {}", device.index)))
}

/// A link as its settings say, or what is wrong with it.
fn whole_link(
    device: &Device,
    maps: &Maps,
    programs: &Programs,
) -> Result<Result<Link, String>, KernelError> {
    let Kind::Pair { inner_name, .. } = &device.kind else {
        return Ok(Err("neither a veth pair nor a tunnel".to_owned()));
    };
    let Some(settings) = maps.links.get(&device.index)? else {
        return Ok(Err("has no settings".to_owned()));
    };
    if maps.link_counters.get_per_cpu(&device.index)?.is_empty() {
        return Ok(Err("has no counters".to_owned()));
    }
    if let Some(fault) = service_fault(device, programs)? {
        return Ok(Err(fault));
    }
    if device.mtu != u32::from(settings.mtu) {
        return Ok(Err(format!("MTU is {} instead of {}", device.mtu, settings.mtu)));
    }
    Ok(link_of(inner_name.as_ref(), &settings))
}

/// What keeps a device from service: its program, or that it is down.
fn service_fault(device: &Device, programs: &Programs) -> Result<Option<String>, KernelError> {
    let program = programs.for_device(device);
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
    Ok(Link { inner_name, mac: MacAddr::new(settings.mac), mtu: settings.mtu, vni, sources })
}

fn read_endpoints(maps: &Maps, devices: &[Device], observed: &mut Observed) -> Result<(), KernelError> {
    let names: BTreeMap<u32, &LinkName> = devices.iter().map(|device| (device.index, &device.name)).collect();
    for (key, endpoint) in maps.endpoints.entries()? {
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
