//! Reads what was typed: members, prefixes, pairs. An error is a sentence without its subject; clap puts the
//! flag and the text before it.

use std::net::{IpAddr, Ipv6Addr};

use shoal_types::IpNet;

/// A host of the fabric, as typed to `shoal join`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Host name or address, IPv6 without brackets.
    pub(crate) host: String,
    /// UDP port of QUIC; `None`: the usual one.
    pub(crate) port: Option<u16>,
}

/// `10.0.0.1`, `10.0.0.1:7373`, `fd00::1`, `[fd00::1]:7373`, `host-1`, `host-1:7373`.
pub(crate) fn member(text: &str) -> Result<Member, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Member { host: address.to_string(), port: None });
    }
    if let Some(rest) = text.strip_prefix('[') {
        return bracketed(rest);
    }
    let (host, port) = text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    if host.contains(':') {
        return Err("write an IPv6 address with a port as [ADDR]:PORT".to_owned());
    }
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/') {
        return Err(format!("\"{host}\" is neither a host name nor an address"));
    }
    Ok(Member { host: host.to_owned(), port: port.map(udp_port).transpose()? })
}

/// What follows a bracket: `fd00::1]` or `fd00::1]:7373`.
fn bracketed(rest: &str) -> Result<Member, String> {
    let (address, port) = rest.split_once(']').ok_or("the bracket is not closed")?;
    let address: Ipv6Addr = address.parse().map_err(|_| format!("\"{address}\" is not an IPv6 address"))?;
    let port = match port.strip_prefix(':') {
        Some(port) => Some(udp_port(port)?),
        None if port.is_empty() => None,
        None => return Err("after the bracket only :PORT may follow".to_owned()),
    };
    Ok(Member { host: address.to_string(), port })
}

fn udp_port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port != 0);
    port.ok_or_else(|| format!("\"{text}\" is not a UDP port: give a number from 1 to 65535"))
}

/// A prefix without host bits.
pub(crate) fn prefix(text: &str) -> Result<IpNet, String> {
    let net: IpNet =
        text.parse().map_err(|_| "give a prefix such as 10.128.0.0/20 or fd00:1::/64".to_owned())?;
    if net.addr() != net.network() {
        return Err(format!("an address within a prefix was given; the prefix is {}", net.trunc()));
    }
    Ok(net)
}

/// `KEY=VALUE`; without `=` the value is empty, as Docker has it.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        return Err("give KEY=VALUE".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// `NAME=ADDR`.
pub(crate) fn named_address(text: &str) -> Result<(String, IpAddr), String> {
    let refused = || "give NAME=ADDR, such as printer=10.128.0.9".to_owned();
    let (name, address) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(refused)?;
    Ok((name.to_owned(), address.parse().map_err(|_| refused())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_a_name_or_an_address_with_or_without_a_port() {
        let table = [
            ("10.0.0.1", "10.0.0.1", None),
            ("10.0.0.1:7000", "10.0.0.1", Some(7000)),
            ("fd00::1", "fd00::1", None),
            ("[fd00::1]", "fd00::1", None),
            ("[fd00::1]:7000", "fd00::1", Some(7000)),
            ("host-1", "host-1", None),
            ("host-1.lan:7000", "host-1.lan", Some(7000)),
        ];
        for (text, host, port) in table {
            assert_eq!(member(text), Ok(Member { host: host.to_owned(), port }), "{text}");
        }
        for bad in
            ["", ":7373", "host-1:", "host-1:0", "host-1:70000", "[fd00::1", "[x]:1", "fd00::1::7373", "a b"]
        {
            assert!(member(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_prefix_has_no_host_bits() {
        assert!(prefix("10.128.0.0/20").is_ok());
        assert_eq!(
            prefix("10.128.0.1/20").unwrap_err(),
            "an address within a prefix was given; the prefix is 10.128.0.0/20"
        );
        assert!(prefix("10.128.0.0").is_err());
    }

    #[test]
    fn pairs_are_read_as_docker_reads_them() {
        let text = |(key, value): (String, String)| format!("{key}|{value}");
        assert_eq!(pair("a=b=c").map(text), Ok("a|b=c".to_owned()));
        assert_eq!(pair("a").map(text), Ok("a|".to_owned()));
        assert!(pair("=b").is_err());
        assert!(named_address("router=10.0.0.2").is_ok());
        assert!(named_address("router=x").is_err());
        assert!(named_address("=10.0.0.2").is_err());
    }
}
