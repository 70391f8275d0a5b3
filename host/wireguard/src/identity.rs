//! This end's key, and the limits on what strangers may ask of it.

use std::net::IpAddr;
use std::sync::Arc;

use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Packet, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use shoal_types::{WireGuardKey, WireGuardSecret};

use crate::counters::Drop;
use crate::outbox::Outbox;
use crate::peer::MESSAGE;

/// Handshakes in a second that are answered without asking the sender for a proof that it is where it says: one costs
/// about a third of a millisecond.
const HANDSHAKES_PER_SECOND: u64 = 300;

/// A private key with what is derived from it.
pub(crate) struct Identity {
    secret: WireGuardSecret,
    private: StaticSecret,
    public: PublicKey,
    gate: RateLimiter,
    /// Sessions check the first MAC again; the limit is the gate's alone.
    open: Arc<RateLimiter>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    /// The identity of a private key.
    pub(crate) fn new(secret: WireGuardSecret) -> Self {
        let private = StaticSecret::from(*secret.reveal());
        let public = PublicKey::from(&private);
        let gate = RateLimiter::new(&public, HANDSHAKES_PER_SECOND);
        let open = Arc::new(RateLimiter::new(&public, u64::MAX));
        Self { secret, private, public, gate, open }
    }

    /// The private key as it was set.
    pub(crate) const fn secret(&self) -> &WireGuardSecret {
        &self.secret
    }

    /// The public key.
    pub(crate) fn key(&self) -> WireGuardKey {
        WireGuardKey::new(*self.public.as_bytes())
    }

    pub(crate) fn private(&self) -> StaticSecret {
        self.private.clone()
    }

    pub(crate) fn limiter_of_sessions(&self) -> Arc<RateLimiter> {
        Arc::clone(&self.open)
    }

    /// Begins a new second for the limit.
    pub(crate) fn second_passed(&self) {
        self.gate.reset_count();
        self.open.reset_count();
    }

    /// Checks a message of a handshake before it costs anything. For an initiation, says who sends it.
    ///
    /// Under load a cookie is put into the outbox in place of an answer.
    pub(crate) fn admit(
        &self,
        from: std::net::SocketAddr,
        message: &[u8],
        outbox: &mut Outbox,
    ) -> Result<Option<WireGuardKey>, Drop> {
        let from_ip: IpAddr = from.ip();
        let room = outbox.room(MESSAGE).ok_or(Drop::SendFailed)?;
        let packet = match self.gate.verify_packet(Some(from_ip), message, room) {
            Ok(packet) => packet,
            Err(TunnResult::WriteToNetwork(cookie)) => {
                let length = cookie.len();
                outbox.keep(from, length);
                return Err(Drop::HandshakeLimited);
            }
            Err(_) => return Err(Drop::HandshakeMac),
        };
        let Packet::HandshakeInit(initiation) = packet else { return Ok(None) };
        let half = parse_handshake_anon(&self.private, &self.public, &initiation);
        let half = half.map_err(|_| Drop::HandshakeRefused)?;
        Ok(Some(WireGuardKey::new(half.peer_static_public)))
    }
}
