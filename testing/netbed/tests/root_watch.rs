//! The watcher of the underlay: what it must not miss. Needs root.

use std::time::Duration;

use anyhow::{Result, ensure};
use shoal_netbed::{Allow, Bed, eventually, marker_hex, probe_path, verdict};

#[test]
fn a_frame_that_nothing_allows_fails_the_scenario_and_one_that_is_declared_does_not() -> Result<()> {
    let bed = Bed::builder(1).outsiders(2).without_dockerd().watched().build()?;
    let (one, two, three) = (bed.host(1), bed.outsider(1), bed.outsider(2));
    let addresses = (one.address().parse()?, two.address().parse()?);
    bed.allow(Allow::Pings(addresses.0, addresses.1));
    one.run(&["ping", "-c3", "-i0.1", "-W1", &two.address()])?.ok()?;
    eventually("declared pings to be seen", Duration::from_secs(5), || {
        let seen = bed.seen()?;
        ensure!(seen.of(&Allow::Pings(addresses.0, addresses.1)).0 >= 6, "{seen}");
        seen.clean()
    })?;
    // The same, with what containers send: nobody has declared that it may be read.
    one.run(&["ping", "-c1", "-W1", "-p", &marker_hex(), &two.address()])?.ok()?;
    // A pair that was not declared, and a port that was cut before.
    bed.cut(three)?;
    three.run(&["ping", "-c1", "-W1", &two.address6()])?;
    eventually("the violations to be seen", Duration::from_secs(5), || {
        let seen = bed.seen()?;
        ensure!(seen.violations >= 2, "{seen}");
        Ok(())
    })?;
    let told = bed.seen()?.clean().err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(told.contains("payload"), "{told}");
    drop(bed);
    ensure!(verdict().is_err() && verdict().is_ok(), "the end of the bed tells what was seen, once");
    Ok(())
}

#[test]
fn tunnel_packets_and_a_marker_at_an_allowed_port_are_violations() -> Result<()> {
    let bed = Bed::builder(2).without_dockerd().watched().build()?;
    let (one, two) = (bed.host(1), bed.host(2));
    let probe = probe_path()?;
    // Answers of the closed ports come on top: they quote what must not be there.
    for (port, least) in [(7373, 0), (7374, 5), (7375, 5)] {
        let before = bed.seen()?.violations;
        let target = format!("{}:{port}", two.address());
        one.run(&[&probe, "vxlan", &target, "77", "10.0.0.1", "10.0.0.2", "5"])?.ok()?;
        eventually("violations to be seen", Duration::from_secs(5), || {
            let seen = bed.seen()?;
            ensure!(seen.violations >= before + least, "{seen}");
            Ok(())
        })?;
    }
    let before = bed.seen()?.violations;
    // QUIC's port lets anything through that looks like nothing: only the marker betrays a payload there.
    one.run(&[&probe, "steady", &format!("{}:7373", two.address()), "3", "1000"])?;
    eventually("the marker to be seen", Duration::from_secs(5), || {
        let seen = bed.seen()?;
        ensure!(seen.violations > before, "{seen}");
        Ok(())
    })?;
    drop(bed);
    ensure!(verdict().is_err());
    Ok(())
}
