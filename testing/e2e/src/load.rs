//! Traffic that goes on while a scenario changes something.

use std::time::Duration;

use anyhow::Result;
use shoal_netbed::{Running, Tally};

use crate::Fabric;

/// Pings from a container, one every 0.1 s, until they are counted.
#[derive(Debug)]
pub struct Load {
    host: usize,
    container: String,
    /// Its process id in the container.
    pid: String,
    pings: Running,
}

impl Load {
    /// Begins, and waits for the first answer.
    pub fn start(fabric: &Fabric, from: (usize, &str), target: &str) -> Result<Self> {
        let script = format!("echo $$; exec ping -i0.1 -W1 {target}");
        let mut pings = fabric.host(from.0).exec_spawn(from.1, &["sh", "-c", &script])?;
        pings.prints("bytes from", Duration::from_secs(5))?;
        let pid = pings.printed().lines().next().unwrap_or_default().to_owned();
        Ok(Self { host: from.0, container: from.1.to_owned(), pid, pings })
    }

    /// Ends it. A signal to `docker exec` would not reach what runs in the container.
    pub fn count(self, fabric: &Fabric) -> Result<Tally> {
        fabric.host(self.host).exec(&self.container, &["kill", "-INT", &self.pid])?.ok()?;
        Tally::of_ping(&self.pings.finish(Duration::from_secs(5))?)
    }
}
