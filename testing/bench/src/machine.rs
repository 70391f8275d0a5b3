//! The machine of a run: what its absolute figures belong to.

use std::fmt;
use std::fs;

use anyhow::Result;
use serde_json::{Value, json};
use shoal_netbed::Host;

/// What a reader must know to judge a figure.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    kernel: String,
    processor: String,
    processors: usize,
    docker: String,
    shoal: String,
    day: String,
}

impl Machine {
    /// Looks at this machine, and at a host's dockerd and agent.
    pub(crate) fn look(host: &Host) -> Result<Self> {
        let processors = fs::read_to_string("/proc/cpuinfo")?;
        let named = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let processor = named.map_or("an unnamed processor", |(_, name)| name);
        Ok(Self {
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            processor: processor.to_owned(),
            processors: processors.lines().filter(|line| line.starts_with("processor")).count(),
            docker: host.docker("version --format {{.Server.Version}}")?,
            shoal: host.shoal("version")?.lines().next().unwrap_or_default().to_owned(),
            day: host.sh("date -u +%F")?,
        })
    }

    /// As an object.
    pub(crate) fn to_json(&self) -> Value {
        let Self { kernel, processor, processors, docker, shoal, day } = self;
        json!({
            "day": day, "kernel": kernel, "processor": processor, "processors": processors,
            "docker": docker, "shoal": shoal,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, processor, processors, docker, shoal, day } = self;
        write!(f, "{day}: Linux {kernel}, {processors} x {processor}, Docker {docker}, {shoal}")
    }
}
