//! Encrypted tunnels: carries what `core/tunnels` decides, and tells it what this host reads of its devices.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use shoal_plan::{RelayPlan, Tunnel, WireGuard};
use shoal_planner::{ContactView, EndView};
use shoal_schema::{Fact, FactKey, FactKind};
use shoal_trust::preshared;
use shoal_tunnels::{Effect as TunnelsEffect, KeyPair, Making, OtherEnd, Own, Status};
use shoal_types::{HostId, LinkName, Moment, WireGuardKey, WireGuardSecret};

use crate::{At, Effect, Fabric};

/// How this host makes tunnel devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalTunnels {
    /// What the names of tunnel devices begin with; see [`LinkName`] for the room there is.
    pub prefix: String,
    /// UDP port of VXLAN in clear.
    pub vxlan_port: u16,
    /// How encrypted ends are made.
    pub making: Making,
    /// How long a key is used.
    pub key_lifetime: Duration,
    /// UDP port on the loopback device where the agent takes packets for ends that cannot be met.
    pub relay_port: u16,
}

impl LocalTunnels {
    /// The device of an encrypted end. Two ends that stand side by side have generations that follow each other.
    fn device(&self, generation: u32) -> Option<LinkName> {
        format!("{}{}", self.prefix, generation % 2).parse().ok()
    }
}

impl Fabric {
    /// Takes the pair of keys that [`Effect::DrawTunnelKeys`] asked for.
    pub fn tunnel_keys(&mut self, keys: KeyPair, at: At) -> Vec<Effect> {
        if self.member.is_none() {
            return Vec::new();
        }
        let (making, secret) = (self.local.tunnels.making.clone(), self.fabric_secret());
        let effects = self.tunnels.begin(keys, making, secret, at.now, at.wall);
        self.carry_tunnels(effects, at)
    }

    /// Takes what was read of this host's encrypted devices, by device and the other end's key.
    pub fn tunnel_statuses(
        &mut self,
        statuses: BTreeMap<(LinkName, WireGuardKey), Status>,
        at: At,
    ) -> Vec<Effect> {
        let devices: BTreeMap<LinkName, u32> =
            self.own_devices().map(|(name, end)| (name, end.generation)).collect();
        let by_generation = statuses
            .into_iter()
            .filter_map(|((device, key), status)| Some(((*devices.get(&device)?, key), status)));
        let observed = self.tunnels.observe(&by_generation.collect(), at.now);
        let mut effects = self.carry_tunnels(observed, at);
        effects.extend(self.tick_tunnels(at));
        crate::carry::saves_first(effects)
    }

    /// Asks for a change of this host's key.
    ///
    /// # Errors
    /// A sentence, if this host belongs to no fabric or a change is under way.
    pub fn rotate_keys(&mut self, at: At) -> Result<Vec<Effect>, String> {
        if self.member.is_none() {
            return Err("this host belongs to no fabric yet, so it has no key to change".into());
        }
        self.tunnels.rotate()?;
        Ok(self.tick_tunnels(at))
    }

    /// Encrypted tunnels, for those who show them.
    pub fn tunnels(&self) -> &shoal_tunnels::Tunnels {
        &self.tunnels
    }

    /// The device through which this host sends to encrypted networks.
    pub fn sending_device(&self) -> Option<LinkName> {
        self.local.tunnels.device(self.tunnels.serving()?.generation)
    }

    /// The device for networks in clear and its UDP port, while some network asks for it.
    pub fn clear_device(&self) -> Option<(LinkName, u16)> {
        let LocalTunnels { prefix, vxlan_port, .. } = &self.local.tunnels;
        let is_wanted = self.networks.catalog().iter().any(|(_, spec)| shoal_networks::is_in_clear(spec));
        let name = is_wanted.then(|| format!("{prefix}-clear").parse().ok()).flatten()?;
        Some((name, *vxlan_port))
    }

    /// What the carrier of relayed packets must know.
    pub fn relay_plan(&self, now: Moment) -> RelayPlan {
        if self.member.is_none() {
            return RelayPlan::default();
        }
        self.tunnels.relay_plan(|host| self.addresses_of(host), now)
    }

    pub(crate) fn tick_tunnels(&mut self, at: At) -> Vec<Effect> {
        let Some(member) = &self.member else { return Vec::new() };
        if member.trust.forgotten.contains(&self.me) {
            return Vec::new();
        }
        let LocalTunnels { making, key_lifetime, .. } = &self.local.tunnels;
        let effects = self.tunnels.tick(&member.alive, making, *key_lifetime, at.now, at.wall);
        self.carry_tunnels(effects, at)
    }

    pub(crate) fn carry_tunnels(&mut self, effects: Vec<TunnelsEffect>, at: At) -> Vec<Effect> {
        let (mut carried, mut edits) = (Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                TunnelsEffect::Save(key, value) => {
                    carried.push(Effect::Save { writes: vec![(key, value)], durable: true });
                }
                TunnelsEffect::Publish(fact) => {
                    let fact = Fact::Tunnel(fact);
                    edits.push((fact.key().into_bytes(), Some(fact.encode())));
                }
                TunnelsEffect::Sight(fact) => {
                    let fact = Fact::Sighting(fact);
                    edits.push((fact.key().into_bytes(), Some(fact.encode())));
                }
                TunnelsEffect::Withdraw(key) => edits.push((key.into_bytes(), None)),
                TunnelsEffect::DrawKeys => carried.push(Effect::DrawTunnelKeys),
                TunnelsEffect::ProjectSoon => carried.push(Effect::ProjectSoon),
                TunnelsEffect::Notice(sentence) => carried.push(Effect::Notice(sentence)),
            }
        }
        carried.extend(self.publish(edits, at));
        crate::carry::saves_first(carried)
    }

    /// Tells of this host's ends what its records say, and no more: what an older state of this host said is taken
    /// back.
    pub(crate) fn publish_ends(&mut self, at: At) -> Vec<Effect> {
        let facts: Vec<Fact> = self.tunnels.facts().into_iter().map(Fact::Tunnel).collect();
        let known: Vec<FactKey> = facts.iter().map(Fact::key).collect();
        let old = self.own_facts(FactKey::kind_prefix(FactKind::Tunnel));
        let stale = old.iter().map(Fact::key).filter(|key| !known.contains(key));
        let mut edits: Vec<_> = stale.map(|key| (key.into_bytes(), None)).collect();
        edits.extend(facts.iter().map(|fact| (fact.key().into_bytes(), Some(fact.encode()))));
        self.publish(edits, at)
    }

    /// The fabric's secret, as the member with the lowest id tells it; all tell the same.
    fn fabric_secret(&self) -> Option<WireGuardSecret> {
        let facts = &self.member.as_ref()?.facts;
        let told = facts.iter_prefix(FactKey::kind_prefix(FactKind::Secret));
        let decoded = told.filter_map(|(_, key, value)| Fact::decode(key, value).ok());
        decoded.filter_map(|fact| if let Fact::Secret(it) = fact { Some(it.secret) } else { None }).next()
    }

    /// Whether the plan may have changed.
    pub(crate) fn learn_of_tunnels(&mut self, author: HostId, fact: &Fact, now: Moment) -> bool {
        match fact {
            Fact::Tunnel(end) => self.tunnels.learn(author, end.clone()),
            Fact::Host(host) => self.tunnels.place(author, host.addresses.clone()),
            Fact::Sighting(sighting) => self.tunnels.sight(author, sighting, now),
            _ => false,
        }
    }

    /// The reverse of [`Fabric::learn_of_tunnels`].
    pub(crate) fn unlearn_of_tunnels(&mut self, author: HostId, fact: &Fact) -> bool {
        match fact {
            Fact::Tunnel(end) => self.tunnels.unlearn(author, end.generation),
            Fact::Host(_) => self.tunnels.place(author, Vec::new()),
            Fact::Sighting(sighting) => self.tunnels.unsight(author, sighting.host, sighting.generation),
            _ => false,
        }
    }

    /// This host's tunnel devices: every encrypted end, and one in clear while a network asks for it.
    pub(crate) fn tunnel_devices(&self) -> BTreeMap<LinkName, Tunnel> {
        let mtu = shoal_planner::mtu_in_tunnel(self.local.underlay_mtu);
        let encrypted = self.own_devices().map(|(name, end)| {
            let wireguard = WireGuard {
                backend: end.making.backend,
                secret: end.keys.secret.clone(),
                address: shoal_tunnels::tunnel_address(self.me, end.generation),
                port: end.port(),
                mtu,
            };
            (name, Tunnel::Encrypted(wireguard))
        });
        let clear = self.clear_device().map(|(name, port)| (name, Tunnel::Clear { port }));
        encrypted.chain(clear).collect()
    }

    /// Another host's ends, and how each of ours reaches them.
    pub(crate) fn end_views(&self, host: HostId, now: Moment) -> Vec<EndView> {
        let contact = |end: &OtherEnd, own: &Own| {
            let endpoint = self.tunnels.endpoint(own.generation, host, end, now);
            let keepalive = self.tunnels.keepalive(own, host, end, now);
            let secret = own.secret.as_ref().filter(|_| end.preshared);
            let preshared = secret.map(|secret| {
                WireGuardSecret::new(preshared(secret.reveal(), own.keys.key.bytes(), end.key.bytes()))
            });
            ContactView { endpoint, keepalive, preshared }
        };
        let view = |end: OtherEnd| EndView {
            key: end.key,
            address: end.address,
            serving: end.serving,
            contacts: self.own_devices().map(|(name, own)| (name, contact(&end, own))).collect(),
        };
        self.tunnels.of(host).into_iter().map(view).collect()
    }

    pub(crate) fn has_family_of(&self, address: IpAddr) -> bool {
        self.local.addresses.iter().any(|own| own.is_ipv4() == address.is_ipv4())
    }

    fn own_devices(&self) -> impl Iterator<Item = (LinkName, &Own)> {
        self.tunnels.own().filter_map(|end| Some((self.local.tunnels.device(end.generation)?, end)))
    }
}
