//! Whole runs, and the stories of those that broke something.

use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};

use crate::network::draw;
use crate::{Options, Situation, Step, World, generate};

/// The most runs that a story is shortened by.
const SHORTENINGS_MAX: usize = 400;

/// A run in which everything held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The situations it met.
    pub seen: BTreeSet<Situation>,
    /// See [`World::trace`].
    pub trace: u64,
    /// What happened, line by line.
    pub lines: Vec<String>,
    /// Events that happened.
    pub events: u64,
    /// Bytes per minute that the busiest host sent while nothing happened; 0 if that was not measured.
    pub idle_bytes_per_minute: u64,
}

/// A run that broke something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// Replays it, with the same options.
    pub seed: u64,
    /// What was done.
    pub steps: Vec<Step>,
    /// What happened, line by line.
    pub lines: Vec<String>,
    /// What broke.
    pub broken: String,
}

impl Story {
    /// What broke, without names and numbers: two stories of one kind show one fault.
    pub fn kind(&self) -> String {
        let words = self.broken.split(':').next().unwrap_or_default();
        words.chars().filter(|c| c.is_alphabetic() || *c == ' ').take(40).collect()
    }
}

/// What a file holds of a story: enough to play it again.
#[derive(Serialize, Deserialize)]
struct Told {
    seed: u64,
    steps: Vec<Step>,
}

impl Story {
    /// The story as a file holds it: JSON. The options are not in it.
    ///
    /// # Errors
    /// None that is known: steps are plain values.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(&Told { seed: self.seed, steps: self.steps.clone() })
    }

    /// Reads the seed and the steps of a story back.
    ///
    /// # Errors
    /// What is not as [`Story::to_json`] writes it.
    pub fn from_json(text: &str) -> serde_json::Result<(u64, Vec<Step>)> {
        serde_json::from_str(text).map(|told: Told| (told.seed, told.steps))
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {} steps", self.seed, self.steps.len())?;
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        writeln!(f, "broken: {}", self.broken)?;
        write!(
            f,
            "replay: SHOAL_WORLD_SEED={} cargo nextest run -p shoal-world --no-capture one_seed",
            self.seed
        )
    }
}

/// Plays the story of a seed.
///
/// # Errors
/// The [`Story`], if something broke.
pub fn run(seed: u64, options: &Options) -> Result<Report, Box<Story>> {
    run_steps(seed, options, &generate(seed, options))
}

/// Plays steps; the seed decides on chance only.
///
/// # Errors
/// The [`Story`], if something broke.
pub fn run_steps(seed: u64, options: &Options, steps: &[Step]) -> Result<Report, Box<Story>> {
    let mut world = World::new(seed, options.clone());
    let mut idle_bytes_per_minute = 0;
    let played = catch_unwind(AssertUnwindSafe(|| {
        play(&mut world, steps);
        if world.violation().is_none() && !options.quiet.is_zero() {
            idle_bytes_per_minute = world.idle(options.quiet);
        }
    }));
    if let Err(panic) = played {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        world.violate(format!("something panics: {}", text.unwrap_or_default()));
    }
    match world.violation() {
        None => {
            let (seen, trace, events) = (world.seen().clone(), world.trace(), world.events());
            Ok(Report { seen, trace, lines: world.lines().to_vec(), events, idle_bytes_per_minute })
        }
        Some(broken) => {
            let (broken, lines) = (broken.to_owned(), world.lines().to_vec());
            Err(Box::new(Story { seed, steps: steps.to_vec(), lines, broken }))
        }
    }
}

fn play(world: &mut World, steps: &[Step]) {
    world.found();
    for step in steps {
        if world.violation().is_some() {
            return;
        }
        world.step(step);
        let pause = draw(&mut world.prng, &world.options.pause.clone());
        world.pass(pause);
    }
    if world.violation().is_none() {
        world.settle();
    }
}

/// Leaves out every step without which the same thing still breaks.
pub fn shorten(story: &Story, options: &Options) -> Story {
    let mut best = story.clone();
    let mut runs = 0;
    let mut chunk = best.steps.len().div_ceil(2);
    while chunk > 0 {
        let mut at = 0;
        while at < best.steps.len() && runs < SHORTENINGS_MAX {
            let mut steps = best.steps.clone();
            steps.drain(at..(at + chunk).min(steps.len()));
            runs += 1;
            match run_steps(story.seed, options, &steps) {
                Err(shorter) if shorter.kind() == story.kind() => best = *shorter,
                _ => at += chunk,
            }
        }
        chunk = if chunk == 1 { 0 } else { chunk.div_ceil(2) };
    }
    best
}
