//! Whom to talk to, and when.

use std::collections::BTreeSet;

use shoal_kit::{Pause, Prng};
use shoal_types::{HostId, Moment};

use crate::limits::GREETINGS;
use crate::{PUSH_DIRECT_MAX, PUSH_FANOUT, PUSH_HOPS, ROUND_PAUSE_MAX, ROUND_PAUSE_MIN};

/// The peers and the clock of the rounds.
#[derive(Debug)]
pub(crate) struct Peers {
    me: HostId,
    known: BTreeSet<HostId>,
    alive: BTreeSet<HostId>,
    prng: Prng,
    pause: Pause,
    next_round: Moment,
}

impl Peers {
    pub(crate) fn new(me: HostId, seed: u64, now: Moment) -> Self {
        Self {
            me,
            known: BTreeSet::new(),
            alive: BTreeSet::new(),
            prng: Prng::new(seed),
            pause: Pause::new(ROUND_PAUSE_MIN, ROUND_PAUSE_MAX),
            next_round: now,
        }
    }

    /// Takes the new view and returns the peers to greet with a digest because they came up.
    pub(crate) fn set(
        &mut self,
        known: BTreeSet<HostId>,
        alive: BTreeSet<HostId>,
        now: Moment,
    ) -> Vec<HostId> {
        let came_up: Vec<_> =
            alive.difference(&self.alive).filter(|peer| **peer != self.me).copied().collect();
        self.known = known;
        self.alive = alive;
        self.known.remove(&self.me);
        self.alive.remove(&self.me);
        self.greeted(came_up, now)
    }

    /// Takes changes to the view, in order (true: came up), and returns the peers to greet.
    pub(crate) fn come_and_go(&mut self, changes: &[(HostId, bool)], now: Moment) -> Vec<HostId> {
        let mut came_up = Vec::new();
        for (peer, is_up) in changes {
            if !*is_up {
                self.alive.remove(peer);
            } else if *peer != self.me && self.alive.insert(*peer) {
                came_up.push(*peer);
            }
        }
        self.greeted(came_up, now)
    }

    /// Whom of those that came up to greet.
    fn greeted(&mut self, came_up: Vec<HostId>, now: Moment) -> Vec<HostId> {
        if came_up.is_empty() {
            return came_up;
        }
        self.stir(now);
        let hosts = self.alive.len() as u64;
        let chosen = self.prng.sample(came_up, GREETINGS).into_iter();
        chosen.filter(|_| hosts <= GREETINGS as u64 || self.prng.below(hosts) < GREETINGS as u64).collect()
    }

    pub(crate) fn remove(&mut self, peer: HostId) {
        self.known.remove(&peer);
        self.alive.remove(&peer);
    }

    pub(crate) fn is_alive(&self, peer: HostId) -> bool {
        self.alive.contains(&peer)
    }

    /// Something changed: rounds follow each other quickly for a while.
    pub(crate) fn stir(&mut self, now: Moment) {
        self.pause.reset();
        self.next_round = self.next_round.min(now + ROUND_PAUSE_MIN);
    }

    pub(crate) fn next_round(&self) -> Option<Moment> {
        (!self.known.is_empty()).then_some(self.next_round)
    }

    /// The partner of a round, if one is due: any known peer, dead or alive, since membership may be wrong.
    pub(crate) fn round_due(&mut self, now: Moment) -> Option<HostId> {
        if self.next_round().is_none_or(|due| now < due) {
            return None;
        }
        self.next_round = now + self.pause.draw(&mut self.prng);
        let at = usize::try_from(self.prng.below(self.known.len() as u64)).unwrap_or_default();
        self.known.iter().nth(at).copied()
    }

    /// Who hears of an own change at once, and how often they may hand it on.
    pub(crate) fn push_targets(&mut self) -> (Vec<HostId>, u32) {
        let alive: Vec<_> = self.alive.iter().copied().collect();
        if alive.len() <= PUSH_DIRECT_MAX {
            return (alive, 0);
        }
        (self.prng.sample(alive, PUSH_FANOUT), PUSH_HOPS)
    }

    /// Who hears of another's change from here.
    pub(crate) fn forward_targets(&mut self, except: [HostId; 2]) -> Vec<HostId> {
        let alive = self.alive.iter().copied().filter(|peer| !except.contains(peer)).collect();
        self.prng.sample(alive, PUSH_FANOUT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(numbers: std::ops::Range<u8>) -> BTreeSet<HostId> {
        numbers.map(|n| HostId::new([n; 16])).collect()
    }

    fn peers() -> Peers {
        Peers::new(HostId::new([0; 16]), 5, Moment::ZERO)
    }

    #[test]
    fn whoever_comes_up_is_greeted_but_never_oneself() {
        let mut peers = peers();
        assert_eq!(peers.set(hosts(0..4), hosts(0..3), Moment::ZERO).len(), 2);
        assert_eq!(peers.set(hosts(0..4), hosts(0..4), Moment::ZERO), [HostId::new([3; 16])]);
        assert!(peers.set(hosts(0..4), hosts(0..2), Moment::ZERO).is_empty());
    }

    #[test]
    fn many_that_come_up_at_once_are_not_all_greeted() {
        assert!(peers().set(hosts(0..200), hosts(0..200), Moment::ZERO).len() <= GREETINGS);
    }

    #[test]
    fn changes_one_by_one_lead_where_the_whole_view_leads() {
        let mut peers = peers();
        peers.set(hosts(0..9), hosts(0..4), Moment::ZERO);
        let changes: Vec<_> = [(1, false), (5, true), (5, true), (6, true), (6, false), (0, true)]
            .map(|(n, is_up)| (HostId::new([n; 16]), is_up))
            .to_vec();
        let greeted = peers.come_and_go(&changes, Moment::ZERO);
        assert_eq!(greeted.into_iter().collect::<BTreeSet<_>>(), hosts(5..7));
        assert_eq!(peers.alive, [2, 3, 5].map(|n| HostId::new([n; 16])).into());
    }

    #[test]
    fn rounds_choose_dead_hosts_too_and_slow_down_when_nothing_happens() {
        let mut peers = peers();
        assert_eq!(peers.next_round(), None);
        peers.set(hosts(0..4), BTreeSet::new(), Moment::ZERO);
        let (mut now, mut partners) = (Moment::ZERO, BTreeSet::new());
        for _ in 0..30 {
            now = peers.next_round().unwrap();
            partners.extend(peers.round_due(now));
            assert_eq!(peers.round_due(now), None);
        }
        assert_eq!(partners, hosts(1..4));
        assert!(peers.next_round().unwrap().since(now) > ROUND_PAUSE_MAX / 2);
        peers.stir(now);
        assert!(peers.next_round().unwrap().since(now) <= ROUND_PAUSE_MIN);
    }

    #[test]
    fn a_change_goes_to_all_of_a_few_and_to_a_few_of_many() {
        let mut peers = peers();
        peers.set(hosts(0..20), hosts(0..20), Moment::ZERO);
        assert_eq!((peers.push_targets().0.len(), peers.push_targets().1), (19, 0));
        peers.set(hosts(0..100), hosts(0..100), Moment::ZERO);
        assert_eq!((peers.push_targets().0.len(), peers.push_targets().1), (PUSH_FANOUT, PUSH_HOPS));
    }
}
