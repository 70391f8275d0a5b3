//! The bed itself, on Docker's own bridge networks. Needs root, dockerd and the tools named in `images.rs`.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use shoal_netbed::{
    Bed, BedName, Running, Tally, eventually_ok, leftovers, probe_image, remains_of, sweep, tools_image,
};

const MEBIBYTE: u64 = 1 << 20;

/// Runs a container that sleeps, with a port of its host published into it.
fn sleeper(host: &shoal_netbed::Host, name: &str, port: u16) -> Result<()> {
    host.docker(&format!("run -d --name {name} -p {port}:{port} -p {port}:{port}/udp netbed/probe")).map(drop)
}

#[test]
fn three_hosts_run_containers_that_reach_each_other_through_published_ports() -> Result<()> {
    let bed = Bed::new(3)?;
    let image = probe_image()?;
    bed.on_each(|host| image.load(host))?;
    bed.on_each(|host| sleeper(host, "box", 9000))?;
    for host in bed.hosts() {
        ensure!(host.docker("ps -q")?.lines().count() == 1, "each dockerd knows its own containers only");
        ensure!(host.sh("hostname")? == host.name());
    }
    let (giver, taker) = (bed.host(1), bed.host(2));
    let mut takes =
        taker.exec_spawn("box", &["netbed-probe", "take", "9000", &(64 * MEBIBYTE).to_string()])?;
    takes.prints("listening", Duration::from_secs(5))?;
    let target = format!("{}:9000", taker.address());
    giver.exec("box", &["netbed-probe", "give", &target, &(64 * MEBIBYTE).to_string()])?.ok()?;
    ensure!(takes.finish(Duration::from_secs(10))?.ok()?.contains("each as it was sent"));
    giver.ping("box", &bed.host(3).address())
}

#[test]
fn streams_between_containers_are_counted_without_loss() -> Result<()> {
    let bed = Bed::new(2)?;
    let image = probe_image()?;
    bed.on_each(|host| image.load(host))?;
    bed.on_each(|host| sleeper(host, "box", 9000))?;
    let mut echo = bed.host(2).exec_spawn("box", &["netbed-probe", "echo", "9000"])?;
    echo.prints("listening", Duration::from_secs(5))?;
    let target = format!("{}:9000", bed.host(2).address());
    let pings = bed.host(1).exec_spawn("box", &["ping", "-i0.01", "-c100", &bed.host(2).address()])?;
    let udp = bed.host(1).exec_spawn("box", &["netbed-probe", "steady", &target, "1000", "1000"])?;
    let tcp = bed.host(1).exec_spawn("box", &["netbed-probe", "hold", &target, "1000", "1000"])?;
    let finish = |running: Running| running.finish(Duration::from_secs(20));
    ensure!(Tally::of_ping(&finish(pings)?)? == Tally { sent: 100, received: 100 });
    ensure!(Tally::of_probe(&finish(udp)?)? == Tally { sent: 1000, received: 1000 });
    ensure!(Tally::of_probe(&finish(tcp)?)? == Tally { sent: 1000, received: 1000 });
    Ok(())
}

#[test]
fn a_host_that_is_cut_off_keeps_its_link_and_comes_back() -> Result<()> {
    let bed = Bed::builder(2)
        .outsiders(1)
        .mtu(9000)
        .route(1, "10.99.0.0/16 via 172.31.0.254")
        .without_dockerd()
        .build()?;
    let (one, two) = (bed.host(1), bed.host(2));
    let reaches =
        |target: &str| one.run(&["ping", "-c1", "-W1", target]).is_ok_and(|output| output.success());
    ensure!(reaches(&two.address()) && reaches(&two.address6()) && reaches(&bed.outsider(1).address()));
    one.run(&["ping", "-c1", "-W1", "-Mdo", "-s8972", &two.address()])?.ok()?;
    ensure!(one.sh("ip route get 10.99.1.1")?.contains("172.31.0.254"));
    bed.cut(two)?;
    ensure!(!reaches(&two.address()), "nothing passes a cut");
    ensure!(two.sh("cat /sys/class/net/eth0/carrier; ip link show eth0")?.contains("LOWER_UP"));
    bed.heal(two)?;
    eventually_ok("the healed host to answer", Duration::from_secs(5), || reaches(&two.address()))?;
    bed.unplug(two)?;
    ensure!(two.sh("ip link show eth0")?.contains("NO-CARRIER"));
    bed.plug(two)?;
    eventually_ok("the replugged host to answer", Duration::from_secs(5), || reaches(&two.address()))
}

#[test]
fn a_killed_dockerd_starts_again_with_its_containers() -> Result<()> {
    let bed = Bed::new(1)?;
    let host = bed.host(1);
    tools_image()?.load(host)?;
    host.docker("run -d --name box --restart always netbed/tools")?;
    host.kill_dockerd()?;
    ensure!(!host.try_docker("ps")?.success());
    host.start_dockerd()?;
    eventually_ok("the container to run again", Duration::from_secs(20), || {
        host.docker("ps --filter name=box --format {{.Names}}").is_ok_and(|names| names == "box")
    })
}

#[test]
fn a_host_that_loses_power_keeps_its_disk_and_nothing_else() -> Result<()> {
    let mut bed = Bed::builder(2).build()?;
    let host = bed.host(1);
    tools_image()?.load(host)?;
    host.docker("run -d --name box --restart always netbed/tools")?;
    host.sh("mkdir /sys/fs/bpf/pin; touch /run/mark; echo kept > /var/lib/shoal/mark; ip link add lost type bridge")?;
    let mut beside = bed.host(2).spawn(&["ping", "-i0.05", &bed.host(1).address()])?;
    beside.prints("bytes from", Duration::from_secs(5))?;
    bed.reboot(1)?;
    let host = bed.host(1);
    ensure!(host.sh("cat /var/lib/shoal/mark; hostname")? == "kept\nh1");
    let left = host.sh("ls -d /run/mark /run/docker* /sys/fs/bpf/pin 2>/dev/null || true; ip -o link show | grep -v -e lo: -e eth0@ || true")?;
    ensure!(left.is_empty(), "{left}");
    host.run(&["ping", "-c1", "-W2", &bed.host(2).address()])?.ok()?;
    host.start_dockerd()?;
    eventually_ok("the container to run again", Duration::from_secs(20), || {
        host.docker("ps --filter name=box --format {{.Names}}").is_ok_and(|names| names == "box")
    })?;
    ensure!(
        Tally::of_ping(&beside.interrupt(Duration::from_secs(5))?)?.lost() > 0,
        "its power was never off"
    );
    Ok(())
}

#[test]
fn a_bed_leaves_nothing_behind_even_if_its_test_panics() -> Result<()> {
    let name = std::sync::Mutex::new(None);
    let panicked = std::panic::catch_unwind(|| {
        let bed = Bed::new(1).unwrap();
        *name.lock().unwrap() = Some(bed.name().clone());
        tools_image().unwrap().load(bed.host(1)).unwrap();
        bed.host(1).docker("run -d netbed/tools").unwrap();
        panic!("on purpose");
    });
    ensure!(panicked.is_err());
    let name = name.into_inner()?.context("the bed came up")?;
    let left = remains_of(&name);
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

#[test]
fn what_a_killed_owner_leaves_is_swept_and_a_living_bed_is_not_touched() -> Result<()> {
    let living = Bed::builder(1).without_dockerd().build()?;
    let mut owner = Command::new(env!("CARGO_BIN_EXE_netbed"));
    owner.args(["hold", "1"]);
    let mut owner = Running::start(owner, "netbed hold 1")?;
    owner.prints("shoalbed-", Duration::from_secs(30))?;
    let dead = BedName::read(&owner.printed()).context("a bed's name")?;
    drop(owner);
    ensure!(remains_of(&dead).iter().any(|line| line.contains("dockerd")), "{:?}", remains_of(&dead));
    ensure!(leftovers().iter().any(|line| line.contains(dead.as_str())));
    sweep()?;
    ensure!(remains_of(&dead).is_empty(), "{:?}", remains_of(&dead));
    ensure!(living.host(1).sh("hostname")? == "h1", "the living bed was touched");
    Ok(())
}
