//! What happens to the world, one line of a story each.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One thing that someone or something does. Hosts are numbered from 0 and named h0, h1, …; a step that makes no sense
/// where it stands (a host that is off runs nothing) does nothing and the story says so, so steps can be left out.
#[allow(missing_docs, reason = "each variant's sentence names its fields; hosts are numbers")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// `shoal join` on `host` with a token of `via`.
    Join { host: usize, via: usize },
    /// `shoal leave`.
    Leave { host: usize },
    /// `shoal forget h{whom}` on `host`.
    Forget { host: usize, whom: usize },
    /// `shoal network create`.
    Create { host: usize, network: Wanted },
    /// `shoal network delete`.
    Delete { host: usize, network: String },
    /// `docker network create -d shoal --ipam-driver shoal`; `bound`: with `shoal.network` in its options.
    DockerCreate { host: usize, network: Wanted, bound: bool },
    /// `docker network create -d bridge`: not ours, but it has a name and a subnet.
    DockerBridge { host: usize, name: String },
    /// `docker network rm`.
    DockerRemove { host: usize, network: String },
    /// `docker run --network`; `address`: `--ip` with this number within the subnet.
    Run { host: usize, container: String, network: String, address: Option<u8>, restart: bool },
    /// `docker start`.
    Start { host: usize, container: String },
    /// `docker stop`.
    Stop { host: usize, container: String },
    /// `docker rm -f`.
    Remove { host: usize, container: String },
    /// kill -9 of the agent: what it wrote stays in the page cache.
    Kill { host: usize },
    /// kill -9 of the agent in the middle of its work, after so many more effects.
    KillAfter { host: usize, effects: u32 },
    /// The agent is started.
    Agent { host: usize },
    /// Power loss: agent, engine, containers and kernel state are gone, and with them the last writes that nobody
    /// waited for.
    PowerLoss { host: usize },
    /// The disk refuses every write from now on.
    DiskRefuses { host: usize },
    /// The disk takes writes again.
    DiskWrites { host: usize },
    /// kill -9 of the container engine.
    EngineDown { host: usize },
    /// The container engine is started.
    EngineUp { host: usize },
    /// The wall clock jumps by so many milliseconds.
    Clock { host: usize, by_ms: i64 },
    /// The wall clock runs too fast by so many millionths from now on; negative: too slow; zero: right again, from
    /// where it is.
    Drift { host: usize, ppm: i64 },
    /// Everything on the host's disks is copied, in place of an earlier copy.
    Backup { host: usize },
    /// The host's disks hold again what was copied; whatever ran has stopped.
    Restore { host: usize },
    /// The host is overloaded: whatever reaches its agent waits this long first. Zero: no more.
    Slow { host: usize, by: Duration },
    /// Hosts hear only those of their own group; a host in no group hears nobody.
    Partition { groups: Vec<Vec<usize>> },
    /// One host and all others hear nothing of each other.
    Isolate { host: usize },
    /// Nothing gets from one host to the other; the way back works.
    OneWay { from: usize, to: usize },
    /// All links work again.
    Heal,
    /// Nothing, for this long.
    Wait(Duration),
}

/// A network as someone asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// The third byte and the length of a subnet in 10.200.0.0/16; `None`: one is chosen.
    pub subnet: Option<(u8, u8)>,
    /// With an IPv6 subnet.
    pub v6: bool,
    /// With a gateway (the third address) and a reserved address (the fourth) of the user's own; needs a subnet.
    pub gateway: bool,
}

impl Wanted {
    /// The subnet as text.
    pub fn prefix(&self) -> Option<String> {
        self.subnet.map(|(third, length)| format!("10.200.{third}.0/{length}"))
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(prefix) = self.prefix() {
            write!(f, "--subnet {prefix} ")?;
        }
        if self.gateway {
            write!(f, "--gateway .3 --aux-address x=.4 ")?;
        }
        if self.v6 {
            write!(f, "--ipv6 ")?;
        }
        write!(f, "{}", self.name)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join { host, via } => write!(f, "h{host}: shoal join h{via}"),
            Self::Leave { host } => write!(f, "h{host}: shoal leave"),
            Self::Forget { host, whom } => write!(f, "h{host}: shoal forget h{whom}"),
            Self::Create { host, network } => write!(f, "h{host}: shoal network create {network}"),
            Self::Delete { host, network } => write!(f, "h{host}: shoal network delete {network}"),
            Self::DockerCreate { host, network, bound: false } => {
                write!(f, "h{host}: docker network create -d shoal --ipam-driver shoal {network}")
            }
            Self::DockerCreate { host, network, bound: true } => {
                write!(
                    f,
                    "h{host}: docker network create -d shoal --ipam-driver shoal -o shoal.network {network}"
                )
            }
            Self::DockerBridge { host, name } => write!(f, "h{host}: docker network create -d bridge {name}"),
            Self::DockerRemove { host, network } => write!(f, "h{host}: docker network rm {network}"),
            Self::Run { host, container, network, address, restart } => {
                write!(f, "h{host}: docker run --name {container} --network {network}")?;
                if let Some(address) = address {
                    write!(f, " --ip .{address}")?;
                }
                if *restart { write!(f, " --restart always") } else { Ok(()) }
            }
            Self::Start { host, container } => write!(f, "h{host}: docker start {container}"),
            Self::Stop { host, container } => write!(f, "h{host}: docker stop {container}"),
            Self::Remove { host, container } => write!(f, "h{host}: docker rm -f {container}"),
            Self::Kill { host } => write!(f, "h{host}: the agent is killed"),
            Self::KillAfter { host, effects } => {
                write!(f, "h{host}: the agent is killed after {effects} more effects")
            }
            Self::Agent { host } => write!(f, "h{host}: the agent starts"),
            Self::DiskRefuses { host } => write!(f, "h{host}: the disk is full"),
            Self::DiskWrites { host } => write!(f, "h{host}: the disk has room again"),
            Self::PowerLoss { host } => write!(f, "h{host}: power is lost"),
            Self::EngineDown { host } => write!(f, "h{host}: dockerd is killed"),
            Self::EngineUp { host } => write!(f, "h{host}: dockerd starts"),
            Self::Clock { host, by_ms } => write!(f, "h{host}: the wall clock jumps by {by_ms} ms"),
            Self::Drift { host, ppm } => write!(f, "h{host}: the wall clock is fast by {ppm} ppm"),
            Self::Backup { host } => write!(f, "h{host}: is backed up"),
            Self::Restore { host } => write!(f, "h{host}: is restored from its backup"),
            Self::Slow { host, by } => write!(f, "h{host}: is slow by {} ms", by.as_millis()),
            Self::Partition { groups } => write!(f, "the network falls apart into {groups:?}"),
            Self::Isolate { host } => write!(f, "h{host}: is cut off"),
            Self::OneWay { from, to } => write!(f, "nothing gets from h{from} to h{to}"),
            Self::Heal => write!(f, "the network heals"),
            Self::Wait(time) => write!(f, "{} ms pass", time.as_millis()),
        }
    }
}
