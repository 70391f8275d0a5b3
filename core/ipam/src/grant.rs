//! How a new network's pool is split at its creation.

use std::collections::BTreeSet;

use shoal_schema::{Grant, Subnet};
use shoal_types::{HostId, PoolIndex};

use crate::Run;
use crate::space::Space;

/// Addresses that one host is given at a network's creation, at most.
pub const SHARE_MAX: u128 = 4096;

/// The grants of one subnet: together they cover every address that ranges cover, each once.
///
/// Every host but the creator gets one block: half of the addresses in equal shares, each a power of two and aligned
/// to its size, at most [`SHARE_MAX`]. If half is not enough for one each, but all addresses are, each gets one; if
/// even those do not suffice, the creator keeps everything and gives on request. Blocks lie at the upper end, the
/// lowest host id first, and inside `--ip-range` if there is one. At most two grants per host, plus three.
///
/// The typed addresses of an IPv6 pool of /64 or shorter are for wishes, which name single low addresses: they all
/// stay with the creator, who gives each to the first who wishes for it, unless `--ip-range` makes them an ordinary
/// pool.
pub fn plan_grants(
    pool: PoolIndex,
    subnet: &Subnet,
    creator: HostId,
    hosts: &BTreeSet<HostId>,
) -> Vec<Grant> {
    let space = Space::new(subnet);
    let others: Vec<HostId> = hosts.iter().copied().filter(|host| *host != creator).collect();
    let shared = if space.chooses_given() { space.dynamic_given() } else { None };
    let mut blocks = shared.map_or_else(Vec::new, |part| blocks(&space, part, others.len()));
    blocks.reverse();
    let mut left = vec![space.given];
    for block in &blocks {
        left = left.iter().flat_map(|run| run.without(block)).flatten().collect();
    }
    let granted = blocks.into_iter().zip(others);
    let mut grants: Vec<(Run, HostId)> = granted.chain(left.into_iter().map(|run| (run, creator))).collect();
    grants.sort();
    let grant = |(run, to): (Run, HostId)| Grant {
        pool,
        first: space.address(run.first()),
        last: space.address(run.last()),
        to,
    };
    grants.into_iter().map(grant).collect()
}

/// Aligned blocks for so many hosts from the upper end of `part` downwards, each with a usable address; none if there
/// are not enough.
fn blocks(space: &Space, part: Run, hosts: usize) -> Vec<Run> {
    let usable = space.usable_in(part);
    // A few kept addresses must not push the shares to the next smaller power of two.
    let counted = if usable >= part.size() / 4 * 3 { part.size() } else { usable };
    let Some(fair) = (counted / 2).checked_div(hosts as u128) else { return Vec::new() };
    if usable <= hosts as u128 {
        return Vec::new();
    }
    let share = fair.clamp(1, SHARE_MAX);
    let share = 1 << share.ilog2();
    let mut blocks = Vec::with_capacity(hosts);
    // Aligned downwards: a prefix is at least as large as a share, so its end is the end of a block.
    let mut end = Some(part.last());
    while let Some(last) = end.filter(|_| blocks.len() < hosts) {
        let first = last.checked_sub(share - 1).filter(|first| *first >= part.first());
        let Some(block) = first.and_then(|first| Run::new(first, last)) else { break };
        if space.usable_in(block) > 0 {
            blocks.push(block);
        }
        end = block.first().checked_sub(1);
    }
    blocks
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{Claim, Ownership};

    fn host(id: u8) -> HostId {
        HostId::new([id; 16])
    }

    fn subnet(prefix: &str, gateway: &str) -> Subnet {
        Subnet {
            prefix: prefix.parse().unwrap(),
            gateway: gateway.parse().unwrap(),
            dynamic: None,
            reserved: BTreeMap::new(),
        }
    }

    /// The grants as text: "first-last host".
    fn planned(subnet: &Subnet, hosts: u8) -> Vec<String> {
        let hosts = (1..=hosts).map(host).collect();
        let grants = plan_grants(PoolIndex(0), subnet, host(1), &hosts);
        grants.iter().map(|g| format!("{}-{} {}", g.first, g.last, g.to.bytes()[0])).collect()
    }

    #[test]
    fn half_of_a_pool_goes_in_equal_aligned_blocks_to_the_others() {
        assert_eq!(
            planned(&subnet("10.64.0.0/24", "10.64.0.1"), 4),
            [
                "10.64.0.0-10.64.0.159 1",
                "10.64.0.160-10.64.0.191 2",
                "10.64.0.192-10.64.0.223 3",
                "10.64.0.224-10.64.0.255 4",
            ]
        );
    }

    #[test]
    fn gateway_and_broadcast_address_do_not_halve_the_shares() {
        assert_eq!(
            planned(&subnet("10.64.0.0/24", "10.64.0.1"), 3),
            ["10.64.0.0-10.64.0.127 1", "10.64.0.128-10.64.0.191 2", "10.64.0.192-10.64.0.255 3",]
        );
    }

    #[test]
    fn a_share_is_at_most_4096_addresses() {
        assert_eq!(
            planned(&subnet("10.0.0.0/8", "10.0.0.1"), 2),
            ["10.0.0.0-10.255.239.255 1", "10.255.240.0-10.255.255.255 2",]
        );
    }

    #[test]
    fn a_host_alone_keeps_everything() {
        assert_eq!(planned(&subnet("10.64.0.0/24", "10.64.0.1"), 1), ["10.64.0.0-10.64.0.255 1"]);
    }

    #[test]
    fn small_pools_give_one_each_or_stay_with_their_creator() {
        assert_eq!(
            planned(&subnet("10.64.0.0/29", "10.64.0.1"), 5),
            [
                "10.64.0.0-10.64.0.2 1",
                "10.64.0.3-10.64.0.3 2",
                "10.64.0.4-10.64.0.4 3",
                "10.64.0.5-10.64.0.5 4",
                "10.64.0.6-10.64.0.6 5",
                "10.64.0.7-10.64.0.7 1",
            ]
        );
        assert_eq!(planned(&subnet("10.64.0.0/29", "10.64.0.1"), 6), ["10.64.0.0-10.64.0.7 1"]);
        assert_eq!(planned(&subnet("10.64.0.0/30", "10.64.0.1"), 3), ["10.64.0.0-10.64.0.3 1"]);
        assert_eq!(planned(&subnet("10.64.0.0/31", "10.64.0.0"), 2), ["10.64.0.0-10.64.0.1 1"]);
        assert_eq!(planned(&subnet("10.64.0.0/32", "10.64.0.0"), 2), ["10.64.0.0-10.64.0.0 1"]);
    }

    #[test]
    fn the_blocks_lie_in_the_dynamic_part() {
        let mut subnet = subnet("10.64.0.0/24", "10.64.0.1");
        subnet.dynamic = Some("10.64.0.64/26".parse().unwrap());
        assert_eq!(
            planned(&subnet, 2),
            ["10.64.0.0-10.64.0.95 1", "10.64.0.96-10.64.0.127 2", "10.64.0.128-10.64.0.255 1",]
        );
    }

    #[test]
    fn of_a_large_ipv6_pool_only_the_typed_addresses_are_granted() {
        assert_eq!(planned(&subnet("fd00::/64", "fd00::1"), 2), ["fd00::-fd00::ff:ffff 1"]);
        let mut ranged = subnet("fd00::/64", "fd00::1");
        ranged.dynamic = Some("fd00::/104".parse().unwrap());
        assert_eq!(planned(&ranged, 2), ["fd00::-fd00::ff:efff 1", "fd00::ff:f000-fd00::ff:ffff 2"]);
    }

    #[test]
    fn the_ends_of_the_address_space_are_no_trap() {
        assert_eq!(planned(&subnet("255.255.255.248/29", "255.255.255.249"), 2).len(), 2);
        assert_eq!(planned(&subnet("0.0.0.0/29", "0.0.0.1"), 2).len(), 2);
        let top =
            subnet("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff0/124", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        assert_eq!(planned(&top, 5).len(), 5, "the gateway stands at the very end");
    }

    proptest! {
        #[test]
        fn grants_cover_every_address_once_and_treat_hosts_alike(
            bits in any::<u32>(),
            length in 8_u8..=32,
            hosts in 1_u8..=40,
            narrow in 0_u8..4,
        ) {
            let net = shoal_types::Ipv4Net::new(bits.into(), length).unwrap().trunc();
            let mut subnet = subnet(&net.to_string(), &net.hosts().next().unwrap().to_string());
            let inner = shoal_types::Ipv4Net::new(net.network(), (length + narrow).min(32)).unwrap();
            subnet.dynamic = (narrow > 0).then(|| inner.into());
            let (space, mut map) = (Space::new(&subnet), Ownership::default());
            let grants = plan_grants(PoolIndex(0), &subnet, host(1), &(1..=hosts).map(host).collect());
            prop_assert!(grants.len() <= 2 * usize::from(hosts) + 3);
            for grant in &grants {
                let run = Run::between(grant.first, grant.last).unwrap();
                let before: u128 = map.within(run).map(|(run, _)| run.size()).sum();
                prop_assert_eq!(before, 0);
                map.merge(run, Claim { epoch: 0, owner: grant.to });
            }
            let covered: u128 = map.iter().map(|(run, _)| run.size()).sum();
            prop_assert_eq!(covered, space.given.size());
            let size = |host| map.runs_of(host).iter().map(Run::size).sum::<u128>();
            for other in 3..=hosts {
                prop_assert_eq!(size(host(other)), size(host(2)));
            }
        }
    }
}
