//! The MTU of a network's links, where its maker asks for one.
//!
//! A network has one MTU on every host. So what is refused does not depend on the host that is asked: a value above
//! what its own underlay carries serves containers of one host, and hosts whose underlay carries more; on a smaller
//! path the programs tell senders its size.

use std::collections::BTreeMap;

use shoal_schema::{NetworkSpec, Subnet};

use crate::Refusal;
use crate::pool::is_v6;

/// The driver option.
const OPTION: &str = "shoal.mtu";

/// What every IPv4 host must accept, bytes (RFC 791).
const V4_MIN: u16 = 576;

/// What IPv6 asks of every link, bytes (RFC 8200, section 5).
const V6_MIN: u16 = 1280;

/// The most that any underlay could carry between hosts, bytes: the largest IP packet less the 130 bytes that are kept
/// for the tunnel and its encryption.
pub const MTU_MAX: u16 = u16::MAX - 130;

/// The MTU that a network's option asks for, bytes; `None`: each host's own. So too for an option that cannot work,
/// which another host's fact may hold.
pub fn mtu_wanted(spec: &NetworkSpec) -> Option<u16> {
    asked(&spec.options, &spec.subnets).unwrap_or_default()
}

/// Refuses an option that cannot work.
pub(crate) fn check_mtu(options: &BTreeMap<String, String>, subnets: &[Subnet]) -> Result<(), Refusal> {
    asked(options, subnets).map(drop)
}

fn asked(options: &BTreeMap<String, String>, subnets: &[Subnet]) -> Result<Option<u16>, Refusal> {
    let Some(text) = options.get(OPTION) else { return Ok(None) };
    let v6 = subnets.iter().any(|subnet| is_v6(subnet.prefix));
    let (least, of) = if v6 { (V6_MIN, "a network with an IPv6 subnet") } else { (V4_MIN, "a network") };
    let mtu = text.parse().ok().filter(|mtu| (least..=MTU_MAX).contains(mtu));
    mtu.map(Some).ok_or_else(|| {
        let shown: String = text.chars().filter(|letter| !letter.is_control()).take(20).collect();
        Refusal(format!(
            "option {OPTION}={shown} cannot be the MTU of {of}: give a number from {least} to {MTU_MAX}, or leave it out to \
             have it from the underlay"
        ))
    })
}
