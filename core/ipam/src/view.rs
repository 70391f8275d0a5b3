//! What others may read: who holds what, for `shoal addresses`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use shoal_types::{HostId, IpNet, Moment, NetworkId, PoolIndex};

use crate::pool::Pool;
use crate::{Ipam, Run};

/// One host's part of one pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// The network.
    pub network: NetworkId,
    /// Which of its subnets.
    pub pool: PoolIndex,
    /// The subnet.
    pub prefix: IpNet,
    /// The owner.
    pub host: HostId,
    /// First and last address of each run, ascending. This host's derived range is among them; other hosts' are not.
    pub runs: Vec<(IpAddr, IpAddr)>,
    /// Addresses in the runs that containers could have.
    pub owned: u128,
    /// Addresses in use and addresses at rest; only known of this host.
    pub local: Option<LocalUse>,
}

/// What this host does with its part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LocalUse {
    /// Addresses that containers have.
    pub used: u128,
    /// Those of them that this host does not own in its present view; 0 but after a notice or a restart.
    pub not_owned: u128,
    /// Addresses that were released a short while ago.
    pub resting: u128,
}

impl Ipam {
    /// Every owner of every pool, ordered by network, pool and host; this host is always among them.
    pub fn holders(&self, now: Moment) -> Vec<Holding> {
        let pools = self.pools().flat_map(|(network, index, pool)| {
            hosts_of(pool)
                .into_iter()
                .map(move |(host, runs)| holding(network, index, pool, host, &runs, now))
        });
        pools.collect()
    }

    /// The runs that this host may hand out or give right now: what it owns, less what is spare.
    pub fn usable(&self) -> Vec<(NetworkId, PoolIndex, IpAddr, IpAddr)> {
        let pools = self.pools().flat_map(|(network, index, pool)| {
            let runs = pool.spare.closed().fold(pool.all_own(), crate::spare::without);
            let ends =
                |run: Run| (network, index, pool.space.address(run.first()), pool.space.address(run.last()));
            runs.into_iter().map(ends).collect::<Vec<_>>()
        });
        pools.collect()
    }

    /// The addresses of a pool that containers of this host have, ascending.
    pub fn used(&self, network: NetworkId, pool: PoolIndex) -> Vec<IpAddr> {
        let pool = self.pool(network, pool);
        pool.map_or_else(Vec::new, |pool| pool.leases.used().map(|n| pool.space.address(n)).collect())
    }
}

fn hosts_of(pool: &Pool) -> BTreeMap<HostId, Vec<Run>> {
    let mut hosts = pool.ownership.runs_by_owner();
    hosts.insert(pool.me, pool.all_own());
    hosts
}

fn holding(
    network: NetworkId,
    index: PoolIndex,
    pool: &Pool,
    host: HostId,
    runs: &[Run],
    now: Moment,
) -> Holding {
    let ends = |run: &Run| (pool.space.address(run.first()), pool.space.address(run.last()));
    let local = (host == pool.me).then(|| LocalUse {
        used: pool.leases.used().count() as u128,
        not_owned: pool.leases.used().filter(|number| !pool.is_own(*number)).count() as u128,
        resting: runs.iter().map(|run| pool.leases.resting_in(*run, now)).sum(),
    });
    Holding {
        network,
        pool: index,
        prefix: pool.space.prefix,
        host,
        runs: runs.iter().map(ends).collect(),
        owned: pool.usable(runs),
        local,
    }
}
