//! Encrypted tunnels: this host's keys and when they change, and where the other hosts' ends are.
//!
//! An *end* is a key pair with a device, a UDP port and an address in the tunnel of its own. A key is never changed in
//! place: a new end is made beside the old one, every live host shakes hands with it, then it serves, and a minute
//! later the old one goes. At each moment both hosts of a pair hold session keys for whatever is under way, so a
//! change of keys (or of the process that encrypts) costs no packet.
//!
//! ```text
//!                 hosts that reach the old end         LINGER
//!   Coming ──────── reach this one too ──────> Serving ─ ─ ─ ─> (the next one serves) Leaving ──────> gone
//!     │ GIVE_UP
//!     └──────> gone, and the operator is told who does not reach it
//! ```
//!
//! What other hosts say of their ends comes as facts. Their addresses in the tunnel follow from host and generation
//! ([`tunnel_address`]). A host behind NAT does not know where it is heard: its peers tell each other, in facts too,
//! and both hosts of a pair then look for each other there ([`Tunnels::sight`]; `docs/internals/finding-ends.md`).

mod address;
mod claims;
mod contact;
mod effect;
mod end;
mod explain;
mod relay;
mod search;
mod sightings;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use shoal_schema::{FactKey, TunnelFact};
use shoal_types::{HostId, Moment, WallTime, WireGuardSecret};

pub use address::tunnel_address;
use claims::Claims;
use contact::Contact;
pub use contact::{SILENT_FOR, Status, TRY_FOR, TRY_OBSERVED_FOR};
pub use effect::Effect;
pub use end::{KeyPair, Making, Own, Stage};
pub use explain::{Evidence, Explanation, explain};
pub use relay::HOMES;
use search::Lookout;
pub use search::{OBSERVERS, TELL_EVERY};
use sightings::Sightings;
pub use view::{Nat, OtherEnd};

/// How often a key gives way to the next, unless it is set otherwise.
pub const KEY_LIFETIME: Duration = Duration::from_secs(7 * 86_400);

/// How long an end stays beside its successor: facts travel within a second, packets within a few.
pub const LINGER: Duration = Duration::from_secs(60);

/// Least time between making an end and using it: others must have had the chance to hear of it.
pub const COMING_LEAST: Duration = Duration::from_secs(3);

/// How long a new end waits for hosts that reach the old one.
pub const GIVE_UP: Duration = Duration::from_secs(600);

/// What every record's key begins with.
pub const RECORDS: &[u8] = end::PREFIX;

/// All ends this host knows, its own and the others'.
#[derive(Debug, Clone)]
pub struct Tunnels {
    me: HostId,
    /// UDP port of the loopback device where the agent takes packets for ends that cannot be met.
    relay_port: u16,
    own: BTreeMap<u32, Own>,
    others: BTreeMap<HostId, BTreeMap<u32, TunnelFact>>,
    claims: Claims,
    /// By own generation, other host, its generation.
    contacts: BTreeMap<(u32, HostId, u32), Contact>,
    /// Where each host says it is, this one included.
    addresses: BTreeMap<HostId, Vec<IpAddr>>,
    sightings: Sightings,
    lookout: Lookout,
    /// The other hosts that membership hears.
    alive: BTreeSet<HostId>,
    /// The last generation that was ever begun.
    last: Option<u32>,
    drawing: bool,
    /// A change of keys is wanted as soon as none is under way.
    change: bool,
}

impl Tunnels {
    /// Knows nobody and has no end. `relay_port`: UDP port on the loopback device where the agent takes packets for
    /// ends that cannot be met.
    pub fn new(me: HostId, relay_port: u16) -> Self {
        Self {
            me,
            relay_port,
            own: BTreeMap::new(),
            others: BTreeMap::new(),
            claims: Claims::default(),
            contacts: BTreeMap::new(),
            addresses: BTreeMap::new(),
            sightings: Sightings::default(),
            lookout: Lookout::default(),
            alive: BTreeSet::new(),
            last: None,
            drawing: false,
            change: false,
        }
    }

    /// Takes up records that were kept; those of another form are left alone.
    pub fn restore<'a>(&mut self, records: impl Iterator<Item = (&'a [u8], &'a [u8])>, now: Moment) {
        for (key, value) in records {
            if let Some(end) = Own::decode(key, value, now) {
                self.last = self.last.max(Some(end.generation));
                self.claims.add(self.me, &fact(&end));
                self.own.insert(end.generation, end);
            }
        }
    }

    /// Forgets everything, as when the host leaves its fabric. Returns the keys of its records.
    pub fn forget_all(&mut self) -> Vec<Vec<u8>> {
        let records = self.own.keys().map(|generation| Own::record_key(*generation)).collect();
        *self = Self { last: self.last, ..Self::new(self.me, self.relay_port) };
        records
    }

    /// The facts of this host's ends.
    pub fn facts(&self) -> Vec<TunnelFact> {
        self.own.values().map(fact).collect()
    }

    /// Asks for a change of keys.
    ///
    /// # Errors
    /// A sentence, if one is under way.
    pub fn rotate(&mut self) -> Result<(), String> {
        if self.own.len() > 1 || self.drawing || self.change {
            return Err("a change of keys is under way on this host already: it takes about a minute".into());
        }
        self.change = true;
        Ok(())
    }

    /// Keys that were asked for will not come: they are asked for again.
    pub fn keys_not_drawn(&mut self) {
        self.drawing = false;
    }

    /// Makes a new end of a pair of keys that was drawn, with the fabric's secret if it is known.
    pub fn begin(
        &mut self,
        keys: KeyPair,
        making: Making,
        secret: Option<WireGuardSecret>,
        now: Moment,
        wall: WallTime,
    ) -> Vec<Effect> {
        self.drawing = false;
        self.change = false;
        let first = self.own.is_empty();
        let generation = self.free_generation();
        self.last = Some(generation);
        let stage = if first { Stage::Serving } else { Stage::Coming };
        let end = Own { generation, keys, making, secret, made: wall, stage, since: now };
        let effects = vec![
            Effect::Save(Own::record_key(generation), Some(end.encode())),
            Effect::Publish(fact(&end)),
            Effect::ProjectSoon,
        ];
        self.claims.add(self.me, &fact(&end));
        self.own.insert(generation, end);
        effects
    }

    /// A fact of another host. Returns whether the plan may have changed.
    pub fn learn(&mut self, author: HostId, fact: TunnelFact) -> bool {
        if author == self.me {
            return false;
        }
        self.unclaim(author, fact.generation);
        self.claims.add(author, &fact);
        self.others.entry(author).or_default().insert(fact.generation, fact);
        true
    }

    /// A fact that another host took back. Returns whether the plan may have changed.
    pub fn unlearn(&mut self, author: HostId, generation: u32) -> bool {
        self.unclaim(author, generation);
        let Some(ends) = self.others.get_mut(&author) else { return false };
        let gone = ends.remove(&generation).is_some();
        if ends.is_empty() {
            self.others.remove(&author);
        }
        self.contacts.retain(|(_, host, theirs), _| (*host, *theirs) != (author, generation));
        gone
    }

    /// A host is out: nothing of it is a peer any more, and what this host says of it is taken back.
    pub fn forget(&mut self, host: HostId) -> Vec<Effect> {
        for fact in self.others.remove(&host).unwrap_or_default().into_values() {
            self.claims.remove(host, &fact);
        }
        self.contacts.retain(|(_, other, _), _| *other != host);
        self.addresses.remove(&host);
        let own: Vec<_> = self.sightings.by(self.me).into_iter().filter(|((of, _), _)| *of == host).collect();
        self.sightings.forget(host);
        own.into_iter()
            .map(|((of, generation), _)| Effect::Withdraw(FactKey::sighting(of, generation)))
            .collect()
    }

    /// Moves each end on. `alive`: the other hosts that membership hears. `making`: how an end would be made now.
    pub fn tick(
        &mut self,
        alive: &BTreeSet<HostId>,
        making: &Making,
        lifetime: Duration,
        now: Moment,
        wall: WallTime,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.note_alive(alive) {
            effects.push(Effect::ProjectSoon);
        }
        if self.own.is_empty() || self.is_change_due(making, lifetime, wall) {
            if !self.drawing {
                self.drawing = true;
                effects.push(Effect::DrawKeys);
            }
            return effects;
        }
        self.tick_coming(alive, now, &mut effects);
        let leaving: Vec<u32> = self
            .at(Stage::Leaving)
            .filter(|end| now.since(end.since) >= LINGER)
            .map(|end| end.generation)
            .collect();
        for generation in leaving {
            self.end(generation, &mut effects);
        }
        effects
    }

    fn is_change_due(&self, making: &Making, lifetime: Duration, wall: WallTime) -> bool {
        let [serving] = self.own.values().collect::<Vec<_>>()[..] else { return false };
        let clashes = !self.claims.is_held(self.me, &fact(serving));
        self.change || clashes || wall.since(serving.made) >= lifetime || serving.making != *making
    }

    /// A new end serves once every live host that reaches the old one reaches it too.
    fn tick_coming(&mut self, alive: &BTreeSet<HostId>, now: Moment, effects: &mut Vec<Effect>) {
        let Some((coming, since)) = self.at(Stage::Coming).next().map(|end| (end.generation, end.since))
        else {
            return;
        };
        let Some(old) = self.serving().map(|end| end.generation) else {
            return self.promote(coming, None, now, effects);
        };
        let waited = now.since(since);
        if waited < COMING_LEAST {
            return;
        }
        let behind: Vec<HostId> =
            alive.iter().copied().filter(|host| self.reaches_only(*host, old, coming, now)).collect();
        if behind.is_empty() {
            self.promote(coming, Some(old), now, effects);
        } else if waited >= GIVE_UP {
            let port = self.own.get(&coming).map_or(0, Own::port);
            let hosts: Vec<String> = behind.iter().map(|host| host.short()).collect();
            effects.push(Effect::Notice(format!(
                "this host keeps its key for now: host {} gets no answer from the new one on UDP port {port}; open it in \
                 the firewalls between the hosts",
                hosts.join(", ")
            )));
            self.end(coming, effects);
        }
    }

    /// Whether a host shook hands with one of our ends and not with the other.
    fn reaches_only(&self, host: HostId, old: u32, coming: u32, now: Moment) -> bool {
        let up = |own, end: &OtherEnd| {
            self.contact(own, host, end.generation).is_some_and(|contact| contact.is_up(now))
        };
        self.of(host).iter().filter(|end| end.serving).any(|end| up(old, end) && !up(coming, end))
    }

    fn promote(&mut self, coming: u32, old: Option<u32>, now: Moment, effects: &mut Vec<Effect>) {
        let steps = [(Some(coming), Stage::Serving), (old, Stage::Leaving)];
        for (generation, stage) in steps {
            if let Some(end) = generation.and_then(|generation| self.own.get_mut(&generation)) {
                (end.stage, end.since) = (stage, now);
                effects.push(Effect::Save(Own::record_key(end.generation), Some(end.encode())));
                effects.push(Effect::Publish(fact(end)));
            }
        }
        effects.push(Effect::ProjectSoon);
    }

    fn end(&mut self, generation: u32, effects: &mut Vec<Effect>) {
        if let Some(end) = self.own.remove(&generation) {
            self.claims.remove(self.me, &fact(&end));
        }
        self.contacts.retain(|(own, ..), _| *own != generation);
        effects.push(Effect::Save(Own::record_key(generation), None));
        effects.push(Effect::Withdraw(FactKey::tunnel(generation)));
        effects.push(Effect::ProjectSoon);
    }

    fn unclaim(&mut self, host: HostId, generation: u32) {
        if let Some(fact) = self.others.get(&host).and_then(|ends| ends.get(&generation)) {
            self.claims.remove(host, fact);
        }
    }

    fn at(&self, stage: Stage) -> impl Iterator<Item = &Own> {
        self.own.values().filter(move |end| end.stage == stage)
    }

    /// The next generation whose address nobody has.
    fn free_generation(&self) -> u32 {
        let mut generation = self.last.map_or(0, |last| last.wrapping_add(1));
        while !self.claims.is_free(self.me, generation) {
            generation = generation.wrapping_add(1);
        }
        generation
    }
}

fn fact(end: &Own) -> TunnelFact {
    TunnelFact {
        generation: end.generation,
        key: end.keys.key,
        port: end.port(),
        serving: end.stage == Stage::Serving,
        preshared: end.secret.is_some(),
    }
}

#[cfg(test)]
mod tests;
