//! Figures of all rounds, and the ratios between them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::subject::{Contestant, Measure, Scope};

/// One line of a table: what was measured of every contestant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    /// Which traffic.
    pub(crate) scope: Scope,
    /// What was done, by name.
    pub(crate) work: String,
    /// What was counted.
    pub(crate) measure: Measure,
}

/// What was measured, round by round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures(BTreeMap<Row, BTreeMap<Contestant, Vec<f64>>>);

/// Of several values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    /// The middle one, or the mean of the middle two.
    pub(crate) median: f64,
    /// The least.
    pub(crate) min: f64,
    /// The greatest.
    pub(crate) max: f64,
}

impl Figures {
    /// Adds the next round's figure.
    pub(crate) fn add(&mut self, row: Row, contestant: Contestant, figure: f64) {
        self.0.entry(row).or_default().entry(contestant).or_default().push(figure);
    }

    /// All rows of one kind of traffic, in order.
    pub(crate) fn rows(&self, scope: Scope) -> impl Iterator<Item = &Row> {
        self.0.keys().filter(move |row| row.scope == scope)
    }

    /// Everybody who was measured at one kind of traffic.
    pub(crate) fn contestants(&self, scope: Scope) -> Vec<Contestant> {
        let of_scope = self.0.iter().filter(|(row, _)| row.scope == scope);
        let mut found: Vec<_> = of_scope.flat_map(|(_, line)| line.keys().copied()).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The figures of one contestant.
    pub(crate) fn of(&self, row: &Row, contestant: Contestant) -> Option<Spread> {
        Spread::of(self.0.get(row)?.get(&contestant)?)
    }

    /// What one contestant's figure is of another's, in each round.
    pub(crate) fn ratio(&self, row: &Row, ours: Contestant, theirs: Contestant) -> Option<Spread> {
        let line = self.0.get(row)?;
        let pairs = line.get(&ours)?.iter().zip(line.get(&theirs)?);
        Spread::of(&pairs.map(|(ours, theirs)| ours / theirs).collect::<Vec<_>>())
    }

    /// Every ratio of something of ours to something else's, by name.
    pub(crate) fn ratios(&self) -> BTreeMap<String, Spread> {
        let mut found = BTreeMap::new();
        for (row, line) in &self.0 {
            for ours in line.keys().filter(|one| one.is_ours()) {
                for theirs in line.keys().filter(|one| !one.is_ours()) {
                    if let Some(spread) = self.ratio(row, *ours, *theirs) {
                        found.insert(row.ratio_name(*ours, *theirs), spread);
                    }
                }
            }
        }
        found
    }

    /// Every figure of every round.
    pub(crate) fn to_json(&self) -> Value {
        let lines = self.0.iter().flat_map(|(row, line)| {
            line.iter().map(move |(contestant, rounds)| {
                json!({
                    "scope": row.scope.name(),
                    "work": row.work,
                    "measure": row.measure.name(),
                    "contestant": contestant.name(),
                    "rounds": rounds,
                })
            })
        });
        lines.collect()
    }
}

impl Row {
    /// The name under which a ratio is kept.
    pub(crate) fn ratio_name(&self, ours: Contestant, theirs: Contestant) -> String {
        let Self { scope, work, measure } = self;
        format!("{} {work} {}: {}/{}", scope.name(), measure.name(), ours.name(), theirs.name())
    }
}

impl Spread {
    /// `None` of nothing.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let median = f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Some(Self { median, min, max })
    }

    /// As an object of three numbers.
    pub(crate) fn to_json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} ({:.2} to {:.2})", self.median, self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_taken_in_each_round_before_the_median() {
        let row = Row { scope: Scope::Across, work: "tcp-1".to_owned(), measure: Measure::GigabitPerSecond };
        let mut figures = Figures::default();
        for (ours, theirs) in [(10.0, 10.0), (2.0, 4.0), (6.0, 2.0)] {
            figures.add(row.clone(), Contestant::Shoal, ours);
            figures.add(row.clone(), Contestant::Swarm, theirs);
        }
        let ratio = figures.ratio(&row, Contestant::Shoal, Contestant::Swarm);
        assert_eq!(ratio, Some(Spread { median: 1.0, min: 0.5, max: 3.0 }));
        assert_eq!(figures.ratios().keys().collect::<Vec<_>>(), ["across tcp-1 Gbit/s: shoal/swarm"]);
    }

    #[test]
    fn the_median_of_two_lies_between_them() {
        assert_eq!(Spread::of(&[4.0, 1.0]).map(|spread| spread.median), Some(2.5));
        assert_eq!(Spread::of(&[]), None);
    }
}
