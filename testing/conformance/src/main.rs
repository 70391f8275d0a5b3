//! `plugin-conformance --socket PATH`: runs the checks on a driver and prints what they came to.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use shoal_conformance::{Dockerd, Engine, Options, Times, pace, run, table};

/// Speaks Docker's plugin protocol to the socket of a network and IPAM driver, as dockerd does and worse. The driver
/// gets networks and endpoints of nobody's: run it where no container needs it.
#[derive(Debug, Parser)]
#[command(name = "plugin-conformance", version)]
struct Arguments {
    /// The driver's socket.
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// The driver's name; default: the socket's.
    #[arg(long, value_name = "NAME")]
    driver: Option<String>,
    /// Stand in for Docker's API here, for a driver that asks dockerd back. No dockerd may be using the path.
    #[arg(long, value_name = "PATH")]
    docker_socket: Option<PathBuf>,
    /// Longest that a call may take, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    limit: u64,
    /// An option of every network, as with `docker network create`.
    #[arg(short = 'o', long = "opt", value_name = "KEY=VALUE", value_parser = pair)]
    network_options: Vec<(String, String)>,
    /// An option of every pool, as with `docker network create`.
    #[arg(long = "ipam-opt", value_name = "KEY=VALUE", value_parser = pair)]
    pool_options: Vec<(String, String)>,
    /// Runs no checks, but starts and ends containers for so long, seconds, and prints how long the calls took.
    #[arg(long, value_name = "SECONDS")]
    pace: Option<u64>,
    /// The pause between two containers of `--pace`, in milliseconds
    #[arg(long, value_name = "MS", default_value = "30", requires = "pace")]
    rest: u64,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("an option is KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work(arguments))
}

async fn work(arguments: Arguments) -> Result<ExitCode> {
    let found = Options::of(&arguments.socket);
    let options = Options {
        driver: arguments.driver.unwrap_or(found.driver.clone()),
        limit: Duration::from_secs(arguments.limit),
        network_options: arguments.network_options.into_iter().collect(),
        pool_options: arguments.pool_options.into_iter().collect(),
        ..found
    };
    let engine = arguments.docker_socket.as_deref().map(Engine::listen).transpose()?;
    match arguments.pace {
        Some(seconds) => {
            let rest = Duration::from_millis(arguments.rest);
            keep_pace(options, engine, Duration::from_secs(seconds), rest).await
        }
        None => check(options, engine).await,
    }
}

async fn check(options: Options, engine: Option<Engine>) -> Result<ExitCode> {
    let outcomes = run(options, engine).await?;
    let mut times = Times::new();
    for outcome in &outcomes {
        println!("{outcome}");
        for (verb, taken) in &outcome.times {
            times.entry(verb.clone()).or_default().extend(taken);
        }
    }
    print!("\n{}", table(times));
    let failed = outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
    println!("\n{} of {} checks failed", failed, outcomes.len());
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn keep_pace(
    options: Options,
    engine: Option<Engine>,
    span: Duration,
    rest: Duration,
) -> Result<ExitCode> {
    let dockerd = Dockerd::start(options, engine).await?;
    let network = dockerd.create_network().await.context("no network to start containers on")?;
    dockerd.driver().take_times();
    let paced = pace(&dockerd, &network, span, rest).await;
    print!("{}", table(dockerd.driver().take_times()));
    println!("\n{} containers started and ended, {} refused", paced.started, paced.refused);
    if let Some(first) = paced.first {
        println!("{} calls were not answered; the first that failed: {first}", paced.unanswered);
    }
    dockerd.remove_network(&network).await?;
    Ok(ExitCode::SUCCESS)
}
