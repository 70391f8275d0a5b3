//! Many calls at once.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;

use crate::{Dockerd, Endpoint, Network};

/// Calls at a time.
const CROWD: usize = 50;

/// Compose starts all of a project's containers at the same moment.
pub(super) async fn fifty_containers_at_once_get_fifty_addresses(dockerd: &Dockerd) -> Result<()> {
    let network = dockerd.create_network().await?;
    let created = try_join_all((0..CROWD).map(|_| dockerd.create_endpoint(&network))).await?;
    let addresses: BTreeSet<&String> = created.iter().map(|endpoint| &endpoint.address).collect();
    ensure!(addresses.len() == CROWD, "{CROWD} containers have {} addresses: {addresses:?}", addresses.len());
    ensure!(
        !addresses.contains(&network.gateway),
        "a container has the gateway's address {}",
        network.gateway
    );
    let links = try_join_all(created.iter().map(|endpoint| dockerd.join(&network, endpoint))).await?;
    let links: BTreeSet<String> = links.into_iter().collect();
    ensure!(links.len() == CROWD, "{CROWD} containers have {} links: {links:?}", links.len());
    try_join_all(created.iter().map(|endpoint| dockerd.end(&network, endpoint))).await?;
    // Lives that are not in step.
    try_join_all((0..CROWD).map(|_| life(dockerd, &network))).await?;
    dockerd.remove_network(&network).await
}

async fn life(dockerd: &Dockerd, network: &Network) -> Result<()> {
    let endpoint = dockerd.create_endpoint(network).await?;
    dockerd.join(network, &endpoint).await?;
    dockerd.end(network, &endpoint).await
}

pub(super) async fn one_call_fifty_times_at_once_is_one_call(dockerd: &Dockerd) -> Result<()> {
    let network = dockerd.create_network().await?;
    let endpoint = dockerd.create_endpoint(&network).await?;
    let links = try_join_all((0..CROWD).map(|_| dockerd.join(&network, &endpoint))).await?;
    let links: BTreeSet<String> = links.into_iter().collect();
    ensure!(links.len() == 1, "one container has {} links: {links:?}", links.len());
    ends_once(dockerd, &network, &endpoint).await?;
    let fresh = dockerd.create_endpoint(&network).await?;
    dockerd.join(&network, &fresh).await?;
    dockerd.end(&network, &fresh).await?;
    dockerd.remove_network(&network).await
}

async fn ends_once(dockerd: &Dockerd, network: &Network, endpoint: &Endpoint) -> Result<()> {
    for verb in ["NetworkDriver.Leave", "NetworkDriver.DeleteEndpoint"] {
        let ids = dockerd.ids(network, endpoint);
        try_join_all((0..CROWD).map(|_| dockerd.must(verb, &ids))).await?;
    }
    try_join_all((0..CROWD).map(|_| dockerd.release(&network.pool, &endpoint.address))).await.map(drop)
}
