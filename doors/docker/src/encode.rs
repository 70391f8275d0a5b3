//! What dockerd is told.

use serde_json::{Map, Value, json};
use shoal_networks::{Reply, Route, Verb};

use crate::wire::GATEWAY;

/// Docker's number for a route without a next hop.
const ROUTE_CONNECTED: u8 = 1;

/// Whether a reply is of the kind that its verb calls for. Another one would reach dockerd as empty fields.
pub(crate) fn fits(verb: &Verb, reply: &Reply) -> bool {
    match verb {
        Verb::RequestPool { .. } => matches!(reply, Reply::Pool { .. }),
        Verb::RequestAddress { .. } => matches!(reply, Reply::Address(_)),
        Verb::CreateEndpoint { .. } => matches!(reply, Reply::Endpoint { .. }),
        Verb::Join { .. } => matches!(reply, Reply::Joined { .. }),
        Verb::EndpointInfo { .. } => matches!(reply, Reply::Info(_)),
        Verb::ReleasePool { .. }
        | Verb::ReleaseAddress { .. }
        | Verb::CreateNetwork { .. }
        | Verb::DeleteNetwork { .. }
        | Verb::DeleteEndpoint { .. }
        | Verb::Leave { .. } => matches!(reply, Reply::Done),
    }
}

/// A reply as dockerd reads it.
pub(crate) fn reply(reply: Reply) -> Value {
    match reply {
        Reply::Done => json!({}),
        Reply::Pool { id, prefix, gateway } => {
            let data: Map<_, _> =
                gateway.map(|gateway| (GATEWAY.to_owned(), json!(gateway.to_string()))).into_iter().collect();
            json!({"PoolID": id, "Pool": prefix.to_string(), "Data": data})
        }
        Reply::Address(address) => json!({"Address": address.to_string(), "Data": {}}),
        // Only what dockerd left open may be answered: anything else is taken for a change and rolled back.
        Reply::Endpoint { mac: Some(mac) } => json!({"Interface": {"MacAddress": mac.to_string()}}),
        Reply::Endpoint { mac: None } => json!({"Interface": {}}),
        Reply::Joined { inner_name, prefix, routes, no_gateway_bridge } => json!({
            "InterfaceName": {"SrcName": inner_name.as_str(), "DstPrefix": prefix},
            "StaticRoutes": routes.iter().map(route).collect::<Vec<_>>(),
            "DisableGatewayService": no_gateway_bridge,
        }),
        Reply::Info(value) => json!({"Value": value}),
    }
}

/// A failure under both names: the network driver's side of dockerd reads `Err`, the IPAM side `Error`.
pub(crate) fn failure(sentence: &str) -> Value {
    json!({"Err": sentence, "Error": sentence})
}

fn route(route: &Route) -> Value {
    json!({"Destination": route.destination.to_string(), "RouteType": ROUTE_CONNECTED})
}
