//! A hash that is the same everywhere and at all times.

/// The [`fnv1a`] of no bytes.
pub const FNV1A: u64 = 0xcbf2_9ce4_8422_2325;

/// Folds more bytes into a hash of those before them, beginning with [`FNV1A`]: FNV-1a, 64 bits
/// (Fowler, Noll and Vo, <http://www.isthe.com/chongo/tech/comp/fnv/>). It finds corruption, not forgery.
pub fn fnv1a<'a>(before: u64, bytes: impl IntoIterator<Item = &'a u8>) -> u64 {
    bytes.into_iter().fold(before, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_the_known_values_at_once_or_in_pieces() {
        assert_eq!(fnv1a(FNV1A, b""), FNV1A);
        assert_eq!(fnv1a(FNV1A, b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(FNV1A, b"foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(fnv1a(fnv1a(FNV1A, b"foo"), b"bar"), 0x8594_4171_f739_67e8);
    }
}
