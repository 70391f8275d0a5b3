//! What the machine itself has: addresses, MTUs and routes, so that pools keep clear of them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::LinkAttribute;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};
use rtnetlink::{Handle, RouteMessageBuilder};
use shoal_types::IpNet;

/// A machine's addresses and routes in the namespace of the caller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// Links that are up, loopback left out, in order of their indexes.
    pub links: Vec<SurveyedLink>,
    /// Unicast routes of the main table with the link they leave by.
    pub routes: Vec<(IpNet, String)>,
}

/// A link with what matters of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SurveyedLink {
    /// Its name.
    pub name: String,
    /// Its MTU, bytes.
    pub mtu: u32,
    /// Its global addresses with their prefix length.
    pub addresses: Vec<IpNet>,
}

/// Reads addresses and routes.
///
/// # Errors
/// The kernel's reason, as text.
pub async fn survey() -> Result<Survey, String> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(|error| format!("netlink: {error}"))?;
    let task = tokio::spawn(connection);
    let result = read(&handle).await.map_err(|error| format!("netlink: {error}"));
    task.abort();
    result
}

async fn read(handle: &Handle) -> Result<Survey, rtnetlink::Error> {
    let mut links = links(handle).await?;
    let mut addresses = handle.address().get().execute();
    while let Some(message) = addresses.try_next().await? {
        let length = message.header.prefix_len;
        let local = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        });
        let address = local.or_else(|| {
            message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            })
        });
        let Some(net) = address.filter(is_global).and_then(|address| IpNet::new(address, length).ok()) else {
            continue;
        };
        if let Some(link) = links.get_mut(&message.header.index) {
            link.addresses.push(net);
        }
    }
    let names: BTreeMap<u32, String> =
        links.iter().map(|(index, link)| (*index, link.name.clone())).collect();
    let mut routes = Vec::new();
    for request in
        [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()]
    {
        let mut stream = handle.route().get(request).execute();
        while let Some(message) = stream.try_next().await? {
            routes.extend(route(&message, &names));
        }
    }
    routes.sort();
    routes.dedup();
    Ok(Survey { links: links.into_values().collect(), routes })
}

async fn links(handle: &Handle) -> Result<BTreeMap<u32, SurveyedLink>, rtnetlink::Error> {
    use netlink_packet_route::link::LinkFlags;
    let mut links = BTreeMap::new();
    let mut stream = handle.link().get().execute();
    while let Some(message) = stream.try_next().await? {
        let flags = message.header.flags;
        if !flags.contains(LinkFlags::Up) || flags.contains(LinkFlags::Loopback) {
            continue;
        }
        let mut link = SurveyedLink::default();
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                _ => {}
            }
        }
        links.insert(message.header.index, link);
    }
    Ok(links)
}

/// A route that takes address space: not a default route, not a local or link-local one.
fn route(message: &RouteMessage, names: &BTreeMap<u32, String>) -> Option<(IpNet, String)> {
    if message.header.kind != RouteType::Unicast || message.header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let destination = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    })?;
    let oif = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => names.get(index).cloned(),
        _ => None,
    });
    let length = message.header.destination_prefix_length;
    let prefix = IpNet::new(destination, length).ok().filter(|_| length > 0 && is_global(&destination))?;
    Some((prefix.trunc(), oif.unwrap_or_else(|| "no link".into())))
}

fn is_global(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !v4.is_loopback() && !v4.is_link_local() && !v4.is_multicast() && !v4.is_unspecified()
        }
        IpAddr::V6(v6) => {
            !v6.is_loopback() && !v6.is_unicast_link_local() && !v6.is_multicast() && !v6.is_unspecified()
        }
    }
}
