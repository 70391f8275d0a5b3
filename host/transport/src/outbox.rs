//! What waits to be sent to one peer, bounded in number and bytes.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

/// How a parcel is handed over at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Datagram,
    Message,
    /// About relayed packets; never over a stream.
    Relay,
}

impl Kind {
    /// The first byte of a stream or QUIC datagram that carries a parcel of this kind.
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::Datagram => 0,
            Self::Message => 1,
            Self::Relay => 2,
        }
    }

    pub(crate) const fn of(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Datagram),
            1 => Some(Self::Message),
            2 => Some(Self::Relay),
            _ => None,
        }
    }
}

/// Something to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parcel {
    pub(crate) kind: Kind,
    pub(crate) bytes: Bytes,
}

/// A queue that refuses what exceeds its bounds; nothing waits to get in.
#[derive(Debug)]
pub(crate) struct Outbox {
    parcels_max: usize,
    bytes_max: usize,
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    parcels: VecDeque<Parcel>,
    bytes: usize,
}

impl Outbox {
    pub(crate) fn new(parcels_max: usize, bytes_max: usize) -> Self {
        Self { parcels_max, bytes_max, waiting: Mutex::default(), filled: Notify::new() }
    }

    /// Whether there was room.
    pub(crate) fn push(&self, parcel: Parcel) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = waiting.bytes + parcel.bytes.len();
        if waiting.parcels.len() >= self.parcels_max || bytes > self.bytes_max {
            return false;
        }
        waiting.bytes = bytes;
        waiting.parcels.push_back(parcel);
        self.filled.notify_one();
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).parcels.is_empty()
    }

    /// The oldest parcel, once there is one. For one caller at a time.
    pub(crate) async fn next(&self) -> Parcel {
        loop {
            if let Some(parcel) = self.take() {
                return parcel;
            }
            self.filled.notified().await;
        }
    }

    /// Throws everything away; returns how many.
    pub(crate) fn clear(&self) -> usize {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.parcels.len();
        *waiting = Waiting::default();
        count
    }

    fn take(&self) -> Option<Parcel> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let parcel = waiting.parcels.pop_front()?;
        waiting.bytes -= parcel.bytes.len();
        Some(parcel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parcel(length: usize) -> Parcel {
        Parcel { kind: Kind::Message, bytes: vec![0; length].into() }
    }

    #[tokio::test]
    async fn an_outbox_is_bounded_in_number_and_bytes() {
        let outbox = Outbox::new(2, 100);
        assert!(!outbox.push(parcel(101)));
        assert!(outbox.push(parcel(60)));
        assert!(!outbox.push(parcel(60)));
        assert!(outbox.push(parcel(1)));
        assert!(!outbox.push(parcel(1)));
        assert_eq!(outbox.next().await, parcel(60));
        assert!(outbox.push(parcel(99)));
        assert_eq!(outbox.clear(), 2);
        assert!(outbox.push(parcel(100)));
    }
}
