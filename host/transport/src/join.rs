//! Asks a member to let this host in.
//!
//! Before anything is believed, the member has to prove over this very TLS channel that it knows the token, and its
//! root key has to be the one whose hash the token carries.

use std::net::SocketAddr;
use std::time::Duration;

use quinn::{Connection, ConnectionError};
use shoal_trust::{Certificate, Issuer, Role, Token, check_proof, fabric_id_of, host_id_of, proof, span};
use shoal_types::{FabricId, HostId, WallTime};

use crate::dial::{self, Reached, Unreached};
use crate::event::{JoinRequest, Joined};
use crate::introduce::channel_binding;
use crate::link::{NO_COMMON_PROTOCOL, ending};
use crate::resolve;
use crate::shared::Shared;
use crate::wire::{
    self, Code, FrameError, Grant, JoinAsk, JoinRefusal, JoinReply, Opening, WELCOME_BYTES_MAX,
};

/// How long a member may take to answer: it waits for its agent, and the answer may be large.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const WINDOW_BYTES: u32 = 8 << 20;

/// Why this host was not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// Not an address.
    #[error("\"{0}\" is not the address of a host: write HOST or HOST:PORT")]
    BadAddress(String),
    /// The name has no address.
    #[error("the name {host} cannot be resolved: {why}; use the host's address")]
    Unresolved {
        /// The name.
        host: String,
        /// What the resolver said.
        why: String,
    },
    /// Nothing answers.
    #[error("cannot reach UDP port {port} of {host}: is it open, and is the agent running there?")]
    Unreachable {
        /// The host as it was typed.
        host: String,
        /// The port.
        port: u16,
    },
    /// Dialling failed in another way.
    #[error("cannot connect to {host}: {why}")]
    Failed {
        /// The host as it was typed.
        host: String,
        /// A sentence.
        why: String,
    },
    /// The agent there has no fabric to join.
    #[error("{0} is in no fabric: run `shoal init` there, or join another host")]
    NoFabric(String),
    /// The two agents do not understand each other.
    #[error("{0} speaks another version of Shoal's protocol: install the same version on both hosts")]
    OtherVersion(String),
    /// The token has ended.
    #[error("this join token expired {ago} ago: make a new one with `shoal token` on a member", ago = span(*.0))]
    Expired(Duration),
    /// The token is for another fabric.
    #[error(
        "this join token is of fabric {token}, but {host} belongs to {answered}: name a host of the token's fabric",
        token = token.short(),
        answered = answered.short()
    )]
    OtherFabric {
        /// The host as it was typed.
        host: String,
        /// The token's.
        token: FabricId,
        /// The host's.
        answered: FabricId,
    },
    /// The member does not know the token.
    #[error(
        "{0} does not know this join token: it was revoked or made elsewhere, or has not reached that host yet; \
         make a new one there with `shoal token`"
    )]
    UnknownToken(String),
    /// What answers does not know the token, but pretends to.
    #[error(
        "what answers at {0} could not prove that it knows this join token: somebody may sit in between; \
         nothing was believed"
    )]
    Unproven(String),
    /// This host was forgotten by the fabric.
    #[error(
        "this host was forgotten by the fabric: run `shoal leave` here, which takes a new key, then join again"
    )]
    Forgotten,
    /// Too many joins at once.
    #[error("{0} is letting too many hosts in at the moment: try again in a few seconds")]
    Busy(String),
    /// The member's own words.
    #[error("{host} refused: {sentence}")]
    Refused {
        /// The host as it was typed.
        host: String,
        /// What it said.
        sentence: String,
    },
    /// The answer did not come, or made no sense.
    #[error("{host} did not finish the join: {why}; try again")]
    Broken {
        /// The host as it was typed.
        host: String,
        /// A sentence.
        why: String,
    },
}

pub(crate) async fn join(
    shared: &Shared,
    address: &str,
    token: &Token,
    me: &JoinRequest,
) -> Result<Joined, JoinError> {
    let (host, port) = resolve::split(address).ok_or_else(|| JoinError::BadAddress(address.to_owned()))?;
    let joining = Joining { shared, host, port, token };
    let addresses = joining.resolve().await?;
    let reached = dial::reach(shared, &addresses, None).await.map_err(|why| joining.unreached(&why))?;
    let result = joining.talk(&reached, me).await;
    reached.connection.close(Code::Bye.number(), b"the join is over");
    result
}

/// One attempt to join.
struct Joining<'a> {
    shared: &'a Shared,
    host: &'a str,
    port: u16,
    token: &'a Token,
}

impl Joining<'_> {
    async fn resolve(&self) -> Result<Vec<SocketAddr>, JoinError> {
        let unresolved = |why: String| JoinError::Unresolved { host: self.host.to_owned(), why };
        let addresses = resolve::resolve(self.host, self.port).await;
        let addresses = addresses.map_err(|error| unresolved(error.to_string()))?;
        if addresses.is_empty() {
            return Err(unresolved("it has no address".to_owned()));
        }
        Ok(addresses)
    }

    async fn talk(&self, reached: &Reached, me: &JoinRequest) -> Result<Joined, JoinError> {
        let connection = &reached.connection;
        let binding =
            channel_binding(connection).ok_or_else(|| self.broken("the channel is not complete"))?;
        let reply = tokio::time::timeout(ANSWER_TIMEOUT, self.ask(connection, &binding, me)).await;
        match reply {
            Ok(Ok(JoinReply::Granted(grant))) => self.accept(reached, &binding, *grant),
            Ok(Ok(JoinReply::Refused(refusal))) => Err(self.refused(refusal)),
            Ok(Err(error)) => Err(self.ended(connection, &error)),
            Err(_) => Err(self.broken("no answer came in time")),
        }
    }

    async fn ask(
        &self,
        connection: &Connection,
        binding: &[u8; 32],
        me: &JoinRequest,
    ) -> Result<JoinReply, FrameError> {
        connection.set_receive_window(WINDOW_BYTES.into());
        let (mut send, mut recv) = connection.open_bi().await.map_err(|_| FrameError::Cut)?;
        let ask = JoinAsk {
            fabric: *self.token.fabric().bytes(),
            proof: proof(&self.token.verifier(), binding, Role::Joiner),
            name: me.name.to_string(),
            addresses: me.addresses.clone(),
            quic_port: me.quic_port,
            vxlan_port: me.vxlan_port,
            version: me.version.clone(),
        };
        wire::write_opening(&mut send, &Opening::Join(ask)).await?;
        let _ = send.finish();
        wire::read(&mut recv, WELCOME_BYTES_MAX).await
    }

    fn accept(&self, reached: &Reached, binding: &[u8; 32], grant: Grant) -> Result<Joined, JoinError> {
        if !check_proof(&self.token.verifier(), binding, Role::Introducer, &grant.proof)
            || fabric_id_of(&grant.root_public) != self.token.fabric()
        {
            return Err(JoinError::Unproven(self.host.to_owned()));
        }
        let certificate = Certificate::decode(&grant.certificate)
            .ok()
            .filter(|certificate| self.is_ours(certificate, &reached.key))
            .ok_or_else(|| self.broken("it gave a certificate that is not for this host"))?;
        let member = |(host, key): ([u8; 16], [u8; 32])| (HostId::new(host), key);
        Ok(Joined {
            certificate,
            root_public: grant.root_public,
            introducer: host_id_of(&reached.key),
            introducer_address: crate::socket::plain(reached.connection.remote_address()),
            members: grant.members.into_iter().map(member).collect(),
            welcome: grant.welcome,
            observed_address: grant.observed,
        })
    }

    fn is_ours(&self, certificate: &Certificate, introducer: &[u8; 32]) -> bool {
        certificate.fabric == self.token.fabric()
            && certificate.key == self.shared.config.key.public()
            && certificate.host == self.shared.id
            && certificate.issuer == Issuer::Member(host_id_of(introducer))
            && certificate.is_signed_by(introducer)
    }

    fn refused(&self, refusal: JoinRefusal) -> JoinError {
        let host = self.host.to_owned();
        let wall = self.shared.clock.wall();
        match refusal {
            JoinRefusal::OtherFabric(answered) => {
                JoinError::OtherFabric { host, token: self.token.fabric(), answered: FabricId::new(answered) }
            }
            // Facts about a token go some time after its end: then only the token itself knows.
            JoinRefusal::UnknownToken if self.token.expires() < wall => {
                JoinError::Expired(wall.since(self.token.expires()))
            }
            JoinRefusal::UnknownToken => JoinError::UnknownToken(host),
            JoinRefusal::ExpiredToken(at) => JoinError::Expired(wall.since(WallTime::from_millis(at))),
            JoinRefusal::Forgotten => JoinError::Forgotten,
            JoinRefusal::Busy => JoinError::Busy(host),
            JoinRefusal::Said(text) => JoinError::Refused { host, sentence: wire::sentence(text.as_bytes()) },
        }
    }

    fn unreached(&self, why: &Unreached) -> JoinError {
        let host = self.host.to_owned();
        match why {
            Unreached::Silent(_) => JoinError::Unreachable { host, port: self.port },
            Unreached::Ended(_, ConnectionError::ConnectionClosed(close)) => {
                match u64::from(close.error_code) {
                    NO_COMMON_PROTOCOL => JoinError::OtherVersion(host),
                    // CONNECTION_REFUSED: RFC 9000, section 20.1.
                    0x2 => JoinError::NoFabric(host),
                    _ => JoinError::Failed { host, why: why.to_string() },
                }
            }
            Unreached::Ended(_, ConnectionError::VersionMismatch) => JoinError::OtherVersion(host),
            _ => JoinError::Failed { host, why: why.to_string() },
        }
    }

    fn ended(&self, connection: &Connection, error: &FrameError) -> JoinError {
        match connection.close_reason() {
            Some(reason @ ConnectionError::ApplicationClosed(_)) => {
                JoinError::Refused { host: self.host.to_owned(), sentence: ending(&reason).why }
            }
            Some(reason) => self.broken(&ending(&reason).why),
            None => self.broken(&error.to_string()),
        }
    }

    fn broken(&self, why: &str) -> JoinError {
        JoinError::Broken { host: self.host.to_owned(), why: why.to_owned() }
    }
}
