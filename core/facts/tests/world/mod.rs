//! Hosts that exchange facts over a network that loses, doubles and reorders messages and can be cut.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::expect_used, reason = "a test may stop")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use shoal_facts::{Effect, Facts, Judge, Notice, Signer, author_of};
use shoal_kit::Prng;
use shoal_types::{HostId, Moment};

/// A host key that follows from a number.
pub(crate) struct TestKey(Ed25519KeyPair);

impl TestKey {
    pub(crate) fn new(number: usize) -> Self {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        Self(Ed25519KeyPair::from_seed_unchecked(&seed).expect("a seed of 32 bytes"))
    }

    pub(crate) fn id(&self) -> HostId {
        author_of(&self.public())
    }
}

impl Signer for TestKey {
    fn public(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().expect("32 bytes")
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).as_ref().try_into().expect("64 bytes")
    }
}

/// Admits everyone.
pub(crate) struct Lenient;

impl Judge for Lenient {
    fn admits(&self, _: HostId, _: &dyn Fn(&[u8]) -> Option<Vec<u8>>) -> Result<(), String> {
        Ok(())
    }
}

pub(crate) fn id(number: usize) -> HostId {
    TestKey::new(number).id()
}

pub(crate) fn put(key: &str, value: &str) -> (Vec<u8>, Option<Vec<u8>>) {
    (key.into(), Some(value.into()))
}

pub(crate) fn remove(key: &str) -> (Vec<u8>, Option<Vec<u8>>) {
    (key.into(), None)
}

pub(crate) type Stored = BTreeMap<Vec<u8>, Vec<u8>>;

pub(crate) fn open(number: usize, stored: Stored, now: Moment) -> Facts {
    Facts::new(id(number), Arc::new(TestKey::new(number)), stored, number as u64, now).expect("loads")
}

/// A host with its store.
pub(crate) struct Host {
    pub(crate) facts: Facts,
    pub(crate) stored: Stored,
    pub(crate) notices: Vec<Notice>,
    pub(crate) conflicts: Vec<String>,
    /// What a reader who only follows `Changed` believes.
    pub(crate) seen: BTreeMap<(HostId, Vec<u8>), Vec<u8>>,
}

/// All hosts, the messages under way and the clock.
pub(crate) struct World {
    pub(crate) hosts: BTreeMap<HostId, Host>,
    pub(crate) wire: Vec<(HostId, HostId, Vec<u8>)>,
    pub(crate) now: Moment,
    pub(crate) loss_percent: u64,
    pub(crate) double_percent: u64,
    /// One side of a partition.
    pub(crate) cut: BTreeSet<HostId>,
    pub(crate) prng: Prng,
    pub(crate) bytes: u64,
}

impl World {
    pub(crate) fn new(count: usize, seed: u64) -> Self {
        let mut world = Self {
            hosts: BTreeMap::new(),
            wire: Vec::new(),
            now: Moment::ZERO,
            loss_percent: 0,
            double_percent: 0,
            cut: BTreeSet::new(),
            prng: Prng::new(seed),
            bytes: 0,
        };
        for number in 0..count {
            world.start(number, Stored::new());
        }
        world
    }

    /// Starts a host from a store, in place of one with the same number.
    pub(crate) fn start(&mut self, number: usize, stored: Stored) {
        let facts = open(number, stored.clone(), self.now);
        let all: Vec<_> = self.hosts.keys().copied().chain([id(number)]).collect();
        let mut seen = BTreeMap::new();
        for author in all {
            seen.extend(facts.of(author).map(|(key, value)| ((author, key.to_vec()), value.to_vec())));
        }
        let host = Host { facts, stored, notices: Vec::new(), conflicts: Vec::new(), seen };
        self.hosts.insert(id(number), host);
        self.introduce();
    }

    /// Tells all hosts of all.
    pub(crate) fn introduce(&mut self) {
        let all: BTreeSet<_> = self.hosts.keys().copied().collect();
        for host in all.clone() {
            self.with(host, |facts, now| facts.set_peers(all.clone(), all.clone(), now));
        }
    }

    pub(crate) fn host(&self, number: usize) -> &Host {
        &self.hosts[&id(number)]
    }

    pub(crate) fn with(&mut self, host: HostId, act: impl FnOnce(&mut Facts, Moment) -> Vec<Effect>) {
        let now = self.now;
        let effects = act(&mut self.hosts.get_mut(&host).expect("a host").facts, now);
        self.carry_out(host, effects);
    }

    pub(crate) fn publish(&mut self, number: usize, edits: Vec<(Vec<u8>, Option<Vec<u8>>)>) {
        self.with(id(number), |facts, now| facts.publish(edits, now));
    }

    pub(crate) fn carry_out(&mut self, from: HostId, effects: Vec<Effect>) {
        let host = self.hosts.get_mut(&from).expect("a host");
        for effect in effects {
            match effect {
                Effect::Persist { writes, .. } => {
                    for (key, value) in writes {
                        match value {
                            Some(value) => host.stored.insert(key, value),
                            None => host.stored.remove(&key),
                        };
                    }
                }
                Effect::Changed(changes) => {
                    for change in changes {
                        let key = (change.author, change.key);
                        assert_eq!(host.seen.get(&key), change.old.as_ref(), "changes follow each other");
                        match change.new {
                            Some(value) => host.seen.insert(key, value),
                            None => host.seen.remove(&key),
                        };
                    }
                }
                Effect::Notice(notice) => host.notices.push(notice),
                Effect::Conflict(sentence) => host.conflicts.push(sentence),
                Effect::Send { to, message } => {
                    self.bytes += message.len() as u64;
                    let copies = 1 + usize::from(self.prng.below(100) < self.double_percent);
                    for _ in 0..copies {
                        if self.prng.below(100) >= self.loss_percent {
                            self.wire.push((from, to, message.clone()));
                        }
                    }
                }
            }
        }
    }

    /// Delivers one message, any.
    pub(crate) fn deliver_one(&mut self) {
        let at = usize::try_from(self.prng.below(self.wire.len() as u64)).unwrap_or(0);
        let (from, to, message) = self.wire.swap_remove(at);
        if self.cut.contains(&from) == self.cut.contains(&to) && self.hosts.contains_key(&to) {
            self.with(to, |facts, now| facts.receive(from, &message, now, &Lenient));
        }
    }

    pub(crate) fn settle(&mut self) {
        let mut steps = 0;
        while !self.wire.is_empty() {
            self.deliver_one();
            steps += 1;
            assert!(steps < 100_000, "messages beget messages without end");
        }
    }

    /// Lets time pass; all messages arrive within a tick.
    pub(crate) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.settle();
        while let Some(next) = self.hosts.values().filter_map(|host| host.facts.next_timeout()).min()
            && next <= end
        {
            self.now = self.now.max(next);
            let all: Vec<_> = self.hosts.keys().copied().collect();
            for host in all {
                self.with(host, Facts::tick);
            }
            self.settle();
        }
        self.now = end;
    }

    /// Whether all hosts hold the same, what readers were told is what is held, and stores hold it too.
    pub(crate) fn agree(&self) -> bool {
        let heads: Vec<Vec<_>> = self.hosts.values().map(|host| host.facts.heads().collect()).collect();
        for host in self.hosts.values() {
            let held: BTreeMap<_, _> = host
                .facts
                .iter_prefix(b"")
                .map(|(author, key, value)| ((author, key.to_vec()), value.to_vec()))
                .collect();
            assert_eq!(held, host.seen, "readers were told what is held");
        }
        heads.windows(2).all(|pair| pair[0] == pair[1])
    }
}

pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
