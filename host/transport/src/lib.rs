//! QUIC between hosts: one UDP port, mutual TLS, datagrams and streams.
//!
//! ```text
//!   send_datagram, send_message            a stranger dials
//!            |                                    |
//!         outbox  (one per peer, bounded)       door  (few at once, 5 s, 4 KiB)
//!            |                                    |
//!         courier --- dials, says hello ---> hello or join
//!            |                                    |        judged by the TrustView
//!            +---------> links <------------------+        before anything else is read
//!                          |
//!                       reader ---> Event::{Datagram, Message}
//! ```
//!
//! TLS proves possession of a host's key and nothing else (raw public keys, RFC 7250). Membership is proved by the
//! first stream of a connection: both sides show their certificate there and judge the other's. A refusal closes the
//! connection with a sentence, and both sides report it.
//!
//! Everything is best effort: what finds no connection, no room in a queue or no reader is dropped and counted.

mod bucket;
mod config;
mod counters;
mod courier;
mod dial;
mod door;
mod endpoint;
mod event;
mod frame;
mod greet;
mod introduce;
mod join;
mod link;
mod outbox;
mod peer;
mod reader;
mod relay;
mod resolve;
mod shared;
mod socket;
#[cfg(test)]
mod tests;
mod tls;
mod upkeep;
mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shoal_plan::RelayPlan;
use shoal_ports::Clock;
use shoal_trust::{Token, TrustView};
use shoal_types::HostId;
use tokio::sync::mpsc;

pub use config::{Config, Limits, MESSAGE_BYTES_MAX, Member, PORT_DEFAULT};
pub use counters::Counters;
pub use event::{Event, JoinRequest, Joined, PeerStatus};
pub use frame::{FrameKind, shown_sentence};
pub use join::JoinError;
pub use relay::RelayTraffic;
pub use socket::TransportError;

use crate::outbox::{Kind, Parcel};
use crate::relay::Relay;
use crate::shared::Shared;

/// A running endpoint. Clones share it; it runs until [`shutdown`](Self::shutdown).
#[derive(Clone, Debug)]
pub struct Transport {
    shared: Arc<Shared>,
}

impl Transport {
    /// Opens the port. Until [`set_membership`](Self::set_membership) and [`set_trust`](Self::set_trust) it accepts
    /// nothing, but can [`join`](Self::join).
    ///
    /// Must be called inside a tokio runtime. Events must be read: when 1,024 wait, messages hold their senders
    /// back and datagrams are dropped.
    pub fn start(
        config: Config,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, mpsc::Receiver<Event>), TransportError> {
        let (shared, events) = Shared::start(config, clock)?;
        shared.keep(tokio::spawn(door::run(shared.clone())));
        shared.keep(tokio::spawn(upkeep::run(shared.clone())));
        Ok((Self { shared }, events))
    }

    /// Says who this host is, or, with `None`, that it is in no fabric: then every connection closes.
    pub fn set_membership(&self, member: Option<Member>) {
        self.shared.set_membership(member);
    }

    /// Replaces what this host goes by when it judges others. Connections that it no longer allows close at once.
    pub fn set_trust(&self, view: TrustView) {
        self.shared.set_trust(view);
    }

    /// Sends up to [`MESSAGE_BYTES_MAX`] bytes that may be lost or overtaken; never waits. Dials if there is no
    /// connection, at `addresses` (eight at most), which replace those known unless empty. What exceeds the path's
    /// packet size goes over a stream.
    pub fn send_datagram(&self, to: HostId, addresses: &[SocketAddr], bytes: Bytes) {
        self.shared.send(to, addresses, Parcel { kind: Kind::Datagram, bytes });
    }

    /// Sends up to [`MESSAGE_BYTES_MAX`] bytes over a stream of their own; never waits. Arrives whole, in any order,
    /// or is lost with its connection. Dials as [`send_datagram`](Self::send_datagram) does.
    pub fn send_message(&self, to: HostId, addresses: &[SocketAddr], bytes: Bytes) {
        self.shared.send(to, addresses, Parcel { kind: Kind::Message, bytes });
    }

    /// Takes packets of encrypted ends that cannot meet, on UDP port `port` of the loopback device, and carries them
    /// over connections to other agents. Once; without it this host passes nothing on.
    ///
    /// # Errors
    /// If the port cannot be opened.
    pub fn open_relay(&self, port: u16) -> Result<(), TransportError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let relay = Relay::open(port).map_err(|error| TransportError::Listen { address, error })?;
        let relay = self.shared.relay.get_or_init(|| Arc::new(relay)).clone();
        self.shared.keep(tokio::spawn(relay.clone().take(self.shared.clone())));
        self.shared.keep(tokio::spawn(relay.dial(self.shared.clone())));
        Ok(())
    }

    /// Replaces what is known of the ends.
    pub fn set_relay_plan(&self, plan: RelayPlan) {
        if let Some(relay) = self.shared.relay.get() {
            relay.set_plan(plan);
        }
    }

    /// How much was relayed.
    pub fn relay_traffic(&self) -> RelayTraffic {
        self.shared.relay.get().map(|relay| relay.traffic()).unwrap_or_default()
    }

    /// The host whose agent takes the next packet to be relayed to a host: itself, a third one, or none.
    pub fn relayed_by(&self, host: HostId) -> Option<HostId> {
        self.shared.relay.get()?.carrier(&self.shared, host)
    }

    /// Asks the member at `address` (a name or address, with ":PORT" if it is not 7373) to let this host in. Changes
    /// nothing here: the caller stores the result, then sets membership and trust.
    pub async fn join(&self, address: &str, token: &Token, me: &JoinRequest) -> Result<Joined, JoinError> {
        join::join(&self.shared, address, token, me).await
    }

    /// Every host that was dialled or has connected, by id.
    pub fn peers(&self) -> Vec<PeerStatus> {
        self.shared.peers.all().iter().map(|peer| peer.status()).collect()
    }

    /// Closes the connection to a host, if there is one. It may be opened again by either side.
    pub fn disconnect(&self, host: HostId) {
        if let Some(peer) = self.shared.peers.find(host) {
            peer.close_links(wire::Code::Bye, "the connection was closed by hand");
        }
    }

    /// What was dropped or refused since the start.
    pub fn counters(&self) -> Counters {
        self.shared.counters.read()
    }

    /// The address that the socket is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.local_addr
    }

    /// Tells peers goodbye and stops; waits up to a second for that to be sent.
    pub async fn shutdown(&self) {
        self.shared.stop("the agent there stopped");
        let _ = tokio::time::timeout(Duration::from_secs(1), self.shared.endpoint.wait_idle()).await;
    }
}
