//! The Internet checksum (RFC 1071), at the speed of memory.
//!
//! A sum of 16 bit words comes out the same in either byte order, but for the order of its own two bytes. So words are
//! added as they lie in memory, and a result is stored as it lies in the register: [`finish`] and [`fold`] give values
//! "as they lie", which `to_ne_bytes` writes and `from_ne_bytes` reads.

/// Adds `bytes` to a sum. All but the last part of what is summed must have an even length.
#[inline]
pub fn add(sum: u64, bytes: &[u8]) -> u64 {
    let mut lanes = [sum, 0, 0, 0];
    let mut chunks = bytes.chunks_exact(32);
    for chunk in &mut chunks {
        for (lane, word) in lanes.iter_mut().zip(chunk.chunks_exact(8)) {
            *lane = add_carrying(*lane, word_at(word));
        }
    }
    let mut sum = lanes.into_iter().fold(0, add_carrying);
    for word in chunks.remainder().chunks(8) {
        let mut padded = [0; 8];
        padded[..word.len()].copy_from_slice(word);
        sum = add_carrying(sum, u64::from_ne_bytes(padded));
    }
    sum
}

/// Adds a number that stands in a packet in network byte order.
#[inline]
pub fn add_number(sum: u64, number: u16) -> u64 {
    add_carrying(sum, u16::from_ne_bytes(number.to_be_bytes()).into())
}

/// The sum in 16 bits, as it lies.
#[inline]
pub fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    (sum & 0xffff) as u16
}

/// The checksum of what was summed, as it lies.
#[inline]
pub fn finish(sum: u64) -> u16 {
    !fold(sum)
}

/// Sum of the pseudo header of TCP and UDP (RFC 9293 section 3.1, RFC 8200 section 8.1).
///
/// `addresses` is the source and then the destination, 8 or 32 bytes; `length` is that of the header and its payload.
#[inline]
pub fn pseudo_header(addresses: &[u8], protocol: u8, length: u16) -> u64 {
    add_number(add_number(add(0, addresses), protocol.into()), length)
}

#[inline]
fn add_carrying(a: u64, b: u64) -> u64 {
    let (sum, carried) = a.overflowing_add(b);
    sum + u64::from(carried)
}

#[inline]
fn word_at(word: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(word);
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As RFC 1071 has it, word by word.
    fn by_the_book(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        !u16::try_from(sum).unwrap()
    }

    proptest! {
        #[test]
        fn the_fast_sum_is_the_one_of_the_book(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let ours = u16::from_be_bytes(finish(add(0, &bytes)).to_ne_bytes());
            prop_assert_eq!(ours, by_the_book(&bytes));
        }

        #[test]
        fn a_sum_may_be_taken_in_parts(bytes in proptest::collection::vec(any::<u8>(), 0..500), at in 0usize..250) {
            let at = (2 * at).min(bytes.len() / 2 * 2);
            let parts = add(add(0, &bytes[..at]), &bytes[at..]);
            prop_assert_eq!(fold(parts), fold(add(0, &bytes)));
        }
    }

    #[test]
    fn sums_that_overflow_keep_their_carries() {
        let ones = [0xff; 4096];
        assert_eq!(finish(add(u64::MAX, &ones)), 0);
    }
}
