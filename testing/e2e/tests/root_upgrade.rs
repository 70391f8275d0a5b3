//! Agents give way to agents of another build, with other programs, under load.

use std::env::var;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use shoal_e2e::{Counters, Fabric, Features};
use shoal_netbed::{Host, Running, Tally, eventually, shoal_binary};

/// Flows from one container to each of two others, one beside it and one on another host.
const FLOWS: usize = 10;

/// Once: the rounds switch the optional features on and off.
#[test]
fn rounds_of_upgrades_under_twenty_flows_lose_no_packet() -> Result<()> {
    shoal_e2e::judged(rounds())
}

/// `ROUNDS` says how many; many of them run under `cargo test`, as nextest ends a scenario after six minutes.
/// `OTHER_SHOAL` names the binary of another version, which each host runs in every second round, one host in those
/// with even numbers and the other in the rest: the fabric is always of two versions. Without it that binary is this
/// version's under another name.
fn rounds() -> Result<()> {
    let rounds: usize = var("ROUNDS").map_or(Ok(2), |text| text.parse()).context("ROUNDS")?;
    let fabric = Fabric::new(2, Features::On)?;
    fabric.network("shop", "")?;
    let containers = [(1, "here"), (1, "beside"), (2, "there")];
    for (host, name) in containers {
        fabric.run(host, name, "shop", "")?;
    }
    let targets = [fabric.v4(1, "beside", "shop")?, fabric.v4(2, "there", "shop")?];
    let mut echoes = Vec::new();
    for (host, name) in &containers[1..] {
        let mut echo = fabric.host(*host).exec_spawn(name, &["netbed-probe", "echo", "9000"])?;
        echo.prints("listening", Duration::from_secs(10))?;
        echoes.push(echo);
    }
    for target in &targets {
        fabric.host(1).ping("here", target)?;
    }
    fabric.sound()?;
    for round in 0..rounds {
        let counted = Counters::read(&fabric, &containers)?;
        let flows = flows(&fabric, &targets)?;
        let before = programs(fabric.host(1))?;
        for (number, host) in fabric.bed().hosts().iter().enumerate() {
            replace(host, round + number).with_context(|| format!("round {round}, {}", host.name()))?;
        }
        let running =
            fabric.host(1).exec("here", &["sh", "-c", "ps | grep -c '[p]ing -q\\|[n]etbed-probe'"])?.ok()?;
        ensure!(running.trim() == "20", "of 20 flows {running} ran until the last agent was replaced");
        fabric.settle(2)?;
        ensure!(programs(fabric.host(1))? != before, "round {round}: the programs are the same");
        let outputs = flows.into_iter().map(|flow| flow.finish(Duration::from_secs(120)));
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        let grown = Counters::read(&fabric, &containers)?.since(&counted);
        for output in outputs {
            let ping = output.stdout.contains(" packets transmitted");
            let tally = if ping { Tally::of_ping(&output) } else { Tally::of_probe(&output) }?;
            ensure!(tally.lost() == 0, "round {round}: {tally:?}: {output}\n{grown}");
        }
        eprintln!("round {round}: no packet lost");
    }
    fabric.run(2, "late", "shop", "")?;
    fabric.host(1).ping("here", &fabric.v4(2, "late", "shop")?)
}

/// Flows of some thirty seconds, as a busy machine takes a while to begin and to restart: pings, datagrams, and
/// connections that await each message.
fn flows(fabric: &Fabric, targets: &[String]) -> Result<Vec<Running>> {
    let mut flows = Vec::new();
    for target in targets {
        let port = format!("{target}:9000");
        let kinds: [&[&str]; 3] = [
            &["ping", "-q", "-i0.02", "-c1500", "-W2", target],
            &["netbed-probe", "steady", &port, "3000", "10000"],
            &["netbed-probe", "hold", &port, "3000", "10000"],
        ];
        for words in kinds.iter().cycle().take(FLOWS) {
            flows.push(fabric.host(1).exec_spawn("here", words)?);
        }
    }
    Ok(flows)
}

/// Ends an agent, by force every third time, and starts one of another build whose programs have other settings.
fn replace(host: &Host, turn: usize) -> Result<()> {
    let engines = host.processes("wireguard")?;
    if turn.is_multiple_of(3) {
        host.kill_agent()?;
    } else {
        host.stop_agent()?;
    }
    let is_other = turn.is_multiple_of(2);
    let program = match var("OTHER_SHOAL") {
        Ok(other) if is_other => PathBuf::from(other),
        _ => shoal_binary()?,
    };
    let copy = host.folder().join(format!("shoal-{}", turn % 2));
    // The earlier process of this name may run still: it keeps the file that it was started from.
    let _ = std::fs::remove_file(&copy);
    std::fs::copy(program, &copy)?;
    let features = if is_other { Features::Off } else { Features::On };
    host.start_agent_of(&copy, "/run/shoal/agent.sock", &[], features.environment())?;
    ensure!(host.processes("wireguard")? == engines, "the process that encrypts was not taken over");
    Ok(())
}

/// The pinned programs in force, by the hash of what they are: one set, once an agent has put its own in place.
fn programs(host: &Host) -> Result<String> {
    eventually("one set of programs to be left", Duration::from_secs(20), || {
        let sets = host.sh("ls /sys/fs/bpf/shoal/programs")?;
        ensure!(sets.lines().count() == 1, "{sets}");
        Ok(sets)
    })
}
