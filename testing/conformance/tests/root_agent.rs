//! The checks on the real agent, with a stand-in for dockerd.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use shoal_conformance::{Engine, Options, run};
use shoal_netbed::{Bed, Host, eventually};

/// A host with an agent in a fabric of its own, and no dockerd.
fn host_alone() -> Result<Bed> {
    let bed = Bed::builder(1).without_dockerd().build()?;
    bed.host(1).start_agent(&[], &[])?;
    bed.host(1).shoal("init")?;
    Ok(bed)
}

/// A path of the host's as seen from here.
fn seen(host: &Host, path: &str) -> String {
    format!("/proc/{}/root{path}", host.pid())
}

#[tokio::test]
async fn the_agent_keeps_the_protocol() -> Result<()> {
    let bed = host_alone()?;
    let host = bed.host(1);
    let engine = Engine::listen(Path::new(&seen(host, "/run/docker.sock")))?;
    let options = Options::of(seen(host, "/run/docker/plugins/shoal.sock"));
    let outcomes = run(options, Some(engine)).await?;
    let failed: Vec<String> =
        outcomes.iter().filter(|outcome| outcome.result.is_err()).map(ToString::to_string).collect();
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    ensure!(outcomes.len() > 10, "only {} checks ran", outcomes.len());
    nothing_is_left(host)
}

/// Every container of the checks has ended, and every network of theirs is off this host.
fn nothing_is_left(host: &Host) -> Result<()> {
    let endpoints = host.shoal_json("endpoints")?;
    let left = endpoints["endpoints"].as_array().context("no list of endpoints")?;
    ensure!(left.is_empty(), "{endpoints}");
    // Two leases must run out: of the container whose network went first, and of the one whose end the recorded
    // dockerd could tell nobody.
    let addresses = host.shoal_json("addresses")?;
    let shares = addresses.as_array().context("no list of addresses")?;
    let used: u64 = shares.iter().filter_map(|share| share["used"].as_u64()).sum();
    ensure!(used <= 2, "{addresses}");
    // Links go a moment after the answer.
    eventually("no container's link", Duration::from_secs(10), || {
        let links = host.sh("ip -o link show type veth | grep -v ' eth0@' || true")?;
        let of_containers = links.lines().filter(|line| !line.contains(" sh-probe@")).count();
        ensure!(of_containers == 0, "{links}");
        Ok(())
    })
}
