//! The protobuf messages (proto3), one per kind of fact. Field numbers are never used again for something else.
//!
//! Addresses are 4 or 16 bytes, most significant first; ids are their raw bytes. Lists of pairs are sorted by name, so
//! that one fact has one encoding.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Host {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) fabric: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub(super) addresses: Vec<Vec<u8>>,
    #[prost(uint32, tag = "4")]
    pub(super) quic_port: u32,
    #[prost(uint32, tag = "5")]
    pub(super) vxlan_port: u32,
    #[prost(uint32, tag = "6")]
    pub(super) underlay_mtu: u32,
    #[prost(string, tag = "7")]
    pub(super) version: String,
    #[prost(bytes = "vec", tag = "8")]
    pub(super) certificate: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Prefix {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) address: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(super) length: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TakenList {
    #[prost(message, repeated, tag = "1")]
    pub(super) prefixes: Vec<Taken>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Taken {
    #[prost(message, optional, tag = "1")]
    pub(super) prefix: Option<Prefix>,
    #[prost(string, tag = "2")]
    pub(super) by: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Endpoint {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(super) v4: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(super) v6: Option<Vec<u8>>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) mac: Vec<u8>,
    #[prost(string, optional, tag = "4")]
    pub(super) container: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Network {
    #[prost(uint64, tag = "1")]
    pub(super) stamp_wall: u64,
    #[prost(uint32, tag = "2")]
    pub(super) stamp_logical: u32,
    /// Absent: deleted.
    #[prost(message, optional, tag = "3")]
    pub(super) spec: Option<Spec>,
    #[prost(uint64, tag = "4")]
    pub(super) heard_wall: u64,
    #[prost(uint32, tag = "5")]
    pub(super) heard_logical: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Spec {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(uint32, tag = "2")]
    pub(super) vni: u32,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) creator: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    pub(super) subnets: Vec<Subnet>,
    #[prost(message, repeated, tag = "5")]
    pub(super) grants: Vec<Grant>,
    #[prost(message, repeated, tag = "6")]
    pub(super) options: Vec<Pair>,
    #[prost(message, repeated, tag = "7")]
    pub(super) labels: Vec<Pair>,
    #[prost(bool, tag = "8")]
    pub(super) internal: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Pair {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Subnet {
    #[prost(message, optional, tag = "1")]
    pub(super) prefix: Option<Prefix>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) gateway: Vec<u8>,
    #[prost(message, optional, tag = "3")]
    pub(super) dynamic: Option<Prefix>,
    #[prost(message, repeated, tag = "4")]
    pub(super) reserved: Vec<Reserved>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Reserved {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) address: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Grant {
    #[prost(uint32, tag = "1")]
    pub(super) pool: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) first: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) last: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) to: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Gift {
    /// The key's address again, in its own family.
    #[prost(bytes = "vec", tag = "1")]
    pub(super) first: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) last: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) to: Vec<u8>,
    /// Absent: the author's own.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(super) taken_from: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Use {
    #[prost(bool, tag = "1")]
    pub(super) off: bool,
    #[prost(string, repeated, tag = "2")]
    pub(super) containers: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Token {
    #[prost(uint64, tag = "1")]
    pub(super) expires: u64,
    #[prost(bool, tag = "2")]
    pub(super) revoked: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Tunnel {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(super) port: u32,
    #[prost(bool, tag = "3")]
    pub(super) serving: bool,
    #[prost(bool, tag = "4")]
    pub(super) preshared: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Secret {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) secret: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Sighting {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) address: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(super) port: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Forgotten {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(uint64, tag = "2")]
    pub(super) at: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Lease {
    #[prost(uint32, tag = "1")]
    pub(super) term: u32,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(super) witnesses: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub(super) before: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub(super) settled: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Run {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) first: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) last: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Spare {
    #[prost(message, repeated, tag = "1")]
    pub(super) spare: Vec<Run>,
    #[prost(message, repeated, tag = "2")]
    pub(super) wanted: Vec<Run>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Vote {
    #[prost(uint32, tag = "1")]
    pub(super) term: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) taker: Vec<u8>,
    #[prost(uint64, tag = "3")]
    pub(super) incarnation: u64,
    #[prost(uint64, tag = "4")]
    pub(super) counter: u64,
    /// 0: open, 1: taken, 2: renounced.
    #[prost(uint32, tag = "5")]
    pub(super) decision: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Roster {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) digest: Vec<u8>,
}
