//! What the transport tells its owner.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use shoal_trust::Certificate;
use shoal_types::{HostId, HostName, Moment};
use tokio::sync::oneshot;

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// A datagram from a member.
    Datagram {
        /// The sender, authenticated.
        from: HostId,
        /// At most [`MESSAGE_BYTES_MAX`](crate::MESSAGE_BYTES_MAX) bytes.
        bytes: Bytes,
    },
    /// A message from a member.
    Message {
        /// The sender, authenticated.
        from: HostId,
        /// At most [`MESSAGE_BYTES_MAX`](crate::MESSAGE_BYTES_MAX) bytes.
        bytes: Bytes,
    },
    /// There is a connection to a member where there was none.
    Connected {
        /// The member.
        host: HostId,
        /// Where it is reached.
        address: SocketAddr,
        /// The certificate it showed.
        certificate: Certificate,
    },
    /// There is no connection to a member where there was one.
    Disconnected {
        /// The member.
        host: HostId,
        /// A sentence.
        why: String,
    },
    /// A host with a good token wants to join. No answer within 10 s is a refusal.
    JoinAsked {
        /// The joiner.
        host: HostId,
        /// Its public key.
        key: [u8; 32],
        /// What it says of itself.
        request: JoinRequest,
        /// Where it is.
        address: SocketAddr,
        /// What to hand to it (at most 15 MiB, opaque here), or a sentence that refuses it.
        reply: oneshot::Sender<Result<Vec<u8>, String>>,
    },
    /// A peer or a joiner was refused, here or there.
    Refused {
        /// Where the other one is.
        address: SocketAddr,
        /// Who it is, once its key is known.
        host: Option<HostId>,
        /// Why and what to do.
        sentence: String,
        /// Whether this host refused the other; else the other refused this one.
        by_us: bool,
    },
    /// This host's certificate was renewed and is already in use: store it and publish it.
    CertificateRenewed(Certificate),
}

/// What a joining host says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// Name for people.
    pub name: HostName,
    /// Addresses to advertise, the preferred one first; at most 8, may be empty.
    pub addresses: Vec<IpAddr>,
    /// UDP port of this transport.
    pub quic_port: u16,
    /// UDP port of the tunnel.
    pub vxlan_port: u16,
    /// Software version, for people; at most 64 bytes.
    pub version: String,
}

/// What a host has after it was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Its certificate.
    pub certificate: Certificate,
    /// The fabric's root public key, checked against the token.
    pub root_public: [u8; 32],
    /// The member that let it in.
    pub introducer: HostId,
    /// Where the introducer answered.
    pub introducer_address: SocketAddr,
    /// The members that the introducer knows, itself included, with their keys.
    pub members: Vec<(HostId, [u8; 32])>,
    /// What the introducer's agent handed over.
    pub welcome: Vec<u8>,
    /// This host's address as the introducer sees it.
    pub observed_address: IpAddr,
}

/// One peer, for `status` and `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// The host.
    pub host: HostId,
    /// Where it is, or was last, reached.
    pub address: Option<SocketAddr>,
    /// Whether there is a connection.
    pub connected: bool,
    /// Since when.
    pub since: Option<Moment>,
    /// Round trip time, while connected.
    pub rtt: Option<Duration>,
    /// Bytes sent over the present connection, UDP payload.
    pub sent_bytes: u64,
    /// Bytes received over the present connection, UDP payload.
    pub received_bytes: u64,
    /// Parcels to it that were dropped or lost.
    pub dropped: u64,
    /// Why the last dial failed or the last connection ended, a sentence.
    pub last_error: Option<String>,
}
