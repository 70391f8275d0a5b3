//! What a run has found, for people (Markdown) and for the next run (JSON).

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::figures::Figures;
use crate::goals::GOALS;
use crate::machine::Machine;
use crate::rounds::Rounds;
use crate::subject::{Contestant, Scope};

/// Everything that is told of a run.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    /// Where it ran.
    pub(crate) machine: &'a Machine,
    /// How it was measured.
    pub(crate) rounds: &'a Rounds,
    /// What was measured.
    pub(crate) figures: &'a Figures,
}

const INTRODUCTION: &str = include_str!("introduction.txt");

impl Report<'_> {
    /// Writes `benchmarks.json` and `benchmarks.md` into a folder.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write("benchmarks.json", format!("{:#}\n", self.to_json()))?;
        write("benchmarks.md", self.to_markdown())
    }

    fn to_json(&self) -> Value {
        let ratios: serde_json::Map<String, Value> =
            self.figures.ratios().into_iter().map(|(name, spread)| (name, spread.to_json())).collect();
        json!({
            "machine": self.machine.to_json(),
            "rounds": self.rounds.count,
            "seconds": self.rounds.span.as_secs_f64(),
            "ratios": ratios,
            "figures": self.figures.to_json(),
        })
    }

    /// The page.
    pub(crate) fn to_markdown(&self) -> String {
        let (count, seconds) = (self.rounds.count, self.rounds.span.as_secs_f64());
        let machine = self.machine;
        let mut page = format!("{INTRODUCTION}\n{machine}, {count} rounds of {seconds} s each.\n");
        page += &self.goals();
        for scope in Scope::ALL.into_iter().filter(|scope| self.figures.rows(*scope).next().is_some()) {
            let _ = write!(page, "\n## {}\n", scope.title());
            page += &self.medians(scope);
            page += &self.ratios(scope);
        }
        page
    }

    /// Goals that this run can judge.
    pub(crate) fn goals(&self) -> String {
        let mut table = "\n## Goals\n\n| goal | found | |\n|---|---|---|\n".to_owned();
        for goal in GOALS {
            let Some(found) = goal.found(self.figures) else { continue };
            let verdict = if goal.is_met_by(found) { "met" } else { "**missed**" };
            let _ = writeln!(table, "| {} | {found} | {verdict} |", goal.sentence());
        }
        table
    }

    fn medians(&self, scope: Scope) -> String {
        let all = self.figures.contestants(scope);
        let mut table = head(&all.iter().map(|one| one.name().to_owned()).collect::<Vec<_>>());
        for row in self.figures.rows(scope) {
            let cells = all.iter().map(|one| {
                self.figures.of(row, *one).map_or_else(String::new, |spread| rounded(spread.median))
            });
            let _ = writeln!(table, "| {}, {} | {} |", row.work, row.measure.name(), joined(cells));
        }
        table
    }

    fn ratios(&self, scope: Scope) -> String {
        let all = self.figures.contestants(scope);
        let (ours, theirs): (Vec<Contestant>, Vec<Contestant>) =
            all.into_iter().partition(|one| one.is_ours());
        let pairs: Vec<_> =
            ours.iter().flat_map(|one| theirs.iter().map(move |other| (*one, *other))).collect();
        if pairs.is_empty() {
            return String::new();
        }
        let mut table = head(
            &pairs
                .iter()
                .map(|(one, other)| format!("{} / {}", one.name(), other.name()))
                .collect::<Vec<_>>(),
        );
        for row in self.figures.rows(scope) {
            let cells = pairs.iter().map(|(one, other)| {
                self.figures.ratio(row, *one, *other).map_or_else(String::new, |spread| spread.to_string())
            });
            let _ = writeln!(table, "| {}, {} | {} |", row.work, row.measure.name(), joined(cells));
        }
        table
    }
}

fn head(columns: &[String]) -> String {
    format!("\n| | {} |\n|---|{}\n", columns.join(" | "), "---|".repeat(columns.len()))
}

fn joined(cells: impl Iterator<Item = String>) -> String {
    cells.collect::<Vec<_>>().join(" | ")
}

/// Three digits say enough.
fn rounded(figure: f64) -> String {
    match figure {
        figure if figure >= 100.0 => format!("{figure:.0}"),
        figure if figure >= 10.0 => format!("{figure:.1}"),
        figure => format!("{figure:.2}"),
    }
}
