//! Networks: the one nested message.

use std::collections::BTreeMap;

use shoal_types::{IpNet, NetworkId, PoolIndex, Stamp, Vni, WallTime};

use super::{Checked, address, address_bytes, check, host, last, pairs, prefix, some};
use crate::wire::{limit, message};
use crate::{Grant, NetworkFact, NetworkSpec, Subnet};

impl From<&NetworkFact> for message::Network {
    fn from(fact: &NetworkFact) -> Self {
        Self {
            stamp_wall: fact.stamp.wall.as_millis(),
            stamp_logical: fact.stamp.logical,
            spec: fact.spec.as_ref().map(message::Spec::from),
            heard_wall: fact.heard.wall.as_millis(),
            heard_logical: fact.heard.logical,
        }
    }
}

impl message::Network {
    pub(in crate::wire) fn fact(self, id: NetworkId) -> Checked<NetworkFact> {
        let stamp = Stamp { wall: WallTime::from_millis(self.stamp_wall), logical: self.stamp_logical };
        let heard = Stamp { wall: WallTime::from_millis(self.heard_wall), logical: self.heard_logical };
        Ok(NetworkFact { id, stamp, heard, spec: self.spec.map(message::Spec::spec).transpose()? })
    }
}

impl From<&NetworkSpec> for message::Spec {
    fn from(spec: &NetworkSpec) -> Self {
        Self {
            name: spec.name.as_str().to_owned(),
            vni: spec.vni.get(),
            creator: spec.creator.bytes().to_vec(),
            subnets: spec.subnets.iter().map(message::Subnet::from).collect(),
            grants: spec.grants.iter().map(message::Grant::from).collect(),
            options: pair_list(&spec.options),
            labels: pair_list(&spec.labels),
            internal: spec.internal,
        }
    }
}

impl message::Spec {
    fn spec(self) -> Checked<NetworkSpec> {
        check((1..=limit::SUBNETS_MAX).contains(&self.subnets.len()), "subnets", "1 to 16 are expected")?;
        check(self.grants.len() <= limit::GRANTS_MAX, "grants", "more than 8,192")?;
        check(self.options.len() <= limit::OPTIONS_MAX, "options", "more than 64")?;
        check(self.labels.len() <= limit::LABELS_MAX, "labels", "more than 256")?;
        let subnets = self.subnets.into_iter().map(message::Subnet::subnet).collect::<Checked<Vec<_>>>()?;
        let v4_first = subnets.is_sorted_by_key(|subnet| matches!(subnet.prefix, IpNet::V6(_)));
        check(v4_first, "subnets", "IPv4 stands before IPv6")?;
        let grants = self.grants.into_iter().map(|grant| grant.grant(&subnets)).collect::<Checked<_>>()?;
        Ok(NetworkSpec {
            name: some(self.name.parse().ok(), "name", "not a network's name")?,
            vni: some(Vni::new(self.vni), "vni", "more than 24 bits")?,
            creator: host(&self.creator, "creator")?,
            subnets,
            grants,
            options: pair_map(self.options, "options")?,
            labels: pair_map(self.labels, "labels")?,
            internal: self.internal,
        })
    }
}

impl From<&Subnet> for message::Subnet {
    fn from(subnet: &Subnet) -> Self {
        let reserved = subnet.reserved.iter().map(|(name, address)| message::Reserved {
            name: name.clone(),
            address: address_bytes(*address),
        });
        Self {
            prefix: Some(subnet.prefix.into()),
            gateway: address_bytes(subnet.gateway),
            dynamic: subnet.dynamic.map(message::Prefix::from),
            reserved: reserved.collect(),
        }
    }
}

impl message::Subnet {
    fn subnet(self) -> Checked<Subnet> {
        let net = prefix(self.prefix, "prefix")?;
        check(net == net.trunc(), "prefix", "host bits are set")?;
        let gateway = address(&self.gateway, "gateway")?;
        check(net.contains(&gateway), "gateway", "outside its subnet")?;
        let dynamic = self.dynamic.map(|dynamic| prefix(Some(dynamic), "dynamic")).transpose()?;
        let inside = dynamic.is_none_or(|dynamic| dynamic == dynamic.trunc() && net.contains(&dynamic));
        check(inside, "dynamic", "outside its subnet, or host bits are set")?;
        check(self.reserved.len() <= limit::RESERVED_MAX, "reserved", "more than 256")?;
        let reserved = self.reserved.into_iter().map(|reserved| {
            let address = address(&reserved.address, "reserved")?;
            check(net.contains(&address), "reserved", "outside its subnet")?;
            Ok((reserved.name, address))
        });
        Ok(Subnet { prefix: net, gateway, dynamic, reserved: pairs(reserved, "reserved")? })
    }
}

impl From<&Grant> for message::Grant {
    fn from(grant: &Grant) -> Self {
        Self {
            pool: grant.pool.0.into(),
            first: address_bytes(grant.first),
            last: address_bytes(grant.last),
            to: grant.to.bytes().to_vec(),
        }
    }
}

impl message::Grant {
    fn grant(self, subnets: &[Subnet]) -> Checked<Grant> {
        let pool = some(u8::try_from(self.pool).ok(), "grants", "a pool that the network has not")?;
        let subnet = some(subnets.get(usize::from(pool)), "grants", "a pool that the network has not")?;
        let first = address(&self.first, "grants")?;
        let last = last(first, &self.last)?;
        let inside = subnet.prefix.contains(&first) && subnet.prefix.contains(&last);
        check(inside, "grants", "outside its subnet")?;
        Ok(Grant { pool: PoolIndex(pool), first, last, to: host(&self.to, "grants")? })
    }
}

fn pair_list(pairs: &BTreeMap<String, String>) -> Vec<message::Pair> {
    pairs.iter().map(|(name, value)| message::Pair { name: name.clone(), value: value.clone() }).collect()
}

fn pair_map(list: Vec<message::Pair>, field: &'static str) -> Checked<BTreeMap<String, String>> {
    let checked = list.into_iter().map(|pair| {
        let small = pair.value.len() <= limit::PAIR_VALUE_BYTES_MAX;
        check(small, field, "a value is longer than 4,096 bytes")?;
        Ok((pair.name, pair.value))
    });
    pairs(checked, field)
}
