//! Networks and endpoints: decides every Docker verb.

mod verb;

pub use verb::{DockerNetworkId, PoolData, PoolId, Refusal, Reply, Route, Verb};
