//! What is measured: who takes part, where, and at what work.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

/// Something that carries packets from one end to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contestant {
    /// The hosts' own link, without containers: the limit.
    Underlay,
    /// A Shoal network as made by default: encrypted between hosts.
    Shoal,
    /// A Shoal network made with `--plaintext`.
    ShoalClear,
    /// An overlay network of Docker's Swarm mode, in clear.
    Swarm,
    /// A bridge network of Docker's, which is of one host.
    Bridge,
    /// Debian's wireguard-go between the hosts, without containers.
    WireguardGo,
    /// Debian's nebula between the hosts, without containers.
    Nebula,
    /// A container without a network.
    None,
}

impl Contestant {
    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::Underlay,
        Self::Shoal,
        Self::ShoalClear,
        Self::Swarm,
        Self::Bridge,
        Self::WireguardGo,
        Self::Nebula,
        Self::None,
    ];

    /// Its name in tables and files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Underlay => "underlay",
            Self::Shoal => "shoal",
            Self::ShoalClear => "shoal-clear",
            Self::Swarm => "swarm",
            Self::Bridge => "bridge",
            Self::WireguardGo => "wireguard-go",
            Self::Nebula => "nebula",
            Self::None => "none",
        }
    }

    /// Whether it is what this project makes.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Shoal | Self::ShoalClear)
    }
}

/// Which traffic: the head of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// From one host to the other, IPv4 inside.
    Across,
    /// The same with IPv6 inside.
    Across6,
    /// Between two containers of one host, IPv4.
    Same,
    /// The same with IPv6.
    Same6,
    /// Containers that start.
    Start,
    /// The agent itself.
    Agent,
    /// The kernel's programs.
    Programs,
}

impl Scope {
    /// All of them.
    pub(crate) const ALL: [Self; 7] =
        [Self::Across, Self::Across6, Self::Same, Self::Same6, Self::Start, Self::Agent, Self::Programs];

    /// Those on which work is done for some time.
    pub(crate) const TRAFFIC: [Self; 4] = [Self::Across, Self::Across6, Self::Same, Self::Same6];

    /// Its name in files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Across => "across",
            Self::Across6 => "across-ipv6",
            Self::Same => "same-host",
            Self::Same6 => "same-host-ipv6",
            Self::Start => "start",
            Self::Agent => "agent",
            Self::Programs => "programs",
        }
    }

    /// Its name for people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Across => "Between two hosts, IPv4",
            Self::Across6 => "Between two hosts, IPv6",
            Self::Same => "On one host, IPv4",
            Self::Same6 => "On one host, IPv6",
            Self::Start => "Containers that start",
            Self::Agent => "The agent",
            Self::Programs => "The kernel's programs, while small requests go to and fro",
        }
    }
}

/// What is done on a way, for some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    /// TCP, so many connections send as fast as they can.
    Stream(usize),
    /// TCP, a request and its answer of 64 bytes on so many connections.
    Ask(usize),
    /// TCP, four threads connect, send a byte and wait for the close.
    Connect,
    /// UDP, one thread sends datagrams of so many bytes as fast as it can.
    Datagrams(usize),
}

impl Work {
    /// All that is measured.
    pub(crate) const ALL: [Self; 6] =
        [Self::Stream(1), Self::Stream(8), Self::Ask(1), Self::Ask(32), Self::Connect, Self::Datagrams(64)];

    /// Its name in tables and files.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Stream(streams) => format!("tcp-{streams}"),
            Self::Ask(connections) => format!("rr-{connections}"),
            Self::Connect => "connect".to_owned(),
            Self::Datagrams(bytes) => format!("udp-{bytes}"),
        }
    }

    /// The line that a worker is told.
    pub(crate) fn line(self, to: IpAddr, span: Duration) -> String {
        let seconds = span.as_secs_f64();
        match self {
            Self::Stream(streams) => format!("stream {to} {seconds} {streams}"),
            Self::Ask(connections) => format!("rr {to} {seconds} {connections}"),
            Self::Connect => format!("connect {to} {seconds}"),
            Self::Datagrams(bytes) => format!("udp {to} {seconds} {bytes}"),
        }
    }

    /// The figures in a worker's answer.
    ///
    /// # Errors
    /// The answer lacks a number, or nothing was transferred.
    pub(crate) fn figures(self, answer: &Value) -> Result<Vec<(Measure, f64)>> {
        let number = |name: &str| {
            let number = answer[name].as_f64().filter(|number| *number > 0.0);
            number.with_context(|| format!("{} has no figure {name}: {answer}", self.name()))
        };
        let (seconds, busy) = (number("seconds")?, number("cpu_seconds")?);
        if let Self::Stream(_) = self {
            let gigabytes = number("bytes")? / 1e9;
            return Ok(vec![
                (Measure::GigabitPerSecond, 8.0 * gigabytes / seconds),
                (Measure::CpuPerGigabyte, busy / gigabytes),
            ]);
        }
        let count = number("count")?;
        let cost = (Measure::CpuPer100k, busy / (count / 1e5));
        Ok(match self {
            Self::Ask(_) => {
                vec![(Measure::HalfMicros, number("p50_us")?), (Measure::RareMicros, number("p99_us")?), cost]
            }
            _ => vec![(Measure::PerSecond, count / seconds), cost],
        })
    }
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    /// Throughput of what the receiver has taken.
    GigabitPerSecond,
    /// Connections, or datagrams that have arrived.
    PerSecond,
    /// Round trip, median.
    HalfMicros,
    /// Round trip that one in a hundred exceeds.
    RareMicros,
    /// Seconds of a processor, both ends, per 10^9 bytes.
    CpuPerGigabyte,
    /// Seconds of a processor, both ends, per 100,000 transactions or datagrams.
    CpuPer100k,
    /// How long something took.
    Millis,
    /// Processor time of a process, of one core.
    Percent,
    /// Resident memory.
    Mebibytes,
    /// Time of one run of a program.
    Nanos,
    /// Length of a program as the kernel holds it.
    Instructions,
}

impl Measure {
    /// Its name in tables and files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::GigabitPerSecond => "Gbit/s",
            Self::PerSecond => "1/s",
            Self::HalfMicros => "p50 us",
            Self::RareMicros => "p99 us",
            Self::CpuPerGigabyte => "CPU s/GB",
            Self::CpuPer100k => "CPU s/100k",
            Self::Millis => "ms",
            Self::Percent => "% of a core",
            Self::Mebibytes => "MiB",
            Self::Nanos => "ns a packet",
            Self::Instructions => "instructions",
        }
    }

    /// Whether a larger figure is a better one.
    pub(crate) fn more_is_better(self) -> bool {
        matches!(self, Self::GigabitPerSecond | Self::PerSecond)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_worker_s_answer_becomes_figures_per_second_and_per_unit_of_work() {
        let answer = json!({"seconds": 2.0, "cpu_seconds": 3.0, "bytes": 4_000_000_000u64});
        let figures = Work::Stream(1).figures(&answer).unwrap();
        assert_eq!(figures, [(Measure::GigabitPerSecond, 16.0), (Measure::CpuPerGigabyte, 0.75)]);
        let answer = json!({"seconds": 2.0, "cpu_seconds": 3.0, "count": 200_000});
        let figures = Work::Datagrams(64).figures(&answer).unwrap();
        assert_eq!(figures, [(Measure::PerSecond, 100_000.0), (Measure::CpuPer100k, 1.5)]);
    }

    #[test]
    fn work_that_transferred_nothing_is_no_figure() {
        let answer = json!({"seconds": 2.0, "cpu_seconds": 3.0, "count": 0});
        assert!(Work::Connect.figures(&answer).is_err());
    }
}
