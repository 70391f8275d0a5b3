//! The agent killed, a host cut off, a container moved: what was right stays right, what was stale goes at once.

use std::time::Duration;

use anyhow::{Result, ensure};
use shoal_e2e::{Counters, Fabric, Features, scenarios};
use shoal_netbed::{Host, Running, Tally, eventually};

scenarios! {
    a_killed_agent_loses_no_packet_and_one_that_starts_touches_nothing,
    a_host_that_is_cut_off_and_comes_back_is_reached_again,
    a_container_made_again_on_another_host_with_its_address_is_reached_at_once,
    a_dockerd_that_is_killed_and_started_gets_its_containers_back,
}

/// Everything of a host's data plane that a needless repair would change: links by index, filters by program id, pins.
fn snapshot(host: &Host) -> Result<String> {
    host.sh(
        "ip -o link show | grep -v ' lo:' | sed 's/qlen.*//'\n\
         for device in $(ip -o link show | sed 's/^[0-9]*: \\([^:@]*\\).*/\\1/'); do\n\
           for side in ingress egress; do tc filter show dev $device $side 2>/dev/null | sed \"s/^/$device $side /\" || true; done\n\
         done | sort -u\n\
         find /sys/fs/bpf | sort",
    )
}

fn a_killed_agent_loses_no_packet_and_one_that_starts_touches_nothing(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("shop", "")?;
    let containers = [(1, "here"), (1, "beside"), (2, "there")];
    for (host, name) in containers {
        fabric.run(host, name, "shop", "")?;
    }
    let (there, beside) = (fabric.v4(2, "there", "shop")?, fabric.v4(1, "beside", "shop")?);
    let mut echoes = Vec::new();
    for (host, name) in [(1, "beside"), (2, "there")] {
        let mut echo = fabric.host(host).exec_spawn(name, &["netbed-probe", "echo", "9000"])?;
        echo.prints("listening", Duration::from_secs(10))?;
        echoes.push(echo);
    }
    let host = fabric.host(1);
    host.ping("here", &there)?;
    host.ping("here", &beside)?;
    fabric.sound()?;
    let before = snapshot(host)?;
    let counted = Counters::read(&fabric, &containers)?;
    let mut pings: Vec<Running> = Vec::new();
    let mut streams: Vec<Running> = Vec::new();
    for address in [&there, &beside] {
        let target = format!("{address}:9000");
        pings.push(host.exec_spawn("here", &["ping", "-i0.01", "-c1200", "-W2", address])?);
        streams.push(host.exec_spawn("here", &["netbed-probe", "steady", &target, "12000", "1000"])?);
        streams.push(host.exec_spawn("here", &["netbed-probe", "hold", &target, "2400", "5000"])?);
    }
    for host in fabric.bed().hosts() {
        host.kill_agent()?;
    }
    // On a starved machine that takes longer than the three seconds of a quick one.
    eventually("some hundred packets without any agent", Duration::from_secs(40), || {
        let answered: Vec<usize> = pings.iter().map(|ping| ping.printed().lines().count()).collect();
        ensure!(answered.iter().all(|count| *count > 300), "{answered:?} answers");
        Ok(())
    })?;
    let unattended = snapshot(host)?;
    ensure!(unattended == before, "a kill changed the data plane:\n{before}\n---\n{unattended}");
    fabric.bed().on_each(|host| fabric.start_agent(host))?;
    fabric.settle(2)?;
    let mut outputs = Vec::new();
    for stream in pings.into_iter().chain(streams) {
        outputs.push(stream.finish(Duration::from_secs(40))?);
    }
    let grown = Counters::read(&fabric, &containers)?.since(&counted);
    for output in outputs {
        let ping = output.stdout.contains(" packets transmitted");
        let tally = if ping { Tally::of_ping(&output) } else { Tally::of_probe(&output) }?;
        ensure!(tally.lost() == 0, "{tally:?}: {output}\n{grown}");
    }
    let after = snapshot(host)?;
    ensure!(after == before, "a start touched what was right:\n{before}\n---\n{after}");
    fabric.run(2, "late", "shop", "")?;
    host.ping("here", &fabric.v4(2, "late", "shop")?)
}

fn a_host_that_is_cut_off_and_comes_back_is_reached_again(features: Features) -> Result<()> {
    let fabric = Fabric::new(3, features)?;
    fabric.network("shop", "")?;
    for (host, name) in [(1, "one"), (2, "two"), (3, "three")] {
        fabric.run(host, name, "shop", "")?;
    }
    let (two, three) = (fabric.v4(2, "two", "shop")?, fabric.v4(3, "three", "shop")?);
    fabric.host(1).ping("one", &three)?;
    fabric.bed().cut(fabric.host(3))?;
    eventually("the others to see that it is gone", Duration::from_secs(60), || {
        let hosts = fabric.host(1).shoal_json("hosts")?;
        ensure!(
            hosts
                .as_array()
                .into_iter()
                .flatten()
                .any(|host| host["name"] == "h3" && host["state"] == "down"),
            "{hosts}"
        );
        Ok(())
    })?;
    fabric.host(1).ping("one", &two)?;
    // Each side goes on by itself meanwhile.
    fabric.run(1, "meanwhile", "shop", "")?;
    fabric.run(3, "alone", "shop", "")?;
    fabric.bed().heal(fabric.host(3))?;
    fabric.settle(3)?;
    fabric.host(1).ping("one", &three)?;
    fabric.host(3).ping("alone", &fabric.v4(1, "meanwhile", "shop")?)?;
    fabric.host(2).ping("two", &fabric.v4(3, "alone", "shop")?)
}

/// The stale entry of Docker's overlay (moby#52661): a third container that talks to the old one all the time.
fn a_container_made_again_on_another_host_with_its_address_is_reached_at_once(
    features: Features,
) -> Result<()> {
    let fabric = Fabric::new(3, features)?;
    fabric.network("shop", "--subnet 10.95.0.0/24")?;
    fabric.run(1, "witness", "shop", "")?;
    fabric.run(2, "moving", "shop", "--ip 10.95.0.50")?;
    fabric.host(1).ping("witness", "10.95.0.50")?;
    let mut stream =
        fabric.host(1).exec_spawn("witness", &["ping", "-i0.05", "-W1", "-c500", "10.95.0.50"])?;
    stream.prints("bytes from", Duration::from_secs(5))?;
    for (from, to) in [(2, 3), (3, 1), (1, 2)] {
        fabric.host(from).docker("rm -f moving")?;
        eventually("the new home to be given the address", Duration::from_secs(10), || {
            fabric.host(to).docker("rm -f moving")?;
            fabric.run(to, "moving", "shop", "--ip 10.95.0.50")
        })?;
        let output = fabric.host(1).exec("witness", &["ping", "-c1", "-W1", "10.95.0.50"])?;
        ensure!(output.success(), "not reached within a second on h{to}: {output}");
    }
    let tally = Tally::of_ping(&stream.finish(Duration::from_secs(60))?)?;
    ensure!(tally.received > 0, "{tally:?}");
    Ok(())
}

fn a_dockerd_that_is_killed_and_started_gets_its_containers_back(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("shop", "")?;
    fabric.run(1, "here", "shop", "")?;
    fabric.run(2, "there", "shop", "--restart always")?;
    fabric.host(2).kill_dockerd()?;
    fabric.host(2).start_dockerd()?;
    eventually("the container to run again and be reached", Duration::from_secs(30), || {
        let address = fabric.v4(2, "there", "shop")?;
        fabric.host(1).exec("here", &["ping", "-c1", "-W1", &address])?.ok()
    })?;
    // What the first life of dockerd left is gone: one endpoint, one link.
    eventually("one endpoint to be left of it", Duration::from_secs(40), || {
        let answer = fabric.host(2).shoal_json("endpoints")?;
        let local =
            answer["endpoints"].as_array().into_iter().flatten().filter(|one| one["local"] == true).count();
        ensure!(local == 1, "{answer}");
        Ok(())
    })
}
