//! Calls in the usual order, in others, and about what is not there.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::Dockerd;
use crate::dockerd::text;

/// dockerd registers a driver only with a scope that it knows, and asks it nothing else otherwise.
pub(super) async fn it_says_what_it_can(dockerd: &Dockerd) -> Result<()> {
    let capabilities = dockerd.must("NetworkDriver.GetCapabilities", &Value::Null).await?;
    for (key, optional) in [("Scope", false), ("ConnectivityScope", true)] {
        let scope = capabilities[key].as_str().unwrap_or_default();
        let known = ["local", "global"].contains(&scope) || (optional && scope.is_empty());
        ensure!(known, "{key} is {scope:?}: dockerd does not register such a driver");
    }
    dockerd.must("IpamDriver.GetCapabilities", &Value::Null).await.map(drop)
}

pub(super) async fn a_network_and_a_container_come_and_go(dockerd: &Dockerd) -> Result<()> {
    let network = dockerd.create_network().await?;
    for _ in 0..3 {
        let endpoint = dockerd.create_endpoint(&network).await?;
        ensure!(endpoint.address.contains('/'), "address {} has no prefix length", endpoint.address);
        let link = dockerd.join(&network, &endpoint).await?;
        ensure!(link.len() < 16, "the kernel takes no link name like {link}");
        dockerd.must("NetworkDriver.EndpointOperInfo", &dockerd.ids(&network, &endpoint)).await?;
        dockerd.end(&network, &endpoint).await?;
    }
    dockerd.remove_network(&network).await
}

/// After a crash dockerd lets go of what it still has on its lists: that must succeed, whatever became of it. To join
/// what is not there must not.
pub(super) async fn what_nobody_knows_is_let_go_and_not_joined(dockerd: &Dockerd) -> Result<()> {
    let (network, endpoint) = (dockerd.draw(), dockerd.draw());
    let ids = json!({"NetworkID": network, "EndpointID": endpoint});
    let (of_network, of_pool) = (json!({"NetworkID": network}), json!({"PoolID": "pool-of-nobody"}));
    dockerd.must("NetworkDriver.Leave", &ids).await?;
    dockerd.must("NetworkDriver.DeleteEndpoint", &ids).await?;
    dockerd.must("NetworkDriver.DeleteNetwork", &of_network).await?;
    dockerd.release("pool-of-nobody", "10.99.0.9").await?;
    dockerd.must("IpamDriver.ReleasePool", &of_pool).await?;

    dockerd.must_not("IpamDriver.RequestAddress", &dockerd.wish("pool-of-nobody")).await?;
    let interface = json!({"Address": "10.99.0.9/24", "AddressIPv6": "", "MacAddress": ""});
    let creation = json!({
        "NetworkID": network, "EndpointID": endpoint, "Interface": interface, "Options": {}
    });
    dockerd.must_not("NetworkDriver.CreateEndpoint", &creation).await?;
    let joining = json!({
        "NetworkID": network, "EndpointID": endpoint, "SandboxKey": "/run/docker/netns/0", "Options": {}
    });
    dockerd.must_not("NetworkDriver.Join", &joining).await?;
    // What it knows of nobody is nobody's business, but an answer it must be.
    dockerd.driver().call("NetworkDriver.EndpointOperInfo", &ids).await.map(drop)
}

/// A dockerd that was killed half-way goes on where it believes to be.
pub(super) async fn calls_out_of_order_leave_the_driver_usable(dockerd: &Dockerd) -> Result<()> {
    let network = dockerd.create_network().await?;
    // Joined before it is made.
    let unmade = crate::Endpoint { id: dockerd.draw(), address: String::new() };
    dockerd.must_not("NetworkDriver.Join", &dockerd.joining(&network, &unmade)).await?;
    // Left before it has joined, and made but never joined.
    let endpoint = dockerd.create_endpoint(&network).await?;
    dockerd.must("NetworkDriver.Leave", &dockerd.ids(&network, &endpoint)).await?;
    dockerd.end(&network, &endpoint).await?;
    // Deleted without having left.
    let endpoint = dockerd.create_endpoint(&network).await?;
    dockerd.join(&network, &endpoint).await?;
    dockerd.must("NetworkDriver.DeleteEndpoint", &dockerd.ids(&network, &endpoint)).await?;
    dockerd.release(&network.pool, &endpoint.address).await?;
    // The address first, then all that used it.
    let endpoint = dockerd.create_endpoint(&network).await?;
    dockerd.join(&network, &endpoint).await?;
    dockerd.release(&network.pool, &endpoint.address).await?;
    dockerd.end(&network, &endpoint).await?;
    // An address that was never used, and a pool without a network, as left by a dockerd that died in between.
    let answer = dockerd.must("IpamDriver.RequestAddress", &dockerd.wish(&network.pool)).await?;
    dockerd.release(&network.pool, &text(&answer, "Address")?).await?;
    // All is as it was.
    let endpoint = dockerd.create_endpoint(&network).await?;
    dockerd.join(&network, &endpoint).await?;
    dockerd.end(&network, &endpoint).await?;
    dockerd.remove_network(&network).await
}

/// dockerd removes a network for its user also when the driver objects, so a driver that does loses count.
pub(super) async fn a_network_goes_with_what_is_on_it(dockerd: &Dockerd) -> Result<()> {
    let network = dockerd.create_network().await?;
    let endpoint = dockerd.create_endpoint(&network).await?;
    dockerd.join(&network, &endpoint).await?;
    dockerd.remove_network(&network).await?;
    dockerd.must_not("NetworkDriver.Join", &dockerd.joining(&network, &endpoint)).await?;
    dockerd.end(&network, &endpoint).await
}

/// dockerd was killed between the pool and its network, and says nothing of it afterwards.
pub(super) async fn a_creation_that_broke_off_holds_up_no_other(dockerd: &Dockerd) -> Result<()> {
    for _ in 0..3 {
        let request = json!({
            "AddressSpace": dockerd.space(), "Pool": "", "SubPool": "", "Options": {}, "V6": false
        });
        dockerd.must("IpamDriver.RequestPool", &request).await?;
    }
    let network = dockerd.create_network().await?;
    let endpoint = dockerd.create_endpoint(&network).await?;
    dockerd.join(&network, &endpoint).await?;
    dockerd.end(&network, &endpoint).await?;
    dockerd.remove_network(&network).await
}
