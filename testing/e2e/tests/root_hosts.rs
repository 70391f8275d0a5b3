//! Hosts that change: their name, their addresses, the network underneath, their fabric.

use std::time::Duration;

use anyhow::{Result, ensure};
use shoal_e2e::{Fabric, Features, scenarios};
use shoal_netbed::{Bed, Host, Tally, eventually};

scenarios! {
    a_host_that_is_renamed_keeps_its_id_and_its_containers,
    a_host_whose_underlay_address_changes_is_reached_again,
    hosts_on_two_underlay_networks_meet_through_the_one_that_is_on_both,
    a_member_is_refused_a_second_fabric_until_it_leaves_and_then_brings_nothing_along,
}

/// How long traffic may stay away after an address has changed: the machine is looked at every five seconds, and dead
/// connections are found within fifteen.
const BACK: Duration = Duration::from_secs(60);

fn a_host_that_is_renamed_keeps_its_id_and_its_containers(features: Features) -> Result<()> {
    let fabric = Fabric::new(3, features)?;
    fabric.network("shop", "")?;
    fabric.run(1, "here", "shop", "")?;
    fabric.run(2, "there", "shop", "")?;
    let there = fabric.v4(2, "there", "shop")?;
    fabric.host(1).ping("here", &there)?;
    let before = fabric.seen(1, "h2")?;
    let load = fabric.host(1).exec_spawn("here", &["ping", "-q", "-i0.05", "-c300", "-W2", &there])?;
    fabric.host(2).stop_agent()?;
    let environment = [features.environment(), &[("SHOAL_NAME", "web-2")]].concat();
    fabric.host(2).start_agent(&[], &environment)?;
    for by in [1, 3] {
        eventually("the new name to be told", Duration::from_secs(10), || {
            let host = fabric.seen(by, "web-2")?;
            ensure!(host["id"] == before["id"], "{host}");
            ensure!(fabric.seen(by, "h2").is_err(), "the old name is still there");
            Ok(())
        })?;
    }
    let tally = Tally::of_ping(&load.finish(Duration::from_secs(60))?)?;
    ensure!(tally.lost() == 0, "{tally:?}");
    let endpoints = fabric.host(3).shoal("endpoints")?;
    ensure!(endpoints.contains("web-2") && !endpoints.contains(" h2 "), "{endpoints}");
    fabric.host(2).docker("rm -f there")?;
    fabric.host(2).kill_agent()?;
    fabric.host(1).shoal("forget web-2").map(drop)
}

/// The host's only address of each family gives way to another one, with containers running.
fn a_host_whose_underlay_address_changes_is_reached_again(features: Features) -> Result<()> {
    let fabric = Fabric::new(3, features)?;
    fabric.network("shop", "")?;
    for (host, name) in [(1, "one"), (2, "two"), (3, "three")] {
        fabric.run(host, name, "shop", "")?;
    }
    let (one, two) = (fabric.v4(1, "one", "shop")?, fabric.v4(2, "two", "shop")?);
    fabric.host(1).ping("one", &two)?;
    // Others send to its old hardware address for a while, and it would tell them of a better way.
    fabric.host(2).sh("for file in /proc/sys/net/ipv4/conf/*/send_redirects; do echo 0 > $file; done")?;
    fabric.host(2).sh("ip address flush dev eth0 scope global; ip address add 172.31.0.77/24 dev eth0
         ip address add fd00:7368::77/64 dev eth0 nodad")?;
    for (from, name, to) in [(1, "one", &two), (3, "three", &two), (2, "two", &one)] {
        let took = fabric.reached((from, name), to, BACK)?;
        eprintln!("{name} reaches {to} again after {took:?}");
    }
    for by in [1, 3] {
        eventually("the new addresses to be told", BACK, || {
            let host = fabric.seen(by, "h2")?;
            let addresses = host["addresses"].to_string();
            let is_new = |address: &str| addresses.contains(address);
            ensure!(is_new("172.31.0.77") && is_new("fd00:7368::77") && !is_new("::2\""), "{host}");
            Ok(())
        })?;
    }
    fabric.settle(3)?;
    fabric.sound()
}

/// h1 is on one network, h3 on another, h2 on both: its packets go directly, those of h1 and h3 through its agent.
fn hosts_on_two_underlay_networks_meet_through_the_one_that_is_on_both(features: Features) -> Result<()> {
    let fabric = Fabric::unjoined(Bed::builder(3), features)?;
    let (one, two, three) = (fabric.host(1), fabric.host(2), fabric.host(3));
    two.sh("ip address add 10.66.0.2/24 dev eth0")?;
    three.sh("ip address flush dev eth0 scope global; ip address add 10.66.0.3/24 dev eth0")?;
    one.shoal("init")?;
    let token = fabric.token("")?;
    two.shoal(&format!(
        "join {} {token} --advertise {} --advertise 10.66.0.2",
        one.address(),
        two.address()
    ))?;
    three.shoal(&format!("join 10.66.0.2 {token}"))?;
    // h1 and h3 first take each other for dead, until they hear through h2 that they live.
    eventually("all to see each other alive", BACK, || fabric.settle(3))?;
    fabric.network("shop", "")?;
    for (host, name) in [(1, "one"), (2, "two"), (3, "three")] {
        fabric.run(host, name, "shop", "")?;
    }
    let pairs =
        [(1, "one", 2, "two"), (2, "two", 3, "three"), (3, "three", 1, "one"), (1, "one", 3, "three")];
    for (from, name, to, target) in pairs {
        let took = fabric.reached((from, name), &fabric.v4(to, target, "shop")?, BACK)?;
        eprintln!("{name} reaches {target} after {took:?}");
    }
    // The first handshake may have passed while a direct way was being tried.
    eventually("h1 to say that it reaches h3 through h2", BACK, || {
        let way = fabric.seen(1, "h3")?["wireguard"]["way"].clone();
        ensure!(way["host"] == "h2", "not relayed: {way}");
        Ok(())
    })?;
    let direct = fabric.seen(3, "h2")?["wireguard"]["way"].clone();
    ensure!(direct.to_string().contains("direct"), "{direct}");
    Ok(())
}

fn id(host: &Host, of: &str) -> Result<String> {
    Ok(host.shoal_json("status")?.pointer(of).map(ToString::to_string).unwrap_or_default())
}

fn a_member_is_refused_a_second_fabric_until_it_leaves_and_then_brings_nothing_along(
    features: Features,
) -> Result<()> {
    let fabric = Fabric::unjoined(Bed::builder(3), features)?;
    let (first, other, mover) = (fabric.host(1), fabric.host(2), fabric.host(3));
    first.shoal("init")?;
    other.shoal("init")?;
    mover.shoal(&format!("join {} {}", first.address(), fabric.token("")?))?;
    first.shoal("network create shop --subnet 10.91.0.0/24")?;
    other.shoal("network create shop --subnet 10.92.0.0/24")?;
    fabric.appears("shop")?;
    fabric.run(3, "moving", "shop", "")?;
    let (host_id, first_id) = (id(mover, "/host/id")?, id(mover, "/fabric/id")?);
    let foreign = other.shoal("token")?.lines().last().unwrap_or_default().to_owned();
    let join = format!("join {} {foreign}", other.address());
    let told = mover.try_shoal("init")?.refused()?;
    ensure!(told.contains("belongs to a fabric already") && told.contains("shoal leave"), "{told}");
    let told = mover.try_shoal(&join)?.refused()?;
    ensure!(told.contains("fabric") && told.contains("shoal leave"), "{told}");
    ensure!(id(mover, "/fabric/id")? == first_id, "a refusal changed the fabric");
    let told = mover.try_shoal("leave")?.refused()?;
    ensure!(told.contains("moving"), "{told}");
    mover.docker("rm -f moving")?;
    eventually("the host to be let go", Duration::from_secs(20), || mover.shoal("leave"))?;
    fabric.disappears_on(mover, "shop")?;
    mover.shoal(&join)?;
    fabric.appears_on(mover, "shop")?;
    ensure!(
        id(mover, "/host/id")? == host_id && id(mover, "/fabric/id")? != first_id,
        "the same host elsewhere"
    );
    fabric.run(2, "settled", "shop", "")?;
    fabric.run(3, "moved", "shop", "")?;
    let address = fabric.v4(3, "moved", "shop")?;
    ensure!(address.starts_with("10.92."), "an address of the fabric that was left: {address}");
    fabric.reached((2, "settled"), &address, BACK)?;
    let hosts = other.shoal_json("hosts")?;
    ensure!(hosts.as_array().is_some_and(|hosts| hosts.len() == 2), "{hosts}");
    Ok(())
}
