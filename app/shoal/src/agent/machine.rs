//! What this machine is: its name, its addresses, its address space in use.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use shoal_links::{Survey, SurveyedLink};
use shoal_schema::Taken;
use shoal_types::HostName;

/// Links of container engines and of Shoal: their addresses are not the host's own.
const NOT_UNDERLAY: [&str; 7] = ["docker", "br-", "veth", "virbr", "sh-", "sc-", "shoal"];

/// The machine's host name, or "host" if the kernel's is not a valid one.
pub(crate) fn host_name() -> HostName {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.and_then(|name| name.trim().parse().ok());
    #[allow(clippy::expect_used, reason = "the literal is a valid name")]
    name.unwrap_or_else(|| "host".parse().expect("a valid name"))
}

/// The underlay: addresses to advertise and the MTU of the link that holds the first of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Underlay {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) mtu: u16,
}

impl Underlay {
    /// Plans with less than the link carries, if the containers' MTU was set.
    pub(crate) fn limited(self, container_mtu: Option<u16>) -> Self {
        let limit = container_mtu.map_or(u16::MAX, |mtu| mtu.saturating_add(shoal_planner::OVERHEAD));
        Self { mtu: self.mtu.min(limit), ..self }
    }
}

/// Chooses the underlay: the link that holds the first advertised address, else the link towards the default route,
/// else the first link that belongs to no container engine. One address of each family, unless they were set.
pub(crate) fn underlay(survey: &Survey, advertise: &[IpAddr]) -> Underlay {
    let holds =
        |link: &&SurveyedLink, address: &IpAddr| link.addresses.iter().any(|net| net.addr() == *address);
    let first = advertise.first().copied().or_else(source_of_default_route);
    let by_address = first.and_then(|address| survey.links.iter().find(|link| holds(link, &address)));
    let usable = |link: &&SurveyedLink| {
        !link.addresses.is_empty() && !NOT_UNDERLAY.iter().any(|prefix| link.name.starts_with(prefix))
    };
    let link = by_address.or_else(|| survey.links.iter().find(usable));
    let mtu = link.map_or(1500, |link| u16::try_from(link.mtu).unwrap_or(u16::MAX));
    if !advertise.is_empty() {
        return Underlay { addresses: advertise.to_vec(), mtu };
    }
    let nets = link.map(|link| link.addresses.as_slice()).unwrap_or_default();
    let of_family = |v4: bool| nets.iter().map(|net| net.addr()).find(move |address| address.is_ipv4() == v4);
    let mut addresses: Vec<IpAddr> = of_family(true).into_iter().chain(of_family(false)).collect();
    // The address that the default route uses comes first, whatever its place on the link.
    if let Some(first) = first.filter(|first| nets.iter().any(|net| net.addr() == *first)) {
        addresses.retain(|address| address.is_ipv4() != first.is_ipv4());
        addresses.insert(0, first);
    }
    Underlay { addresses, mtu }
}

/// Whether every one of these addresses is on a link of this machine.
pub(crate) fn holds_all(survey: &Survey, addresses: &[IpAddr]) -> bool {
    let holds = |address: &IpAddr| {
        survey.links.iter().flat_map(|link| &link.addresses).any(|net| net.addr() == *address)
    };
    addresses.iter().all(holds)
}

/// The source address of packets to a peer: no packet is sent to find out.
pub(crate) fn source_towards(peer: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = if peer.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(peer).ok()?;
    let source = socket.local_addr().ok()?.ip();
    (!source.is_unspecified() && !source.is_loopback()).then_some(source)
}

fn source_of_default_route() -> Option<IpAddr> {
    // Addresses of documentation (RFC 5737, RFC 3849): nobody has them, so only a default route leads there.
    let v4 = source_towards(([192, 0, 2, 1], 9).into());
    v4.or_else(|| source_towards((std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into()))
}

/// Address space that pools must avoid: this machine's routes and the engine's own networks.
pub(crate) fn taken(survey: &Survey, engine: &[(String, Vec<shoal_types::IpNet>)]) -> Vec<Taken> {
    let routes =
        survey.routes.iter().map(|(prefix, link)| Taken { prefix: *prefix, by: format!("route via {link}") });
    let networks = engine.iter().flat_map(|(name, subnets)| {
        subnets.iter().map(move |prefix| Taken { prefix: *prefix, by: format!("Docker network {name}") })
    });
    // The engine's word comes first for a prefix that is also a route: it is what the user can change.
    let mut taken: Vec<Taken> = networks.collect();
    for route in routes {
        if !taken.iter().any(|known| known.prefix == route.prefix) {
            taken.push(route);
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey() -> Survey {
        let link = |name: &str, mtu, addresses: &[&str]| SurveyedLink {
            name: name.into(),
            mtu,
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        };
        let links = vec![
            link("docker0", 1500, &["172.17.0.1/16"]),
            link("eth0", 9000, &["10.0.0.5/24", "fd00::5/64"]),
            link("eth1", 1400, &["10.9.0.5/24"]),
        ];
        Survey { links, routes: vec![("10.0.0.0/24".parse().unwrap(), "eth0".into())] }
    }

    #[test]
    fn the_underlay_is_not_a_container_engines_bridge() {
        let found = underlay(&survey(), &[]);
        assert_eq!(found.addresses, ["10.0.0.5".parse::<IpAddr>().unwrap(), "fd00::5".parse().unwrap()]);
        assert_eq!(found.mtu, 9000);
    }

    #[test]
    fn addresses_that_were_found_hold_while_all_are_on_the_machine() {
        let all = |addresses: &[&str]| {
            let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
            holds_all(&survey(), &addresses)
        };
        assert!(all(&["fd00::5", "10.0.0.5"]) && all(&["10.9.0.5"]));
        assert!(!all(&["10.0.0.5", "10.0.0.6"]));
    }

    #[test]
    fn advertised_addresses_are_taken_as_they_are_and_decide_the_link() {
        let advertise = ["10.9.0.5".parse().unwrap()];
        assert_eq!(underlay(&survey(), &advertise), Underlay { addresses: advertise.to_vec(), mtu: 1400 });
    }

    #[test]
    fn a_prefix_that_docker_uses_is_told_as_dockers() {
        let engine = [("bridge".to_owned(), vec!["10.0.0.0/24".parse().unwrap()])];
        let taken = taken(&survey(), &engine);
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].by, "Docker network bridge");
    }
}
