//! From views to the plan.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;

use shoal_plan::{EndpointEntry, EndpointKey, HostPlan, Link, LinkSources, Peer};
use shoal_types::{EndpointId, HostId, Vni};

use crate::view::{EndpointView, HostView, NetworkView, ProbeView, View, link_names};

/// Bytes between a container's packet and the underlay's MTU, the same on every path so that a network has one MTU.
///
/// | header                                      | outer IPv4 | outer IPv6 |
/// |---------------------------------------------|-----------:|-----------:|
/// | VXLAN: IP, UDP 8, VXLAN 8, inner Ethernet 14 | 20+30 = 50 | 40+30 = 70 |
/// | WireGuard: IP, UDP 8, header 16, tag 16      | 20+40 = 60 | 40+40 = 80 |
///
/// In clear a packet needs 50 or 70. Encrypted, VXLAN runs over IPv4 inside WireGuard whatever the underlay speaks,
/// so the most is 50 + 80 = 130: a container's MTU need not change when encryption comes. 1500 leaves 1370.
pub const OVERHEAD: u16 = 130;

/// What every IPv4 host must accept (RFC 791), bytes: no smaller MTU is planned, whatever a host says of itself.
pub const MTU_MIN: u16 = 576;

/// The largest inner packet that an underlay link with this MTU carries, bytes.
pub const fn mtu_default(underlay_mtu: u16) -> u16 {
    let inner = underlay_mtu.saturating_sub(OVERHEAD);
    if inner < MTU_MIN { MTU_MIN } else { inner }
}

/// An address of one network that two endpoints claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// The address.
    pub key: EndpointKey,
    /// Who gets the packets.
    pub winner: Claim,
    /// Who does not.
    pub loser: Claim,
}

/// An endpoint that claims an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The host it is on.
    pub host: HostId,
    /// The endpoint.
    pub endpoint: EndpointId,
}

/// The kernel state that `view` asks for, and the addresses that more than one endpoint claims.
///
/// An address belongs to the local endpoint if there is one, else to the endpoint of the lowest host id, then of the
/// lowest endpoint id. Which claim is newer is not known here; addresses that are given and never taken make two
/// claims rare and short, and all that matters is that the choice does not flap.
pub fn plan(view: &View) -> (HostPlan, Vec<Clash>) {
    let mut draft = Draft { plan: HostPlan::default(), owners: BTreeMap::new(), clashes: Vec::new() };
    draft.plan.tunnel = view.tunnel.clone();
    draft.plan.peers = peers(view);

    let (local, remote): (Vec<_>, Vec<_>) =
        view.endpoints.iter().partition(|((host, _), _)| *host == view.me);
    for ((host, endpoint), state) in local {
        if let Some(network) = view.networks.get(&state.network).filter(|_| state.linked) {
            draft.add_local((*host, endpoint), state, network);
        }
    }
    for ((host, endpoint), state) in remote {
        let network = view.networks.get(&state.network);
        let address = view.hosts.get(host).map(|host| host.address);
        if let (Some(network), Some(address)) = (network, address) {
            draft.add_remote((*host, endpoint), state, network, address);
        }
    }
    if let Some(probe) = &view.probe {
        draft.add_probe(view, probe);
    }
    (draft.plan, draft.clashes)
}

/// A plan in the making, with the endpoint that each address went to.
struct Draft<'a> {
    plan: HostPlan,
    owners: BTreeMap<EndpointKey, (HostId, &'a EndpointId)>,
    clashes: Vec<Clash>,
}

impl<'a> Draft<'a> {
    fn add_local(&mut self, id: (HostId, &'a EndpointId), state: &EndpointView, network: &NetworkView) {
        let (outer_name, inner_name) = link_names(id.1);
        let mut claim =
            |address| self.claim(id, network.vni, address, EndpointEntry::Local(outer_name.clone()));
        // A container may send only from addresses at which it is reached.
        let sources = LinkSources {
            v4: state.v4.filter(|address| state.joined && claim((*address).into())),
            v6: state.v6.filter(|address| state.joined && claim((*address).into())),
        };
        let link = Link { inner_name, mac: state.mac, mtu: network.mtu, vni: network.vni, sources };
        self.plan.links.insert(outer_name, link);
    }

    fn add_remote(
        &mut self,
        id: (HostId, &'a EndpointId),
        state: &EndpointView,
        network: &NetworkView,
        at: IpAddr,
    ) {
        // A host that no tunnel leads to is no peer, and an entry must not lead nowhere.
        if !self.plan.peers.contains_key(&at) {
            return;
        }
        for address in state.v4.map(IpAddr::from).into_iter().chain(state.v6.map(IpAddr::from)) {
            self.claim(id, network.vni, address, EndpointEntry::Remote(at));
        }
    }

    /// Enters an address unless it is taken; says whether it was entered.
    fn claim(
        &mut self,
        id: (HostId, &'a EndpointId),
        vni: Vni,
        address: IpAddr,
        entry: EndpointEntry,
    ) -> bool {
        let key = EndpointKey { vni, address };
        match self.owners.entry(key) {
            Entry::Vacant(vacant) => {
                vacant.insert(id);
                self.plan.endpoints.insert(key, entry);
                true
            }
            Entry::Occupied(owner) => {
                let claim =
                    |(host, endpoint): (HostId, &EndpointId)| Claim { host, endpoint: endpoint.clone() };
                self.clashes.push(Clash { key, winner: claim(*owner.get()), loser: claim(id) });
                false
            }
        }
    }

    fn add_probe(&mut self, view: &View, probe: &ProbeView) {
        let key = |address| EndpointKey { vni: Vni::PROBE, address };
        for (host, address) in &probe.addresses {
            if *host == view.me {
                let mut sources = LinkSources::default();
                match *address {
                    IpAddr::V4(address) => sources.v4 = Some(address),
                    IpAddr::V6(address) => sources.v6 = Some(address),
                }
                let inner_name = probe.inner_name.clone();
                let link = Link { inner_name, mac: probe.mac, mtu: probe.mtu, vni: Vni::PROBE, sources };
                self.plan.links.insert(probe.outer_name.clone(), link);
                self.plan.endpoints.insert(key(*address), EndpointEntry::Local(probe.outer_name.clone()));
            } else if let Some(host) =
                view.hosts.get(host).filter(|h| self.plan.peers.contains_key(&h.address))
            {
                self.plan.endpoints.entry(key(*address)).or_insert(EndpointEntry::Remote(host.address));
            }
        }
    }
}

/// Every other host that a tunnel can lead to.
fn peers(view: &View) -> BTreeMap<IpAddr, Peer> {
    let mut peers = BTreeMap::<IpAddr, Peer>::new();
    if view.tunnel.is_none() {
        return peers;
    }
    let own_mtu = view.hosts.get(&view.me).map_or(u16::MAX, |me| me.underlay_mtu);
    for (_, host) in view.hosts.iter().filter(|(host, _)| **host != view.me) {
        let Some(local) = view.local_towards(host.address) else { continue };
        let mtu = peer_mtu(own_mtu, host);
        // Two hosts behind one address (one of them is misconfigured) get the smaller MTU.
        let peer = peers.entry(host.address).or_insert(Peer { local, mtu });
        peer.mtu = peer.mtu.min(mtu);
    }
    peers
}

/// What both ends' underlay links carry, or less if probes found less.
fn peer_mtu(own_underlay_mtu: u16, host: &HostView) -> u16 {
    let most = mtu_default(own_underlay_mtu.min(host.underlay_mtu));
    host.path_mtu.map_or(most, |found| found.clamp(MTU_MIN, most))
}
