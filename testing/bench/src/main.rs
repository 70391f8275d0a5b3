//! Measures Shoal beside what users would pick instead, in one run, round by round.
//!
//! ```text
//!     bench run --shoal BINARY --out FOLDER      everything; benchmarks.json and benchmarks.md
//!     bench check --shoal BINARY --against FILE  the quick part, against the committed ratios
//! ```
//!
//! The work is done by a child of this process, which waits for it: whatever ends the child, an interrupt too, what it
//! has laid out is taken down afterwards.
#![allow(clippy::print_stdout, reason = "a program's output")]

mod agent;
mod figures;
mod goals;
mod guard;
mod machine;
mod options;
mod others;
mod processors;
mod programs;
mod report;
mod rounds;
mod stage;
mod start;
mod subject;
mod worker;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use serde_json::Value;

use figures::Figures;
use goals::GOALS;
use machine::Machine;
use options::{Options, Part, Task};
use report::Report;
use stage::Stage;

/// A ratio may be worse than the committed one by this part of it.
const SLACK: f64 = 0.15;

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = if guard::is_inner() { measure(&options) } else { guard::watch(&options.shoal) };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn measure(options: &Options) -> Result<ExitCode> {
    let (rounds, contestants) = (options.rounds()?, options.contestants()?);
    let mut figures = Figures::default();
    if options.wants(Part::Memory) {
        agent::fill(&mut figures)?;
    }
    let mut stage = Stage::set(&contestants)?;
    let machine = Machine::look(stage.fabric().host(1))?;
    if options.wants(Part::Agent) {
        agent::watch(&stage, &mut figures)?;
    }
    if options.wants(Part::Start) {
        options.starts().run(&stage, &contestants, &mut figures)?;
    }
    if options.wants(Part::Traffic) {
        rounds.run(&mut stage, &mut figures)?;
    }
    if options.wants(Part::Programs) {
        programs::run(&mut stage, &mut figures)?;
    }
    let report = Report { machine: &machine, rounds: &rounds, figures: &figures };
    println!("{}", report.goals());
    match &options.task {
        Task::Run { out } => report.write(out)?,
        Task::Check { against } => check(&figures, against)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Holds every ratio that is a goal against the committed one.
fn check(figures: &Figures, against: &Path) -> Result<()> {
    let shown = against.display();
    let text = std::fs::read_to_string(against).with_context(|| format!("cannot read {shown}"))?;
    let committed: Value = serde_json::from_str(&text).with_context(|| format!("{shown} is no JSON"))?;
    let (mut judged, mut worse) = (0, Vec::new());
    for goal in GOALS {
        let (Some(name), Some(found)) = (goal.name(), goal.found(figures)) else { continue };
        let before = committed["ratios"][&name]["median"].as_f64();
        let before = before.with_context(|| format!("{shown} has no ratio {name}: run make bench"))?;
        judged += 1;
        worse.extend(goal.has_held(found, before, SLACK).err());
    }
    ensure!(judged > 0, "this run has measured no ratio that is a goal");
    ensure!(worse.is_empty(), "{}", worse.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    println!("{judged} ratios are as good as in {shown}");
    Ok(())
}
