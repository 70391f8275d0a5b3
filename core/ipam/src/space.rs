//! The shape of a subnet: which addresses are owned by ranges, which are derived, which are nobody's to hand out.
//!
//! ```text
//! IPv4, IPv6 longer than /64     every address belongs to a host by a range
//! IPv6 of /64 or shorter         the last 64 bits of an address, after the prefix and zeros:
//!     0 in 40 bits | 24 bits     ::0 to ::ff:ffff, what people type: ranges, as above
//!     h in 40 bits | 24 bits     the host whose derived number is h, see `derived.rs`
//!     all else                   never used
//! ```
//!
//! A subnet has no container at its network and broadcast address (IPv4 up to /30; a /31 and a /32 have none, RFC 3021)
//! nor at the subnet-router anycast address (IPv6 up to /126, RFC 4291 section 2.6.1; a /127 has none, RFC 6164).

use std::collections::BTreeMap;
use std::net::IpAddr;

use shoal_schema::Subnet;
use shoal_types::IpNet;

use crate::run::{Family, Run, number};

/// Bits of an IPv6 address below a host's derived number.
pub(crate) const COUNTER_BITS: u32 = 24;

/// A subnet in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) prefix: IpNet,
    pub(crate) family: Family,
    /// The addresses that ranges cover.
    pub(crate) given: Run,
    /// The 64-bit network in which hosts derive their ranges.
    pub(crate) derives: bool,
    /// The part from which addresses are chosen; `None`: all.
    pub(crate) dynamic: Option<Run>,
    /// Addresses that no container gets unless it is told to, ascending.
    kept: BTreeMap<u128, Kept>,
}

/// Why an address is kept from containers; of several reasons the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kept {
    Gateway,
    Reserved(String),
    Network,
    Broadcast,
}

impl Space {
    pub(crate) fn new(subnet: &Subnet) -> Self {
        let whole = Run::of_prefix(&subnet.prefix);
        let derives = matches!(subnet.prefix, IpNet::V6(net) if net.prefix_len() <= 64);
        let last = if derives { whole.first() | ((1 << COUNTER_BITS) - 1) } else { whole.last() };
        Self {
            prefix: subnet.prefix,
            family: Family::of(subnet.prefix.addr()),
            given: Run::new(whole.first(), last).unwrap_or(whole),
            derives,
            dynamic: subnet.dynamic.map(|dynamic| Run::of_prefix(&dynamic)),
            kept: kept(subnet, whole),
        }
    }

    pub(crate) fn address(&self, number: u128) -> IpAddr {
        self.family.address(number)
    }

    /// The number of an address of this subnet.
    pub(crate) fn number(&self, address: IpAddr) -> Option<u128> {
        self.prefix.contains(&address).then(|| number(address))
    }

    /// A run between two addresses, as far as ranges cover it.
    pub(crate) fn given_between(&self, first: IpAddr, last: IpAddr) -> Option<Run> {
        let same = Family::of(first) == self.family && Family::of(last) == self.family;
        if same { Run::between(first, last)?.overlap(&self.given) } else { None }
    }

    pub(crate) fn kept(&self, number: u128) -> Option<&Kept> {
        self.kept.get(&number)
    }

    /// Addresses of a run that no container gets, ascending.
    pub(crate) fn kept_in(&self, run: Run) -> impl Iterator<Item = u128> + '_ {
        self.kept.range(run.first()..=run.last()).map(|(number, _)| *number)
    }

    /// How many addresses of a run containers may get.
    pub(crate) fn usable_in(&self, run: Run) -> u128 {
        run.size() - self.kept_in(run).count() as u128
    }

    /// The part of a run from which addresses are chosen.
    pub(crate) fn dynamic_in(&self, run: Run) -> Option<Run> {
        self.dynamic.map_or(Some(run), |dynamic| dynamic.overlap(&run))
    }

    /// The part of the ranges from which addresses are chosen.
    pub(crate) fn dynamic_given(&self) -> Option<Run> {
        self.dynamic_in(self.given)
    }

    /// Whether addresses are chosen from ranges that are given; else they are for wishes, and hosts choose from what
    /// they derive.
    pub(crate) fn chooses_given(&self) -> bool {
        !self.derives || self.dynamic.is_some()
    }

    /// A host's derived range. Its first address stays out, so that people see `:1` first.
    pub(crate) fn derived(&self, derived: u64) -> Option<Run> {
        let first = self.given.first() | (u128::from(derived) << COUNTER_BITS);
        let run = Run::new(first + 1, first | ((1 << COUNTER_BITS) - 1));
        if self.derives { run } else { None }
    }
}

fn kept(subnet: &Subnet, whole: Run) -> BTreeMap<u128, Kept> {
    let mut kept = BTreeMap::new();
    match subnet.prefix {
        IpNet::V4(net) if net.prefix_len() <= 30 => {
            kept.insert(whole.first(), Kept::Network);
            kept.insert(whole.last(), Kept::Broadcast);
        }
        IpNet::V6(net) if net.prefix_len() <= 126 => {
            kept.insert(whole.first(), Kept::Network);
        }
        IpNet::V4(_) | IpNet::V6(_) => {}
    }
    for (name, address) in &subnet.reserved {
        kept.insert(number(*address), Kept::Reserved(name.clone()));
    }
    kept.insert(number(subnet.gateway), Kept::Gateway);
    kept
}
