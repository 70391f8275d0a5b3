//! Speaks Docker's plugin protocol to the socket of any network and IPAM driver, as dockerd does and worse.
//!
//! ```text
//!   checks ──> Dockerd ──> Driver ──POST /NetworkDriver.Join──> the socket under test
//!      │      networks,    one call, its time,                          │
//!      │      endpoints    as dockerd reads it                          │
//!      └───── Engine <──── GET /networks/ID ────────────────────────────┘   (a driver that asks dockerd back)
//! ```
//!
//! It needs no dockerd: it plays one. A driver that asks Docker's API for what the plugin protocol does not tell (the
//! name of a network, above all) is pointed to [`Engine`], a stand-in that knows the networks the checks make.
//!
//! A check fails if a call gets no answer in time, or one that dockerd would misread, or one that would make dockerd
//! and the driver disagree about what exists. The sentence says which call, and what was answered.

mod checks;
mod dockerd;
mod driver;
mod engine;
mod pace;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use checks::{Outcome, run};
pub use dockerd::{Dockerd, Endpoint, Network};
pub use driver::{Answer, Driver, Refused, Times};
pub use engine::Engine;
pub use pace::{Paced, pace};
pub use table::table;

/// What to test, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The driver's socket.
    pub socket: PathBuf,
    /// The driver's name, which `-d` takes.
    pub driver: String,
    /// How long any call may take: an answer that comes later counts as none.
    pub limit: Duration,
    /// Options of every network, as `docker network create -o` gives them.
    pub network_options: BTreeMap<String, String>,
    /// Options of every pool, as `docker network create --ipam-opt` gives them.
    pub pool_options: BTreeMap<String, String>,
}

impl Options {
    /// For the driver behind `socket`, whose name is the socket's, as dockerd finds it. Ten seconds for a call.
    pub fn of(socket: impl Into<PathBuf>) -> Self {
        let socket = socket.into();
        let driver = socket.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (network_options, pool_options) = (BTreeMap::new(), BTreeMap::new());
        Self { socket, driver, limit: Duration::from_secs(10), network_options, pool_options }
    }
}
