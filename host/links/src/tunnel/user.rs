//! WireGuard in user space: a TAP device, and a process that reads Ethernet frames from it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::Child;

use rtnetlink::LinkUnspec;
use shoal_plan::{Backend, Tunnel, WireGuard};
use shoal_ports::KernelError;
use shoal_types::{LinkName, MacAddr};

use super::settings::{Settings, Step, clamped};
use super::uapi::{self, Failure};
use super::{TunnelOptions, engine, inside, tap};
use crate::netlink::refused;
use crate::{ALIAS, Device, GROUP, Kind, Links};

/// What VXLAN adds to an IP packet inside a tunnel: IPv4, UDP, VXLAN, Ethernet; bytes.
const VXLAN_HEADERS: u16 = 20 + 8 + 8 + 14;

/// The processes that this agent has started: they must be waited for when they end.
pub(crate) type Children = BTreeMap<LinkName, Child>;

/// Makes a tunnel, or sets it right.
pub(crate) fn make(
    links: &Links,
    home: &File,
    options: &TunnelOptions,
    children: &mut Children,
    name: &LinkName,
    end: &WireGuard,
    mac: MacAddr,
) -> Result<Device, KernelError> {
    let is_new = make_tap(links, home, name)?;
    let device = set_tap(links, name, end, mac)?;
    reap(children);
    // A process that reads from a device of the same name that is gone would never see a frame.
    if is_new || !is_in_service(options, name, end) {
        engine::end(&options.run_dir, name, children);
        let start = || engine::start(&options.engine, &options.run_dir, name, end.address);
        children.insert(name.clone(), inside(home, start)?);
    }
    let settings = ask(options, name, |engine| engine.get())?;
    if settings.secret != Some(clamped(&end.secret)) || settings.port != end.port {
        ask(options, name, |engine| engine.set_own(&end.secret, end.port))?;
    }
    // It does not tell what it has, and to be told twice is nothing to it.
    ask(options, name, |engine| engine.set_mtu(end.mtu))?;
    Ok(device)
}

/// Makes the device if there is none of the right kind; whether it had to.
fn make_tap(links: &Links, home: &File, name: &LinkName) -> Result<bool, KernelError> {
    let mut found = links.find(name)?;
    let whole = Kind::Tap { is_whole: true };
    if let Some(device) = found.take_if(|device| device.is_ours && device.kind != whole) {
        links.remove(&device)?;
    }
    if found.is_some() {
        return Ok(false);
    }
    inside(home, || tap::make(name))?;
    Ok(true)
}

/// Gives the device what cannot be said when it is made. One that lacks the group but is of our kind was made by half.
fn set_tap(links: &Links, name: &LinkName, end: &WireGuard, mac: MacAddr) -> Result<Device, KernelError> {
    let device = links.find(name)?.filter(|device| device.kind == Kind::Tap { is_whole: true });
    let device = device.ok_or_else(|| {
        refused("make tunnel", name.as_str(), "something else has made a device of that name".into())
    })?;
    let mtu = end.mtu.saturating_sub(VXLAN_HEADERS);
    if !device.is_ours || device.mac != mac || device.mtu != u32::from(mtu) {
        let message = LinkUnspec::new_with_index(device.index)
            .link_group(GROUP)
            .address(mac.bytes().to_vec())
            .mtu(mtu.into())
            .arp(false)
            .build();
        links.netlink.set("set right", name, message)?;
    }
    links.finish(name, ALIAS.trim_end())
}

/// Whether a process answers that was started with the tunnel's address.
fn is_in_service(options: &TunnelOptions, name: &LinkName, end: &WireGuard) -> bool {
    let engine = uapi::Engine::connect(&engine::control(&options.run_dir, name));
    engine.is_ok_and(|engine| engine::address(engine.pid) == Some(end.address) && engine.get().is_ok())
}

/// Reads a tunnel back, or says what is wrong with it.
pub(crate) fn read(
    options: &TunnelOptions,
    children: &mut Children,
    device: &Device,
) -> Result<Result<Tunnel, String>, KernelError> {
    reap(children);
    if device.kind != (Kind::Tap { is_whole: true }) {
        return Ok(Err("is a TAP device of another kind".into()));
    }
    let engine = match uapi::Engine::connect(&engine::control(&options.run_dir, &device.name)) {
        Ok(engine) => engine,
        Err(failure) => return Ok(Err(failure.to_string())),
    };
    let address = engine::address(engine.pid);
    let settings = match engine.get() {
        Ok(settings) => settings,
        Err(failure) => return Ok(Err(failure.to_string())),
    };
    let Some((address, secret)) = address.zip(settings.secret) else {
        return Ok(Err("its process has no address or no private key".into()));
    };
    let mtu = u16::try_from(device.mtu).unwrap_or(u16::MAX).saturating_add(VXLAN_HEADERS);
    let end = WireGuard { backend: Backend::UserSpace, secret, address, port: settings.port, mtu };
    Ok(Ok(Tunnel::Encrypted(end)))
}

/// Ends the process and removes what it left.
pub(crate) fn remove(
    options: &TunnelOptions,
    children: &mut Children,
    name: &LinkName,
) -> Result<(), KernelError> {
    engine::end(&options.run_dir, name, children);
    engine::leftovers(&options.run_dir, name).iter().try_for_each(|left| remove_file(left, name))
}

fn remove_file(path: &Path, name: &LinkName) -> Result<(), KernelError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(refused("remove a file of", name.as_str(), format!("{}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

/// Everything that the process says.
pub(crate) fn settings(options: &TunnelOptions, name: &LinkName) -> Result<Settings, KernelError> {
    ask(options, name, |engine| engine.get())
}

/// What the process has dropped, by reason.
pub(crate) fn drops(options: &TunnelOptions, name: &LinkName) -> Result<BTreeMap<String, u64>, KernelError> {
    ask(options, name, |engine| engine.drops())
}

/// Changes the other ends.
pub(crate) fn take(options: &TunnelOptions, name: &LinkName, steps: &[Step]) -> Result<(), KernelError> {
    ask(options, name, |engine| engine.take(steps))
}

fn ask<T>(
    options: &TunnelOptions,
    name: &LinkName,
    question: impl FnOnce(uapi::Engine) -> Result<T, Failure>,
) -> Result<T, KernelError> {
    uapi::Engine::connect(&engine::control(&options.run_dir, name))
        .and_then(question)
        .map_err(|failure| refused("configure", name.as_str(), failure.to_string()))
}

/// Waits for processes that have ended, so that they do not stay as zombies.
fn reap(children: &mut Children) {
    children.retain(|_, child| matches!(child.try_wait(), Ok(None)));
}
