//! A LAN: delays, the speed of its links, what packets weigh, and what hosts send that the simulated ones do not.
#![allow(clippy::cast_precision_loss, reason = "counts of hosts and bytes, far below 2^52")]

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use shoal_kit::Prng;
use shoal_paths::{Bulk, Paths};
use shoal_types::{HostId, Moment};

use crate::network::{chance, draw};

/// Payload of a QUIC packet of a stream: 1,200 bytes less its headers, as before any path was searched for more.
const STREAM_BYTES_PER_PACKET: u64 = 1_150;

/// What every packet has around its payload: IPv4 20, UDP 8, QUIC's short header 1 + 8 (connection id) + 2 (number),
/// frame 4, tag 16 (RFC 9000, 9001), and half of an acknowledgement of 55 bytes: one is sent for two packets, and many
/// ride along.
const PACKET_OVERHEAD_BYTES: u64 = 59 + 28;

/// Bits per second of a host's link.
const LINK_BITS_PER_SECOND: u64 = 1_000_000_000;

/// What a datagram of so many bytes weighs on the wire, its share of acknowledgements included.
pub(crate) fn of_datagram(bytes: usize) -> u64 {
    bytes as u64 + PACKET_OVERHEAD_BYTES
}

/// What a message of so many bytes, on a stream of its own, weighs on the wire.
pub(crate) fn of_message(bytes: usize) -> u64 {
    let bytes = bytes as u64;
    bytes + bytes.div_ceil(STREAM_BYTES_PER_PACKET).max(1) * PACKET_OVERHEAD_BYTES
}

/// What a host sends to keep its connections open: on each a probe or its acknowledgement per pause. The pauses are
/// those of `host/transport`: 5 s up to 100 hosts, then longer, 25 s from 401 hosts on.
pub fn connections_bytes_per_second(hosts: usize) -> f64 {
    const PROBE_BYTES: f64 = 56.0;
    let pause = match hosts {
        0..=100 => 5.0,
        101..=200 => 10.0,
        201..=400 => 20.0,
        _ => 25.0,
    };
    (hosts as f64 - 1.0) * PROBE_BYTES / pause
}

/// What a host sends to watch its paths through the tunnels, as `core/paths` decides: measured on one host whose every
/// probe is answered at once, in the hour after the first three.
pub fn paths_bytes_per_second(hosts: usize) -> f64 {
    // Outer headers of an encrypted packet, an answer's length, and a bulk with TCP's and the tunnel's headers.
    let (tunnel, answer, bulk) = (130, 128, 262_144 * 11 / 10);
    let id = |number: usize| HostId::new((number as u128).to_be_bytes());
    let peers = (1..hosts).map(|peer| (id(peer), 1_370)).collect();
    let mut paths = Paths::new(1);
    let mut now = Moment::ZERO;
    paths.set_hosts(&peers, now);
    let (begin, end) = (Duration::from_secs(3 * 3_600), Duration::from_secs(4 * 3_600));
    let mut sent = 0;
    while now.since(Moment::ZERO) < end {
        let mut effects = VecDeque::from(paths.tick(now));
        while let Some(effect) = effects.pop_front() {
            let bytes = match effect {
                shoal_paths::Effect::Probe { host, nonce, bytes } => {
                    effects.extend(paths.answered(host, nonce, now));
                    // As many as it sends it answers.
                    u64::from(bytes) + tunnel + answer + tunnel
                }
                shoal_paths::Effect::Transfer(host) => {
                    effects.extend(paths.bulk(host, Bulk::Intact));
                    bulk
                }
                shoal_paths::Effect::Found(..) => 0,
            };
            sent += if now.since(Moment::ZERO) >= begin { bytes } else { 0 };
        }
        now = paths.next_timeout().unwrap_or(now).max(now + Duration::from_millis(100));
    }
    sent as f64 / (end - begin).as_secs_f64()
}

/// A switch with a link to each host. A packet takes 100 to 500 us, waits behind what is sent from and to the same
/// links, and takes its host [`Lan::handling`] before it is looked at.
#[derive(Debug)]
pub struct Lan {
    /// Time from the link to the agent's decision: wake-ups, decryption, the decision itself.
    pub handling: Duration,
    /// Datagrams that are lost, in thousandths.
    pub loss_per_mille: u32,
    busy: BTreeMap<(usize, bool), Moment>,
    received: BTreeMap<usize, u64>,
}

impl Default for Lan {
    fn default() -> Self {
        Self {
            handling: Duration::from_micros(500),
            loss_per_mille: 1,
            busy: BTreeMap::new(),
            received: BTreeMap::new(),
        }
    }
}

impl Lan {
    /// When something reaches its host; `None`: it is lost.
    pub(crate) fn carry(
        &mut self,
        from: usize,
        to: usize,
        wire_bytes: u64,
        may_be_lost: bool,
        now: Moment,
        prng: &mut Prng,
    ) -> Option<Moment> {
        let sent = self.occupy((from, false), wire_bytes, now);
        if may_be_lost && chance(prng, self.loss_per_mille) {
            return None;
        }
        let delay = draw(prng, &(Duration::from_micros(100)..Duration::from_micros(500)));
        *self.received.entry(to).or_default() += wire_bytes;
        Some(self.occupy((to, true), wire_bytes, sent + delay) + self.handling)
    }

    /// Bytes that were sent to a host.
    pub(crate) fn received(&self, host: usize) -> u64 {
        self.received.get(&host).copied().unwrap_or_default()
    }

    /// A link carries one packet after the other.
    fn occupy(&mut self, link: (usize, bool), wire_bytes: u64, from: Moment) -> Moment {
        let busy = self.busy.entry(link).or_default();
        let takes = Duration::from_nanos(wire_bytes * 8 * 1_000_000_000 / LINK_BITS_PER_SECOND);
        *busy = from.max(*busy) + takes;
        *busy
    }
}
