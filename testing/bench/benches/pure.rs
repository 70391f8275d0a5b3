//! Prints what the hot decisions cost that touch nothing: `cargo bench -p shoal-bench`.
//!
//! A fabric of 200 hosts with 50 endpoints each. Times are processor time of this thread, so a busy machine disturbs
//! them little. docs/internals/performance.md has the last run.
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shoal_fabric::At;
use shoal_ipam::{Ipam, plan_grants};
use shoal_plan::Observed;
use shoal_planner::{diff, plan};
use shoal_schema::{NetworkSpec, Subnet};
use shoal_types::{HostId, Moment, NetworkId, PoolIndex, Vni, WallTime};
use shoal_world::fleet::Seeds;

const HOSTS: usize = 200;
const ENDPOINTS: usize = 50;

/// Endpoints that one of the hosts makes, one after the other.
const CHANGES: usize = 500;

/// Addresses handed out.
const ADDRESSES: usize = 250;

/// How often what is repeated is.
const TIMES: usize = 100;

const AT: At =
    At { now: Moment::from_nanos(1_000_000_000_000), wall: WallTime::from_millis(1_767_226_600_000) };

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome {
    println!("{HOSTS} hosts, {} endpoints\n\n| decision | time |\n|---|---|", HOSTS * ENDPOINTS);
    let mut seeds = Seeds::sow(HOSTS, ENDPOINTS)?;
    let (author, changes) = seeds.changes(HOSTS - 1, CHANGES, AT);
    let (mut agent, effects) = seeds.open(0, 1, AT);
    drop(effects);
    let mut changes = changes.iter();
    let delta = || changes.next().map(|change| agent.message(author, change, AT));
    row("a delta: one endpoint of another host", CHANGES, delta)?;
    let view = agent.view(AT.now);
    row("the plan: all views to one", TIMES, || plan(&view))?;
    let wanted = plan(&view).0;
    let nothing = Observed::default();
    row("HostPlan diff, an empty kernel", TIMES, || diff(&wanted, &nothing))?;
    let same = Observed { plan: wanted.clone(), ..Observed::default() };
    row("HostPlan diff, nothing to do", TIMES, || diff(&wanted, &same))?;
    let mut stale = Observed { plan: wanted.clone(), ..Observed::default() };
    stale.plan.endpoints = stale.plan.endpoints.into_iter().step_by(2).collect();
    row("HostPlan diff, half of it missing", TIMES, || diff(&wanted, &stale))?;
    let ipam = addresses()?;
    row(&format!("{ADDRESSES} addresses, one after another"), TIMES, || {
        let mut ipam = ipam.clone();
        (0..ADDRESSES).all(|_| ipam.allocate(NETWORK, PoolIndex(0), None, AT.now).is_ok())
    })
}

const NETWORK: NetworkId = NetworkId::new([7; 16]);

/// One host's view of a network of 65,534 addresses that two hundred share.
fn addresses() -> Outcome<Ipam> {
    let hosts: BTreeSet<HostId> = (1..=200).map(|id| HostId::new([id; 16])).collect();
    let creator = HostId::new([1; 16]);
    let subnet = Subnet {
        prefix: "10.1.0.0/16".parse()?,
        gateway: "10.1.0.1".parse()?,
        dynamic: None,
        reserved: BTreeMap::new(),
    };
    let spec = NetworkSpec {
        name: "shop".parse()?,
        vni: Vni::new(300).ok_or("300 is a VXLAN id")?,
        creator,
        grants: plan_grants(PoolIndex(0), &subnet, creator, &hosts),
        subnets: vec![subnet],
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
        internal: false,
    };
    let mut ipam = Ipam::new(creator);
    drop(ipam.network(NETWORK, &spec));
    Ok(ipam)
}

/// Does the work so many times and prints the mean, with what it takes to drop the results: the kernel counts in steps
/// of milliseconds.
fn row<T>(name: &str, times: usize, mut work: impl FnMut() -> T) -> Outcome {
    let before = cpu()?;
    for _ in 0..times {
        drop(work());
    }
    let mean = (cpu()? - before).as_secs_f64() * 1e6 / times as f64;
    let time = if mean < 1000.0 { format!("{mean:.1} us") } else { format!("{:.1} ms", mean / 1e3) };
    println!("| {name} | {time} |");
    Ok(())
}

/// Time this thread has computed.
fn cpu() -> Outcome<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(Duration::from_nanos(text.split(' ').next().unwrap_or_default().parse()?))
}
