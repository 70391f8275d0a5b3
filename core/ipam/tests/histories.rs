//! Random histories of a few hosts that hear of each other's gifts late, twice, in any order, or not at all.
//!
//! After every step: no address is held by two hosts, and no two hosts believe to own one. In the end, when everybody
//! has heard everything: all agree, every address has one owner, and every held address is held by its owner.

#![allow(clippy::unwrap_used, reason = "a test panics when what it needs is absent")]

mod common;

use std::collections::BTreeSet;
use std::net::IpAddr;

use common::{NETWORK, POOL, at, host, spec};
use proptest::collection::vec;
use proptest::prelude::*;
use shoal_ipam::{AllocateError, Ask, Ipam};
use shoal_schema::{GiftFact, NetworkSpec};
use shoal_types::{HostId, IpNet};

/// One step; numbers are folded into what there is to choose from.
#[derive(Debug, Clone)]
enum Step {
    Allocate {
        by: usize,
    },
    Wish {
        by: usize,
        offset: usize,
        reply: Reply,
    },
    Release {
        by: usize,
        which: usize,
    },
    Ask {
        by: usize,
        reply: Reply,
    },
    Deliver {
        to: usize,
        which: usize,
    },
    Restart {
        who: usize,
        remembers: u64,
    },
    /// The network is deleted and brought back, as one host sees it.
    Flicker {
        who: usize,
    },
    DropObsolete {
        by: usize,
    },
    Wait {
        seconds: u64,
    },
}

/// What becomes of an ask.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Reply {
    Arrives,
    /// The owner gave, but the asker hears of it only with the fact.
    Lost,
    /// The owner never hears the ask.
    Partitioned,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let reply =
        || prop_oneof![4 => Just(Reply::Arrives), 1 => Just(Reply::Lost), 1 => Just(Reply::Partitioned)];
    let n = any::<usize>;
    let step = prop_oneof![
        6 => n().prop_map(|by| Step::Allocate { by }),
        3 => (n(), n(), reply()).prop_map(|(by, offset, reply)| Step::Wish { by, offset, reply }),
        3 => (n(), n()).prop_map(|(by, which)| Step::Release { by, which }),
        5 => (n(), reply()).prop_map(|(by, reply)| Step::Ask { by, reply }),
        6 => (n(), n()).prop_map(|(to, which)| Step::Deliver { to, which }),
        2 => (n(), any::<u64>()).prop_map(|(who, remembers)| Step::Restart { who, remembers }),
        1 => n().prop_map(|who| Step::Flicker { who }),
        2 => n().prop_map(|by| Step::DropObsolete { by }),
        1 => (1_u64..40).prop_map(|seconds| Step::Wait { seconds }),
    ];
    vec(step, 0..120)
}

/// What survives a restart, and what runs.
struct Host {
    id: HostId,
    ipam: Ipam,
    held: BTreeSet<IpAddr>,
}

impl Host {
    fn restore(&mut self) {
        for address in &self.held {
            self.ipam.restore(NETWORK, POOL, *address).unwrap();
        }
    }
}

struct World {
    spec: NetworkSpec,
    hosts: Vec<Host>,
    /// The gift facts that their authors hold.
    facts: Vec<(HostId, GiftFact)>,
    seconds: u64,
}

impl World {
    fn new(prefix: &str, gateway: &str, hosts: u8, known: u8) -> Self {
        let spec = spec(prefix, gateway, known);
        let host = |id| {
            let mut ipam = Ipam::new(host(id));
            assert_eq!(ipam.network(NETWORK, &spec), []);
            Host { id: host(id), ipam, held: BTreeSet::new() }
        };
        Self { hosts: (1..=hosts).map(host).collect(), spec, facts: Vec::new(), seconds: 0 }
    }

    fn take(&mut self, step: &Step) {
        let (count, now) = (self.hosts.len(), at(self.seconds));
        match *step {
            Step::Allocate { by } => {
                let host = &mut self.hosts[by % count];
                let found = host.ipam.allocate(NETWORK, POOL, None, now);
                host.held.extend(found);
            }
            Step::Wish { by, offset, reply } => self.wish(by % count, offset, reply),
            Step::Release { by, which } => {
                let host = &mut self.hosts[by % count];
                if let Some(address) = host.held.iter().nth(which % host.held.len().max(1)).copied() {
                    host.held.remove(&address);
                    assert!(host.ipam.release(NETWORK, POOL, address, now));
                }
            }
            Step::Ask { by, reply } => {
                for ask in self.hosts[by % count].ipam.needs(now) {
                    self.ask(by % count, &ask, reply);
                }
            }
            Step::Deliver { to, which } => {
                if let Some((author, gift)) = self.facts.get(which % self.facts.len().max(1)) {
                    assert_eq!(self.hosts[to % count].ipam.gift(*author, gift), []);
                }
            }
            Step::Restart { who, remembers } => self.restart(who % count, remembers),
            Step::Flicker { who } => {
                let host = &mut self.hosts[who % count];
                host.ipam.remove_network(NETWORK);
                assert_eq!(host.ipam.network(NETWORK, &self.spec), []);
                host.restore();
            }
            Step::DropObsolete { by } => self.drop_obsolete(by % count),
            Step::Wait { seconds } => self.seconds += seconds,
        }
    }

    fn wish(&mut self, by: usize, offset: usize, reply: Reply) {
        let addresses = self.addresses();
        let (wish, now) = (addresses[offset % addresses.len()], at(self.seconds));
        match self.hosts[by].ipam.allocate(NETWORK, POOL, Some(wish), now) {
            Ok(address) => {
                assert_eq!(address, wish);
                assert!(self.hosts[by].held.insert(address));
            }
            Err(AllocateError::OwnedBy { .. }) => {
                let ask = self.hosts[by].ipam.ask_for(NETWORK, POOL, wish).unwrap();
                self.ask(by, &ask, reply);
            }
            Err(_) => {}
        }
    }

    fn ask(&mut self, by: usize, ask: &Ask, reply: Reply) {
        let (id, now) = (self.hosts[by].id, at(self.seconds));
        let owner = self.hosts.iter_mut().find(|host| host.id == ask.from).unwrap();
        if reply == Reply::Partitioned {
            return;
        }
        match owner.ipam.give(NETWORK, POOL, id, ask.want, now) {
            Ok(gift) => {
                let author = owner.id;
                self.facts.push((author, gift.clone()));
                if reply == Reply::Arrives {
                    assert_eq!(self.hosts[by].ipam.gift(author, &gift), []);
                }
            }
            Err(_) => self.hosts[by].ipam.refused(NETWORK, POOL, ask.from, now),
        }
    }

    /// The host comes back with its own facts and leases, and with those of the others' facts it had stored.
    fn restart(&mut self, who: usize, remembers: u64) {
        let host = &mut self.hosts[who];
        host.ipam = Ipam::new(host.id);
        let network_first = remembers.is_multiple_of(2);
        if network_first {
            host.ipam.network(NETWORK, &self.spec);
        }
        for (at, (author, gift)) in self.facts.iter().enumerate() {
            if *author == host.id || (remembers >> (at % 63)) % 2 == 1 {
                host.ipam.gift(*author, gift);
            }
        }
        if !network_first {
            host.ipam.network(NETWORK, &self.spec);
        }
        host.restore();
    }

    fn drop_obsolete(&mut self, by: usize) {
        let host = &mut self.hosts[by];
        for gift in host.ipam.obsolete_gifts(NETWORK, POOL) {
            host.ipam.gift_removed(host.id, &gift);
            let before = self.facts.len();
            self.facts.retain(|(author, fact)| *author != host.id || *fact != gift);
            assert_eq!(self.facts.len(), before - 1, "an obsolete gift is a fact of its own");
        }
    }

    fn addresses(&self) -> Vec<IpAddr> {
        match self.spec.subnets[0].prefix {
            IpNet::V4(net) => (net.network().to_bits()..=net.broadcast().to_bits())
                .map(|bits| IpAddr::V4(bits.into()))
                .collect(),
            IpNet::V6(net) => (net.network().to_bits()..=net.broadcast().to_bits())
                .map(|bits| IpAddr::V6(bits.into()))
                .collect(),
        }
    }

    fn check_safety(&self) {
        let gateway = self.spec.subnets[0].gateway;
        for address in self.addresses() {
            let holders: Vec<_> = self.hosts.iter().filter(|host| host.held.contains(&address)).collect();
            assert!(holders.len() <= 1, "{address} is held by {}", holders.len());
            assert!(holders.is_empty() || address != gateway);
            let owns = |host: &&Host| host.ipam.owner_of(NETWORK, POOL, address) == Some(host.id);
            assert!(self.hosts.iter().filter(owns).count() <= 1, "{address} has two owners");
        }
    }

    fn check_agreement(&mut self) {
        for host in &mut self.hosts {
            for (author, gift) in self.facts.iter().rev() {
                assert_eq!(host.ipam.gift(*author, gift), []);
            }
        }
        for address in self.addresses() {
            let owner = self.hosts[0].ipam.owner_of(NETWORK, POOL, address);
            assert!(owner.is_some(), "{address} belongs to nobody");
            for host in &self.hosts {
                assert_eq!(host.ipam.owner_of(NETWORK, POOL, address), owner, "{address}");
                assert!(!host.held.contains(&address) || owner == Some(host.id), "{address}");
            }
        }
    }
}

const POOLS: [(&str, &str); 8] = [
    ("10.64.0.0/26", "10.64.0.1"),
    ("10.64.0.0/28", "10.64.0.9"),
    ("10.64.0.0/29", "10.64.0.1"),
    ("10.64.0.0/30", "10.64.0.1"),
    ("10.64.0.0/31", "10.64.0.0"),
    ("255.255.255.255/32", "255.255.255.255"),
    ("255.255.255.240/28", "255.255.255.241"),
    ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff0/124", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff1"),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_address_is_ever_held_twice(pool in 0..POOLS.len(), hosts in 2_u8..=6, known in 1_u8..=6, steps in steps()) {
        let (prefix, gateway) = POOLS[pool];
        let mut world = World::new(prefix, gateway, hosts, known.min(hosts));
        for step in &steps {
            world.take(step);
            world.check_safety();
        }
        world.check_agreement();
    }
}

/// Without partitions, hosts that want everything get everything, whoever owned it first.
#[test]
fn every_usable_address_can_be_used_by_the_host_that_needs_it() {
    for (prefix, gateway) in POOLS {
        let mut world = World::new(prefix, gateway, 6, 3);
        for _ in 0..600 {
            world.take(&Step::Allocate { by: 5 });
            world.take(&Step::Ask { by: 5, reply: Reply::Arrives });
        }
        world.check_agreement();
        let usable = world.addresses().len().saturating_sub(match prefix.split_once('/').unwrap().1 {
            "31" | "32" => 1,
            "124" => 2,
            _ => 3,
        });
        assert_eq!(world.hosts[5].held.len(), usable, "{prefix}");
        let full = world.hosts[5].ipam.allocate(NETWORK, POOL, None, at(0)).unwrap_err();
        assert!(matches!(full, AllocateError::Full { total, .. } if total == usable as u128), "{full:?}");
    }
}

/// Hosts that only ask ahead of need come to rest instead of passing addresses to and fro.
#[test]
fn asking_ahead_of_need_comes_to_an_end() {
    for (prefix, gateway) in POOLS {
        let mut world = World::new(prefix, gateway, 6, 2);
        for round in 0..200 {
            world.take(&Step::Wait { seconds: 5 });
            if round == 100 {
                world.facts.clear();
            }
            for by in 0..6 {
                world.take(&Step::Ask { by, reply: Reply::Arrives });
            }
        }
        assert_eq!(world.facts, [], "{prefix}: gifts after the first hundred rounds");
    }
}
