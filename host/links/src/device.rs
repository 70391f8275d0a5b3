//! What the kernel says of a network device, as far as Shoal cares.

use shoal_types::{LinkName, MacAddr};

/// A network device of this namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The kernel's number for it, unique within the namespace and not soon used again.
    pub index: u32,
    /// Its name.
    pub name: LinkName,
    /// Made by Shoal: it carries Shoal's group.
    pub is_ours: bool,
    /// What it is.
    pub kind: Kind,
    /// Hardware address; zero if it has none of six bytes.
    pub mac: MacAddr,
    /// MTU, bytes.
    pub mtu: u32,
    /// Set up; says nothing of a carrier.
    pub is_up: bool,
}

/// What a device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// One end of a veth pair.
    Pair {
        /// The name that the container's end was made with, kept in the alias of the host's end; `None` if that end has
        /// no alias of ours, as when its making was interrupted.
        inner_name: Option<LinkName>,
        /// Index of the other end while it lies in this namespace too.
        inner_index: Option<u32>,
    },
    /// A VXLAN device.
    Tunnel {
        /// UDP port.
        port: u16,
        /// Outer addresses and network come with each packet (collect metadata).
        is_external: bool,
        /// The namespace that its socket lies in, by this namespace's number for it; `None`: this one.
        socket_in: Option<i32>,
    },
    /// A TAP device.
    Tap {
        /// It outlives the process that reads from it, speaks of checksums and segments left to do (`IFF_VNET_HDR`),
        /// has no other header of its own and may have several queues: as a process of Shoal's wants it.
        is_whole: bool,
    },
    /// A WireGuard device.
    WireGuard,
    /// Anything else.
    Other,
}
