//! Times and sizes of the protocol.
//!
//! A dead host is noticed by the first host that probes it (about one period), found silent at the end of that probe
//! (one period), suspected for [`suspicion`], and the news is out a few hundred milliseconds later: 4 to 5 seconds
//! on a LAN. A message lost on the way costs nothing: a probe fails only if the direct way and three indirect ones
//! fail, and a suspect has ten rounds of gossip to object.

use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use foca::{Config, PeriodicParams};

/// Bytes of one message at most: fits a QUIC datagram on any path that QUIC accepts (1,200 bytes, RFC 9000 14.1).
pub const MESSAGE_BYTES_MAX: usize = 1_100;

/// How often a host probes another one.
pub const PROBE_PERIOD: Duration = Duration::from_millis(800);

/// How long a direct answer may take before others are asked to probe.
const PROBE_RTT: Duration = Duration::from_millis(300);

/// Pause between calls to hosts that are not alive.
pub const CALL_PAUSE: Duration = Duration::from_secs(3);

/// Hosts called then, chosen at random among those that are not alive.
pub const CALLED_AT_ONCE: usize = 3;

/// Hosts called at once that have just become known, chosen at random among them: enough for speed, few enough that the
/// start of one host among a thousand opens no thousand connections.
pub const CALLED_AT_START: usize = 16;

/// How often a host that was suspected repeats that it is alive, and the pause between.
pub(crate) const OBJECTIONS: u8 = 8;
/// See [`OBJECTIONS`].
pub(crate) const OBJECTION_PAUSE: Duration = Duration::from_millis(200);

/// How often news is repeated in the smallest cluster; grows with the logarithm of its size.
const REPEATS_MIN: f64 = 10.0;

/// The protocol's settings for a cluster of this size, this host included.
pub(crate) fn config(hosts: usize) -> Config {
    let three = NonZeroUsize::MIN.saturating_add(2);
    let every = |frequency, num_members| Some(PeriodicParams { frequency, num_members });
    Config {
        probe_period: PROBE_PERIOD,
        probe_rtt: PROBE_RTT,
        num_indirect_probes: three,
        max_transmissions: repeats(hosts),
        suspect_to_down_after: suspicion(hosts),
        // A later life replaces an earlier one, so memory is bounded by hosts, not by restarts.
        remove_down_after: None,
        // One byte is the version's.
        max_packet_size: NonZeroUsize::MIN.saturating_add(MESSAGE_BYTES_MAX - 2),
        notify_down_members: true,
        periodic_announce: every(Duration::from_secs(30), NonZeroUsize::MIN),
        // Hosts that are not alive are called by `Membership`, which also does so when nobody is alive.
        periodic_announce_to_down_members: None,
        periodic_gossip: every(Duration::from_millis(200), three),
    }
}

/// How long a suspect may object: 2 s up to ten hosts, one second more for each further power of ten.
fn suspicion(hosts: usize) -> Duration {
    Duration::from_secs_f64(1.0 + powers_of_ten(hosts))
}

fn repeats(hosts: usize) -> NonZeroU8 {
    let repeats = REPEATS_MIN * (1.0 + powers_of_ten(hosts)) / 2.0;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 10 and 100 for any count of hosts that fits memory; `as` saturates"
    )]
    NonZeroU8::MIN.saturating_add(repeats as u8 - 1)
}

#[allow(clippy::cast_precision_loss, reason = "a logarithm of a count of hosts needs no precision")]
fn powers_of_ten(hosts: usize) -> f64 {
    (hosts as f64).log10().max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspicion_and_repeats_grow_slowly() {
        let settings = |hosts| (suspicion(hosts).as_millis(), repeats(hosts).get());
        assert_eq!(settings(1), (2_000, 10));
        assert_eq!(settings(10), (2_000, 10));
        assert_eq!(settings(100), (3_000, 15));
        assert_eq!(settings(1_000), (4_000, 20));
    }

    #[test]
    fn a_message_with_its_version_is_as_long_as_promised() {
        assert_eq!(config(3).max_packet_size.get() + 1, MESSAGE_BYTES_MAX);
    }
}
