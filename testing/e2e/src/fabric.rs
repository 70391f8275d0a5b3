//! A bed whose hosts have joined one fabric.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use shoal_netbed::{Allow, Bed, Builder, Host, Image, eventually, marker_hex, probe_image};

use crate::Features;

/// How long the fabric may take to agree on something.
const AGREE: Duration = Duration::from_secs(20);

/// Hosts with dockerd and agent, joined.
#[derive(Debug)]
pub struct Fabric {
    bed: Bed,
    features: Features,
    image: Image,
}

impl Fabric {
    /// `hosts` hosts in one fabric, made by the first.
    pub fn new(hosts: usize, features: Features) -> Result<Self> {
        Self::on(Bed::builder(hosts), features)
    }

    /// A fabric on a bed of one's own design.
    pub fn on(bed: Builder, features: Features) -> Result<Self> {
        let fabric = Self::unjoined(bed, features)?;
        fabric.join_all()?;
        Ok(fabric)
    }

    /// Hosts whose agents run and have not joined, watched.
    pub fn unjoined(bed: Builder, features: Features) -> Result<Self> {
        Self::started(bed.without_dockerd().watched().build()?, features, probe_image()?)
    }

    /// The same on a bed that has no dockerds yet; containers are made from `image`. The agent is there before dockerd,
    /// as the units order it.
    pub fn started(bed: Bed, features: Features, image: Image) -> Result<Self> {
        let fabric = Self { bed, features, image };
        fabric.bed.on_each(|host| {
            fabric.start_agent(host)?;
            host.start_dockerd()?;
            fabric.image.load(host)
        })?;
        Ok(fabric)
    }

    /// Makes one fabric of the hosts and waits until all see each other.
    pub fn join_all(&self) -> Result<()> {
        self.host(1).shoal("init")?;
        let token = self.token("")?;
        for host in &self.bed.hosts()[1..] {
            host.shoal(&format!("join {} {token}", self.host(1).address()))?;
        }
        self.settle(self.bed.hosts().len())
    }

    /// The bed underneath.
    pub fn bed(&self) -> &Bed {
        &self.bed
    }

    /// The bed underneath, to be changed.
    pub fn bed_mut(&mut self) -> &mut Bed {
        &mut self.bed
    }

    /// Host number `number`, counted from 1.
    pub fn host(&self, number: usize) -> &Host {
        self.bed.host(number)
    }

    /// Starts a host's agent with this fabric's features.
    pub fn start_agent(&self, host: &Host) -> Result<()> {
        host.start_agent(&[], self.features.environment())
    }

    /// A token made on the first host; `shoal token` prints it alone on its last line.
    pub fn token(&self, arguments: &str) -> Result<String> {
        let printed = self.host(1).shoal(&format!("token {arguments}"))?;
        Ok(printed.lines().last().context("`shoal token` printed nothing")?.trim().to_owned())
    }

    /// How a host is seen by another, from `shoal hosts`.
    pub fn seen(&self, by: usize, name: &str) -> Result<Value> {
        let hosts = self.host(by).shoal_json("hosts")?;
        let found = hosts.as_array().into_iter().flatten().find(|host| host["name"] == name).cloned();
        found.with_context(|| format!("h{by} does not know {name}: {hosts}"))
    }

    /// Waits until a container on one host reaches another address; how long that took.
    #[allow(clippy::disallowed_methods, reason = "real daemons run on real time")]
    pub fn reached(&self, from: (usize, &str), to: &str, limit: Duration) -> Result<Duration> {
        let began = Instant::now();
        eventually(&format!("{} to reach {to}", from.1), limit, || {
            self.host(from.0).exec(from.1, &["ping", "-c1", "-W1", "-p", &marker_hex(), to])?.ok()
        })?;
        Ok(began.elapsed())
    }

    /// Waits until each host sees `alive` hosts alive.
    pub fn settle(&self, alive: usize) -> Result<()> {
        self.bed.on_each(|host| sees(host, alive)).map(drop)
    }

    /// Waits until each of the first `count` hosts sees as many alive; the others have not joined.
    pub fn settle_among(&self, count: usize) -> Result<()> {
        self.bed.hosts()[..count].iter().try_for_each(|host| sees(host, count))
    }

    /// Waits until `shoal doctor` finds nothing wrong on any host and the paths to all others are found. Agents go on
    /// for some seconds after they have joined: their own link for probes is still to be laid.
    pub fn sound(&self) -> Result<()> {
        self.bed
            .on_each(|host| {
                eventually(&format!("doctor to be content on {}", host.name()), AGREE, || {
                    let hosts = host.shoal_json("hosts")?;
                    let others =
                        hosts.as_array().into_iter().flatten().filter(|other| other["state"] == "alive");
                    for other in others {
                        ensure!(other["tunnel"]["state"] == "ok", "{other}");
                    }
                    host.shoal("doctor")
                })
            })
            .map(drop)
    }

    /// `shoal network create NAME ARGUMENTS` on the first host, and the wait until every dockerd has it.
    pub fn network(&self, name: &str, arguments: &str) -> Result<()> {
        self.host(1).shoal(&format!("network create {name} {arguments}"))?;
        self.appears(name)
    }

    /// Waits until every host's dockerd has exactly one network of this name.
    pub fn appears(&self, name: &str) -> Result<()> {
        self.bed.on_each(|host| self.appears_on(host, name)).map(drop)
    }

    /// Waits until a host's dockerd has exactly one network of this name.
    pub fn appears_on(&self, host: &Host, name: &str) -> Result<()> {
        self.count_on(host, name, 1)
    }

    /// Waits until no host's dockerd has a network of this name.
    pub fn disappears(&self, name: &str) -> Result<()> {
        self.bed.on_each(|host| self.disappears_on(host, name)).map(drop)
    }

    /// Waits until a host's dockerd has no network of this name.
    pub fn disappears_on(&self, host: &Host, name: &str) -> Result<()> {
        self.count_on(host, name, 0)
    }

    /// Runs an idle container with the probe and the tools in it.
    pub fn run(&self, host: usize, name: &str, network: &str, arguments: &str) -> Result<()> {
        self.try_run(host, name, network, arguments)?.ok().map(drop)
    }

    /// Like [`Fabric::run`], for one that may be refused.
    pub fn try_run(
        &self,
        host: usize,
        name: &str,
        network: &str,
        arguments: &str,
    ) -> Result<shoal_netbed::Output> {
        let command = format!("run -d --name {name} --network {network} {arguments} {}", self.image.name());
        self.host(host).try_docker(&command)
    }

    /// A container's IPv4 address in a network.
    pub fn v4(&self, host: usize, container: &str, network: &str) -> Result<String> {
        let (v4, _) = self.host(host).addresses(container, network)?;
        ensure!(!v4.is_empty(), "{container} has no IPv4 address in {network}");
        Ok(v4)
    }

    /// A container's IPv6 address in a network.
    pub fn v6(&self, host: usize, container: &str, network: &str) -> Result<String> {
        let (_, v6) = self.host(host).addresses(container, network)?;
        ensure!(!v6.is_empty(), "{container} has no IPv6 address in {network}");
        Ok(v6)
    }

    /// Asserts that no ping from a container is answered by an address that is none of its networks'. Like any on the
    /// Internet it is tried through Docker's gateway bridge, so these pings are on the underlay, in the host's name.
    pub fn not_reached_outside(&self, host: usize, container: &str, target: &str) -> Result<()> {
        let host = self.host(host);
        self.bed.allow(Allow::Pings(host.address().parse()?, target.parse()?));
        host.exec(container, &["ping", "-c3", "-i0.2", "-W1", target])?.refused().map(drop)
    }

    /// Sends `bytes` of the probe's pattern over one TCP connection, from a container to another's address.
    pub fn transfer(&self, from: (usize, &str), to: (usize, &str), address: &str, bytes: u64) -> Result<()> {
        let limit = Duration::from_secs(200);
        let bytes = bytes.to_string();
        let mut taker = self.host(to.0).exec_spawn(to.1, &["netbed-probe", "take", "9000", &bytes])?;
        taker.prints("listening", Duration::from_secs(10))?;
        let target =
            if address.contains(':') { format!("[{address}]:9000") } else { format!("{address}:9000") };
        self.host(from.0).exec_within(from.1, &["netbed-probe", "give", &target, &bytes], limit)?.ok()?;
        let word = taker.finish(Duration::from_secs(10))?.ok()?;
        ensure!(word.contains("each as it was sent"), "{word}");
        Ok(())
    }

    /// A network's VXLAN id.
    pub fn vni(&self, network: &str) -> Result<u32> {
        let networks = self.host(1).shoal_json("network list")?;
        let found = networks.as_array().into_iter().flatten().find(|it| it["name"] == network);
        let vni = found.and_then(|it| it["vni"].as_u64());
        Ok(u32::try_from(vni.with_context(|| format!("no VXLAN id of {network}: {networks}"))?)?)
    }

    /// What a host has dropped at its tunnels for one reason.
    pub fn tunnel_drops(&self, host: usize, reason: &str) -> Result<u64> {
        Ok(self.host(host).shoal_json("endpoints")?["tunnel_drops"][reason].as_u64().unwrap_or(0))
    }

    /// What a host counts as dropped for a container's link, by reason.
    pub fn drops(&self, host: usize, container: &str) -> Result<Value> {
        let answer = self.host(host).shoal_json("endpoints")?;
        let all = answer["endpoints"].as_array().context("no list of endpoints")?;
        let found =
            all.iter().find(|endpoint| endpoint["container"] == container && endpoint["local"] == true);
        let found =
            found.with_context(|| format!("`shoal endpoints` does not know {container}: {answer}"))?;
        Ok(found["traffic"]["drops"].clone())
    }

    fn count_on(&self, host: &Host, name: &str, wanted: usize) -> Result<()> {
        eventually(&format!("{} to have {wanted} network(s) {name}", host.name()), AGREE, || {
            let names = host.docker("network ls --format {{.Name}}")?;
            ensure!(names.lines().filter(|line| *line == name).count() == wanted, "{names}");
            Ok(())
        })
    }
}

fn sees(host: &Host, alive: usize) -> Result<()> {
    eventually(&format!("{} to see {alive} hosts", host.name()), AGREE, || {
        let hosts = host.shoal_json("hosts")?;
        let states = hosts.as_array().into_iter().flatten().map(|host| &host["state"]);
        let count = states.filter(|state| *state == "self" || *state == "alive").count();
        ensure!(count == alive, "{hosts}");
        Ok(())
    })
}
