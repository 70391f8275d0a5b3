//! The kinds of facts.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use shoal_types::{EndpointId, FabricId, HostId, HostName, IpNet, MacAddr, NetworkId, NetworkName};
use shoal_types::{PoolIndex, Stamp, Vni, WallTime, WireGuardKey, WireGuardSecret};

/// One replicated entry. The author is not part of it: it is the host whose set of facts holds the entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The author itself.
    Host(HostFact),
    /// Address space in use on the author's machine, which pools must avoid.
    Taken(TakenFact),
    /// One of the author's endpoints.
    Endpoint(EndpointFact),
    /// A network, as the author last edited it. Any host may edit; the highest stamp wins, then the host id.
    Network(NetworkFact),
    /// Addresses the author gave to another host.
    Gift(GiftFact),
    /// Whether and by whom the author's machine uses a network.
    Use(UseFact),
    /// A join token that the author made or revoked.
    Token(TokenFact),
    /// One of the author's ends of encrypted tunnels.
    Tunnel(TunnelFact),
    /// The fabric's secret, from which pairs of hosts derive what they mix into their handshakes.
    Secret(SecretFact),
    /// Where the author hears another host's end from, if that is not where the other says it is.
    Sighting(SightingFact),
    /// The author's lease on what it owns, and who witnesses it.
    Lease(LeaseFact),
    /// What the author owns and does not use, in one pool.
    Spare(SpareFact),
    /// The author's vote that another host's lease has ended.
    Vote(VoteFact),
    /// Which hosts the author knows, while something of a forgotten one waits for all to know the same.
    Roster(RosterFact),
    /// A host that is out for good, whoever says so. Outranks everything its subject says; never collected.
    Forgotten(ForgottenFact),
}

/// What a host says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFact {
    /// Its fabric; a host that moved to another one is refused by it.
    pub fabric: FabricId,
    /// Name for people; not unique.
    pub name: HostName,
    /// Underlay addresses, the preferred one first; 1 to 8.
    pub addresses: Vec<IpAddr>,
    /// UDP port of QUIC.
    pub quic_port: u16,
    /// UDP port of VXLAN in clear.
    pub vxlan_port: u16,
    /// MTU of the underlay link that holds the preferred address, bytes.
    pub underlay_mtu: u16,
    /// Software version, for people.
    pub version: String,
    /// Its certificate in trust's own encoding, at most 1 KiB.
    pub certificate: Vec<u8>,
}

/// Address space that is in use on a machine outside Shoal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TakenFact {
    /// At most 1,024 prefixes.
    pub prefixes: Vec<Taken>,
}

/// One prefix in use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taken {
    /// The prefix.
    pub prefix: IpNet,
    /// By what, for people: "route via eth0", "Docker network docker_gwbridge".
    pub by: String,
}

/// A container's attachment to a network on the author's host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointFact {
    /// The network.
    pub network: NetworkId,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub v6: Option<Ipv6Addr>,
    /// Hardware address of the container's end.
    pub mac: MacAddr,
    /// The container's name, once it has been read from the engine; for people.
    pub container: Option<String>,
}

/// A network as one host last edited it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkFact {
    /// The network.
    pub id: NetworkId,
    /// When it was edited, on the author's hybrid clock.
    pub stamp: Stamp,
    /// The newest edit by another host that the author had heard of: one that lies above was made at the same time.
    pub heard: Stamp,
    /// `None`: deleted (a tombstone that competes by its stamp like any edit).
    pub spec: Option<NetworkSpec>,
}

/// What a network is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSpec {
    /// Its name, the same on every host.
    pub name: NetworkName,
    /// Its VXLAN id, drawn at random by the creator.
    pub vni: Vni,
    /// The host that made it and first owned its addresses.
    pub creator: HostId,
    /// 1 to 16 subnets of either family, IPv4 first.
    pub subnets: Vec<Subnet>,
    /// Who first owned which addresses; fixed by the creation, later changes are gifts.
    pub grants: Vec<Grant>,
    /// Options given with `-o`, at most 64.
    pub options: BTreeMap<String, String>,
    /// Docker labels, at most 256.
    pub labels: BTreeMap<String, String>,
    /// No way out of the network.
    pub internal: bool,
}

/// One subnet of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// The prefix, host bits zero.
    pub prefix: IpNet,
    /// The one gateway address, the same on every host; never given to a container.
    pub gateway: IpAddr,
    /// If set (`--ip-range`), addresses chosen by Shoal come from here only.
    pub dynamic: Option<IpNet>,
    /// Reserved addresses by name (`--aux-address`).
    pub reserved: BTreeMap<String, IpAddr>,
}

/// An inclusive run of addresses owned by a host from a network's creation on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Which of the network's subnets.
    pub pool: PoolIndex,
    /// First address.
    pub first: IpAddr,
    /// Last address, not below `first`, same family.
    pub last: IpAddr,
    /// The owner.
    pub to: HostId,
}

/// A run of addresses that changed hands: the author, who owned it, gave it to `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GiftFact {
    /// The network.
    pub network: NetworkId,
    /// Which of its subnets.
    pub pool: PoolIndex,
    /// First address.
    pub first: IpAddr,
    /// Last address, not below `first`, same family.
    pub last: IpAddr,
    /// The new owner.
    pub to: HostId,
    /// The owner it was taken over from, if the author did not own it: then `to` is the author.
    pub from: Option<HostId>,
    /// One more than the highest epoch under which the author held any address of the run (a grant has epoch 0).
    pub epoch: u32,
}

/// A machine's use of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UseFact {
    /// The network.
    pub network: NetworkId,
    /// Whether Docker was told to remove the network from this machine.
    pub off: bool,
    /// Names of containers that are attached to it, stopped ones included; at most 4,096, then cut.
    pub containers: Vec<String>,
}

/// A join token: what is needed to check one, not the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFact {
    /// Derived from the token's secret; see `core/trust`.
    pub verifier: [u8; 32],
    /// When it ends.
    pub expires: WallTime,
    /// It ended before. What one host revokes is revoked, whatever others say of it.
    pub revoked: bool,
}

/// An end of encrypted tunnels: a key of the author's, and where packets for it go. Its address in the tunnel follows
/// from the author and the generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelFact {
    /// Counts the author's keys; a key is never used under two generations.
    pub generation: u32,
    /// The public key.
    pub key: WireGuardKey,
    /// UDP port on the author's underlay addresses.
    pub port: u16,
    /// Whether other hosts send to this end. Of several that say so the highest generation counts.
    pub serving: bool,
    /// Whether the author mixes a pre-shared key into handshakes with ends that do so too.
    pub preshared: bool,
}

/// The fabric's secret. All members know it and nobody else does, so it proves nothing between members; it keeps what
/// was recorded on the underlay closed to whoever may one day break the key exchange of the tunnels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFact {
    /// 32 bytes, the same from whichever host they come.
    pub secret: WireGuardSecret,
}

/// Where the author hears another host's end of encrypted tunnels from: a host behind NAT cannot know it by itself.
/// Said only while it is none of the addresses, with the port, that the other host tells of itself. It is a hint:
/// whoever follows it meets the right host or nobody, because WireGuard proves the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SightingFact {
    /// The host that is heard.
    pub host: HostId,
    /// Which of its keys it uses.
    pub generation: u32,
    /// Where from: a unicast address, the port not 0.
    pub endpoint: SocketAddr,
}

/// A host that is out for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgottenFact {
    /// The host.
    pub host: HostId,
    /// Its name when it was forgotten, for people.
    pub name: String,
    /// When.
    pub at: WallTime,
}

/// A host's lease on the addresses that it owns: who witnesses it. docs/internals/addresses.md has the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseFact {
    /// Rises by one whenever another field changes; the first is 1.
    pub term: u32,
    /// The hosts that renew the lease, or vote that it has ended, ascending and without the author; at most 15.
    pub witnesses: Vec<HostId>,
    /// The witnesses of the term before, whose word is needed too.
    pub before: Vec<HostId>,
    /// Takers that earlier votes named and that have decided, as the author has heard; ascending, at most 64.
    pub settled: Vec<HostId>,
}

/// What a host owns of a pool and promises not to hand out or give before its witnesses have heard that it wants it
/// back. All else that it owns is its reserve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpareFact {
    /// The network.
    pub network: NetworkId,
    /// Which of its subnets.
    pub pool: PoolIndex,
    /// Runs that may be taken over when the lease has ended: first and last address, ascending; at most 64.
    pub spare: Vec<(IpAddr, IpAddr)>,
    /// Runs that were spare and that the author wants back, ascending; at most 64. They may not be taken over.
    pub wanted: Vec<(IpAddr, IpAddr)>,
}

/// A state of a host's facts; ordered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FactsVersion {
    /// Which life of the host.
    pub incarnation: u64,
    /// Which state in it.
    pub counter: u64,
}

/// A witness's vote that a host's lease has ended. A witness has one vote per host and does not renew while it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoteFact {
    /// The host that was not heard.
    pub owner: HostId,
    /// The term of its lease.
    pub term: u32,
    /// Who takes over.
    pub taker: HostId,
    /// The state of the owner's facts that the author holds.
    pub seen: FactsVersion,
    /// What the taker has decided; only the taker's own vote says so.
    pub decision: Decision,
}

/// What a taker does with the votes for it. It does not go back from either decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It waits for votes.
    Open,
    /// It has taken over.
    Taken,
    /// It never will.
    Renounced,
}

/// Which hosts a host knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterFact {
    /// A hash over the hosts that are in the fabric and those that are out.
    pub digest: [u8; 32],
}
