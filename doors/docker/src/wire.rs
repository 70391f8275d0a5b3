//! Which call a path names, and what its body asks for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value, json};
use shoal_networks::{PoolData, Verb};
use shoal_types::IpNet;

use crate::field::{Fields, Malformed};
use crate::{GLOBAL_SPACE, LOCAL_SPACE};

/// The longest network id: Docker's have 64 digits, Swarm's 25 letters.
const NETWORK_ID_MAX: usize = 128;
/// The longest pool id: ours are short, a foreign one is answered in a sentence.
const POOL_ID_MAX: usize = 1024;

/// Where dockerd keeps the user's `-o` options of a network.
const GENERIC: &str = "com.docker.network.generic";
const INTERNAL: &str = "com.docker.network.internal";
const REQUEST_TYPE: &str = "RequestAddressType";
/// The request type of a gateway's address, and the key under which a pool's reply gives one.
pub(crate) const GATEWAY: &str = "com.docker.network.gateway";

const SWARM_REFUSAL: &str = "Shoal's networks need no Swarm and have no Swarm scope: create the network with \
     `docker network create -d shoal --ipam-driver shoal NAME` and no --scope";

/// What to do with a path.
pub(crate) enum Call {
    /// Answer this, whatever the body.
    Fixed(Value),
    /// Refuse with this sentence, whatever the body.
    Refused(&'static str),
    /// Parse the body and let the handler decide.
    Decide(fn(&Fields) -> Result<Verb, Malformed>),
}

/// The call behind a path such as `/NetworkDriver.Join`; `None` for one that Shoal does not implement.
///
/// Discovery is Swarm's and tells nothing that facts do not. External connectivity is Docker's gateway bridge's work.
/// Both are answered with success, not with 404: the 404 is only understood by newer daemons, and every answer but
/// success is logged as an error by all of them.
pub(crate) fn call(path: &str) -> Option<Call> {
    Some(match path {
        "/Plugin.Activate" => Call::Fixed(json!({"Implements": ["NetworkDriver", "IpamDriver"]})),
        "/NetworkDriver.GetCapabilities" => {
            Call::Fixed(json!({"Scope": "local", "ConnectivityScope": "global"}))
        }
        "/IpamDriver.GetCapabilities" => {
            Call::Fixed(json!({"RequiresMACAddress": false, "RequiresRequestReplay": false}))
        }
        "/IpamDriver.GetDefaultAddressSpaces" => Call::Fixed(
            json!({"LocalDefaultAddressSpace": LOCAL_SPACE, "GlobalDefaultAddressSpace": GLOBAL_SPACE}),
        ),
        "/NetworkDriver.DiscoverNew"
        | "/NetworkDriver.DiscoverDelete"
        | "/NetworkDriver.ProgramExternalConnectivity"
        | "/NetworkDriver.RevokeExternalConnectivity" => Call::Fixed(json!({})),
        "/NetworkDriver.AllocateNetwork" | "/NetworkDriver.FreeNetwork" => Call::Refused(SWARM_REFUSAL),
        "/IpamDriver.RequestPool" => Call::Decide(request_pool),
        "/IpamDriver.ReleasePool" => Call::Decide(release_pool),
        "/IpamDriver.RequestAddress" => Call::Decide(request_address),
        "/IpamDriver.ReleaseAddress" => Call::Decide(release_address),
        "/NetworkDriver.CreateNetwork" => Call::Decide(create_network),
        "/NetworkDriver.DeleteNetwork" => Call::Decide(delete_network),
        "/NetworkDriver.CreateEndpoint" => Call::Decide(create_endpoint),
        "/NetworkDriver.DeleteEndpoint" => Call::Decide(delete_endpoint),
        "/NetworkDriver.Join" => Call::Decide(join),
        "/NetworkDriver.Leave" => Call::Decide(leave),
        "/NetworkDriver.EndpointOperInfo" => Call::Decide(endpoint_info),
        _ => return None,
    })
}

fn request_pool(fields: &Fields) -> Result<Verb, Malformed> {
    let v6 = fields.flag("V6")?;
    let pool = of_family(fields, "Pool", v6, fields.prefix("Pool")?)?;
    let sub_pool = of_family(fields, "SubPool", v6, fields.prefix("SubPool")?)?;
    match (&pool, &sub_pool) {
        (None, Some(_)) => return Err(fields.wrong("SubPool", "needs a Pool (--ip-range needs --subnet)")),
        (Some(pool), Some(sub)) if !pool.contains(sub) => {
            return Err(fields.wrong("SubPool", format!("{sub} lies outside the pool {pool}")));
        }
        _ => {}
    }
    let space = fields.text("AddressSpace")?.to_owned();
    Ok(Verb::RequestPool { space, pool, sub_pool, options: fields.texts("Options")?, v6 })
}

fn release_pool(fields: &Fields) -> Result<Verb, Malformed> {
    Ok(Verb::ReleasePool { pool: fields.id("PoolID", POOL_ID_MAX)? })
}

fn request_address(fields: &Fields) -> Result<Verb, Malformed> {
    let pool = fields.id("PoolID", POOL_ID_MAX)?;
    let address = fields.address("Address")?;
    let gateway = fields.texts("Options")?.get(REQUEST_TYPE).is_some_and(|kind| kind == GATEWAY);
    Ok(Verb::RequestAddress { pool, address, gateway })
}

fn release_address(fields: &Fields) -> Result<Verb, Malformed> {
    let pool = fields.id("PoolID", POOL_ID_MAX)?;
    let address = fields.address("Address")?.ok_or_else(|| fields.wrong("Address", "is missing or empty"))?;
    Ok(Verb::ReleaseAddress { pool, address })
}

fn create_network(fields: &Fields) -> Result<Verb, Malformed> {
    let network = fields.id("NetworkID", NETWORK_ID_MAX)?;
    let (options, internal) = match fields.object("Options")? {
        Some(all) => (all.texts(GENERIC)?, all.flag(INTERNAL)?),
        None => (BTreeMap::new(), false),
    };
    let v4 = fields.objects("IPv4Data")?.into_iter().map(|data| pool_data(&data, false));
    let v6 = fields.objects("IPv6Data")?.into_iter().map(|data| pool_data(&data, true));
    let pools = v4.chain(v6).collect::<Result<_, _>>()?;
    Ok(Verb::CreateNetwork { network, options, internal, pools })
}

/// Reads one entry of `IPv4Data` or `IPv6Data`.
fn pool_data(fields: &Fields, v6: bool) -> Result<PoolData, Malformed> {
    let pool = of_family(fields, "Pool", v6, fields.prefix("Pool")?)?;
    let pool = pool.ok_or_else(|| fields.wrong("Pool", "is missing or empty"))?;
    let gateway = of_family(fields, "Gateway", v6, fields.address("Gateway")?)?;
    let mut aux = BTreeMap::new();
    if let Some(addresses) = fields.object("AuxAddresses")? {
        for name in addresses.names() {
            let address = of_family(&addresses, name, v6, addresses.address(name)?)?;
            let address = address.ok_or_else(|| addresses.wrong(name, "is missing or empty"))?;
            aux.insert(name.to_owned(), address);
        }
    }
    Ok(PoolData {
        space: fields.optional_text("AddressSpace")?.unwrap_or_default().to_owned(),
        pool,
        gateway,
        aux,
    })
}

fn delete_network(fields: &Fields) -> Result<Verb, Malformed> {
    Ok(Verb::DeleteNetwork { network: fields.id("NetworkID", NETWORK_ID_MAX)? })
}

fn create_endpoint(fields: &Fields) -> Result<Verb, Malformed> {
    let network = fields.id("NetworkID", NETWORK_ID_MAX)?;
    let endpoint = fields.parsed("EndpointID")?;
    let interface = fields.object("Interface")?.ok_or_else(|| fields.wrong("Interface", "is missing"))?;
    let v4 = of_family(&interface, "Address", false, interface.cidr("Address")?)?;
    let v6 = of_family(&interface, "AddressIPv6", true, interface.cidr("AddressIPv6")?)?;
    Ok(Verb::CreateEndpoint { network, endpoint, v4, v6, mac: interface.optional_parsed("MacAddress")? })
}

fn delete_endpoint(fields: &Fields) -> Result<Verb, Malformed> {
    let network = fields.id("NetworkID", NETWORK_ID_MAX)?;
    Ok(Verb::DeleteEndpoint { network, endpoint: fields.parsed("EndpointID")? })
}

fn join(fields: &Fields) -> Result<Verb, Malformed> {
    let network = fields.id("NetworkID", NETWORK_ID_MAX)?;
    let endpoint = fields.parsed("EndpointID")?;
    let sandbox = fields.text("SandboxKey")?;
    if !sandbox.starts_with('/') || sandbox.contains('\0') {
        return Err(fields.wrong("SandboxKey", "must be the absolute path of a network namespace"));
    }
    Ok(Verb::Join { network, endpoint, sandbox: sandbox.to_owned() })
}

fn leave(fields: &Fields) -> Result<Verb, Malformed> {
    let network = fields.id("NetworkID", NETWORK_ID_MAX)?;
    Ok(Verb::Leave { network, endpoint: fields.parsed("EndpointID")? })
}

fn endpoint_info(fields: &Fields) -> Result<Verb, Malformed> {
    let network = fields.id("NetworkID", NETWORK_ID_MAX)?;
    Ok(Verb::EndpointInfo { network, endpoint: fields.parsed("EndpointID")? })
}

/// Something that belongs to an address family.
trait Family: std::fmt::Display {
    fn is_v6(&self) -> bool;
}

impl Family for IpNet {
    fn is_v6(&self) -> bool {
        self.addr().is_ipv6()
    }
}

impl Family for IpAddr {
    fn is_v6(&self) -> bool {
        self.is_ipv6()
    }
}

/// Passes on a value of the family that its place in the request demands.
fn of_family<T: Family>(
    fields: &Fields,
    name: &str,
    v6: bool,
    value: Option<T>,
) -> Result<Option<T>, Malformed> {
    match value {
        Some(value) if value.is_v6() != v6 => {
            let (found, wanted) = if v6 { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
            Err(fields.wrong(name, format!("{value} is {found}, but {wanted} is expected here")))
        }
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DECIDED: [&str; 11] = [
        "/IpamDriver.RequestPool",
        "/IpamDriver.ReleasePool",
        "/IpamDriver.RequestAddress",
        "/IpamDriver.ReleaseAddress",
        "/NetworkDriver.CreateNetwork",
        "/NetworkDriver.DeleteNetwork",
        "/NetworkDriver.CreateEndpoint",
        "/NetworkDriver.DeleteEndpoint",
        "/NetworkDriver.Join",
        "/NetworkDriver.Leave",
        "/NetworkDriver.EndpointOperInfo",
    ];

    fn parse(path: &str, body: &[u8]) -> Result<Verb, Malformed> {
        match call(path) {
            Some(Call::Decide(parse)) => Fields::of_body(body).and_then(|fields| parse(&fields)),
            _ => panic!("{path} is decided by the handler"),
        }
    }

    /// Text that is nearly right, or not at all.
    fn odd_text() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[0-9a-f:./]{0,24}",
            "[0-9a-f]{63,65}",
            Just("10.0.0.1/8".to_owned()),
            Just("fd00::/129".to_owned()),
            Just("/".to_owned()),
        ]
    }

    /// Any JSON under names that the protocol uses.
    fn odd_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            odd_text().prop_map(Value::from),
        ];
        let name = prop::sample::select(vec![
            "NetworkID",
            "EndpointID",
            "PoolID",
            "Pool",
            "SubPool",
            "AddressSpace",
            "Address",
            "AddressIPv6",
            "MacAddress",
            "Interface",
            "Options",
            "IPv4Data",
            "IPv6Data",
            "Gateway",
            "AuxAddresses",
            "SandboxKey",
            "V6",
            GENERIC,
            INTERNAL,
            REQUEST_TYPE,
        ]);
        leaf.prop_recursive(3, 64, 12, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(name.clone(), inner, 0..12)
                    .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn bytes_that_are_no_object_are_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assume!(serde_json::from_slice::<serde_json::Map<String, Value>>(&body).is_err());
            for path in DECIDED {
                prop_assert!(parse(path, &body).is_err());
            }
        }

        #[test]
        fn whatever_an_object_holds_is_parsed_or_refused_with_a_field(body in odd_json()) {
            for path in DECIDED {
                if let Err(malformed) = parse(path, body.to_string().as_bytes()) {
                    prop_assert!(malformed.to_string().len() < 2000, "{malformed}");
                }
            }
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let body = "{\"Options\":".repeat(10_000);
        for path in DECIDED {
            assert!(matches!(parse(path, body.as_bytes()), Err(Malformed::Body(_))));
        }
    }
}
