//! Why packets are lost, for people. The numbers are the programs' own; see `bpf/include/drops.h`.

/// Declares [`DropReason`] and what is known of each.
macro_rules! reasons {
    ($($variant:ident = $number:literal, $name:literal, $sentence:literal;)*) => {
        /// Why a packet was lost. Numbers are never reused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum DropReason {
            $(#[doc = $sentence] $variant = $number,)*
        }

        impl DropReason {
            /// All of them, in order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The reason with a number; `None` if it is of a newer program.
            pub const fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The number that programs count under.
            pub const fn number(self) -> u32 {
                self as u32
            }

            /// A short name for tables and metrics: lower case, with hyphens.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What happened, in a sentence.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)* }
            }
        }
    };
}

reasons! {
    NoLink = 1, "no-link", "the link that the packet came from has no settings";
    Malformed = 2, "malformed", "a header is cut short or contradicts itself";
    NotIp = 3, "not-ip", "neither IPv4, IPv6 nor ARP, or tagged for a VLAN";
    Multicast = 4, "multicast", "sent to a group or to everyone, which networks do not carry";
    ForgedSource = 5, "forged-source", "the source is not the container's own address";
    OwnAddress = 6, "own-address", "a container asked who has its own address; silence is the right answer";
    Neighbour = 7, "neighbour", "an ARP or neighbour discovery message that needs no answer";
    UnknownDestination = 8, "unknown-destination", "no endpoint of the network has the address";
    UnknownPeer = 9, "unknown-peer", "the destination's host is not among the peers";
    TooBig = 10, "too-big", "larger than the path to the destination's host takes";
    NoTunnel = 11, "no-tunnel", "no device leads to the destination's host any more";
    Kernel = 12, "kernel", "the kernel refused to change the packet, for want of memory";
    NoTunnelKey = 13, "no-tunnel-key", "came to the tunnel device without passing through a tunnel";
    ForeignHost = 14, "foreign-host", "came through the tunnel from a host that is not among the peers";
    ForeignSource = 15, "foreign-source", "came from a host that does not have the source address";
    NotLocal = 16, "not-local", "came through the tunnel for an address that is not on this host";
    NoReceiver = 17, "no-receiver", "the destination's link is gone";
    PathInClear = 18, "path-in-clear", "the network is encrypted, the way to the destination's host is in clear";
    PathEncrypted = 19, "path-encrypted", "the network is in clear, the way to the destination's host encrypted";
    ForeignTunnel = 20, "foreign-tunnel", "came in clear from a host's encrypted address, or the reverse";
    CameInClear = 21, "came-in-clear", "came in clear for a container of an encrypted network";
    CameEncrypted = 22, "came-encrypted", "came encrypted for a container of a network in clear";
    NoFrameKey = 23, "no-frame-key", "came from the engine without host and network in its frame's addresses";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `DROP_NAME = NUMBER, /* name: sentence */`.
    fn row(line: &str) -> Option<(u32, String, String)> {
        let (_, rest) = line.trim().strip_prefix("DROP_")?.split_once(" = ")?;
        let (number, rest) = rest.split_once(", /* ")?;
        let (name, sentence) = rest.strip_suffix(" */")?.split_once(": ")?;
        Some((number.parse().ok()?, name.to_owned(), sentence.to_owned()))
    }

    #[test]
    fn the_table_is_that_of_the_programs() {
        let programs: Vec<_> = include_str!("../../include/drops.h").lines().filter_map(row).collect();
        let ours: Vec<_> = DropReason::ALL
            .iter()
            .map(|reason| (reason.number(), reason.name().to_owned(), reason.sentence().to_owned()))
            .collect();
        assert_eq!(ours, programs);
    }

    #[test]
    fn the_page_has_the_same_table() {
        let page = include_str!("../../../docs/internals/data-plane.md");
        for reason in DropReason::ALL {
            let row = format!("| {} | `{}` | {} |", reason.number(), reason.name(), reason.sentence());
            assert!(page.contains(&row), "{row}");
        }
    }

    #[test]
    fn a_number_leads_back_to_its_reason() {
        for &reason in DropReason::ALL {
            assert_eq!(DropReason::from_number(reason.number()), Some(reason));
        }
        assert_eq!(DropReason::from_number(0), None);
    }
}
