//! A number for everything that can be lost.

use std::sync::atomic::{AtomicU64, Ordering};

/// Declares the counters once: a struct of atomics that is counted in, and one of numbers that is read.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Numbers since the start.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Every number with its name, in words.
            pub fn named(&self) -> impl Iterator<Item = (String, u64)> {
                [$((stringify!($name).replace('_', " "), self.$name),)*].into_iter()
            }
        }

        #[derive(Debug, Default)]
        pub(crate) struct Counting {
            $(pub(crate) $name: Counter,)*
        }

        impl Counting {
            pub(crate) fn read(&self) -> Counters {
                Counters { $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// Parcels that found their peer's queue full, or the host in no fabric.
    parcels_dropped,
    /// Parcels whose peer could not be reached, or whose connection broke under them.
    parcels_lost,
    /// Datagrams that arrived while too many events waited.
    datagrams_unread,
    /// Events about refusals and strangers that were not told because too many events waited.
    events_dropped,
    /// Connections dropped unheard because too many strangers were being heard.
    strangers_dropped,
    /// Strangers that were asked to prove their address first, because many were being heard.
    strangers_retried,
    /// Strangers that did not finish their hello in time, or at all.
    strangers_silent,
    /// Peers and joins refused by this host.
    refused,
    /// Joins with a good token refused because there were too many.
    joins_limited,
    /// Streams from members that made no sense.
    streams_garbled,
    /// Datagrams from members that made no sense.
    datagrams_garbled,
    /// Packets to be relayed that were larger than a connection takes; the path's size follows.
    relay_too_large,
    /// Packets to be relayed that found no connection to any host that could pass them on.
    relay_without_way,
    /// Packets that came through agents from or for ends that this host does not know.
    relay_unknown,
    /// Packets that came through agents and that the end's socket refused.
    relay_undelivered,
    /// Packets to the relay's port that no encrypted end of this host had sent.
    relay_strangers,
    /// Messages about relaying that made no sense.
    relay_garbled,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
