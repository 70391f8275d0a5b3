//! Containers that start: how long until they are answered, one after another and many at once.

use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde_json::Value;
use shoal_netbed::Host;

use crate::figures::{Figures, Row};
use crate::stage::Stage;
use crate::subject::{Contestant, Measure, Scope};

use Contestant::{Bridge, None as Without, Shoal, ShoalClear, Swarm};

/// How long a container may take from `docker run` to its end.
const PATIENCE: Duration = Duration::from_secs(90);

/// How often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Starts {
    /// Containers one after another.
    pub(crate) single: usize,
    /// Rounds of containers at once.
    pub(crate) crowds: usize,
    /// How many at once.
    pub(crate) crowd: usize,
}

/// What came of one `docker run --rm`, milliseconds from its call.
#[derive(Debug, Clone, Copy)]
struct Started {
    /// The program in the container runs.
    begun: f64,
    /// It has its first answer over the network.
    answered: f64,
    /// The call has returned.
    over: f64,
}

impl Starts {
    /// Measures those who take part; the contestants take turns.
    pub(crate) fn run(&self, stage: &Stage, contestants: &[Contestant], figures: &mut Figures) -> Result<()> {
        let asked = |one: &Contestant| contestants.contains(one);
        let near: Vec<_> = [Without, Bridge, Shoal, Swarm].into_iter().filter(asked).collect();
        let far: Vec<_> = [Shoal, ShoalClear, Swarm].into_iter().filter(asked).collect();
        for count in 0..self.single {
            for contestant in &near {
                let started = Call::of(stage, *contestant, Scope::Same).run()?;
                started.tell(figures, *contestant, "one after another");
            }
            // From the other host the answer proves both directions.
            for contestant in far.iter().filter(|_| count % 3 == 0) {
                let started = Call::of(stage, *contestant, Scope::Across).run()?;
                let row = row("reached from the other host", "run to first answer");
                figures.add(row, *contestant, started.answered);
            }
        }
        for _ in 0..self.crowds {
            for contestant in near.iter().filter(|one| **one != Without) {
                let last = self.crowd(stage, *contestant)?;
                figures.add(
                    row(&format!("{} at once", self.crowd), "until the last answer"),
                    *contestant,
                    last,
                );
            }
        }
        Ok(())
    }

    /// Many at once: when the last one has its answer.
    fn crowd(&self, stage: &Stage, contestant: Contestant) -> Result<f64> {
        let call = Call::of(stage, contestant, Scope::Same);
        let all: Vec<Result<Started>> = thread::scope(|scope| {
            let one = || call.run();
            let threads: Vec<_> = (0..self.crowd).map(|_| scope.spawn(one)).collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            joined.map(|one| one.unwrap_or_else(|_| Err(anyhow::anyhow!("a thread panicked")))).collect()
        });
        let all = all.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(all.iter().map(|one| one.answered).fold(0.0, f64::max))
    }
}

impl Started {
    fn tell(&self, figures: &mut Figures, contestant: Contestant, work: &str) {
        figures.add(row(work, "run to first answer"), contestant, self.answered);
        if contestant != Without {
            figures.add(row(work, "start to first answer"), contestant, self.answered - self.begun);
        }
        figures.add(row(work, "run to end"), contestant, self.over);
    }
}

fn row(work: &str, what: &str) -> Row {
    Row { scope: Scope::Start, work: format!("{work}: {what}"), measure: Measure::Millis }
}

/// A `docker run --rm` on the first host.
#[derive(Debug)]
struct Call<'a> {
    host: &'a Host,
    words: Vec<String>,
}

impl<'a> Call<'a> {
    /// Of a container that asks another one on its own host or on the other.
    fn of(stage: &'a Stage, contestant: Contestant, scope: Scope) -> Self {
        let network = if contestant == Without { "none".to_owned() } else { Stage::network(contestant) };
        let target = stage.target(contestant, scope);
        let does = target.map_or_else(|| "now".to_owned(), |target| format!("hello {target}"));
        let words = format!("docker run --rm --network {network} {} bench-traffic {does}", stage.image());
        let words = words.split(' ').map(str::to_owned).collect();
        Self { host: stage.fabric().host(1), words }
    }

    fn run(&self) -> Result<Started> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let called = now()?;
        let output = self.host.run_within(&words, PATIENCE)?;
        let over = now()? - called;
        let printed = output.ok()?;
        let answer: Value = serde_json::from_str(&printed).with_context(|| printed.clone())?;
        let at = |name: &str| -> Result<f64> {
            Ok(answer[name].as_f64().with_context(|| format!("no {name} in {printed}"))? / 1e6 - called)
        };
        Ok(Started { begun: at("started")?, answered: at("answered")?, over })
    }
}

/// Milliseconds of the machine's clock, as the container's program tells them.
#[allow(clippy::disallowed_methods, reason = "two processes compare their times")]
fn now() -> Result<f64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64() * 1e3)
}
