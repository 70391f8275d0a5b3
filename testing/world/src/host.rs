//! One machine: agent, store, engine, kernel, clocks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use shoal_fabric::{At, Fabric, LocalHost, LocalTunnels, Owed, Writes};
use shoal_networks::{DockerNetworkId, EngineRequest};
use shoal_plan::Backend;
use shoal_schema::Taken;
use shoal_trust::{Certificate, HostKey, TrustView};
use shoal_tunnels::{KEY_LIFETIME, Making};
use shoal_types::{HostId, Moment, WallTime};

use crate::disk::Disk;
use crate::engine::{Container, DockerNetwork, Engine};
use crate::kernel::Kernel;

/// Where every wall clock begins, milliseconds since 1970: 2026-01-01.
const WALL_START_MS: u64 = 1_767_225_600_000;

/// Leases on addresses: short, so that stories of minutes see them end.
pub(crate) const LEASE: Duration = Duration::from_secs(8);

/// One machine.
pub(crate) struct Host {
    pub(crate) index: usize,
    pub(crate) id: HostId,
    pub(crate) key: Arc<HostKey>,
    pub(crate) disk: Disk,
    pub(crate) disk_refuses: bool,
    /// Writes that the disk refused; they go first in the next batch.
    pub(crate) unsaved: Writes,
    /// What was put off when it did.
    pub(crate) owed: Owed,
    pub(crate) engine: Engine,
    pub(crate) kernel: Kernel,
    /// The agent's decisions; `None` while it is off.
    pub(crate) agent: Option<Fabric>,
    /// Counts the agent's starts, so that nothing of an earlier one reaches a later one.
    pub(crate) life: u64,
    pub(crate) trust: Option<TrustView>,
    pub(crate) certificate: Option<Certificate>,
    /// Effects after which the agent is killed.
    pub(crate) fuse: Option<u32>,
    pub(crate) tick_due: Option<Moment>,
    pub(crate) projecting: bool,
    pub(crate) requests: VecDeque<EngineRequest>,
    pub(crate) working: bool,
    pub(crate) looking: bool,
    pub(crate) skew_ms: i64,
    /// Millionths by which the wall clock runs too fast, and since when.
    pub(crate) drift: (i64, Moment),
    /// The last copy of its disks.
    pub(crate) backup: Option<Backup>,
    /// It went on from a copy of its disks, and may say so.
    pub(crate) is_restored: bool,
    /// It has not heard yet what it said since that backup, so it owns what it gave since.
    pub(crate) is_behind: bool,
    pub(crate) slow: Duration,
    /// It left its fabric and has not joined again.
    pub(crate) has_left: bool,
    /// It was a member at some time.
    pub(crate) was_member: bool,
    pub(crate) forgotten: bool,
    pub(crate) notices: BTreeSet<String>,
    pub(crate) refused_fixed: BTreeMap<String, String>,
    pub(crate) off_since: Option<usize>,
    pub(crate) traffic: Traffic,
    /// Keys of tunnels drawn so far.
    pub(crate) tunnel_keys: u64,
}

/// A copy of a host's disks: the store, and Docker's networks and containers.
pub(crate) type Backup = (Disk, BTreeMap<DockerNetworkId, DockerNetwork>, BTreeMap<String, Container>);

/// What a host has sent since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) datagrams: u64,
    pub(crate) datagram_bytes: u64,
    pub(crate) messages: u64,
    pub(crate) message_bytes: u64,
    pub(crate) engine_requests: u64,
}

impl Host {
    pub(crate) fn new(index: usize, seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        bytes[8..16].copy_from_slice(&(index as u64 + 1).to_be_bytes());
        let key = Arc::new(HostKey::from_seed(bytes));
        Self {
            index,
            id: key.id(),
            key,
            disk: Disk::default(),
            disk_refuses: false,
            unsaved: Writes::new(),
            owed: Owed::default(),
            engine: Engine { up: true, ..Engine::default() },
            kernel: Kernel::default(),
            agent: None,
            life: 0,
            trust: None,
            certificate: None,
            fuse: None,
            tick_due: None,
            projecting: false,
            requests: VecDeque::new(),
            working: false,
            looking: false,
            skew_ms: 0,
            drift: (0, Moment::ZERO),
            backup: None,
            is_restored: false,
            is_behind: false,
            slow: Duration::ZERO,
            has_left: false,
            was_member: false,
            forgotten: false,
            notices: BTreeSet::new(),
            refused_fixed: BTreeMap::new(),
            off_since: None,
            traffic: Traffic::default(),
            tunnel_keys: 0,
        }
    }

    /// The machine's underlay address.
    pub(crate) fn address(&self) -> IpAddr {
        let index = u8::try_from(self.index % 250).unwrap_or_default();
        IpAddr::V4(Ipv4Addr::new(192, 168, 7, index + 1))
    }

    /// What the machine knows of itself; `None` never comes of the names here.
    pub(crate) fn local(&self) -> Option<LocalHost> {
        Some(LocalHost {
            name: format!("h{}", self.index).parse().ok()?,
            addresses: vec![self.address()],
            quic_port: 7373,
            tunnels: usual_tunnels(),
            underlay_mtu: 1500,
            version: "0".into(),
            lease: LEASE,
            probe_link: Some(("shp0".parse().ok()?, "shp1".parse().ok()?)),
        })
    }

    /// Address space that the machine uses itself: its underlay, and networks of other drivers.
    pub(crate) fn taken(&self) -> Vec<Taken> {
        let underlay =
            "192.168.7.0/24".parse().ok().map(|prefix| Taken { prefix, by: "route via eth0".into() });
        let foreign = self.engine.networks.values().filter(|network| !network.ours).flat_map(|network| {
            let by = format!("Docker network {}", network.name);
            network.pools.iter().map(move |pool| Taken { prefix: pool.prefix, by: by.clone() })
        });
        underlay.into_iter().chain(foreign).collect()
    }

    /// Both clocks. The monotonic one is the world's.
    pub(crate) fn at(&self, now: Moment) -> At {
        let true_ms = WALL_START_MS + now.as_nanos() / 1_000_000;
        let wrong_ms = self.skew_ms + self.drifted_ms(now);
        At { now, wall: WallTime::from_millis(true_ms.saturating_add_signed(wrong_ms)) }
    }

    /// Lets the wall clock run too fast from now on.
    pub(crate) fn let_drift(&mut self, ppm: i64, now: Moment) {
        self.skew_ms += self.drifted_ms(now);
        self.drift = (ppm, now);
    }

    fn drifted_ms(&self, now: Moment) -> i64 {
        let (ppm, since) = self.drift;
        let ms = i64::try_from(now.since(since).as_millis()).unwrap_or_default();
        ms.saturating_mul(ppm) / 1_000_000
    }

    /// Copies what is on its disks.
    pub(crate) fn back_up(&mut self) {
        let stopped = |container: &Container| Container { attached: None, ..container.clone() };
        let containers =
            self.engine.containers.iter().map(|(name, it)| (name.clone(), stopped(it))).collect();
        self.backup = Some((self.disk.clone(), self.engine.networks.clone(), containers));
    }

    /// The agent, if it is on and in a fabric that has not put it out.
    pub(crate) fn member(&self) -> Option<&Fabric> {
        self.agent.as_ref().filter(|agent| agent.identity().is_some() && !self.forgotten)
    }
}

/// How tunnel devices are made where nobody has set anything else.
pub(crate) fn usual_tunnels() -> LocalTunnels {
    LocalTunnels {
        prefix: "shoal".into(),
        vxlan_port: 7374,
        relay_port: 7377,
        making: Making { backend: Backend::Kernel, port: 7375, software: None },
        key_lifetime: KEY_LIFETIME,
    }
}
