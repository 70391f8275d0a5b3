//! What each kind of router lets in, and a host that changes its router. Needs root.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use shoal_netbed::{Bed, Host, NatKind, Running, Tally, probe_path};

/// Datagrams of a trial.
const COUNT: u64 = 3;

/// A program on the host that answers at a port.
fn answering(host: &Host, port: u16) -> Result<Running> {
    let mut echo = host.spawn(&[&probe_path()?, "echo", &port.to_string()])?;
    echo.prints("listening", Duration::from_secs(5))?;
    Ok(echo)
}

/// Whether `to`, at its address on the switch, answers an outsider; `false` only if nothing at all is answered.
fn answers(from: &Host, to: &Host, port: u16) -> Result<bool> {
    let target = format!("{}:{port}", to.address());
    let output = from.run(&[&probe_path()?, "steady", &target, &COUNT.to_string(), "1000"])?;
    let tally = Tally::of_probe(&output)?;
    ensure!(tally.received == 0 || tally.received == COUNT, "{tally:?}");
    Ok(tally.received > 0)
}

#[test]
fn a_nat_lets_in_whom_its_kind_lets_in() -> Result<()> {
    // Who is answered after the host has sent to the first outsider, at another port than the one that asks.
    let kinds = [
        (NatKind::FullCone, [true, true]),
        (NatKind::AddressRestricted, [true, false]),
        (NatKind::PortRestricted, [false, false]),
        (NatKind::Symmetric, [false, false]),
    ];
    let mut bed = Bed::builder(kinds.len()).outsiders(2).without_dockerd();
    for (at, (kind, _)) in kinds.iter().enumerate() {
        bed = bed.behind_nat(at + 1, *kind);
    }
    let bed = bed.build()?;
    bed.on_each(|host| {
        let at = bed.hosts().iter().position(|it| it.name() == host.name()).context("one of the bed's")?;
        let (kind, told) = kinds[at];
        ensure!(!reached_by_outsiders(&bed, host)?.contains(&true), "{kind:?} lets in somebody unasked");
        // What the host sends leaves from the port at which it answers.
        host.sh("echo 7375 7375 > /proc/sys/net/ipv4/ip_local_port_range")?;
        let first = format!("{}:9", bed.outsider(1).address());
        host.run(&[&probe_path()?, "steady", &first, "1", "1"])?.ok()?;
        let seen = reached_by_outsiders(&bed, host)?;
        ensure!(seen == told, "{kind:?} lets in {seen:?}, not {told:?}");
        Ok(())
    })
    .map(drop)
}

fn reached_by_outsiders(bed: &Bed, host: &Host) -> Result<[bool; 2]> {
    let _echo = answering(host, 7375)?;
    Ok([answers(bed.outsider(1), host, 7375)?, answers(bed.outsider(2), host, 7375)?])
}

#[test]
fn a_firewall_lets_only_the_port_of_quic_pass_until_it_is_opened() -> Result<()> {
    let bed = Bed::builder(1).behind_nat(1, NatKind::None).outsiders(1).without_dockerd().build()?;
    let (host, outsider, router) = (bed.host(1), bed.outsider(1), bed.router(1).context("a router")?);
    let _echoes = [answering(host, 7373)?, answering(host, 7375)?, answering(outsider, 7373)?];
    let _other = answering(outsider, 7375)?;
    let passes = || -> Result<_> {
        let at = |port| -> Result<_> { Ok((answers(outsider, host, port)?, answers(host, outsider, port)?)) };
        Ok((at(7373)?, at(7375)?))
    };
    ensure!(passes()? == ((true, true), (true, true)), "a router that does nothing");
    router.admit_only_quic()?;
    let seen = passes()?;
    ensure!(seen == ((true, true), (false, false)), "{seen:?}");
    router.admit_all()?;
    ensure!(passes()? == ((true, true), (true, true)), "the firewall is not open again");
    Ok(())
}

#[test]
fn a_host_that_moves_to_another_router_has_other_addresses_inside_and_outside() -> Result<()> {
    let nat = NatKind::PortRestricted;
    let mut bed = Bed::builder(1).behind_nat(1, nat).outsiders(1).without_dockerd().build()?;
    let seen_from = |bed: &Bed| -> Result<String> {
        let target = bed.outsider(1).address();
        bed.host(1).run(&["ping", "-c1", "-W2", &target])?.ok()?;
        let addresses = bed.host(1).sh("ip -o -4 address show dev eth0 | awk '{print $4}'")?;
        // Who has sent to the outsider, the routers' own addresses on the switch, is among its neighbours.
        Ok(format!(
            "{addresses} {}",
            bed.outsider(1).sh("ip -4 neigh show | awk '{print $1}' | sort | xargs")?
        ))
    };
    ensure!(seen_from(&bed)? == "10.99.1.2/24 172.31.0.1", "{}", seen_from(&bed)?);
    bed.move_behind(1, nat)?;
    ensure!(seen_from(&bed)? == "10.98.1.2/24 172.31.0.1 172.31.0.201", "{}", seen_from(&bed)?);
    bed.cut(bed.host(1))?;
    ensure!(seen_from(&bed).is_err(), "the second router is not the one that is cut off");
    Ok(())
}
