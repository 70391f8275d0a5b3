//! What the project wants to reach, as ratios of one run or as absolute bounds.

use anyhow::{Result, ensure};

use crate::figures::{Figures, Row, Spread};
use crate::subject::{Contestant, Measure, Scope};

use Contestant::{Bridge, Shoal, ShoalClear, Swarm, Underlay};
use Measure::{CpuPerGigabyte, GigabitPerSecond, HalfMicros, Mebibytes, Millis, PerSecond, Percent};
use Scope::{Across, Agent, Same, Start};

/// A bound on a ratio, or on a figure if there is nobody to compare with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    scope: Scope,
    work: &'static str,
    measure: Measure,
    ours: Contestant,
    theirs: Option<Contestant>,
    bound: f64,
}

/// All goals.
pub(crate) const GOALS: &[Goal] = &[
    goal(Across, "rr-1", HalfMicros, ShoalClear, Some(Swarm), 0.7),
    goal(Across, "rr-1", HalfMicros, ShoalClear, Some(Underlay), 1.0),
    goal(Across, "tcp-8", GigabitPerSecond, ShoalClear, Some(Swarm), 1.05),
    goal(Across, "tcp-8", GigabitPerSecond, ShoalClear, Some(Underlay), 0.95),
    goal(Across, "tcp-8", CpuPerGigabyte, ShoalClear, Some(Swarm), 0.9),
    goal(Across, "tcp-1", GigabitPerSecond, ShoalClear, Some(Swarm), 1.0),
    goal(Across, "tcp-1", GigabitPerSecond, ShoalClear, Some(Underlay), 0.85),
    goal(Across, "udp-64", PerSecond, ShoalClear, Some(Swarm), 1.25),
    goal(Across, "connect", PerSecond, ShoalClear, Some(Swarm), 1.3),
    goal(Same, "rr-1", HalfMicros, Shoal, Some(Bridge), 0.45),
    goal(Same, "tcp-1", GigabitPerSecond, Shoal, Some(Bridge), 1.0),
    goal(Same, "tcp-8", GigabitPerSecond, Shoal, Some(Bridge), 1.0),
    goal(Start, "one after another: run to first answer", Millis, Shoal, Some(Bridge), 1.25),
    goal(Agent, "idle", Percent, Shoal, None, 0.3),
    goal(Agent, "200 local and 5,000 remote endpoints", Mebibytes, Shoal, None, 40.0),
];

const fn goal(
    scope: Scope,
    work: &'static str,
    measure: Measure,
    ours: Contestant,
    theirs: Option<Contestant>,
    bound: f64,
) -> Goal {
    Goal { scope, work, measure, ours, theirs, bound }
}

impl Goal {
    fn row(&self) -> Row {
        Row { scope: self.scope, work: self.work.to_owned(), measure: self.measure }
    }

    /// The name of its ratio in files.
    pub(crate) fn name(&self) -> Option<String> {
        self.theirs.map(|theirs| self.row().ratio_name(self.ours, theirs))
    }

    /// What was measured of it; `None` if nothing was.
    pub(crate) fn found(&self, figures: &Figures) -> Option<Spread> {
        match self.theirs {
            Some(theirs) => figures.ratio(&self.row(), self.ours, theirs),
            None => figures.of(&self.row(), self.ours),
        }
    }

    /// Whether this is reached.
    pub(crate) fn is_met_by(&self, found: Spread) -> bool {
        if self.measure.more_is_better() { found.median >= self.bound } else { found.median <= self.bound }
    }

    /// The goal as a sentence.
    pub(crate) fn sentence(&self) -> String {
        let Self { scope, work, measure, ours, bound, .. } = self;
        let (what, least) = (measure.name(), if measure.more_is_better() { "at least" } else { "at most" });
        let whose = self.theirs.map_or_else(String::new, |theirs| format!(" of {}", theirs.name()));
        format!("{}, {work}, {what}: {} {least} {bound}{whose}", scope.title(), ours.name())
    }

    /// Compares with the last honest run.
    ///
    /// # Errors
    /// The ratio has got worse by more than `slack` (0.15 for 15 %).
    pub(crate) fn has_held(&self, found: Spread, before: f64, slack: f64) -> Result<()> {
        let part = if self.measure.more_is_better() { found.median / before } else { before / found.median };
        let (sentence, median) = (self.sentence(), found.median);
        ensure!(part >= 1.0 - slack, "{sentence}: {median:.2} now, {before:.2} in the committed run");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_may_get_worse_by_the_slack_and_better_without_end() {
        let at = |median| Spread { median, min: median, max: median };
        let more = goal(Across, "tcp-1", GigabitPerSecond, ShoalClear, Some(Swarm), 1.0);
        assert!(more.has_held(at(0.86), 1.0, 0.15).is_ok() && more.has_held(at(9.0), 1.0, 0.15).is_ok());
        let error = more.has_held(at(0.84), 1.0, 0.15).unwrap_err().to_string();
        assert!(error.ends_with("0.84 now, 1.00 in the committed run"), "{error}");
        let less = goal(Across, "rr-1", HalfMicros, ShoalClear, Some(Swarm), 0.7);
        assert!(less.has_held(at(0.5), 0.7, 0.15).is_ok() && less.has_held(at(0.85), 0.7, 0.15).is_err());
    }

    #[test]
    fn a_goal_says_what_it_asks() {
        assert_eq!(
            GOALS[0].sentence(),
            "Between two hosts, IPv4, rr-1, p50 us: shoal-clear at most 0.7 of swarm"
        );
    }
}
