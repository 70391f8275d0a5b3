//! Who holds which addresses, and why: for `shoal addresses` and `shoal doctor`.

use std::collections::{BTreeMap, BTreeSet};

use shoal_api::{AddressRange, AddressShare, Check, LeaseInfo};
use shoal_fabric::{HostState, LeaseView};
use shoal_ipam::Holding;
use shoal_types::{HostId, IpNet, NetworkId, PoolIndex};

use super::doctor::{right, wrong};
use super::owner::Agent;

impl Agent {
    pub(crate) fn addresses(&self) -> Vec<AddressShare> {
        let networks = self.fabric.networks();
        let now = self.at().now;
        let mut used: BTreeMap<(HostId, NetworkId, bool), u64> = BTreeMap::new();
        for (host, fact) in networks.remote_endpoints() {
            for v4 in [fact.v4.map(|_| true), fact.v6.map(|_| false)].into_iter().flatten() {
                *used.entry((host, fact.network, v4)).or_default() += 1;
            }
        }
        let forgotten: BTreeSet<HostId> = self.fabric.forgotten().into_iter().collect();
        let share = |holding: Holding| {
            let v4 = matches!(holding.prefix, IpNet::V4(_));
            let of_others = used.get(&(holding.host, holding.network, v4)).copied().unwrap_or(0);
            let ranges = holding.runs.iter().map(|(first, last)| AddressRange { first: *first, last: *last });
            let taken_from = self.fabric.taken_from(holding.host, holding.network, holding.pool);
            Some(AddressShare {
                network: networks.catalog().get(holding.network)?.name.clone(),
                subnet: holding.prefix,
                host: networks.host_name(holding.host).parse().ok()?,
                ranges: ranges.collect(),
                owned: number(holding.owned),
                spare: number(self.spare_of(holding.host, holding.network, holding.pool)),
                used: holding.local.map_or(of_others, |local| number(local.used)),
                resting: holding.local.map(|local| number(local.resting)),
                lease: self.fabric.lease_of(holding.host, now).map(|lease| lease_info(&lease)),
                forgotten: forgotten.contains(&holding.host),
                taken_from: taken_from.into_iter().map(|host| networks.host_name(host)).collect(),
            })
        };
        networks.ipam().holders(now).into_iter().filter_map(share).collect()
    }

    fn spare_of(&self, host: HostId, network: NetworkId, pool: PoolIndex) -> u128 {
        let spare = self.fabric.spare_of(host).into_iter();
        spare.filter(|(fact, _)| (fact.network, fact.pool) == (network, pool)).map(|(_, count)| count).sum()
    }

    /// Whether addresses are out of reach with a host that is away, and what brings them back.
    pub(crate) fn check_addresses(&self, checks: &mut Vec<Check>) {
        let now = self.at().now;
        let shares = self.fabric.networks().ipam().holders(now);
        let owned =
            |host: HostId| shares.iter().filter(|it| it.host == host).map(|it| number(it.owned)).sum::<u64>();
        for host in self.fabric.hosts().into_iter().filter(|host| host.state == HostState::Down) {
            let spare: u64 = self.fabric.spare_of(host.id).iter().map(|(_, count)| number(*count)).sum();
            let lease = self.fabric.lease_of(host.id, now).filter(|_| spare > 0);
            let (name, owned) = (&host.fact.name, owned(host.id));
            if owned > 0 {
                checks.push(right(
                    format!("addresses of host {name}"),
                    away(name.as_str(), owned, spare, lease),
                ));
            }
        }
        let waiting: u64 = self.fabric.forgotten().into_iter().map(owned).sum();
        if waiting > 0 {
            let networks = self.fabric.networks();
            let hosts = self.fabric.unaware_of_forgotten(now);
            let hosts: Vec<String> = hosts.into_iter().map(|host| networks.host_name(host)).collect();
            checks.push(wrong(
                "addresses of forgotten hosts",
                format!(
                    "{waiting} addresses come back when every host knows who is forgotten; not heard from: {}.",
                    hosts.join(", ")
                ),
                "Bring these hosts back, or forget them too: `shoal forget NAME`.",
            ));
        }
        let ended = |lease: &LeaseView| lease.left.is_some_and(|left| left.is_zero());
        if self.fabric.lease_of(self.fabric.me(), now).is_some_and(|lease| ended(&lease)) {
            checks.push(wrong(
                "lease on addresses",
                "Too few of the hosts that witness this host's lease answer: it hands out only what is in its reserve.",
                "`shoal hosts` shows who is not heard; bring them back, or forget those that are gone for good.",
            ));
        }
    }
}

/// What becomes of the addresses of a host that is away.
fn away(name: &str, owned: u64, spare: u64, lease: Option<LeaseView>) -> String {
    let rest = format!("come back when it returns or after `shoal forget {name}`");
    let Some(lease) = lease else { return format!("Host {name} is away; its {owned} addresses {rest}.") };
    match lease.left {
        None => format!(
            "Host {name} is away; its {owned} addresses {rest}: two hosts cannot know which of them is cut off."
        ),
        Some(left) => {
            let minutes = left.as_secs().div_ceil(60);
            format!(
                "Host {name} is away; {spare} of its {owned} addresses are spare and may be taken over by a majority in about \
                 {minutes} minutes, the others {rest}."
            )
        }
    }
}

fn lease_info(lease: &LeaseView) -> LeaseInfo {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    LeaseInfo {
        left_s: lease.left.map(|left| left.as_secs()),
        witnesses: count(lease.witnesses.len()),
        votes: count(lease.votes.len()),
    }
}

fn number(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
