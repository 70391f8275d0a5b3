//! What agents say to each other about relayed packets: a QUIC datagram each, after the byte that names its kind.
//!
//! ```text
//!   Here    0
//!   Pass    1 | host, 16 bytes | generation there, u32 | generation here, u32 | the packet
//!   Passed  2 | (the same)
//!   NoWay   3 | host, 16 bytes
//! ```
//!
//! Numbers are big-endian.

use bytes::{BufMut, Bytes, BytesMut};
use shoal_types::HostId;

/// Bytes in front of a packet that is passed on.
const HEADER_BYTES: usize = 25;

/// One datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// Nothing but that a connection is wanted.
    Here,
    /// A packet to be passed on to another host.
    Pass(Ends, &'a [u8]),
    /// A packet that another host's end has sent to one of ours.
    Passed(Ends, &'a [u8]),
    /// Packets for that host cannot be passed on.
    NoWay(HostId),
}

/// The two ends of a packet that is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The host that is not this one: to which the packet goes, or from which it comes.
    pub(crate) host: HostId,
    /// Generation of the sender's end.
    pub(crate) from: u32,
    /// Generation of the receiver's end.
    pub(crate) to: u32,
}

impl<'a> Frame<'a> {
    /// Writes it behind `first`, the byte that names a datagram's kind.
    pub(crate) fn encode(&self, first: u8) -> Bytes {
        let (kind, ends, packet) = match *self {
            Self::Here => return Bytes::copy_from_slice(&[first, 0]),
            Self::NoWay(host) => return Bytes::from([&[first, 3], &host.bytes()[..]].concat()),
            Self::Pass(ends, packet) => (1, ends, packet),
            Self::Passed(ends, packet) => (2, ends, packet),
        };
        let mut bytes = BytesMut::with_capacity(1 + HEADER_BYTES + packet.len());
        bytes.put_slice(&[first, kind]);
        bytes.put_slice(ends.host.bytes());
        bytes.put_u32(ends.from);
        bytes.put_u32(ends.to);
        bytes.put_slice(packet);
        bytes.freeze()
    }

    /// Reads what follows the first byte; `None` if it makes no sense.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        if *kind == 0 {
            return rest.is_empty().then_some(Self::Here);
        }
        let (host, rest) = rest.split_first_chunk()?;
        let host = HostId::new(*host);
        if *kind == 3 {
            return rest.is_empty().then_some(Self::NoWay(host));
        }
        let (from, rest) = rest.split_first_chunk()?;
        let (to, packet) = rest.split_first_chunk()?;
        let ends = Ends { host, from: u32::from_be_bytes(*from), to: u32::from_be_bytes(*to) };
        match kind {
            1 => Some(Self::Pass(ends, packet)),
            2 => Some(Self::Passed(ends, packet)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: HostId = HostId::new([7; 16]);

    #[test]
    fn frames_are_read_as_they_were_written() {
        let ends = Ends { host: HOST, from: 1, to: u32::MAX };
        let packet = &b"\x04\0\0\0 sealed"[..];
        let frames = [
            Frame::Here,
            Frame::Pass(ends, packet),
            Frame::Passed(ends, packet),
            Frame::Passed(ends, &[]),
            Frame::NoWay(HOST),
        ];
        for frame in frames {
            let bytes = frame.encode(42);
            assert_eq!(bytes[0], 42);
            assert_eq!(Frame::decode(&bytes[1..]), Some(frame));
        }
    }

    #[test]
    fn what_is_short_long_or_of_another_kind_makes_no_sense() {
        let pass = Frame::Pass(Ends { host: HOST, from: 1, to: 2 }, &[]).encode(0);
        for length in 1..pass.len() {
            assert_eq!(Frame::decode(&pass[1..length]), None, "{length} bytes");
        }
        for bytes in [&b"\0x"[..], &[9; 40], &[3; 18]] {
            assert_eq!(Frame::decode(bytes), None, "{bytes:?}");
        }
    }
}
