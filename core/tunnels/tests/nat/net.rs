//! Hosts, NATs and a WireGuard of few words, as values.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use shoal_types::{Moment, WireGuardKey};

/// Which packets of one inner port share an outer port (RFC 4787, section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mapping {
    EndpointIndependent,
    AddressAndPortDependent,
}

/// From whom a packet to an outer port is let in (RFC 4787, section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filtering {
    EndpointIndependent,
    AddressDependent,
    AddressAndPortDependent,
}

/// How long an unanswered mapping lives: Linux gives 30 s.
const MAPPING_LIVES: Duration = Duration::from_secs(30);

/// One NAT in front of one host.
#[derive(Debug, Clone)]
pub(crate) struct Nat {
    pub(crate) outer: Ipv4Addr,
    pub(crate) mapping: Mapping,
    pub(crate) filtering: Filtering,
    next_port: u16,
    /// By inner endpoint, and the peer where mappings differ by peer: the outer port.
    ports: BTreeMap<(SocketAddr, Option<SocketAddr>), u16>,
    /// Outer port and peer: when a packet last went out.
    open: BTreeMap<(u16, SocketAddr), Moment>,
}

impl Nat {
    pub(crate) fn new(outer: Ipv4Addr, mapping: Mapping, filtering: Filtering) -> Self {
        Self { outer, mapping, filtering, next_port: 40_000, ports: BTreeMap::new(), open: BTreeMap::new() }
    }

    /// Forgets all mappings, as a router does that restarts.
    pub(crate) fn forget(&mut self) {
        self.ports.clear();
        self.open.clear();
    }

    fn outward(&mut self, inner: SocketAddr, peer: SocketAddr, now: Moment) -> SocketAddr {
        let by_peer = (self.mapping == Mapping::AddressAndPortDependent).then_some(peer);
        let port = *self.ports.entry((inner, by_peer)).or_insert_with(|| {
            self.next_port += 1;
            self.next_port
        });
        self.open.insert((port, peer), now);
        SocketAddr::new(self.outer.into(), port)
    }

    fn inward(&self, port: u16, from: SocketAddr, now: Moment) -> Option<SocketAddr> {
        let lets_in = |(open, peer): &(u16, SocketAddr)| {
            *open == port
                && match self.filtering {
                    Filtering::EndpointIndependent => true,
                    Filtering::AddressDependent => peer.ip() == from.ip(),
                    Filtering::AddressAndPortDependent => *peer == from,
                }
        };
        let fresh = |(key, at): (&(u16, SocketAddr), &Moment)| lets_in(key) && now.since(*at) < MAPPING_LIVES;
        self.open.iter().any(fresh).then_some(())?;
        self.ports.iter().find(|(_, outer)| **outer == port).map(|((inner, _), _)| *inner)
    }
}

/// Where packets go: hosts by inner endpoint, some of them behind a NAT.
#[derive(Debug, Default)]
pub(crate) struct Net {
    pub(crate) hosts: Vec<(SocketAddr, Option<Nat>)>,
}

impl Net {
    /// The host that a packet reaches, and where it seems to come from.
    pub(crate) fn pass(&mut self, from: usize, to: SocketAddr, now: Moment) -> Option<(usize, SocketAddr)> {
        let (inner, nat) = &mut self.hosts[from];
        let source = nat.as_mut().map_or(*inner, |nat| nat.outward(*inner, to, now));
        let target = self.hosts.iter().position(|(inner, nat)| match nat {
            None => *inner == to,
            Some(nat) => {
                IpAddr::from(nat.outer) == to.ip() && nat.inward(to.port(), source, now) == Some(*inner)
            }
        });
        target.filter(|target| *target != from).map(|target| (target, source))
    }
}

/// One peer of a host's device: what the protocol keeps of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peer {
    pub(crate) key: Option<WireGuardKey>,
    pub(crate) endpoint: Option<SocketAddr>,
    /// What was last asked for.
    pub(crate) wanted: Option<SocketAddr>,
    pub(crate) keepalive: Option<u16>,
    pub(crate) handshake: Option<Moment>,
    pub(crate) initiated: Option<Moment>,
    pub(crate) sent: Option<Moment>,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
}

/// A handshake may be repeated after this (Rekey-Timeout).
pub(crate) const REKEY_TIMEOUT: Duration = Duration::from_secs(5);
/// Keys are made anew by the next packet after this (Rekey-After-Time) and not used after 180 s.
pub(crate) const REKEY_AFTER: Duration = Duration::from_secs(120);
