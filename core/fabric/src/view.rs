//! What others may read: the planner's view, and what people are shown.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use shoal_networks::{Networks, Stage};
use shoal_planner::{EndpointView, HostView, NetworkView, ProbeView, View};
use shoal_schema::HostFact;
use shoal_types::{HostId, Moment};

use crate::{Fabric, Identity, LocalHost, probe_address, probe_mac};

// What the planner keeps for the tunnel is what a network's MTU must leave.
const _: () = assert!(shoal_networks::MTU_MAX == shoal_planner::mtu_default(u16::MAX));

/// What is known of another host's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostState {
    /// This host.
    Myself,
    /// Membership hears it.
    Alive,
    /// Membership does not hear it.
    Down,
}

/// A host as people are shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSummary {
    /// The host.
    pub id: HostId,
    /// What it says of itself.
    pub fact: HostFact,
    /// Whether it is heard.
    pub state: HostState,
    /// When it was last heard.
    pub heard: Option<Moment>,
    /// Largest inner packet that reaches it.
    pub path_mtu: Option<u16>,
}

impl Fabric {
    /// This host.
    pub fn me(&self) -> HostId {
        self.me
    }

    /// What this host knows of itself.
    pub fn local(&self) -> &LocalHost {
        &self.local
    }

    /// Its membership, if it has one.
    pub fn identity(&self) -> Option<&Identity> {
        self.member.as_ref().map(|member| &member.identity)
    }

    /// Networks and endpoints.
    pub fn networks(&self) -> &Networks {
        &self.networks
    }

    /// Replication in numbers.
    pub fn facts_stats(&self) -> Option<shoal_facts::Stats> {
        self.member.as_ref().map(|member| member.facts.stats())
    }

    /// Messages from other hosts that could not be read.
    pub fn unknown_messages(&self) -> u64 {
        self.unknown_messages
    }

    /// The state of replication by author: equal on two hosts exactly when they hold the same facts.
    pub fn heads(&self) -> Vec<shoal_facts::HeadView> {
        self.member.as_ref().map(|member| member.facts.heads().collect()).unwrap_or_default()
    }

    /// The value that an author has under a fact's key.
    pub fn fact(&self, author: HostId, key: &[u8]) -> Option<&[u8]> {
        self.member.as_ref()?.facts.get(author, key)
    }

    /// A hash of all facts held: equal on two hosts exactly when they hold the same. `None` outside of a fabric.
    pub fn facts_digest(&self) -> Option<Vec<u8>> {
        self.member.as_ref().map(|member| member.facts.digest())
    }

    /// The other hosts that membership believes alive.
    pub fn alive(&self) -> usize {
        self.member.as_ref().map_or(0, |member| member.alive.len())
    }

    /// All hosts of the fabric, this one included.
    pub fn hosts(&self) -> Vec<HostSummary> {
        let Some(member) = &self.member else { return Vec::new() };
        let state = |id: &HostId| match (*id == self.me, member.alive.contains(id)) {
            (true, _) => HostState::Myself,
            (false, true) => HostState::Alive,
            (false, false) => HostState::Down,
        };
        let summary = |(id, fact): (&HostId, &HostFact)| HostSummary {
            id: *id,
            fact: fact.clone(),
            state: state(id),
            heard: member.heard.get(id).copied(),
            path_mtu: self.path_mtus.get(id).copied(),
        };
        member.hosts.iter().map(summary).collect()
    }

    /// Hosts that were put out, with the names they had.
    pub fn forgotten(&self) -> Vec<HostId> {
        self.member
            .as_ref()
            .map(|member| member.trust.forgotten.iter().copied().collect())
            .unwrap_or_default()
    }

    /// Where a host's QUIC port is, the preferred address first.
    pub fn addresses_of(&self, host: HostId) -> Vec<SocketAddr> {
        let fact = self.member.as_ref().and_then(|member| member.hosts.get(&host));
        fact.map(|fact| fact.addresses.iter().map(|ip| SocketAddr::new(*ip, fact.quic_port)).collect())
            .unwrap_or_default()
    }

    /// Everything that decides this host's kernel state: O(n log n) for n endpoints of the fabric.
    pub fn view(&self, now: Moment) -> View {
        let mut view = self.view_of_local_endpoints();
        let Some(member) = &self.member else { return view };
        if !member.trust.forgotten.contains(&self.me) {
            view.tunnels = self.tunnel_devices();
            view.sending = self.sending_device();
        }
        view.hosts = member
            .hosts
            .iter()
            .filter_map(|(id, fact)| Some((*id, self.host_view(*id, fact, now)?)))
            .collect();
        for (host, fact) in self.networks.remote_endpoints() {
            let (network, v4, v6, mac) = (fact.network, fact.v4, fact.v6, fact.mac);
            let shown = EndpointView { network, v4, v6, mac, linked: true, joined: true };
            view.endpoints.insert((host, fact.endpoint.clone()), shown);
        }
        view.probe = self.probe_view(&view.hosts);
        view
    }

    /// Everything that decides the links of this host's endpoints and the addresses behind them, and nothing else: of
    /// an address that two endpoints claim the local one is served, so no other host matters.
    pub fn view_of_local_endpoints(&self) -> View {
        let mut view = View::alone(self.me);
        view.local_addresses.clone_from(&self.local.addresses);
        if self.member.is_none() {
            return view;
        }
        view.networks = self
            .networks
            .catalog()
            .iter()
            .map(|(id, spec)| {
                let mtu = shoal_networks::mtu_wanted(spec);
                let mtu = mtu.unwrap_or_else(|| shoal_planner::mtu_default(self.local.underlay_mtu));
                (id, NetworkView { vni: spec.vni, mtu, in_clear: shoal_networks::is_in_clear(spec) })
            })
            .collect();
        for endpoint in self.networks.endpoints().filter(|endpoint| endpoint.stage != Stage::Created) {
            let (network, v4, v6, mac) = (endpoint.network, endpoint.v4, endpoint.v6, endpoint.mac);
            let (linked, joined) = (true, endpoint.stage == Stage::Joined);
            let shown = EndpointView { network, v4, v6, mac, linked, joined };
            view.endpoints.insert((self.me, endpoint.endpoint.clone()), shown);
        }
        view
    }

    fn host_view(&self, id: HostId, fact: &HostFact, now: Moment) -> Option<HostView> {
        let family = |address: &&IpAddr| self.has_family_of(**address);
        let address = fact.addresses.iter().find(family).or(fact.addresses.first())?;
        let path_mtu = self.path_mtus.get(&id).copied();
        Some(HostView {
            address: *address,
            underlay_mtu: fact.underlay_mtu.min(self.local.underlay_mtu),
            path_mtu,
            ends: self.end_views(id, now),
        })
    }

    fn probe_view(&self, hosts: &BTreeMap<HostId, HostView>) -> Option<ProbeView> {
        let (outer_name, inner_name) = self.local.probe_link.clone()?;
        let addresses = hosts.keys().map(|host| (*host, IpAddr::V6(probe_address(*host)))).collect();
        let mtu = shoal_planner::mtu_default(self.local.underlay_mtu);
        Some(ProbeView { outer_name, inner_name, mac: probe_mac(self.me), mtu, addresses })
    }
}
