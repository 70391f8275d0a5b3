//! The client library's types into ours. What Docker leaves out becomes empty, what cannot be read is passed over with
//! a warning: one odd network must not hide the others.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, Ipv6Addr};

use bollard::models::{
    ContainerInspectResponse, ContainerSummary, ContainerSummaryStateEnum, EndpointSettings, EventMessage,
    EventMessageTypeEnum, Ipam, Network, NetworkInspect,
};
use shoal_types::IpNet;

use crate::engine::{Attachment, Container, ContainerState, EngineNetwork, SHOAL_DRIVER, Stranded, Wish};
use crate::events::Event;

/// A network from `GET /networks`.
pub(crate) fn network(listed: Network) -> EngineNetwork {
    let ipam = listed.ipam.unwrap_or_default();
    EngineNetwork {
        subnets: subnets(&ipam, listed.name.as_deref()),
        id: listed.id.unwrap_or_default(),
        name: listed.name.unwrap_or_default(),
        driver: listed.driver.unwrap_or_default(),
        labels: ordered(listed.labels),
        options: ordered(listed.options),
        ipam_driver: ipam.driver.unwrap_or_default(),
        ipam_options: ordered(ipam.options),
        internal: listed.internal.unwrap_or_default(),
        enable_ipv6: listed.enable_ipv6.unwrap_or_default(),
    }
}

/// A network from `GET /networks/ID`.
pub(crate) fn inspected_network(found: NetworkInspect) -> EngineNetwork {
    network(Network {
        id: found.id,
        name: found.name,
        driver: found.driver,
        labels: found.labels,
        options: found.options,
        ipam: found.ipam,
        internal: found.internal,
        enable_ipv6: found.enable_ipv6,
        ..Default::default()
    })
}

fn subnets(ipam: &Ipam, name: Option<&str>) -> Vec<IpNet> {
    let texts = ipam.config.iter().flatten().filter_map(|config| config.subnet.as_deref());
    let parse = |text: &str| match text.parse::<IpNet>() {
        Ok(net) => Some(net.trunc()),
        Err(_) => {
            tracing::warn!(network = name, subnet = text, "Docker names a subnet that is not understood");
            None
        }
    };
    texts.filter(|text| !text.is_empty()).filter_map(parse).collect()
}

/// A container from `GET /containers/json`.
pub(crate) fn container(summary: ContainerSummary) -> Container {
    let state = match summary.state {
        Some(ContainerSummaryStateEnum::CREATED) => ContainerState::Created,
        Some(
            ContainerSummaryStateEnum::RUNNING
            | ContainerSummaryStateEnum::PAUSED
            | ContainerSummaryStateEnum::RESTARTING
            | ContainerSummaryStateEnum::STOPPING,
        ) => ContainerState::Running,
        Some(
            ContainerSummaryStateEnum::EXITED
            | ContainerSummaryStateEnum::DEAD
            | ContainerSummaryStateEnum::REMOVING,
        ) => ContainerState::Stopped,
        Some(ContainerSummaryStateEnum::EMPTY) | None => ContainerState::Unknown,
    };
    Container { name: own_name(&summary), id: summary.id.unwrap_or_default(), state }
}

/// A container's own name: it also bears one "/other/alias" for every `--link` to it.
fn own_name(summary: &ContainerSummary) -> String {
    let names = summary.names.iter().flatten().map(|name| name.trim_start_matches('/'));
    names.filter(|name| !name.contains('/')).map(str::to_owned).next().unwrap_or_default()
}

/// Whether a container is or would be attached to the network with this id. A container that was never started knows
/// its networks only as the user wrote them; one whose network was made again keeps the old id and does not count.
pub(crate) fn uses_network(summary: &ContainerSummary, id: &str, name: Option<&str>) -> bool {
    endpoints(summary).any(|(written, endpoint)| match endpoint.network_id.as_deref() {
        Some(known) if !known.is_empty() => known == id,
        _ => Some(written.as_str()) == name || (!written.is_empty() && id.starts_with(written.as_str())),
    })
}

/// What a container is attached to.
pub(crate) fn attachments(summary: &ContainerSummary) -> Vec<Attachment> {
    let container = own_name(summary);
    let attached = endpoints(summary).filter_map(|(_, endpoint)| {
        Some(Attachment {
            endpoint: endpoint.endpoint_id.clone().filter(|id| !id.is_empty())?,
            network: endpoint.network_id.clone().unwrap_or_default(),
            container: container.clone(),
            v4: v4(endpoint.ip_address.as_deref()),
            v6: v6(endpoint.global_ipv6_address.as_deref()),
        })
    });
    attached.collect()
}

/// The networks of Shoal's whose old id a container holds.
pub(crate) fn stranded(summary: &ContainerSummary, networks: &[EngineNetwork]) -> Vec<Stranded> {
    let container = own_name(summary);
    let is_stale = |id: &str| !id.is_empty() && networks.iter().all(|network| network.id != id);
    let ours =
        |name: &str| networks.iter().any(|network| network.name == name && network.driver == SHOAL_DRIVER);
    let stale = endpoints(summary).filter(|(written, endpoint)| {
        ours(written.as_str()) && endpoint.network_id.as_deref().is_some_and(is_stale)
    });
    stale.map(|(network, _)| Stranded { container: container.clone(), network: network.clone() }).collect()
}

fn endpoints(summary: &ContainerSummary) -> impl Iterator<Item = (&String, &EndpointSettings)> {
    summary.network_settings.iter().flat_map(|settings| settings.networks.iter().flatten())
}

/// What a container asks for, from `GET /containers/ID/json`, in order of the networks' names.
pub(crate) fn wishes(found: ContainerInspectResponse) -> Vec<Wish> {
    let networks = found.network_settings.and_then(|settings| settings.networks);
    ordered(networks).into_iter().map(|(network, endpoint)| wish(network, endpoint)).collect()
}

fn wish(network: String, endpoint: EndpointSettings) -> Wish {
    let config = endpoint.ipam_config.unwrap_or_default();
    Wish {
        network,
        network_id: endpoint.network_id.filter(|id| !id.is_empty()),
        v4: v4(config.ipv4_address.as_deref()),
        v6: v6(config.ipv6_address.as_deref()),
    }
}

fn v4(text: Option<&str>) -> Option<Ipv4Addr> {
    text.and_then(|text| text.parse().ok())
}

fn v6(text: Option<&str>) -> Option<Ipv6Addr> {
    text.and_then(|text| text.parse().ok())
}

/// An event from `GET /events`; `None` for one that does not concern us.
pub(crate) fn event(message: EventMessage) -> Option<Event> {
    let actor = message.actor?;
    let id = actor.id.filter(|id| !id.is_empty())?;
    let container = || actor.attributes.and_then(|mut attributes| attributes.remove("container"));
    match (message.typ?, message.action?.as_str()) {
        (EventMessageTypeEnum::NETWORK, "create") => Some(Event::NetworkCreated { id }),
        (EventMessageTypeEnum::NETWORK, "destroy" | "remove") => Some(Event::NetworkRemoved { id }),
        (EventMessageTypeEnum::NETWORK, "connect") => {
            Some(Event::NetworkConnected { network: id, container: container()? })
        }
        (EventMessageTypeEnum::NETWORK, "disconnect") => {
            Some(Event::NetworkDisconnected { network: id, container: container()? })
        }
        (EventMessageTypeEnum::CONTAINER, "create") => Some(Event::ContainerCreated { id }),
        (EventMessageTypeEnum::CONTAINER, "start") => Some(Event::ContainerStarted { id }),
        (EventMessageTypeEnum::CONTAINER, "die") => Some(Event::ContainerDied { id }),
        (EventMessageTypeEnum::CONTAINER, "destroy") => Some(Event::ContainerRemoved { id }),
        (EventMessageTypeEnum::CONTAINER, "rename") => Some(Event::ContainerRenamed { id }),
        _ => None,
    }
}

fn ordered<T>(map: Option<HashMap<String, T>>) -> BTreeMap<String, T> {
    map.unwrap_or_default().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn summary(value: Value) -> ContainerSummary {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_linked_container_is_called_by_its_own_name() {
        let found =
            container(summary(json!({"Id": "c1", "Names": ["/web/db", "/store"], "State": "paused"})));
        assert_eq!(
            found,
            Container { id: "c1".into(), name: "store".into(), state: ContainerState::Running }
        );
    }

    #[test]
    fn a_network_is_used_by_id_or_before_the_first_start_by_name() {
        let attached = |name: &str, id: &str| {
            summary(json!({"NetworkSettings": {"Networks": {name: {"NetworkID": id, "EndpointID": ""}}}}))
        };
        assert!(uses_network(&attached("shop", "n1"), "n1", None));
        assert!(uses_network(&attached("shop", ""), "n1", Some("shop")));
        assert!(uses_network(&attached("0123456789ab", ""), "0123456789abcdef", Some("shop")));
        assert!(!uses_network(&attached("shop", "old"), "n1", Some("shop")), "that network was made again");
        assert!(!uses_network(&attached("", ""), "n1", Some("shop")));
        assert!(!uses_network(&ContainerSummary::default(), "n1", Some("shop")));
    }

    #[test]
    fn what_a_container_is_attached_to_is_read_with_its_addresses() {
        let networks = json!({
            "shop": {"NetworkID": "n1", "EndpointID": "e1", "IPAddress": "10.7.0.2", "GlobalIPv6Address": ""},
            "ended": {"NetworkID": "n2", "EndpointID": "", "IPAddress": ""},
        });
        let found =
            attachments(&summary(json!({"Names": ["/db"], "NetworkSettings": {"Networks": networks}})));
        let v4 = Some(Ipv4Addr::new(10, 7, 0, 2));
        let wanted =
            Attachment { endpoint: "e1".into(), network: "n1".into(), container: "db".into(), v4, v6: None };
        assert_eq!(found, [wanted]);
    }

    #[test]
    fn one_odd_subnet_does_not_hide_the_others() {
        let config = json!([{"Subnet": "10.1.2.3/16"}, {"Subnet": "odd"}, {"Subnet": ""}, {}, {"Subnet": "fd00::/64"}]);
        let listed: Network =
            serde_json::from_value(json!({"Id": "n1", "IPAM": {"Config": config}})).unwrap();
        assert_eq!(network(listed).subnets, ["10.1.0.0/16".parse().unwrap(), "fd00::/64".parse().unwrap()]);
    }

    #[test]
    fn an_event_that_is_incomplete_or_foreign_is_passed_over() {
        let read = |value| event(serde_json::from_value(value).unwrap());
        let actor = json!({"ID": "n1", "Attributes": {"container": "c1"}});
        let connected = Event::NetworkConnected { network: "n1".into(), container: "c1".into() };
        assert_eq!(read(json!({"Type": "network", "Action": "connect", "Actor": actor})), Some(connected));
        assert_eq!(read(json!({"Type": "network", "Action": "connect", "Actor": {"ID": "n1"}})), None);
        assert_eq!(
            read(json!({"Type": "container", "Action": "exec_start: sh", "Actor": {"ID": "c1"}})),
            None
        );
        assert_eq!(read(json!({"Type": "image", "Action": "create", "Actor": {"ID": "i1"}})), None);
        assert_eq!(read(json!({})), None);
    }
}
