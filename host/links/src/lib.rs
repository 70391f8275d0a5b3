//! Links: veth pairs and tunnels, through netlink.
//!
//! Devices are made in steps that survive interruption: each one carries Shoal's group from the moment it exists, and
//! it is left down. Whoever makes one attaches a program first and then calls [`Links::set_up`].
//!
//! A [`Links`] speaks to the network namespace of the thread that opened it, from whatever thread it is used later. All
//! calls block, for a fraction of a millisecond each; within an async runtime call them where blocking is allowed.

mod device;
mod inside;
mod namespace;
mod netlink;
mod survey;
mod tunnel;

use netlink_packet_route::link::{InfoData, InfoVeth, LinkAttribute};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth};
use shoal_plan::Link;
use shoal_ports::KernelError;
use shoal_types::{LinkName, MacAddr};

pub use device::{Device, Kind};
pub use namespace::Namespace;
use netlink::Netlink;
pub use survey::{Survey, SurveyedLink, survey};
pub use tunnel::{TunnelOptions, Tunnels, foreign};

/// The device group (`ip link show group`) that marks devices as Shoal's: "shoa" in ASCII. A group is set in the very
/// call that makes a device, which an alias is not.
pub const GROUP: u32 = 0x7368_6f61;

/// What the alias of a pair's host end starts with; the name of the container's end follows.
const ALIAS: &str = "shoal ";

/// Hardware address of the host's end of every pair. Fixed, as udev gives another one to devices that do not say.
/// Nothing is ever sent to it.
const HOST_END_MAC: MacAddr = MacAddr::new([0x02, 0x73, 0x68, 0x6f, 0x61, 0x03]);

/// The devices of one network namespace.
pub struct Links {
    netlink: Netlink,
}

impl Links {
    /// Connects to the calling thread's network namespace.
    pub fn open() -> Result<Self, KernelError> {
        Ok(Self { netlink: Netlink::open()? })
    }

    /// All devices that Shoal made.
    pub fn list(&self) -> Result<Vec<Device>, KernelError> {
        Ok(self.netlink.list()?.into_iter().filter(|device| device.is_ours).collect())
    }

    /// The device with a name, whoever made it.
    pub fn find(&self, name: &LinkName) -> Result<Option<Device>, KernelError> {
        self.netlink.find(name)
    }

    /// Makes a veth pair and leaves both ends down. The host's end takes no part in ARP or IPv6.
    pub fn make_pair(&self, name: &LinkName, link: &Link) -> Result<Device, KernelError> {
        let inner = LinkMessageBuilder::<LinkUnspec>::default()
            .name(link.inner_name.as_str())
            .address(link.mac.bytes().to_vec())
            .mtu(u32::from(link.mtu))
            .build();
        let pair = LinkMessageBuilder::<LinkVeth>::new(name.as_str(), link.inner_name.as_str())
            .set_info_data(InfoData::Veth(InfoVeth::Peer(inner)))
            .address(HOST_END_MAC.bytes().to_vec())
            .mtu(u32::from(link.mtu))
            .link_group(GROUP)
            .arp(false)
            .build();
        self.netlink.add(name, pair).map_err(|error| KernelError {
            reason: format!("{} (is there a device named {} already?)", error.reason, link.inner_name),
            ..error
        })?;
        self.finish(name, &format!("{ALIAS}{}", link.inner_name))
    }

    /// Makes up for what could not be given when a pair was made, if that was interrupted.
    pub fn repair_pair(&self, device: &Device, link: &Link) -> Result<Device, KernelError> {
        self.finish(&device.name, &format!("{ALIAS}{}", link.inner_name))
    }

    /// Sets the MTU of a pair's host end, and of the container's end while it is still here.
    pub fn set_mtu(&self, device: &Device, mtu: u16) -> Result<(), KernelError> {
        let message = |index| LinkUnspec::new_with_index(index).mtu(u32::from(mtu)).build();
        if let Kind::Pair { inner_index: Some(inner), .. } = device.kind {
            self.netlink.set("set MTU of the container's end of", &device.name, message(inner))?;
        }
        self.netlink.set("set MTU of", &device.name, message(device.index))
    }

    /// Sets a device up.
    pub fn set_up(&self, device: &Device) -> Result<(), KernelError> {
        let message = LinkUnspec::new_with_index(device.index).up().build();
        self.netlink.set("set up", &device.name, message)
    }

    /// Sets a device down.
    pub fn set_down(&self, device: &Device) -> Result<(), KernelError> {
        let message = LinkUnspec::new_with_index(device.index).down().build();
        self.netlink.set("set down", &device.name, message)
    }

    /// Removes a device; of a pair, both ends. Does nothing if it is gone.
    pub fn remove(&self, device: &Device) -> Result<(), KernelError> {
        self.netlink.remove(device)
    }

    /// Gives a new device what the kernel takes only afterwards: no IPv6 address of its own, and an alias for people.
    fn finish(&self, name: &LinkName, alias: &str) -> Result<Device, KernelError> {
        let device = self.netlink.find(name)?.ok_or_else(|| KernelError {
            action: "find the new link".to_owned(),
            object: name.to_string(),
            reason: "something else has removed it".to_owned(),
        })?;
        let alias = LinkAttribute::IfAlias(alias.to_owned());
        let message = LinkUnspec::new_with_index(device.index).append_extra_attribute(alias).build();
        self.netlink.set("name the purpose of", name, message)?;
        self.netlink.set_no_ipv6_address(&device)?;
        Ok(self.netlink.find(name)?.unwrap_or(device))
    }
}
