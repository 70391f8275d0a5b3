//! The only module that knows rtnetlink: its crates change their interfaces several times a year.

use futures_util::TryStreamExt;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoTun, InfoVxlan, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::LinkUnspec;
use rtnetlink::packet_core::Nla;
use shoal_ports::KernelError;
use shoal_types::{LinkName, MacAddr};
use tokio::runtime::Runtime;

use crate::{ALIAS, Device, GROUP, Kind};

/// A netlink socket of one network namespace, and what drives it.
pub(crate) struct Netlink {
    pub(crate) runtime: Runtime,
    pub(crate) handle: rtnetlink::Handle,
}

impl Netlink {
    pub(crate) fn open() -> Result<Self, KernelError> {
        let failed = |error: std::io::Error| refused("open", "netlink socket", error.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
        let handle = {
            let _inside = runtime.enter();
            let (connection, handle, _) = rtnetlink::new_connection().map_err(failed)?;
            runtime.spawn(connection);
            handle
        };
        Ok(Self { runtime, handle })
    }

    /// Every device, whoever made it.
    pub(crate) fn list(&self) -> Result<Vec<Device>, KernelError> {
        let messages = self.handle.link().get().execute().try_collect::<Vec<_>>();
        let messages = self.runtime.block_on(messages).map_err(|e| refused("list", "links", reason(&e)))?;
        Ok(messages.iter().filter_map(device).collect())
    }

    pub(crate) fn find(&self, name: &LinkName) -> Result<Option<Device>, KernelError> {
        let message = async { self.handle.link().get().match_name(name.as_str()).execute().try_next().await };
        match self.runtime.block_on(message) {
            Ok(message) => Ok(message.as_ref().and_then(device)),
            Err(error) if errno(&error) == Some(nix::Error::ENODEV) => Ok(None),
            Err(error) => Err(refused("look up", name.as_str(), reason(&error))),
        }
    }

    pub(crate) fn add(&self, name: &LinkName, message: LinkMessage) -> Result<(), KernelError> {
        self.runtime
            .block_on(self.handle.link().add(message).execute())
            .map_err(|error| refused("make link", name.as_str(), reason(&error)))
    }

    pub(crate) fn set(&self, action: &str, name: &LinkName, message: LinkMessage) -> Result<(), KernelError> {
        self.runtime
            .block_on(self.handle.link().set(message).execute())
            .map_err(|error| refused(action, name.as_str(), reason(&error)))
    }

    /// Keeps IPv6 from making a link-local address once the device is up. A kernel without IPv6 needs no telling.
    pub(crate) fn set_no_ipv6_address(&self, device: &Device) -> Result<(), KernelError> {
        let none = vec![AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)])];
        let message = LinkUnspec::new_with_index(device.index)
            .append_extra_attribute(LinkAttribute::AfSpecUnspec(none))
            .build();
        match self.runtime.block_on(self.handle.link().set(message).execute()) {
            Err(error) if errno(&error) != Some(nix::Error::EAFNOSUPPORT) => {
                Err(refused("keep IPv6 off", device.name.as_str(), reason(&error)))
            }
            _ => Ok(()),
        }
    }

    /// Moves a device into another namespace.
    pub(crate) fn move_to(
        &self,
        device: &Device,
        namespace: std::os::fd::BorrowedFd<'_>,
    ) -> Result<(), KernelError> {
        use std::os::fd::AsRawFd;
        let message = LinkUnspec::new_with_index(device.index).setns_by_fd(namespace.as_raw_fd()).build();
        self.set("move", &device.name, message)
    }

    /// Gives a device an address that is usable at once; one that it has already is no error.
    pub(crate) fn set_address(
        &self,
        device: &Device,
        address: std::net::IpAddr,
        prefix_len: u8,
    ) -> Result<(), KernelError> {
        let mut request = self.handle.address().add(device.index, address, prefix_len).replace();
        crate::namespace::without_detection(request.message_mut());
        self.runtime
            .block_on(request.execute())
            .map_err(|error| refused("set the address of", device.name.as_str(), reason(&error)))
    }

    pub(crate) fn set_up_by_index(&self, device: &Device) -> Result<(), KernelError> {
        self.set("set up", &device.name, LinkUnspec::new_with_index(device.index).up().build())
    }

    pub(crate) fn remove(&self, device: &Device) -> Result<(), KernelError> {
        match self.runtime.block_on(self.handle.link().del(device.index).execute()) {
            Err(error) if errno(&error) != Some(nix::Error::ENODEV) => {
                Err(refused("remove link", device.name.as_str(), reason(&error)))
            }
            _ => Ok(()),
        }
    }
}

/// Reads the kernel's description; `None` if the name is not one that Linux allows today.
fn device(message: &LinkMessage) -> Option<Device> {
    let mut device = Device {
        index: message.header.index,
        name: message.attributes.iter().find_map(name)?,
        is_ours: false,
        kind: kind(&message.attributes),
        mac: MacAddr::new([0; 6]),
        mtu: 0,
        is_up: message.header.flags.contains(LinkFlags::Up),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Group(group) => device.is_ours = *group == GROUP,
            LinkAttribute::Mtu(mtu) => device.mtu = *mtu,
            LinkAttribute::Address(bytes) => {
                device.mac = MacAddr::new(bytes.as_slice().try_into().unwrap_or_default());
            }
            _ => {}
        }
    }
    Some(device)
}

fn name(attribute: &LinkAttribute) -> Option<LinkName> {
    match attribute {
        LinkAttribute::IfName(text) => text.parse().ok(),
        _ => None,
    }
}

fn kind(attributes: &[LinkAttribute]) -> Kind {
    let infos = attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos.as_slice()),
        _ => None,
    });
    let infos = infos.unwrap_or_default();
    if infos.contains(&LinkInfo::Kind(InfoKind::Veth)) {
        return pair(attributes);
    }
    if infos.contains(&LinkInfo::Kind(InfoKind::Wireguard)) {
        return Kind::WireGuard;
    }
    if infos.contains(&LinkInfo::Kind(InfoKind::Tun)) {
        return tap(infos);
    }
    let vxlan = infos.iter().find_map(|info| match info {
        LinkInfo::Data(InfoData::Vxlan(settings)) => Some(settings),
        _ => None,
    });
    vxlan.map_or(Kind::Other, |settings| tunnel(settings, namespace(attributes)))
}

/// Number of the namespace that holds the other half of a device, if that is not this one.
fn namespace(attributes: &[LinkAttribute]) -> Option<i32> {
    attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkNetNsId(id) => Some(*id),
        _ => None,
    })
}

/// A TAP device is whole with these values of `IFLA_TUN_*`, by their numbers in `linux/if_link.h`.
fn tap(infos: &[LinkInfo]) -> Kind {
    const TYPE: (u16, u8) = (3, 2);
    const PI: (u16, u8) = (4, 0);
    const VNET_HDR: (u16, u8) = (5, 1);
    const PERSIST: (u16, u8) = (6, 1);
    const MULTI_QUEUE: (u16, u8) = (7, 1);
    let settings: Vec<(u16, u8)> = infos.iter().flat_map(tun_settings).collect();
    if !settings.contains(&TYPE) {
        return Kind::Other;
    }
    let is_whole = [PI, VNET_HDR, PERSIST, MULTI_QUEUE].iter().all(|wanted| settings.contains(wanted));
    Kind::Tap { is_whole }
}

/// Settings of one byte: number and value.
fn tun_settings(info: &LinkInfo) -> Vec<(u16, u8)> {
    let LinkInfo::Data(InfoData::Tun(settings)) = info else {
        return Vec::new();
    };
    let of_one_byte = settings.iter().filter(|setting| setting.value_len() == 1);
    let read = |setting: &InfoTun| {
        let mut value = [0];
        setting.emit_value(&mut value);
        (setting.kind(), value[0])
    };
    of_one_byte.map(read).collect()
}

fn pair(attributes: &[LinkAttribute]) -> Kind {
    let inner_name = attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfAlias(alias) => alias.strip_prefix(ALIAS)?.parse().ok(),
        _ => None,
    });
    let is_elsewhere = namespace(attributes).is_some();
    let inner_index = attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Link(index) if !is_elsewhere => Some(*index),
        _ => None,
    });
    Kind::Pair { inner_name, inner_index }
}

fn tunnel(settings: &[InfoVxlan], socket_in: Option<i32>) -> Kind {
    let port = settings.iter().find_map(|setting| match setting {
        InfoVxlan::Port(port) => Some(*port),
        _ => None,
    });
    let is_external = settings.contains(&InfoVxlan::CollectMetadata(true));
    Kind::Tunnel { port: port.unwrap_or_default(), is_external, socket_in }
}

pub(crate) fn refused(action: &str, object: &str, reason: String) -> KernelError {
    KernelError { action: action.to_owned(), object: object.to_owned(), reason }
}

pub(crate) fn errno(error: &rtnetlink::Error) -> Option<nix::Error> {
    match error {
        rtnetlink::Error::NetlinkError(message) => Some(nix::Error::from_raw(-message.raw_code())),
        _ => None,
    }
}

/// The kernel's reason in its usual words; netlink's library gives a number.
pub(crate) fn reason(error: &rtnetlink::Error) -> String {
    errno(error).map_or_else(|| error.to_string(), |errno| errno.desc().to_owned())
}
