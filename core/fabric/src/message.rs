//! The messages between hosts: one byte that tells the kind, then the body.
//!
//! Kinds that a host does not know are dropped and counted, so that newer hosts may send more.

use std::net::IpAddr;

use prost::Message as _;
use shoal_ipam::{Ask, Want};
use shoal_schema::FactsVersion;
use shoal_types::{HostId, NetworkId, PoolIndex};

/// A message of another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// For `core/facts`.
    Facts(&'a [u8]),
    /// A request for addresses.
    Ask(Ask),
    /// The host that was asked has none to give.
    Refused(NetworkId, PoolIndex),
    /// An owner asks which state of its facts is held.
    Renew,
    /// The state of this host's facts that is held, durably; the sender has no vote on this host's lease.
    Word(FactsVersion),
}

const FACTS: u8 = b'f';
const ASK: u8 = b'a';
const REFUSED: u8 = b'r';
const RENEW: u8 = b'l';
const WORD: u8 = b'w';

#[derive(Clone, PartialEq, prost::Message)]
struct WordWire {
    #[prost(uint64, tag = "1")]
    incarnation: u64,
    #[prost(uint64, tag = "2")]
    counter: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AskWire {
    #[prost(bytes = "vec", tag = "1")]
    network: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pool: u32,
    /// How many addresses, if none in particular.
    #[prost(uint32, tag = "3")]
    count: u32,
    /// 4 or 16 bytes; empty: any.
    #[prost(bytes = "vec", tag = "4")]
    address: Vec<u8>,
    /// A container waits.
    #[prost(bool, tag = "5")]
    waiting: bool,
}

/// Wraps bytes of `core/facts`.
pub(crate) fn facts(bytes: &[u8]) -> Vec<u8> {
    [&[FACTS], bytes].concat()
}

/// Encodes a request for addresses.
pub(crate) fn ask(ask: &Ask) -> Vec<u8> {
    let (count, waiting, address) = match ask.want {
        Want::Run { count, waiting } => (count, waiting, Vec::new()),
        Want::Address(IpAddr::V4(address)) => (0, true, address.octets().to_vec()),
        Want::Address(IpAddr::V6(address)) => (0, true, address.octets().to_vec()),
    };
    let (network, pool) = (ask.network.bytes().to_vec(), u32::from(ask.pool.0));
    [&[ASK], AskWire { network, pool, count, address, waiting }.encode_to_vec().as_slice()].concat()
}

/// Encodes the answer that there is nothing to give.
pub(crate) fn refused(network: NetworkId, pool: PoolIndex) -> Vec<u8> {
    let wire = AskWire { network: network.bytes().to_vec(), pool: u32::from(pool.0), ..AskWire::default() };
    [&[REFUSED], wire.encode_to_vec().as_slice()].concat()
}

/// Encodes an owner's question to a witness.
pub(crate) fn renew() -> Vec<u8> {
    vec![RENEW]
}

/// Encodes a witness's word.
pub(crate) fn word(version: FactsVersion) -> Vec<u8> {
    let wire = WordWire { incarnation: version.incarnation, counter: version.counter };
    [&[WORD], wire.encode_to_vec().as_slice()].concat()
}

/// Reads a message that arrived at `me`; `None`: of an unknown kind or damaged.
pub(crate) fn parse(bytes: &[u8], me: HostId) -> Option<Message<'_>> {
    match bytes.split_first()? {
        (&FACTS, body) => Some(Message::Facts(body)),
        (&ASK, body) => parse_ask(body, me).map(Message::Ask),
        (&REFUSED, body) => parse_ask(body, me).map(|ask| Message::Refused(ask.network, ask.pool)),
        (&RENEW, []) => Some(Message::Renew),
        (&WORD, body) => WordWire::decode(body)
            .ok()
            .map(|wire| Message::Word(FactsVersion { incarnation: wire.incarnation, counter: wire.counter })),
        _ => None,
    }
}

fn parse_ask(body: &[u8], me: HostId) -> Option<Ask> {
    let wire = AskWire::decode(body).ok()?;
    let want = match wire.address.len() {
        0 => Want::Run { count: wire.count, waiting: wire.waiting },
        4 => Want::Address(IpAddr::from(<[u8; 4]>::try_from(wire.address.as_slice()).ok()?)),
        16 => Want::Address(IpAddr::from(<[u8; 16]>::try_from(wire.address.as_slice()).ok()?)),
        _ => return None,
    };
    let network = NetworkId::from_slice(&wire.network)?;
    Some(Ask { network, pool: PoolIndex(u8::try_from(wire.pool).ok()?), from: me, want })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_for_addresses_arrives_as_it_was_sent() {
        let me = HostId::new([1; 16]);
        let run = Want::Run { count: 7, waiting: true };
        for want in
            [run, Want::Address("10.0.0.1".parse().unwrap()), Want::Address("fd00::1".parse().unwrap())]
        {
            let sent = Ask { network: NetworkId::new([3; 16]), pool: PoolIndex(2), from: me, want };
            assert_eq!(parse(&ask(&sent), me), Some(Message::Ask(sent)));
        }
        let bytes = refused(NetworkId::new([3; 16]), PoolIndex(2));
        assert_eq!(parse(&bytes, me), Some(Message::Refused(NetworkId::new([3; 16]), PoolIndex(2))));
        let version = FactsVersion { incarnation: 1, counter: 700 };
        assert_eq!(parse(&word(version), me), Some(Message::Word(version)));
        assert_eq!(parse(&renew(), me), Some(Message::Renew));
    }

    #[test]
    fn damaged_and_unknown_messages_are_no_messages() {
        let me = HostId::new([1; 16]);
        for bytes in [&b""[..], b"x", b"a", b"a\xff\xff", b"a\x0a\x01z"] {
            assert_eq!(parse(bytes, me), None, "{bytes:?}");
        }
    }
}
