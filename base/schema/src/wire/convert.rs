//! Between messages and facts. The way in checks every limit; the way out only cuts what is for people.

mod lease;
mod network;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use shoal_types::{
    EndpointId, FabricId, HostId, IpNet, MacAddr, NetworkId, WallTime, WireGuardKey, WireGuardSecret,
};

use super::key::{GiftKey, mapped};
use super::{limit, message};
use crate::{
    EndpointFact, ForgottenFact, GiftFact, HostFact, SecretFact, SightingFact, Taken, TakenFact, TokenFact,
    TunnelFact, UseFact,
};

/// The field that is broken and the rule it breaks.
pub(super) struct Broken {
    pub(super) field: &'static str,
    pub(super) problem: &'static str,
}

/// What a text field takes beside the text, at most: its tag and its length.
const NAME_OVERHEAD_BYTES: usize = 3;

type Checked<T> = Result<T, Broken>;

impl From<&HostFact> for message::Host {
    fn from(fact: &HostFact) -> Self {
        Self {
            fabric: fact.fabric.bytes().to_vec(),
            name: fact.name.as_str().to_owned(),
            addresses: fact.addresses.iter().map(|address| address_bytes(*address)).collect(),
            quic_port: fact.quic_port.into(),
            vxlan_port: fact.vxlan_port.into(),
            underlay_mtu: fact.underlay_mtu.into(),
            version: cut(&fact.version),
            certificate: fact.certificate.clone(),
        }
    }
}

impl message::Host {
    pub(super) fn fact(self) -> Checked<HostFact> {
        check(
            (1..=limit::ADDRESSES_MAX).contains(&self.addresses.len()),
            "addresses",
            "1 to 8 are expected",
        )?;
        let small = self.certificate.len() <= limit::CERTIFICATE_BYTES_MAX;
        check(small, "certificate", "longer than 1,024 bytes")?;
        Ok(HostFact {
            fabric: some(FabricId::from_slice(&self.fabric), "fabric", "16 bytes are expected")?,
            name: some(self.name.parse().ok(), "name", "not a host's name")?,
            addresses: self.addresses.iter().map(|a| address(a, "addresses")).collect::<Checked<_>>()?,
            quic_port: number16(self.quic_port, "quic_port")?,
            vxlan_port: number16(self.vxlan_port, "vxlan_port")?,
            underlay_mtu: number16(self.underlay_mtu, "underlay_mtu")?,
            version: text(self.version, "version")?,
            certificate: self.certificate,
        })
    }
}

impl From<&TakenFact> for message::TakenList {
    fn from(fact: &TakenFact) -> Self {
        let one = |taken: &Taken| message::Taken {
            prefix: Some(taken.prefix.into()),
            by: cut_to(&taken.by, limit::TAKEN_BY_BYTES_MAX),
        };
        Self { prefixes: fact.prefixes.iter().map(one).collect() }
    }
}

impl message::TakenList {
    pub(super) fn fact(self) -> Checked<TakenFact> {
        check(self.prefixes.len() <= limit::TAKEN_MAX, "prefixes", "more than 1,024")?;
        let one = |taken: message::Taken| {
            check(taken.by.len() <= limit::TAKEN_BY_BYTES_MAX, "prefixes", "text longer than 200 bytes")?;
            Ok(Taken { prefix: prefix(taken.prefix, "prefixes")?, by: taken.by })
        };
        Ok(TakenFact { prefixes: self.prefixes.into_iter().map(one).collect::<Checked<_>>()? })
    }
}

impl From<&EndpointFact> for message::Endpoint {
    fn from(fact: &EndpointFact) -> Self {
        Self {
            v4: fact.v4.map(|v4| v4.octets().to_vec()),
            v6: fact.v6.map(|v6| v6.octets().to_vec()),
            mac: fact.mac.bytes().to_vec(),
            container: fact.container.as_deref().map(cut),
        }
    }
}

impl message::Endpoint {
    pub(super) fn fact(self, network: NetworkId, endpoint: EndpointId) -> Checked<EndpointFact> {
        Ok(EndpointFact {
            network,
            endpoint,
            v4: self.v4.map(|v4| bytes::<4>(&v4, "v4")).transpose()?.map(Ipv4Addr::from),
            v6: self.v6.map(|v6| bytes::<16>(&v6, "v6")).transpose()?.map(Ipv6Addr::from),
            mac: MacAddr::new(bytes::<6>(&self.mac, "mac")?),
            container: self.container.map(|name| text(name, "container")).transpose()?,
        })
    }
}

impl From<&GiftFact> for message::Gift {
    fn from(fact: &GiftFact) -> Self {
        Self {
            first: address_bytes(fact.first),
            last: address_bytes(fact.last),
            to: fact.to.bytes().to_vec(),
            taken_from: fact.from.map(|from| from.bytes().to_vec()),
        }
    }
}

impl message::Gift {
    pub(super) fn fact(self, key: &GiftKey) -> Checked<GiftFact> {
        let first = address(&self.first, "first")?;
        check(mapped(first) == key.first, "first", "not the address of the key")?;
        check(usize::from(key.pool.0) < limit::SUBNETS_MAX, "pool", "a network has at most 16 subnets")?;
        check(key.epoch > 0, "epoch", "0 is for grants")?;
        Ok(GiftFact {
            network: key.network,
            pool: key.pool,
            first,
            last: last(first, &self.last)?,
            to: host(&self.to, "to")?,
            from: self.taken_from.map(|from| host(&from, "from")).transpose()?,
            epoch: key.epoch,
        })
    }
}

impl From<&UseFact> for message::Use {
    fn from(fact: &UseFact) -> Self {
        let names = fact.containers.iter().take(limit::CONTAINERS_MAX).map(|name| cut(name));
        let mut room = limit::VALUE_BYTES_MAX - NAME_OVERHEAD_BYTES;
        let fitting = names.map_while(|name| {
            room = room.checked_sub(name.len() + NAME_OVERHEAD_BYTES)?;
            Some(name)
        });
        Self { off: fact.off, containers: fitting.collect() }
    }
}

impl message::Use {
    pub(super) fn fact(self, network: NetworkId) -> Checked<UseFact> {
        check(self.containers.len() <= limit::CONTAINERS_MAX, "containers", "more than 4,096")?;
        let containers = self.containers.into_iter().map(|name| text(name, "containers"));
        Ok(UseFact { network, off: self.off, containers: containers.collect::<Checked<_>>()? })
    }
}

impl From<&TokenFact> for message::Token {
    fn from(fact: &TokenFact) -> Self {
        Self { expires: fact.expires.as_millis(), revoked: fact.revoked }
    }
}

impl message::Token {
    pub(super) fn fact(self, verifier: [u8; 32]) -> Checked<TokenFact> {
        let expires = WallTime::from_millis(self.expires);
        Ok(TokenFact { verifier, expires, revoked: self.revoked })
    }
}

impl From<&TunnelFact> for message::Tunnel {
    fn from(fact: &TunnelFact) -> Self {
        let TunnelFact { key, port, serving, preshared, .. } = fact;
        Self { key: key.bytes().to_vec(), port: (*port).into(), serving: *serving, preshared: *preshared }
    }
}

impl message::Tunnel {
    pub(super) fn fact(self, generation: u32) -> Checked<TunnelFact> {
        let port = number16(self.port, "port")?;
        check(port > 0, "port", "0 is no port")?;
        let key = WireGuardKey::new(bytes::<32>(&self.key, "key")?);
        let (serving, preshared) = (self.serving, self.preshared);
        Ok(TunnelFact { generation, key, port, serving, preshared })
    }
}

impl From<&SecretFact> for message::Secret {
    fn from(fact: &SecretFact) -> Self {
        Self { secret: fact.secret.reveal().to_vec() }
    }
}

impl message::Secret {
    pub(super) fn fact(self) -> Checked<SecretFact> {
        Ok(SecretFact { secret: WireGuardSecret::new(bytes::<32>(&self.secret, "secret")?) })
    }
}

impl From<&SightingFact> for message::Sighting {
    fn from(fact: &SightingFact) -> Self {
        Self { address: address_bytes(fact.endpoint.ip()), port: fact.endpoint.port().into() }
    }
}

impl message::Sighting {
    pub(super) fn fact(self, host: HostId, generation: u32) -> Checked<SightingFact> {
        let (ip, port) = (address(&self.address, "endpoint")?, number16(self.port, "endpoint")?);
        check(port > 0, "endpoint", "0 is no port")?;
        check(is_sendable(ip), "endpoint", "an address that no packet between hosts comes from")?;
        Ok(SightingFact { host, generation, endpoint: SocketAddr::new(ip, port) })
    }
}

/// Whether a packet of another host can come from an address: this host's own loopback, groups and everybody cannot be
/// told to others as a place to send to.
fn is_sendable(ip: IpAddr) -> bool {
    let special = ip.is_unspecified() || ip.is_loopback() || ip.is_multicast();
    let other = match ip {
        IpAddr::V4(v4) => v4.is_broadcast(),
        IpAddr::V6(v6) => v6.to_ipv4_mapped().is_some(),
    };
    !special && !other
}

impl From<&ForgottenFact> for message::Forgotten {
    fn from(fact: &ForgottenFact) -> Self {
        Self { name: cut(&fact.name), at: fact.at.as_millis() }
    }
}

impl message::Forgotten {
    pub(super) fn fact(self, host: HostId) -> Checked<ForgottenFact> {
        Ok(ForgottenFact { host, name: text(self.name, "name")?, at: WallTime::from_millis(self.at) })
    }
}

impl From<IpNet> for message::Prefix {
    fn from(prefix: IpNet) -> Self {
        Self { address: address_bytes(prefix.addr()), length: prefix.prefix_len().into() }
    }
}

fn check(holds: bool, field: &'static str, problem: &'static str) -> Checked<()> {
    if holds { Ok(()) } else { Err(Broken { field, problem }) }
}

fn some<T>(value: Option<T>, field: &'static str, problem: &'static str) -> Checked<T> {
    value.ok_or(Broken { field, problem })
}

fn bytes<const N: usize>(bytes: &[u8], field: &'static str) -> Checked<[u8; N]> {
    some(bytes.try_into().ok(), field, "wrong number of bytes")
}

fn host(bytes: &[u8], field: &'static str) -> Checked<HostId> {
    some(HostId::from_slice(bytes), field, "16 bytes are expected")
}

fn number16(number: u32, field: &'static str) -> Checked<u16> {
    some(u16::try_from(number).ok(), field, "more than 65,535")
}

/// Text for people, which the author has cut.
fn text(text: String, field: &'static str) -> Checked<String> {
    check(text.len() <= limit::TEXT_BYTES_MAX, field, "longer than 255 bytes")?;
    Ok(text)
}

fn cut(text: &str) -> String {
    cut_to(text, limit::TEXT_BYTES_MAX)
}

fn cut_to(text: &str, bytes_max: usize) -> String {
    text[..text.floor_char_boundary(bytes_max)].to_owned()
}

fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn address(bytes: &[u8], field: &'static str) -> Checked<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    let v6 = <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from);
    some(v4.or(v6), field, "an address has 4 or 16 bytes")
}

/// The end of a run that begins at `first`.
fn last(first: IpAddr, bytes: &[u8]) -> Checked<IpAddr> {
    let last = address(bytes, "last")?;
    let ordered = first.is_ipv4() == last.is_ipv4() && first <= last;
    check(ordered, "last", "below the first address or of another family")?;
    Ok(last)
}

fn prefix(prefix: Option<message::Prefix>, field: &'static str) -> Checked<IpNet> {
    let prefix = some(prefix, field, "absent")?;
    let length = some(u8::try_from(prefix.length).ok(), field, "prefix length out of range")?;
    let net = IpNet::new(address(&prefix.address, field)?, length);
    some(net.ok(), field, "prefix length out of range")
}

/// Pairs by name; a name that stands twice is refused.
fn pairs<T>(
    pairs: impl IntoIterator<Item = Checked<(String, T)>>,
    field: &'static str,
) -> Checked<BTreeMap<String, T>> {
    let mut map = BTreeMap::new();
    for pair in pairs {
        let (name, value) = pair?;
        check(name.len() <= limit::PAIR_NAME_BYTES_MAX, field, "a name is longer than 255 bytes")?;
        check(map.insert(name, value).is_none(), field, "a name stands twice")?;
    }
    Ok(map)
}
