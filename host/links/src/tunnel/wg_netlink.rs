//! The kernel's WireGuard through generic netlink; numbers are those of `linux/wireguard.h`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use shoal_types::{WireGuardKey, WireGuardSecret};

use super::genl::{Attributes, Genl, attributes, messages, u16_of, u64_of};
use super::settings::{PeerSettings, Settings, Step, secret};

const FAMILY: &str = "wireguard";
const CMD_GET_DEVICE: u8 = 0;
const CMD_SET_DEVICE: u8 = 1;

const DEVICE_IFNAME: u16 = 2;
const DEVICE_PRIVATE_KEY: u16 = 3;
const DEVICE_LISTEN_PORT: u16 = 6;
const DEVICE_PEERS: u16 = 8;

const PEER_PUBLIC_KEY: u16 = 1;
const PEER_PRESHARED_KEY: u16 = 2;
const PEER_FLAGS: u16 = 3;
const PEER_ENDPOINT: u16 = 4;
const PEER_KEEPALIVE: u16 = 5;
const PEER_LAST_HANDSHAKE: u16 = 6;
const PEER_RX_BYTES: u16 = 7;
const PEER_TX_BYTES: u16 = 8;
const PEER_ALLOWED_IPS: u16 = 9;
const PEER_REMOVE_ME: u32 = 1;

const ALLOWED_FAMILY: u16 = 1;
const ALLOWED_ADDRESS: u16 = 2;
const ALLOWED_LENGTH: u16 = 3;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Reads everything of a device of the calling thread's namespace.
pub(crate) fn get(device: &str) -> nix::Result<Settings> {
    let answers = Genl::open(FAMILY)?.dump(CMD_GET_DEVICE, &of(device))?;
    Ok(parse(&answers))
}

/// Sets a device's own key and port and leaves the other ends alone.
pub(crate) fn set_own(device: &str, secret: &WireGuardSecret, port: u16) -> nix::Result<()> {
    let request =
        of(device).add(DEVICE_PRIVATE_KEY, secret.reveal()).add(DEVICE_LISTEN_PORT, &port.to_ne_bytes());
    Genl::open(FAMILY)?.command(CMD_SET_DEVICE, &request)
}

/// Takes steps in order.
pub(crate) fn take(device: &str, steps: &[Step]) -> nix::Result<()> {
    let peers = steps.iter().fold(Attributes::new(), |peers, step| peers.nest(0, &step_attributes(step)));
    Genl::open(FAMILY)?.command(CMD_SET_DEVICE, &of(device).nest(DEVICE_PEERS, &peers))
}

fn of(device: &str) -> Attributes {
    Attributes::new().add(DEVICE_IFNAME, &[device.as_bytes(), &[0]].concat())
}

fn step_attributes(step: &Step) -> Attributes {
    match step {
        Step::Remove(key) => {
            Attributes::new().add(PEER_PUBLIC_KEY, key.bytes()).add(PEER_FLAGS, &PEER_REMOVE_ME.to_ne_bytes())
        }
        Step::Set { key, preshared, endpoint, keepalive, allowed } => {
            let allowed = allowed.iter().fold(Attributes::new(), |all, (address, length)| {
                let (family, bytes) = match address {
                    IpAddr::V4(v4) => (AF_INET, v4.octets().to_vec()),
                    IpAddr::V6(v6) => (AF_INET6, v6.octets().to_vec()),
                };
                let one = Attributes::new()
                    .add(ALLOWED_FAMILY, &family.to_ne_bytes())
                    .add(ALLOWED_ADDRESS, &bytes)
                    .add(ALLOWED_LENGTH, &[*length]);
                all.nest(0, &one)
            });
            Attributes::new()
                .add(PEER_PUBLIC_KEY, key.bytes())
                .add_if(PEER_PRESHARED_KEY, preshared.as_ref().map(|key| key.reveal().as_slice()))
                .add_if(PEER_ENDPOINT, endpoint.map(|endpoint| sockaddr(&endpoint)).as_deref())
                .add_if(PEER_KEEPALIVE, keepalive.map(u16::to_ne_bytes).as_ref().map(<[u8; 2]>::as_slice))
                .nest(PEER_ALLOWED_IPS, &allowed)
        }
    }
}

/// Reads one datagram of the kernel's answer to a question for a device.
///
/// # Errors
/// A message is cut off, or says why the kernel refuses.
pub fn parse_datagram(bytes: &[u8]) -> Result<Settings, String> {
    let mut answers = Vec::new();
    messages(bytes, &mut answers).map_err(|errno| errno.desc().to_owned())?;
    Ok(parse(&answers))
}

/// Reads the attributes of a dump's messages. What is cut off or has another length than it should is left out.
fn parse(messages: &[Vec<u8>]) -> Settings {
    let mut settings = Settings::default();
    for (kind, value) in messages.iter().flat_map(|message| attributes(message)) {
        match kind {
            DEVICE_PRIVATE_KEY => settings.secret = value.try_into().ok().and_then(secret),
            DEVICE_LISTEN_PORT => settings.port = u16_of(value).unwrap_or_default(),
            DEVICE_PEERS => attributes(value).for_each(|(_, peer)| read_peer(&mut settings, peer)),
            _ => {}
        }
    }
    settings
}

/// A peer with many addresses goes on in the next message under the same key, so what is there is added to.
fn read_peer(settings: &mut Settings, bytes: &[u8]) {
    let key = attributes(bytes)
        .find_map(|(kind, value)| (kind == PEER_PUBLIC_KEY).then(|| value.try_into().ok())?);
    let Some(key) = key else {
        return;
    };
    let peer = settings.peers.entry(WireGuardKey::new(key)).or_default();
    for (kind, value) in attributes(bytes) {
        match kind {
            PEER_PRESHARED_KEY => peer.preshared = value.try_into().ok().and_then(secret),
            PEER_ENDPOINT => peer.endpoint = endpoint(value),
            PEER_KEEPALIVE => peer.keepalive = u16_of(value).filter(|seconds| *seconds > 0),
            PEER_LAST_HANDSHAKE => peer.last_handshake = timespec(value).unwrap_or_default(),
            PEER_RX_BYTES => peer.received_bytes = u64_of(value).unwrap_or_default(),
            PEER_TX_BYTES => peer.sent_bytes = u64_of(value).unwrap_or_default(),
            PEER_ALLOWED_IPS => read_allowed(peer, value),
            _ => {}
        }
    }
}

fn read_allowed(peer: &mut PeerSettings, bytes: &[u8]) {
    for (_, one) in attributes(bytes) {
        let of = |wanted| attributes(one).find_map(|(kind, value)| (kind == wanted).then_some(value));
        let address = of(ALLOWED_ADDRESS).and_then(address);
        let length = of(ALLOWED_LENGTH).and_then(|value| value.first().copied());
        peer.allowed.extend(address.zip(length));
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

/// `struct __kernel_timespec`.
fn timespec(bytes: &[u8]) -> Option<Duration> {
    let (seconds, nanos) = (u64_of(bytes.get(..8)?)?, u64_of(bytes.get(8..16)?)?);
    Some(Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos)))
}

/// `struct sockaddr_in` or `sockaddr_in6`.
fn sockaddr(endpoint: &SocketAddr) -> Vec<u8> {
    let family = if endpoint.is_ipv4() { AF_INET } else { AF_INET6 };
    let mut bytes = family.to_ne_bytes().to_vec();
    bytes.extend(endpoint.port().to_be_bytes());
    match endpoint {
        SocketAddr::V4(v4) => {
            bytes.extend(v4.ip().octets());
            bytes.extend([0; 8]);
        }
        SocketAddr::V6(v6) => {
            bytes.extend(v6.flowinfo().to_be_bytes());
            bytes.extend(v6.ip().octets());
            bytes.extend(v6.scope_id().to_ne_bytes());
        }
    }
    bytes
}

/// The flow label and the scope are left out: neither is planned, and a link-local address means nothing elsewhere.
fn endpoint(bytes: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    match u16_of(bytes.get(..2)?)? {
        AF_INET => Some((address(bytes.get(4..8)?)?, port).into()),
        AF_INET6 => {
            let ip = <[u8; 16]>::try_from(bytes.get(8..24)?).ok()?;
            Some(SocketAddrV6::new(ip.into(), port, 0, 0).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_of_both_families_survive_the_kernels_form() {
        for text in ["192.0.2.1:7375", "[2001:db8::1]:7375"] {
            let there: SocketAddr = text.parse().unwrap();
            assert_eq!(endpoint(&sockaddr(&there)), Some(there));
            assert_eq!(endpoint(&sockaddr(&there)[..7]), None);
        }
    }
}
