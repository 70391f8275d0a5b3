//! dockerd's calls, as far as a container's start needs them.

use std::collections::BTreeMap;

use shoal_fabric::{At, Effect, Fabric};
use shoal_networks::{EngineReport, EngineView, LOCAL_SPACE, NETWORK_OPTION, PoolData, PoolId, Reply, Verb};
use shoal_types::{EndpointId, NetworkName};

/// The one network of a fleet.
pub(crate) const NETWORK: &str = "shop";

/// Docker's id of it on any host.
const DOCKER_ID: &str = "4f1e9d1c0a55aa0e4f1e9d1c0a55aa0e4f1e9d1c0a55aa0e4f1e9d1c0a55aa0e";

/// The id of a host's endpoint, as long as Docker's.
pub(crate) fn endpoint_id(host: usize, number: usize) -> EndpointId {
    let text = format!("{:064x}", 0x5eed_0000_0000_u64 + (host as u64) * 10_000 + number as u64);
    text.parse().unwrap_or_else(|_| unreachable!("64 digits are an id"))
}

/// Puts the fabric's network on a host's engine.
///
/// # Errors
/// What was refused.
pub(crate) fn put_on(agent: &mut Fabric, at: At) -> Result<(PoolId, Vec<Effect>), String> {
    let name: NetworkName = NETWORK.parse().map_err(|error| format!("{error}"))?;
    let (id, spec) = agent.networks().catalog().by_name(&name).ok_or("the network is unknown here")?;
    let (id, prefix) = (id, spec.subnets[0].prefix);
    let options = BTreeMap::from([(NETWORK_OPTION.to_owned(), NETWORK.to_owned())]);
    let mut effects = Vec::new();
    let space = LOCAL_SPACE.to_owned();
    let ask = Verb::RequestPool {
        space: space.clone(),
        pool: Some(prefix),
        sub_pool: None,
        options: options.clone(),
        v6: false,
    };
    let Reply::Pool { id: pool_id, .. } = call(agent, ask, at, &mut effects)? else {
        return Err("no pool".into());
    };
    let pools = vec![PoolData { space, pool: prefix, gateway: None, aux: BTreeMap::new() }];
    let network = DOCKER_ID.to_owned();
    call(
        agent,
        Verb::CreateNetwork { network, options: options.clone(), internal: false, pools },
        at,
        &mut effects,
    )?;
    effects.extend(agent.engine(EngineReport::Created(id, Ok(DOCKER_ID.into())), at));
    let view = EngineView {
        docker: DOCKER_ID.into(),
        name,
        ours: true,
        labels: BTreeMap::new(),
        options,
        subnets: vec![prefix],
    };
    effects.extend(agent.engine(EngineReport::Read(DOCKER_ID.into(), Some(view)), at));
    Ok((pool_id, effects))
}

/// `docker run`.
///
/// # Errors
/// What was refused.
pub(crate) fn start_container(
    agent: &mut Fabric,
    pool: &PoolId,
    endpoint: &EndpointId,
    at: At,
) -> Result<Vec<Effect>, String> {
    let mut effects = Vec::new();
    let ask = Verb::RequestAddress { pool: pool.clone(), address: None, gateway: false };
    let Reply::Address(address) = call(agent, ask, at, &mut effects)? else {
        return Err("no address".into());
    };
    let (network, v4) = (DOCKER_ID.to_owned(), Some(address));
    let create = Verb::CreateEndpoint {
        network: network.clone(),
        endpoint: endpoint.clone(),
        v4,
        v6: None,
        mac: None,
    };
    call(agent, create, at, &mut effects)?;
    let (endpoint, sandbox) = (endpoint.clone(), String::new());
    call(agent, Verb::Join { network, endpoint, sandbox }, at, &mut effects)?;
    Ok(effects)
}

fn call(agent: &mut Fabric, verb: Verb, at: At, effects: &mut Vec<Effect>) -> Result<Reply, String> {
    let (more, reply) = agent.verb(verb, at);
    effects.extend(more);
    reply.map_err(|refusal| refusal.0)
}
