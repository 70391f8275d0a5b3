//! Bytes as hexadecimal digits.

use std::fmt::Write as _;

/// Two lower-case digits for each byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes that digits of either case stand for; `None` unless there are exactly two for each byte.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |at: usize| char::from(*text.as_bytes().get(at)?).to_digit(16);
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::try_from(digit(2 * at)? << 4 | digit(2 * at + 1)?).ok()?;
    }
    (text.len() == 2 * N).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_back_as_they_were_written() {
        let bytes: [u8; 4] = [0, 0x0f, 0xa0, 0xff];
        assert_eq!(hex(&bytes), "000fa0ff");
        assert_eq!(unhex("000fa0ff"), Some(bytes));
        assert_eq!(unhex("000FA0FF"), Some(bytes));
    }

    #[test]
    fn what_is_not_two_digits_for_each_byte_is_refused() {
        for text in ["", "000fa0f", "000fa0ff0", "000fa0ff00", "000fa0fg", "+00fa0ff", "00\u{e9}a0ff"] {
            assert_eq!(unhex::<4>(text), None, "{text:?}");
        }
    }
}
