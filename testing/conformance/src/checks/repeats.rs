//! The same call again: dockerd repeats what it got no answer to, up to four times in fifteen seconds.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{Dockerd, Endpoint};

/// Makes a call three times; the answers must be the same.
async fn thrice(dockerd: &Dockerd, verb: &str, body: &Value) -> Result<()> {
    let first = dockerd.must(verb, body).await?;
    for _ in 0..2 {
        let again = dockerd.must(verb, body).await?;
        ensure!(again == first, "{verb} {body} was answered {first}, and repeated {again}");
    }
    Ok(())
}

pub(super) async fn a_repeated_call_changes_nothing(dockerd: &Dockerd) -> Result<()> {
    let network = dockerd.create_network().await?;
    thrice(dockerd, "NetworkDriver.CreateNetwork", &dockerd.creation(&network)).await?;
    let endpoint = dockerd.create_endpoint(&network).await?;
    let other = dockerd.create_endpoint(&network).await?;
    let ids = dockerd.ids(&network, &endpoint);
    thrice(dockerd, "NetworkDriver.CreateEndpoint", &dockerd.endpoint_creation(&network, &endpoint)).await?;
    thrice(dockerd, "NetworkDriver.Join", &dockerd.joining(&network, &endpoint)).await?;
    // A repeated creation of what has joined must not take its link away.
    thrice(dockerd, "NetworkDriver.CreateEndpoint", &dockerd.endpoint_creation(&network, &endpoint)).await?;
    thrice(dockerd, "NetworkDriver.EndpointOperInfo", &ids).await?;
    dockerd.join(&network, &other).await?;
    thrice(dockerd, "NetworkDriver.Leave", &ids).await?;
    thrice(dockerd, "NetworkDriver.DeleteEndpoint", &ids).await?;
    let bare = endpoint.address.split('/').next().unwrap_or_default();
    thrice(dockerd, "IpamDriver.ReleaseAddress", &json!({"PoolID": network.pool, "Address": bare})).await?;
    // The other container has not noticed.
    thrice(dockerd, "NetworkDriver.Join", &dockerd.joining(&network, &other)).await?;
    dockerd.end(&network, &other).await?;
    dockerd.release(&network.pool, &network.gateway).await?;
    thrice(dockerd, "IpamDriver.ReleasePool", &json!({"PoolID": network.pool})).await?;
    thrice(dockerd, "NetworkDriver.DeleteNetwork", &json!({"NetworkID": network.id})).await?;
    dockerd.hidden(&network.id);
    Ok(())
}

/// The verbs whose bodies say what they are about.
pub(super) const WITH_BODY: [&str; 11] = [
    "IpamDriver.RequestPool",
    "IpamDriver.ReleasePool",
    "IpamDriver.RequestAddress",
    "IpamDriver.ReleaseAddress",
    "NetworkDriver.CreateNetwork",
    "NetworkDriver.DeleteNetwork",
    "NetworkDriver.CreateEndpoint",
    "NetworkDriver.DeleteEndpoint",
    "NetworkDriver.Join",
    "NetworkDriver.Leave",
    "NetworkDriver.EndpointOperInfo",
];

/// dockerd reads a request's body while it sends it. If the connection breaks half-way and it tries again, what is
/// left of the body is sent, which may be nothing: not a pool for everybody, and not the network with the empty id.
pub(super) async fn a_retry_that_lost_its_body_is_refused(dockerd: &Dockerd) -> Result<()> {
    let network = dockerd.create_network().await?;
    let endpoint = dockerd.create_endpoint(&network).await?;
    dockerd.join(&network, &endpoint).await?;
    for verb in WITH_BODY {
        dockerd.must_not(verb, &Value::Null).await?;
    }
    still_joined(dockerd, &network, &endpoint).await?;
    dockerd.end(&network, &endpoint).await?;
    dockerd.remove_network(&network).await
}

/// A container that has joined is still known as it was.
pub(super) async fn still_joined(
    dockerd: &Dockerd,
    network: &crate::Network,
    endpoint: &Endpoint,
) -> Result<()> {
    dockerd.must("NetworkDriver.CreateEndpoint", &dockerd.endpoint_creation(network, endpoint)).await?;
    dockerd.join(network, endpoint).await.map(drop)
}
