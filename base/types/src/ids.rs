//! Who and what: hosts, fabrics, networks, endpoints.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{hex, unhex};

/// Text that is not an id: wrong length or a character that is not hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not {what}: {expected} hexadecimal digits are expected")]
pub struct ParseIdError {
    what: &'static str,
    expected: usize,
    text: String,
}

/// Declares a 16-byte id, written as 32 hexadecimal digits.
macro_rules! id16 {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Wraps raw bytes.
            pub const fn new(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The raw bytes, in the order they are written.
            pub const fn bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// Reads raw bytes; `None` unless there are exactly 16.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// The first eight digits, enough to tell hosts of one fabric apart in a table.
            pub fn short(&self) -> String {
                hex(&self.0[..4])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                unhex(text).map(Self).ok_or_else(|| ParseIdError { what: $what, expected: 32, text: text.to_owned() })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id16! {
    /// A machine with an agent. The first 16 bytes of the SHA-256 of its public key (Ed25519), so that an id
    /// cannot be claimed without the key.
    HostId, "a host id"
}

id16! {
    /// The hosts that share facts. The first 16 bytes of the SHA-256 of the fabric's root public key.
    FabricId, "a fabric id"
}

id16! {
    /// A network, the same on every host. Drawn at random by its creator; Docker's own network id differs on
    /// every host and is never sent to another.
    NetworkId, "a network id"
}

/// A container's attachment to a network: the 64 hexadecimal digits that the container engine drew.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct EndpointId(String);

impl EndpointId {
    /// The text as the engine gave it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, as Docker shortens ids.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl FromStr for EndpointId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        if text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Ok(Self(text.to_owned()));
        }
        Err(ParseIdError { what: "an endpoint id", expected: 64, text: text.chars().take(80).collect() })
    }
}

impl<'de> Deserialize<'de> for EndpointId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointId({})", self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_written() {
        let id = HostId::new([0xab; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.short(), "abababab");
    }

    #[test]
    fn text_that_is_no_id_is_refused_with_the_text() {
        let error = "xyz".parse::<HostId>().unwrap_err();
        assert_eq!(error.to_string(), "\"xyz\" is not a host id: 32 hexadecimal digits are expected");
        assert!("é".repeat(16).parse::<HostId>().is_err());
        assert!("+a".repeat(16).parse::<HostId>().is_err());
    }

    #[test]
    fn an_endpoint_id_is_64_lower_case_digits() {
        assert!("a".repeat(64).parse::<EndpointId>().is_ok());
        assert!("A".repeat(64).parse::<EndpointId>().is_err());
        assert!("a".repeat(63).parse::<EndpointId>().is_err());
    }
}
