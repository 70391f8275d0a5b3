//! From views to the plan.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;

use shoal_plan::{EndpointEntry, EndpointKey, HostPlan, Link, LinkSources, Peer, Tunnel, WireGuardPeer};
use shoal_types::{EndpointId, HostId, LinkName, Vni, WireGuardKey};

use crate::view::{EndpointView, HostView, NetworkView, ProbeView, View, link_names};

/// Bytes between a container's packet and the underlay's MTU, the same on every path so that a network has one MTU.
///
/// | header                                      | outer IPv4 | outer IPv6 |
/// |---------------------------------------------|-----------:|-----------:|
/// | VXLAN: IP, UDP 8, VXLAN 8, inner Ethernet 14 | 20+30 = 50 | 40+30 = 70 |
/// | WireGuard: IP, UDP 8, header 16, tag 16      | 20+40 = 60 | 40+40 = 80 |
///
/// Encrypted, VXLAN runs over IPv4 inside WireGuard whatever the underlay speaks, so the most is 50 + 80 = 130. In
/// clear a packet needs 50 or 70; the room is kept all the same. 1500 leaves 1370.
pub const OVERHEAD: u16 = 130;

/// The part of [`OVERHEAD`] that lies inside WireGuard.
const VXLAN_OVERHEAD: u16 = 50;

/// What every IPv4 host must accept (RFC 791), bytes: no smaller MTU is planned, whatever a host says of itself.
pub const MTU_MIN: u16 = 576;

/// The largest inner packet that an underlay link with this MTU carries, bytes.
pub const fn mtu_default(underlay_mtu: u16) -> u16 {
    let inner = underlay_mtu.saturating_sub(OVERHEAD);
    if inner < MTU_MIN { MTU_MIN } else { inner }
}

/// The largest packet inside WireGuard over an underlay link with this MTU, bytes: what holds an inner packet of
/// [`mtu_default`] and VXLAN's headers.
pub const fn mtu_in_tunnel(underlay_mtu: u16) -> u16 {
    mtu_default(underlay_mtu) + VXLAN_OVERHEAD
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
    draft.plan.tunnels = view.tunnels.clone();
    draft.plan.wireguard = wireguard(view);
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
        let (Some(network), Some(at)) = (network, view.hosts.get(host)) else { continue };
        if let Some(address) = if network.in_clear { Some(at.address) } else { at.tunnel_address() } {
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
        let (vni, mtu, in_clear) = (network.vni, network.mtu, network.in_clear);
        let link = Link { inner_name, mac: state.mac, mtu, vni, in_clear, sources };
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
                let (mac, mtu, vni) = (probe.mac, probe.mtu, Vni::PROBE);
                let link = Link { inner_name, mac, mtu, vni, in_clear: false, sources };
                self.plan.links.insert(probe.outer_name.clone(), link);
                self.plan.endpoints.insert(key(*address), EndpointEntry::Local(probe.outer_name.clone()));
            } else if let Some(at) = view.hosts.get(host).and_then(HostView::tunnel_address)
                && self.plan.peers.contains_key(&at)
            {
                self.plan.endpoints.entry(key(*address)).or_insert(EndpointEntry::Remote(at));
            }
        }
    }
}

impl HostView {
    /// The outer address that packets to this host's encrypted networks go to.
    fn tunnel_address(&self) -> Option<IpAddr> {
        self.ends.iter().find(|end| end.serving).map(|end| end.address.into())
    }
}

/// Every other end, for every encrypted end of this host.
fn wireguard(view: &View) -> BTreeMap<(LinkName, WireGuardKey), WireGuardPeer> {
    let mut peers = BTreeMap::new();
    for (name, _) in view.tunnels.iter().filter(|(_, tunnel)| tunnel.wireguard().is_some()) {
        for end in others(view).flat_map(|(_, host)| &host.ends) {
            let contact = end.contacts.get(name).cloned().unwrap_or_default();
            let peer = WireGuardPeer {
                address: end.address,
                endpoint: contact.endpoint,
                preshared: contact.preshared,
                keepalive: contact.keepalive,
            };
            peers.insert((name.clone(), end.key), peer);
        }
    }
    peers
}

/// Every outer address that a tunnel leads to, or that packets may come from.
fn peers(view: &View) -> BTreeMap<IpAddr, Peer> {
    let mut peers = BTreeMap::<IpAddr, Peer>::new();
    let mut add = |address: IpAddr, peer: Peer| {
        // Two hosts behind one address (one of them is misconfigured) get the smaller MTU.
        let mtu = peer.mtu;
        let peer = peers.entry(address).or_insert(peer);
        peer.mtu = peer.mtu.min(mtu);
    };
    let own_mtu = view.hosts.get(&view.me).map_or(u16::MAX, |me| me.underlay_mtu);
    let sending = view.sending.as_ref().and_then(|name| Some((name, view.tunnels.get(name)?.wireguard()?)));
    let clear = view.tunnels.iter().find(|(_, tunnel)| matches!(tunnel, Tunnel::Clear { .. }));
    for (id, host) in others(view) {
        let mtu = peer_mtu(own_mtu, host);
        if let Some((tunnel, wireguard)) = sending {
            for end in &host.ends {
                let local = wireguard.address.into();
                add(end.address.into(), Peer { host: *id, local, tunnel: tunnel.clone(), mtu });
            }
        }
        if let (Some((tunnel, _)), Some(local)) = (clear, view.local_towards(host.address)) {
            add(host.address, Peer { host: *id, local, tunnel: tunnel.clone(), mtu });
        }
    }
    peers
}

fn others(view: &View) -> impl Iterator<Item = (&HostId, &HostView)> {
    view.hosts.iter().filter(|(host, _)| **host != view.me)
}

/// What both ends' underlay links carry, or less if probes found less. The probes go through the encrypted tunnel, so
/// what they find has room to spare in clear.
fn peer_mtu(own_underlay_mtu: u16, host: &HostView) -> u16 {
    let most = mtu_default(own_underlay_mtu.min(host.underlay_mtu));
    host.path_mtu.map_or(most, |found| found.clamp(MTU_MIN, most))
}
