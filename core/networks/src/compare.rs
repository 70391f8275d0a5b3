//! Single endpoints compared: what the engine lists as attached, and what was made here.
//!
//! The engine lists a container before it tells the driver of its end, and after it told of its beginning, so that each
//! difference is real only if it lasts: [`SETTLED_AFTER`].

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use shoal_types::{EndpointId, Moment, NetworkId};

use crate::{DockerNetworkId, Networks};

/// How long a difference must last before it is told.
const SETTLED_AFTER: Duration = Duration::from_secs(3);

/// A running container's attachment to a network, as the engine lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The engine's id of the network; also of networks that are not Shoal's.
    pub docker: DockerNetworkId,
    /// The container's name.
    pub container: String,
    /// Its IPv4 address in the network, if the engine tells one.
    pub v4: Option<Ipv4Addr>,
    /// Its IPv6 address in the network, if the engine tells one.
    pub v6: Option<Ipv6Addr>,
}

/// What engine and host do not agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointDifference {
    /// The engine lists an endpoint of a network of ours that was never made here, or was lost.
    NotHere {
        /// The network.
        network: NetworkId,
        /// What the engine lists.
        attached: Attached,
    },
    /// Engine and host have other addresses for one endpoint.
    OtherAddress {
        /// The network.
        network: NetworkId,
        /// What the engine lists.
        attached: Attached,
        /// This host's addresses.
        here: (Option<Ipv4Addr>, Option<Ipv6Addr>),
    },
    /// The engine does not list an endpoint that was made here. It is let go after a minute.
    NotInEngine {
        /// The network.
        network: NetworkId,
        /// The endpoint.
        endpoint: EndpointId,
        /// Its container's name, if it was ever known.
        container: Option<String>,
    },
}

impl Networks {
    /// The engine's list of what is attached: remembers since when it differs.
    pub(crate) fn compare_attached(&mut self, list: Vec<Attached>, now: Moment) {
        let before = &self.differing;
        let differing = list.into_iter().filter(|attached| self.difference(attached).is_some());
        let with_age = differing.map(|attached| {
            let since = before.get(&attached.endpoint).map_or(now, |(since, _)| *since);
            (attached.endpoint.clone(), (since, attached))
        });
        self.differing = with_age.collect();
    }

    /// Endpoints on which the engine and this host have differed for some seconds, in order of their ids.
    pub fn endpoint_differences(&self, now: Moment) -> Vec<EndpointDifference> {
        let lasted = |since: Moment| now.since(since) >= SETTLED_AFTER;
        let listed = self.differing.values().filter(|(since, _)| lasted(*since));
        let unlisted = self.unknown.iter().filter(|(_, since)| lasted(**since));
        let not_in_engine = unlisted.filter_map(|(endpoint, _)| {
            let record = self.endpoints.get(endpoint)?;
            let (endpoint, container) = (endpoint.clone(), record.container.clone());
            Some(EndpointDifference::NotInEngine { network: record.network, endpoint, container })
        });
        listed.filter_map(|(_, attached)| self.difference(attached)).chain(not_in_engine).collect()
    }

    fn difference(&self, attached: &Attached) -> Option<EndpointDifference> {
        let network = self.dockers.get(&attached.docker)?.network;
        let attached = attached.clone();
        let Some(record) = self.endpoints.get(&attached.endpoint) else {
            return Some(EndpointDifference::NotHere { network, attached });
        };
        let differs = attached.v4.is_some_and(|v4| record.v4 != Some(v4))
            || attached.v6.is_some_and(|v6| record.v6 != Some(v6));
        let here = (record.v4, record.v6);
        differs.then_some(EndpointDifference::OtherAddress { network, attached, here })
    }
}
