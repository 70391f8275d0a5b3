//! Random histories: whatever is late, lost or wrong, no two hosts that count ever use one address.

#![allow(clippy::unwrap_used, reason = "a test panics when what it needs is absent")]

mod model;

use model::{LEASE, World, id};
use proptest::collection::vec;
use proptest::prelude::*;

/// One step; numbers are folded into what there is to choose from.
#[derive(Debug, Clone)]
enum Step {
    HandOut {
        host: usize,
        number: u8,
    },
    Release {
        host: usize,
        which: usize,
    },
    Give {
        host: usize,
        number: u8,
        to: usize,
    },
    Spare {
        host: usize,
        number: u8,
    },
    Want {
        host: usize,
        number: u8,
    },
    Deliver {
        from: usize,
        to: usize,
        author: usize,
    },
    /// Everything that one host holds reaches another one.
    Meet {
        from: usize,
        to: usize,
    },
    Receive {
        which: usize,
        lost: bool,
    },
    /// A host's clock goes on, by seconds or by leases, and what is due is done.
    Tick {
        host: usize,
        seconds: u64,
        leases: bool,
    },
    /// Whom membership believes alive.
    Believe {
        host: usize,
        alive: u8,
    },
    /// The hosts of one side, or of both, live on by themselves, each for as long as its clock says.
    Part {
        side: u8,
        both: bool,
        seconds: u64,
        rounds: u8,
    },
    SpareAll {
        host: usize,
    },
    WantAll {
        host: usize,
    },
    Restart {
        host: usize,
        loses: bool,
    },
    Forget {
        by: usize,
        whom: usize,
    },
    Join {
        via: usize,
    },
    /// `shoal join` on a host that was a member already, or is one; `leaves`: after `shoal leave`.
    Rejoin {
        host: usize,
        via: usize,
        leaves: bool,
    },
    BackUp {
        host: usize,
    },
    Restore {
        host: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let n = any::<usize>;
    prop_oneof![
        8 => (n(), any::<u8>()).prop_map(|(host, number)| Step::HandOut { host, number }),
        2 => (n(), n()).prop_map(|(host, which)| Step::Release { host, which }),
        2 => (n(), any::<u8>(), n()).prop_map(|(host, number, to)| Step::Give { host, number, to }),
        4 => (n(), any::<u8>()).prop_map(|(host, number)| Step::Spare { host, number }),
        4 => (n(), any::<u8>()).prop_map(|(host, number)| Step::Want { host, number }),
        6 => (n(), n(), n()).prop_map(|(from, to, author)| Step::Deliver { from, to, author }),
        12 => (n(), n()).prop_map(|(from, to)| Step::Meet { from, to }),
        16 => (n(), prop::bool::weighted(0.1)).prop_map(|(which, lost)| Step::Receive { which, lost }),
        20 => (n(), 0_u64..700, prop::bool::weighted(0.3))
            .prop_map(|(host, seconds, leases)| Step::Tick { host, seconds, leases }),
        3 => (n(), any::<u8>()).prop_map(|(host, alive)| Step::Believe { host, alive }),
        12 => (any::<u8>(), any::<bool>(), prop_oneof![3 => 1_u64..60, 1 => 500_u64..700], 1_u8..4)
            .prop_map(|(side, both, seconds, rounds)| Step::Part { side, both, seconds, rounds }),
        3 => n().prop_map(|host| Step::SpareAll { host }),
        3 => n().prop_map(|host| Step::WantAll { host }),
        1 => (n(), any::<bool>()).prop_map(|(host, loses)| Step::Restart { host, loses }),
        1 => (n(), n()).prop_map(|(by, whom)| Step::Forget { by, whom }),
        1 => n().prop_map(|via| Step::Join { via }),
        1 => (n(), n(), any::<bool>()).prop_map(|(host, via, leaves)| Step::Rejoin { host, via, leaves }),
        1 => n().prop_map(|host| Step::BackUp { host }),
        1 => n().prop_map(|host| Step::Restore { host }),
    ]
}

const HOSTS_MAX: usize = 8;

fn take(world: &mut World, step: &Step) {
    let hosts = world.hosts.len();
    let number_of = |number: &u8| number % world.numbers;
    match step {
        Step::HandOut { host, number } => world.hand_out(host % hosts, number_of(number)),
        Step::Release { host, which } => {
            let used = &mut world.hosts[host % hosts].used;
            let number = used.iter().nth(which % used.len().max(1)).copied();
            number.map(|number| used.remove(&number));
        }
        Step::Give { host, number, to } => world.give(host % hosts, number_of(number), to % hosts),
        Step::Spare { host, number } => world.spare(host % hosts, number_of(number)),
        Step::Want { host, number } => world.want(host % hosts, number_of(number)),
        Step::Deliver { from, to, author } => world.deliver(from % hosts, to % hosts, author % hosts),
        Step::Meet { from, to } => {
            (0..hosts).for_each(|author| world.deliver(from % hosts, to % hosts, author));
        }
        Step::Receive { which, lost } => world.receive(*which, *lost),
        Step::Tick { host, seconds, leases } => {
            world.hosts[host % hosts].seconds += if *leases { LEASE.as_secs() } else { *seconds };
            world.tick(host % hosts);
        }
        Step::Believe { host, alive } => {
            let believed = (0..hosts).filter(|other| alive >> other & 1 == 1).map(id).collect();
            world.hosts[host % hosts].alive = believed;
        }
        Step::Part { side, both, seconds, rounds } => {
            let (one, other): (Vec<usize>, Vec<usize>) = (0..hosts).partition(|host| side >> host & 1 == 1);
            for _ in 0..*rounds {
                world.live(&one, *seconds);
                if *both {
                    world.live(&other, *seconds);
                }
            }
        }
        Step::SpareAll { host } => (0..world.numbers).for_each(|number| world.spare(host % hosts, number)),
        Step::WantAll { host } => (0..world.numbers).for_each(|number| world.want(host % hosts, number)),
        Step::Restart { host, loses } => world.restart(host % hosts, *loses),
        Step::Forget { by, whom } => world.forget(by % hosts, whom % hosts),
        Step::Join { via } if hosts < HOSTS_MAX => world.join(via % hosts),
        Step::Join { .. } => {}
        Step::Rejoin { host, via, leaves } => world.rejoin(host % hosts, via % hosts, *leaves),
        Step::BackUp { host } => world.back_up(host % hosts),
        Step::Restore { host } => world.restore(host % hosts),
    }
}

/// A start that gets far: leases are out, and much is spare.
fn settled(hosts: usize) -> World {
    let mut world = World::new(hosts, 8);
    for _ in 0..2 {
        (0..hosts).for_each(|host| world.tick(host));
        for (from, to) in (0..hosts).flat_map(|from| (0..hosts).map(move |to| (from, to))) {
            world.deliver(from, to, from);
        }
    }
    (0..8).for_each(|number| world.spare(usize::from(number) % hosts, number));
    world
}

/// A start in which the last host has let one in, and given it an address, that nobody else has heard of; then the
/// last host is forgotten.
fn stranded(hosts: usize) -> World {
    let mut world = settled(hosts);
    let (last, number) = (hosts - 1, u8::try_from(hosts - 1).unwrap_or_default());
    let (members, both) = ((0..last).collect::<Vec<_>>(), [last, hosts]);
    (0..hosts).for_each(|host| world.want(host, number));
    (0..3).for_each(|_| world.live(&(0..hosts).collect::<Vec<_>>(), 20));
    world.join(last);
    world.live(&both, 20);
    world.give(last, number, hosts);
    (0..2).for_each(|_| world.live(&both, 20));
    world.hand_out(hosts, number);
    world.forget(0, last);
    (0..2).for_each(|_| world.live(&members, 20));
    world
}

/// How many histories: `SHOAL_HISTORIES`, else so many that a test run takes seconds.
fn cases() -> u32 {
    std::env::var("SHOAL_HISTORIES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(500)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_address_is_ever_used_twice(hosts in 2_usize..=6, steps in vec(step(), 0..80)) {
        let mut world = settled(hosts);
        for step in &steps {
            take(&mut world, step);
            prop_assert_eq!(world.used_twice(), None, "after {:?}", step);
        }
    }

    #[test]
    fn no_address_is_used_twice_when_hosts_come_back_that_nobody_knows(
        hosts in 3_usize..=5,
        steps in vec(step(), 0..40),
    ) {
        let mut world = stranded(hosts);
        prop_assert!(world.hosts[hosts].used.len() == 1, "it has what it got");
        for step in &steps {
            take(&mut world, step);
            prop_assert_eq!(world.used_twice(), None, "after {:?}", step);
        }
    }
}
