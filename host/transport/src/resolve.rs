//! Turns what a person typed into addresses.

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::config::PORT_DEFAULT;

/// Splits "HOST", "HOST:PORT", "IPV6" or "[IPV6]:PORT".
pub(crate) fn split(text: &str) -> Option<(&str, u16)> {
    let text = text.trim();
    if text.parse::<IpAddr>().is_ok() {
        return Some((text, PORT_DEFAULT));
    }
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) }),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = port.map_or(Some(PORT_DEFAULT), |port| port.parse().ok().filter(|port| *port != 0))?;
    (!host.is_empty()).then_some((host, port))
}

/// All addresses of a host.
pub(crate) async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((host, port)).await?.collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_read_with_and_without_port() {
        for (text, expected) in [
            ("host-1", Some(("host-1", 7373))),
            ("host-1:80", Some(("host-1", 80))),
            ("10.0.0.1", Some(("10.0.0.1", 7373))),
            ("10.0.0.1:80", Some(("10.0.0.1", 80))),
            ("2001:db8::1", Some(("2001:db8::1", 7373))),
            ("[2001:db8::1]", Some(("2001:db8::1", 7373))),
            ("[2001:db8::1]:80", Some(("2001:db8::1", 80))),
            ("host-1:", None),
            ("host-1:0", None),
            ("host-1:99999", None),
            (":80", None),
            ("", None),
            ("[::1]80", None),
        ] {
            assert_eq!(split(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn random_text_does_no_harm(text in ".{0,60}") {
            let _ = split(&text);
        }
    }
}
