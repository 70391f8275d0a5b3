//! Keys of facts: a kind, "/", then ids as raw bytes of fixed length.
//!
//! ```text
//! host/                                                     taken/
//! endpoint/ network 16  endpoint 32                         network/ network 16
//! gift/ network 16  pool 1  first address 16  epoch 4       use/ network 16
//! token/ verifier 32                                        forgotten/ host 16
//! tunnel/ generation 4                                      sighting/ host 16  generation 4
//! secret/                                                   lease/
//! spare/ network 16  pool 1                                 vote/ host 16
//! roster/
//! ```
//!
//! Numbers are big-endian, so a scan meets gifts in the order of their addresses. An IPv4 address stands in its 16
//! bytes as IPv4-mapped (RFC 4291 section 2.5.5.2). The epoch is part of a gift's key because a gift must outlive the
//! next gift of the same addresses by the same author (docs/internals/addresses.md).

use std::fmt;
use std::net::IpAddr;

use shoal_types::{EndpointId, HostId, NetworkId, PoolIndex, hex};

use super::DecodeError;
use crate::{Fact, GiftFact};

/// The kinds of facts that this version knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FactKind {
    /// [`Fact::Host`]
    Host,
    /// [`Fact::Taken`]
    Taken,
    /// [`Fact::Endpoint`]
    Endpoint,
    /// [`Fact::Network`]
    Network,
    /// [`Fact::Gift`]
    Gift,
    /// [`Fact::Use`]
    Use,
    /// [`Fact::Token`]
    Token,
    /// [`Fact::Tunnel`]
    Tunnel,
    /// [`Fact::Secret`]
    Secret,
    /// [`Fact::Sighting`]
    Sighting,
    /// [`Fact::Lease`]
    Lease,
    /// [`Fact::Spare`]
    Spare,
    /// [`Fact::Vote`]
    Vote,
    /// [`Fact::Roster`]
    Roster,
    /// [`Fact::Forgotten`]
    Forgotten,
}

impl FactKind {
    /// Every kind.
    pub const ALL: [Self; 15] = [
        Self::Host,
        Self::Taken,
        Self::Endpoint,
        Self::Network,
        Self::Gift,
        Self::Use,
        Self::Token,
        Self::Tunnel,
        Self::Secret,
        Self::Sighting,
        Self::Lease,
        Self::Spare,
        Self::Vote,
        Self::Roster,
        Self::Forgotten,
    ];

    /// The bytes with which every key of this kind begins, and no key of another kind.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Host => "host/",
            Self::Taken => "taken/",
            Self::Endpoint => "endpoint/",
            Self::Network => "network/",
            Self::Gift => "gift/",
            Self::Use => "use/",
            Self::Token => "token/",
            Self::Tunnel => "tunnel/",
            Self::Secret => "secret/",
            Self::Sighting => "sighting/",
            Self::Lease => "lease/",
            Self::Spare => "spare/",
            Self::Vote => "vote/",
            Self::Roster => "roster/",
            Self::Forgotten => "forgotten/",
        }
    }
}

impl fmt::Display for FactKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.prefix().trim_end_matches('/'))
    }
}

/// The key of a fact: at most 64 bytes, ordered by kind and then by ids.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FactKey(Vec<u8>);

impl FactKey {
    /// What every key of a kind begins with, for scans.
    pub const fn kind_prefix(kind: FactKind) -> &'static [u8] {
        kind.prefix().as_bytes()
    }

    /// The author's host fact.
    pub fn host() -> Self {
        Self::new(FactKind::Host, &[])
    }

    /// The author's taken fact.
    pub fn taken() -> Self {
        Self::new(FactKind::Taken, &[])
    }

    /// One endpoint.
    pub fn endpoint(network: NetworkId, endpoint: &EndpointId) -> Self {
        Self::new(FactKind::Endpoint, &[network.bytes(), &endpoint_bytes(endpoint)])
    }

    /// What the keys of a network's endpoints begin with, for scans.
    pub fn endpoints_of(network: NetworkId) -> Vec<u8> {
        Self::new(FactKind::Endpoint, &[network.bytes()]).0
    }

    /// One network.
    pub fn network(id: NetworkId) -> Self {
        Self::new(FactKind::Network, &[id.bytes()])
    }

    /// One gift.
    pub fn gift(gift: &GiftFact) -> Self {
        let (first, epoch) = (mapped(gift.first), gift.epoch.to_be_bytes());
        Self::new(FactKind::Gift, &[gift.network.bytes(), &[gift.pool.0], &first, &epoch])
    }

    /// What the keys of gifts out of a network begin with, for scans.
    pub fn gifts_of(network: NetworkId) -> Vec<u8> {
        Self::new(FactKind::Gift, &[network.bytes()]).0
    }

    /// The author's use of a network. Not `use`, which is a keyword.
    pub fn use_of(network: NetworkId) -> Self {
        Self::new(FactKind::Use, &[network.bytes()])
    }

    /// One join token.
    pub fn token(verifier: &[u8; 32]) -> Self {
        Self::new(FactKind::Token, &[verifier])
    }

    /// One of the author's ends of encrypted tunnels.
    pub fn tunnel(generation: u32) -> Self {
        Self::new(FactKind::Tunnel, &[&generation.to_be_bytes()])
    }

    /// The fabric's secret.
    pub fn secret() -> Self {
        Self::new(FactKind::Secret, &[])
    }

    /// Where the author hears one of another host's ends from.
    pub fn sighting(host: HostId, generation: u32) -> Self {
        Self::new(FactKind::Sighting, &[host.bytes(), &generation.to_be_bytes()])
    }

    /// The author's lease.
    pub fn lease() -> Self {
        Self::new(FactKind::Lease, &[])
    }

    /// What the author does not use of a pool.
    pub fn spare(network: NetworkId, pool: PoolIndex) -> Self {
        Self::new(FactKind::Spare, &[network.bytes(), &[pool.0]])
    }

    /// The author's vote on a host's lease.
    pub fn vote(owner: HostId) -> Self {
        Self::new(FactKind::Vote, &[owner.bytes()])
    }

    /// Which hosts the author knows.
    pub fn roster() -> Self {
        Self::new(FactKind::Roster, &[])
    }

    /// What the author says of a host that is out for good.
    pub fn forgotten(host: HostId) -> Self {
        Self::new(FactKind::Forgotten, &[host.bytes()])
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, without a copy.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn of(fact: &Fact) -> Self {
        match fact {
            Fact::Host(_) => Self::host(),
            Fact::Taken(_) => Self::taken(),
            Fact::Endpoint(fact) => Self::endpoint(fact.network, &fact.endpoint),
            Fact::Network(fact) => Self::network(fact.id),
            Fact::Gift(fact) => Self::gift(fact),
            Fact::Use(fact) => Self::use_of(fact.network),
            Fact::Token(fact) => Self::token(&fact.verifier),
            Fact::Tunnel(fact) => Self::tunnel(fact.generation),
            Fact::Secret(_) => Self::secret(),
            Fact::Sighting(fact) => Self::sighting(fact.host, fact.generation),
            Fact::Lease(_) => Self::lease(),
            Fact::Spare(fact) => Self::spare(fact.network, fact.pool),
            Fact::Vote(fact) => Self::vote(fact.owner),
            Fact::Roster(_) => Self::roster(),
            Fact::Forgotten(fact) => Self::forgotten(fact.host),
        }
    }

    fn new(kind: FactKind, parts: &[&[u8]]) -> Self {
        Self([kind.prefix().as_bytes(), &parts.concat()].concat())
    }
}

impl AsRef<[u8]> for FactKey {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for FactKey {
    /// The kind as text, the ids as hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = self.0.iter().position(|byte| *byte == b'/').map_or(0, |at| at + 1);
        let (kind, ids) = self.0.split_at(cut);
        f.write_str(&String::from_utf8_lossy(kind))?;
        f.write_str(&hex(ids))
    }
}

impl fmt::Debug for FactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FactKey({self})")
    }
}

/// A key taken apart.
pub(super) enum ParsedKey {
    Host,
    Taken,
    Endpoint(NetworkId, EndpointId),
    Network(NetworkId),
    Gift(GiftKey),
    Use(NetworkId),
    Token([u8; 32]),
    Tunnel(u32),
    Secret,
    Sighting(HostId, u32),
    Lease,
    Spare(NetworkId, PoolIndex),
    Vote(HostId),
    Roster,
    Forgotten(HostId),
}

/// What the key of a gift says.
pub(super) struct GiftKey {
    pub(super) network: NetworkId,
    pub(super) pool: PoolIndex,
    /// IPv4-mapped for IPv4.
    pub(super) first: [u8; 16],
    pub(super) epoch: u32,
}

impl ParsedKey {
    pub(super) fn read(key: &[u8]) -> Result<Self, DecodeError> {
        let kinds = FactKind::ALL.into_iter();
        let found = kinds.filter_map(|kind| Some((kind, key.strip_prefix(kind.prefix().as_bytes())?))).next();
        let (kind, ids) = found.ok_or(DecodeError::UnknownKind)?;
        Self::read_ids(kind, Ids(ids)).ok_or(DecodeError::Key { kind })
    }

    pub(super) fn kind(&self) -> FactKind {
        match self {
            Self::Host => FactKind::Host,
            Self::Taken => FactKind::Taken,
            Self::Endpoint(..) => FactKind::Endpoint,
            Self::Network(_) => FactKind::Network,
            Self::Gift(_) => FactKind::Gift,
            Self::Use(_) => FactKind::Use,
            Self::Token(_) => FactKind::Token,
            Self::Tunnel(_) => FactKind::Tunnel,
            Self::Secret => FactKind::Secret,
            Self::Sighting(..) => FactKind::Sighting,
            Self::Lease => FactKind::Lease,
            Self::Spare(..) => FactKind::Spare,
            Self::Vote(_) => FactKind::Vote,
            Self::Roster => FactKind::Roster,
            Self::Forgotten(_) => FactKind::Forgotten,
        }
    }

    fn read_ids(kind: FactKind, mut ids: Ids<'_>) -> Option<Self> {
        let key = match kind {
            FactKind::Host => Self::Host,
            FactKind::Taken => Self::Taken,
            FactKind::Endpoint => Self::Endpoint(ids.network()?, endpoint_id(&ids.take::<32>()?)?),
            FactKind::Network => Self::Network(ids.network()?),
            FactKind::Gift => {
                let (network, [pool]) = (ids.network()?, ids.take::<1>()?);
                let (first, epoch) = (ids.take::<16>()?, u32::from_be_bytes(ids.take::<4>()?));
                Self::Gift(GiftKey { network, pool: PoolIndex(pool), first, epoch })
            }
            FactKind::Use => Self::Use(ids.network()?),
            FactKind::Token => Self::Token(ids.take::<32>()?),
            FactKind::Tunnel => Self::Tunnel(u32::from_be_bytes(ids.take::<4>()?)),
            FactKind::Secret => Self::Secret,
            FactKind::Sighting => {
                let host = HostId::new(ids.take::<16>()?);
                Self::Sighting(host, u32::from_be_bytes(ids.take::<4>()?))
            }
            FactKind::Lease => Self::Lease,
            FactKind::Spare => {
                let (network, [pool]) = (ids.network()?, ids.take::<1>()?);
                Self::Spare(network, PoolIndex(pool))
            }
            FactKind::Vote => Self::Vote(HostId::new(ids.take::<16>()?)),
            FactKind::Roster => Self::Roster,
            FactKind::Forgotten => Self::Forgotten(HostId::new(ids.take::<16>()?)),
        };
        ids.0.is_empty().then_some(key)
    }
}

/// The part of a key that is still to be read.
struct Ids<'a>(&'a [u8]);

impl Ids<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn network(&mut self) -> Option<NetworkId> {
        self.take::<16>().map(NetworkId::new)
    }
}

/// An address as it stands in a key.
pub(super) fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The 32 bytes of an endpoint id's 64 digits.
fn endpoint_bytes(id: &EndpointId) -> Vec<u8> {
    let digit = |digit: u8| if digit.is_ascii_digit() { digit - b'0' } else { (digit - b'a') + 10 };
    let (pairs, _) = id.as_str().as_bytes().as_chunks::<2>();
    pairs.iter().map(|[high, low]| (digit(*high) << 4) | digit(*low)).collect()
}

fn endpoint_id(bytes: &[u8; 32]) -> Option<EndpointId> {
    hex(bytes).parse().ok()
}
