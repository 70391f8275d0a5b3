//! Adding up what the programs counted.

use std::collections::BTreeMap;

use shoal_abi::{DropReason, LinkCounters as KernelCounters};
use shoal_links::{Kind, Links};
use shoal_ports::{Counters, Drops, KernelError, LinkCounters};
use shoal_types::LinkName;

use crate::maps::Maps;

/// Reads all counters. Those of links that are gone are left out.
pub(crate) fn read(links: &Links, maps: &Maps) -> Result<Counters, KernelError> {
    let devices = links.list()?;
    let pairs = devices.iter().filter(|device| matches!(device.kind, Kind::Pair { .. }));
    let names: BTreeMap<u32, &LinkName> = pairs.map(|device| (device.index, &device.name)).collect();
    let mut counters = Counters::default();
    for (ifindex, &name) in &names {
        let per_cpu = maps.link_counters.get_per_cpu(ifindex)?;
        counters.links.insert(name.clone(), sum(&per_cpu));
    }
    for key in maps.drops.keys() {
        let link = names.get(&key.ifindex).and_then(|&name| counters.links.get_mut(name));
        if let Some(link) = link {
            add(&mut link.drops, key.reason, maps.drops.get_per_cpu(&key)?.iter().sum());
        }
    }
    for reason in DropReason::ALL {
        let lost = maps.tunnel_drops.get_per_cpu(&reason.number())?.iter().sum();
        add(&mut counters.tunnel_drops, reason.number(), lost);
    }
    Ok(counters)
}

fn sum(per_cpu: &[KernelCounters]) -> LinkCounters {
    let mut sum = LinkCounters::default();
    for cpu in per_cpu {
        sum.sent_packets += cpu.sent_packets;
        sum.sent_bytes += cpu.sent_bytes;
        sum.received_packets += cpu.received_packets;
        sum.received_bytes += cpu.received_bytes;
    }
    sum
}

/// Adds a loss under its name; reasons of a newer program go under one name.
fn add(drops: &mut Drops, reason: u32, lost: u64) {
    if lost > 0 {
        *drops.entry(DropReason::from_number(reason).map_or("unknown", DropReason::name)).or_default() +=
            lost;
    }
}
