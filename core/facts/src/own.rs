//! This host's own set: publishing, collecting tombstones, and what to do when others hold a newer one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use shoal_types::{HostId, Moment};

use crate::head::{Head, Mark};
use crate::limits::TOMBSTONE_SLACK;
use crate::outcome::{Outcome, differences};
use crate::set::{Delta, Entries, Entry, Set, digest_of};
use crate::stats::Discarded;
use crate::{Change, Facts, Notice, TOMBSTONE_LASTS, TOMBSTONES_MAX, Version, wire};

type Edits = Vec<(Vec<u8>, Option<Vec<u8>>)>;

impl Facts {
    pub(crate) fn publish_edits(&mut self, edits: Edits, now: Moment, out: &mut Outcome) {
        if let Err(too_large) = self.check(&edits) {
            out.notices.push(Notice::TooLarge(too_large));
            return;
        }
        let mut entries = self.own_entries();
        let last_of_each_key: BTreeMap<_, _> = edits.into_iter().collect();
        let counter = self.own_mark().version.counter + 1;
        let mut changed = false;
        for (key, value) in last_of_each_key {
            if entries.get(&key).and_then(|entry| entry.value.as_ref()) == value.as_ref() {
                continue;
            }
            changed = true;
            if value.is_none() {
                self.tombstones.note(counter, now);
            }
            entries.insert(key, Entry { counter, value });
        }
        if changed {
            self.commit_next(entries, now, out);
        }
    }

    /// Drops tombstones that have lasted long enough. That is safe at any time: a host that missed the removal is
    /// below the new floor, gets the whole set, and its own copy is replaced, never merged.
    pub(crate) fn collect_tombstones(&mut self, now: Moment, out: &mut Outcome) {
        if self.tombstones.due().is_none_or(|due| now < due) {
            return;
        }
        let entries = self.own_entries();
        let floor = self.tombstones.floor(&entries, now);
        if entries.values().any(|entry| entry.value.is_none() && entry.counter <= floor) {
            self.commit_next(entries, now, out);
        } else {
            self.tombstones.collected(floor);
        }
    }

    /// A state of this host that came from elsewhere. One that is newer than ours was signed with our key, but not by
    /// this run, since every own state is stored before it is sent.
    ///
    /// The first time, this host was restored from an old backup or cloned: it takes a higher incarnation. Once it
    /// has done so, only another live host can have gone beyond it.
    pub(crate) fn take_own(&mut self, from: HostId, delta: Delta, now: Moment, out: &mut Outcome) {
        let theirs = delta.head.mark();
        if theirs <= self.own_mark() {
            if self.take_outlived(&delta, out) {
                return;
            }
            self.counters.discard(Discarded::Stale);
        } else if !delta.head.is_genuine() {
            self.counters.discard(Discarded::BadSignature);
        } else if delta.since.is_some() {
            self.ask_whole(from, self.me, now, out);
        } else if let Ok(held) = delta.apply_to(None) {
            self.outlive(&held, now, out);
        } else {
            self.counters.discard(Discarded::BadDigest);
        }
    }

    fn outlive(&mut self, held: &Set, now: Moment, out: &mut Outcome) {
        let version = held.head.version;
        let Some(incarnation) = version.incarnation.checked_add(1).filter(|_| self.reborn_after.is_none())
        else {
            out.conflict = Some(format!(
                "another host has the key of this host ({}) and has published version {version}: stop one of the two, \
                 remove its state directory and let it join again as a host of its own; if there is no other, \
                 start this one again",
                self.me
            ));
            return;
        };
        self.reborn_after = Some(held.head.mark());
        let before = self.own_mark().version.counter;
        let mut entries = self.own_entries();
        entries.retain(|_, entry| entry.value.is_some());
        let taken = Version { incarnation, counter: before + 1 };
        self.tombstones = TombstoneAges::default();
        self.commit(taken, before, entries, out);
        let lost = differences_to(held, self.held(self.me), self.me);
        out.notices.push(Notice::Restored { held: version, taken, lost });
        self.push_own(Mark::default(), now, out);
    }

    /// Makes the next version out of `entries`, collecting tombstones while at it, and pushes it.
    fn commit_next(&mut self, mut entries: Entries, now: Moment, out: &mut Outcome) {
        let before = self.own_mark();
        let version =
            Version { incarnation: before.version.incarnation.max(1), counter: before.version.counter + 1 };
        let old_floor = self.held(self.me).map_or(0, |set| set.head.floor);
        let floor = self.tombstones.floor(&entries, now).max(old_floor);
        entries.retain(|_, entry| entry.value.is_some() || entry.counter > floor);
        self.tombstones.collected(floor);
        self.commit(version, floor, entries, out);
        self.push_own(before, now, out);
    }

    fn commit(&mut self, version: Version, floor: u64, entries: Entries, out: &mut Outcome) {
        let head = Head::sign(self.key.as_ref(), version, floor, digest_of(&entries));
        self.root = None;
        let old = self.sets.insert(self.me, Arc::new(Set { head, entries }));
        out.replace(self.me, old.as_deref(), self.held(self.me));
        out.durable = true;
        self.counters.published += 1;
    }

    /// Sends what changed since `before` to live peers.
    fn push_own(&mut self, before: Mark, now: Moment, out: &mut Outcome) {
        self.peers.stir(now);
        let (targets, hops) = self.peers.push_targets();
        let Some(set) = self.held(self.me) else { return };
        let message = wire::delta_message(&set.delta_since(Some(before)), hops);
        for peer in targets {
            out.send(peer, message.clone());
        }
    }

    pub(crate) fn own_mark(&self) -> Mark {
        self.mark_of(self.me)
    }

    fn own_entries(&self) -> Entries {
        self.held(self.me).map(|set| set.entries.clone()).unwrap_or_default()
    }
}

/// When own tombstones were made: counter and moment, oldest first.
#[derive(Debug, Default)]
pub(crate) struct TombstoneAges {
    made: VecDeque<(u64, Moment)>,
}

impl TombstoneAges {
    /// Tombstones found at the start count as made then.
    pub(crate) fn of_loaded(own: Option<&Set>, now: Moment) -> Self {
        let mut ages = Self::default();
        if let Some(set) = own.filter(|set| set.entries.values().any(|entry| entry.value.is_none())) {
            ages.note(set.head.version.counter, now);
        }
        ages
    }

    /// When old tombstones should be collected although nothing is published: a while after they might be, so that
    /// many go in one version.
    pub(crate) fn due(&self) -> Option<Moment> {
        self.made.front().map(|(_, made)| *made + TOMBSTONE_LASTS + TOMBSTONE_SLACK)
    }

    fn note(&mut self, counter: u64, now: Moment) {
        if self.made.back().is_none_or(|(last, _)| *last < counter) {
            self.made.push_back((counter, now));
        }
    }

    /// The counter up to which tombstones are to be collected.
    fn floor(&self, entries: &Entries, now: Moment) -> u64 {
        let old = self.made.iter().take_while(|(_, made)| now.since(*made) >= TOMBSTONE_LASTS);
        let by_age = old.last().map_or(0, |(counter, _)| *counter);
        let tombstones = entries.values().filter(|entry| entry.value.is_none());
        let mut counters: Vec<u64> = tombstones.map(|entry| entry.counter).collect();
        if counters.len() <= TOMBSTONES_MAX {
            return by_age;
        }
        counters.sort_unstable();
        by_age.max(counters[counters.len() / 2])
    }

    fn collected(&mut self, floor: u64) {
        self.made.retain(|(counter, _)| *counter > floor);
    }
}

/// What differs between a state of this host that was lost and the one it has.
pub(crate) fn differences_to(lost: &Set, kept: Option<&Set>, author: HostId) -> Vec<Change> {
    let changes = differences(Some(lost), kept).into_iter().map(|(key, lost, kept)| Change {
        author,
        key: key.to_vec(),
        old: lost.and_then(|entry| entry.value.clone()),
        new: kept.and_then(|entry| entry.value.clone()),
    });
    changes.filter(|change| change.old != change.new).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::{host, open, put, remove};
    use crate::{Effect, TOMBSTONE_LASTS};

    #[test]
    fn a_batch_is_one_version_and_is_stored_before_anything_is_sent() {
        let (_, mut facts) = host(1);
        let peer = host(2).0;
        facts.set_peers([peer].into(), [peer].into(), Moment::ZERO);
        let effects = facts.publish(vec![put(b"a", b"1"), put(b"b", b"2")], Moment::ZERO);
        assert!(matches!(&effects[0], Effect::Persist { durable: true, writes } if writes.len() == 3));
        assert!(matches!(&effects[1], Effect::Changed(changes) if changes.len() == 2));
        assert!(matches!(&effects[2], Effect::Send { to, .. } if *to == peer));
        assert_eq!(facts.heads().next().unwrap().version, Version { incarnation: 1, counter: 1 });
    }

    #[test]
    fn an_edit_that_changes_nothing_is_dropped() {
        let (me, mut facts) = host(1);
        assert!(facts.publish(vec![remove(b"a")], Moment::ZERO).is_empty());
        facts.publish(vec![put(b"a", b"1")], Moment::ZERO);
        assert!(facts.publish(vec![put(b"a", b"1")], Moment::ZERO).is_empty());
        facts.publish(vec![put(b"a", b"2"), put(b"a", b"3")], Moment::ZERO);
        assert_eq!(facts.get(me, b"a"), Some(b"3".as_slice()));
        assert_eq!(facts.stats().published, 2);
    }

    #[test]
    fn edits_beyond_a_limit_are_refused_whole() {
        let (me, mut facts) = host(1);
        let effects = facts.publish(vec![put(b"a", b"1"), put(&[0; 513], b"2")], Moment::ZERO);
        assert!(matches!(&effects[..], [Effect::Notice(Notice::TooLarge(_))]), "{effects:?}");
        assert_eq!(facts.get(me, b"a"), None);
    }

    #[test]
    fn tombstones_are_collected_when_old() {
        let (_, mut facts) = host(1);
        facts.publish(vec![put(b"a", b"1"), put(b"b", b"1")], Moment::ZERO);
        facts.publish(vec![remove(b"a")], Moment::ZERO);
        let due = facts.next_timeout().unwrap();
        assert!(due > Moment::ZERO + TOMBSTONE_LASTS);
        assert_eq!(facts.stats().tombstones, 1);
        facts.tick(due);
        let head = facts.heads().next().unwrap();
        assert_eq!((head.tombstones, head.floor, head.version.counter), (0, 2, 3));
        assert_eq!(facts.next_timeout(), None);
    }

    #[test]
    fn publishing_collects_old_tombstones_on_the_way() {
        let (_, mut facts) = host(1);
        facts.publish(vec![put(b"a", b"1")], Moment::ZERO);
        facts.publish(vec![remove(b"a")], Moment::ZERO);
        facts.publish(vec![put(b"b", b"1")], Moment::ZERO + TOMBSTONE_LASTS);
        assert_eq!(facts.stats().tombstones, 0);
    }

    #[test]
    fn too_many_tombstones_lose_their_older_half() {
        let (_, mut facts) = host(1);
        let keys: Vec<_> = (0..=TOMBSTONES_MAX).map(usize::to_be_bytes).collect();
        facts.publish(keys.iter().map(|key| put(key, b"1")).collect(), Moment::ZERO);
        let (first, second) = keys.split_at(600);
        facts.publish(first.iter().map(|key| remove(key)).collect(), Moment::ZERO);
        assert_eq!(facts.stats().tombstones, first.len());
        facts.publish(second.iter().map(|key| remove(key)).collect(), Moment::ZERO);
        assert_eq!(facts.stats().tombstones, second.len());
    }

    #[test]
    fn tombstones_survive_a_restart_and_age_from_there() {
        let (_, mut facts) = host(1);
        let mut store = crate::testing::Store::default();
        store.keep(&facts.publish(vec![put(b"a", b"1"), put(b"b", b"1")], Moment::ZERO));
        store.keep(&facts.publish(vec![remove(b"a")], Moment::ZERO));
        let start = Moment::ZERO + Duration::from_secs(9);
        let mut again = open(1, &store, start);
        assert_eq!(again.heads().collect::<Vec<_>>(), facts.heads().collect::<Vec<_>>());
        again.tick(start + TOMBSTONE_LASTS + TOMBSTONE_SLACK);
        assert_eq!(again.stats().tombstones, 0);
    }
}
