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
