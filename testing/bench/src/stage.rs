//! Two hosts with everything on them that is measured, and the ways between their containers.
//!
//! ```text
//!   h1                                h2
//!     host -------- underlay -------- host        also through wireguard-go and nebula
//!     near-N, side-N -------------- far-N         N: a Shoal network, one in clear, Swarm's overlay
//!     near-bridge, side-bridge
//! ```

use std::net::IpAddr;

use anyhow::{Context, Result};
use shoal_e2e::{Fabric, Features};
use shoal_netbed::{Bed, Host, Image, Packer};

use crate::others::Others;
use crate::processors;
use crate::subject::{Contestant, Scope};
use crate::worker::{Worker, traffic_path};

/// The hosts and what runs on them.
#[derive(Debug)]
pub(crate) struct Stage {
    // Dropped in this order: workers are attached to dockerds.
    workers: Vec<Worker>,
    /// Which worker asks from the first host's own network.
    on_host: Option<usize>,
    others: Option<Others>,
    ways: Vec<Way>,
    image: Image,
    fabric: Fabric,
}

/// From a worker to an address at which another one serves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    /// What carries the packets.
    pub(crate) contestant: Contestant,
    /// Which traffic.
    pub(crate) scope: Scope,
    /// Which worker asks, by its place in the list.
    pub(crate) worker: usize,
    /// Where the other one serves.
    pub(crate) to: IpAddr,
}

impl Stage {
    /// Lays everything out for these contestants.
    pub(crate) fn set(contestants: &[Contestant]) -> Result<Self> {
        let image = Packer::new("bench/traffic").program(&traffic_path()?).pack()?;
        let bed = Bed::builder(2).without_dockerd().quiet().build()?;
        let fabric = Fabric::started(bed, Features::On, image.clone())?;
        fabric.join_all()?;
        // dockerd has bridges call netfilter, in every namespace. The switch stands for one of metal.
        fabric.bed().switch(
            "for kind in iptables ip6tables arptables; do\n\
             echo 0 > /proc/sys/net/bridge/bridge-nf-call-$kind\n\
             done",
        )?;
        let (workers, ways) = (Vec::new(), Vec::new());
        let mut stage = Self { workers, on_host: None, others: None, ways, image, fabric };
        for contestant in contestants {
            stage.add(*contestant).with_context(|| format!("cannot set up {}", contestant.name()))?;
        }
        stage.fabric.sound()?;
        stage.keep_apart()?;
        Ok(stage)
    }

    /// Keeps what encrypts for a host on the host's processors.
    fn keep_apart(&self) -> Result<()> {
        for host in self.fabric.bed().hosts() {
            for process in host.processes("wireguard")? {
                processors::of(host).keep(process.cast_unsigned())?;
            }
        }
        Ok(())
    }

    /// The hosts with their agents.
    pub(crate) fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    /// What containers are made from.
    pub(crate) fn image(&self) -> &str {
        self.image.name()
    }

    /// Where a contestant's container answers, on the first host or on the second.
    pub(crate) fn target(&self, contestant: Contestant, scope: Scope) -> Option<IpAddr> {
        self.ways.iter().find(|way| way.contestant == contestant && way.scope == scope).map(|way| way.to)
    }

    /// Every way that was laid, and whoever asks on it.
    pub(crate) fn ways(&self) -> &[Way] {
        &self.ways
    }

    /// A worker.
    pub(crate) fn worker(&mut self, number: usize) -> &mut Worker {
        &mut self.workers[number]
    }

    /// The name of a contestant's network.
    pub(crate) fn network(contestant: Contestant) -> String {
        format!("net-{}", contestant.name())
    }

    fn add(&mut self, contestant: Contestant) -> Result<()> {
        match contestant {
            Contestant::Underlay => self.add_underlay(),
            Contestant::WireguardGo | Contestant::Nebula => self.add_other(contestant),
            Contestant::Shoal => self.add_shoal(contestant, "--ipv6"),
            Contestant::ShoalClear => self.add_shoal(contestant, "--ipv6 --plaintext"),
            Contestant::Swarm => self.add_swarm(),
            Contestant::Bridge => self.add_bridge(),
            Contestant::None => Ok(()),
        }
    }

    fn add_underlay(&mut self) -> Result<()> {
        let asking = self.hosts()?;
        let to = self.fabric.host(2);
        let (v4, v6) = (to.address(), to.address6());
        self.lay(Contestant::Underlay, Scope::Across, asking, &v4)?;
        self.lay(Contestant::Underlay, Scope::Across6, asking, &v6)
    }

    fn add_other(&mut self, contestant: Contestant) -> Result<()> {
        let asking = self.hosts()?;
        if self.others.is_none() {
            self.others = Some(Others::start(self.fabric.bed())?);
        }
        if contestant == Contestant::Nebula {
            // This version carries IPv4 only.
            return self.lay(contestant, Scope::Across, asking, "10.7.0.2");
        }
        self.lay(contestant, Scope::Across, asking, "10.8.0.2")?;
        self.lay(contestant, Scope::Across6, asking, "fd00:8::2")
    }

    /// Workers in the hosts' own network; which of them asks. They are containers too, so that all workers get the
    /// same share of the processors.
    fn hosts(&mut self) -> Result<usize> {
        if let Some(asking) = self.on_host {
            return Ok(asking);
        }
        for number in [2, 1] {
            let worker = Worker::start(self.fabric.host(number), "host", "host", self.image.name())?;
            self.workers.push(worker);
        }
        let asking = self.workers.len() - 1;
        self.on_host = Some(asking);
        Ok(asking)
    }

    fn add_shoal(&mut self, contestant: Contestant, arguments: &str) -> Result<()> {
        self.fabric.network(&Self::network(contestant), arguments)?;
        self.add_containers(contestant, true)
    }

    fn add_swarm(&mut self) -> Result<()> {
        let (first, second) = (self.fabric.host(1), self.fabric.host(2));
        first.docker(&format!("swarm init --advertise-addr {}", first.address()))?;
        let token = first.docker("swarm join-token -q worker")?;
        let (own, manager) = (second.address(), first.address());
        second.docker(&format!("swarm join --advertise-addr {own} --token {token} {manager}:2377"))?;
        // An attachable overlay with an IPv6 subnet is made, but its second container is refused: "Address already in
        // use". So there is no IPv6 of Swarm's to measure.
        let name = Self::network(Contestant::Swarm);
        first.docker(&format!("network create -d overlay --attachable --subnet 10.97.0.0/16 {name}"))?;
        self.add_containers(Contestant::Swarm, true)
    }

    fn add_bridge(&mut self) -> Result<()> {
        let name = Self::network(Contestant::Bridge);
        self.fabric
            .host(1)
            .docker(&format!("network create --subnet 10.96.0.0/16 --ipv6 --subnet fd00:96::/64 {name}"))?;
        self.add_containers(Contestant::Bridge, false)
    }

    /// Two containers on the first host, and one on the second if the network is there.
    fn add_containers(&mut self, contestant: Contestant, is_across: bool) -> Result<()> {
        let asking = self.add_container(1, "near", contestant)?;
        let (v4, v6) = self.addresses(1, "side", contestant)?;
        self.lay(contestant, Scope::Same, asking, &v4)?;
        if !v6.is_empty() {
            self.lay(contestant, Scope::Same6, asking, &v6)?;
        }
        if is_across {
            let (v4, v6) = self.addresses(2, "far", contestant)?;
            self.lay(contestant, Scope::Across, asking, &v4)?;
            if !v6.is_empty() {
                self.lay(contestant, Scope::Across6, asking, &v6)?;
            }
        }
        Ok(())
    }

    fn add_container(&mut self, host: usize, place: &str, contestant: Contestant) -> Result<usize> {
        let (name, network) = (container(place, contestant), Self::network(contestant));
        let worker = Worker::start(self.fabric.host(host), &name, &network, self.image.name())?;
        self.workers.push(worker);
        Ok(self.workers.len() - 1)
    }

    /// Adds a container; its addresses.
    fn addresses(&mut self, host: usize, place: &str, contestant: Contestant) -> Result<(String, String)> {
        self.add_container(host, place, contestant)?;
        let host: &Host = self.fabric.host(host);
        host.addresses(&container(place, contestant), &Self::network(contestant))
    }

    fn lay(&mut self, contestant: Contestant, scope: Scope, worker: usize, to: &str) -> Result<()> {
        let to = to.parse().with_context(|| format!("no address for {} {to:?}", scope.title()))?;
        self.ways.push(Way { contestant, scope, worker, to });
        Ok(())
    }
}

/// A container's name: its place, and who connects it.
pub(crate) fn container(place: &str, contestant: Contestant) -> String {
    format!("{place}-{}", contestant.name())
}
