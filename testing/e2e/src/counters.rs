//! What the kernel and Shoal count as lost, read before and after, to say where a packet went that did not arrive.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;
use serde_json::Value;
use shoal_netbed::Host;

use crate::Fabric;

/// Drop counters by place and name, such as "there on h2: Udp RcvbufErrors".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// Reads those of the hosts, and of these containers.
    pub fn read(fabric: &Fabric, containers: &[(usize, &str)]) -> Result<Self> {
        let mut counters = Self::default();
        for host in fabric.bed().hosts() {
            let proc = |file: &str| host.sh(&format!("cat /proc/net/{file}"));
            counters.add_namespace(host.name(), proc)?;
            counters.add_cpus(&host.sh("cat /proc/net/softnet_stat")?);
            counters.add_shoal(host, &host.shoal_json("endpoints")?);
        }
        for (number, name) in containers {
            let host = fabric.host(*number);
            let place = format!("{name} on {}", host.name());
            counters.add_namespace(&place, |file| {
                host.exec(name, &["cat", &format!("/proc/net/{file}")])?.ok()
            })?;
        }
        Ok(counters)
    }

    /// What has grown since `before`, one line each.
    pub fn since(&self, before: &Self) -> Self {
        let grown = self.0.iter().map(|(name, now)| {
            let growth = now.saturating_sub(before.0.get(name).copied().unwrap_or(0));
            (name.clone(), growth)
        });
        Self(grown.filter(|(_, growth)| *growth > 0).collect())
    }

    fn add_namespace(&mut self, place: &str, read: impl Fn(&str) -> Result<String>) -> Result<()> {
        self.add_protocols(place, &read("snmp")?);
        self.add_protocols6(place, &read("snmp6")?);
        self.add_links(place, &read("dev")?);
        Ok(())
    }

    /// `/proc/net/snmp`: a line of names, then a line of values, per protocol.
    fn add_protocols(&mut self, place: &str, text: &str) {
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        for pair in lines.chunks_exact(2) {
            for (name, value) in pair[0].iter().zip(&pair[1]).skip(1) {
                self.add_loss(place, &format!("{} {name}", pair[0][0].trim_end_matches(':')), value);
            }
        }
    }

    /// `/proc/net/snmp6`: a name and a value per line.
    fn add_protocols6(&mut self, place: &str, text: &str) {
        for (name, value) in text.lines().filter_map(|line| line.split_once(char::is_whitespace)) {
            self.add_loss(place, name, value.trim());
        }
    }

    /// `/proc/net/dev`: per link eight columns received, eight sent; the third and fourth are errors and drops.
    fn add_links(&mut self, place: &str, text: &str) {
        for (link, columns) in text.lines().filter_map(|line| line.split_once(':')) {
            let columns: Vec<u64> = columns.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            for (at, name) in [(2, "rx errors"), (3, "rx drops"), (10, "tx errors"), (11, "tx drops")] {
                self.add(format!("{place}: {} {name}", link.trim()), columns.get(at).copied().unwrap_or(0));
            }
        }
    }

    /// `/proc/net/softnet_stat`, one for the whole machine: per processor, in hexadecimal; the second is drops.
    fn add_cpus(&mut self, text: &str) {
        let drops =
            text.lines().filter_map(|line| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok());
        self.add("machine: backlog drops".to_owned(), drops.sum());
    }

    /// `shoal endpoints`: drops by reason, of each local container and of the tunnel.
    fn add_shoal(&mut self, host: &Host, answer: &Value) {
        for (reason, count) in answer["tunnel_drops"].as_object().into_iter().flatten() {
            self.add(format!("{}: tunnel {reason}", host.name()), count.as_u64().unwrap_or(0));
        }
        for endpoint in answer["endpoints"].as_array().into_iter().flatten() {
            let name = endpoint["container"].as_str().unwrap_or("a container");
            for (reason, count) in endpoint["traffic"]["drops"].as_object().into_iter().flatten() {
                let place = format!("{}: Shoal's drops of {name}, {reason}", host.name());
                self.add(place, count.as_u64().unwrap_or(0));
            }
        }
    }

    /// Of the kernel's many names those that tell of a packet that went no further.
    fn add_loss(&mut self, place: &str, name: &str, value: &str) {
        let told = ["Errors", "Discards", "NoRoutes", "NoPorts", "Fails", "RetransSegs"];
        if told.iter().any(|end| name.ends_with(end)) {
            self.add(format!("{place}: {name}"), value.parse().unwrap_or(0));
        }
    }

    fn add(&mut self, name: String, count: u64) {
        // The machine's own are read once per host.
        self.0.insert(name, count);
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no counter of losses has grown");
        }
        self.0.iter().try_for_each(|(name, count)| writeln!(f, "{name}: {count}"))
    }
}
