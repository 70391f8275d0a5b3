//! Somebody else changes the kernel: it is noticed, told, counted and mended, and meanwhile a container's packets go
//! nowhere but where they should.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use shoal_e2e::{Fabric, Features, scenarios};
use shoal_netbed::{Host, eventually};

scenarios! {
    what_somebody_changes_in_the_kernel_is_noticed_told_counted_and_mended,
    what_a_container_sends_another_goes_nowhere_while_its_program_is_gone,
    a_container_s_deleted_link_is_told_with_what_mends_it,
    routes_and_rules_that_others_flush_are_nothing_to_containers,
}

/// The audit comes every five seconds. What is left is for a machine that does much else.
const MENDED: Duration = Duration::from_secs(20);

/// Deletes the first entry of a pinned map.
const DELETE_FIRST: &str = "pin=/sys/fs/bpf/shoal/maps/MAP
    key=$(bpftool map getnext pinned $pin | sed '1,/next key/d' | tr -s '\\n' ' ')
    bpftool map delete pinned $pin key hex $key";

/// The host's end of its only container's link.
fn link(host: &Host) -> Result<String> {
    let text = host.sh("ip -o link show | sed -n 's/^[0-9]*: \\(sh-[0-9a-f]\\{12\\}\\).*/\\1/p'")?;
    ensure!(text.lines().count() == 1, "{} has several links: {text}", host.name());
    Ok(text.trim().to_owned())
}

fn mended(host: &Host) -> Result<u64> {
    let losses = host.shoal_json("status")?["losses"].clone();
    losses["kernel differences mended"].as_u64().with_context(|| format!("not counted: {losses}"))
}

fn what_somebody_changes_in_the_kernel_is_noticed_told_counted_and_mended(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("shop", "")?;
    fabric.run(1, "here", "shop", "")?;
    fabric.run(2, "there", "shop", "")?;
    let (host, there) = (fabric.host(1), fabric.v4(2, "there", "shop")?);
    host.ping("here", &there)?;
    fabric.sound()?;
    let link = link(host)?;
    let hook = format!("tc filter replace dev {link} ingress pref 1 handle 1");
    let delete = |map: &str| DELETE_FIRST.replace("MAP", map);
    let damages = [
        (format!("tc filter del dev {link} ingress"), "has no program"),
        (format!("tc qdisc del dev {link} clsact"), "has no program"),
        (
            format!("{hook} bpf direct-action pinned /sys/fs/bpf/shoal/programs/*/from_clear"),
            "has another program",
        ),
        (format!("ip link set {link} down"), "is down"),
        (format!("ip link set {link} mtu 1000"), "MTU is 1000 instead of"),
        (delete("links"), "has no settings"),
        (delete("link_counters"), "has no counters"),
        (delete("endpoints"), "+ endpoint"),
        (delete("peers_2"), "+ peer"),
        ("tc qdisc del dev shoal0 clsact".to_owned(), "has no program"),
        ("ip link delete shoal0".to_owned(), "+ tunnel shoal0"),
        ("ip link set shoal0 down".to_owned(), "is down"),
        ("ip link set shoal0 address 02:00:00:00:00:09".to_owned(), "hardware address is"),
    ];
    for (damage, told) in damages {
        is_mended(&fabric, &damage, told).with_context(|| format!("after {damage}"))?;
        fabric.reached((1, "here"), &there, MENDED).with_context(|| format!("after {damage}"))?;
    }
    fabric.sound()
}

/// Does damage on the first host; waits until it is mended, and looks for a word of it in the log and with doctor.
fn is_mended(fabric: &Fabric, damage: &str, told: &str) -> Result<()> {
    let host = fabric.host(1);
    let before = mended(host)?;
    let log = host.folder().join("agent.log");
    let known = std::fs::read_to_string(&log)?.len();
    host.sh(damage)?;
    eventually("the difference to be counted", MENDED, || {
        ensure!(mended(host)? > before, "{before} differences still");
        Ok(())
    })?;
    let lines = std::fs::read_to_string(&log)?[known..].to_owned();
    ensure!(
        lines.contains("differs from the plan") && lines.contains(told),
        "no \"{told}\" in the log: {lines}"
    );
    eventually("doctor to be content and tell what was mended", MENDED, || {
        let doctor = host.shoal("doctor")?.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(doctor.contains("Differences mended since the agent started"), "{doctor}");
        Ok(())
    })
    .map(drop)
}

/// Nobody is there to mend it. Groups and everybody are left out: their frames are for any device that hears them.
fn what_a_container_sends_another_goes_nowhere_while_its_program_is_gone(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("shop", "--subnet 10.96.0.0/24 --ipv6 --subnet fd96::/64")?;
    fabric.run(1, "here", "shop", "--ip 10.96.0.10 --ip6 fd96::10")?;
    fabric.run(2, "there", "shop", "--ip 10.96.0.20 --ip6 fd96::20")?;
    let host = fabric.host(1);
    host.ping("here", "10.96.0.20")?;
    host.ping("here", "fd96::20")?;
    let link = link(host)?;
    host.kill_agent()?;
    host.sh(&format!(
        "for tables in iptables ip6tables; do for chain in INPUT FORWARD; do $tables -I $chain -i {link}; done; done
         tc qdisc del dev {link} clsact"
    ))?;
    for target in ["10.96.0.20", "fd96::20", "10.96.0.1"] {
        host.exec("here", &["ping", "-c3", "-i0.2", "-W1", target])?.refused()?;
    }
    let counted = host.sh("iptables -nvxL; ip6tables -nvxL")?;
    let reached = counted.lines().filter(|line| line.split_whitespace().any(|word| word == link));
    let reached: Vec<_> = reached.filter(|line| !line.trim_start().starts_with("0 ")).collect();
    ensure!(reached.is_empty(), "the host's stack was reached:\n{}", reached.join("\n"));
    fabric.start_agent(host)?;
    fabric.reached((1, "here"), "10.96.0.20", MENDED).map(drop)
}

/// The container's end goes with the host's. What is in a container is Docker's to mend.
fn a_container_s_deleted_link_is_told_with_what_mends_it(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("shop", "")?;
    fabric.run(1, "here", "shop", "")?;
    fabric.run(2, "there", "shop", "")?;
    let (host, there) = (fabric.host(1), fabric.v4(2, "there", "shop")?);
    host.ping("here", &there)?;
    host.sh(&format!("ip link delete {}", link(host)?))?;
    let advice = "docker network disconnect -f shop here && docker network connect shop here";
    eventually("doctor to tell of the link", MENDED, || {
        let told = host.try_shoal("doctor")?.refused()?;
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(told.contains("The link of container here on network shop was deleted"), "{told}");
        ensure!(told.contains(advice), "{told}");
        Ok(())
    })?;
    host.sh(advice)?;
    fabric.reached((1, "here"), &there, MENDED)?;
    fabric.sound()
}

/// What `nft flush ruleset`, a reload of firewalld and a restart of systemd-networkd do. Docker's own rules go with
/// them, and with those the way to the Internet; nothing of Shoal's lies there.
fn routes_and_rules_that_others_flush_are_nothing_to_containers(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("shop", "")?;
    fabric.run(1, "here", "shop", "")?;
    fabric.run(2, "there", "shop", "")?;
    let (host, there) = (fabric.host(1), fabric.v4(2, "there", "shop")?);
    host.ping("here", &there)?;
    let load = host.exec_spawn("here", &["ping", "-q", "-i0.02", "-c500", "-W2", &there])?;
    fabric.bed().on_each(|host| {
        host.sh("for tables in iptables ip6tables; do for table in raw mangle nat filter; do $tables -t $table -F; done; done")?;
        host.sh("iptables -P FORWARD DROP; ip6tables -P FORWARD DROP")?;
        host.sh("ip rule flush; ip rule add from all lookup local pref 0; ip rule add from all lookup main pref 32766")
    })?;
    let tally = shoal_netbed::Tally::of_ping(&load.finish(Duration::from_secs(60))?)?;
    ensure!(tally.lost() == 0, "{tally:?}");
    Ok(())
}
