//! What dockerd does with a driver: networks and endpoints, call by call.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{Driver, Engine, Options, Refused};

/// How long a new network may refuse addresses. A driver that must ask dockerd for its name cannot know it at once.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);

/// Between two tries for the first address of a network.
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// Plays dockerd for one driver.
#[derive(Debug)]
pub struct Dockerd {
    driver: Driver,
    options: Options,
    engine: Option<Engine>,
    space: String,
    drawn: AtomicU32,
}

/// A network that the driver has agreed to, with one IPv4 pool.
#[derive(Debug, Clone)]
pub struct Network {
    /// Docker's id of it.
    pub id: String,
    /// The driver's id of its pool.
    pub pool: String,
    /// The pool's prefix.
    pub prefix: String,
    /// Its gateway with the prefix length.
    pub gateway: String,
}

/// A container's attachment to a network.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Docker's id of it.
    pub id: String,
    /// Its address with the prefix length.
    pub address: String,
}

impl Dockerd {
    /// Activates the driver and asks for its address space.
    ///
    /// # Errors
    /// It does not answer, or is not both a network and an IPAM driver.
    pub async fn start(options: Options, engine: Option<Engine>) -> Result<Self> {
        let driver = Driver::at(&options.socket, options.limit);
        let activated = agreed(driver.call("Plugin.Activate", &Value::Null).await?, "Plugin.Activate")?;
        for kind in ["NetworkDriver", "IpamDriver"] {
            let implements =
                activated["Implements"].as_array().context("Plugin.Activate names no interface")?;
            anyhow::ensure!(implements.iter().any(|it| it == kind), "it is no {kind}: {activated}");
        }
        let verb = "IpamDriver.GetDefaultAddressSpaces";
        let spaces = agreed(driver.call(verb, &Value::Null).await?, verb)?;
        let space = text(&spaces, "LocalDefaultAddressSpace")?;
        Ok(Self { driver, options, engine, space, drawn: AtomicU32::new(0) })
    }

    /// The driver, for single calls.
    pub fn driver(&self) -> &Driver {
        &self.driver
    }

    /// The address space that networks of one host take their pools from.
    pub fn space(&self) -> &str {
        &self.space
    }

    /// An id as Docker draws them: 64 hexadecimal digits, of which the first differ.
    pub fn draw(&self) -> String {
        let number = self.drawn.fetch_add(1, Ordering::Relaxed);
        format!("{number:04x}{:08x}{:052x}", std::process::id(), 0)
    }

    /// Makes a call that must succeed.
    ///
    /// # Errors
    /// It was refused, or not answered well.
    pub async fn must(&self, verb: &str, body: &Value) -> Result<Value> {
        agreed(self.driver.call(verb, body).await?, verb).with_context(|| format!("{verb} {body}"))
    }

    /// Makes a call that must be refused.
    ///
    /// # Errors
    /// It was carried out, or not answered well.
    pub async fn must_not(&self, verb: &str, body: &Value) -> Result<Refused> {
        match self.driver.call(verb, body).await? {
            Err(refused) => Ok(refused),
            Ok(answer) => Err(anyhow!("{verb} {body} must be refused and was answered {answer}")),
        }
    }

    /// `docker network create`: pool, gateway, network; then waits until it gives addresses.
    ///
    /// # Errors
    /// A call was refused, or not answered well.
    pub async fn create_network(&self) -> Result<Network> {
        let request = json!({
            "AddressSpace": self.space, "Pool": "", "SubPool": "", "Options": self.options.pool_options, "V6": false
        });
        let answer = self.must("IpamDriver.RequestPool", &request).await?;
        let (pool, prefix) = (text(&answer, "PoolID")?, text(&answer, "Pool")?);
        let gateway = match answer["Data"]["com.docker.network.gateway"].as_str() {
            Some(gateway) => gateway.to_owned(),
            None => {
                let options = json!({"RequestAddressType": "com.docker.network.gateway"});
                let request = json!({"PoolID": pool, "Address": "", "Options": options});
                text(&self.must("IpamDriver.RequestAddress", &request).await?, "Address")?
            }
        };
        let network = Network { id: self.draw(), pool, prefix, gateway };
        self.must("NetworkDriver.CreateNetwork", &self.creation(&network)).await?;
        self.shown(&network.id, std::slice::from_ref(&network.prefix));
        self.settled(&network.pool).await?;
        Ok(network)
    }

    /// The body of `CreateNetwork`.
    pub fn creation(&self, network: &Network) -> Value {
        let options = json!({
            "com.docker.network.enable_ipv6": false, "com.docker.network.generic": self.options.network_options
        });
        let pool = json!({
            "AddressSpace": self.space, "Gateway": network.gateway, "Pool": network.prefix
        });
        json!({"NetworkID": network.id, "Options": options, "IPv4Data": [pool], "IPv6Data": []})
    }

    /// Has the stand-in for Docker's API show a network.
    pub(crate) fn shown(&self, id: &str, subnets: &[String]) {
        if let Some(engine) = &self.engine {
            engine.add(id, &self.options.driver, subnets);
        }
    }

    /// And no longer.
    pub(crate) fn hidden(&self, id: &str) {
        if let Some(engine) = &self.engine {
            engine.remove(id);
        }
    }

    /// Waits until a pool gives addresses.
    ///
    /// # Errors
    /// It did not in time.
    pub(crate) async fn settled(&self, pool: &str) -> Result<()> {
        let until = Instant::now() + SETTLED_WITHIN;
        loop {
            match self.driver.call("IpamDriver.RequestAddress", &self.wish(pool)).await? {
                Ok(answer) => return self.release(pool, &text(&answer, "Address")?).await,
                Err(refused) if Instant::now() > until => {
                    return Err(anyhow!("a new network gives no address: {refused}"));
                }
                Err(_) => sleep(TRY_AGAIN).await,
            }
        }
    }

    /// `docker network rm`.
    ///
    /// # Errors
    /// A call was refused, or not answered well.
    pub async fn remove_network(&self, network: &Network) -> Result<()> {
        self.release(&network.pool, &network.gateway).await?;
        self.must("IpamDriver.ReleasePool", &json!({"PoolID": network.pool})).await?;
        self.must("NetworkDriver.DeleteNetwork", &json!({"NetworkID": network.id})).await?;
        self.hidden(&network.id);
        Ok(())
    }

    /// The first half of a container's start: an address and an endpoint with it.
    ///
    /// # Errors
    /// A call was refused, or not answered well.
    pub async fn create_endpoint(&self, network: &Network) -> Result<Endpoint> {
        let answer = self.must("IpamDriver.RequestAddress", &self.wish(&network.pool)).await?;
        let endpoint = Endpoint { id: self.draw(), address: text(&answer, "Address")? };
        self.must("NetworkDriver.CreateEndpoint", &self.endpoint_creation(network, &endpoint)).await?;
        Ok(endpoint)
    }

    /// The body of `RequestAddress` for any address.
    pub fn wish(&self, pool: &str) -> Value {
        json!({"PoolID": pool, "Address": "", "Options": null})
    }

    /// The body of `CreateEndpoint`.
    pub fn endpoint_creation(&self, network: &Network, endpoint: &Endpoint) -> Value {
        let interface = json!({"Address": endpoint.address, "AddressIPv6": "", "MacAddress": ""});
        json!({"NetworkID": network.id, "EndpointID": endpoint.id, "Interface": interface, "Options": {}})
    }

    /// The body of `Join`.
    pub fn joining(&self, network: &Network, endpoint: &Endpoint) -> Value {
        let sandbox = format!("/run/docker/netns/{}", endpoint.id.chars().take(12).collect::<String>());
        json!({
            "NetworkID": network.id, "EndpointID": endpoint.id, "SandboxKey": sandbox, "Options": {}
        })
    }

    /// The body of calls that name an endpoint and no more.
    pub fn ids(&self, network: &Network, endpoint: &Endpoint) -> Value {
        json!({"NetworkID": network.id, "EndpointID": endpoint.id})
    }

    /// The second half of a container's start. Returns the link that dockerd would move into the container.
    ///
    /// # Errors
    /// A call was refused, or not answered well.
    pub async fn join(&self, network: &Network, endpoint: &Endpoint) -> Result<String> {
        let answer = self.must("NetworkDriver.Join", &self.joining(network, endpoint)).await?;
        text(&answer["InterfaceName"], "SrcName")
    }

    /// A container's end.
    ///
    /// # Errors
    /// A call was refused, or not answered well.
    pub async fn end(&self, network: &Network, endpoint: &Endpoint) -> Result<()> {
        self.must("NetworkDriver.Leave", &self.ids(network, endpoint)).await?;
        self.must("NetworkDriver.DeleteEndpoint", &self.ids(network, endpoint)).await?;
        self.release(&network.pool, &endpoint.address).await
    }

    /// Lets go of an address, which dockerd names without its prefix length.
    ///
    /// # Errors
    /// The call was refused, or not answered well.
    pub async fn release(&self, pool: &str, address: &str) -> Result<()> {
        let address = address.split('/').next().unwrap_or_default();
        let body = json!({"PoolID": pool, "Address": address});
        self.must("IpamDriver.ReleaseAddress", &body).await.map(drop)
    }
}

fn agreed(answer: Result<Value, Refused>, verb: &str) -> Result<Value> {
    answer.map_err(|refused| anyhow!("{verb} was refused: {refused}"))
}

/// A text that dockerd needs of an answer.
pub(crate) fn text(answer: &Value, key: &str) -> Result<String> {
    let found = answer[key].as_str().filter(|text| !text.is_empty());
    found.map(str::to_owned).with_context(|| format!("an answer has no {key}: {answer}"))
}
