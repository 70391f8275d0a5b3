//! What the kernel counts of Shoal's programs: their length, and the time of a run.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::figures::{Figures, Row};
use crate::rounds::Rounds;
use crate::stage::Stage;
use crate::subject::{Contestant, Measure, Scope, Work};

/// Switches the kernel's counting of runs on and off; it costs some nanoseconds a run. The guard switches it back.
pub(crate) const COUNTING: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Nanoseconds and runs of all programs of one name, and the length of one.
#[derive(Debug, Clone, Copy, Default)]
struct Runs {
    nanos: f64,
    count: f64,
    instructions: f64,
}

/// Sends small requests on every way of Shoal's and tells what each program took of it, the kernel's counting included.
pub(crate) fn run(stage: &mut Stage, figures: &mut Figures) -> Result<()> {
    fs::write(COUNTING, "1").with_context(|| format!("cannot write {COUNTING}"))?;
    for (name, runs) in count(stage)? {
        let row = |measure| Row { scope: Scope::Programs, work: name.clone(), measure };
        figures.add(row(Measure::Nanos), Contestant::Shoal, runs.nanos / runs.count);
        figures.add(row(Measure::Instructions), Contestant::Shoal, runs.instructions);
    }
    Ok(())
}

fn count(stage: &mut Stage) -> Result<BTreeMap<String, Runs>> {
    let before = programs(stage)?;
    let ways: Vec<_> = stage.ways().iter().filter(|way| way.contestant.is_ours()).copied().collect();
    let (span, works) = (Duration::from_millis(500), [Work::Ask(1)]);
    let rounds = Rounds { count: 1, span, scopes: Scope::TRAFFIC.to_vec(), works: works.to_vec() };
    let mut unused = Figures::default();
    rounds.on_ways(stage, &mut unused, works[0], &ways)?;
    let mut found = programs(stage)?;
    for (name, runs) in &mut found {
        let earlier = before.get(name).copied().unwrap_or_default();
        (runs.nanos, runs.count) = (runs.nanos - earlier.nanos, runs.count - earlier.count);
    }
    found.retain(|_, runs| runs.count > 0.0);
    ensure!(!found.is_empty(), "the kernel has counted no run of any program");
    Ok(found)
}

/// The programs of both hosts, by name.
fn programs(stage: &Stage) -> Result<BTreeMap<String, Runs>> {
    let listed = stage.fabric().host(1).sh("bpftool -j prog show")?;
    let listed: Value = serde_json::from_str(&listed).context("bpftool printed no JSON")?;
    let mut found: BTreeMap<String, Runs> = BTreeMap::new();
    for program in listed.as_array().into_iter().flatten().filter(|program| program["type"] == "sched_cls") {
        let number = |name: &str| program[name].as_f64().unwrap_or(0.0);
        let runs = found.entry(program["name"].as_str().unwrap_or_default().to_owned()).or_default();
        runs.nanos += number("run_time_ns");
        runs.count += number("run_cnt");
        runs.instructions = number("bytes_xlated") / 8.0;
    }
    Ok(found)
}
