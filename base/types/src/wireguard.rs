//! Keys of WireGuard tunnels: Curve25519 points and scalars of 32 bytes, written in base64 as `wg` does.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A public key: who a peer of a tunnel is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WireGuardKey([u8; 32]);

impl WireGuardKey {
    /// Wraps the raw point.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw point.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for WireGuardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode(&self.0))
    }
}

impl fmt::Debug for WireGuardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WireGuardKey({self})")
    }
}

impl FromStr for WireGuardKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = decode(text).ok_or_else(|| {
            format!("\"{text}\" is not a WireGuard key: 44 characters of base64 are expected")
        })?;
        Ok(Self(bytes))
    }
}

impl Serialize for WireGuardKey {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A private or a pre-shared key. It is never shown: text, debug output and serialised form say "(secret)".
#[derive(Clone, PartialEq, Eq)]
pub struct WireGuardSecret([u8; 32]);

impl WireGuardSecret {
    /// Wraps the raw bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw bytes, for the kernel, the disk or a computation.
    pub const fn reveal(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for WireGuardSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Serialize for WireGuardSecret {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str("(secret)")
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 (RFC 4648, section 4) of 32 bytes: 43 digits and one "=".
fn encode(bytes: &[u8; 32]) -> String {
    let mut text = String::with_capacity(44);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |sum, byte| (sum << 8) | u32::from(*byte));
        let group = group << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = (group >> (18 - 6 * at)) & 63;
            text.push(if at <= chunk.len() { char::from(DIGITS[digit as usize]) } else { '=' });
        }
    }
    text
}

fn decode(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_suffix('=').filter(|digits| digits.len() == 43)?;
    let mut bytes = [0; 32];
    let (mut group, mut bits, mut at) = (0u32, 0, 0);
    for digit in digits.bytes() {
        let value = DIGITS.iter().position(|known| *known == digit)?;
        group = (group << 6) | u32::try_from(value).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            *bytes.get_mut(at)? = u8::try_from((group >> bits) & 0xff).ok()?;
            at += 1;
        }
    }
    // The two bits that are left over must be zero, or two texts would mean one key.
    (group & ((1 << bits) - 1) == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_as_wg_writes_it_and_read_back() {
        let bytes = std::array::from_fn(|at| u8::try_from(at * 7 % 256).unwrap());
        let text = WireGuardKey::new(bytes).to_string();
        assert_eq!(text, "AAcOFRwjKjE4P0ZNVFtiaXB3foWMk5qhqK+2vcTL0tk=");
        assert_eq!(text.parse(), Ok(WireGuardKey::new(bytes)));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in [
            "",
            "=",
            "AAcOFRwjKjE4P0ZNVFtiaXB3foWMk5qhqK+2vcTL0tl=",
            "AAcOFRwjKjE4P0ZNVFtiaXB3foWMk5qhqK+2vcTL0tk",
        ] {
            assert!(text.parse::<WireGuardKey>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        assert_eq!(format!("{:?}", WireGuardSecret::new([7; 32])), "(secret)");
    }
}
