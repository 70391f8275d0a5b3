//! What honest hosts never bring about, seen and reported: for `doctor` and the log.

use std::net::IpAddr;

use shoal_types::{HostId, IpNet, NetworkId, PoolIndex};

/// Something that two facts disagree on. The map has already taken the safe side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Two hosts own one run under one epoch: a member lies, or was restored from a backup and gave a run away twice.
    Clash {
        /// The network.
        network: NetworkId,
        /// Which of its subnets.
        pool: PoolIndex,
        /// First address.
        first: IpAddr,
        /// Last address.
        last: IpAddr,
        /// The epoch.
        epoch: u32,
        /// The owner that stays: for a gift the lowest host id, for a grant the one that was known first.
        kept: HostId,
        /// The owner that is ignored.
        ignored: HostId,
    },
    /// Another host gave away what this host owned and had not given: a member lies, or this host was restored from a
    /// backup. The run is not handed out here any more; containers that have addresses of it keep them.
    Lost {
        /// The network.
        network: NetworkId,
        /// Which of its subnets.
        pool: PoolIndex,
        /// First address.
        first: IpAddr,
        /// Last address.
        last: IpAddr,
        /// Who says so.
        author: HostId,
        /// Who owns it.
        to: HostId,
    },
    /// An edit of a network gives a subnet another prefix. It is ignored: prefixes are fixed by the creation.
    PrefixChanged {
        /// The network.
        network: NetworkId,
        /// Which of its subnets.
        pool: PoolIndex,
        /// The prefix that stays.
        kept: IpNet,
        /// The prefix that is ignored.
        ignored: IpNet,
    },
}
