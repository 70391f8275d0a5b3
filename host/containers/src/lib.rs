//! Docker as a client sees it: networks, containers, events.
//!
//! The agent asks Docker for what the plugin verbs do not carry: names, labels, stopped containers, other drivers'
//! subnets. It never asks inside a plugin callback, because dockerd may hold a lock that the answer needs. Calls take
//! at most [`CALL_TIME_MAX`]; a daemon that is down or wedged is an [`EngineError`], not a wait.
//!
//! [`Engine`] has two implementations: [`Docker`] over a daemon's socket, and [`FakeEngine`] in memory for tests and
//! simulation.

mod convert;
mod docker;
mod engine;
mod error;
mod events;
mod fake;
mod read;

pub use docker::{CALL_TIME_MAX, Docker};
pub use engine::{
    Answer, Attachment, Container, ContainerState, Engine, EngineNetwork, NetworkSpec, PoolSpec,
    SHOAL_DRIVER, Stranded, Wish,
};
pub use error::{EngineError, ErrorKind};
pub use events::{Event, Events};
pub use fake::FakeEngine;
pub use read::DockerAnswer;
