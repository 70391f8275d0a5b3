//! Networks to test with.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use shoal_ipam::plan_grants;
use shoal_schema::{NetworkSpec, Subnet};
use shoal_types::{HostId, Moment, NetworkId, PoolIndex, Vni};

pub(crate) const NETWORK: NetworkId = NetworkId::new([7; 16]);
pub(crate) const POOL: PoolIndex = PoolIndex(0);

pub(crate) fn host(id: u8) -> HostId {
    HostId::new([id; 16])
}

pub(crate) fn at(seconds: u64) -> Moment {
    Moment::from_nanos(seconds * 1_000_000_000)
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A network of one subnet, made by host 1 while it knew hosts 1 to `known`.
pub(crate) fn spec(prefix: &str, gateway: &str, known: u8) -> NetworkSpec {
    spec_with(
        Subnet {
            prefix: prefix.parse().unwrap(),
            gateway: ip(gateway),
            dynamic: None,
            reserved: BTreeMap::new(),
        },
        known,
    )
}

pub(crate) fn spec_with(subnet: Subnet, known: u8) -> NetworkSpec {
    let hosts: BTreeSet<HostId> = (1..=known).map(host).collect();
    NetworkSpec {
        name: "shop".parse().unwrap(),
        vni: Vni::new(300).unwrap(),
        creator: host(1),
        grants: plan_grants(POOL, &subnet, host(1), &hosts),
        subnets: vec![subnet],
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
        internal: false,
    }
}
