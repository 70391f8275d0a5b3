//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};

use crate::rounds::Rounds;
use crate::start::Starts;
use crate::subject::{Contestant, Scope, Work};

/// Measures Shoal beside what users would pick instead.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// What to do.
    #[command(subcommand)]
    pub(crate) task: Task,
    /// The binary that is measured, built for release.
    #[arg(long, global = true, default_value = "target/release/shoal")]
    pub(crate) shoal: PathBuf,
    /// Rounds, instead of the usual number.
    #[arg(long, global = true)]
    rounds: Option<usize>,
    /// Seconds for each work, instead of the usual ones.
    #[arg(long, global = true)]
    seconds: Option<f64>,
    /// Only these contestants.
    #[arg(long, global = true, value_delimiter = ',')]
    only: Vec<String>,
    /// Only this traffic.
    #[arg(long, global = true, value_delimiter = ',')]
    scope: Vec<String>,
    /// Only these parts.
    #[arg(long, global = true, value_delimiter = ',')]
    part: Vec<Part>,
    /// Only this work.
    #[arg(long, global = true, value_delimiter = ',')]
    work: Vec<String>,
}

/// What can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Work between containers.
    Traffic,
    /// Containers that start.
    Start,
    /// The agent, idle and at work.
    Agent,
    /// The agent's memory with many endpoints.
    Memory,
    /// The kernel's programs.
    Programs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Measures everything and writes benchmarks.json and benchmarks.md.
    Run {
        /// Where to.
        #[arg(long)]
        out: PathBuf,
    },
    /// Measures the quick part; fails if a ratio is more than 15 % worse than the committed one.
    Check {
        /// The committed benchmarks.json.
        #[arg(long)]
        against: PathBuf,
    },
}

impl Options {
    /// Rounds and times that were asked for.
    pub(crate) fn rounds(&self) -> Result<Rounds> {
        let is_check = matches!(self.task, Task::Check { .. });
        let (count, seconds) = if is_check { (3, 0.7) } else { (7, 1.0) };
        let traffic: &[Scope] = if is_check { &[Scope::Across, Scope::Same] } else { &Scope::TRAFFIC };
        Ok(Rounds {
            count: self.rounds.unwrap_or(count),
            span: Duration::try_from_secs_f64(self.seconds.unwrap_or(seconds))?,
            scopes: chosen(traffic, |scope| scope.name().to_owned(), &self.scope)?,
            works: chosen(&Work::ALL, |work| work.name(), &self.work)?,
        })
    }

    /// How many containers are started.
    pub(crate) fn starts(&self) -> Starts {
        let short = matches!(self.task, Task::Check { .. }) || self.rounds.is_some_and(|rounds| rounds < 7);
        if short {
            Starts { single: 7, crowds: 1, crowd: 20 }
        } else {
            Starts { single: 100, crowds: 7, crowd: 20 }
        }
    }

    /// Whether a part is wanted.
    pub(crate) fn wants(&self, part: Part) -> bool {
        match self.task {
            Task::Check { .. } => matches!(part, Part::Traffic | Part::Start),
            Task::Run { .. } => self.part.is_empty() || self.part.contains(&part),
        }
    }

    /// Who takes part.
    pub(crate) fn contestants(&self) -> Result<Vec<Contestant>> {
        let mut all = chosen(&Contestant::ALL, |one| one.name().to_owned(), &self.only)?;
        if matches!(self.task, Task::Check { .. }) {
            all.retain(|one| !matches!(one, Contestant::WireguardGo | Contestant::Nebula));
        }
        Ok(all)
    }
}

/// Those of `all` that are named; all if none is.
fn chosen<T: Copy>(all: &[T], name: impl Fn(T) -> String, wanted: &[String]) -> Result<Vec<T>> {
    if wanted.is_empty() {
        return Ok(all.to_vec());
    }
    let find = |wanted: &String| {
        let found = all.iter().find(|one| name(**one) == *wanted).copied();
        found.with_context(|| {
            let known: Vec<_> = all.iter().map(|one| name(*one)).collect();
            format!("{wanted:?} is none of {}", known.join(", "))
        })
    };
    wanted.iter().map(find).collect()
}
