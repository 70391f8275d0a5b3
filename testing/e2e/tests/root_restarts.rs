//! dockerd and the agent stop, start and die in any order; containers come and go meanwhile; nothing is left behind.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use shoal_e2e::{Fabric, Features, scenarios};
use shoal_netbed::{Host, Tally, eventually, pause, probe_image};

scenarios! {
    dockerd_and_the_agent_restart_in_either_order,
    containers_that_outlive_dockerd_stay_connected_through_restarts,
    rounds_of_containers_some_killed_half_way_leave_nothing_behind,
    an_agent_killed_at_any_moment_leaves_nothing_behind,
}

/// How often something is done, from the environment.
fn setting(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Waits until a container on host 2 runs, has one endpoint there, and is reached from host 1.
fn is_back(fabric: &Fabric, name: &str) -> Result<()> {
    eventually(&format!("{name} to be back"), Duration::from_secs(60), || {
        let address = fabric.v4(2, name, "shop")?;
        fabric.host(1).exec("here", &["ping", "-c1", "-W1", &address])?.ok()?;
        let found = local_endpoints(fabric.host(2))?;
        ensure!(found == 1, "{found} endpoints");
        Ok(())
    })
}

fn local_endpoints(host: &Host) -> Result<usize> {
    let answer = host.shoal_json("endpoints")?;
    let all = answer["endpoints"].as_array().context("no list of endpoints")?;
    Ok(all.iter().filter(|one| one["local"] == true).count())
}

fn dockerd_and_the_agent_restart_in_either_order(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("shop", "")?;
    fabric.run(1, "here", "shop", "")?;
    fabric.run(2, "there", "shop", "--restart always")?;
    let host = fabric.host(2);
    // Stopped in one order and started in the other.
    host.stop_dockerd()?;
    host.stop_agent()?;
    fabric.start_agent(host)?;
    host.start_dockerd()?;
    is_back(&fabric, "there")?;
    host.kill_agent()?;
    host.kill_dockerd()?;
    // dockerd comes first and waits for the driver that its network needs.
    std::thread::scope(|scope| {
        let dockerd = scope.spawn(|| host.start_dockerd());
        eventually("dockerd to be started", Duration::from_secs(10), || {
            host.run(&["test", "-e", "/run/docker.pid"])?.ok()
        })?;
        fabric.start_agent(host)?;
        dockerd.join().map_err(|_| anyhow::anyhow!("starting dockerd panicked"))?
    })?;
    // A container that could not be started is not started again by dockerd itself.
    host.docker("start there")?;
    is_back(&fabric, "there")
}

fn containers_that_outlive_dockerd_stay_connected_through_restarts(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    let host = fabric.host(2);
    let live = "{\"live-restore\": true}";
    host.stop_dockerd()?;
    host.start_dockerd_with(live)?;
    fabric.network("shop", "")?;
    fabric.run(1, "here", "shop", "")?;
    fabric.run(2, "there", "shop", "")?;
    let started = host.docker("inspect -f {{.State.StartedAt}} there")?;
    let address = fabric.v4(2, "there", "shop")?;
    fabric.host(1).ping("here", &address)?;
    let mut pings = fabric.host(1).exec_spawn("here", &["ping", "-i0.2", "-c10000", &address])?;
    pings.prints("bytes from", Duration::from_secs(5))?;
    host.stop_dockerd()?;
    host.stop_agent()?;
    host.start_dockerd_with(live)?;
    fabric.start_agent(host)?;
    is_back(&fabric, "there")?;
    host.kill_agent()?;
    host.kill_dockerd()?;
    fabric.start_agent(host)?;
    host.start_dockerd_with(live)?;
    is_back(&fabric, "there")?;
    ensure!(host.docker("inspect -f {{.State.StartedAt}} there")? == started, "it was started again");
    // `docker exec` hands no signal on.
    fabric.host(1).exec("here", &["sh", "-c", "kill -INT $(pidof ping)"])?.ok()?;
    let tally = Tally::of_ping(&pings.finish(Duration::from_secs(10))?)?;
    // The last one may be on its way.
    ensure!(tally.lost() <= 1, "{tally:?}");
    host.docker("rm -f there")?;
    is_clean(&fabric, 1)
}

fn rounds_of_containers_some_killed_half_way_leave_nothing_behind(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("shop", "--ipv6")?;
    fabric.run(1, "here", "shop", "")?;
    let host = fabric.host(2);
    fabric.run(2, "first", "shop", "")?;
    host.docker("rm -f first")?;
    let pins = pins(host)?;
    for round in 0..setting("ROUNDS", 12) {
        let name = format!("round{round}");
        match round % 4 {
            // Its process dies.
            0 => {
                fabric.run(2, &name, "shop", "")?;
                host.docker(&format!("kill -s KILL {name}"))?;
            }
            // The agent dies while it starts.
            1 => {
                let image = probe_image()?;
                let run = ["docker", "run", "-d", "--name", &name, "--network", "shop", image.name()];
                let starting = host.spawn(&run)?;
                eventually("the container to be made", Duration::from_secs(30), || {
                    host.docker(&format!("inspect {name}"))
                })?;
                host.kill_agent()?;
                fabric.start_agent(host)?;
                // Whether it started is dockerd's affair: it repeats a call that broke off, but not for ever.
                starting.finish(Duration::from_secs(60))?;
            }
            _ => fabric.run(2, &name, "shop", "")?,
        }
        host.docker(&format!("rm -f {name}"))?;
    }
    is_clean(&fabric, 1)?;
    ensure!(self::pins(host)? == pins, "pins: before {pins}, now {}", self::pins(host)?);
    fabric.sound()
}

fn an_agent_killed_at_any_moment_leaves_nothing_behind(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("shop", "")?;
    fabric.run(1, "here", "shop", "")?;
    let host = fabric.host(2);
    let runs = std::thread::scope(|scope| -> Result<u32> {
        let (over, is_over) = std::sync::mpsc::channel::<()>();
        let running = scope.spawn(move || {
            let (mut runs, mut attempts) = (0, 0);
            while is_over.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
                // A call that broke off is repeated by dockerd, or the container does not start: both are fine.
                attempts += 1;
                runs += u32::from(start_and_remove(host, attempts)?);
            }
            Ok(runs)
        });
        // Moments of an uneven clock: nothing else in the scenario has these periods.
        let mut wait = 37;
        for _ in 0..setting("KILLS", 12) {
            wait = wait * 61 % 1499;
            pause(Duration::from_millis(wait));
            host.kill_agent()?;
            fabric.start_agent(host)?;
        }
        drop(over);
        running.join().map_err(|_| anyhow::anyhow!("running containers panicked"))?
    })?;
    ensure!(runs > 0, "no container ever started");
    is_clean(&fabric, 1)?;
    fabric.run(2, "after", "shop", "")?;
    fabric.host(1).ping("here", &fabric.v4(2, "after", "shop")?)
}

/// Starts and removes a container; whether it started.
fn start_and_remove(host: &Host, number: u32) -> Result<bool> {
    let name = format!("run{number}");
    let image = probe_image()?;
    let started =
        host.try_docker(&format!("run -d --name {name} --network shop {}", image.name()))?.success();
    eventually("the container to be removed", Duration::from_secs(60), || {
        host.docker(&format!("rm -f {name}"))
    })?;
    Ok(started)
}

fn pins(host: &Host) -> Result<String> {
    host.sh("find /sys/fs/bpf | sort")
}

/// Nothing of containers is left on host 2, and host 1 knows of `elsewhere` endpoints, its own included: no fact of
/// them. What dockerd did not come to say is let go of by the agent, after two minutes at most.
fn is_clean(fabric: &Fabric, elsewhere: usize) -> Result<()> {
    let host = fabric.host(2);
    eventually("nothing to be left on h2", Duration::from_secs(180), || {
        let links = host.sh("ip -o link show type veth | grep -c ': sh-' || true")?;
        // The link for probes is the agent's own.
        ensure!(links == "1", "{links} links");
        let endpoints = local_endpoints(host)?;
        ensure!(endpoints == 0, "{endpoints} endpoints");
        for share in host.shoal_json("addresses")?.as_array().context("no list of addresses")? {
            ensure!(share["host"] != "h2" || share["used"] == 0, "{share}");
        }
        let known = fabric.host(1).shoal_json("endpoints")?;
        let count = known["endpoints"].as_array().map_or(0, Vec::len);
        ensure!(count == elsewhere, "{known}");
        Ok(())
    })?;
    // Every entry of every map is one that the plan asks for.
    eventually("doctor to be content", Duration::from_secs(30), || host.shoal("doctor")).map(drop)
}
