//! The kernel's WireGuard in a namespace of its own.
//!
//! ```text
//!     host:       NAME (VXLAN)                            UDP socket of wg0
//!                   |                                           |
//!     NAME.netns: UDP socket of NAME -> 240.0.0.0/4 -> wg0 -----+
//! ```
//!
//! `wg0` is made from the host and put inside by the same call, so its socket stays on the host; the VXLAN device is
//! made from inside and put onto the host, so its socket stays inside. Nothing else is in there.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::Path;

use netlink_packet_route::link::InfoKind;
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkWireguard};
use shoal_plan::{Backend, INNER_VXLAN_PORT, Tunnel, WireGuard};
use shoal_ports::KernelError;
use shoal_types::{LinkName, MacAddr};

use super::settings::{Settings, Step, clamped};
use super::{vxlan, wg_netlink};
use crate::namespace::Namespace;
use crate::netlink::{Netlink, refused};
use crate::{Device, Kind, Links};

/// The WireGuard device inside. Each namespace has its own, so one name does for all.
const WG: &str = "wg0";

/// The addresses of all tunnels' ends.
const ENDS: (Ipv4Addr, u8) = (Ipv4Addr::new(240, 0, 0, 0), 4);

/// What is switched off inside. A new namespace takes IPv4 forwarding from the host, and Docker has it on there.
const OFF: [(&str, &str); 2] =
    [("/proc/sys/net/ipv4/ip_forward", "0"), ("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1")];

/// Makes a tunnel, or sets it right.
pub(crate) fn make(
    links: &Links,
    home: &File,
    path: &Path,
    name: &LinkName,
    end: &WireGuard,
    mac: MacAddr,
) -> Result<Device, KernelError> {
    let namespace = Namespace::open_or_make(path)?;
    prepare(&namespace, name)?;
    if namespace.run(|| find_wg(&Netlink::open()?))?.is_none() {
        add_wg(links, name, &namespace)?;
    }
    namespace.run(|| set_wg(name, end))?;
    let wanted = vxlan::Wanted { name, mac, port: INNER_VXLAN_PORT, behind: Some(&namespace), home };
    wanted.make(links)
}

/// Switches off what could lead out, and on what the kernel's own messages need.
fn prepare(namespace: &Namespace, name: &LinkName) -> Result<(), KernelError> {
    namespace.run(|| {
        for (file, value) in OFF {
            // A kernel without IPv6 has nothing to switch off.
            if Path::new(file).exists() {
                std::fs::write(file, value).map_err(|error| {
                    refused("switch off forwarding behind", name.as_str(), error.to_string())
                })?;
            }
        }
        let inside = Netlink::open()?;
        for device in inside.list()? {
            if device.name.as_str() == "lo" {
                inside.set_up_by_index(&device)?;
            } else if device.kind != Kind::WireGuard && device.is_up {
                inside.set(
                    "set down",
                    &device.name,
                    LinkUnspec::new_with_index(device.index).down().build(),
                )?;
            }
        }
        Ok(())
    })
}

/// The first WireGuard device inside, whatever its name: it has another until it is renamed.
fn find_wg(inside: &Netlink) -> Result<Option<Device>, KernelError> {
    Ok(inside.list()?.into_iter().find(|device| device.kind == Kind::WireGuard))
}

/// Makes the WireGuard device from here into the namespace. It gets no name: older kernels would look for that name
/// here, where a user's own `wg0` may be, and refuse.
fn add_wg(links: &Links, name: &LinkName, namespace: &Namespace) -> Result<(), KernelError> {
    let message = LinkMessageBuilder::<LinkWireguard>::new_with_info_kind(InfoKind::Wireguard)
        .setns_by_fd(namespace.file().as_raw_fd())
        .build();
    links.netlink.add(name, message).map_err(|error| KernelError {
        action: "make the WireGuard device behind".into(),
        reason: if error.reason == nix::Error::EOPNOTSUPP.desc() {
            "this kernel has no WireGuard".into()
        } else {
            error.reason
        },
        ..error
    })
}

/// Sets everything of the WireGuard device, from inside. The key comes before the device is up, so that it never
/// answers as somebody else.
fn set_wg(name: &LinkName, end: &WireGuard) -> Result<(), KernelError> {
    let inside = Netlink::open()?;
    let device = find_wg(&inside)?
        .ok_or_else(|| refused("find the WireGuard device behind", name.as_str(), "it has gone".into()))?;
    if device.name.as_str() != WG {
        let down = LinkUnspec::new_with_index(device.index).down().build();
        inside.set("set down", &device.name, down)?;
        let message = LinkUnspec::new_with_index(device.index).name(WG).build();
        inside.set("name", &device.name, message)?;
    }
    let settings = wg_netlink::get(WG).map_err(|errno| unreadable(name, errno))?;
    if settings.secret != Some(clamped(&end.secret)) || settings.port != end.port {
        wg_netlink::set_own(WG, &end.secret, end.port).map_err(|errno| {
            refused("set key and port of", name.as_str(), port_reason(errno.desc(), end.port))
        })?;
    }
    let message = LinkUnspec::new_with_index(device.index).mtu(end.mtu.into()).up().build();
    inside
        .set("set up WireGuard behind", name, message)
        .map_err(|error| KernelError { reason: port_reason(&error.reason, end.port), ..error })?;
    inside.set_only_address(&device, end.address)?;
    if inside.has_route(&device, ENDS)? { Ok(()) } else { inside.set_route(&device, ENDS) }
}

fn port_reason(reason: &str, port: u16) -> String {
    format!("{reason} (UDP port {port})")
}

fn unreadable(name: &LinkName, errno: nix::Error) -> KernelError {
    refused("read WireGuard behind", name.as_str(), errno.desc().to_owned())
}

/// Reads a tunnel back, or says what is wrong with it.
pub(crate) fn read(
    links: &Links,
    path: &Path,
    device: &Device,
) -> Result<Result<Tunnel, String>, KernelError> {
    if let Some(fault) = vxlan::fault(device) {
        return Ok(Err(fault));
    }
    let Kind::Tunnel { port, socket_in, .. } = device.kind else {
        return Ok(Err("is no VXLAN device".into()));
    };
    if port != INNER_VXLAN_PORT {
        return Ok(Err(format!("UDP port inside is {port} instead of {INNER_VXLAN_PORT}")));
    }
    let Some(namespace) = Namespace::open(path) else {
        return Ok(Err("its namespace is gone".into()));
    };
    let number = links.netlink.number_of(namespace.file())?;
    if number.is_none() || number != socket_in {
        return Ok(Err("its socket is not in its namespace".into()));
    }
    namespace.run(|| read_inside(&device.name))
}

fn read_inside(name: &LinkName) -> Result<Result<Tunnel, String>, KernelError> {
    let inside = Netlink::open()?;
    let devices = inside.list()?;
    for (file, value) in OFF {
        if std::fs::read_to_string(file).is_ok_and(|there| there.trim_end() != value) {
            return Ok(Err(format!("{file} in its namespace is not {value}")));
        }
    }
    let Some(wg) = devices.iter().find(|device| device.kind == Kind::WireGuard && device.name.as_str() == WG)
    else {
        return Ok(Err(format!("{WG} in its namespace is gone")));
    };
    let is_foreign =
        |device: &&Device| device.is_up && device.index != wg.index && device.name.as_str() != "lo";
    if let Some(foreign) = devices.iter().find(is_foreign) {
        return Ok(Err(format!("there is {} in its namespace", foreign.name)));
    }
    if !wg.is_up {
        return Ok(Err(format!("{WG} in its namespace is down")));
    }
    let address = match inside.addresses(wg)?.as_slice() {
        [(address, 32)] => *address,
        others => {
            return Ok(Err(format!("{WG} in its namespace has {} addresses instead of one", others.len())));
        }
    };
    if !inside.has_route(wg, ENDS)? {
        return Ok(Err("the route in its namespace is gone".into()));
    }
    let settings = wg_netlink::get(WG).map_err(|errno| unreadable(name, errno))?;
    let Some(secret) = settings.secret else {
        return Ok(Err(format!("{WG} in its namespace has no private key")));
    };
    let mtu = u16::try_from(wg.mtu).unwrap_or(u16::MAX);
    let end = WireGuard { backend: Backend::Kernel, secret, address, port: settings.port, mtu };
    Ok(Ok(Tunnel::Encrypted(end)))
}

/// Removes the WireGuard device and the namespace. The device goes by a call of its own: its UDP port is free at once.
pub(crate) fn remove(path: &Path) -> Result<(), KernelError> {
    if let Some(namespace) = Namespace::open(path) {
        namespace.run(|| {
            let inside = Netlink::open()?;
            let devices = inside.list()?;
            devices
                .iter()
                .filter(|device| device.kind == Kind::WireGuard)
                .try_for_each(|wg| inside.remove(wg))
        })?;
    }
    Namespace::remove(path)
}

/// Everything that WireGuard behind a tunnel says.
pub(crate) fn settings(path: &Path, name: &LinkName) -> Result<Settings, KernelError> {
    inside(path, name)?.run(|| wg_netlink::get(WG).map_err(|errno| unreadable(name, errno)))
}

/// Changes the other ends.
pub(crate) fn take(path: &Path, name: &LinkName, steps: &[Step]) -> Result<(), KernelError> {
    let set = || {
        wg_netlink::take(WG, steps)
            .map_err(|errno| refused("set another end of", name.as_str(), errno.desc().to_owned()))
    };
    inside(path, name)?.run(set)
}

fn inside(path: &Path, name: &LinkName) -> Result<Namespace, KernelError> {
    Namespace::open(path)
        .ok_or_else(|| refused("find the namespace of", name.as_str(), "it is gone".to_owned()))
}

/// Whether the kernel makes WireGuard devices: one is made in a namespace that ends with its thread.
pub(crate) fn is_there() -> bool {
    let probe = || -> Option<()> {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).ok()?;
        let name: LinkName = WG.parse().ok()?;
        Netlink::open().ok()?.add(&name, LinkWireguard::new(WG).build()).ok()
    };
    std::thread::spawn(probe).join().ok().flatten().is_some()
}
