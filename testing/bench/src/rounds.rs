//! Rounds: everybody does each work in turn, so that a noisy machine hurts all alike.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::figures::{Figures, Row};
use crate::stage::{Stage, Way};
use crate::subject::{Scope, Work};

/// What is measured in each round.
#[derive(Debug, Clone)]
pub(crate) struct Rounds {
    /// How many.
    pub(crate) count: usize,
    /// How long each work is done.
    pub(crate) span: Duration,
    /// Which traffic.
    pub(crate) scopes: Vec<Scope>,
    /// Which work.
    pub(crate) works: Vec<Work>,
}

impl Rounds {
    /// Does all rounds, telling on standard error how far they are.
    pub(crate) fn run(&self, stage: &mut Stage, figures: &mut Figures) -> Result<()> {
        for round in 0..self.count {
            eprintln!("round {} of {}", round + 1, self.count);
            for scope in &self.scopes {
                let mut ways: Vec<Way> =
                    stage.ways().iter().filter(|way| way.scope == *scope).copied().collect();
                // Nobody always comes first, nor always behind the same one's connections.
                if !ways.is_empty() {
                    let first = round % ways.len();
                    ways.rotate_left(first);
                }
                for work in &self.works {
                    self.on_ways(stage, figures, *work, &ways)?;
                }
            }
        }
        Ok(())
    }

    /// Does one work on each of these ways in turn.
    pub(crate) fn on_ways(
        &self,
        stage: &mut Stage,
        figures: &mut Figures,
        work: Work,
        ways: &[Way],
    ) -> Result<()> {
        for way in ways {
            let answer = stage.worker(way.worker).ask(&work.line(way.to, self.span), self.span);
            let found = answer.and_then(|answer| work.figures(&answer));
            let found = found.with_context(|| format!("{}, {}", way.contestant.name(), way.scope.title()))?;
            for (measure, figure) in found {
                let row = Row { scope: way.scope, work: work.name(), measure };
                figures.add(row, way.contestant, figure);
            }
        }
        Ok(())
    }
}
