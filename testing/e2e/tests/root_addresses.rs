//! Addresses and subnets as the user asks for them, and clear words when they cannot be had.

use std::time::Duration;

use anyhow::{Result, ensure};
use shoal_e2e::{Fabric, Features, scenarios};
use shoal_netbed::{Allow, Bed, eventually};

scenarios! {
    what_the_user_asks_for_is_what_containers_get,
    several_subnets_of_a_network_reach_each_other,
    an_address_that_cannot_be_had_is_refused_in_a_sentence,
    a_full_pool_says_so,
    a_network_without_shoal_s_ipam_is_refused_with_the_command_that_works,
    a_subnet_that_overlaps_a_route_or_a_gateway_bridge_is_refused_with_the_host_named,
    an_internal_network_has_no_way_out,
    a_container_on_several_networks_joins_and_leaves_them_live,
    addresses_of_a_dead_host_come_back_and_all_of_them_when_it_is_forgotten,
}

fn what_the_user_asks_for_is_what_containers_get(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network(
        "shop",
        "--subnet 10.90.0.0/24 --gateway 10.90.0.254 --aux-address printer=10.90.0.77 --ipv6 --subnet fd90::/64 -o shoal.mtu=1300",
    )?;
    fabric.run(1, "here", "shop", "--ip 10.90.0.5 --ip6 fd90::5")?;
    fabric.run(2, "there", "shop", "--ip 10.90.0.200 --ip6 fd90::c8")?;
    fabric.run(2, "any", "shop", "")?;
    ensure!(fabric.host(1).addresses("here", "shop")? == ("10.90.0.5".into(), "fd90::5".into()));
    ensure!(fabric.v4(2, "any", "shop")?.starts_with("10.90.0."));
    ensure!(fabric.v6(2, "any", "shop")?.starts_with("fd90::"));
    fabric.host(1).ping("here", "10.90.0.200")?;
    fabric.host(1).ping("here", "fd90::c8")?;
    for host in fabric.bed().hosts() {
        let ipam =
            host.run(&["docker", "network", "inspect", "-f", "{{json .IPAM.Config}}", "shop"])?.ok()?;
        ensure!(ipam.contains("10.90.0.254"), "{} has another gateway: {ipam}", host.name());
    }
    let taken = fabric.try_run(2, "printer", "shop", "--ip 10.90.0.77")?.refused()?;
    ensure!(taken.contains("10.90.0.77"), "{taken}");
    ensure!(fabric.host(2).exec("any", &["cat", "/sys/class/net/eth0/mtu"])?.ok()? == "1300");
    let small = "network create -d shoal --ipam-driver shoal -o shoal.mtu=575 small";
    let told = fabric.host(1).try_docker(small)?.refused()?;
    ensure!(told.contains("shoal.mtu=575") && told.contains("from 576"), "{told}");
    // An answer to every address of the subnet must not look like somebody holding the container's own.
    eventually("duplicate address detection to end well", Duration::from_secs(10), || {
        let state = fabric.host(1).exec("here", &["ip", "-6", "address", "show", "dev", "eth0"])?.ok()?;
        ensure!(!state.contains("dadfailed") && !state.contains("tentative"), "{state}");
        Ok(())
    })
}

fn several_subnets_of_a_network_reach_each_other(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("shop", "--subnet 10.91.0.0/24 --subnet 10.92.0.0/24")?;
    fabric.run(1, "one", "shop", "--ip 10.91.0.10")?;
    fabric.run(1, "two", "shop", "--ip 10.92.0.10")?;
    fabric.run(2, "three", "shop", "--ip 10.92.0.20")?;
    fabric.host(1).ping("one", "10.92.0.10")?;
    fabric.host(1).ping("one", "10.92.0.20")?;
    fabric.host(1).ping("two", "10.91.0.10")?;
    fabric.host(2).ping("three", "10.91.0.10")
}

fn an_address_that_cannot_be_had_is_refused_in_a_sentence(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("shop", "--subnet 10.93.0.0/24")?;
    fabric.run(1, "here", "shop", "--ip 10.93.0.9")?;
    for host in [1, 2] {
        let told = fabric.try_run(host, "second", "shop", "--ip 10.93.0.9")?.refused()?;
        ensure!(told.contains("10.93.0.9"), "{told}");
        fabric.host(host).docker("rm -f second")?;
    }
    let told = fabric.try_run(1, "gate", "shop", "--ip 10.93.0.1")?.refused()?;
    ensure!(told.contains("10.93.0.1"), "{told}");
    let told = fabric.try_run(2, "foreign", "shop", "--ip 10.9.9.9")?.refused()?;
    ensure!(told.contains("10.9.9.9") || told.to_lowercase().contains("subnet"), "{told}");
    // What was refused left nothing behind.
    fabric.run(2, "there", "shop", "")?;
    fabric.host(2).ping("there", "10.93.0.9")
}

fn a_full_pool_says_so(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    // Eight addresses: network, gateway and broadcast are not for containers, five are left.
    fabric.network("tiny", "--subnet 10.94.0.0/29")?;
    let mut held = 0;
    let mut told = String::new();
    for number in 1..=7 {
        let output = fabric.try_run(1 + number % 2, &format!("box{number}"), "tiny", "")?;
        if output.success() { held += 1 } else { told = output.refused()? }
    }
    ensure!((1..=5).contains(&held), "{held} containers hold addresses of a pool of five");
    ensure!(told.contains("10.94.0.0/29") || told.contains("tiny"), "the pool must be named: {told}");
    ensure!(!told.to_lowercase().contains("panic"), "{told}");
    Ok(())
}

fn a_network_without_shoal_s_ipam_is_refused_with_the_command_that_works(features: Features) -> Result<()> {
    let fabric = Fabric::new(1, features)?;
    let told = fabric.host(1).try_docker("network create -d shoal shop")?.refused()?;
    ensure!(told.contains("--ipam-driver shoal"), "{told}");
    ensure!(fabric.host(1).docker("network ls -q --filter name=shop")?.is_empty());
    fabric.host(1).docker("network create -d shoal --ipam-driver shoal shop").map(drop)
}

fn a_subnet_that_overlaps_a_route_or_a_gateway_bridge_is_refused_with_the_host_named(
    features: Features,
) -> Result<()> {
    let bed = Bed::builder(2).route(2, "10.99.0.0/16 via 172.31.0.254");
    let fabric = Fabric::on(bed, features)?;
    fabric.network("shop", "")?;
    fabric.run(1, "here", "shop", "")?;
    let told = fabric.host(1).try_shoal("network create far --subnet 10.99.1.0/24")?.refused()?;
    ensure!(told.contains("h2") && told.contains("10.99."), "{told}");
    let bridge =
        fabric.host(1).sh("docker network inspect -f '{{(index .IPAM.Config 0).Subnet}}' docker_gwbridge")?;
    let told = fabric.host(1).try_shoal(&format!("network create near --subnet {bridge}"))?.refused()?;
    ensure!(told.contains("h1"), "{told}");
    let told = fabric
        .host(1)
        .try_docker("network create -d shoal --ipam-driver shoal --subnet 10.99.2.0/24 far")?
        .refused()?;
    ensure!(told.contains("h2"), "{told}");
    // The default pool avoids them all.
    fabric.network("free", "").map(drop)
}

fn an_internal_network_has_no_way_out(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("vault", "--internal")?;
    fabric.network("shop", "")?;
    fabric.run(1, "inside", "vault", "")?;
    fabric.run(2, "beside", "vault", "")?;
    fabric.run(1, "outside", "shop", "")?;
    fabric.host(1).ping("inside", &fabric.v4(2, "beside", "vault")?)?;
    let routes = fabric.host(1).exec("inside", &["ip", "route"])?.ok()?;
    ensure!(!routes.contains("default"), "{routes}");
    // Through Docker's gateway bridge, where the host speaks for the container.
    let (one, two) = (fabric.host(1).address(), fabric.host(2).address());
    fabric.bed().allow(Allow::Pings(one.parse()?, two.parse()?));
    fabric.host(1).exec("outside", &["ping", "-c1", "-W2", &two])?.ok()?;
    fabric.host(1).ping_fails("inside", &fabric.host(2).address())
}

fn a_container_on_several_networks_joins_and_leaves_them_live(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    for network in ["red", "blue"] {
        fabric.network(network, "")?;
        fabric.run(2, &format!("{network}peer"), network, "")?;
    }
    let (red, blue) = (fabric.v4(2, "redpeer", "red")?, fabric.v4(2, "bluepeer", "blue")?);
    fabric.run(1, "both", "red", "")?;
    let host = fabric.host(1);
    host.ping("both", &red)?;
    fabric.not_reached_outside(1, "both", &blue)?;
    host.docker("network connect blue both")?;
    host.ping("both", &blue)?;
    host.ping("both", &red)?;
    host.docker("network disconnect red both")?;
    host.ping("both", &blue)?;
    fabric.not_reached_outside(1, "both", &red)
}

fn addresses_of_a_dead_host_come_back_and_all_of_them_when_it_is_forgotten(features: Features) -> Result<()> {
    let fabric = Fabric::new(3, features)?;
    for host in fabric.bed().hosts() {
        host.kill_agent()?;
        host.start_agent(&["--lease=1m"], features.environment())?;
    }
    fabric.settle(3)?;
    fabric.network("shop", "--subnet 10.97.0.0/24")?;
    fabric.run(3, "there", "shop", "")?;
    let held = fabric.v4(3, "there", "shop")?;
    eventually("the third host to have spare addresses", Duration::from_secs(60), || {
        let shares = fabric.host(1).shoal_json("addresses")?;
        let spare = share(&shares, "h3").and_then(|share| share["spare"].as_u64()).unwrap_or_default();
        ensure!(spare > 0, "{shares}");
        Ok(())
    })?;
    fabric.bed().cut(fabric.host(3))?;
    fabric.host(3).kill_agent()?;
    eventually("what was spare to be taken over", Duration::from_secs(180), || {
        let shares = fabric.host(1).shoal_json("addresses")?;
        let takers = ["h1", "h2"].into_iter().filter_map(|host| share(&shares, host));
        let took = takers.filter(|share| share["taken_from"].to_string().contains("h3")).count();
        ensure!(took == 1, "{shares}");
        Ok(())
    })?;
    let told = fabric.try_run(1, "early", "shop", &format!("--ip {held}"))?.refused()?;
    ensure!(told.contains(&held), "{told}");
    fabric.host(1).docker("rm -f early")?;
    fabric.host(1).shoal("forget h3")?;
    eventually("the address that the dead host's container had", Duration::from_secs(60), || {
        let started = fabric.try_run(1, "late", "shop", &format!("--ip {held}"))?;
        if !started.success() {
            fabric.host(1).docker("rm -f late")?;
        }
        ensure!(started.success(), "{}", started.refused()?);
        Ok(())
    })?;
    let shares = fabric.host(1).shoal_json("addresses")?;
    ensure!(shares.as_array().is_some_and(|shares| shares.len() == 2), "nothing is left of h3: {shares}");
    fabric.run(2, "beside", "shop", "")?;
    fabric.host(2).ping("beside", &held)
}

/// What a host owns of the only network.
fn share<'a>(shares: &'a serde_json::Value, host: &str) -> Option<&'a serde_json::Value> {
    shares.as_array()?.iter().find(|share| share["host"] == host)
}
