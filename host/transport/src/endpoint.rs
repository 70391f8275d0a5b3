//! The QUIC endpoint and what a connection may use.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use quinn::{ClientConfig, Endpoint, EndpointConfig, ServerConfig, TransportConfig, VarInt};

use crate::config::Config;
use crate::socket::TransportError;
use crate::tls;

/// Unread bytes that a stranger may have on the way to us.
const STRANGER_WINDOW_BYTES: u32 = 64 << 10;

/// One socket that listens and dials. The key of stateless resets comes from the host's key, so that after a restart
/// old connections are told at once that they are dead (RFC 9000, section 10.3).
pub(crate) fn open(config: &Config, socket: UdpSocket) -> Result<(Endpoint, ClientConfig), TransportError> {
    let reset = config.key.derive("quic stateless reset");
    let mut options =
        EndpointConfig::new(Arc::new(aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &reset)));
    options.cid_generator(|| Box::new(RandomIds));

    let (server, client) = ends(config, 1)?;
    let runtime = Arc::new(quinn::TokioRuntime);
    let refused = |error| TransportError::Listen { address: config.listen, error };
    let endpoint = Endpoint::new(options, Some(server), socket, runtime).map_err(refused)?;
    Ok((endpoint, client))
}

/// How new connections are accepted and dialled. They are probed `slower` times less often than the limits say.
pub(crate) fn ends(config: &Config, slower: u32) -> Result<(ServerConfig, ClientConfig), TransportError> {
    let transport = Arc::new(transport(config, slower));
    let mut server = ServerConfig::with_crypto(Arc::new(tls::server(&config.key, tls::ALPN)?));
    server.transport_config(transport.clone());
    server.max_incoming(4 * config.limits.strangers_max).incoming_buffer_size(16 << 10);
    server.incoming_buffer_size_total(1 << 20);
    let mut client = ClientConfig::new(Arc::new(tls::client(&config.key)?));
    client.transport_config(transport);
    Ok((server, client))
}

/// How much less often connections are probed in a fabric of so many hosts. Each host keeps one to every other: at the
/// pace that suits ten, a thousand would cost 12 kB/s. Not slower than five times, 25 s by default, since address
/// translators forget a flow after 30.
pub(crate) fn slower_among(hosts: usize) -> u32 {
    let hundreds = u32::try_from(hosts.div_ceil(100)).unwrap_or(u32::MAX);
    hundreds.checked_next_power_of_two().unwrap_or(u32::MAX).min(5)
}

/// What a connection may use before its other end has proved membership.
fn transport(config: &Config, slower: u32) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.max_concurrent_uni_streams(0_u32.into()).max_concurrent_bidi_streams(1_u32.into());
    transport.receive_window(STRANGER_WINDOW_BYTES.into()).stream_receive_window((1_u32 << 20).into());
    transport.datagram_receive_buffer_size(Some(256 << 10)).datagram_send_buffer_size(1 << 20);
    transport.keep_alive_interval(Some(config.limits.keep_alive * slower));
    let idle = u32::try_from((config.limits.idle_timeout * slower).as_millis()).unwrap_or(u32::MAX);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_probed_less_often_among_many_hosts() {
        assert_eq!([1, 100, 101, 300, 500, 4_000].map(slower_among), [1, 1, 2, 4, 5, 5]);
    }
}
