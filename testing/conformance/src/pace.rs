//! One container after the other, for as long as asked: how long each call takes meanwhile.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{Dockerd, Endpoint, Network};

/// What came of a run; how long the calls took is the driver's to tell ([`crate::Driver::take_times`]).
#[derive(Debug, Clone, Default)]
pub struct Paced {
    /// Containers whose calls were all carried out.
    pub started: u64,
    /// Containers of which a call was refused.
    pub refused: u64,
    /// Calls that broke off, or were not answered in time.
    pub unanswered: u64,
    /// What was said to the first refused or unanswered call.
    pub first: Option<String>,
}

/// Makes all calls of a container's life, again and again until `span` has passed, whatever is answered. Between two
/// containers it rests: dockerd has a sandbox to take down and another one to make, which takes it tens of
/// milliseconds.
pub async fn pace(dockerd: &Dockerd, network: &Network, span: Duration, rest: Duration) -> Paced {
    let until = Instant::now() + span;
    let mut paced = Paced::default();
    while Instant::now() < until {
        let mut life = Life { dockerd, paced: &mut paced, is_whole: true };
        life.run(network).await;
        let is_whole = life.is_whole;
        *(if is_whole { &mut paced.started } else { &mut paced.refused }) += 1;
        tokio::time::sleep(rest).await;
    }
    paced
}

struct Life<'a> {
    dockerd: &'a Dockerd,
    paced: &'a mut Paced,
    is_whole: bool,
}

impl Life<'_> {
    async fn run(&mut self, network: &Network) {
        let wish = self.dockerd.wish(&network.pool);
        let given = self.call("IpamDriver.RequestAddress", wish).await;
        let address = given.and_then(|answer| answer["Address"].as_str().map(str::to_owned));
        let endpoint =
            Endpoint { id: self.dockerd.draw(), address: address.unwrap_or_else(|| network.gateway.clone()) };
        let ids = self.dockerd.ids(network, &endpoint);
        let bare = endpoint.address.split('/').next().unwrap_or_default();
        let release = json!({"PoolID": network.pool, "Address": bare});
        let calls = [
            ("NetworkDriver.CreateEndpoint", self.dockerd.endpoint_creation(network, &endpoint)),
            ("NetworkDriver.Join", self.dockerd.joining(network, &endpoint)),
            ("NetworkDriver.Leave", ids.clone()),
            ("NetworkDriver.DeleteEndpoint", ids),
            ("IpamDriver.ReleaseAddress", release),
        ];
        for (verb, body) in calls {
            self.call(verb, body).await;
        }
    }

    async fn call(&mut self, verb: &str, body: Value) -> Option<Value> {
        let said = match self.dockerd.driver().call(verb, &body).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(refused)) => refused.to_string(),
            Err(error) => {
                self.paced.unanswered += 1;
                format!("{error:#}")
            }
        };
        self.is_whole = false;
        self.paced.first.get_or_insert(format!("{verb}: {said}"));
        None
    }
}
