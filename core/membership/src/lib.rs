//! Who is alive: SWIM membership without clock or socket.
//!
//! Every host probes another one in turn (Das, Gupta and Motivala, "SWIM", 2002); one that answers neither directly
//! nor through three others is suspected, and declared down unless it objects in time. News travels on the probes.
//! The protocol is the `foca` crate's; this one gives it our ids, a queue of timers, and the will to find each other
//! again: a host declared down takes a new life, and hosts that are not alive are called again and again, so that
//! partitions heal without an operator.
//!
//! What membership believes is a hint, for speed. Nothing that must be right depends on it.

mod effect;
mod identity;
mod objection;
mod runtime;
mod tuning;

use std::collections::BTreeSet;

use foca::{Codec, Foca, Member, NoCustomBroadcast, PostcardCodec};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use shoal_kit::Prng;
use shoal_types::{HostId, Moment};

pub use effect::{Effect, Stats};
pub use tuning::{CALL_PAUSE, CALLED_AT_ONCE, CALLED_AT_START, MESSAGE_BYTES_MAX, PROBE_PERIOD};

use identity::Identity;
use objection::Objection;
use runtime::{Calls, Timers};

/// First byte of every message; a host that speaks another version is not understood.
const WIRE_VERSION: u8 = 1;

/// This host's view of who is alive.
///
/// Each call returns effects to be carried out in the order of the list. [`Membership::next_timeout`] tells when to
/// call [`Membership::tick`].
pub struct Membership {
    me: HostId,
    foca: Foca<Identity, PostcardCodec, SmallRng, NoCustomBroadcast>,
    timers: Timers,
    /// Hosts that membership told the caller are alive.
    alive: BTreeSet<HostId>,
    /// Hosts the caller named or others told of, dead ones included.
    known: BTreeSet<HostId>,
    forgotten: BTreeSet<HostId>,
    next_call: Option<Moment>,
    objection: Objection,
    prng: Prng,
    /// Cluster size the protocol is tuned for.
    tuned_for: usize,
    left: bool,
    stats: Stats,
}

impl Membership {
    /// A member that knows nobody. `life` must be higher than in an earlier run of this host (milliseconds of the wall
    /// clock will do); if it is not, the host still gets in, a few seconds later. `seed` drives the choice of whom
    /// to probe and should differ from host to host.
    pub fn new(me: HostId, life: u64, seed: u64) -> Self {
        let identity = Identity::new(me, life);
        let rng = SmallRng::seed_from_u64(seed);
        Self {
            me,
            foca: Foca::new(identity, tuning::config(1), rng, PostcardCodec),
            timers: Timers::default(),
            alive: BTreeSet::new(),
            known: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            next_call: None,
            objection: Objection::default(),
            prng: Prng::new(seed),
            tuned_for: 1,
            left: false,
            stats: Stats::default(),
        }
    }

    /// Gets in touch with hosts: with a few at once, since they tell of each other, and with those that are not alive
    /// every few seconds. Where many are alive already, only [`CALLED_AT_START`] of them, on average, call a host of
    /// which all of them learn at the same time.
    pub fn announce(&mut self, hosts: impl IntoIterator<Item = HostId>, now: Moment) -> Vec<Effect> {
        if self.left {
            return Vec::new();
        }
        let others = hosts.into_iter().filter(|host| *host != self.me && !self.forgotten.contains(host));
        let others: Vec<HostId> = others.collect();
        self.known.extend(&others);
        self.plan_call(now);
        let (few, alive) = (CALLED_AT_START as u64, self.alive.len() as u64);
        let mut chosen = self.prng.sample(others, CALLED_AT_START);
        chosen.retain(|_| alive <= few || self.prng.below(alive) < few);
        chosen.into_iter().flat_map(|host| self.call(host, now)).collect()
    }

    /// Takes any bytes that arrived from the peer `from`, whose id the transport has verified. What makes no sense is
    /// counted.
    pub fn receive(&mut self, from: HostId, bytes: &[u8], now: Moment) -> Vec<Effect> {
        self.stats.received += 1;
        let packet = bytes.split_first().filter(|(version, _)| **version == WIRE_VERSION);
        let header: Option<foca::Header<Identity>> =
            packet.and_then(|(_, packet)| PostcardCodec.decode_header(&mut &*packet).ok());
        let (Some((_, packet)), Some(header)) = (packet, header) else {
            self.stats.refused += 1;
            return Vec::new();
        };
        if self.left || self.forgotten.contains(&from) || header.src.host() != from || from == self.me {
            self.stats.refused += 1;
            return Vec::new();
        }
        let mut effects = self.outlive(header.dst, now);
        effects.extend(self.run(now, |foca, calls| foca.handle_data(packet, calls)));
        effects
    }

    /// Does what has come due.
    pub fn tick(&mut self, now: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(timer) = self.timers.pop_due(now) {
            effects.extend(self.run(now, |foca, calls| foca.handle_timer(timer, calls)));
        }
        if self.next_call.is_some_and(|due| due <= now) {
            effects.extend(self.call_the_missing(now));
        }
        if self.objection.is_due(now) {
            effects.extend(self.run(now, |foca, calls| foca.gossip(calls)));
        }
        effects
    }

    /// When [`Membership::tick`] next has something to do.
    pub fn next_timeout(&self) -> Option<Moment> {
        [self.timers.next_due(), self.next_call, self.objection.due()].into_iter().flatten().min()
    }

    /// Hosts believed alive, without this one. Changes with [`Effect::Up`] and [`Effect::Down`] only.
    pub fn alive(&self) -> &BTreeSet<HostId> {
        &self.alive
    }

    /// All hosts ever heard of or announced to, dead ones included, without forgotten ones and this one.
    pub fn known(&self) -> &BTreeSet<HostId> {
        &self.known
    }

    /// Whom to count out for good: nothing is sent to the host or taken from it. Must be told anew after a restart.
    pub fn forget(&mut self, host: HostId, now: Moment) -> Vec<Effect> {
        if host == self.me || !self.forgotten.insert(host) {
            return Vec::new();
        }
        self.known.remove(&host);
        let held = self.foca.iter_members().map(|member| *member.id()).find(|id| id.host() == host);
        let down = held.map(Member::down);
        self.run(now, |foca, calls| foca.apply_many(down.into_iter(), true, calls))
    }

    /// Says goodbye to a few hosts, which tell the others. Nothing is sent or taken afterwards.
    pub fn leave(&mut self, now: Moment) -> Vec<Effect> {
        if self.left {
            return Vec::new();
        }
        let effects = self.run(now, |foca, calls| foca.leave_cluster(calls));
        self.left = true;
        self.next_call = None;
        self.objection = Objection::default();
        self.timers = Timers::default();
        effects
    }

    /// Counts since the start.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Lets the protocol act, then turns what it called for into timers and effects.
    fn run(
        &mut self,
        now: Moment,
        act: impl FnOnce(
            &mut Foca<Identity, PostcardCodec, SmallRng, NoCustomBroadcast>,
            &mut Calls,
        ) -> Result<(), foca::Error>,
    ) -> Vec<Effect> {
        let mut calls = Calls::default();
        if act(&mut self.foca, &mut calls).is_err() {
            self.stats.refused += 1;
        }
        self.timers.add(now, calls.timers);
        if let Some((_, packet)) = calls.sends.first() {
            self.objection.note(packet, now);
        }
        let mut effects = Vec::new();
        for (to, bytes) in calls.sends {
            if !self.forgotten.contains(&to) {
                self.stats.sent += 1;
                effects.push(Effect::Send { to, bytes });
            }
        }
        if !calls.changes.is_empty() {
            self.report(calls.changes, now, &mut effects);
        }
        effects
    }

    /// One change at a time: a look at all members for each would be the square of their number when many come at once.
    fn report(&mut self, changes: Vec<(HostId, bool)>, now: Moment, effects: &mut Vec<Effect>) {
        for (host, is_up) in changes {
            if is_up && host != self.me && !self.forgotten.contains(&host) {
                self.known.insert(host);
                effects.extend(self.alive.insert(host).then_some(Effect::Up(host)));
            } else if !is_up {
                effects.extend(self.alive.remove(&host).then_some(Effect::Down(host)));
            }
        }
        self.tune();
        self.plan_call(now);
    }

    /// Suspicion lasts longer and news is repeated more often the more hosts there are.
    fn tune(&mut self) {
        let hosts = self.alive.len() + 1;
        if hosts != self.tuned_for && self.foca.set_config(tuning::config(hosts)).is_ok() {
            self.tuned_for = hosts;
        }
    }

    /// A message to a later life of this host than its own: the host was restarted with a lower one, for example
    /// because its clock went back. It goes on above it.
    fn outlive(&mut self, seen: Identity, now: Moment) -> Vec<Effect> {
        let own = *self.foca.identity();
        match seen.next_life().filter(|_| seen.host() == self.me && seen.life() > own.life()) {
            Some(above) => self.run(now, |foca, calls| foca.change_identity(above, calls)),
            None => Vec::new(),
        }
    }

    fn plan_call(&mut self, now: Moment) {
        let missing = self.known.difference(&self.alive).next().is_some();
        if !missing || self.left {
            self.next_call = None;
        } else if self.next_call.is_none() {
            let spread = u64::try_from(CALL_PAUSE.as_nanos() / 2).unwrap_or(u64::MAX);
            let jitter = std::time::Duration::from_nanos(self.prng.below(spread));
            self.next_call = Some(now + CALL_PAUSE * 3 / 4 + jitter);
        }
    }

    fn call_the_missing(&mut self, now: Moment) -> Vec<Effect> {
        let missing: Vec<_> = self.known.difference(&self.alive).copied().collect();
        let chosen = self.prng.sample(missing, CALLED_AT_ONCE);
        self.next_call = None;
        self.plan_call(now);
        chosen.into_iter().flat_map(|host| self.call(host, now)).collect()
    }

    fn call(&mut self, host: HostId, now: Moment) -> Vec<Effect> {
        self.run(now, |foca, calls| foca.announce(Identity::of_any_life(host), calls))
    }
}
