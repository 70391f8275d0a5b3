//! Datagrams that wait for the end of a batch, laid out so that the kernel can take many in one call.
//!
//! Datagrams of one length to one place lie side by side: `UDP_SEGMENT` sends them at once. The last of such a row may
//! be shorter.

use std::net::SocketAddr;
use std::ops::Range;

/// Datagrams in one call: `UDP_MAX_SEGMENTS` of kernels before 6.9.
const ROW_MAX: usize = 64;
/// Bytes in one call: what fits into one IP packet with its headers, IPv6 included.
const ROW_BYTES_MAX: usize = 65_535 - 40 - 8;

/// Datagrams of one length to one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where they go.
    pub to: SocketAddr,
    /// Where they lie.
    pub bytes: Range<usize>,
    /// Length of each but the last, bytes.
    pub size: usize,
    /// How many.
    pub count: usize,
    is_open: bool,
}

/// The datagrams of a batch.
#[derive(Debug)]
pub struct Outbox {
    buffer: Vec<u8>,
    used: usize,
    rows: Vec<Row>,
}

impl Outbox {
    /// One with room for so many bytes.
    pub fn new(room: usize) -> Self {
        Self { buffer: vec![0; room], used: 0, rows: Vec::new() }
    }

    /// Room for a datagram, if there are at least `length` bytes.
    #[inline]
    pub fn room(&mut self, length: usize) -> Option<&mut [u8]> {
        let room = &mut self.buffer[self.used..];
        (room.len() >= length).then_some(room)
    }

    /// Keeps the first `length` bytes of the room as a datagram.
    #[inline]
    pub fn keep(&mut self, to: SocketAddr, length: usize) {
        let start = self.used;
        self.used += length;
        if let Some(row) = self.rows.last_mut() {
            let fits = row.is_open
                && row.to == to
                && length <= row.size
                && row.count < ROW_MAX
                && row.bytes.len() + length <= ROW_BYTES_MAX;
            if fits {
                row.bytes.end += length;
                row.count += 1;
                row.is_open = length == row.size;
                return;
            }
        }
        self.rows.push(Row { to, bytes: start..start + length, size: length, count: 1, is_open: true });
    }

    /// Bytes that wait.
    #[inline]
    pub fn used(&self) -> usize {
        self.used
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Hands over all rows in order and forgets them.
    pub fn drain(&mut self, mut send: impl FnMut(&Row, &[u8])) {
        for row in self.rows.drain(..) {
            send(&row, &self.buffer[row.bytes.clone()]);
        }
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(datagrams: &[(u16, usize)]) -> Vec<(u16, usize, usize, usize)> {
        let mut outbox = Outbox::new(200_000);
        for (port, length) in datagrams {
            outbox.room(*length).unwrap();
            outbox.keep(([192, 0, 2, 1], *port).into(), *length);
        }
        let mut rows = Vec::new();
        outbox.drain(|row, bytes| rows.push((row.to.port(), row.size, row.count, bytes.len())));
        assert!(outbox.is_empty());
        rows
    }

    #[test]
    fn equal_datagrams_to_one_place_share_a_row_and_a_short_one_ends_it() {
        assert_eq!(rows(&[(1, 100), (1, 100), (1, 40), (1, 40)]), [(1, 100, 3, 240), (1, 40, 1, 40)]);
        assert_eq!(
            rows(&[(1, 40), (1, 100), (2, 100)]),
            [(1, 40, 1, 40), (1, 100, 1, 100), (2, 100, 1, 100)]
        );
    }

    #[test]
    fn a_row_is_no_longer_than_the_kernel_takes() {
        let many = rows(&vec![(1, 1452); 100]);
        assert_eq!(many.iter().map(|row| row.2).collect::<Vec<_>>(), [45, 45, 10]);
        let small = rows(&vec![(1, 96); 130]);
        assert_eq!(small.iter().map(|row| row.2).collect::<Vec<_>>(), [64, 64, 2]);
    }

    #[test]
    fn a_full_outbox_has_no_room() {
        let mut outbox = Outbox::new(100);
        assert!(outbox.room(101).is_none());
        outbox.keep(([192, 0, 2, 1], 1).into(), 60);
        assert!(outbox.room(41).is_none() && outbox.room(40).is_some());
    }
}
