//! Why two ends have no session, or one that does not carry what it should.

use std::time::Duration;

use crate::Nat;
use crate::contact::TRY_FOR;

/// How long an end is looked for before there is something to explain: each host has tried two places by then.
const PATIENCE: Duration = Duration::from_secs(2 * TRY_FOR.as_secs());

/// How long an end is looked for before strangers' handshakes speak against its key: for a moment every host that joins
/// or changes its key is a stranger, and "lately" is a minute.
const NOT_NEW: Duration = Duration::from_secs(90);

/// What is known of the tunnel between this host and another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// Whether both ends hold session keys.
    pub is_up: bool,
    /// How long they have looked for each other.
    pub looked_for: Duration,
    /// Whether another host has the other end's key or tunnel address.
    pub clashes: bool,
    /// Whether the other host's agent answers at the host's address.
    pub quic_answers: bool,
    /// Whether the other host's tunnel port is refused in words (ICMP "port unreachable"); false also if nobody asked.
    pub port_refused: bool,
    /// Whether handshakes came lately that were made for another key than this host's, or by a key that is no host's.
    pub strangers: bool,
    /// How far this host's clock lies behind a time that it has shown before.
    pub clock_behind: Duration,
    /// What stands between this host and its peers.
    pub nat_here: Nat,
    /// What stands between the other host and its peers.
    pub nat_there: Nat,
    /// The largest packet that passes, bytes, 0 if none does; `None`: not known yet.
    pub passes: Option<u16>,
    /// The largest packet that should pass, since the links at both ends carry it, bytes.
    pub full: u16,
}

/// Why, as far as it can be told from this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Explanation {
    /// Nothing is wrong.
    Fine,
    /// The ends have not looked for each other long enough to tell.
    Early,
    /// Two hosts have one key or tunnel address; the other host is about to change its own.
    KeyClash,
    /// This host's clock went back: peers refuse its handshakes until it has caught up, since the time in them
    /// (TAI64N) must grow (the WireGuard paper, section 5.1).
    Clock,
    /// Both hosts are behind NAT, at least one of which gives each peer another port: they cannot meet.
    NatPerPeer,
    /// Both hosts are behind NAT, and their packets did not open the way for each other.
    NatBoth,
    /// One host is behind NAT and reaches the other one's agent, but not its tunnel.
    NatOne,
    /// The agents reach each other, and nothing listens at the tunnel's port, or a firewall rejects what is sent there.
    PortRefused,
    /// The agents reach each other and the tunnels do not, and somebody shakes hands with a key that no host tells: one
    /// of the two hosts uses another key than it tells.
    OtherKey,
    /// The agents reach each other, and the tunnel's port is silent: it is closed on the way, or the other host uses
    /// another key than the one it tells, which cannot be told apart from here.
    PortClosed,
    /// Nothing of the other host answers.
    Unreached,
    /// There is a session and nothing passes.
    Silent,
    /// Small packets pass, full ones do not: something between the hosts carries less than their own links.
    Mtu {
        /// As in [`Evidence`].
        passes: u16,
        /// As in [`Evidence`].
        full: u16,
    },
}

/// The explanation that fits, the one that rules out the others first.
pub fn explain(of: Evidence) -> Explanation {
    if of.is_up {
        return match of.passes {
            Some(0) => Explanation::Silent,
            Some(passes) if passes < of.full => Explanation::Mtu { passes, full: of.full },
            _ => Explanation::Fine,
        };
    }
    let nats = (of.nat_here != Nat::None, of.nat_there != Nat::None);
    if of.clashes {
        Explanation::KeyClash
    } else if of.clock_behind > Duration::ZERO {
        Explanation::Clock
    } else if of.looked_for < PATIENCE {
        Explanation::Early
    } else if nats == (true, true) {
        let per_peer = of.nat_here == Nat::PerPeer || of.nat_there == Nat::PerPeer;
        if per_peer { Explanation::NatPerPeer } else { Explanation::NatBoth }
    } else if nats != (false, false) {
        Explanation::NatOne
    } else if !of.quic_answers {
        Explanation::Unreached
    } else if of.port_refused {
        Explanation::PortRefused
    } else if of.strangers && of.looked_for >= NOT_NEW {
        Explanation::OtherKey
    } else {
        Explanation::PortClosed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_has_the_explanation_that_fits() {
        use Explanation::*;
        let none = Evidence {
            is_up: false,
            looked_for: Duration::from_secs(60),
            clashes: false,
            quic_answers: true,
            port_refused: false,
            strangers: false,
            clock_behind: Duration::ZERO,
            nat_here: Nat::None,
            nat_there: Nat::None,
            passes: Some(0),
            full: 1370,
        };
        let up = Evidence { is_up: true, looked_for: Duration::ZERO, ..none };
        let hour = Duration::from_secs(3_600);
        let table = [
            (none, PortClosed),
            (Evidence { port_refused: true, ..none }, PortRefused),
            (Evidence { port_refused: true, strangers: true, ..none }, PortRefused),
            (Evidence { strangers: true, ..none }, PortClosed),
            (Evidence { strangers: true, looked_for: Duration::from_secs(90), ..none }, OtherKey),
            (Evidence { quic_answers: false, strangers: true, ..none }, Unreached),
            (Evidence { strangers: true, passes: Some(1370), ..up }, Fine),
            (Evidence { looked_for: Duration::from_secs(5), ..none }, Early),
            (Evidence { clashes: true, looked_for: Duration::ZERO, ..none }, KeyClash),
            (Evidence { clock_behind: hour, ..none }, Clock),
            (Evidence { clock_behind: hour, nat_here: Nat::Steady, nat_there: Nat::Steady, ..none }, Clock),
            (Evidence { nat_here: Nat::Steady, ..none }, NatOne),
            (Evidence { nat_there: Nat::PerPeer, ..none }, NatOne),
            (Evidence { nat_here: Nat::Steady, nat_there: Nat::Steady, ..none }, NatBoth),
            (Evidence { nat_here: Nat::Steady, nat_there: Nat::PerPeer, ..none }, NatPerPeer),
            (
                Evidence { nat_here: Nat::PerPeer, nat_there: Nat::PerPeer, quic_answers: false, ..none },
                NatPerPeer,
            ),
            (up, Silent),
            (Evidence { passes: Some(1362), ..up }, Mtu { passes: 1362, full: 1370 }),
            (Evidence { passes: Some(1370), ..up }, Fine),
            (Evidence { passes: None, ..up }, Fine),
            // A clock that went back does no harm while a session stands.
            (Evidence { passes: Some(1370), clock_behind: hour, ..up }, Fine),
        ];
        for (evidence, wanted) in table {
            assert_eq!(explain(evidence), wanted, "{evidence:?}");
        }
    }
}
