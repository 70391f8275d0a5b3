//! What can be read on the wire between hosts. Every scenario's underlay is watched; these are about nothing else.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use shoal_e2e::{Fabric, Features, scenarios};
use shoal_netbed::{Allow, Host, Output, Running, eventually, marker_hex};

scenarios! {
    at_no_moment_of_its_start_and_end_a_tunnel_lets_a_packet_out_in_clear,
    a_network_in_clear_can_be_read_and_one_beside_it_cannot,
    a_host_that_loses_power_comes_back_with_its_containers_and_nothing_in_clear,
    an_address_that_stops_answering_gives_way_to_the_host_s_other_one,
}

/// How long traffic may stay away after something was broken; an audit comes every five seconds.
const BACK: Duration = Duration::from_secs(25);

fn at_no_moment_of_its_start_and_end_a_tunnel_lets_a_packet_out_in_clear(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("shop", "")?;
    fabric.run(1, "here", "shop", "")?;
    fabric.run(2, "there", "shop", "")?;
    let (here, there) = (fabric.v4(1, "here", "shop")?, fabric.v4(2, "there", "shop")?);
    fabric.host(1).ping("here", &there)?;
    // Both go on sending, whatever happens.
    let _floods = (flood(fabric.host(1), "here", &there)?, flood(fabric.host(2), "there", &here)?);
    let host = fabric.host(2);
    let steps: [(&str, &dyn Fn() -> Result<()>); 7] = [
        ("the agent killed and started", &|| {
            host.kill_agent()?;
            fabric.start_agent(host)
        }),
        ("the engine killed", &|| signal(host, "KILL")),
        ("the engine stopped", &|| signal(host, "STOP")),
        ("the device deleted", &|| host.sh("ip link delete shoal0").map(drop)),
        ("the device set down", &|| host.sh("ip link set shoal0 down").map(drop)),
        ("the engine killed without an agent to mend it", &|| {
            host.kill_agent()?;
            signal(host, "KILL")?;
            fabric.host(1).ping_fails("here", &there)?;
            fabric.start_agent(host)
        }),
        ("the device deleted without an agent to mend it", &|| {
            host.kill_agent()?;
            host.sh("ip link delete shoal0")?;
            fabric.host(1).ping_fails("here", &there)?;
            fabric.start_agent(host)
        }),
    ];
    for (what, step) in steps {
        step().context(what)?;
        let mut looks = 0;
        let output = eventually(&format!("traffic to come back after {what}"), BACK, || {
            looks += 1;
            pinged(fabric.host(1), "here", &there)
        })?;
        eprintln!("{what}: traffic after {looks} pings, the last took {:?}", output.took);
        fabric.bed().seen()?.clean().context(what)?;
    }
    host.docker("rm -f there")?;
    eventually("the host to be let go", Duration::from_secs(20), || host.shoal("leave"))?;
    eventually("the host's tunnel to be gone", BACK, || {
        let left = host.sh("ip -o link show | grep -o 'shoal[0-9]' || true")?;
        ensure!(left.is_empty(), "{left}");
        Ok(())
    })?;
    fabric.host(1).ping_fails("here", &there)?;
    fabric.bed().seen()?.clean().context("the host left")
}

/// Pings and datagrams, all with the marker, for as long as the scenario lasts.
fn flood(host: &Host, container: &str, to: &str) -> Result<[Running; 2]> {
    Ok([
        host.exec_spawn(container, &["ping", "-q", "-i0.01", "-p", &marker_hex(), to])?,
        host.exec_spawn(container, &["netbed-probe", "steady", &format!("{to}:9000"), "1000000", "500"])?,
    ])
}

fn pinged(host: &Host, container: &str, to: &str) -> Result<Output> {
    let output = host.exec(container, &["ping", "-c1", "-W1", "-p", &marker_hex(), to])?;
    ensure!(output.success(), "{output}");
    Ok(output)
}

/// Sends a signal to the process that encrypts.
fn signal(host: &Host, name: &str) -> Result<()> {
    let engines = host.processes("wireguard")?;
    ensure!(engines.len() == 1, "{} has {} engines", host.name(), engines.len());
    host.sh(&format!("kill -{name} {}", engines[0])).map(drop)
}

/// Its container sends whenever it runs, and the other host's all the time.
fn a_host_that_loses_power_comes_back_with_its_containers_and_nothing_in_clear(
    features: Features,
) -> Result<()> {
    let mut fabric = Fabric::new(2, features)?;
    fabric.network("shop", "--subnet 10.95.0.0/24")?;
    fabric.run(1, "here", "shop", "--ip 10.95.0.10")?;
    let marker = marker_hex();
    fabric.host(2).docker(&format!(
        "run -d --name there --network shop --ip 10.95.0.20 --restart always netbed/probe \
         ping -q -i0.05 -p {marker} 10.95.0.10"
    ))?;
    fabric.host(1).ping("here", "10.95.0.20")?;
    let _load = fabric.host(1).exec_spawn("here", &["ping", "-q", "-i0.05", "-p", &marker, "10.95.0.20"])?;
    for order in ["dockerd before the agent", "the agent before dockerd"] {
        fabric.bed_mut().reboot(2)?;
        let host = fabric.host(2);
        fabric.host(1).ping_fails("here", "10.95.0.20")?;
        if order.starts_with("dockerd") {
            host.spawn_dockerd()?;
            eventually("dockerd to look for the agent", BACK, || {
                host.sh(&format!(
                    "grep 'Unable to locate plugin' {}",
                    host.folder().join("dockerd.log").display()
                ))
            })?;
            fabric.start_agent(host)?;
        } else {
            fabric.start_agent(host)?;
            host.spawn_dockerd()?;
        }
        host.await_dockerd().context(order)?;
        let back = format!("the container to be back, {order}");
        eventually(&back, BACK, || pinged(fabric.host(1), "here", "10.95.0.20"))?;
        host.docker("exec there true").context(order)?;
        fabric.bed().seen()?.clean().context(order)?;
    }
    fabric.settle(2)
}

fn a_network_in_clear_can_be_read_and_one_beside_it_cannot(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    let listens = |host: &Host| -> Result<bool> {
        Ok(!host.sh("ss -Hlun 'sport = :7374'; ip -o link show | grep shoal-clear || true")?.is_empty())
    };
    fabric.network("shop", "")?;
    for host in fabric.bed().hosts() {
        ensure!(!listens(host)?, "{} listens for a network in clear, and there is none", host.name());
    }
    fabric.network("open", "--plaintext")?;
    let open = Allow::Clear { vni: fabric.vni("open")? };
    fabric.bed().allow(open.clone());
    for (host, name, network) in
        [(1, "here", "shop"), (2, "there", "shop"), (1, "near", "open"), (2, "far", "open")]
    {
        fabric.run(host, name, network, "")?;
    }
    let host = fabric.host(1);
    host.ping("near", &fabric.v4(2, "far", "open")?)?;
    let (_, marked) = fabric.bed().seen()?.of(&open);
    ensure!(marked >= 2, "a network in clear must be readable, or the watcher sees nothing: {marked}");
    // Many packets of the encrypted one, and not one more that can be read.
    let there = fabric.v4(2, "there", "shop")?;
    host.exec("here", &["ping", "-q", "-c200", "-i0.005", "-p", &marker_hex(), &there])?.ok()?;
    fabric.transfer((1, "here"), (2, "there"), &there, 8 * shoal_e2e::MEBIBYTE)?;
    fabric.bed().seen()?.clean()?;
    ensure!(fabric.bed().seen()?.of(&open).1 == marked, "the encrypted network's payload was read");
    told_of_open(&fabric, "open", "shop")?;
    for (number, name) in [(1, "near"), (2, "far")] {
        fabric.host(number).docker(&format!("rm -f {name}"))?;
    }
    eventually("the deletion to be allowed", Duration::from_secs(20), || host.shoal("network delete open"))?;
    for host in fabric.bed().hosts() {
        eventually("the port to be closed with the network", Duration::from_secs(20), || {
            ensure!(!listens(host)?, "{} still listens", host.name());
            Ok(())
        })?;
    }
    host.ping("here", &there)
}

/// What commands say of a network in clear, and of the other.
fn told_of_open(fabric: &Fabric, open: &str, shop: &str) -> Result<()> {
    for host in fabric.bed().hosts() {
        let status = host.shoal("status")?;
        ensure!(status.contains(&format!("off for {open}")) && status.contains("7374"), "{status}");
        let networks = host.shoal_json("network list")?;
        let of = |name: &str| {
            let found = networks.as_array().into_iter().flatten().find(|it| it["name"] == name);
            found.map(|it| it["encryption"].to_string()).unwrap_or_default()
        };
        ensure!(of(open).contains("off") && of(shop).contains("on"), "{networks}");
        let checks = host.shoal_json("doctor")?.to_string();
        ensure!(checks.contains("in clear"), "{checks}");
    }
    Ok(())
}

/// Each host has an address of either family; the one in use is cut off on one host.
fn an_address_that_stops_answering_gives_way_to_the_host_s_other_one(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("shop", "")?;
    fabric.run(1, "here", "shop", "")?;
    fabric.run(2, "there", "shop", "")?;
    let there = fabric.v4(2, "there", "shop")?;
    let (one, two) = (fabric.host(1), fabric.host(2));
    one.ping("here", &there)?;
    let endpoint = |host: &Host| -> Result<String> {
        let answer = host.ask_socket("/run/shoal/shoal0.sock", "get=1\n\n")?;
        Ok(answer.lines().find_map(|line| line.strip_prefix("endpoint=")).unwrap_or("none").to_owned())
    };
    let before = endpoint(one)?;
    let silence = if before.starts_with("172") {
        "iptables -I INPUT -d 172.31.0.2 -j DROP; iptables -I OUTPUT -s 172.31.0.2 -j DROP"
    } else {
        "ip6tables -I INPUT -d fd00:7368::2 -j DROP; ip6tables -I OUTPUT -s fd00:7368::2 -j DROP"
    };
    two.sh(silence)?;
    eventually("the tunnel to move to the other address", Duration::from_secs(60), || {
        pinged(one, "here", &there)
    })?;
    let after = endpoint(one)?;
    ensure!(after != before, "{after}");
    eprintln!("moved from {before} to {after}");
    Ok(())
}
