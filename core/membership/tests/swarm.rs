//! Many members on a network that loses, delays and cuts.

#![allow(clippy::unwrap_used, reason = "a test may stop")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shoal_kit::Prng;
use shoal_membership::{Effect, MESSAGE_BYTES_MAX, Membership};
use shoal_types::{HostId, Moment};

/// Members, the messages under way, and the clock.
struct Swarm {
    members: BTreeMap<HostId, Membership>,
    /// By moment of arrival: from, to, bytes.
    wire: BTreeMap<(Moment, u64), (HostId, HostId, Vec<u8>)>,
    now: Moment,
    sent: u64,
    loss_percent: u64,
    /// Hosts of the second side of a partition.
    cut: BTreeSet<HostId>,
    prng: Prng,
    /// What each was told, in order.
    told: Vec<(HostId, Effect)>,
}

fn host(number: u8) -> HostId {
    HostId::new([number; 16])
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

impl Swarm {
    /// `count` members, all of which have announced themselves to the first.
    fn new(count: u8, loss_percent: u64) -> Self {
        let mut swarm = Self {
            members: BTreeMap::new(),
            wire: BTreeMap::new(),
            now: Moment::ZERO,
            sent: 0,
            loss_percent,
            cut: BTreeSet::new(),
            prng: Prng::new(u64::from(count) + loss_percent),
            told: Vec::new(),
        };
        for number in 0..count {
            swarm.start(number, 1);
        }
        swarm
    }

    fn start(&mut self, number: u8, life: u64) {
        self.members.insert(host(number), Membership::new(host(number), life, u64::from(number)));
        self.with(number, |member, now| member.announce([host(0)], now));
    }

    fn with(&mut self, number: u8, act: impl FnOnce(&mut Membership, Moment) -> Vec<Effect>) {
        let member = self.members.get_mut(&host(number)).unwrap();
        let effects = act(member, self.now);
        self.carry_out(host(number), effects);
    }

    fn carry_out(&mut self, from: HostId, effects: Vec<Effect>) {
        for effect in effects {
            let Effect::Send { to, bytes } = effect else {
                self.told.push((from, effect));
                continue;
            };
            assert!(bytes.len() <= MESSAGE_BYTES_MAX);
            self.sent += 1;
            let lost = self.prng.below(100) < self.loss_percent;
            if !lost && self.cut.contains(&from) == self.cut.contains(&to) {
                let delay = Duration::from_micros(200 + self.prng.below(20_000));
                self.wire.insert((self.now + delay, self.sent), (from, to, bytes));
            }
        }
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let timers = self.members.values().filter_map(Membership::next_timeout).min();
            let arrival = self.wire.keys().next().map(|(at, _)| *at);
            let Some(next) = timers.into_iter().chain(arrival).min().filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            while let Some(first) = self.wire.first_entry().filter(|first| first.key().0 <= next) {
                let (from, to, bytes) = first.remove();
                if let Some(member) = self.members.get_mut(&to) {
                    let effects = member.receive(from, &bytes, self.now);
                    self.carry_out(to, effects);
                }
            }
            let due: Vec<_> = self.members.keys().copied().collect();
            for id in due {
                let now = self.now;
                let member = self.members.get_mut(&id).unwrap();
                let effects = member.tick(now);
                self.carry_out(id, effects);
            }
        }
        self.now = end;
    }

    /// Whether everyone believes exactly these alive.
    fn all_see(&self, numbers: &[u8]) -> bool {
        numbers.iter().all(|viewer| {
            let expected = numbers.iter().filter(|number| *number != viewer).map(|n| host(*n)).collect();
            *self.members[&host(*viewer)].alive() == expected
        })
    }

    fn downs(&self) -> usize {
        self.told.iter().filter(|(_, effect)| matches!(effect, Effect::Down(_))).count()
    }
}

fn numbers(count: u8) -> Vec<u8> {
    (0..count).collect()
}

#[test]
fn members_that_know_one_find_all() {
    for count in [2, 3, 10, 40] {
        let mut swarm = Swarm::new(count, 0);
        swarm.run_for(seconds(5));
        assert!(swarm.all_see(&numbers(count)), "{count} members");
        assert_eq!(swarm.downs(), 0);
    }
}

#[test]
fn a_dead_host_is_declared_down_everywhere_within_five_seconds_and_comes_back() {
    for count in [3, 10] {
        let mut swarm = Swarm::new(count, 0);
        swarm.run_for(seconds(10));
        swarm.members.remove(&host(1));
        let rest: Vec<u8> = numbers(count).into_iter().filter(|n| *n != 1).collect();
        swarm.run_for(seconds(1));
        assert!(!swarm.all_see(&rest), "one lost second is no death");
        swarm.run_for(seconds(4));
        assert!(swarm.all_see(&rest), "{count} members");
        swarm.start(1, 2);
        swarm.run_for(seconds(5));
        assert!(swarm.all_see(&numbers(count)));
    }
}

#[test]
fn two_hosts_notice_and_find_each_other() {
    let mut swarm = Swarm::new(2, 0);
    swarm.run_for(seconds(5));
    swarm.cut = [host(1)].into();
    swarm.run_for(seconds(6));
    assert!(swarm.all_see(&[0]) && swarm.all_see(&[1]));
    swarm.run_for(seconds(600));
    swarm.cut.clear();
    swarm.run_for(seconds(10));
    assert!(swarm.all_see(&[0, 1]));
}

#[test]
fn a_fifth_of_all_messages_lost_kills_nobody() {
    for count in [3, 10] {
        for loss_percent in [10, 20] {
            let mut swarm = Swarm::new(count, loss_percent);
            swarm.run_for(seconds(20));
            swarm.told.clear();
            swarm.run_for(seconds(300));
            assert_eq!(swarm.downs(), 0, "{count} members, {loss_percent} %");
            swarm.loss_percent = 0;
            swarm.run_for(seconds(10));
            assert!(swarm.all_see(&numbers(count)));
        }
    }
}

#[test]
fn a_partition_heals_by_itself() {
    let mut swarm = Swarm::new(9, 0);
    swarm.run_for(seconds(10));
    swarm.cut = (5..9).map(host).collect();
    swarm.run_for(seconds(30));
    assert!(swarm.all_see(&[0, 1, 2, 3, 4]) && swarm.all_see(&[5, 6, 7, 8]));
    swarm.cut.clear();
    swarm.run_for(seconds(20));
    assert!(swarm.all_see(&numbers(9)));
}

#[test]
fn a_restart_with_a_lower_life_still_gets_in() {
    let mut swarm = Swarm::new(4, 0);
    swarm.run_for(seconds(5));
    swarm.members.remove(&host(2));
    swarm.start(2, 1_000_000);
    swarm.run_for(seconds(5));
    assert!(swarm.all_see(&numbers(4)));
    swarm.members.remove(&host(2));
    swarm.start(2, 7);
    swarm.run_for(seconds(20));
    assert!(swarm.all_see(&numbers(4)));
}

#[test]
fn who_leaves_is_gone_at_once_and_stays_silent() {
    let mut swarm = Swarm::new(5, 0);
    swarm.run_for(seconds(5));
    swarm.with(3, Membership::leave);
    swarm.run_for(seconds(1));
    assert!(swarm.all_see(&[0, 1, 2, 4]));
    swarm.run_for(seconds(60));
    assert!(swarm.all_see(&[0, 1, 2, 4]));
    assert_eq!(swarm.members[&host(3)].next_timeout(), None);
}

#[test]
fn a_forgotten_host_is_neither_heard_nor_spoken_to() {
    let mut swarm = Swarm::new(4, 0);
    swarm.run_for(seconds(5));
    for number in 0..3 {
        swarm.with(number, |member, now| member.forget(host(3), now));
    }
    swarm.run_for(seconds(30));
    assert!(swarm.all_see(&[0, 1, 2]));
    assert!(!swarm.members[&host(0)].known().contains(&host(3)));
    assert!(swarm.members[&host(3)].alive().is_empty());
}

#[test]
fn a_message_in_anothers_name_is_refused() {
    let mut member = Membership::new(host(0), 1, 0);
    let mut other = Membership::new(host(1), 1, 1);
    let effects = other.announce([host(0)], Moment::ZERO);
    let Some(Effect::Send { bytes, .. }) = effects.into_iter().next() else {
        panic!("an announcement is expected")
    };
    assert!(member.receive(host(2), &bytes, Moment::ZERO).is_empty());
    assert_eq!(member.stats().refused, 1);
    assert!(member.receive(host(1), &bytes, Moment::ZERO).contains(&Effect::Up(host(1))));
}

#[test]
fn one_seed_tells_one_story() {
    let story = || {
        let mut swarm = Swarm::new(6, 15);
        swarm.run_for(seconds(60));
        (swarm.told, swarm.sent)
    };
    assert_eq!(story(), story());
}

proptest::proptest! {
    #[test]
    fn random_and_altered_bytes_never_panic(
        noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
        flip in proptest::prelude::any::<(u16, u8)>(),
    ) {
        let mut member = Membership::new(host(0), 1, 0);
        member.receive(host(1), &noise, Moment::ZERO);
        let mut versioned = vec![1];
        versioned.extend(&noise);
        member.receive(host(1), &versioned, Moment::ZERO);
        let mut swarm = Swarm::new(3, 0);
        swarm.run_for(seconds(2));
        let messages: Vec<_> = swarm.wire.values().cloned().collect();
        let mut receiver = Membership::new(host(2), 9, 0);
        for (from, _, mut bytes) in messages {
            let at = usize::from(flip.0) % bytes.len();
            bytes[at] ^= flip.1;
            receiver.receive(from, &bytes, Moment::ZERO);
            receiver.tick(Moment::ZERO + seconds(5));
        }
    }
}
