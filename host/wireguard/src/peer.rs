//! One other end: its session, where it is, and what waits for its handshake.
//!
//! The protocol's state machine is boringtun's. It reads the clock itself; nothing here opens a socket: what must be
//! sent is put into an [`Outbox`].

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use boringtun::noise::errors::WireGuardError;
use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::PublicKey;
use shoal_ports::{Clock, SystemClock};
use shoal_types::{WallTime, WireGuardKey, WireGuardSecret};

use crate::counters::{Count, Counters, Drop};
use crate::identity::Identity;
use crate::outbox::Outbox;
use crate::segment::Cut;
use crate::uapi::PeerState;

/// Bytes that WireGuard adds to a packet: header and tag.
pub(crate) const SEALED: usize = 32;
/// Room that any message of the protocol fits into, bytes.
pub(crate) const MESSAGE: usize = 148;
/// Time between two calls of [`Inside::tick`].
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// Frames that may wait for a handshake.
const WAITING_MAX: usize = 128;
/// Bytes of them.
const WAITING_BYTES_MAX: usize = 1 << 20;
const TICKS_PER_SECOND: u32 = 4;
/// First byte of a message with data.
const DATA: u8 = 4;

/// One other end.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Who it is.
    pub(crate) key: WireGuardKey,
    /// The upper 24 bits of the index of all its sessions.
    pub(crate) slot: u32,
    /// Zero for none.
    address: AtomicU32,
    inside: Mutex<Inside>,
}

/// What one thread at a time may touch.
pub(crate) struct Inside {
    tunn: Option<Tunn>,
    slot: u32,
    key: WireGuardKey,
    preshared: Option<WireGuardSecret>,
    /// Where it is.
    pub(crate) endpoint: Option<SocketAddr>,
    /// Interval of keepalives, seconds; 0 for none.
    pub(crate) keepalive: u16,
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    received: u64,
    sent: u64,
    last_handshake: Option<WallTime>,
    clock: SystemClock,
    /// A handshake of the other end was answered; its first data completes it.
    is_answered: bool,
    /// `sent` at the last tick, and for how many ticks it has not changed.
    quiet: (u64, u32),
}

impl std::fmt::Debug for Inside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inside").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// What a datagram was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    /// A packet of this length, now in the buffer.
    Packet(usize),
    /// Nothing to hand on.
    Nothing,
}

impl Peer {
    /// One without a session, an endpoint or an address.
    pub(crate) fn new(key: WireGuardKey, slot: u32, clock: SystemClock, identity: Option<&Identity>) -> Self {
        let mut inside = Inside {
            tunn: None,
            slot,
            key,
            preshared: None,
            endpoint: None,
            keepalive: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            received: 0,
            sent: 0,
            last_handshake: None,
            clock,
            is_answered: false,
            quiet: (0, 0),
        };
        inside.begin(identity);
        Self { key, slot, address: AtomicU32::new(0), inside: Mutex::new(inside) }
    }

    /// Its one address in the tunnel.
    #[inline]
    pub(crate) fn address(&self) -> Option<Ipv4Addr> {
        let address = self.address.load(Ordering::Relaxed);
        (address != 0).then(|| address.into())
    }

    /// Gives it an address, or none.
    pub(crate) fn set_address(&self, address: Option<Ipv4Addr>) {
        self.address.store(address.map_or(0, u32::from), Ordering::Relaxed);
    }

    /// What one thread at a time may touch.
    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inside> {
        // What a thread that panicked has left is no worse than a lost datagram.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is told of it.
    pub(crate) fn state(&self) -> PeerState {
        let inside = self.lock();
        PeerState {
            key: self.key,
            preshared: inside.preshared.clone(),
            endpoint: inside.endpoint,
            keepalive: (inside.keepalive > 0).then_some(inside.keepalive),
            last_handshake: inside.last_handshake.map(|wall| Duration::from_millis(wall.as_millis())),
            received: inside.received,
            sent: inside.sent,
            address: self.address(),
        }
    }
}

impl Inside {
    /// Forgets all sessions and starts anew with these keys.
    pub(crate) fn begin(&mut self, identity: Option<&Identity>) {
        self.is_answered = false;
        self.tunn = identity.map(|identity| {
            let preshared = self.preshared.as_ref().map(|secret| *secret.reveal());
            let public = PublicKey::from(*self.key.bytes());
            Tunn::new(
                identity.private(),
                public,
                preshared,
                None,
                self.slot,
                Some(identity.limiter_of_sessions()),
            )
        });
    }

    /// The pre-shared key.
    pub(crate) fn preshared(&self) -> Option<&WireGuardSecret> {
        self.preshared.as_ref()
    }

    /// Sets the pre-shared key, for [`Inside::begin`] to use.
    pub(crate) fn set_preshared(&mut self, preshared: Option<WireGuardSecret>) {
        self.preshared = preshared;
    }

    /// Whether there is a session to send with.
    #[inline]
    pub(crate) fn has_session(&self) -> bool {
        self.tunn.as_ref().is_some_and(|tunn| tunn.time_since_last_handshake().is_some())
    }

    /// Encrypts one packet of `cut` into `room`, which has space for the padded packet and [`SEALED`] bytes; `scratch`
    /// for the padded packet. Returns the length of the datagram.
    #[inline]
    pub(crate) fn seal(
        &mut self,
        cut: &Cut<'_>,
        index: usize,
        mtu: usize,
        scratch: &mut [u8],
        room: &mut [u8],
    ) -> Option<usize> {
        let length = cut.write(index, scratch);
        // Whole blocks of 16, as long as they fit (section 5.4.6 of the paper).
        let padded = length.next_multiple_of(16).min(mtu).max(length);
        scratch[length..padded].fill(0);
        match self.tunn.as_mut()?.encapsulate(&scratch[..padded], room) {
            TunnResult::WriteToNetwork(datagram) => {
                self.sent += datagram.len() as u64;
                Some(datagram.len())
            }
            _ => None,
        }
    }

    /// Keeps a frame until there is a session, and begins a handshake if none is under way.
    pub(crate) fn wait(&mut self, frame: &[u8], outbox: &mut Outbox, counters: &Counters) {
        let is_full =
            self.waiting.len() == WAITING_MAX || self.waiting_bytes + frame.len() > WAITING_BYTES_MAX;
        if is_full {
            counters.drop(Drop::QueueFull);
        } else {
            self.waiting_bytes += frame.len();
            self.waiting.push_back(frame.to_vec());
        }
        self.initiate(outbox, counters);
    }

    /// The frames that waited, once there is a session.
    #[inline]
    pub(crate) fn take_waiting(&mut self) -> VecDeque<Vec<u8>> {
        if self.waiting.is_empty() || !self.has_session() {
            return VecDeque::new();
        }
        self.waiting_bytes = 0;
        std::mem::take(&mut self.waiting)
    }

    /// Drops what waits.
    pub(crate) fn drop_waiting(&mut self, counters: &Counters) {
        counters.drop_many(Drop::HandshakeFailed, self.waiting.len());
        self.waiting.clear();
        self.waiting_bytes = 0;
    }

    /// Begins a handshake, unless one is under way or nobody knows where the other end is.
    pub(crate) fn initiate(&mut self, outbox: &mut Outbox, counters: &Counters) {
        let (Some(tunn), Some(to), Some(room)) = (self.tunn.as_mut(), self.endpoint, outbox.room(MESSAGE))
        else {
            return;
        };
        if let TunnResult::WriteToNetwork(message) = tunn.format_handshake_initiation(room, false) {
            let length = message.len();
            counters.add(Count::Initiations, 1);
            self.sent += length as u64;
            outbox.keep(to, length);
        }
    }

    /// Lets time pass: handshakes are repeated, sessions end, keepalives are sent. To be called every [`TICK`].
    pub(crate) fn tick(&mut self, outbox: &mut Outbox, counters: &Counters) {
        let (Some(tunn), Some(room)) = (self.tunn.as_mut(), outbox.room(MESSAGE)) else { return };
        match tunn.update_timers(room) {
            TunnResult::WriteToNetwork(message) => {
                let (length, is_data) = (message.len(), message[0] == DATA);
                if let Some(to) = self.endpoint {
                    counters.add(Count::Initiations, usize::from(!is_data));
                    self.sent += length as u64;
                    outbox.keep(to, length);
                }
            }
            TunnResult::Err(WireGuardError::ConnectionExpired) => self.drop_waiting(counters),
            _ => {}
        }
        self.keep_alive(outbox, counters);
    }

    fn keep_alive(&mut self, outbox: &mut Outbox, counters: &Counters) {
        let (sent, ticks) = self.quiet;
        self.quiet = if sent == self.sent { (sent, ticks.saturating_add(1)) } else { (self.sent, 0) };
        let is_due = self.keepalive > 0 && self.quiet.1 >= u32::from(self.keepalive) * TICKS_PER_SECOND;
        if !is_due {
            return;
        }
        if self.has_session() { self.send_empty(outbox) } else { self.initiate(outbox, counters) }
    }

    fn send_empty(&mut self, outbox: &mut Outbox) {
        let (Some(tunn), Some(to), Some(room)) = (self.tunn.as_mut(), self.endpoint, outbox.room(MESSAGE))
        else {
            return;
        };
        if let TunnResult::WriteToNetwork(message) = tunn.encapsulate(&[], room) {
            let length = message.len();
            self.sent += length as u64;
            outbox.keep(to, length);
        }
    }

    /// Decrypts a data message into `out`, which has room for its length. The packet lies at the start of `out`.
    #[inline]
    pub(crate) fn open(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        out: &mut [u8],
        counters: &Counters,
    ) -> Result<Opened, Drop> {
        let tunn = self.tunn.as_mut().ok_or(Drop::NoSession)?;
        let opened = match tunn.decapsulate(Some(from.ip()), datagram, out) {
            TunnResult::WriteToTunnelV4(packet, _) => Opened::Packet(packet.len()),
            TunnResult::WriteToTunnelV6(..) => return Err(Drop::TunnelMalformed),
            TunnResult::Done => Opened::Nothing,
            TunnResult::WriteToNetwork(_) => return Err(Drop::NotWireGuard),
            TunnResult::Err(error) => return Err(reason(&error)),
        };
        self.heard(from, datagram.len());
        if self.is_answered {
            self.completed(counters);
        }
        Ok(opened)
    }

    /// Takes a message of a handshake. The answer goes to where it came from.
    pub(crate) fn shake(
        &mut self,
        from: SocketAddr,
        message: &[u8],
        outbox: &mut Outbox,
        counters: &Counters,
    ) -> Result<(), Drop> {
        let tunn = self.tunn.as_mut().ok_or(Drop::NoSession)?;
        let is_initiation = message[0] == 1;
        let is_cookie = message[0] == 3;
        let room = outbox.room(MESSAGE).ok_or(Drop::SendFailed)?;
        match tunn.decapsulate(Some(from.ip()), message, room) {
            TunnResult::WriteToNetwork(answer) => {
                let length = answer.len();
                self.sent += length as u64;
                outbox.keep(from, length);
            }
            TunnResult::Err(error) => return Err(reason(&error)),
            _ => {}
        }
        self.heard(from, message.len());
        if is_initiation {
            self.is_answered = true;
        } else if !is_cookie {
            self.completed(counters);
            self.send_kept_back(from, outbox);
        }
        Ok(())
    }

    /// Keepalives that were due while there was no session wait inside the state machine; it wants to be asked.
    fn send_kept_back(&mut self, to: SocketAddr, outbox: &mut Outbox) {
        let Some(tunn) = self.tunn.as_mut() else { return };
        while let Some(room) = outbox.room(MESSAGE) {
            match tunn.decapsulate(None, &[], room) {
                TunnResult::WriteToNetwork(message) => {
                    let length = message.len();
                    outbox.keep(to, length);
                }
                _ => return,
            }
        }
    }

    /// Something authentic came from there: that is where the other end is now.
    #[inline]
    fn heard(&mut self, from: SocketAddr, bytes: usize) {
        self.received += bytes as u64;
        if self.endpoint != Some(from) {
            self.endpoint = Some(from);
        }
    }

    fn completed(&mut self, counters: &Counters) {
        self.is_answered = false;
        self.last_handshake = Some(self.clock.wall());
        counters.add(Count::Handshakes, 1);
    }
}

fn reason(error: &WireGuardError) -> Drop {
    match error {
        WireGuardError::InvalidCounter
        | WireGuardError::DuplicateCounter
        | WireGuardError::WrongTai64nTimestamp => Drop::Replayed,
        WireGuardError::InvalidAeadTag => Drop::NotAuthentic,
        WireGuardError::NoCurrentSession | WireGuardError::WrongIndex | WireGuardError::UnexpectedPacket => {
            Drop::NoSession
        }
        WireGuardError::InvalidMac => Drop::HandshakeMac,
        WireGuardError::UnderLoad => Drop::HandshakeLimited,
        WireGuardError::WrongKey => Drop::HandshakeRefused,
        WireGuardError::InvalidPacket => Drop::TunnelMalformed,
        _ => Drop::NotWireGuard,
    }
}
