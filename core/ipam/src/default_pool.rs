//! Choosing a network's prefix, and checking one that was asked for.

use std::net::{Ipv4Addr, Ipv6Addr};

use shoal_schema::Taken;
use shoal_types::{HostId, IpNet, Ipv4Net, Ipv6Net, NetworkId};

use crate::derived::mix;

/// Why a prefix cannot be a network's subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolRefused {
    /// It overlaps something that a host uses.
    #[error("{prefix} cannot be used: it overlaps {taken} on host {} ({by}); choose another --subnet", host.short())]
    Overlap {
        /// The prefix asked for.
        prefix: IpNet,
        /// The host.
        host: HostId,
        /// What it uses.
        taken: IpNet,
        /// By what, for people.
        by: String,
    },
    /// It is no prefix: bits behind its length are set.
    #[error("{prefix} has bits set behind its prefix length: did you mean {meant}?")]
    HostBits {
        /// The prefix asked for.
        prefix: IpNet,
        /// The same without these bits.
        meant: IpNet,
    },
    /// It is, or contains, addresses that no container can have.
    #[error("{prefix} cannot be a network's subnet: {what} of {kept} cannot be given to containers")]
    Special {
        /// The prefix asked for.
        prefix: IpNet,
        /// What the addresses are for.
        what: &'static str,
        /// The addresses.
        kept: IpNet,
    },
}

/// Addresses with a meaning of their own (IANA special-purpose address registries, RFC 6890). 0.0.0.0/0 and ::/0
/// overlap them.
const SPECIAL: [(&str, IpNet); 8] = [
    ("the addresses of \"this network\"", v4(0, 8)),
    ("the loopback addresses", v4(127, 8)),
    ("the link-local addresses", IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16))),
    ("the multicast addresses", v4(224, 4)),
    ("the reserved addresses", v4(240, 4)),
    ("the unspecified, loopback and IPv4-mapped addresses", v6(0, 80)),
    ("the link-local addresses", v6(0xfe80, 10)),
    ("the multicast addresses", v6(0xff00, 8)),
];

const fn v4(first: u8, length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(first, 0, 0, 0), length))
}

const fn v6(first: u16, length: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0), length))
}

/// A free /16 for a network without `--subnet`: out of 10.64.0.0/10 first, then out of the rest of 10.0.0.0/8, in an
/// order that `seed` decides. `None` if all 256 overlap something.
///
/// `avoid`: routes and Docker networks of every host, pools of other networks. A default route in it counts for
/// nothing.
pub fn choose_default_pool(avoid: &[IpNet], seed: u64) -> Option<Ipv4Net> {
    let avoid: Vec<IpNet> = avoid.iter().copied().filter(|net| net.prefix_len() > 0).collect();
    let order = |first: u64, count: u64| (0..count).map(move |step| first + (mix(seed) + step * 37) % count);
    let rest = order(128, 192).map(|second| second % 256);
    let seconds = order(64, 64).chain(rest).filter_map(|second| u8::try_from(second).ok());
    let pools = seconds.filter_map(|second| Ipv4Net::new(Ipv4Addr::new(10, second, 0, 0), 16).ok());
    pools.into_iter().find(|pool| !avoid.iter().any(|net| overlap(net, &IpNet::V4(*pool))))
}

/// The IPv6 pool of a network without an IPv6 `--subnet`: a unique local /64 (RFC 4193) whose 56 bits behind fd are the
/// first of the network's id, which is random as that RFC wants them.
pub fn default_v6_pool(network: NetworkId) -> Ipv6Net {
    let [a, b, c, d, e, f, g, ..] = *network.bytes();
    let address = Ipv6Addr::from([0xfd, a, b, c, d, e, f, g, 0, 0, 0, 0, 0, 0, 0, 0]);
    Ipv6Net::new_assert(address, 64)
}

/// Checks a prefix that was asked for against what every host says it uses. A default route counts for nothing.
pub fn check_pool(prefix: IpNet, taken: &[(HostId, &Taken)]) -> Result<(), PoolRefused> {
    if prefix != prefix.trunc() {
        return Err(PoolRefused::HostBits { prefix, meant: prefix.trunc() });
    }
    if let Some((what, kept)) = SPECIAL.into_iter().find(|(_, kept)| overlap(&prefix, kept)) {
        return Err(PoolRefused::Special { prefix, what, kept });
    }
    let used = taken.iter().filter(|(_, taken)| taken.prefix.prefix_len() > 0);
    match used.into_iter().find(|(_, taken)| overlap(&prefix, &taken.prefix)) {
        None => Ok(()),
        Some((host, taken)) => {
            let by = taken.by.clone();
            Err(PoolRefused::Overlap { prefix, host: *host, taken: taken.prefix, by })
        }
    }
}

/// Two prefixes overlap when one contains the other.
fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn a_default_pool_avoids_what_is_in_use() {
        let avoid: Vec<IpNet> =
            vec![net("10.64.0.0/11"), net("10.96.0.0/12"), net("0.0.0.0/0"), net("10.112.0.0/13")];
        for seed in 0..500 {
            let pool = IpNet::V4(choose_default_pool(&avoid, seed).unwrap());
            assert!(net("10.120.0.0/13").contains(&pool), "{pool}");
        }
    }

    #[test]
    fn the_rest_of_10_slash_8_follows_when_the_preferred_part_is_used_up() {
        let pool = IpNet::V4(choose_default_pool(&[net("10.64.0.0/10")], 7).unwrap());
        assert!(net("10.0.0.0/8").contains(&pool) && !net("10.64.0.0/10").contains(&pool));
        let all_but_one: Vec<IpNet> =
            (0..=255).filter(|n| *n != 3).map(|n| net(&format!("10.{n}.0.0/16"))).collect();
        assert_eq!(choose_default_pool(&all_but_one, 7).map(IpNet::V4), Some(net("10.3.0.0/16")));
        assert_eq!(choose_default_pool(&[net("10.0.0.0/8")], 7), None);
    }

    #[test]
    fn seeds_lead_to_different_pools() {
        let pools: std::collections::BTreeSet<_> =
            (0..100).map(|seed| choose_default_pool(&[], seed)).collect();
        assert!(pools.len() > 30, "{}", pools.len());
    }

    #[test]
    fn the_ipv6_pool_comes_from_the_id() {
        assert_eq!(IpNet::V6(default_v6_pool(NetworkId::new([0xab; 16]))), net("fdab:abab:abab:abab::/64"));
    }

    #[test]
    fn an_overlap_names_the_host_and_what_uses_it() {
        let host = HostId::new([0xab; 16]);
        let taken = Taken { prefix: net("10.1.0.0/16"), by: "route via eth0".to_owned() };
        let default = Taken { prefix: net("0.0.0.0/0"), by: "route via eth0".to_owned() };
        let taken = [(host, &default), (host, &taken)];
        assert_eq!(check_pool(net("10.2.0.0/16"), &taken), Ok(()));
        assert_eq!(
            check_pool(net("10.0.0.0/8"), &taken).unwrap_err().to_string(),
            "10.0.0.0/8 cannot be used: it overlaps 10.1.0.0/16 on host abababab (route via eth0); choose another --subnet"
        );
        assert!(check_pool(net("10.1.2.0/24"), &taken).is_err());
    }

    #[test]
    fn prefixes_that_no_container_can_live_in_are_refused_in_a_sentence() {
        for text in ["0.0.0.0/0", "::/0", "127.0.0.0/24", "224.0.0.0/8", "fe80::/64", "ff02::/64", "::/64"] {
            assert!(matches!(check_pool(net(text), &[]), Err(PoolRefused::Special { .. })), "{text}");
        }
        assert_eq!(
            check_pool(net("10.1.2.3/24"), &[]).unwrap_err().to_string(),
            "10.1.2.3/24 has bits set behind its prefix length: did you mean 10.1.2.0/24?"
        );
        assert_eq!(check_pool(net("fd00::/64"), &[]), Ok(()));
    }
}
