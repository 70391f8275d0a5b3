//! What should happen, as values.

use shoal_types::HostId;

/// Something for the caller to do. Carry them out in the order of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Hand the bytes to a peer's [`receive`](crate::Membership::receive), best as a datagram: a lost one is made up
    /// for, a late one is of no use.
    Send {
        /// The peer.
        to: HostId,
        /// At most [`MESSAGE_BYTES_MAX`](crate::MESSAGE_BYTES_MAX).
        bytes: Vec<u8>,
    },
    /// The host is believed alive from now on.
    Up(HostId),
    /// The host is believed dead, or has left.
    Down(HostId),
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages sent.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
    /// Messages that made no sense, came from a forgotten host or in another's name, and timers that came too late.
    pub refused: u64,
}
