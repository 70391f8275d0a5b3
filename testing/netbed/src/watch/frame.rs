//! What a frame on the underlay is: by its headers, and for WireGuard by the shape of its messages.

use std::net::IpAddr;

/// UDP port of the agents' QUIC.
const QUIC: u16 = 7373;

/// UDP ports of WireGuard: a host has one, and two while it changes its key.
const WIREGUARD: [u16; 2] = [7375, 7376];

/// UDP port of VXLAN in clear.
const CLEAR: u16 = 7374;

/// Something that a scenario does on purpose and that would be a violation otherwise. Each is as narrow as can be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allow {
    /// Echo requests and answers between two addresses of the underlay, without any container's marker.
    Pings(IpAddr, IpAddr),
    /// UDP from an address to a port of another, and what that answers; with a marker only if `marked`.
    Udp {
        /// Who sends.
        from: IpAddr,
        /// Who is sent to.
        to: IpAddr,
        /// The port there.
        port: u16,
        /// Whether what is sent carries the marker.
        marked: bool,
    },
    /// VXLAN in clear of one network, the marker of its containers included.
    Clear {
        /// The network's VXLAN id.
        vni: u32,
    },
    /// QUIC at another port than the usual one.
    Quic(u16),
    /// WireGuard at another port than the usual ones.
    WireGuard(u16),
    /// WireGuard at any ports: two routers that translate addresses leave neither of a host's own. A bed with such
    /// routers declares it by itself, from the first moment.
    TranslatedWireGuard,
}

impl Allow {
    pub(crate) fn may_be_marked(&self) -> bool {
        matches!(self, Self::Clear { .. } | Self::Udp { marked: true, .. })
    }

    fn lets_through(&self, packet: &Packet<'_>) -> bool {
        let goes = |one: &IpAddr, other: &IpAddr| (packet.from, packet.to) == (*one, *other);
        match self {
            Self::Pings(one, other) => packet.is_echo() && (goes(one, other) || goes(other, one)),
            Self::Udp { from, to, port, .. } => packet.udp().is_some_and(|udp| {
                (goes(from, to) && udp.to == *port) || (goes(to, from) && udp.from == *port)
            }),
            Self::Clear { vni } => packet
                .udp()
                .is_some_and(|udp| udp.to == CLEAR && udp.payload.get(4..7) == Some(&vni.to_be_bytes()[1..])),
            Self::Quic(port) => packet.udp().is_some_and(|udp| udp.has(&[*port])),
            Self::TranslatedWireGuard => packet.udp().is_some_and(|udp| is_wireguard(&udp)),
            Self::WireGuard(port) => packet.udp().is_some_and(|udp| udp.has(&[*port]) && is_wireguard(&udp)),
        }
    }
}

/// What a frame was judged to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Always allowed.
    Known(&'static str),
    /// Allowed by the declaration at this place.
    Declared(usize),
    /// Allowed by nothing.
    Unknown(&'static str),
}

/// Says what a frame is.
pub(crate) fn judge<'a>(frame: &[u8], mut declared: impl Iterator<Item = &'a Allow> + Clone) -> Kind {
    let (Some(ethertype), Some(payload)) = (frame.get(12..14), frame.get(14..)) else {
        return Kind::Unknown("cut short");
    };
    let packet = match ethertype {
        // An ARP packet and what Ethernet pads it with.
        [0x08, 0x06] if payload.len() <= 46 => return Kind::Known("ARP"),
        [0x08, 0x00] => Packet::v4(payload),
        [0x86, 0xdd] => Packet::v6(payload),
        _ => return Kind::Unknown("neither ARP nor IP"),
    };
    let Some(packet) = packet else { return Kind::Unknown("an IP header that is none, or a fragment") };
    if packet.from.is_loopback() || packet.to.is_loopback() {
        return Kind::Unknown("an address of the loopback device");
    }
    if let Some(what) = packet.known() {
        return Kind::Known(what);
    }
    if let Some(at) = declared.clone().position(|allow| allow.lets_through(&packet)) {
        return Kind::Declared(at);
    }
    let quoted = packet.quoted();
    if let Some(quoted) = quoted {
        // As the quoted packet is cut off, only its ports tell what it is.
        let ports = quoted.udp().is_some_and(|udp| udp.is_at_known_port());
        if ports || declared.any(|allow| allow.lets_through(&quoted)) {
            return Kind::Known("unreachable");
        }
    }
    Kind::Unknown(packet.complaint())
}

struct Packet<'a> {
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    payload: &'a [u8],
    is_v6: bool,
}

struct Udp<'a> {
    from: u16,
    to: u16,
    payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// RFC 791. `None` for a fragment too: nothing of Shoal's is ever fragmented.
    fn v4(bytes: &'a [u8]) -> Option<Self> {
        let header = usize::from(bytes.first()? & 0xf) * 4;
        let is_whole =
            bytes.first()? >> 4 == 4 && header >= 20 && bytes.get(6)? & 0x3f == 0 && *bytes.get(7)? == 0;
        let total = usize::from(word(bytes, 2)?);
        // Padding is cut off; 0 is the length of a packet that is yet to be segmented and too long to say so.
        let end = if total == 0 { bytes.len() } else { total.min(bytes.len()) };
        let address = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok()?));
        let (from, to, protocol) = (address(12)?, address(16)?, *bytes.get(9)?);
        is_whole.then_some(Self { from, to, protocol, payload: bytes.get(header..end)?, is_v6: false })
    }

    /// RFC 8200, with the hop-by-hop header that group membership comes with.
    fn v6(bytes: &'a [u8]) -> Option<Self> {
        let total = 40 + usize::from(word(bytes, 4)?);
        let end = if total == 40 { bytes.len() } else { total.min(bytes.len()) };
        let address = |at: usize| Some(IpAddr::from(<[u8; 16]>::try_from(bytes.get(at..at + 16)?).ok()?));
        let (from, to) = (address(8)?, address(24)?);
        let (mut protocol, mut payload) = (*bytes.get(6)?, bytes.get(40..end)?);
        if protocol == 0 {
            let length = (usize::from(*payload.get(1)?) + 1) * 8;
            (protocol, payload) = (*payload.first()?, payload.get(length..)?);
        }
        let is_whole = bytes.first()? >> 4 == 6;
        is_whole.then_some(Self { from, to, protocol, payload, is_v6: true })
    }

    fn udp(&self) -> Option<Udp<'a>> {
        if self.protocol != 17 {
            return None;
        }
        Some(Udp {
            from: word(self.payload, 0)?,
            to: word(self.payload, 2)?,
            payload: self.payload.get(8..)?,
        })
    }

    fn icmp(&self) -> Option<u8> {
        (self.protocol == if self.is_v6 { 58 } else { 1 }).then(|| self.payload.first().copied())?
    }

    fn is_echo(&self) -> bool {
        self.icmp()
            .is_some_and(|kind| if self.is_v6 { matches!(kind, 128 | 129) } else { matches!(kind, 0 | 8) })
    }

    /// What may always be there.
    fn known(&self) -> Option<&'static str> {
        if let Some(udp) = self.udp() {
            if udp.has(&WIREGUARD) && is_wireguard(&udp) {
                return Some("WireGuard");
            }
            return udp.has(&[QUIC]).then_some("QUIC");
        }
        match self.icmp().filter(|_| self.is_v6)? {
            // RFC 4861: solicitations, advertisements, redirects.
            133..=137 => Some("neighbour discovery"),
            // RFC 2710, RFC 3810.
            130..=132 | 143 => Some("group membership"),
            _ => None,
        }
    }

    /// The packet that an error message is about: "unreachable", "too big".
    fn quoted(&self) -> Option<Packet<'a>> {
        match (self.icmp()?, self.is_v6) {
            (3, false) => Packet::v4(self.payload.get(8..)?),
            (1 | 2, true) => Packet::v6(self.payload.get(8..)?),
            _ => None,
        }
    }

    fn complaint(&self) -> &'static str {
        match self.udp() {
            Some(udp) if udp.to == CLEAR || udp.from == CLEAR => "VXLAN in clear",
            Some(udp) if udp.has(&WIREGUARD) => "no message of WireGuard at its port",
            Some(_) => "UDP at no port of Shoal's",
            None if self.icmp().is_some() => "ICMP that nobody declared",
            None => "IP of another protocol",
        }
    }
}

impl Udp<'_> {
    fn has(&self, ports: &[u16]) -> bool {
        ports.contains(&self.from) || ports.contains(&self.to)
    }

    fn is_at_known_port(&self) -> bool {
        self.has(&WIREGUARD) || self.has(&[QUIC])
    }
}

/// Whether a payload is one message of WireGuard or, before it is segmented, several data messages of equal length
/// and one that may be shorter (<https://www.wireguard.com/protocol/>). Each segment must begin like the first: type,
/// zeros, receiver. A message need not be a multiple of 16 bytes long: padding ends at the tunnel's MTU.
fn is_wireguard(udp: &Udp<'_>) -> bool {
    let bytes = udp.payload;
    match bytes.get(..4) {
        Some([1, 0, 0, 0]) => bytes.len() == 148,
        Some([2, 0, 0, 0]) => bytes.len() == 92,
        Some([3, 0, 0, 0]) => bytes.len() == 64,
        Some([4, 0, 0, 0]) => is_data(bytes),
        _ => false,
    }
}

/// Header and tag of a data message, bytes: the shortest there is.
const DATA_MIN: usize = 32;

/// The longest message that may stand alone: one that fills a jumbo frame.
const LONE_MAX: usize = 9000;

fn is_data(bytes: &[u8]) -> bool {
    let Some(head) = bytes.get(..8) else { return false };
    let next = bytes.get(DATA_MIN..).and_then(|rest| rest.windows(8).position(|window| window == head));
    let each = next.map_or(bytes.len(), |at| DATA_MIN + at);
    each <= LONE_MAX && bytes.chunks(each).all(|it| it.starts_with(head) && it.len() >= DATA_MIN)
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
