//! Random histories of hosts that publish, lose messages, restart and are cut off.

mod world;

use std::collections::BTreeMap;

use proptest::prelude::*;
use world::{Stored, World, id, put, remove};

/// One step of a random history.
#[derive(Debug, Clone)]
enum Step {
    Put(usize, u8, u8),
    Remove(usize, u8),
    Deliver(u8),
    Restart(usize),
    Backup(usize),
    Restore(usize),
    Cut(Vec<bool>),
    Wait(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6_usize, 0..8_u8, any::<u8>()).prop_map(|(host, key, value)| Step::Put(host, key, value)),
        3 => (0..6_usize, 0..8_u8).prop_map(|(host, key)| Step::Remove(host, key)),
        6 => any::<u8>().prop_map(Step::Deliver),
        1 => (0..6_usize).prop_map(Step::Restart),
        1 => proptest::collection::vec(any::<bool>(), 6).prop_map(Step::Cut),
        2 => (0..20_u8).prop_map(Step::Wait),
    ]
}

fn step_or_restore() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => step(),
        1 => (0..6_usize).prop_map(Step::Backup),
        1 => (0..6_usize).prop_map(Step::Restore),
    ]
}

fn take(world: &mut World, backups: &mut BTreeMap<usize, Stored>, step: Step, count: usize) {
    match step {
        Step::Backup(host) => {
            backups.insert(host % count, world.host(host % count).stored.clone());
        }
        Step::Restore(host) => {
            let backup = backups.get(&(host % count)).cloned();
            world.start(host % count, backup.unwrap_or_default());
        }
        Step::Put(host, key, value) => {
            world.publish(host % count, vec![put(&key.to_string(), &value.to_string())]);
        }
        Step::Remove(host, key) => world.publish(host % count, vec![remove(&key.to_string())]),
        Step::Deliver(messages) => {
            for _ in 0..usize::from(messages).min(world.wire.len()) {
                world.deliver_one();
            }
        }
        Step::Restart(host) => {
            let stored = world.host(host % count).stored.clone();
            world.start(host % count, stored);
        }
        Step::Cut(sides) => {
            world.cut = (0..count).filter(|number| sides[*number]).map(id).collect();
        }
        Step::Wait(seconds) => world.run_for(world::seconds(u64::from(seconds))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn after_any_history_all_hosts_agree_with_every_author(
        count in 2..=6_usize,
        seed in any::<u64>(),
        loss_percent in 0..60_u64,
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new(count, seed);
        world.loss_percent = loss_percent;
        world.double_percent = 20;
        let mut truth: BTreeMap<(usize, String), String> = BTreeMap::new();
        for step in steps {
            match &step {
                Step::Put(host, key, value) => {
                    truth.insert((host % count, key.to_string()), value.to_string());
                }
                Step::Remove(host, key) => {
                    truth.remove(&(host % count, key.to_string()));
                }
                _ => {}
            }
            take(&mut world, &mut BTreeMap::new(), step, count);
        }
        world.loss_percent = 0;
        world.cut.clear();
        world.run_for(world::seconds(120));
        prop_assert!(world.agree());
        let held = world.host(0).facts.iter_prefix(b"");
        let held: BTreeMap<_, _> = held.map(|(author, key, value)| ((author, key.to_vec()), value.to_vec())).collect();
        let truth = truth.into_iter().map(|((host, key), value)| ((id(host), key.into_bytes()), value.into_bytes()));
        prop_assert_eq!(held, truth.collect());
        prop_assert!(world.hosts.values().all(|host| host.notices.is_empty() && host.conflicts.is_empty()));
    }

    #[test]
    fn hosts_restored_from_backups_end_in_agreement(
        count in 2..=5_usize,
        seed in any::<u64>(),
        steps in proptest::collection::vec(step_or_restore(), 1..60),
    ) {
        let mut world = World::new(count, seed);
        let mut backups = BTreeMap::new();
        for step in steps {
            take(&mut world, &mut backups, step, count);
        }
        world.cut.clear();
        for _ in 0..4 {
            world.run_for(world::seconds(120));
            // A second surprise in one run stops a host; whoever looks after it starts it again.
            let stopped = (0..count).filter(|number| !world.host(*number).conflicts.is_empty());
            for number in stopped.collect::<Vec<_>>() {
                let stored = world.host(number).stored.clone();
                world.start(number, stored);
            }
        }
        prop_assert!(world.agree());
        prop_assert!(world.hosts.values().all(|host| host.conflicts.is_empty()));
    }
}
