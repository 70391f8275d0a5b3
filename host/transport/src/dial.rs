//! Reaching a host at one of several addresses.

use std::net::SocketAddr;
use std::time::Duration;

use quinn::{ConnectError, Connection, ConnectionError};
use shoal_trust::host_id_of;
use shoal_types::HostId;
use tokio::task::JoinSet;

use crate::link::ending;
use crate::shared::Shared;
use crate::tls;

/// Addresses that are tried, at most.
const ADDRESSES_MAX: usize = 8;
/// Each address gets this head start over the next one.
const HEAD_START: Duration = Duration::from_millis(250);

/// A connection whose other end has proved to hold `key`.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) connection: Connection,
    pub(crate) key: [u8; 32],
}

/// Why a host was not reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreached {
    #[error("no address of it is known")]
    NoAddress,
    #[error(
        "UDP port {port} of {ip} does not answer: is it open, and is the agent running there?",
        port = .0.port(),
        ip = .0.ip()
    )]
    Silent(SocketAddr),
    #[error("{0} cannot be dialled: {1}")]
    Undialable(SocketAddr, ConnectError),
    #[error("at {0}: {why}", why = ending(.1).why)]
    Ended(SocketAddr, ConnectionError),
    #[error("at {0} answers host {other}, not the one expected", other = host_id_of(&.1.key).short())]
    OtherHost(SocketAddr, Box<Reached>),
    #[error("at {0} answers something that shows no key")]
    NoKey(SocketAddr),
}

/// Connects to the first address at which `expected` (or anyone, if `None`) answers.
pub(crate) async fn reach(
    shared: &Shared,
    addresses: &[SocketAddr],
    expected: Option<HostId>,
) -> Result<Reached, Unreached> {
    let first = *addresses.first().ok_or(Unreached::NoAddress)?;
    let mut attempts = JoinSet::new();
    for (delay, address) in (0..).map(|place| HEAD_START * place).zip(addresses).take(ADDRESSES_MAX) {
        let (endpoint, client, address) = (shared.endpoint.clone(), shared.dialling(), *address);
        attempts.spawn(async move {
            tokio::time::sleep(delay).await;
            attempt(&endpoint, client, address, expected).await
        });
    }
    // Attempts that are still under way are dropped on return, which closes them.
    let mut told = None;
    let success = first_success(&mut attempts, &mut told);
    match tokio::time::timeout(shared.config.limits.dial_timeout, success).await {
        Ok(Some(reached)) => Ok(reached),
        _ => Err(told.unwrap_or(Unreached::Silent(first))),
    }
}

/// The first attempt that succeeds. `told` gets the failure that says most: another host at the address, else the last.
async fn first_success(
    attempts: &mut JoinSet<Result<Reached, Unreached>>,
    told: &mut Option<Unreached>,
) -> Option<Reached> {
    while let Some(outcome) = attempts.join_next().await {
        match outcome {
            Ok(Ok(reached)) => return Some(reached),
            Ok(Err(_)) if matches!(told, Some(Unreached::OtherHost(..))) => {}
            Ok(Err(failure)) => *told = Some(failure),
            Err(_) => {}
        }
    }
    None
}

async fn attempt(
    endpoint: &quinn::Endpoint,
    client: quinn::ClientConfig,
    address: SocketAddr,
    expected: Option<HostId>,
) -> Result<Reached, Unreached> {
    let connecting = endpoint.connect_with(client, address, tls::SERVER_NAME);
    let connecting = connecting.map_err(|error| Unreached::Undialable(address, error))?;
    let connection = connecting.await.map_err(|error| match error {
        ConnectionError::TimedOut => Unreached::Silent(address),
        error => Unreached::Ended(address, error),
    })?;
    let key = tls::peer_key(&connection).ok_or(Unreached::NoKey(address))?;
    let reached = Reached { connection, key };
    if expected.is_some_and(|expected| expected != host_id_of(&key)) {
        return Err(Unreached::OtherHost(address, Box::new(reached)));
    }
    Ok(reached)
}
