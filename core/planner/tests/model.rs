//! Applies differences to a model kernel, which gives every link an index of its own as the real one does, and
//! checks that any start leads to the plan and that no step on the way leads a packet astray.
#![allow(clippy::unwrap_used, reason = "a test stops where its own table is wrong")]

mod common;

use std::collections::BTreeMap;
use std::net::IpAddr;

use common::{ViewExt, first_host, link};
use proptest::collection::vec;
use proptest::prelude::*;
use shoal_plan::{Change, EndpointEntry, EndpointKey, HostPlan, Link, Observed, Peer, Tunnel};
use shoal_planner::{View, diff, diff_endpoint, plan};
use shoal_types::LinkName;

/// An entry as the kernel's map holds it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Index(u32),
    Host(IpAddr),
}

/// A kernel: links with indexes and maps of plain numbers.
#[derive(Debug, Clone, Default)]
struct Kernel {
    tunnel: Option<Tunnel>,
    /// Index, settings, and whether the link is whole.
    links: BTreeMap<LinkName, (u32, Link, bool)>,
    endpoints: BTreeMap<EndpointKey, Place>,
    peers: BTreeMap<IpAddr, Peer>,
}

impl Kernel {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::SetTunnel(tunnel) => self.tunnel = Some(tunnel.clone()),
            Change::RemoveTunnel(_) => self.tunnel = None,
            Change::SetLink(name, link) => self.set_link(name, link),
            Change::RemoveLink(name) => drop(self.links.remove(name)),
            Change::SetEndpoint(key, entry) => {
                let place = match entry {
                    EndpointEntry::Local(name) => Place::Index(self.links[name].0),
                    EndpointEntry::Remote(host) => Place::Host(*host),
                };
                self.endpoints.insert(*key, place);
            }
            Change::RemoveEndpoint(key) => drop(self.endpoints.remove(key)),
            Change::SetPeer(address, peer) => drop(self.peers.insert(*address, peer.clone())),
            Change::RemovePeer(address) => drop(self.peers.remove(address)),
        }
    }

    /// A link that is not as wanted is made again and gets the lowest free index: the unkindest kernel.
    fn set_link(&mut self, name: &LinkName, link: &Link) {
        if self.links.get(name).is_some_and(|(_, old, whole)| *whole && old == link) {
            return;
        }
        self.links.remove(name);
        let index = (1..).find(|index| self.links.values().all(|(used, ..)| used != index)).unwrap();
        self.links.insert(name.clone(), (index, link.clone(), true));
    }

    fn observe(&self) -> Observed {
        let mut observed = Observed::default();
        observed.plan.tunnel = self.tunnel.clone();
        observed.plan.peers = self.peers.clone();
        for (name, (_, link, whole)) in &self.links {
            if *whole {
                observed.plan.links.insert(name.clone(), link.clone());
            } else {
                observed.broken.insert(name.clone(), "down".to_owned());
            }
        }
        for (key, place) in &self.endpoints {
            match self.entry(*place) {
                Some(entry) => drop(observed.plan.endpoints.insert(*key, entry)),
                None => observed.dangling.push(*key),
            }
        }
        observed
    }

    fn entry(&self, place: Place) -> Option<EndpointEntry> {
        match place {
            Place::Host(host) => Some(EndpointEntry::Remote(host)),
            Place::Index(index) => {
                let mut links = self.links.iter();
                links
                    .find(|(_, (used, ..))| *used == index)
                    .map(|(name, _)| EndpointEntry::Local(name.clone()))
            }
        }
    }

    /// A kernel in which `plan` is in force.
    fn with(plan: &HostPlan) -> Self {
        let mut kernel = Self::default();
        diff(plan, &Observed::default()).iter().for_each(|change| kernel.apply(change));
        kernel
    }
}

/// What goes wrong in a kernel behind the agent's back.
#[derive(Debug, Clone)]
enum Damage {
    LinkGone(usize),
    LinkBroken(usize),
    EntryGone(usize),
    EntryAstray(usize, u8),
    PeerGone(usize),
    StrangeLink(u8),
    TunnelGone,
}

impl Damage {
    fn hit(&self, kernel: &mut Kernel) {
        match *self {
            Self::LinkGone(n) => {
                if let Some(name) = kernel.links.keys().nth(n).cloned() {
                    kernel.links.remove(&name);
                }
            }
            Self::LinkBroken(n) => {
                if let Some((_, _, whole)) = kernel.links.values_mut().nth(n) {
                    *whole = false;
                }
            }
            Self::EntryGone(n) => {
                if let Some(key) = kernel.endpoints.keys().nth(n).copied() {
                    kernel.endpoints.remove(&key);
                }
            }
            Self::EntryAstray(n, index) => {
                if let Some(place) = kernel.endpoints.values_mut().nth(n) {
                    *place = Place::Index(index.into());
                }
            }
            Self::PeerGone(n) => {
                if let Some(address) = kernel.peers.keys().nth(n).copied() {
                    kernel.peers.remove(&address);
                }
            }
            Self::StrangeLink(n) => {
                let strange = Link {
                    inner_name: link("eth9"),
                    mac: shoal_types::MacAddr::new([9; 6]),
                    mtu: 9,
                    vni: shoal_types::Vni::new(9).unwrap(),
                    sources: Default::default(),
                };
                kernel.set_link(&link(&format!("sh-strange{n}")), &strange);
            }
            Self::TunnelGone => kernel.tunnel = None,
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (0..9_usize).prop_map(Damage::LinkGone),
        (0..9_usize).prop_map(Damage::LinkBroken),
        (0..9_usize).prop_map(Damage::EntryGone),
        (0..9_usize, 0..12_u8).prop_map(|(n, index)| Damage::EntryAstray(n, index)),
        (0..3_usize).prop_map(Damage::PeerGone),
        (0..3_u8).prop_map(Damage::StrangeLink),
        Just(Damage::TunnelGone),
    ]
}

/// Up to four hosts with up to ten endpoints in two networks, addresses from a few so that they clash.
fn view() -> impl Strategy<Value = View> {
    let endpoints = vec((1..5_u8, 0..16_u8, 1..4_u8, 2..9_u8, any::<bool>()), 0..10);
    (endpoints, 1..5_u8, any::<bool>(), any::<bool>()).prop_map(|(endpoints, hosts, tunnel, probe)| {
        let mut view = first_host();
        for n in 2..=hosts {
            view = view.with_host(n, &format!("192.0.2.{n}"));
        }
        for (on, id, network, last, dual) in endpoints {
            let (v4, v6) = (format!("10.0.0.{last}"), format!("fd00::{last}"));
            let addresses = if dual { vec![v4.as_str(), v6.as_str()] } else { vec![v4.as_str()] };
            view = view.with_endpoint(on, &format!("{id:02x}"), network, &addresses);
        }
        if probe {
            view = view.with_probe(&[(1, "fd00:1::1"), (2, "fd00:1::2")]);
        }
        if !tunnel {
            view.tunnel = None;
        }
        view
    })
}

/// No address that the new plan does not have leads anywhere but where it did, and none leads into the wrong link.
fn assert_not_astray(before: &Observed, wanted: &HostPlan, kernel: &Kernel) {
    for (key, place) in &kernel.endpoints {
        let Some(now) = kernel.entry(*place) else { continue };
        let was = before.plan.endpoints.get(key);
        let will = wanted.endpoints.get(key);
        assert!(
            Some(&now) == was || Some(&now) == will,
            "{key:?} leads to {now:?}: was {was:?}, will be {will:?}"
        );
    }
}

proptest! {
    #[test]
    fn any_kernel_is_led_to_the_plan(before in view(), after in view(), hits in vec(damage(), 0..6)) {
        let mut kernel = Kernel::with(&plan(&before).0);
        hits.iter().for_each(|damage| damage.hit(&mut kernel));
        let wanted = plan(&after).0;
        diff(&wanted, &kernel.observe()).iter().for_each(|change| kernel.apply(change));
        let observed = kernel.observe();
        prop_assert_eq!(&observed, &Observed { plan: wanted.clone(), ..Observed::default() });
        prop_assert_eq!(diff(&wanted, &observed), []);
    }

    #[test]
    fn no_step_leads_a_packet_astray(before in view(), after in view()) {
        let mut kernel = Kernel::with(&plan(&before).0);
        let wanted = plan(&after).0;
        let observed = kernel.observe();
        let stay: Vec<_> = observed.plan.endpoints.keys().filter(|k| wanted.endpoints.contains_key(k)).collect();
        for change in diff(&wanted, &observed) {
            kernel.apply(&change);
            assert_not_astray(&observed, &wanted, &kernel);
            prop_assert!(stay.iter().all(|key| kernel.endpoints.contains_key(key)), "after {:?}", change);
            let lead_to_peers = kernel.endpoints.values().all(|place| match place {
                Place::Host(host) => kernel.peers.contains_key(host),
                Place::Index(_) => true,
            });
            prop_assert!(lead_to_peers, "after {:?}", change);
        }
    }

    #[test]
    fn endpoint_by_endpoint_leads_to_the_same_links(before in view(), after in view()) {
        let mut kernel = Kernel::with(&plan(&before).0);
        let wanted = plan(&after).0;
        let local = before.endpoints.keys().chain(after.endpoints.keys()).filter(|(host, _)| *host == after.me);
        for (_, endpoint) in local.collect::<std::collections::BTreeSet<_>>() {
            let changes = diff_endpoint(&wanted, &kernel.observe(), endpoint);
            changes.iter().for_each(|change| kernel.apply(change));
        }
        let links = kernel.observe().plan.links;
        let of_endpoints = |links: &BTreeMap<LinkName, Link>| {
            let mut links = links.clone();
            links.remove(&link("sh-probe"));
            links
        };
        prop_assert_eq!(of_endpoints(&links), of_endpoints(&wanted.links));
    }
}
