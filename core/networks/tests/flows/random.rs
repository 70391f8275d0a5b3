//! Whatever happens, in whatever order, with restarts in between: no address is handed out twice, and a restarted agent
//! knows what it knew.

use std::collections::BTreeSet;
use std::net::IpAddr;

use proptest::prelude::*;
use shoal_networks::{EngineReport, Naming, Verb};

use crate::host::{Create, Host, endpoint, name, plain, share};

#[derive(Debug, Clone)]
enum Step {
    Create(u8),
    Rm(u8),
    Run(u8, u8, Option<u8>),
    Stop(u8),
    Delete(u8),
    Serve,
    Share,
    Wait(u8),
    Restart,
    List,
    /// A call that dockerd would not make now.
    Stray(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..3_u8).prop_map(Step::Create),
        1 => any::<u8>().prop_map(Step::Rm),
        8 => (any::<u8>(), 0..40_u8, proptest::option::of(0..20_u8)).prop_map(|(d, n, w)| Step::Run(d, n, w)),
        4 => any::<u8>().prop_map(Step::Stop),
        1 => (0..3_u8).prop_map(Step::Delete),
        5 => Just(Step::Serve),
        4 => Just(Step::Share),
        3 => (0..60_u8).prop_map(Step::Wait),
        2 => Just(Step::Restart),
        2 => Just(Step::List),
        2 => (0..6_u8, 0..40_u8).prop_map(|(what, n)| Step::Stray(what, n)),
    ]
}

fn take(host: &mut Host, step: &Step) {
    let dockers: Vec<String> = host.docker.keys().cloned().collect();
    let pick = |n: u8| dockers.get(usize::from(n) % dockers.len().max(1)).cloned();
    match step {
        Step::Create(n) => {
            let _ = host.create(&Create { subnets: vec!["10.9.0.0/28"], ..plain(&format!("n{n}")) });
        }
        Step::Rm(n) => {
            let busy = |docker: &String| host.attached.values().any(|(it, _)| it == docker);
            if let Some(docker) = pick(*n).filter(|docker| !busy(docker)) {
                host.rm(&docker);
            }
        }
        Step::Run(docker, n, wish) => {
            let n = u32::from(host.me.bytes()[0]) * 1000 + u32::from(*n);
            if let Some(docker) = pick(*docker).filter(|_| !host.attached.contains_key(&endpoint(n))) {
                let _ = host.run(&docker, n, wish.map(|wish| format!("10.9.0.{wish}")).as_deref());
            }
        }
        Step::Stop(n) => {
            let running: Vec<_> = host.attached.keys().cloned().collect();
            if let Some(stopped) = running.get(usize::from(*n) % running.len().max(1)) {
                host.stop(u32::from_str_radix(&stopped.as_str()[56..], 16).unwrap());
            }
        }
        Step::Delete(n) => {
            let mut effects = Vec::new();
            let _ = host.networks.delete(&name(&format!("n{n}")), host.at, &mut effects);
            host.act(effects);
        }
        Step::Serve => host.serve(),
        Step::Wait(seconds) => host.wait((*seconds).into()),
        Step::Restart => host.restart(),
        Step::List => {
            let views = host.views();
            host.report(EngineReport::Listed(views));
        }
        Step::Stray(what, n) => stray(host, *what, u32::from(*n), pick(*n).unwrap_or_default()),
        Step::Share => {}
    }
}

fn stray(host: &mut Host, what: u8, n: u32, network: String) {
    // An endpoint that no container of this host has.
    let endpoint = endpoint(900_000 + n);
    let verb = match what {
        0 => Verb::Join { network, endpoint, sandbox: String::new() },
        1 => Verb::Leave { network, endpoint },
        2 => Verb::DeleteEndpoint { network, endpoint },
        3 => Verb::ReleasePool { pool: "unknown".into() },
        4 => Verb::CreateNetwork {
            network: "x".into(),
            options: [].into(),
            internal: false,
            pools: Vec::new(),
        },
        _ => Verb::DeleteNetwork { network: "x".into() },
    };
    let _ = host.verb(verb);
}

/// What a host shows of itself.
fn shown(host: &Host) -> String {
    let networks = &host.networks;
    let leases: BTreeSet<(_, IpAddr)> = host.leases();
    let dockers: Vec<_> = networks.docker_networks().map(|it| (&it.docker, it.network, &it.naming)).collect();
    let endpoints: Vec<_> = networks.endpoints().collect();
    let off: Vec<_> = networks.catalog().iter().map(|(id, _)| networks.is_off(id)).collect();
    format!("{dockers:?} {endpoints:?} {leases:?} {off:?}")
}

fn check(a: &Host, b: &Host) -> Result<(), TestCaseError> {
    for host in [a, b] {
        let mut all = Vec::new();
        for record in host.networks.endpoints() {
            all.extend(record.v4.map(|address| (record.network, address)));
        }
        let distinct: BTreeSet<_> = all.iter().collect();
        prop_assert_eq!(distinct.len(), all.len(), "{:?}", all);
        for (endpoint, (docker, _)) in &host.attached {
            let settled = host
                .networks
                .docker_networks()
                .any(|it| it.docker == *docker && it.naming == Naming::Settled);
            let known = host.networks.endpoints().any(|record| record.endpoint == *endpoint);
            prop_assert!(
                known || !settled,
                "a container runs and its endpoint {} is forgotten",
                endpoint.short()
            );
        }
    }
    prop_assert!(a.leases().is_disjoint(&b.leases()));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_address_is_handed_out_twice_and_a_restart_changes_nothing(
        steps in proptest::collection::vec((any::<bool>(), step()), 1..120),
    ) {
        let (mut a, mut b) = Host::pair();
        for (first, step) in steps {
            if matches!(step, Step::Share) {
                share(&mut a, &mut b);
            }
            let host = if first { &mut a } else { &mut b };
            let before = matches!(step, Step::Restart).then(|| {
                host.wait(0);
                shown(host)
            });
            take(host, &step);
            if let Some(before) = before {
                prop_assert_eq!(shown(host), before);
            }
            check(&a, &b)?;
        }
        for host in [&mut a, &mut b] {
            host.serve();
            host.wait(60);
            host.serve();
            if let Some(due) = host.networks.next_retry() {
                prop_assert!(due > host.at.now, "an agent that is woken for nothing never sleeps");
            }
        }
    }
}
