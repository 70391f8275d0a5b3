//! Adding up what the programs counted, and asking WireGuard for its own figures.

use std::collections::BTreeMap;

use shoal_abi::{DropReason, LinkCounters as KernelCounters};
use shoal_links::{Device, Kind};
use shoal_ports::{Counters, Drops, KernelError, LinkCounters};
use shoal_types::LinkName;

use crate::HostKernel;

impl HostKernel {
    /// Reads all counters. Those of links that are gone are left out, and of tunnels that cannot be read.
    pub(crate) fn read_counters(&self) -> Result<Counters, KernelError> {
        let devices = self.links.list()?;
        let (pairs, tunnels): (Vec<_>, Vec<_>) =
            devices.iter().partition(|device| matches!(device.kind, Kind::Pair { .. }));
        let names: BTreeMap<u32, &LinkName> =
            pairs.iter().map(|device| (device.index, &device.name)).collect();
        let mut counters = Counters::default();
        for (ifindex, &name) in &names {
            let per_cpu = self.maps.link_counters.get_per_cpu(ifindex)?;
            counters.links.insert(name.clone(), sum(&per_cpu));
        }
        for key in self.maps.drops.keys() {
            let link = names.get(&key.ifindex).and_then(|&name| counters.links.get_mut(name));
            if let Some(link) = link {
                add(&mut link.drops, key.reason, self.maps.drops.get_per_cpu(&key)?.iter().sum());
            }
        }
        for reason in DropReason::ALL {
            let lost = self.maps.tunnel_drops.get_per_cpu(&reason.number())?.iter().sum();
            add(&mut counters.tunnel_drops, reason.number(), lost);
        }
        tunnels.into_iter().for_each(|device| self.add_wireguard(device, &mut counters));
        Ok(counters)
    }

    /// A tunnel that gives no answer is what `observe` tells; the other figures are worth having without it.
    fn add_wireguard(&self, device: &Device, counters: &mut Counters) {
        let Ok(Ok(tunnel)) = self.tunnels.read(&self.links, device) else { return };
        if tunnel.wireguard().is_none() {
            return;
        }
        let peers = self.tunnels.peers(&device.name, &tunnel).unwrap_or_else(|error| {
            tracing::debug!(%error, "no figures of a tunnel");
            BTreeMap::new()
        });
        let figures = peers.into_iter().map(|(key, (_, status))| ((device.name.clone(), key), status));
        counters.wireguard.extend(figures);
        for (reason, lost) in self.tunnels.drops(&device.name, &tunnel) {
            *counters.encryption_drops.entry(reason).or_default() += lost;
        }
    }
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
