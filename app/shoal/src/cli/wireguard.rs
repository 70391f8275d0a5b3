//! `shoal wireguard`: the process that encrypts where the kernel has no WireGuard. The agent starts it.

use shoal_config::LogLevel;
use shoal_wireguard::Options;

use super::args::Wireguard;
use super::error::CommandError;
use super::{Exit, agent};

/// Until the agent has said how large packets are.
const MTU_AT_START: u16 = 1420;

/// Runs until it is told to end.
pub(super) fn run(args: Wireguard) -> Result<Exit, CommandError> {
    agent::log(LogLevel::Info);
    let options = Options {
        device: args.device,
        control: args.control,
        address: args.address,
        mtu: MTU_AT_START,
        workers: None,
    };
    shoal_wireguard::run(&options).map_err(|failure| CommandError::failed(failure.to_string()))?;
    Ok(Exit::Success)
}
