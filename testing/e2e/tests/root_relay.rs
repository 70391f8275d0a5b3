//! Hosts whose encrypted packets cannot meet: agents carry them, still encrypted.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use shoal_e2e::{Fabric, Features, Load, MEBIBYTE, scenarios};
use shoal_netbed::{Bed, NatKind, eventually};

scenarios! {
    a_host_whose_firewall_lets_only_quic_pass_is_reached_and_without_detour_once_it_opens,
    two_hosts_behind_symmetric_nats_reach_each_other_through_whichever_member_lives,
}

/// How long a pair that cannot meet may stay without a way, and how long one that can may keep a detour.
const FOUND: Duration = Duration::from_secs(40);

/// How packets go from one host to another, which must pass: "direct", "agents" or "relay h1".
fn way(fabric: &Fabric, by: usize, name: &str) -> Result<String> {
    let host = fabric.seen(by, name)?;
    ensure!(host["tunnel"]["state"] == "ok", "{host}");
    let way = &host["wireguard"]["way"];
    let kind = way["kind"].as_str().with_context(|| format!("no way is shown: {host}"))?;
    let through = way["host"].as_str().map(|name| format!(" {name}"));
    Ok(format!("{kind}{}", through.unwrap_or_default()))
}

/// Waits until packets from one host to another go one of these ways, and returns it.
fn goes(fabric: &Fabric, by: usize, name: &str, ways: &[&str]) -> Result<String> {
    eventually(&format!("h{by} to reach {name} by {}", ways.join(" or ")), FOUND, || {
        let way = way(fabric, by, name)?;
        ensure!(ways.contains(&way.as_str()), "it goes by {way}");
        Ok(way)
    })
}

/// Ends a load: at most so many of its pings may be lost.
fn lost_at_most(fabric: &Fabric, load: Load, limit: u64, when: &str) -> Result<()> {
    let tally = load.count(fabric)?;
    let told = format!("{when}, {} of {} pings were lost", tally.lost(), tally.sent);
    eprintln!("{told}");
    ensure!(tally.received > 0 && tally.lost() <= limit, "{told}");
    Ok(())
}

fn a_host_whose_firewall_lets_only_quic_pass_is_reached_and_without_detour_once_it_opens(
    features: Features,
) -> Result<()> {
    let fabric = Fabric::on(Bed::builder(3).behind_firewall(2), features)?;
    fabric.network("shop", "")?;
    for (host, name) in [(1, "one"), (2, "fenced"), (3, "three")] {
        fabric.run(host, name, "shop", "")?;
    }
    let (one, fenced) = (fabric.v4(1, "one", "shop")?, fabric.v4(2, "fenced", "shop")?);
    let three = fabric.v4(3, "three", "shop")?;
    for (from, to) in [((2, "fenced"), &one), ((2, "fenced"), &three), ((1, "one"), &fenced)] {
        let took = fabric.reached(from, to, FOUND)?;
        eprintln!("{to} was reached after {took:?} more");
    }
    for (by, name) in [(1, "h2"), (2, "h1"), (2, "h3"), (3, "h2")] {
        goes(&fabric, by, name, &["agents"])?;
    }
    goes(&fabric, 1, "h3", &["direct"])?;
    let doctor = fabric.host(1).shoal("doctor")?.split_whitespace().collect::<Vec<_>>().join(" ");
    ensure!(doctor.contains("UDP port 7375 is silent. Packets go over the QUIC connection"), "{doctor}");
    fabric.transfer((1, "one"), (2, "fenced"), &fenced, 4 * MEBIBYTE)?;

    let pings = Load::start(&fabric, (1, "one"), &fenced)?;
    let router = fabric.bed().router(2).context("h2 is behind a router")?;
    router.admit_all()?;
    for (by, name) in [(1, "h2"), (2, "h1")] {
        goes(&fabric, by, name, &["direct"])?;
    }
    lost_at_most(&fabric, pings, 2, "while the firewall was opened")?;

    let pings = Load::start(&fabric, (1, "one"), &fenced)?;
    router.admit_only_quic()?;
    goes(&fabric, 1, "h2", &["agents"])?;
    fabric.reached((1, "one"), &fenced, FOUND)?;
    lost_at_most(&fabric, pings, 400, "while the firewall was closed again")
}

fn two_hosts_behind_symmetric_nats_reach_each_other_through_whichever_member_lives(
    features: Features,
) -> Result<()> {
    let bed = Bed::builder(4).behind_nat(2, NatKind::Symmetric).behind_nat(3, NatKind::Symmetric);
    let fabric = Fabric::on(bed, features)?;
    fabric.network("shop", "")?;
    for (host, name) in [(2, "two"), (3, "three")] {
        fabric.run(host, name, "shop", "")?;
    }
    let three = fabric.v4(3, "three", "shop")?;
    let took = fabric.reached((2, "two"), &three, FOUND)?;
    eprintln!("hosts behind symmetric NATs met after {took:?}");
    let members = ["relay h1", "relay h4"];
    goes(&fabric, 3, "h2", &members)?;
    let first = goes(&fabric, 2, "h3", &members)?;
    fabric.transfer((2, "two"), (3, "three"), &three, 4 * MEBIBYTE)?;

    let (dead, other) = if first == members[0] { (1, members[1]) } else { (4, members[0]) };
    let pings = Load::start(&fabric, (2, "two"), &three)?;
    fabric.host(dead).kill_agent()?;
    for (by, name) in [(2, "h3"), (3, "h2")] {
        goes(&fabric, by, name, &[other])?;
    }
    fabric.reached((2, "two"), &three, FOUND)?;
    lost_at_most(&fabric, pings, 400, "while another member took over")?;
    fabric.start_agent(fabric.host(dead))?;
    fabric.settle(4)
}
