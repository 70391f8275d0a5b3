//! What others may read.

use std::net::{Ipv4Addr, SocketAddr};

use shoal_schema::TunnelFact;
use shoal_types::{HostId, Moment, WireGuardKey};

use crate::contact::Contact;
use crate::{Own, Stage, Status, Tunnels, tunnel_address};

/// Another host's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherEnd {
    /// Which of the host's keys it is.
    pub generation: u32,
    /// The public key.
    pub key: WireGuardKey,
    /// Its address in the tunnel.
    pub address: Ipv4Addr,
    /// UDP port on the host's underlay addresses.
    pub port: u16,
    /// Whether it is the one to send to.
    pub serving: bool,
    /// Whether it mixes a pre-shared key into handshakes with ends that do so too.
    pub preshared: bool,
}

/// What stands between a host and its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nat {
    /// Nothing that anybody has seen.
    None,
    /// A translation that looks alike to all who tell of it: others can be told where to try.
    Steady,
    /// A translation with another port for each peer ("symmetric"; RFC 4787 calls it address and port-dependent
    /// mapping): what one peer sees is of no use to another.
    PerPeer,
}

/// Seconds between packets to an end that is new or looked for.
const KEEPALIVE_NEW: u16 = 5;

/// Seconds between packets of a host behind NAT: less than the 30 s after which the shortest-lived NATs forget.
const KEEPALIVE_NAT: u16 = 25;

impl Tunnels {
    /// This host's ends, the oldest first.
    pub fn own(&self) -> impl Iterator<Item = &Own> {
        self.own.values()
    }

    /// This host's end that packets leave through.
    pub fn serving(&self) -> Option<&Own> {
        self.own.values().find(|end| end.stage == Stage::Serving)
    }

    /// The ends of another host that can be peers, the oldest first. An address or a key that another end has too
    /// belongs to the lower host id, whichever is newer: every host decides alike.
    pub fn of(&self, host: HostId) -> Vec<OtherEnd> {
        let Some(facts) = self.others.get(&host) else { return Vec::new() };
        let serving = facts.values().filter(|fact| fact.serving).map(|fact| fact.generation).max();
        let held = |fact: &&TunnelFact| self.claims.is_held(host, fact);
        let end = |fact: &TunnelFact| OtherEnd {
            generation: fact.generation,
            key: fact.key,
            address: tunnel_address(host, fact.generation),
            port: fact.port,
            serving: Some(fact.generation) == serving,
            preshared: fact.preshared,
        };
        facts.values().filter(held).map(end).collect()
    }

    /// Where to send to another end from one of ours: nowhere in particular while it is heard, else to one of the
    /// places where it may be after the other.
    pub fn endpoint(&self, own: u32, host: HostId, end: &OtherEnd, now: Moment) -> Option<SocketAddr> {
        let contact = self.contacts.get(&(own, host, end.generation));
        if contact.is_some_and(|contact| contact.is_found(now)) {
            return None;
        }
        self.places(host, end.generation, end.port).at(contact.map_or(0, |contact| contact.attempt))
    }

    /// How often one of our ends sends to another at least, seconds. While one of the two is new it must be reached
    /// before anybody needs it; while a NAT is between them both must try at the same time; and a host behind NAT keeps
    /// the way to itself open.
    pub fn keepalive(&self, own: &Own, host: HostId, theirs: &OtherEnd, now: Moment) -> Option<u16> {
        if own.stage == Stage::Coming || (own.stage == Stage::Serving && !theirs.serving) {
            return Some(KEEPALIVE_NEW);
        }
        if own.stage != Stage::Serving || !self.is_called(host) {
            return None;
        }
        let found = self
            .contact(own.generation, host, theirs.generation)
            .is_some_and(|contact| contact.is_found(now));
        match (found, self.is_behind_nat(self.me)) {
            (false, _) => Some(KEEPALIVE_NEW),
            (true, true) => Some(KEEPALIVE_NAT),
            (true, false) => None,
        }
    }

    /// Whether others hear a host, this one included, elsewhere than it says it is.
    pub fn is_behind_nat(&self, host: HostId) -> bool {
        self.nat(host) != Nat::None
    }

    /// What others' sightings tell of a host, this one included.
    pub fn nat(&self, host: HostId) -> Nat {
        let ends: Vec<(u32, u16)> = if host == self.me {
            self.own.values().map(|end| (end.generation, end.port())).collect()
        } else {
            self.others.get(&host).into_iter().flatten().map(|(_, it)| (it.generation, it.port)).collect()
        };
        let mut nat = Nat::None;
        for (generation, port) in ends {
            let mut seen: Vec<SocketAddr> =
                self.sightings.of((host, generation)).map(|(_, place)| place).collect();
            let told = |place: &SocketAddr| {
                place.port() == port && self.addresses.get(&host).is_some_and(|it| it.contains(&place.ip()))
            };
            seen.retain(|place| !told(place));
            seen.sort();
            seen.dedup();
            let per_peer = seen.windows(2).any(|two| matches!(two, [a, b] if a.ip() == b.ip()));
            let found = match (seen.is_empty(), per_peer) {
                (true, _) => Nat::None,
                (false, false) => Nat::Steady,
                (false, true) => Nat::PerPeer,
            };
            nat = nat.max(found);
        }
        nat
    }

    /// Whether the serving ends of this host and another found each other at an address that the other does not tell.
    pub fn is_observed(&self, host: HostId, endpoint: SocketAddr) -> bool {
        let port = self.of(host).into_iter().find(|end| end.serving).map(|end| end.port);
        let told = self.addresses.get(&host).is_some_and(|own| own.contains(&endpoint.ip()));
        !(told && port == Some(endpoint.port()))
    }

    /// How long the serving ends of this host and another have looked for each other; zero if they have a session.
    pub fn looked_for(&self, host: HostId, now: Moment) -> Option<std::time::Duration> {
        let theirs = self.of(host).into_iter().find(|end| end.serving)?;
        Some(self.contact(self.serving()?.generation, host, theirs.generation)?.looked_for(now))
    }

    /// Whether a host tells of an end that cannot be a peer, because another host has its key or its address.
    pub fn is_clashing(&self, host: HostId) -> bool {
        self.others.get(&host).into_iter().flatten().any(|(_, fact)| !self.claims.is_held(host, fact))
    }

    /// What was last read of the tunnel between the serving ends of this host and another; the handshake's age is that
    /// of now.
    pub fn status(&self, host: HostId, now: Moment) -> Option<Status> {
        let theirs = self.of(host).into_iter().find(|end| end.serving)?;
        let contact = self.contact(self.serving()?.generation, host, theirs.generation)?;
        Some(Status { handshake: contact.handshake_age(now), ..contact.status.clone() })
    }

    /// Whether a change of keys is under way or some tunnel to a live host has no session yet, one that was just heard
    /// of included: worth a look more often. A host that is down answers nothing, for however long it is looked at.
    pub fn is_unsettled(&self, now: Moment) -> bool {
        let is_unsettled = |host: HostId, theirs: u32| {
            let mut contacts = self.own.keys().map(|own| self.contact(*own, host, theirs));
            contacts.any(|contact| contact.is_none_or(|contact| contact.is_unsettled(now)))
        };
        let mut live = self.alive.iter().filter_map(|host| Some((*host, self.others.get(host)?)));
        self.own.len() > 1 || live.any(|(host, ends)| ends.keys().any(|theirs| is_unsettled(host, *theirs)))
    }

    pub(crate) fn contact(&self, own: u32, host: HostId, generation: u32) -> Option<&Contact> {
        self.contacts.get(&(own, host, generation))
    }
}
