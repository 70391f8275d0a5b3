//! A number for all that passes and for everything that is lost, by reason.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes an enum of counted things with their names.
macro_rules! counted {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$about])* $variant,)* }

        impl $name {
            /// All of them, in order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in the answer to `shoal_counters=1`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

counted! {
    /// Why something was dropped.
    Drop {
        /// A frame of the device was shorter than its headers.
        FrameShort = "frame_short",
        /// A frame's hardware addresses were not those that programs write.
        FrameNotAddressed = "frame_not_addressed",
        /// A frame asked for what its packet does not have.
        FrameMalformed = "frame_malformed",
        /// A packet is larger than the tunnel's MTU.
        TooBig = "too_big",
        /// No peer has this tunnel address.
        NoPeer = "no_peer",
        /// The peer's endpoint is not known yet.
        NoEndpoint = "no_endpoint",
        /// Too much waited for a handshake.
        QueueFull = "queue_full",
        /// The handshake that it waited for failed.
        HandshakeFailed = "handshake_failed",
        /// No listen port is set yet.
        NoSocket = "no_socket",
        /// The kernel refused to send it.
        SendFailed = "send_failed",
        /// The kernel refused a frame.
        DeviceFailed = "device_failed",
        /// A datagram that is none of WireGuard's.
        NotWireGuard = "not_wireguard",
        /// A handshake whose first MAC is wrong: not meant for this key.
        HandshakeMac = "handshake_mac",
        /// A handshake from a key that is no peer, or that proves nothing.
        HandshakeRefused = "handshake_refused",
        /// A handshake was answered with a cookie, or dropped, because there were too many.
        HandshakeLimited = "handshake_limited",
        /// A datagram for a session that is not there.
        NoSession = "no_session",
        /// A datagram whose tag is wrong.
        NotAuthentic = "not_authentic",
        /// A datagram that was received before, or is older than the replay window.
        Replayed = "replayed",
        /// What was inside is no VXLAN in IPv4.
        TunnelMalformed = "tunnel_malformed",
        /// A packet inside came from an address that is not the peer's.
        SourceForged = "source_forged",
        /// A packet inside was for another address than ours.
        NotForUs = "not_for_us",
        /// A datagram was longer than any buffer.
        Truncated = "truncated",
    }
}

counted! {
    /// What is counted beside drops.
    Count {
        /// Frames read from the device.
        FramesOut = "frames_out",
        /// Bytes of them.
        FrameBytesOut = "frame_bytes_out",
        /// Frames written to the device.
        FramesIn = "frames_in",
        /// Bytes of them.
        FrameBytesIn = "frame_bytes_in",
        /// Packets encrypted.
        PacketsOut = "packets_out",
        /// Packets decrypted.
        PacketsIn = "packets_in",
        /// System calls that sent.
        SendCalls = "send_calls",
        /// Of these, the ones that sent several datagrams at once.
        SendCallsCut = "send_calls_cut",
        /// Times that the kernel could not cut and datagrams were sent one by one.
        SendUncut = "send_uncut",
        /// Messages received, of one or more datagrams each.
        Received = "received",
        /// Super-packets read from the device.
        SuperOut = "super_out",
        /// Super-packets written to the device.
        SuperIn = "super_in",
        /// Handshakes completed.
        Handshakes = "handshakes",
        /// Handshakes begun by this end.
        Initiations = "initiations",
    }
}

/// Counters of one thread; all are read from any.
#[derive(Debug)]
pub struct Counters {
    drops: [AtomicU64; Drop::ALL.len()],
    counts: [AtomicU64; Count::ALL.len()],
}

impl Default for Counters {
    fn default() -> Self {
        Self { drops: [const { AtomicU64::new(0) }; _], counts: [const { AtomicU64::new(0) }; _] }
    }
}

impl Counters {
    /// Counts one lost packet or frame.
    pub fn drop(&self, reason: Drop) {
        self.drop_many(reason, 1);
    }

    /// Counts lost packets or frames.
    pub fn drop_many(&self, reason: Drop, many: usize) {
        self.drops[reason as usize].fetch_add(many as u64, Ordering::Relaxed);
    }

    /// Adds to a count.
    #[inline]
    pub fn add(&self, count: Count, many: usize) {
        self.counts[count as usize].fetch_add(many as u64, Ordering::Relaxed);
    }

    /// How often this was dropped.
    pub fn dropped(&self, reason: Drop) -> u64 {
        self.drops[reason as usize].load(Ordering::Relaxed)
    }

    /// The count.
    pub fn count(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Ordering::Relaxed)
    }
}

/// Sums of all threads as lines `name=number`, drops as `drop_name=number`.
pub fn report(all: &[Counters]) -> String {
    let mut text = String::new();
    for count in Count::ALL {
        let sum: u64 = all.iter().map(|counters| counters.count(*count)).sum();
        let _ = writeln!(text, "{}={sum}", count.name());
    }
    for reason in Drop::ALL {
        let sum: u64 = all.iter().map(|counters| counters.dropped(*reason)).sum();
        let _ = writeln!(text, "drop_{}={sum}", reason.name());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_summed() {
        let (one, two) = (Counters::default(), Counters::default());
        one.drop(Drop::Replayed);
        two.drop_many(Drop::Replayed, 2);
        two.add(Count::FramesIn, 7);
        let text = report(&[one, two]);
        assert!(text.contains("\ndrop_replayed=3\n"), "{text}");
        assert!(text.contains("\nframes_in=7\n"), "{text}");
    }

    #[test]
    fn names_are_told_apart() {
        let mut names: Vec<_> = Drop::ALL.iter().map(|drop| drop.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Drop::ALL.len());
    }
}
