//! Ids, addresses, units and time, the words every other crate speaks.
//!
//! Everything here is a plain value: it can be made in a test, stored, compared and printed. Text is parsed
//! once, at the edge, into one of these types; from then on it is known to be well formed.

mod address;
mod hex;
mod ids;
mod names;
mod time;
mod wireguard;

pub use address::{MacAddr, PoolIndex, Vni};
pub use hex::{hex, unhex};
pub use ids::{EndpointId, FabricId, HostId, NetworkId, ParseIdError};
pub use ipnet::{IpNet, Ipv4Net, Ipv6Net};
pub use names::{HostName, InvalidName, LinkName, NetworkName};
pub use time::{Moment, Stamp, WallTime};
pub use wireguard::{WireGuardKey, WireGuardSecret};
