//! Applies differences to a model kernel, which gives every link an index of its own as the real one does, and
//! checks that any start leads to the plan and that no step on the way leads a packet astray.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where its own table is wrong")]

mod sample;

use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use sample::{PlanExt, clear, encrypted, endpoint, name};
use shoal_plan::{
    Backend, Change, EndpointEntry, EndpointKey, HostPlan, Link, Observed, Peer, Tunnel, WireGuardPeer,
};
use shoal_planner::{diff, diff_endpoint};
use shoal_types::{LinkName, WireGuardKey};

/// An entry as the kernel's map holds it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Index(u32),
    Host(IpAddr),
}

/// Settings of a device, of a link or a tunnel.
#[derive(Debug, Clone, PartialEq)]
enum Device {
    Link(Link),
    Tunnel(Tunnel, BTreeMap<WireGuardKey, WireGuardPeer>),
}

/// A kernel: devices with indexes and maps of plain numbers.
#[derive(Debug, Clone, Default)]
struct Kernel {
    /// Index, settings, and whether the device is whole.
    devices: BTreeMap<LinkName, (u32, Device, bool)>,
    endpoints: BTreeMap<EndpointKey, Place>,
    /// With the index of the tunnel's device.
    peers: BTreeMap<IpAddr, (u32, Peer)>,
}

impl Kernel {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::SetTunnel(name, tunnel) => self.set_tunnel(name, tunnel),
            Change::RemoveTunnel(name) | Change::RemoveLink(name) => self.remove(name),
            Change::SetWireGuardPeer(name, key, peer) => drop(self.ends(name).insert(*key, peer.clone())),
            Change::RemoveWireGuardPeer(name, key) => drop(self.ends(name).remove(key)),
            Change::SetLink(name, link) => self.set(name, Device::Link(link.clone())),
            Change::SetEndpoint(key, entry) => {
                let place = match entry {
                    EndpointEntry::Local(name) => Place::Index(self.devices[name].0),
                    EndpointEntry::Remote(host) => Place::Host(*host),
                };
                self.endpoints.insert(*key, place);
            }
            Change::RemoveEndpoint(key) => drop(self.endpoints.remove(key)),
            Change::SetPeer(address, peer) => {
                let (index, device, whole) = &self.devices[&peer.tunnel];
                assert!(*whole && matches!(device, Device::Tunnel(..)), "{peer:?} through {device:?}");
                self.peers.insert(*address, (*index, peer.clone()));
            }
            Change::RemovePeer(address) => drop(self.peers.remove(address)),
        }
    }

    /// A port has room for one tunnel. One that is made again knows nobody.
    fn set_tunnel(&mut self, name: &LinkName, tunnel: &Tunnel) {
        let is_in_the_way = |(other, (_, device, _)): (&LinkName, &(u32, Device, bool))| {
            other != name && matches!(device, Device::Tunnel(there, _) if port(there) == port(tunnel))
        };
        assert!(!self.devices.iter().any(is_in_the_way), "no room for {name} in {self:?}");
        let same = self.devices.get(name).is_some_and(|(_, device, whole)| {
            *whole && matches!(device, Device::Tunnel(there, _) if there == tunnel)
        });
        if !same {
            self.set(name, Device::Tunnel(tunnel.clone(), BTreeMap::new()));
        }
    }

    /// No peer leads to it any more.
    fn remove(&mut self, name: &LinkName) {
        if let Some((index, ..)) = self.devices.remove(name) {
            self.peers.retain(|_, (at, _)| *at != index);
        }
    }

    fn ends(&mut self, name: &LinkName) -> &mut BTreeMap<WireGuardKey, WireGuardPeer> {
        match self.devices.get_mut(name) {
            Some((_, Device::Tunnel(_, ends), true)) => ends,
            other => panic!("{name} is no tunnel that works: {other:?}"),
        }
    }

    /// A device that is not as wanted is made again and gets the lowest free index: the unkindest kernel.
    fn set(&mut self, name: &LinkName, device: Device) {
        if self.devices.get(name).is_some_and(|(_, old, whole)| *whole && *old == device) {
            return;
        }
        self.devices.remove(name);
        let index = (1..).find(|index| self.devices.values().all(|(used, ..)| used != index)).unwrap();
        self.devices.insert(name.clone(), (index, device, true));
    }

    fn observe(&self) -> Observed {
        let mut observed = Observed::default();
        for (name, (_, device, whole)) in &self.devices {
            match device {
                Device::Tunnel(_, ends) => {
                    let ends = ends.iter().map(|(key, peer)| ((name.clone(), *key), peer.clone()));
                    observed.plan.wireguard.extend(ends);
                }
                Device::Link(_) => {}
            }
            match device {
                _ if !whole => drop(observed.broken.insert(name.clone(), "down".to_owned())),
                Device::Link(link) => drop(observed.plan.links.insert(name.clone(), link.clone())),
                Device::Tunnel(tunnel, _) => {
                    observed.plan.tunnels.insert(name.clone(), tunnel.clone());
                }
            }
        }
        for (key, place) in &self.endpoints {
            match self.entry(*place) {
                Some(entry) => drop(observed.plan.endpoints.insert(*key, entry)),
                None => observed.dangling.push(*key),
            }
        }
        for (address, (index, peer)) in &self.peers {
            let tunnel = self.name(*index).filter(|name| matches!(self.devices[name].1, Device::Tunnel(..)));
            let (tunnel, mtu) = tunnel.map_or((name("(none)"), 0), |tunnel| (tunnel, peer.mtu));
            observed.plan.peers.insert(*address, Peer { tunnel, mtu, ..peer.clone() });
        }
        observed
    }

    fn name(&self, index: u32) -> Option<LinkName> {
        self.devices.iter().find(|(_, (used, ..))| *used == index).map(|(name, _)| name.clone())
    }

    /// Whether a device is gone, or a tunnel of the kind that outer addresses of 240.0.0.0/4 ask for, or of the other.
    fn is_of_kind(&self, at: IpAddr, index: u32) -> bool {
        let encrypted = matches!(at, IpAddr::V4(v4) if v4.octets()[0] >= 240);
        self.name(index).is_none_or(|name| match &self.devices[&name].1 {
            Device::Tunnel(tunnel, _) => tunnel.wireguard().is_some() == encrypted,
            Device::Link(_) => false,
        })
    }

    fn entry(&self, place: Place) -> Option<EndpointEntry> {
        match place {
            Place::Host(host) => Some(EndpointEntry::Remote(host)),
            Place::Index(index) => self.name(index).map(EndpointEntry::Local),
        }
    }

    /// A kernel in which `plan` is in force.
    fn with(plan: &HostPlan) -> Self {
        let mut kernel = Self::default();
        diff(plan, &Observed::default()).iter().for_each(|change| kernel.apply(change));
        kernel
    }
}

fn port(tunnel: &Tunnel) -> u16 {
    match tunnel {
        Tunnel::Clear { port } => *port,
        Tunnel::Encrypted(wireguard) => wireguard.port,
    }
}

/// What goes wrong in a kernel behind the agent's back.
#[derive(Debug, Clone)]
enum Damage {
    DeviceGone(usize),
    DeviceBroken(usize),
    EntryGone(usize),
    EntryAstray(usize, u8),
    PeerGone(usize),
    PeerAstray(usize, u8),
    EndsGone(usize),
    StrangeLink(u8),
}

impl Damage {
    fn hit(&self, kernel: &mut Kernel) {
        match *self {
            Self::DeviceGone(n) => {
                if let Some(name) = kernel.devices.keys().nth(n).cloned() {
                    kernel.devices.remove(&name);
                }
            }
            Self::DeviceBroken(n) => {
                if let Some((_, _, whole)) = kernel.devices.values_mut().nth(n) {
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
            Self::PeerAstray(n, index) => {
                if let Some((at, _)) = kernel.peers.values_mut().nth(n) {
                    *at = index.into();
                }
            }
            Self::EndsGone(n) => {
                if let Some((_, Device::Tunnel(_, ends), _)) = kernel.devices.values_mut().nth(n) {
                    ends.clear();
                }
            }
            Self::StrangeLink(n) => {
                let strange = HostPlan::default().with_link(&format!("5{n}"), &[]).links;
                strange.into_iter().for_each(|(name, link)| kernel.set(&name, Device::Link(link)));
            }
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (0..9_usize).prop_map(Damage::DeviceGone),
        (0..9_usize).prop_map(Damage::DeviceBroken),
        (0..9_usize).prop_map(Damage::EntryGone),
        (0..9_usize, 0..12_u8).prop_map(|(n, index)| Damage::EntryAstray(n, index)),
        (0..3_usize).prop_map(Damage::PeerGone),
        (0..3_usize, 0..12_u8).prop_map(|(n, index)| Damage::PeerAstray(n, index)),
        (0..9_usize).prop_map(Damage::EndsGone),
        (0..3_u8).prop_map(Damage::StrangeLink),
    ]
}

/// A tunnel in clear under one of two names, up to two encrypted ones of either backend, up to three other hosts behind
/// each, and up to ten endpoints here or there, addresses from a few.
fn any_plan() -> impl Strategy<Value = HostPlan> {
    let endpoints = vec((0..16_u8, 2..9_u8, 0..4_u8), 0..10);
    let tunnels = (0..3_u8, 0..3_u8, 0..3_u8);
    (tunnels, 1..4_u8, any::<bool>(), endpoints).prop_map(
        |((in_clear, one, two), hosts, second, endpoints)| {
            let mut plan = HostPlan::default();
            let clear_name = ["", "shoal0", "old0"][usize::from(in_clear)];
            if !clear_name.is_empty() {
                plan = plan.with_tunnel(clear_name, clear(7374));
            }
            for (n, how) in [(1, one), (2, two)] {
                if how > 0 {
                    let backend = if how == 1 { Backend::Kernel } else { Backend::UserSpace };
                    plan = plan.with_tunnel(&format!("shoal{n}"), encrypted(n, backend));
                    plan = (1..=hosts).fold(plan, |plan, host| plan.with_end(&format!("shoal{n}"), host));
                }
            }
            let encrypted = if second && two > 0 { "shoal2" } else { "shoal1" };
            for host in 1..=hosts {
                for (at, device) in
                    [(format!("192.0.2.{host}"), clear_name), (format!("240.0.1.{host}"), encrypted)]
                {
                    if !device.is_empty() && plan.tunnels.contains_key(&name(device)) {
                        plan = plan.with_peer(&at, device);
                    }
                }
            }
            for (id, last, on) in endpoints {
                let at = format!("10.0.0.{last}");
                let host = format!("240.0.1.{on}");
                if on == 0 {
                    plan = plan.with_link(&format!("{id:02x}"), &[&at]);
                } else if plan.peers.contains_key(&sample::address(&host)) {
                    plan = plan.with_remote(&host, &[&at]);
                }
            }
            plan
        },
    )
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
    fn any_kernel_is_led_to_the_plan(before in any_plan(), after in any_plan(), hits in vec(damage(), 0..6)) {
        let mut kernel = Kernel::with(&before);
        hits.iter().for_each(|damage| damage.hit(&mut kernel));
        diff(&after, &kernel.observe()).iter().for_each(|change| kernel.apply(change));
        let observed = kernel.observe();
        prop_assert_eq!(&observed, &Observed { plan: after.clone(), ..Observed::default() });
        prop_assert_eq!(diff(&after, &observed), []);
    }

    #[test]
    fn no_step_leads_a_packet_astray(before in any_plan(), after in any_plan()) {
        let mut kernel = Kernel::with(&before);
        let observed = kernel.observe();
        let stay: Vec<_> = observed.plan.endpoints.keys().filter(|k| after.endpoints.contains_key(k)).collect();
        for change in diff(&after, &observed) {
            kernel.apply(&change);
            assert_not_astray(&observed, &after, &kernel);
            prop_assert!(stay.iter().all(|key| kernel.endpoints.contains_key(key)), "after {:?}", change);
            let lead_to_peers = kernel.endpoints.values().all(|place| match place {
                Place::Host(host) => kernel.peers.contains_key(host),
                Place::Index(_) => true,
            });
            prop_assert!(lead_to_peers, "after {:?}", change);
            prop_assert!(kernel.peers.iter().all(|(at, (index, _))| kernel.is_of_kind(*at, *index)), "{:?}", kernel);
        }
    }

    #[test]
    fn endpoint_by_endpoint_leads_to_the_same_links(before in any_plan(), after in any_plan()) {
        let mut kernel = Kernel::with(&before);
        for id in 0..16_u8 {
            let changes = diff_endpoint(&after, &kernel.observe(), &endpoint(&format!("{id:02x}")));
            changes.iter().for_each(|change| kernel.apply(change));
        }
        let links = kernel.observe().plan.links;
        prop_assert_eq!(links, after.links);
    }
}
