//! The QUIC endpoint and what a connection may use.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Endpoint, EndpointConfig, TransportConfig, VarInt};

use crate::config::Config;
use crate::socket::TransportError;
use crate::tls;

/// Unread bytes that a stranger may have on the way to us.
const STRANGER_WINDOW_BYTES: u32 = 64 << 10;

/// One socket that listens and dials. The key of stateless resets comes from the host's key, so that after a restart
/// old connections are told at once that they are dead (RFC 9000, section 10.3).
pub(crate) fn open(config: &Config, socket: UdpSocket) -> Result<Endpoint, TransportError> {
    let reset = config.key.derive("quic stateless reset");
    let mut options =
        EndpointConfig::new(Arc::new(aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &reset)));
    options.cid_generator(|| Box::new(RandomIds));

    let transport = Arc::new(transport(config));
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(tls::server(&config.key, tls::ALPN)?));
    server.transport_config(transport.clone());
    server.max_incoming(4 * config.limits.strangers_max).incoming_buffer_size(16 << 10);
    server.incoming_buffer_size_total(1 << 20);
    let mut client = quinn::ClientConfig::new(Arc::new(tls::client(&config.key)?));
    client.transport_config(transport);

    let runtime = Arc::new(quinn::TokioRuntime);
    let refused = |error| TransportError::Listen { address: config.listen, error };
    let mut endpoint = Endpoint::new(options, Some(server), socket, runtime).map_err(refused)?;
    endpoint.set_default_client_config(client);
    Ok(endpoint)
}

/// What a connection may use before its other end has proved membership.
fn transport(config: &Config) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.max_concurrent_uni_streams(0_u32.into()).max_concurrent_bidi_streams(1_u32.into());
    transport.receive_window(STRANGER_WINDOW_BYTES.into()).stream_receive_window((1_u32 << 20).into());
    transport.datagram_receive_buffer_size(Some(256 << 10)).datagram_send_buffer_size(1 << 20);
    transport.keep_alive_interval(Some(config.limits.keep_alive));
    let idle = u32::try_from(config.limits.idle_timeout.as_millis()).unwrap_or(u32::MAX);
    transport.max_idle_timeout(Some(VarInt::from_u32(idle).into()));
    transport
}

/// Connection ids of 8 random bytes. Unlike quinn's own they carry no mark of the process that made them, which
/// would have packets of connections from before a restart dropped in silence instead of answered by a reset.
#[derive(Debug)]
struct RandomIds;

impl quinn::ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> quinn::ConnectionId {
        // Without randomness TLS would not have come this far.
        quinn::ConnectionId::new(&random().unwrap_or_default().to_be_bytes())
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

pub(crate) fn random() -> Result<u64, TransportError> {
    let mut bytes = [0; 8];
    let failed = |_| rustls::Error::FailedToGetRandomBytes;
    aws_lc_rs::rand::fill(&mut bytes).map_err(failed)?;
    Ok(u64::from_be_bytes(bytes))
}
