//! What the planner reads: the other cores' state, reduced to what shows in the kernel.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use shoal_plan::Tunnel;
use shoal_types::{EndpointId, HostId, LinkName, MacAddr, NetworkId, Vni, WireGuardKey, WireGuardSecret};

/// Everything that decides a host's kernel state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The host that plans.
    pub me: HostId,
    /// Its underlay addresses, the preferred one first. A peer is reached from the first one of its family.
    pub local_addresses: Vec<IpAddr>,
    /// Its tunnel devices; none while the host belongs to no fabric: then nothing leads to other hosts. At most one of
    /// them is in clear, and only while there is a network that asks for it.
    pub tunnels: BTreeMap<LinkName, Tunnel>,
    /// The encrypted one through which it sends; all of them receive.
    pub sending: Option<LinkName>,
    /// All hosts that are not forgotten, `me` included.
    pub hosts: BTreeMap<HostId, HostView>,
    /// All networks that exist.
    pub networks: BTreeMap<NetworkId, NetworkView>,
    /// All endpoints, by the host they are on.
    pub endpoints: BTreeMap<(HostId, EndpointId), EndpointView>,
    /// This host's place in the network of path probes ([`Vni::PROBE`]); `None`: it does not probe.
    pub probe: Option<ProbeView>,
}

/// A host as the planner needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostView {
    /// The underlay address that tunnels in clear lead to.
    pub address: IpAddr,
    /// MTU of its underlay link, bytes.
    pub underlay_mtu: u16,
    /// Largest inner IP packet that is known to reach it, bytes; `None` until probes have found it.
    pub path_mtu: Option<u16>,
    /// Its ends of encrypted tunnels. Asked of other hosts only.
    pub ends: Vec<EndView>,
}

/// Another host's end of encrypted tunnels, as the planner needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndView {
    /// Its public key.
    pub key: WireGuardKey,
    /// Its address in the tunnel.
    pub address: Ipv4Addr,
    /// Whether it is the one to send to; at most one of a host is.
    pub serving: bool,
    /// How each of this host's own ends, by its device, reaches it.
    pub contacts: BTreeMap<LinkName, ContactView>,
}

/// How one end reaches another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContactView {
    /// Where to send; `None`: wherever it was heard from last.
    pub endpoint: Option<SocketAddr>,
    /// Send at least this often, seconds.
    pub keepalive: Option<u16>,
    /// Mixed into handshakes of the two.
    pub preshared: Option<WireGuardSecret>,
}

/// A network as the planner needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkView {
    /// Its VXLAN id.
    pub vni: Vni,
    /// MTU of its containers' links, bytes of IP packet.
    pub mtu: u16,
    /// Whether its packets travel in clear.
    pub in_clear: bool,
}

/// An endpoint as the planner needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointView {
    /// The network it is in.
    pub network: NetworkId,
    /// Its IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub v6: Option<Ipv6Addr>,
    /// Hardware address of the container's end.
    pub mac: MacAddr,
    /// Whether it has a link: from the container's joining until the endpoint is deleted, because dockerd moves the
    /// inner end back in between. Asked of local endpoints only.
    pub linked: bool,
    /// Whether a container has joined it. Asked of local endpoints only: another host's endpoint is entered as soon
    /// as it is known, so that the first packet finds its way.
    pub joined: bool,
}

/// The link through which the agent probes paths, and every host's address in the network of probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeView {
    /// The end that carries the program.
    pub outer_name: LinkName,
    /// The agent's end.
    pub inner_name: LinkName,
    /// Hardware address of the agent's end.
    pub mac: MacAddr,
    /// MTU of the link, bytes of IP packet: the largest size that is probed.
    pub mtu: u16,
    /// Addresses by host, `me` included.
    pub addresses: BTreeMap<HostId, IpAddr>,
}

impl View {
    /// A host that knows nobody.
    pub fn alone(me: HostId) -> Self {
        Self {
            me,
            local_addresses: Vec::new(),
            tunnels: BTreeMap::new(),
            sending: None,
            hosts: BTreeMap::new(),
            networks: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            probe: None,
        }
    }

    /// The other hosts that packets in clear cannot go to: this host has no address of their address family, or one of
    /// its own addresses is theirs too. `doctor` says why.
    pub fn unreachable(&self) -> Vec<HostId> {
        let others = self.hosts.iter().filter(|(host, _)| **host != self.me);
        others.filter(|(_, view)| self.local_towards(view.address).is_none()).map(|(host, _)| *host).collect()
    }

    /// The address of this host from which `peer` is reached.
    pub(crate) fn local_towards(&self, peer: IpAddr) -> Option<IpAddr> {
        if self.local_addresses.contains(&peer) {
            return None;
        }
        self.local_addresses.iter().copied().find(|local| local.is_ipv4() == peer.is_ipv4())
    }
}

/// The names of an endpoint's link: the host's end, then the container's end until dockerd renames it. See
/// [`LinkName::pair_of`].
pub fn link_names(endpoint: &EndpointId) -> (LinkName, LinkName) {
    LinkName::pair_of(endpoint)
}
