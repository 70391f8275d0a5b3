//! Why there is no address. Every variant prints as a sentence that may reach a terminal through Docker.

use std::net::IpAddr;

use shoal_types::{HostId, IpNet};

/// Why no address, or not this one, was handed out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllocateError {
    /// The network or its pool is not known here. A retry after its fact has arrived succeeds.
    #[error("the network's subnet is not known on this host yet: try again in a few seconds")]
    UnknownPool,
    /// No address is left for this host, and no other host has any to spare.
    #[error("{}", full(prefix, *owned, *resting, *total))]
    Full {
        /// The subnet.
        prefix: IpNet,
        /// Addresses of this host from which it may choose.
        owned: u128,
        /// Those of them that rest.
        resting: u128,
        /// Addresses of the pool from which Shoal may choose, on all hosts.
        total: u128,
    },
    /// No range has been given to this host yet; it is being asked for (see `Ipam::needs`).
    #[error(
        "this host has no free addresses of {prefix} yet and is asking others for some: try again in a few seconds"
    )]
    NoRangeYet {
        /// The subnet.
        prefix: IpNet,
    },
    /// The reserve is used up, and the rest of what this host owns is spare: it is being taken back into use.
    #[error(
        "the reserve of this host in {prefix} is used up, and too few of the hosts that witness its lease answer to let it \
         use more of its {spare} spare addresses: try again in a few seconds, and see `shoal addresses`"
    )]
    ReserveUsedUp {
        /// The subnet.
        prefix: IpNet,
        /// Addresses that this host owns and may not use yet.
        spare: u128,
    },
    /// The wish is this host's and spare: it is being taken back into use.
    #[error("{address} is spare on this host and is being taken back into use: try again in a few seconds")]
    Spare {
        /// The wish.
        address: IpAddr,
    },
    /// The wish is not an address of the subnet.
    #[error("{address} is not in the network's subnet {prefix}")]
    OutsidePool {
        /// The wish.
        address: IpAddr,
        /// The subnet.
        prefix: IpNet,
    },
    /// The wish lies in the part of a large IPv6 subnet that is neither typed nor this host's.
    #[error(
        "{address} cannot be used on this host: in {prefix} choose an address from {typed_first} to {typed_last} or from \
         {own_first} to {own_last}"
    )]
    OutsideRanges {
        /// The wish.
        address: IpAddr,
        /// The subnet.
        prefix: IpNet,
        /// First of the addresses for wishes on any host.
        typed_first: IpAddr,
        /// Last of them.
        typed_last: IpAddr,
        /// First of this host's derived range.
        own_first: IpAddr,
        /// Last of it.
        own_last: IpAddr,
    },
    /// The wish is the gateway.
    #[error("{address} is the network's gateway")]
    IsGateway {
        /// The wish.
        address: IpAddr,
    },
    /// The wish is reserved (`--aux-address`).
    #[error("{address} is reserved in this network under the name \"{name}\"")]
    IsReserved {
        /// The wish.
        address: IpAddr,
        /// Its name.
        name: String,
    },
    /// The wish names the subnet itself.
    #[error("{address} is the address of the subnet {prefix} itself, which no container can have")]
    NetworkAddress {
        /// The wish.
        address: IpAddr,
        /// The subnet.
        prefix: IpNet,
    },
    /// The wish is the broadcast address.
    #[error("{address} is the broadcast address of {prefix}, which no container can have")]
    BroadcastAddress {
        /// The wish.
        address: IpAddr,
        /// The subnet.
        prefix: IpNet,
    },
    /// The wish is in use on this host.
    #[error("{address} is in use by another container on this host")]
    Taken {
        /// The wish.
        address: IpAddr,
    },
    /// The wish belongs to another host: ask that one with `Ipam::ask_for`.
    #[error("{address} belongs to another host (id {}) and has been asked for: try again in a few seconds", owner.short())]
    OwnedBy {
        /// The wish.
        address: IpAddr,
        /// Its owner.
        owner: HostId,
    },
    /// No host owns the wish in this host's view: the facts that say so have not arrived.
    #[error("it is not known on this host yet which host {address} belongs to: try again in a few seconds")]
    OwnerUnknown {
        /// The wish.
        address: IpAddr,
    },
}

/// Why an owner does not give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The network or its pool is not known here, or no longer.
    #[error("the network's subnet is not known on this host")]
    UnknownPool,
    /// A host asked itself.
    #[error("a host cannot give addresses to itself")]
    ToItself,
    /// All that this host owns is in use, rests, or is needed here.
    #[error("this host has no addresses of {prefix} to spare")]
    NothingToSpare {
        /// The subnet.
        prefix: IpNet,
    },
    /// This host does not own the address; ask `owner`, which may be the one that asked.
    #[error("this host does not own {address}")]
    NotOwner {
        /// The address.
        address: IpAddr,
        /// Its owner in this host's view.
        owner: Option<HostId>,
    },
    /// A container of this host has the address.
    #[error("{address} is in use by a container")]
    InUse {
        /// The address.
        address: IpAddr,
    },
    /// The address is spare: the owner is taking it back into use, to give it when it is asked again.
    #[error("{address} is spare and is being taken back into use")]
    Spare {
        /// The address.
        address: IpAddr,
    },
    /// The gateway, a reserved address, or one that no container can have.
    #[error("{address} is kept from containers")]
    Kept {
        /// The address.
        address: IpAddr,
    },
    /// The epoch would not fit 32 bits: a member has made it up.
    #[error("the addresses changed hands too often to be given again")]
    EpochsUsedUp,
}

fn full(prefix: &IpNet, owned: u128, resting: u128, total: u128) -> String {
    let resting = match resting {
        0 => String::new(),
        resting => format!(" ({resting} of them rest for up to 30 seconds after use)"),
    };
    let why = match (owned, total) {
        (_, 0) => {
            return format!("{prefix} has no address for a container: make a network with a larger subnet");
        }
        (0, _) => "this host has none, and the other hosts need theirs".to_owned(),
        (owned, _) if owned == total => format!("all {total} are in use{resting}"),
        _ => format!(
            "the {owned} of this host are in use{resting}, and the other hosts need their {}",
            total.saturating_sub(owned)
        ),
    };
    format!("no free address in {prefix}: {why}; remove containers or make a network with a larger subnet")
}
