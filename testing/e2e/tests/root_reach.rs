//! Containers reach each other: both families, one host and several, small and large.

use std::time::Duration;

use anyhow::{Result, ensure};
use shoal_e2e::{Fabric, Features, MEBIBYTE, scenarios};
use shoal_netbed::eventually;

scenarios! {
    containers_reach_each_other_on_one_host_and_across_hosts_in_both_families,
    a_gibibyte_arrives_as_it_was_sent,
    sixty_containers_over_three_hosts_all_reach_each_other,
    a_packet_that_fills_the_container_s_mtu_passes_and_a_larger_one_is_told_so,
    a_path_with_a_smaller_mtu_is_found_and_its_size_told_to_senders,
    a_fabric_whose_hosts_speak_only_ipv6_underneath_carries_both_families,
}

fn containers_reach_each_other_on_one_host_and_across_hosts_in_both_families(
    features: Features,
) -> Result<()> {
    let fabric = Fabric::new(3, features)?;
    fabric.network("shop", "--ipv6")?;
    let containers = [(1, "here"), (1, "beside"), (2, "there"), (3, "yonder")];
    for (host, name) in containers {
        fabric.run(host, name, "shop", "")?;
    }
    for from in containers {
        for to in containers.into_iter().filter(|to| to.1 != from.1) {
            for address in [fabric.v4(to.0, to.1, "shop")?, fabric.v6(to.0, to.1, "shop")?] {
                fabric.host(from.0).ping(from.1, &address)?;
            }
        }
    }
    for (from, to) in [((1, "here"), (1, "beside")), ((1, "here"), (2, "there")), ((2, "there"), (1, "here"))]
    {
        for address in [fabric.v4(to.0, to.1, "shop")?, fabric.v6(to.0, to.1, "shop")?] {
            fabric.transfer(from, to, &address, MEBIBYTE)?;
        }
    }
    Ok(())
}

fn a_gibibyte_arrives_as_it_was_sent(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("shop", "")?;
    fabric.run(1, "here", "shop", "")?;
    fabric.run(2, "there", "shop", "")?;
    let address = fabric.v4(2, "there", "shop")?;
    fabric.transfer((1, "here"), (2, "there"), &address, 1024 * MEBIBYTE)
}

fn sixty_containers_over_three_hosts_all_reach_each_other(features: Features) -> Result<()> {
    let fabric = Fabric::new(3, features)?;
    fabric.network("shop", "")?;
    let names: Vec<_> = (1..=20).map(|number| format!("box{number}")).collect();
    let lists = fabric.bed().on_each(|host| {
        let number: usize = host.name()[1..].parse()?;
        names
            .iter()
            .map(|name| {
                fabric.run(number, name, "shop", "")?;
                fabric.v4(number, name, "shop")
            })
            .collect::<Result<Vec<_>>>()
    })?;
    let all = lists.concat().join(" ");
    let script = format!(
        "for a in {all}; do ping -q -c1 -W2 $a >/dev/null || ping -q -c2 -W2 $a >/dev/null || echo $a; done"
    );
    fabric.bed().on_each(|host| {
        for name in &names {
            let lost = host.exec_within(name, &["sh", "-c", &script], Duration::from_secs(120))?.ok()?;
            ensure!(lost.is_empty(), "{name} on {} does not reach {lost}", host.name());
        }
        Ok(())
    })?;
    Ok(())
}

/// 28 bytes are the headers of IPv4 and ICMP.
fn a_packet_that_fills_the_container_s_mtu_passes_and_a_larger_one_is_told_so(
    features: Features,
) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("shop", "")?;
    fabric.run(1, "here", "shop", "")?;
    fabric.run(2, "there", "shop", "")?;
    let address = fabric.v4(2, "there", "shop")?;
    let host = fabric.host(1);
    ensure!(host.exec("here", &["cat", "/sys/class/net/eth0/mtu"])?.ok()? == "1370");
    host.ping("here", &address)?;
    host.exec("here", &["ping", "-c3", "-i0.2", "-W1", "-Mdo", "-s1342", &address])?.ok()?;
    host.exec("here", &["ping", "-c1", "-W1", "-Mdo", "-s1343", &address])?.refused()?;
    Ok(())
}

fn a_path_with_a_smaller_mtu_is_found_and_its_size_told_to_senders(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("shop", "")?;
    fabric.run(1, "here", "shop", "")?;
    fabric.run(2, "there", "shop", "")?;
    let address = fabric.v4(2, "there", "shop")?;
    fabric.host(1).ping("here", &address)?;
    // A switch that silently loses what is larger than 1300 bytes, as a tunnel underneath does.
    fabric.host(2).sh("ip link set eth0 mtu 1300")?;
    fabric.bed().switch("ip link set p2 mtu 1300")?;
    eventually("the smaller path to be told to the container", Duration::from_secs(60), || {
        let output =
            fabric.host(1).exec("here", &["ping", "-c2", "-i0.2", "-W1", "-Mdo", "-s1342", &address])?;
        let told = format!("{}{}", output.stdout, output.stderr).to_lowercase();
        ensure!(told.contains("frag needed") || told.contains("message too long"), "{output}");
        Ok(())
    })?;
    fabric.transfer((1, "here"), (2, "there"), &address, 8 * MEBIBYTE)
}

fn a_fabric_whose_hosts_speak_only_ipv6_underneath_carries_both_families(features: Features) -> Result<()> {
    let fabric = Fabric::unjoined(shoal_netbed::Bed::builder(2), features)?;
    for host in fabric.bed().hosts() {
        host.sh("ip address flush dev eth0 scope global")?;
        host.sh(&format!("ip address add {}/64 dev eth0 nodad", host.address6()))?;
    }
    fabric.host(1).shoal("init")?;
    let token = fabric.token("")?;
    fabric.host(2).shoal(&format!("join {} {token}", fabric.host(1).address6()))?;
    fabric.settle(2)?;
    fabric.network("shop", "--ipv6")?;
    fabric.run(1, "here", "shop", "")?;
    fabric.run(2, "there", "shop", "")?;
    for address in [fabric.v4(2, "there", "shop")?, fabric.v6(2, "there", "shop")?] {
        fabric.host(1).ping("here", &address)?;
        fabric.transfer((1, "here"), (2, "there"), &address, 8 * MEBIBYTE)?;
    }
    Ok(())
}
