//! Keys change and agents are replaced, and no packet is lost.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use shoal_e2e::{Counters, Fabric, Features};
use shoal_netbed::{Host, Output, Running, Tally, eventually, marker_hex, shoal_binary};

/// How long a change of keys may take: three seconds until the new one serves, a minute until the old one goes.
const CHANGE: Duration = Duration::from_secs(120);

/// Once, as it takes more than a minute: what may be switched off has no part in it.
#[test]
fn keys_change_on_two_hosts_at_once_and_on_others_in_turn_without_a_lost_packet() -> Result<()> {
    shoal_e2e::judged(keys_change(Features::On))
}

fn keys_change(features: Features) -> Result<()> {
    let fabric = Fabric::new(4, features)?;
    fabric.network("shop", "")?;
    let names = ["one", "two", "three", "four"];
    let containers: Vec<(usize, &str)> = (1..).zip(names).collect();
    for (host, name) in &containers {
        fabric.run(*host, name, "shop", "")?;
    }
    let mut echoes = Vec::new();
    for (host, name) in &containers {
        let mut echo = fabric.host(*host).exec_spawn(name, &["netbed-probe", "echo", "9000"])?;
        echo.prints("listening", Duration::from_secs(10))?;
        echoes.push(echo);
    }
    fabric.sound()?;
    let counted = Counters::read(&fabric, &containers)?;
    let mut streams = Vec::new();
    for (from, to) in [(1, 2), (3, 4), (1, 3), (4, 2)] {
        let address = fabric.v4(to, names[to - 1], "shop")?;
        fabric.host(from).ping(names[from - 1], &address)?;
        streams.extend(load(fabric.host(from), names[from - 1], &address)?);
    }
    let before: Vec<String> = fabric.bed().hosts().iter().map(key).collect::<Result<_>>()?;
    fabric.bed().on_each(|host| match host.name() {
        "h1" | "h2" => host.shoal("rotate-key").map(drop),
        _ => Ok(()),
    })?;
    for number in [3, 4] {
        fabric.host(number).shoal("rotate-key")?;
        eventually("the new key to serve", Duration::from_secs(20), || {
            ensure!(key(fabric.host(number))? != before[number - 1], "the old one still serves");
            Ok(())
        })?;
    }
    for host in fabric.bed().hosts() {
        eventually("the old end to be gone", CHANGE, || {
            let tunnel = host.shoal_json("status")?["tunnel"].clone();
            let engines = host.processes("wireguard")?.len();
            ensure!(tunnel["key_changing"] == false && engines == 1, "{engines} engines: {tunnel}");
            Ok(())
        })?;
    }
    for (host, before) in fabric.bed().hosts().iter().zip(&before) {
        ensure!(key(host)? != *before, "{} has its key still", host.name());
    }
    let outputs = ended(streams)?;
    none_lost(outputs, &Counters::read(&fabric, &containers)?.since(&counted))
}

/// The key in use.
fn key(host: &Host) -> Result<String> {
    let status = host.shoal_json("status")?;
    let key = status["tunnel"]["encrypted"]["key"].as_str();
    Ok(key.with_context(|| format!("no key: {status}"))?.to_owned())
}

/// A hundred pings a second and a connection that awaits each of its messages, until they are told to end.
fn load(host: &Host, container: &str, to: &str) -> Result<Vec<Running>> {
    let ping = ["ping", "-q", "-i0.01", "-c7500", "-W2", "-p", &marker_hex(), to];
    let hold = ["netbed-probe", "hold", &format!("{to}:9000"), "7500", "10000"];
    Ok(vec![host.exec_spawn(container, &ping)?, host.exec_spawn(container, &hold)?])
}

fn ended(streams: Vec<Running>) -> Result<Vec<Output>> {
    streams.into_iter().map(|stream| stream.finish(Duration::from_secs(120))).collect()
}

fn none_lost(outputs: Vec<Output>, grown: &Counters) -> Result<()> {
    for output in outputs {
        let ping = output.stdout.contains(" packets transmitted");
        let tally = if ping { Tally::of_ping(&output) } else { Tally::of_probe(&output) }?;
        eprintln!(
            "{tally:?} {}",
            output.stdout.lines().find(|line| line.contains("wait")).unwrap_or_default()
        );
        ensure!(tally.lost() == 0, "{tally:?}: {output}\n{grown}");
    }
    Ok(())
}

#[test]
fn an_agent_of_another_build_takes_over_without_a_lost_packet() -> Result<()> {
    shoal_e2e::judged(another_build(Features::On))
}

/// The same program under another name: what the agent in service finds are an engine and pins that another file made.
fn another_build(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("shop", "")?;
    let containers = [(1, "here"), (2, "there")];
    for (host, name) in containers {
        fabric.run(host, name, "shop", "")?;
    }
    let there = fabric.v4(2, "there", "shop")?;
    let mut echo = fabric.host(2).exec_spawn("there", &["netbed-probe", "echo", "9000"])?;
    echo.prints("listening", Duration::from_secs(10))?;
    fabric.host(1).ping("here", &there)?;
    fabric.sound()?;
    let counted = Counters::read(&fabric, &containers)?;
    let ping = ["ping", "-q", "-i0.01", "-c1500", "-W2", "-p", &marker_hex(), &there];
    let hold = ["netbed-probe", "hold", &format!("{there}:9000"), "1500", "10000"];
    let streams = [&ping[..], &hold[..]].map(|words| fabric.host(1).exec_spawn("here", words));
    let streams = streams.into_iter().collect::<Result<Vec<_>>>()?;
    fabric.bed().on_each(|host| {
        let engines = host.processes("wireguard")?;
        let next = host.folder().join("shoal-next");
        std::fs::copy(shoal_binary()?, &next)?;
        host.stop_agent()?;
        host.start_agent_of(&next, "/run/shoal/agent.sock", &[], features.environment())?;
        ensure!(host.processes("wireguard")? == engines, "the engine was not taken over");
        Ok(())
    })?;
    fabric.settle(2)?;
    let outputs = ended(streams)?;
    none_lost(outputs, &Counters::read(&fabric, &containers)?.since(&counted))
}
