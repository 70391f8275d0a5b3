//! Names that people choose, and names of links in the kernel.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::EndpointId;

/// A name that cannot be used, with the rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" cannot be {what}: {rule}")]
pub struct InvalidName {
    what: &'static str,
    rule: &'static str,
    text: String,
}

/// Declares a name type with its rule.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    return Ok(Self(text.to_owned()));
                }
                Err(InvalidName { what: $what, rule: $rule, text: text.chars().take(80).collect() })
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}

name! {
    /// A network's name, by Docker's rule for names (20.10 to 29: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`), at most 128 bytes.
    NetworkName, "a network's name",
    "use letters, digits, \"_\", \".\" and \"-\", a letter or digit first, at most 128 characters",
    |text| {
        text.len() <= 128
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
    }
}

name! {
    /// A host's name as people see it: what RFC 1123 allows of a host name, at most 253 bytes.
    HostName, "a host's name",
    "use letters, digits, \".\" and \"-\", a letter or digit first, at most 253 characters",
    |text| {
        text.len() <= 253
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c))
    }
}

name! {
    /// A network device's name: 1 to 15 bytes without "/", white space or ":" (Linux `dev_valid_name`).
    LinkName, "a link's name",
    "use 1 to 15 characters without \"/\", \":\" and white space",
    |text| {
        (1..=15).contains(&text.len())
            && text != "."
            && text != ".."
            && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':')
    }
}

impl LinkName {
    /// The names of an endpoint's link: "sh-" for the host's end, "sc-" for the container's, then the first twelve
    /// digits of the endpoint's id (48 bits, far more than a host has endpoints).
    pub fn pair_of(endpoint: &EndpointId) -> (Self, Self) {
        let digits = endpoint.short();
        (Self(format!("sh-{digits}")), Self(format!("sc-{digits}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_and_shoal_agree_on_network_names() {
        for good in ["shop", "a", "0_x.y-z", "Compose_default"] {
            assert!(good.parse::<NetworkName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a b", "a/b", "ä", &"x".repeat(129)] {
            assert!(bad.parse::<NetworkName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_link_is_named_after_its_endpoint() -> Result<(), crate::ParseIdError> {
        let (outer, inner) = LinkName::pair_of(&"0123456789abcdef".repeat(4).parse()?);
        assert_eq!((outer.as_str(), inner.as_str()), ("sh-0123456789ab", "sc-0123456789ab"));
        assert!(outer.as_str().parse::<LinkName>().is_ok());
        Ok(())
    }

    #[test]
    fn a_link_name_fits_the_kernel() {
        assert!("sh-0123456789ab".parse::<LinkName>().is_ok());
        assert!("sh-0123456789abc".parse::<LinkName>().is_err());
        assert!("..".parse::<LinkName>().is_err());
    }
}
