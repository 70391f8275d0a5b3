//! The kernel state a host should have, as plain values.
//!
//! A [`HostPlan`] names links, never interface indexes: those exist only once the kernel has made a link. Whoever
//! applies a plan resolves names; whoever observes the kernel turns indexes back into names. So a plan and an
//! observation compare as equal values, and the difference of two plans is a table that a test can print.

mod relay;
mod tunnel;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Serialize;
use shoal_types::{HostId, LinkName, MacAddr, Vni, WireGuardKey};

pub use relay::{RelayPlan, RelayedEnd, is_relayed, relay_address};
pub use tunnel::{Backend, INNER_VXLAN_PORT, Tunnel, WireGuard, WireGuardPeer};

/// Everything in the kernel that Shoal owns on one host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HostPlan {
    /// The devices that lead to other hosts, by name; none while the host belongs to no fabric.
    pub tunnels: BTreeMap<LinkName, Tunnel>,
    /// The other ends of encrypted tunnels, by the device of this host's end and the other's key.
    pub wireguard: BTreeMap<(LinkName, WireGuardKey), WireGuardPeer>,
    /// Host-side ends of links, by name.
    pub links: BTreeMap<LinkName, Link>,
    /// Where every address of every network is.
    pub endpoints: BTreeMap<EndpointKey, EndpointEntry>,
    /// The other hosts of the fabric, by outer address: where tunnels lead and who may send through one.
    ///
    /// An outer address is what VXLAN's outer header holds: through an encrypted tunnel the other end's address in
    /// the tunnel, in clear the host's underlay address. The two never meet, as tunnel addresses are of 240.0.0.0/4,
    /// which no underlay has.
    pub peers: BTreeMap<IpAddr, Peer>,
}

impl HostPlan {
    /// What a kernel that held this plan holds after it took `change`. What hangs on a removed link or tunnel goes with
    /// it.
    pub fn note(&mut self, change: Change) {
        match change {
            Change::SetTunnel(name, tunnel) => drop(self.tunnels.insert(name, tunnel)),
            Change::RemoveTunnel(name) => {
                self.wireguard.retain(|(tunnel, _), _| *tunnel != name);
                self.peers.retain(|_, peer| peer.tunnel != name);
                self.tunnels.remove(&name);
            }
            Change::SetWireGuardPeer(name, key, peer) => drop(self.wireguard.insert((name, key), peer)),
            Change::RemoveWireGuardPeer(name, key) => drop(self.wireguard.remove(&(name, key))),
            Change::SetLink(name, link) => drop(self.links.insert(name, link)),
            Change::RemoveLink(name) => {
                self.endpoints.retain(|_, entry| *entry != EndpointEntry::Local(name.clone()));
                self.links.remove(&name);
            }
            Change::SetEndpoint(key, entry) => drop(self.endpoints.insert(key, entry)),
            Change::RemoveEndpoint(key) => drop(self.endpoints.remove(&key)),
            Change::SetPeer(address, peer) => drop(self.peers.insert(address, peer)),
            Change::RemovePeer(address) => drop(self.peers.remove(&address)),
        }
    }
}

/// A veth pair: the host's end carries Shoal's program, the container's end is handed to dockerd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Name the container's end has until dockerd renames it.
    pub inner_name: LinkName,
    /// Hardware address of the container's end.
    pub mac: MacAddr,
    /// MTU of both ends, bytes of IP packet.
    pub mtu: u16,
    /// The network the link belongs to.
    pub vni: Vni,
    /// Whether its packets travel in clear. If not, none of them goes to a tunnel in clear or comes from one, whatever
    /// the other parts of the plan say.
    pub in_clear: bool,
    /// The addresses that packets from this link may carry as source; at most one of each family.
    pub sources: LinkSources,
}

/// The addresses of a link's container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LinkSources {
    /// IPv4 address.
    pub v4: Option<std::net::Ipv4Addr>,
    /// IPv6 address; link-local sources are accepted for neighbour discovery only.
    pub v6: Option<std::net::Ipv6Addr>,
}

/// The key of the endpoint map: an address means something only within its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct EndpointKey {
    /// The network.
    pub vni: Vni,
    /// The address.
    pub address: IpAddr,
}

/// Where an address is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum EndpointEntry {
    /// Behind a link of this host.
    Local(LinkName),
    /// On the host with this outer address.
    Remote(IpAddr),
}

/// Another host of the fabric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// Whose outer address it is. A host may have several, as while its keys change: what is known to be behind one of
    /// them may come from any other.
    pub host: HostId,
    /// Outer source address towards it: this host's end of the same tunnel.
    pub local: IpAddr,
    /// The device that leads to it.
    pub tunnel: LinkName,
    /// Largest inner IP packet that reaches it, bytes.
    pub mtu: u16,
}

/// What the kernel has. The same shape as a plan, plus what no plan would ever hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// What is there, in the plan's own terms. A link or tunnel is listed only if it is whole: settings in place, up,
    /// its program attached; one that is not is in `broken`. The peers of a broken tunnel are listed as far as they
    /// can be read.
    pub plan: HostPlan,
    /// Links and tunnels of ours that are not as any plan would have them, with what is wrong in a few words.
    pub broken: BTreeMap<LinkName, String>,
    /// Pairs of ours whose container's end is in this namespace still: dockerd has not moved it, or it was made again.
    pub unmoved: BTreeSet<LinkName>,
    /// Map entries that point to an interface index which no link has.
    pub dangling: Vec<EndpointKey>,
}

/// One change to the kernel. Applying one that is already in force does nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Change {
    /// Make a tunnel device, or set it right. Its peers are set one by one.
    SetTunnel(LinkName, Tunnel),
    /// Remove a tunnel device and everything under it.
    RemoveTunnel(LinkName),
    /// Make another host's end known to an encrypted tunnel, or set it right.
    SetWireGuardPeer(LinkName, WireGuardKey, WireGuardPeer),
    /// Forget another host's end and its session keys.
    RemoveWireGuardPeer(LinkName, WireGuardKey),
    /// Make a link with its program, or set it right.
    SetLink(LinkName, Link),
    /// Remove a link and its settings.
    RemoveLink(LinkName),
    /// Put an address into the endpoint map.
    SetEndpoint(EndpointKey, EndpointEntry),
    /// Take an address out of the endpoint map.
    RemoveEndpoint(EndpointKey),
    /// Put a host into the peer map.
    SetPeer(IpAddr, Peer),
    /// Take a host out of the peer map.
    RemovePeer(IpAddr),
}
