//! The command line: what was typed ([`args`]), then one file per command.
//!
//! Data goes to stdout, everything else to stderr. A command asks the agent through a [`Session`] and turns the answer
//! into text or JSON; it decides nothing that the agent could decide.
//!
//! Exit codes: 0 done; 1 failed, or `doctor` found differences; 2 the command line or the configuration cannot be
//! used; 3 the agent is not reached. A reader that closes stdout early (`shoal hosts | head -1`) is no failure.

mod addresses;
mod agent;
mod args;
mod completions;
mod doctor;
mod endpoints;
mod error;
mod flags;
mod forget;
mod hosts;
mod init;
mod join;
mod leave;
mod metrics;
mod network;
mod parse;
mod rotate_key;
mod secrecy;
mod session;
mod status;
mod token;
mod version;
mod wireguard;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Global, Typed};
use error::CommandError;
use session::Session;

use crate::output::Output;

/// How a command that was carried out ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Success,
    /// It was carried out and what it found is not as it should be.
    Differences,
}

/// Runs the command that was typed.
pub(crate) fn main() -> ExitCode {
    secrecy::keep_memory_private();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help goes to stdout, whose reader may be gone.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(error::USAGE));
        }
    };
    let output = Output::of_this_process();
    match run(args, &output) {
        Ok(Exit::Success) => ExitCode::SUCCESS,
        Ok(Exit::Differences) => ExitCode::from(error::FAILED),
        Err(error) => error.report(&output),
    }
}

fn run(args: Args, output: &Output) -> Result<Exit, CommandError> {
    match args.command {
        Typed::Agent(flags) => agent::run(flags, &args.global),
        Typed::Completions { shell } => completions::run(shell, output),
        Typed::Wireguard(args) => wireguard::run(args),
        other => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| CommandError::failed(format!("cannot start: {error}")))?
            .block_on(ask(other, &args.global, output)),
    }
}

/// Runs a command that asks the agent.
async fn ask(typed: Typed, global: &Global, output: &Output) -> Result<Exit, CommandError> {
    let mut session = Session::new(global, output)?;
    match typed {
        Typed::Init(args) => init::run(args, &mut session).await,
        Typed::Token(args) => token::run(args, &mut session).await,
        Typed::Join(args) => join::run(args, &mut session).await,
        Typed::Leave => leave::run(&mut session).await,
        Typed::Forget { host } => forget::run(host, &mut session).await,
        Typed::Metrics => metrics::run(&mut session).await,
        Typed::RotateKey => rotate_key::run(&mut session).await,
        Typed::Status(list) => status::run(list.output, &mut session).await,
        Typed::Hosts(list) => hosts::run(list.output, &mut session).await,
        Typed::Network(command) => network::run(command, &mut session).await,
        Typed::Endpoints(list) => endpoints::run(list.output, &mut session).await,
        Typed::Addresses(list) => addresses::run(list.output, &mut session).await,
        Typed::Doctor(list) => doctor::run(list.output, &mut session).await,
        Typed::Version(list) => version::run(list.output, &mut session).await,
        // These ran before the agent was looked for.
        Typed::Agent(_) | Typed::Completions { .. } | Typed::Wireguard(_) => Ok(Exit::Success),
    }
}

#[cfg(test)]
mod tests;
