//! The simulator: hosts, clock and network from one seed.
//!
//! A [`World`] holds hosts, each a `Fabric` with a store, a model of a container engine and a model of a kernel, and
//! plays [`Step`]s on them: what users do and what goes wrong. Nothing in it reads a clock or rolls dice of its own,
//! so a seed is a story that can be told again. `docs/internals/simulation.md` says what is modelled and how to read
//! a story.
//!
//! ```text
//!   seed ──> steps ──┐     ┌──────────────── World ────────────────┐
//!   seed ──> chance ─┴──>  │  host: Fabric  Disk  Engine  Kernel   │ ──> checked after every step
//!                          │  host: Fabric  Disk  Engine  Kernel   │ ──> healed, left alone, checked as a whole
//!                          │  one clock, one queue, one network    │ ──> Report, or a Story that was cut short
//!                          └───────────────────────────────────────┘
//! ```

mod act;
mod agree;
mod check;
mod disk;
mod engine;
pub mod fleet;
mod generate;
mod host;
mod kernel;
mod network;
mod op;
mod options;
mod perform;
mod renew;
mod run;
mod situation;
mod step;
mod stranded;
mod work;
mod world;

pub use generate::generate;
pub use options::{EngineOptions, NetworkOptions, Options};
pub use run::{Report, Story, run, run_steps, shorten};
pub use situation::{Situation, missing};
pub use step::{Step, Wanted};
pub use world::World;
