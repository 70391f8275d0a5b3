//! What either kind of WireGuard is told and tells, before the words of netlink or of the text protocol.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use shoal_plan::WireGuardPeer;
use shoal_ports::WireGuardStatus;
use shoal_types::{WallTime, WireGuardKey, WireGuardSecret};

/// What a WireGuard device says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Its private key; `None` if it has none.
    pub secret: Option<WireGuardSecret>,
    /// Its UDP port.
    pub port: u16,
    /// The other ends it knows.
    pub peers: BTreeMap<WireGuardKey, PeerSettings>,
}

/// What a WireGuard device says of another end.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PeerSettings {
    /// Pre-shared key; all zero means none, and is left out.
    pub preshared: Option<WireGuardSecret>,
    /// Where it was heard from last, or is sent to.
    pub endpoint: Option<SocketAddr>,
    /// Seconds between keepalives; zero means none, and is left out.
    pub keepalive: Option<u16>,
    /// Addresses it may send from, with their prefix lengths.
    pub allowed: Vec<(IpAddr, u8)>,
    /// Time of the last handshake since 1970 on this host's clock; zero: there was none.
    pub last_handshake: Duration,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
}

/// One step of a change to the other ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make it known with these settings; `None` leaves what is there. Nothing of it is forgotten.
    Set {
        key: WireGuardKey,
        /// All zero: none.
        preshared: Option<WireGuardSecret>,
        endpoint: Option<SocketAddr>,
        /// Zero: none.
        keepalive: Option<u16>,
        /// Addresses that become its own, and are nobody else's from the same moment on.
        allowed: Vec<(IpAddr, u8)>,
    },
    /// Forget it.
    Remove(WireGuardKey),
}

/// Takes over addresses that an end should not have, and is forgotten with them at once. No end has this key: nobody
/// knows a private key to it.
const NOBODY: WireGuardKey = WireGuardKey::new(*b"shoal: addresses that are nobody");

/// What turns `there` into `peer`.
///
/// Replacing the addresses of an end would first take them all away, and packets of that moment would be lost. So the
/// one address is added only if it is missing, and others are given to an end that is removed right after.
pub(crate) fn steps(key: &WireGuardKey, peer: &WireGuardPeer, there: Option<&PeerSettings>) -> Vec<Step> {
    let wanted = (IpAddr::V4(peer.address), 32);
    let allowed = there.map(|there| there.allowed.as_slice()).unwrap_or_default();
    let mut steps = vec![Step::Set {
        key: *key,
        preshared: Some(peer.preshared.clone().unwrap_or_else(|| WireGuardSecret::new([0; 32]))),
        endpoint: peer.endpoint,
        keepalive: Some(peer.keepalive.unwrap_or(0)),
        allowed: if allowed.contains(&wanted) { Vec::new() } else { vec![wanted] },
    }];
    let others: Vec<_> = allowed.iter().copied().filter(|address| *address != wanted).collect();
    if !others.is_empty() {
        let (preshared, endpoint, keepalive) = (None, None, None);
        steps.push(Step::Set { key: NOBODY, preshared, endpoint, keepalive, allowed: others });
        steps.push(Step::Remove(NOBODY));
    }
    steps
}

impl PeerSettings {
    /// In the plan's terms. Address 0.0.0.0 stands for anything but one single address.
    pub(crate) fn told(&self, now: WallTime) -> (WireGuardPeer, WireGuardStatus) {
        let address = match self.allowed.as_slice() {
            [(IpAddr::V4(address), 32)] => *address,
            _ => Ipv4Addr::UNSPECIFIED,
        };
        let since = Duration::from_millis(now.as_millis()).saturating_sub(self.last_handshake);
        let peer = WireGuardPeer {
            address,
            endpoint: self.endpoint,
            preshared: self.preshared.clone(),
            keepalive: self.keepalive,
        };
        let status = WireGuardStatus {
            endpoint: self.endpoint,
            last_handshake: (!self.last_handshake.is_zero()).then_some(since),
            received_bytes: self.received_bytes,
            sent_bytes: self.sent_bytes,
        };
        (peer, status)
    }
}

/// A private or pre-shared key as it is told; all zero is none.
pub(crate) fn secret(bytes: [u8; 32]) -> Option<WireGuardSecret> {
    (bytes != [0; 32]).then_some(WireGuardSecret::new(bytes))
}

/// A private key as both kinds hold it, with the bits fixed that Curve25519 fixes (RFC 7748, section 5): what is set
/// need not be what is read back.
pub(crate) fn clamped(secret: &WireGuardSecret) -> WireGuardSecret {
    let mut bytes = *secret.reveal();
    bytes[0] &= 0xf8;
    bytes[31] = (bytes[31] & 0x7f) | 0x40;
    WireGuardSecret::new(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: WireGuardKey = WireGuardKey::new([7; 32]);

    fn peer() -> WireGuardPeer {
        WireGuardPeer {
            address: Ipv4Addr::new(240, 0, 0, 2),
            endpoint: None,
            preshared: None,
            keepalive: Some(25),
        }
    }

    fn allowed(address: &str, length: u8) -> (IpAddr, u8) {
        (address.parse().unwrap(), length)
    }

    #[test]
    fn an_address_that_is_there_is_not_touched() {
        let there = PeerSettings { allowed: vec![allowed("240.0.0.2", 32)], ..PeerSettings::default() };
        let steps = steps(&KEY, &peer(), Some(&there));
        assert!(matches!(steps.as_slice(), [Step::Set { allowed, .. }] if allowed.is_empty()), "{steps:?}");
    }

    #[test]
    fn addresses_too_many_go_while_the_right_one_stays() {
        let wrong = [allowed("240.0.0.3", 32), allowed("0.0.0.0", 0)];
        let there = PeerSettings {
            allowed: vec![wrong[0], allowed("240.0.0.2", 32), wrong[1]],
            ..PeerSettings::default()
        };
        let steps = steps(&KEY, &peer(), Some(&there));
        let [Step::Set { allowed: own, .. }, Step::Set { key, allowed, .. }, Step::Remove(removed)] =
            steps.as_slice()
        else {
            panic!("{steps:?}");
        };
        assert!(own.is_empty());
        assert_eq!((key, removed, allowed.as_slice()), (&NOBODY, &NOBODY, wrong.as_slice()));
    }

    #[test]
    fn an_end_with_anything_but_one_address_is_no_planned_one() {
        let now = WallTime::from_millis(1_000_000);
        for wrong in
            [vec![], vec![allowed("240.0.0.0", 4)], vec![allowed("240.0.0.2", 32), allowed("240.0.0.3", 32)]]
        {
            let there = PeerSettings { allowed: wrong, keepalive: Some(25), ..PeerSettings::default() };
            assert!(!peer().is_met_by(&there.told(now).0));
        }
        let there = PeerSettings {
            allowed: vec![allowed("240.0.0.2", 32)],
            keepalive: Some(25),
            last_handshake: Duration::from_secs(990),
            ..PeerSettings::default()
        };
        let (told, status) = there.told(now);
        assert!(peer().is_met_by(&told));
        assert_eq!(status.last_handshake, Some(Duration::from_secs(10)));
    }
}
