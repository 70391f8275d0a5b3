//! What others may read.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

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

/// Seconds between packets to an end that is new.
const KEEPALIVE_NEW: u16 = 5;

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

    /// Where to send to another end from one of ours: nowhere in particular while it answers, else to one of the
    /// host's addresses after the other.
    pub fn endpoint(
        &self,
        own: u32,
        host: HostId,
        end: &OtherEnd,
        addresses: &[IpAddr],
        now: Moment,
    ) -> Option<SocketAddr> {
        let contact = self.contacts.get(&(own, host, end.generation));
        if contact.is_some_and(|contact| contact.is_found(now)) || addresses.is_empty() {
            return None;
        }
        let attempt = contact.map_or(0, |contact| contact.attempt);
        let address = addresses.get(attempt % addresses.len())?;
        Some(SocketAddr::new(*address, end.port))
    }

    /// How often one of our ends sends to another at least, seconds: while one of the two is new it must be reached
    /// before anybody needs it.
    pub fn keepalive(&self, own: &Own, theirs: &OtherEnd) -> Option<u16> {
        (own.stage == Stage::Coming || (own.stage == Stage::Serving && !theirs.serving))
            .then_some(KEEPALIVE_NEW)
    }

    /// What was last read of the tunnel between the serving ends of this host and another; the handshake's age is that
    /// of now.
    pub fn status(&self, host: HostId, now: Moment) -> Option<Status> {
        let theirs = self.of(host).into_iter().find(|end| end.serving)?;
        let contact = self.contact(self.serving()?.generation, host, theirs.generation)?;
        Some(Status { handshake: contact.handshake_age(now), ..contact.status.clone() })
    }

    /// Whether some tunnel has no session yet or a change of keys is under way: worth a look more often.
    pub fn is_unsettled(&self, now: Moment) -> bool {
        self.own.len() > 1 || self.contacts.values().any(|contact| !contact.is_found(now))
    }

    pub(crate) fn contact(&self, own: u32, host: HostId, generation: u32) -> Option<&Contact> {
        self.contacts.get(&(own, host, generation))
    }
}
