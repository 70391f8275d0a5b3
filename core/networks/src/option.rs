//! Options of a network (`-o`) that Shoal itself reads.

use std::collections::BTreeMap;

use shoal_schema::NetworkSpec;

use crate::Refusal;

/// The option that binds a network of the engine to one of the fabric: `-o` and `--ipam-opt`.
pub const NETWORK_OPTION: &str = "shoal.network";

/// The option that decides whether a network's packets are encrypted between hosts: `on`, which is the default, or
/// `off`.
pub const ENCRYPTION_OPTION: &str = "shoal.encryption";

/// The value with which packets travel in clear.
pub const ENCRYPTION_OFF: &str = "off";

/// Whether a network's packets travel between hosts in clear. Only the one word says so: whatever else the option may
/// hold, packets are encrypted.
pub fn is_in_clear(spec: &NetworkSpec) -> bool {
    spec.options.get(ENCRYPTION_OPTION).is_some_and(|value| value == ENCRYPTION_OFF)
}

/// Refuses values that mean nothing.
pub(crate) fn check_options(options: &BTreeMap<String, String>) -> Result<(), Refusal> {
    match options.get(ENCRYPTION_OPTION).map(String::as_str) {
        None | Some("on" | ENCRYPTION_OFF) => Ok(()),
        Some(other) => Err(Refusal(format!(
            "option {ENCRYPTION_OPTION} is \"{other}\": \"on\", the default, encrypts the network between hosts, \
             \"{ENCRYPTION_OFF}\" sends its packets in clear"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_words_are_options_of_encryption() {
        let options = |value: &str| [(ENCRYPTION_OPTION.to_owned(), value.to_owned())].into();
        assert!(check_options(&BTreeMap::new()).is_ok());
        assert!(check_options(&options("on")).is_ok());
        assert!(check_options(&options("off")).is_ok());
        for wrong in ["", "no", "Off", "false"] {
            let refusal = check_options(&options(wrong)).unwrap_err();
            assert!(refusal.0.contains(&format!("\"{wrong}\"")), "{refusal:?}");
        }
    }
}
