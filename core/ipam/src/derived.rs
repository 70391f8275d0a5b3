//! IPv6 ranges that need no coordination: each host's range follows from its id.
//!
//! In a pool of /64 or shorter a host owns the 2^24 addresses whose host part begins with 40 bits made from its id:
//!
//! ```text
//! fd4c:82b1:90aa:7d11 : abcd:ef01:23 | 00:0001
//! prefix, then zeros    40 bits of id   counter
//! ```
//!
//! With salt 0 those are the id's first five bytes, so a person who knows a host's short id sees it in the address.
//! Ids are hashes, so among n hosts the probability that any two collide is about n² / 2^41: four in a million for
//! 3,000 hosts. Should two collide, the one with the greater id moves on to the next salt as soon as it knows of the
//! other. What both had handed out before that stays as it is; this is the one case in which one address can be held
//! twice.

use std::collections::{BTreeMap, BTreeSet};

use shoal_types::HostId;

/// Bits of a derived number.
const DERIVED_BITS: u32 = 40;

/// A host's derived number: 40 bits, never one that stands for typed addresses (0) or for anycast (RFC 2526).
pub fn derived_prefix(host: HostId, salt: u32) -> u64 {
    let mut derived = 0;
    for try_salt in (0..).map(|tries: u32| salt.wrapping_add(tries)) {
        derived = derive(host, try_salt);
        if ![0, 0xff_ffff_ffff, 0xfd_ffff_ffff].contains(&derived) {
            break;
        }
    }
    derived
}

/// The derived number of `me` among `hosts`: in the order of their ids, each takes the first one that is free.
pub(crate) fn derived_among(me: HostId, hosts: &BTreeSet<HostId>) -> u64 {
    let mut taken: BTreeMap<u64, HostId> = BTreeMap::new();
    for host in hosts.range(..me).chain([&me]) {
        let free = (0..).map(|salt| derived_prefix(*host, salt)).find(|derived| !taken.contains_key(derived));
        taken.insert(free.unwrap_or_default(), *host);
    }
    taken
        .into_iter()
        .find(|(_, host)| *host == me)
        .map_or_else(|| derived_prefix(me, 0), |(derived, _)| derived)
}

fn derive(host: HostId, salt: u32) -> u64 {
    let id = u128::from_be_bytes(*host.bytes());
    if salt == 0 {
        return (id >> (128 - DERIVED_BITS)) as u64;
    }
    let (high, low) = ((id >> 64) as u64, id as u64);
    mix(high ^ mix(low ^ mix(u64::from(salt)))) >> (64 - DERIVED_BITS)
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
pub(crate) fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(first: &[u8], last: u8) -> HostId {
        let mut bytes = [last; 16];
        bytes[..first.len()].copy_from_slice(first);
        HostId::new(bytes)
    }

    #[test]
    fn a_derived_number_shows_the_id() {
        assert_eq!(derived_prefix(host(&[0xab, 0xcd, 0xef, 0x01, 0x23], 7), 0), 0xab_cdef_0123);
    }

    #[test]
    fn a_number_with_a_meaning_of_its_own_is_passed_over() {
        for bytes in [[0; 5], [0xff; 5], [0xfd, 0xff, 0xff, 0xff, 0xff]] {
            let derived = derived_prefix(host(&bytes, 7), 0);
            assert_eq!(derived, derived_prefix(host(&bytes, 7), 1));
            assert!(derived < 1 << DERIVED_BITS);
        }
    }

    #[test]
    fn of_two_hosts_that_collide_the_greater_one_moves() {
        let (low, high) = (host(&[9; 5], 1), host(&[9; 5], 2));
        let hosts = BTreeSet::from([low, high]);
        assert_eq!(derived_among(low, &hosts), derived_prefix(low, 0));
        assert_eq!(derived_among(high, &hosts), derived_prefix(high, 1));
        assert_eq!(derived_among(high, &BTreeSet::new()), derived_prefix(high, 0));
    }
}
