//! What netlink does for the namespace behind an encrypted tunnel: addresses, routes, and the numbers by which
//! namespaces call each other.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;

use futures_util::{StreamExt, TryStreamExt};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use shoal_ports::KernelError;

use crate::Device;
use crate::netlink::{Netlink, reason, refused};

impl Netlink {
    /// The IPv4 addresses of a device with their prefix lengths.
    pub(crate) fn addresses(&self, device: &Device) -> Result<Vec<(Ipv4Addr, u8)>, KernelError> {
        let messages = self.address_messages(device)?;
        Ok(messages.iter().filter_map(|message| Some((v4_of(message)?, message.header.prefix_len))).collect())
    }

    /// Gives a device one IPv4 address and takes all others away.
    pub(crate) fn set_only_address(&self, device: &Device, address: Ipv4Addr) -> Result<(), KernelError> {
        for message in self.address_messages(device)? {
            if (v4_of(&message), message.header.prefix_len) == (Some(address), 32) {
                continue;
            }
            let removed = self.runtime.block_on(self.handle.address().del(message).execute());
            removed.map_err(|error| {
                refused("take a foreign address from", device.name.as_str(), reason(&error))
            })?;
        }
        self.set_address(device, IpAddr::V4(address), 32)
    }

    fn address_messages(&self, device: &Device) -> Result<Vec<AddressMessage>, KernelError> {
        let request = self.handle.address().get().set_link_index_filter(device.index).execute();
        let messages: Vec<AddressMessage> = self
            .runtime
            .block_on(request.try_collect())
            .map_err(|error| refused("read the addresses of", device.name.as_str(), reason(&error)))?;
        Ok(messages.into_iter().filter(|message| v4_of(message).is_some()).collect())
    }

    /// Whether IPv4 packets to a prefix leave by a device.
    pub(crate) fn has_route(&self, device: &Device, prefix: (Ipv4Addr, u8)) -> Result<bool, KernelError> {
        let all = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let messages: Vec<RouteMessage> = self
            .runtime
            .block_on(self.handle.route().get(all).execute().try_collect())
            .map_err(|error| refused("read the routes of", device.name.as_str(), reason(&error)))?;
        Ok(messages.iter().any(|message| {
            let leads = |attribute: &RouteAttribute| match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(address)) => *address == prefix.0,
                _ => false,
            };
            message.header.kind == RouteType::Unicast
                && message.header.destination_prefix_length == prefix.1
                && message.attributes.iter().any(leads)
                && message.attributes.contains(&RouteAttribute::Oif(device.index))
        }))
    }

    /// Makes IPv4 packets to a prefix leave by a device.
    pub(crate) fn set_route(&self, device: &Device, prefix: (Ipv4Addr, u8)) -> Result<(), KernelError> {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(prefix.0, prefix.1)
            .output_interface(device.index)
            .build();
        self.runtime
            .block_on(self.handle.route().add(route).replace().execute())
            .map_err(|error| refused("set the route through", device.name.as_str(), reason(&error)))
    }

    /// This namespace's number for another one; `None` if it has none yet.
    pub(crate) fn number_of(&self, namespace: &File) -> Result<Option<i32>, KernelError> {
        let fd = u32::try_from(namespace.as_raw_fd()).unwrap_or_default();
        let mut question = NsidMessage::default();
        question.attributes.push(NsidAttribute::Fd(fd));
        let mut message = NetlinkMessage::from(RouteNetlinkMessage::GetNsId(question));
        message.header.flags = NLM_F_REQUEST;
        let failed = |text: String| refused("ask for the number of", "a network namespace", text);
        let mut handle = self.handle.clone();
        let answers = handle.request(message).map_err(|error| failed(reason(&error)))?;
        let answers: Vec<_> = self.runtime.block_on(answers.collect());
        for answer in answers {
            match answer.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(told)) => {
                    return Ok(told.attributes.iter().find_map(|attribute| match attribute {
                        NsidAttribute::Id(number) if *number >= 0 => Some(*number),
                        _ => None,
                    }));
                }
                NetlinkPayload::Error(error) => {
                    return Err(failed(nix::Error::from_raw(-error.raw_code()).desc().to_owned()));
                }
                _ => {}
            }
        }
        Err(failed("no answer".to_owned()))
    }
}

fn v4_of(message: &AddressMessage) -> Option<Ipv4Addr> {
    let of = |local: bool| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(IpAddr::V4(address)) if local => Some(*address),
            AddressAttribute::Address(IpAddr::V4(address)) if !local => Some(*address),
            _ => None,
        })
    };
    of(true).or_else(|| of(false))
}
