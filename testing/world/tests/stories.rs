//! Stories too rare for the seeds of a test run.

use std::time::Duration;

use shoal_world::{Options, Situation, Step, Wanted, World};

/// Plays steps, two seconds apart, in a fabric of all hosts but the last; then everything is healed and checked.
fn told(seed: u64, hosts: usize, steps: &[Step]) -> World {
    let mut world = World::new(seed, Options { hosts, members: hosts - 1, ..Options::default() });
    world.found();
    for step in steps {
        world.step(step);
        world.pass(Duration::from_secs(2));
    }
    world.settle();
    assert_eq!(world.violation(), None, "{}", world.lines().join("\n"));
    world
}

#[test]
fn a_host_whose_introducer_was_forgotten_is_vouched_for_by_whoever_had_heard_of_it() {
    let world = told(
        1,
        5,
        &[
            Step::Isolate { host: 0 },
            Step::Join { host: 4, via: 2 },
            Step::Forget { host: 0, whom: 2 },
            Step::Heal,
        ],
    );
    assert!(world.stranded().is_empty());
    assert!(world.seen().contains(&Situation::Renewed));
}

#[test]
fn a_host_that_only_a_forgotten_one_had_met_must_join_again() {
    let world = told(
        1,
        5,
        &[
            Step::Partition { groups: vec![vec![0, 1, 3], vec![2, 4]] },
            Step::Join { host: 4, via: 2 },
            Step::Forget { host: 0, whom: 2 },
            Step::Heal,
        ],
    );
    assert_eq!(world.stranded().iter().copied().collect::<Vec<_>>(), [4]);
}

/// What it got from the forgotten host is the heir's by the time it comes back, or would be a moment later.
#[test]
fn a_host_that_nobody_knows_does_not_come_back_with_addresses_that_others_have_inherited() {
    let network = Wanted { name: "shop".into(), subnet: None, v6: false, gateway: false };
    let mut steps = vec![
        Step::Create { host: 2, network },
        Step::Partition { groups: vec![vec![0, 1, 3], vec![2, 4]] },
        Step::Join { host: 4, via: 2 },
        start(4, "a", "shop"),
        Step::Forget { host: 0, whom: 2 },
        Step::Heal,
        Step::Join { host: 4, via: 0 },
        Step::Remove { host: 4, container: "a".into() },
        Step::Leave { host: 4 },
        Step::Join { host: 4, via: 1 },
    ];
    steps.extend([0, 1, 3].map(|host| start(host, "b", "shop")));
    let world = told(1, 5, &steps);
    let refused = |line: &&String| line.contains("the member does not know this host");
    let refusals: Vec<&String> = world.lines().iter().filter(refused).collect();
    assert_eq!(refusals.len(), 2, "with containers and without: {}", world.lines().join("\n"));
    assert!(refusals[0].contains("container \"a\" loses its network"), "{refusals:?}");
    assert!(world.seen().contains(&Situation::Inherited));
}

#[test]
fn what_was_decided_while_the_disk_was_full_is_done_once_it_has_room() {
    let network = Wanted { name: "shop".into(), subnet: None, v6: false, gateway: false };
    let full = |host| Step::DiskRefuses { host };
    let steps = [
        full(4),
        Step::Join { host: 4, via: 0 },
        full(1),
        Step::Create { host: 1, network },
        Step::Forget { host: 1, whom: 3 },
        Step::DiskWrites { host: 4 },
        Step::DiskWrites { host: 1 },
    ];
    let world = told(1, 5, &steps);
    assert!(world.stranded().is_empty() && world.seen().contains(&Situation::WriteRefused));
}

#[test]
fn what_a_host_gave_away_before_it_left_is_no_loss_when_it_comes_back() {
    let network = Wanted { name: "shop".into(), subnet: Some((23, 28)), v6: false, gateway: false };
    let run = |host, container: &str, address| {
        let (container, network) = (container.to_owned(), "shop".to_owned());
        Step::Run { host, container, network, address, restart: false }
    };
    // Whether it seems to be one hangs on the order of the hosts' ids.
    for (seed, address) in (0..12).zip(2..14) {
        let steps = [
            Step::Create { host: 2, network: network.clone() },
            run(1, "a", None),
            run(0, "b", Some(address)),
            Step::Leave { host: 3 },
            Step::Join { host: 3, via: 2 },
        ];
        assert!(told(seed, 5, &steps).seen().contains(&Situation::JoinedAgain));
    }
}

fn shop() -> Wanted {
    Wanted { name: "shop".into(), subnet: Some((23, 28)), v6: false, gateway: false }
}

fn start(host: usize, container: &str, network: &str) -> Step {
    let (container, network) = (container.to_owned(), network.to_owned());
    Step::Run { host, container, network, address: None, restart: false }
}

#[test]
fn a_host_restored_from_an_old_backup_takes_nothing_back_and_says_so() {
    let web = Wanted { name: "web".into(), subnet: Some((24, 27)), v6: false, gateway: false };
    let steps = [
        Step::Create { host: 2, network: shop() },
        start(2, "a", "shop"),
        Step::Backup { host: 2 },
        Step::Remove { host: 2, container: "a".into() },
        Step::Delete { host: 2, network: "shop".into() },
        Step::Create { host: 2, network: web },
        start(1, "b", "web"),
        Step::Restore { host: 2 },
    ];
    let world = told(5, 4, &steps);
    let said = world.lines().iter().filter(|line| line.contains("h2: notice: this host was restored"));
    assert_eq!(said.count(), 1, "{}", world.lines().join("\n"));
}

/// Twice as long as tombstones are kept; weeks would take minutes, and change nothing but the certificate, which ends.
#[test]
fn a_host_that_was_away_longer_than_tombstones_are_kept_brings_nothing_back() {
    let mut steps = vec![
        Step::Create { host: 0, network: shop() },
        start(0, "a", "shop"),
        start(1, "b", "shop"),
        Step::Wait(Duration::from_secs(10)),
        Step::Kill { host: 2 },
        Step::Remove { host: 0, container: "a".into() },
        Step::Remove { host: 1, container: "b".into() },
        Step::Delete { host: 0, network: "shop".into() },
    ];
    steps.extend((0..12).map(|_| Step::Wait(Duration::from_secs(600))));
    steps.push(Step::Agent { host: 2 });
    assert!(told(6, 4, &steps).seen().contains(&Situation::CaughtUp));
}

#[test]
fn clocks_that_drift_apart_change_nothing() {
    let drift = |host, ppm| Step::Drift { host, ppm };
    let mut steps = vec![drift(0, 200_000), drift(1, -200_000)];
    for _ in 0..4 {
        steps.push(Step::Create { host: 0, network: shop() });
        steps.push(Step::Wait(Duration::from_secs(60)));
        steps.push(Step::Delete { host: 1, network: "shop".into() });
        steps.push(Step::Wait(Duration::from_secs(60)));
    }
    assert!(told(7, 4, &steps).seen().contains(&Situation::EditWaited));
}

/// They hold a newer state of it than it has itself, and say so when it asks who has heard its wish.
#[test]
fn what_a_host_wanted_back_when_it_was_backed_up_stays_with_those_who_took_it_over_since() {
    let network = Wanted { name: "shop".into(), subnet: Some((23, 24)), v6: false, gateway: false };
    let wish = |number: u8| Step::Run {
        host: 2,
        container: format!("c{number}"),
        network: "shop".into(),
        address: Some(number),
        restart: false,
    };
    for seed in 0..4 {
        let mut steps = vec![Step::Create { host: 2, network: network.clone() }, start(2, "a", "shop")];
        steps.extend([Step::Wait(Duration::from_secs(10)), Step::Isolate { host: 2 }]);
        steps.extend((1..8).map(|eighth| wish(eighth * 32)));
        steps.extend([
            Step::Backup { host: 2 },
            Step::Wait(Duration::from_secs(20)),
            Step::Heal,
            Step::Wait(Duration::from_secs(20)),
            Step::Restore { host: 2 },
            Step::Agent { host: 2 },
        ]);
        let seen = told(seed, 5, &steps).seen().clone();
        for situation in [Situation::WantedBack, Situation::TakenOver] {
            assert!(seen.contains(&situation), "seed {seed}: {situation:?}");
        }
    }
}

/// Its first tick as a member publishes a lease and asks for a tunnel key, which is published in turn.
#[test]
fn a_host_that_loses_power_right_after_it_joined_starts_again() {
    for millis in [60, 100, 300, 600] {
        let mut world = World::new(millis, Options { hosts: 4, members: 3, ..Options::default() });
        world.found();
        world.step(&Step::Join { host: 3, via: 1 });
        world.pass(Duration::from_millis(millis));
        world.step(&Step::PowerLoss { host: 3 });
        world.settle();
        assert_eq!(world.violation(), None, "{}", world.lines().join("\n"));
    }
}
