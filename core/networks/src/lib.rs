//! Networks and endpoints: decides every Docker verb.
//!
//! [`Networks`] holds what the fabric says (networks, other hosts' endpoints, space in use) and what dockerd on this
//! host was told (pools, networks, endpoints: [`record`]s that outlive a restart). A verb goes in as a value and
//! comes out as a list of [`Effect`]s and a reply; nothing waits on another host or on the engine.
//!
//! ```text
//!   docker network create            shoal network create, or a fact from another host
//!     RequestPool -> draft pool        Catalog has it -> EngineRequest::Create
//!     CreateNetwork -> name pending      RequestPool (shoal.network=NAME) -> bound pool
//!     EngineReport::Read -> Publish      CreateNetwork -> settled
//!
//!   docker run
//!     RequestAddress -> lease   CreateEndpoint -> record   Join -> Project, Publish   (Leave, DeleteEndpoint back)
//! ```

mod ahead;
mod at;
mod catalog;
mod compare;
mod create;
mod docker_network;
mod effect;
mod endpoint;
mod learn;
mod lost;
mod mtu;
mod option;
mod pool;
mod reconcile;
mod record;
mod report;
mod sentence;
mod verb;
mod work;

use std::collections::{BTreeMap, BTreeSet};

use shoal_ipam::Ipam;
use shoal_schema::{EndpointFact, Taken, UseFact};
use shoal_types::{EndpointId, HostId, HostName, Moment, NetworkId, WallTime};

pub use at::{At, Dice};
pub use catalog::Catalog;
pub use compare::{Attached, EndpointDifference};
pub use create::{NetworkRequest, SubnetRequest};
pub use effect::{Effect, EngineNetwork, EngineReport, EngineRequest, EngineView};
pub use mtu::{MTU_MAX, mtu_wanted};
pub use option::{ENCRYPTION_OFF, ENCRYPTION_OPTION, NETWORK_OPTION, is_in_clear};
pub use record::{
    DockerRecord, EndpointRecord, LeaseRecord, LostRecord, Naming, PoolRecord, Record, Stage, WaitingRecord,
};
pub use report::Finding;
pub use verb::{DockerNetworkId, PoolData, PoolId, Refusal, Reply, Route, Verb};

/// The address space that dockerd asks for pools of networks with local scope: all of Shoal's.
pub const LOCAL_SPACE: &str = "ShoalLocal";

/// The address space that dockerd asks for pools of networks with global scope; Shoal has none.
pub const GLOBAL_SPACE: &str = "ShoalGlobal";

/// What interfaces inside a container are called, with a number behind it: Docker's own prefix.
pub const INTERFACE_PREFIX: &str = "eth";

/// The most containers per network whose names a host tells the others.
const CONTAINERS_TOLD_MAX: usize = 4096;

/// Networks and endpoints, as one host knows them.
#[derive(Debug)]
pub struct Networks {
    me: HostId,
    dice: Dice,
    catalog: Catalog,
    ipam: Ipam,
    hosts: BTreeMap<HostId, HostName>,
    /// The addresses' keeper has not been told of all of them.
    hosts_new: bool,
    taken: BTreeMap<HostId, Vec<Taken>>,
    uses: BTreeMap<(HostId, NetworkId), UseFact>,
    remote: BTreeMap<(HostId, EndpointId), EndpointFact>,
    pools: BTreeMap<PoolId, PoolRecord>,
    dockers: BTreeMap<DockerNetworkId, DockerRecord>,
    endpoints: BTreeMap<EndpointId, EndpointRecord>,
    leases: BTreeMap<(NetworkId, std::net::IpAddr), LeaseRecord>,
    off: BTreeSet<NetworkId>,
    /// Leases given since the start for which dockerd has made no endpoint yet.
    unclaimed_leases: BTreeSet<(NetworkId, std::net::IpAddr)>,
    /// Networks that the engine did not show when it was asked, and since when.
    doubts: BTreeMap<DockerNetworkId, Moment>,
    work: work::Work,
    notices: Vec<String>,
    /// Our edits that lost, until they need not be shown any more.
    lost: BTreeMap<NetworkId, LostRecord>,
    /// Networks whose [`WaitingRecord`] is not what it should be.
    unkept: BTreeSet<NetworkId>,
    /// Endpoints that the engine does not list, and since when.
    unknown: BTreeMap<EndpointId, Moment>,
    /// What the engine lists otherwise than it was made here, and since when.
    differing: BTreeMap<EndpointId, (Moment, Attached)>,
}

impl Networks {
    /// Nothing known yet. `seed` feeds the ids that are drawn; it must differ at every start.
    pub fn new(me: HostId, seed: u64) -> Self {
        Self {
            me,
            dice: Dice::new(seed),
            catalog: Catalog::default(),
            ipam: Ipam::new(me),
            hosts: BTreeMap::new(),
            hosts_new: false,
            taken: BTreeMap::new(),
            uses: BTreeMap::new(),
            remote: BTreeMap::new(),
            pools: BTreeMap::new(),
            dockers: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            leases: BTreeMap::new(),
            off: BTreeSet::new(),
            unclaimed_leases: BTreeSet::new(),
            doubts: BTreeMap::new(),
            work: work::Work::default(),
            notices: Vec::new(),
            lost: BTreeMap::new(),
            unkept: BTreeSet::new(),
            unknown: BTreeMap::new(),
            differing: BTreeMap::new(),
        }
    }

    /// Decides a verb. The effects come first; the reply holds only if all of them were carried out.
    pub fn verb(&mut self, verb: Verb, at: At) -> (Vec<Effect>, Result<Reply, Refusal>) {
        let mut effects = Vec::new();
        let reply = match verb {
            Verb::RequestPool { space: _, pool, sub_pool, options, v6 } => {
                self.request_pool(pool, sub_pool, &options, v6, at, &mut effects)
            }
            Verb::ReleasePool { pool } => Ok(self.release_pool(&pool, &mut effects)),
            Verb::RequestAddress { pool, address, gateway } => {
                self.request_address(&pool, address, gateway, at, &mut effects)
            }
            Verb::ReleaseAddress { pool, address } => {
                Ok(self.release_address(&pool, address, at, &mut effects))
            }
            Verb::CreateNetwork { network, options, internal, pools } => {
                self.create_docker_network(network, options, internal, &pools, at, &mut effects)
            }
            Verb::DeleteNetwork { network } => Ok(self.delete_docker_network(&network, at, &mut effects)),
            Verb::CreateEndpoint { network, endpoint, v4, v6, mac } => {
                self.create_endpoint(&network, &endpoint, (v4, v6), mac, &mut effects)
            }
            Verb::DeleteEndpoint { network: _, endpoint } => {
                Ok(self.delete_endpoint(&endpoint, &mut effects))
            }
            Verb::Join { network, endpoint, sandbox: _ } => self.join(&network, &endpoint, &mut effects),
            Verb::Leave { network: _, endpoint } => Ok(self.leave(&endpoint, &mut effects)),
            Verb::EndpointInfo { network: _, endpoint } => Ok(self.endpoint_info(&endpoint)),
        };
        (effects, reply)
    }

    /// The fabric's networks.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Who owns and uses which addresses.
    pub fn ipam(&self) -> &Ipam {
        &self.ipam
    }

    /// For changes that the fabric's facts bring: gifts given and received.
    pub fn ipam_mut(&mut self) -> &mut Ipam {
        &mut self.ipam
    }

    /// This host's endpoints.
    pub fn endpoints(&self) -> impl Iterator<Item = &EndpointRecord> {
        self.endpoints.values()
    }

    /// Other hosts' endpoints.
    pub fn remote_endpoints(&self) -> impl Iterator<Item = (HostId, &EndpointFact)> {
        self.remote.iter().map(|((host, _), fact)| (*host, fact))
    }

    /// The engine's networks on this host that use the driver.
    pub fn docker_networks(&self) -> impl Iterator<Item = &DockerRecord> {
        self.dockers.values()
    }

    /// Whether the engine on this host was told to remove a network.
    pub fn is_off(&self, network: NetworkId) -> bool {
        self.off.contains(&network)
    }

    /// Which hosts use a network, with the containers attached to it.
    pub fn uses_of(&self, network: NetworkId) -> impl Iterator<Item = (HostId, &UseFact)> {
        self.uses.iter().filter(move |((_, id), _)| *id == network).map(|((host, _), fact)| (*host, fact))
    }

    /// A host's name for people; its short id while the name is unknown.
    pub fn host_name(&self, host: HostId) -> String {
        self.hosts.get(&host).map_or_else(|| host.short(), ToString::to_string)
    }

    /// All facts that were held before the start are taken in. They tell nothing new, though in their order they may
    /// have seemed to.
    pub fn taken_up(&mut self) {
        self.introduce_hosts();
        self.unkept.extend(self.catalog.taken_up());
        self.notices.clear();
    }

    /// Forgets who owned what in networks of which the fabric knows nothing any more, but for those to be kept.
    pub fn drop_old_ownership(&mut self, keep: impl Fn(NetworkId) -> bool) {
        let catalog = &self.catalog;
        self.ipam.keep_removed(|network| catalog.winner(network).is_some() || keep(network));
    }

    /// What is wrong on this host, or with other hosts as far as it can tell, for people.
    pub fn findings(&self, wall: WallTime) -> Vec<Finding> {
        let clocks = self.clock_findings(wall).into_iter();
        clocks.chain(self.lost_findings()).chain(self.unknown_findings()).collect()
    }

    /// Forgets everything that was kept; returns the keys under which it is stored.
    pub fn forget_all(&mut self) -> Vec<Vec<u8>> {
        let pools = self.pools.values().cloned().map(Record::Pool);
        let dockers = self.dockers.values().cloned().map(Record::Docker);
        let endpoints = self.endpoints.values().cloned().map(Record::Endpoint);
        let leases = self.leases.values().cloned().map(Record::Lease);
        let off = self.off.iter().copied().map(Record::Off);
        let lost = self.lost.values().cloned().map(Record::Lost);
        let waiting: BTreeSet<NetworkId> = self.catalog.waiting().map(|(_, fact)| fact.id).collect();
        let keys = pools
            .chain(dockers)
            .chain(endpoints)
            .chain(leases)
            .chain(off)
            .chain(lost)
            .map(|record| record.key())
            .chain(waiting.into_iter().map(Record::waiting_key))
            .collect();
        (self.pools, self.dockers, self.endpoints) = Default::default();
        (self.leases, self.off, self.unclaimed_leases, self.doubts) = Default::default();
        keys
    }
}
