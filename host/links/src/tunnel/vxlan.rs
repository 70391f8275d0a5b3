//! The VXLAN device of a tunnel, in collect-metadata mode: outer addresses and network come with each packet.

use std::fs::File;
use std::os::fd::AsRawFd;

use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVxlan};
use shoal_ports::KernelError;
use shoal_types::{LinkName, MacAddr};

use crate::namespace::Namespace;
use crate::netlink::Netlink;
use crate::{ALIAS, Device, GROUP, Kind, Links};

/// The device's MTU, above that of any underlay: the program knows each path's own.
pub(crate) const MTU: u32 = 65_000;

/// What a VXLAN device of ours is to be.
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a LinkName,
    pub(crate) mac: MacAddr,
    pub(crate) port: u16,
    /// Where its socket lies; `None`: beside the device.
    pub(crate) behind: Option<&'a Namespace>,
    /// The namespace of the device itself.
    pub(crate) home: &'a File,
}

impl Wanted<'_> {
    /// Makes the device, or sets it right. One that cannot be set right is removed first.
    ///
    /// One call makes the device in the namespace of the socket and puts it here: at no moment is there a device here
    /// whose socket lies elsewhere than it should.
    pub(crate) fn make(&self, links: &Links) -> Result<Device, KernelError> {
        let mut found = links.find(self.name)?;
        if found.as_ref().is_some_and(|device| !device.is_ours) {
            return Err(self.refused("something else has made a device of that name"));
        }
        let kind = self.kind(links)?;
        if let Some(device) = found.take_if(|device| device.kind != kind) {
            links.remove(&device)?;
        }
        if found.is_none() {
            self.add(links)?;
        }
        let device = links.finish(self.name, ALIAS.trim_end())?;
        if device.kind != self.kind(links)? {
            return Err(self.refused("it came out as another device than was asked for"));
        }
        if device.mtu != MTU || device.mac != self.mac {
            let message =
                LinkUnspec::new_with_index(device.index).mtu(MTU).address(self.mac.bytes().to_vec()).build();
            links.netlink.set("set right", self.name, message)?;
        }
        Ok(links.find(self.name)?.unwrap_or(device))
    }

    fn add(&self, links: &Links) -> Result<(), KernelError> {
        let message = LinkMessageBuilder::<LinkVxlan>::new(self.name.as_str())
            .collect_metadata(true)
            .learning(false)
            .port(self.port)
            .address(self.mac.bytes().to_vec())
            .mtu(MTU)
            .link_group(GROUP)
            .arp(false);
        let added = match self.behind {
            None => links.netlink.add(self.name, message.build()),
            Some(namespace) => {
                let message = message.setns_by_fd(self.home.as_raw_fd()).build();
                namespace.run(|| Netlink::open()?.add(self.name, message))
            }
        };
        added.map_err(|error| KernelError {
            reason: format!("{} (does another VXLAN device use UDP port {}?)", error.reason, self.port),
            ..error
        })
    }

    /// What the kernel must say of the device.
    fn kind(&self, links: &Links) -> Result<Kind, KernelError> {
        let number = self.behind.map(|namespace| links.netlink.number_of(namespace.file()));
        // A namespace without a number here is not that of any device here; -1 is no number.
        let socket_in = number.transpose()?.map(|number| number.unwrap_or(-1));
        Ok(Kind::Tunnel { port: self.port, is_external: true, socket_in })
    }

    fn refused(&self, reason: &str) -> KernelError {
        KernelError { action: "make tunnel".into(), object: self.name.to_string(), reason: reason.into() }
    }
}

/// What is wrong with a VXLAN device whatever it belongs to.
pub(crate) fn fault(device: &Device) -> Option<String> {
    let Kind::Tunnel { is_external, .. } = device.kind else {
        return Some("is no VXLAN device".to_owned());
    };
    if !is_external {
        return Some("not in collect-metadata mode".to_owned());
    }
    (device.mtu != MTU).then(|| format!("MTU is {} instead of {MTU}", device.mtu))
}
