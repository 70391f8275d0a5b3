//! Hosts behind NAT take part: they find each other through what others tell.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use shoal_e2e::{Fabric, Features, Load, scenarios};
use shoal_netbed::{Bed, NatKind, Tally, eventually};

scenarios! {
    two_hosts_behind_nat_reach_each_other_and_again_after_a_nat_forgets,
    a_host_behind_nat_that_moves_under_load_is_met_again,
    an_agent_that_starts_again_goes_on_sending_where_a_peer_behind_nat_is_heard,
    a_host_that_moves_to_another_router_while_it_sends_comes_back,
    hosts_behind_cones_address_restricted_and_symmetric_nats_meet_in_all_pairs,
}

fn two_hosts_behind_nat_reach_each_other_and_again_after_a_nat_forgets(features: Features) -> Result<()> {
    let bed = Bed::builder(3).behind_nat(2, NatKind::PortRestricted).behind_nat(3, NatKind::PortRestricted);
    let fabric = Fabric::on(bed, features)?;
    fabric.network("shop", "")?;
    for (host, name) in [(1, "public"), (2, "two"), (3, "three")] {
        fabric.run(host, name, "shop", "")?;
    }
    let (public, two) = (fabric.v4(1, "public", "shop")?, fabric.v4(2, "two", "shop")?);
    let three = fabric.v4(3, "three", "shop")?;
    fabric.host(2).ping("two", &public)?;
    fabric.host(1).ping("public", &three)?;
    let took = fabric.reached((2, "two"), &three, Duration::from_secs(25))?;
    fabric.host(3).ping("three", &two)?;
    eprintln!("hosts behind NAT met after {took:?}");
    eventually("each to be shown as behind NAT", Duration::from_secs(15), || {
        for (by, name) in [(1, "h2"), (1, "h3"), (2, "h3"), (3, "h2")] {
            let host = fabric.seen(by, name)?;
            ensure!(host["behind_nat"] == true && host["wireguard"]["endpoint_observed"] == true, "{host}");
        }
        let host = fabric.seen(2, "h1")?;
        ensure!(host["behind_nat"] == false && host["wireguard"]["endpoint_observed"] == false, "{host}");
        Ok(())
    })?;

    let mut load = fabric.host(2).exec_spawn("two", &["ping", "-i0.1", "-c300", "-W1", &three])?;
    load.prints("bytes from", Duration::from_secs(5))?;
    fabric.bed().router(2).context("h2 has a router")?.forget()?;
    let took = fabric.reached((1, "public"), &two, Duration::from_secs(15))?;
    eprintln!("the public host reached one whose NAT forgot after {took:?}");
    let took = fabric.reached((3, "three"), &two, Duration::from_secs(30))?;
    eprintln!("another host behind NAT reached it after {took:?} more");
    let tally = Tally::of_ping(&load.finish(Duration::from_secs(60))?)?;
    eprintln!("under load: {tally:?}");
    ensure!(tally.received > 100, "{tally:?}");
    // Membership never believed anybody dead.
    fabric.settle(3)
}

/// The other host's NAT is a full cone; the mover's gives it another outer port, since the old one is still taken.
fn a_host_behind_nat_that_moves_under_load_is_met_again(features: Features) -> Result<()> {
    let bed = Bed::builder(3).behind_nat(2, NatKind::PortRestricted).behind_nat(3, NatKind::FullCone);
    let fabric = Fabric::on(bed, features)?;
    fabric.network("shop", "")?;
    for (host, name) in [(1, "public"), (2, "two"), (3, "three")] {
        fabric.run(host, name, "shop", "")?;
    }
    let (public, three) = (fabric.v4(1, "public", "shop")?, fabric.v4(3, "three", "shop")?);
    let took = fabric.reached((2, "two"), &three, Duration::from_secs(25))?;
    eprintln!("a restricted and a full cone met after {took:?}");
    let mut loads = Vec::new();
    for target in [&public, &three] {
        let mut load = fabric.host(2).exec_spawn("two", &["ping", "-i0.1", "-c250", "-W1", target])?;
        load.prints("bytes from", Duration::from_secs(5))?;
        loads.push(load);
    }
    fabric.host(2).sh(
        "ip address flush dev eth0; ip address add 10.99.2.77/24 dev eth0; ip route add default via 10.99.2.1",
    )?;
    for target in [&public, &three] {
        let took = fabric.reached((2, "two"), target, Duration::from_secs(15))?;
        eprintln!("{target} was reached again after {took:?}");
    }
    for load in loads {
        let tally = Tally::of_ping(&load.finish(Duration::from_secs(60))?)?;
        eprintln!("under load: {tally:?}");
        ensure!(tally.received > 150, "{tally:?}");
    }
    eventually("the new address to be told", Duration::from_secs(20), || {
        let host = fabric.seen(1, "h2")?;
        ensure!(host["addresses"][0] == "10.99.2.77", "{host}");
        Ok(())
    })?;
    fabric.settle(3)
}

/// Nobody but the public host's own tunnel knows where the other is: with a single observer there is no other sighting.
fn an_agent_that_starts_again_goes_on_sending_where_a_peer_behind_nat_is_heard(
    features: Features,
) -> Result<()> {
    let fabric = Fabric::on(Bed::builder(2).behind_nat(2, NatKind::PortRestricted), features)?;
    fabric.network("shop", "")?;
    fabric.run(1, "public", "shop", "")?;
    fabric.run(2, "hidden", "shop", "")?;
    let hidden = fabric.v4(2, "hidden", "shop")?;
    fabric.reached((1, "public"), &hidden, Duration::from_secs(25))?;
    let mut load = fabric.host(1).exec_spawn("public", &["ping", "-i0.05", "-c400", "-W2", &hidden])?;
    load.prints("bytes from", Duration::from_secs(5))?;
    for _ in 0..4 {
        fabric.host(1).kill_agent()?;
        fabric.start_agent(fabric.host(1))?;
        fabric.settle(2)?;
    }
    let tally = Tally::of_ping(&load.finish(Duration::from_secs(60))?)?;
    ensure!(tally.lost() == 0, "{tally:?}");
    Ok(())
}

/// Another router, another address on both sides of it: nothing of the old way is left.
fn a_host_that_moves_to_another_router_while_it_sends_comes_back(features: Features) -> Result<()> {
    let nat = NatKind::PortRestricted;
    let mut fabric = Fabric::on(Bed::builder(3).behind_nat(2, nat).behind_nat(3, nat), features)?;
    fabric.network("shop", "")?;
    for (host, name) in [(1, "public"), (2, "two"), (3, "three")] {
        fabric.run(host, name, "shop", "")?;
    }
    let (public, three) = (fabric.v4(1, "public", "shop")?, fabric.v4(3, "three", "shop")?);
    let mut loads = Vec::new();
    for target in [&public, &three] {
        fabric.reached((2, "two"), target, Duration::from_secs(25))?;
        loads.push((target, Load::start(&fabric, (2, "two"), target)?));
    }
    fabric.bed_mut().move_behind(2, nat)?;
    for (target, load) in loads {
        let back = fabric.reached((2, "two"), target, Duration::from_secs(40));
        let tally = load.count(&fabric)?;
        let told = format!("the host that moved lost {} of {} pings to {target}", tally.lost(), tally.sent);
        let took = back.with_context(|| told.clone())?;
        eprintln!("{told}; reached again after {took:?}");
        ensure!(tally.lost() <= 200, "{told}");
    }
    fabric.host(3).ping("three", &fabric.v4(2, "two", "shop")?)?;
    fabric.settle(3)
}

/// Each sends to where the other's router gave it a port, no detour.
fn hosts_behind_cones_address_restricted_and_symmetric_nats_meet_in_all_pairs(
    features: Features,
) -> Result<()> {
    let kinds = [
        NatKind::FullCone,
        NatKind::FullCone,
        NatKind::AddressRestricted,
        NatKind::AddressRestricted,
        NatKind::Symmetric,
    ];
    let bed = Bed::builder(1 + kinds.len());
    let bed = kinds.iter().zip(2..).fold(bed, |bed, (kind, host)| bed.behind_nat(host, *kind));
    let fabric = Fabric::on(bed, features)?;
    fabric
        .bed()
        .on_each(|host| {
            eventually(&format!("{} to meet all others", host.name()), Duration::from_secs(30), || {
                let hosts = host.shoal_json("hosts")?;
                let others = hosts.as_array().into_iter().flatten().filter(|it| it["state"] != "self");
                for other in others {
                    let endpoint = other["wireguard"]["endpoint"].as_str().unwrap_or_default();
                    ensure!(other["tunnel"]["state"] == "ok" && endpoint.starts_with("172.31.0."), "{other}");
                }
                Ok(())
            })
        })
        .map(drop)
}
