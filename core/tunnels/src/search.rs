//! Other hosts' ends are looked for where they say they are and where others hear them; what this host hears is told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use shoal_plan::is_relayed;
use shoal_schema::{FactKey, SightingFact};
use shoal_types::{HostId, Moment, WireGuardKey};

use crate::contact::{Contact, Places, Status};
use crate::sightings::EndId;
use crate::{Effect, Tunnels};

/// Hosts that tell of one end: so many are enough, also if some of them lie or see a place of their own.
pub const OBSERVERS: usize = 4;

/// Least time between two things this host says of one end.
pub const TELL_EVERY: Duration = Duration::from_secs(5);

/// How much longer each next group of [`OBSERVERS`] hosts waits before it tells, at most [`TURN_MAX`] in all: usually
/// the first group has told by then.
const TURN: Duration = Duration::from_secs(2);
const TURN_MAX: Duration = Duration::from_secs(60);

/// What this host has to say of other ends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lookout {
    /// Since when an end is heard where its host does not say it is.
    noticed: BTreeMap<EndId, Moment>,
    /// When this host last said something of an end.
    told: BTreeMap<EndId, Moment>,
}

impl Tunnels {
    /// Where a host says it is, the preferred address first; empty: it says so no more. This host's own addresses tell
    /// which families it can send to. Returns whether the plan may have changed.
    pub fn place(&mut self, host: HostId, addresses: Vec<IpAddr>) -> bool {
        let new = addresses.clone();
        let old = if addresses.is_empty() {
            self.addresses.remove(&host)
        } else {
            self.addresses.insert(host, addresses)
        };
        let old = old.unwrap_or_default();
        if old == new {
            return false;
        }
        let moved_to = new.iter().position(|address| !old.contains(address));
        let left = |endpoint: SocketAddr| old.contains(&endpoint.ip()) && !new.contains(&endpoint.ip());
        for ((_, other, _), contact) in &mut self.contacts {
            let was_there = contact.status.endpoint.is_some_and(left);
            if let Some(index) = moved_to.filter(|_| *other == host && was_there) {
                contact.suspect(Places::attempt_advertised(index));
            }
        }
        true
    }

    /// A host tells where it hears an end. Returns whether the plan may have changed.
    ///
    /// Both hosts of a pair that has no session jump to each other's new place as soon as the fact arrives, which is
    /// within about a second on both: their first packets open the way for each other.
    pub fn sight(&mut self, observer: HostId, fact: &SightingFact, now: Moment) -> bool {
        let end = (fact.host, fact.generation);
        let before = self.sightings.places(end);
        let left = self.sightings.add(observer, fact);
        let after = self.sightings.places(end);
        if before == after {
            return false;
        }
        let Some(index) = after.iter().position(|place| !before.contains(place)) else { return true };
        if fact.host == self.me {
            self.open_up(now);
            return true;
        }
        for ((_, host, generation), contact) in &mut self.contacts {
            if (*host, *generation) != end {
                continue;
            }
            if !contact.is_found(now) {
                contact.look(Places::attempt_observed(index), now);
            } else if left.is_some() && contact.status.endpoint == left {
                contact.suspect(Places::attempt_observed(index));
            }
        }
        true
    }

    /// A host takes back what it told of an end. Returns whether the plan may have changed.
    pub fn unsight(&mut self, observer: HostId, host: HostId, generation: u32) -> bool {
        self.sightings.remove(observer, (host, generation))
    }

    /// What was read of this host's tunnels, by own generation and the other end's key.
    pub fn observe(&mut self, statuses: &BTreeMap<(u32, WireGuardKey), Status>, now: Moment) -> Vec<Effect> {
        let mut changed = false;
        let ends: Vec<_> =
            self.others.iter().flat_map(|(host, ends)| ends.values().map(|it| (*host, it.clone()))).collect();
        for own in self.own.keys().copied().collect::<Vec<_>>() {
            for (host, theirs) in &ends {
                let places = self.places(*host, theirs.generation, theirs.port);
                let called = self.is_called(*host);
                let id = (own, *host, theirs.generation);
                let contact = self.contacts.entry(id).or_insert_with(|| Contact::new(now));
                let before = (contact.is_found(now), contact.attempt);
                contact.observe(
                    statuses.get(&(own, theirs.key)).cloned().unwrap_or_default(),
                    &places,
                    called,
                    now,
                );
                changed |= before != (contact.is_found(now), contact.attempt);
            }
        }
        let own = &self.own;
        self.contacts.retain(|(mine, ..), _| own.contains_key(mine));
        let mut effects = self.tell_sightings(now);
        if changed {
            effects.push(Effect::ProjectSoon);
        }
        effects
    }

    /// Where an end may be, in families that this host has.
    pub(crate) fn places(&self, host: HostId, generation: u32, port: u16) -> Places {
        let own = self.addresses.get(&self.me);
        let usable =
            |address: &IpAddr| own.is_none_or(|own| own.iter().any(|own| own.is_ipv4() == address.is_ipv4()));
        let advertised = self.addresses.get(&host).into_iter().flatten().filter(|it| usable(it));
        let advertised: Vec<_> = advertised.map(|address| SocketAddr::new(*address, port)).collect();
        let mut observed = self.sightings.places((host, generation));
        observed.retain(|place| usable(&place.ip()) && !advertised.contains(place));
        let relayed = self.relay_place(host, generation).into_iter().collect();
        Places { advertised, observed, relayed }
    }

    /// Whether one of our ends keeps trying to shake hands with a host of its own accord: traffic alone would not make
    /// both try at the same time.
    pub(crate) fn is_called(&self, host: HostId) -> bool {
        self.alive.contains(&host) && (self.is_behind_nat(self.me) || self.is_behind_nat(host))
    }

    /// This host was seen at a new place: the others look for it there, so it looks for them.
    fn open_up(&mut self, now: Moment) {
        let sightings = &self.sightings;
        for ((_, host, generation), contact) in &mut self.contacts {
            if !contact.is_found(now) && sightings.of((*host, *generation)).next().is_some() {
                contact.look(Places::attempt_observed(0), now);
            }
        }
    }

    /// Tells where other ends are heard, if nobody can know it from their hosts; takes back what is not so any more.
    fn tell_sightings(&mut self, now: Moment) -> Vec<Effect> {
        let heard = self.heard_elsewhere(now);
        let known: BTreeMap<EndId, SocketAddr> = self.sightings.by(self.me).into_iter().collect();
        let surplus = |end: &EndId| self.observers(*end).filter(|host| *host < self.me).count() >= OBSERVERS;
        let stale: Vec<EndId> =
            known.keys().copied().filter(|end| !heard.contains_key(end) || surplus(end)).collect();
        let mut news = Vec::new();
        self.lookout.noticed.retain(|end, _| heard.contains_key(end));
        for (end, endpoint) in &heard {
            let noticed = *self.lookout.noticed.entry(*end).or_insert(now);
            let told_lately = self.lookout.told.get(end).is_some_and(|told| now.since(*told) < TELL_EVERY);
            let is_turn = known.contains_key(end)
                || (self.observers(*end).count() < OBSERVERS && now.since(noticed) >= self.turn(end.0));
            if known.get(end) != Some(endpoint) && is_turn && !told_lately && !stale.contains(end) {
                news.push(SightingFact { host: end.0, generation: end.1, endpoint: *endpoint });
            }
        }
        let others = &self.others;
        self.lookout.told.retain(|(host, _), _| others.contains_key(host));
        let mut effects = Vec::new();
        for end in stale {
            self.sightings.remove(self.me, end);
            effects.push(Effect::Withdraw(FactKey::sighting(end.0, end.1)));
        }
        for fact in news {
            self.lookout.told.insert((fact.host, fact.generation), now);
            self.sightings.add(self.me, &fact);
            effects.push(Effect::Sight(fact));
        }
        effects
    }

    /// The ends that answer from a place that their host does not tell, and that place. An end that does not answer at
    /// the moment stays where this host said it was.
    fn heard_elsewhere(&self, now: Moment) -> BTreeMap<EndId, SocketAddr> {
        let mut heard = BTreeMap::<EndId, (Duration, SocketAddr)>::new();
        let said: BTreeMap<EndId, SocketAddr> = self.sightings.by(self.me).into_iter().collect();
        for ((_, host, generation), contact) in &self.contacts {
            let end = (*host, *generation);
            let fact = self.others.get(host).and_then(|ends| ends.get(generation));
            let age = contact.handshake_age(now).filter(|_| contact.is_up(now));
            let endpoint =
                if contact.is_found(now) { contact.status.endpoint } else { said.get(&end).copied() };
            let (Some(fact), Some(age), Some(endpoint)) = (fact, age, endpoint) else { continue };
            let told = self.addresses.get(host).is_some_and(|own| own.contains(&endpoint.ip()));
            let known = self.addresses.contains_key(host) && !is_relayed(endpoint);
            if known && !(told && endpoint.port() == fact.port) {
                let youngest = heard.entry(end).or_insert((age, endpoint));
                *youngest = (*youngest).min((age, endpoint));
            }
        }
        heard.into_iter().map(|(end, (_, endpoint))| (end, endpoint)).collect()
    }

    /// Other hosts that tell of an end.
    fn observers(&self, end: EndId) -> impl Iterator<Item = HostId> {
        self.sightings.of(end).map(|(observer, _)| observer).filter(|observer| *observer != self.me)
    }

    /// How long this host leaves it to others to tell of a host.
    fn turn(&self, of: HostId) -> Duration {
        let before = self.others.keys().filter(|host| **host < self.me && **host != of).count();
        let groups = u32::try_from(before / OBSERVERS).unwrap_or(u32::MAX);
        TURN.saturating_mul(groups).min(TURN_MAX)
    }

    /// Takes note of who lives; whether that may change the plan.
    pub(crate) fn note_alive(&mut self, alive: &BTreeSet<HostId>) -> bool {
        if self.alive == *alive {
            return false;
        }
        self.alive.clone_from(alive);
        // Who is called behind a NAT depends on it, and for whom there are relays.
        !self.others.is_empty()
    }
}
