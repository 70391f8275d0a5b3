//! Hosts exchange facts until all hold the same.

mod world;

use shoal_facts::{
    Discarded, Effect, Facts, Judge, MESSAGE_BYTES_MAX, Notice, PUSH_DIRECT_MAX, TOMBSTONE_LASTS,
    VALUE_BYTES_MAX, Version,
};
use shoal_types::{HostId, Moment};
use world::{Lenient, Stored, World, id, open, put, remove, seconds};

#[test]
fn a_change_reaches_live_peers_at_once() {
    let mut world = World::new(3, 1);
    world.publish(0, vec![put("a", "1"), put("b", "2")]);
    world.settle();
    assert_eq!(world.host(2).facts.get(id(0), b"b"), Some(b"2".as_slice()));
    world.publish(0, vec![remove("a")]);
    world.settle();
    assert_eq!(world.host(1).facts.of(id(0)).count(), 1);
    assert!(world.agree());
}

#[test]
fn hosts_that_missed_the_push_learn_in_a_round() {
    let mut world = World::new(4, 2);
    world.loss_percent = 100;
    for number in 0..4 {
        world.publish(number, vec![put("who", &number.to_string())]);
    }
    world.settle();
    assert!(!world.agree());
    world.loss_percent = 0;
    world.run_for(seconds(10));
    assert!(world.agree());
    assert_eq!(world.host(3).facts.iter_prefix(b"who").count(), 4);
}

#[test]
fn one_comparison_levels_both_sides() {
    let mut world = World::new(2, 16);
    world.wire.clear();
    for number in 0..2 {
        world.publish(number, vec![put("who", &number.to_string())]);
    }
    world.wire.clear();
    world.with(id(0), Facts::tick);
    assert_eq!(world.wire.len(), 1);
    world.settle();
    assert!(world.agree());
    assert_eq!(world.host(1).facts.iter_prefix(b"who").count(), 2);
}

#[test]
fn a_host_back_from_absence_is_sent_each_set_once() {
    let mut world = World::new(10, 17);
    let absent = world.hosts.remove(&id(9)).expect("a host");
    world.introduce();
    let size = 100_000;
    for number in 0..9 {
        world.publish(number, vec![put("large", &"x".repeat(size))]);
    }
    world.run_for(seconds(30));
    world.bytes = 0;
    world.start(9, absent.stored);
    assert!(world.wire.len() > 9, "all greet each other");
    world.settle();
    assert!(world.agree());
    assert!(world.bytes < 9 * size as u64 * 11 / 10, "{} bytes", world.bytes);
}

#[test]
fn two_sides_of_a_partition_catch_up() {
    let mut world = World::new(6, 3);
    world.cut = [id(0), id(1)].into();
    world.publish(0, vec![put("a", "1")]);
    world.publish(5, vec![put("b", "1")]);
    world.run_for(seconds(60));
    assert!(!world.agree());
    world.cut.clear();
    world.run_for(seconds(40));
    assert!(world.agree());
}

#[test]
fn facts_travel_through_hosts_that_can_reach_both_sides() {
    let mut world = World::new(3, 4);
    world.wire.clear();
    world.hosts.get_mut(&id(0)).unwrap().facts.set_peers([id(1)].into(), [id(1)].into(), Moment::ZERO);
    world.hosts.get_mut(&id(2)).unwrap().facts.set_peers([id(1)].into(), [id(1)].into(), Moment::ZERO);
    world.publish(0, vec![put("a", "1")]);
    world.run_for(seconds(20));
    assert_eq!(world.host(2).facts.get(id(0), b"a"), Some(b"1".as_slice()));
}

#[test]
fn many_hosts_are_compared_in_ranges_and_a_change_is_handed_on() {
    let count = 120;
    assert!(count > PUSH_DIRECT_MAX);
    let mut world = World::new(count, 5);
    for number in 0..count {
        world.publish(number, vec![put("who", &number.to_string())]);
    }
    world.run_for(seconds(30));
    assert!(world.agree());
    world.bytes = 0;
    world.publish(7, vec![put("new", "x")]);
    world.settle();
    let reached = world.hosts.values().filter(|host| host.facts.get(id(7), b"new").is_some()).count();
    assert!(reached > count * 9 / 10, "{reached} of {count}");
    assert!(world.bytes < 400 * 6 * count as u64, "{} bytes", world.bytes);
    world.run_for(seconds(30));
    assert!(world.agree());
}

#[test]
fn a_quiet_fabric_exchanges_a_hash_now_and_then() {
    let mut world = World::new(10, 6);
    for number in 0..10 {
        let edits = (0..50).map(|n| put(&format!("endpoint/{n}"), &"x".repeat(100))).collect();
        world.publish(number, edits);
    }
    world.run_for(seconds(120));
    assert!(world.agree());
    world.bytes = 0;
    world.run_for(seconds(80));
    assert!(world.bytes < 10 * 20 * 40, "{} bytes in 80 s", world.bytes);
}

#[test]
fn a_delta_is_as_large_as_the_change_not_as_the_set() {
    let mut world = World::new(2, 7);
    let edits = (0..2_000).map(|n| put(&format!("endpoint/{n}"), &"x".repeat(100))).collect();
    world.publish(0, edits);
    world.settle();
    world.bytes = 0;
    world.publish(0, vec![put("endpoint/7", "y")]);
    world.settle();
    assert!(world.bytes < 400, "{} bytes", world.bytes);
    assert!(world.agree());
}

#[test]
fn the_largest_set_fits_one_message() {
    let mut world = World::new(2, 8);
    let value = "x".repeat(VALUE_BYTES_MAX);
    for n in 0..15 {
        world.publish(0, vec![put(&format!("large/{n}"), &value)]);
    }
    let small: Vec<_> = (0..1_000).map(|n| put(&format!("small/{n}"), "")).collect();
    world.publish(0, small);
    world.loss_percent = 100;
    world.publish(1, vec![put("full", &value)]);
    world.loss_percent = 0;
    world.wire.clear();
    world.run_for(seconds(10));
    assert!(world.agree());
    assert_eq!(world.host(1).facts.of(id(0)).count(), 1_015);
    let snapshot = world.host(0).facts.snapshot_for(id(5));
    assert!(snapshot.iter().all(|message| message.len() <= MESSAGE_BYTES_MAX));
}

#[test]
fn a_welcome_holds_everything() {
    let mut world = World::new(5, 9);
    for number in 0..5 {
        world.publish(number, vec![put("who", &number.to_string())]);
    }
    world.settle();
    let mut joiner = open(9, Stored::new(), Moment::ZERO);
    for message in world.host(2).facts.snapshot_for(id(9)) {
        joiner.receive(id(2), &message, Moment::ZERO, &Lenient);
    }
    assert_eq!(joiner.heads().collect::<Vec<_>>(), world.host(0).facts.heads().collect::<Vec<_>>());
}

#[test]
fn facts_survive_a_restart_of_everybody() {
    let mut world = World::new(3, 10);
    for number in 0..3 {
        world.publish(number, vec![put("a", "1"), put("b", "1")]);
        world.publish(number, vec![remove("a")]);
    }
    world.settle();
    let before: Vec<_> = world.host(0).facts.heads().collect();
    for number in 0..3 {
        let stored = world.host(number).stored.clone();
        world.start(number, stored);
        assert_eq!(world.host(number).facts.heads().collect::<Vec<_>>(), before);
    }
    world.publish(1, vec![put("c", "1")]);
    world.run_for(seconds(5));
    assert!(world.agree());
    assert!(world.hosts.values().all(|host| host.notices.is_empty()), "a restart is no restore");
}

#[test]
fn whoever_was_away_longer_than_tombstones_gets_the_whole_set() {
    let mut world = World::new(3, 11);
    world.publish(0, vec![put("a", "1"), put("b", "1")]);
    world.settle();
    world.cut = [id(2)].into();
    world.publish(0, vec![remove("a"), put("c", "1")]);
    world.run_for(TOMBSTONE_LASTS * 2);
    assert_eq!(world.host(1).facts.stats().tombstones, 0);
    assert!(world.host(2).facts.get(id(0), b"a").is_some());
    world.cut.clear();
    world.run_for(seconds(30));
    assert!(world.agree());
    assert_eq!(world.host(2).facts.get(id(0), b"a"), None);
    assert_eq!(world.host(2).facts.get(id(0), b"b"), Some(b"1".as_slice()));
}

#[test]
fn a_host_restored_from_a_backup_takes_a_new_incarnation_and_says_what_differs() {
    let mut world = World::new(3, 12);
    world.publish(0, vec![put("a", "1"), put("gift", "old")]);
    let backup = world.host(0).stored.clone();
    world.publish(0, vec![put("gift", "new"), put("gift2", "x")]);
    world.settle();
    world.start(0, backup);
    world.run_for(seconds(20));
    assert!(world.agree());
    assert_eq!(world.host(1).facts.get(id(0), b"gift"), Some(b"old".as_slice()));
    let [Notice::Restored { held, taken, lost }] = &world.host(0).notices[..] else {
        panic!("one notice is expected: {:?}", world.host(0).notices)
    };
    assert_eq!(*held, Version { incarnation: 1, counter: 2 });
    assert_eq!(taken.incarnation, 2);
    assert_eq!(lost.len(), 2);
    assert_eq!(lost[0].old.as_deref(), Some(b"new".as_slice()));
    assert_eq!(lost[0].new.as_deref(), Some(b"old".as_slice()));
    assert!(world.host(0).conflicts.is_empty());
    world.publish(0, vec![put("after", "1")]);
    world.settle();
    assert!(world.agree());
}

#[test]
fn a_host_whose_store_was_lost_outranks_its_former_self() {
    let mut world = World::new(3, 13);
    world.publish(0, vec![put("a", "1")]);
    world.settle();
    world.start(0, Stored::new());
    world.run_for(seconds(20));
    assert!(world.agree());
    assert_eq!(world.host(1).facts.of(id(0)).count(), 0);
}

#[test]
fn of_two_live_hosts_with_one_key_one_is_told_to_stop() {
    let mut world = World::new(3, 14);
    world.publish(0, vec![put("a", "1")]);
    world.settle();
    let mut clone = open(0, world.host(0).stored.clone(), world.now);
    let mut conflicts = 0;
    for turn in 0..6 {
        // The clone speaks with host 1, which speaks with host 0.
        let effects = clone.publish(vec![put("clone", &turn.to_string())], world.now);
        conflicts += count_conflicts(&effects);
        for message in clone.snapshot_for(id(1)) {
            world.with(id(1), |facts, now| facts.receive(id(2), &message, now, &Lenient));
        }
        world.publish(0, vec![put("original", &turn.to_string())]);
        world.run_for(seconds(10));
        for message in world.host(1).facts.snapshot_for(id(0)) {
            conflicts += count_conflicts(&clone.receive(id(1), &message, world.now, &Lenient));
        }
        if conflicts + world.host(0).conflicts.len() > 0 {
            return;
        }
    }
    panic!("nobody noticed");
}

fn count_conflicts(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Conflict(_))).count()
}

#[test]
fn a_forgotten_host_is_dropped_for_good() {
    let mut world = World::new(3, 15);
    world.publish(2, vec![put("a", "1")]);
    world.settle();
    for number in 0..2 {
        world.with(id(number), |facts, _| facts.forget(id(2)));
    }
    world.publish(2, vec![put("b", "1")]);
    world.run_for(seconds(30));
    for number in 0..2 {
        let host = world.host(number);
        assert_eq!(host.facts.of(id(2)).count(), 0);
        assert!(host.seen.is_empty() && host.stored.is_empty());
    }
    assert!(world.host(0).facts.stats().discarded[&Discarded::Forgotten] > 0);
}

struct Refuses(HostId);

impl Judge for Refuses {
    fn admits(&self, author: HostId, entries: &dyn Fn(&[u8]) -> Option<Vec<u8>>) -> Result<(), String> {
        if author == self.0 && entries(b"pass").is_none() {
            return Err("no pass".into());
        }
        Ok(())
    }
}

#[test]
fn the_judge_sees_the_entries_and_is_not_bothered_twice() {
    let (mut author, mut receiver) =
        (open(0, Stored::new(), Moment::ZERO), open(1, Stored::new(), Moment::ZERO));
    let judge = Refuses(id(0));
    author.publish(vec![put("a", "1")], Moment::ZERO);
    let offer = |author: &Facts, receiver: &mut Facts| -> Vec<Effect> {
        let messages = author.snapshot_for(id(1));
        messages.iter().flat_map(|m| receiver.receive(id(0), m, Moment::ZERO, &judge)).collect()
    };
    let refused = Effect::Notice(Notice::Refused { author: id(0), reason: "no pass".into() });
    assert_eq!(offer(&author, &mut receiver), [refused]);
    assert!(offer(&author, &mut receiver).is_empty());
    assert_eq!(receiver.of(id(0)).count(), 0);
    author.publish(vec![put("pass", "")], Moment::ZERO);
    offer(&author, &mut receiver);
    assert_eq!(receiver.of(id(0)).count(), 2);
}
