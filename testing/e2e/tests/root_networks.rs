//! Networks appear, disappear, are put back and are kept apart.

use std::time::Duration;

use anyhow::{Result, ensure};
use shoal_e2e::{Fabric, Features, scenarios};
use shoal_netbed::{Host, eventually};

scenarios! {
    a_network_appears_on_every_host_with_its_name_labels_and_gateway,
    networks_are_isolated_from_each_other_also_with_one_subnet,
    a_network_is_deleted_everywhere_once_no_container_uses_it,
    a_host_that_was_down_catches_up,
    pruning_on_one_host_leaves_the_network_in_use_on_another,
    a_stopped_container_is_told_about_after_its_network_was_removed_and_put_back,
    one_compose_file_runs_on_two_hosts,
}

fn inspect(host: &Host, network: &str, field: &str) -> Result<String> {
    host.run(&["docker", "network", "inspect", "-f", field, network])?.ok()
}

fn a_network_appears_on_every_host_with_its_name_labels_and_gateway(features: Features) -> Result<()> {
    let fabric = Fabric::new(3, features)?;
    fabric.network("shop", "--label team=blue --label tier=front")?;
    fabric.host(2).docker("network create -d shoal --ipam-driver shoal --label by=docker bank")?;
    fabric.appears("bank")?;
    for (network, labels) in [("shop", "map[team:blue tier:front]"), ("bank", "map[by:docker]")] {
        for field in ["{{json .IPAM.Config}}", "{{.Driver}} {{.IPAM.Driver}} {{.Scope}}"] {
            let first = inspect(fabric.host(1), network, field)?;
            for host in fabric.bed().hosts() {
                ensure!(inspect(host, network, field)? == first, "{} differs in {field}", host.name());
            }
        }
        for host in fabric.bed().hosts() {
            let has = inspect(host, network, "{{.Labels}}")?;
            ensure!(has == labels, "{} has labels {has} on {network}", host.name());
        }
    }
    let again = fabric.host(3).try_docker("network create -d shoal --ipam-driver shoal shop")?.refused()?;
    ensure!(again.contains("shop"), "{again}");
    Ok(())
}

fn networks_are_isolated_from_each_other_also_with_one_subnet(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("red", "--subnet 10.80.0.0/24")?;
    fabric.network("blue", "--subnet 10.80.0.0/24")?;
    fabric.network("green", "--subnet 10.81.0.0/24")?;
    // One address in both networks, on different hosts.
    fabric.run(1, "red10", "red", "--ip 10.80.0.10")?;
    fabric.run(2, "blue10", "blue", "--ip 10.80.0.10")?;
    fabric.run(2, "red11", "red", "--ip 10.80.0.11")?;
    fabric.run(1, "blue12", "blue", "--ip 10.80.0.12")?;
    fabric.run(1, "green20", "green", "--ip 10.81.0.20")?;
    fabric.host(1).ping("red10", "10.80.0.11")?;
    fabric.host(2).ping("blue10", "10.80.0.12")?;
    fabric.host(2).ping("red11", "10.80.0.10")?;
    fabric.host(1).ping("blue12", "10.80.0.10")?;
    fabric.host(1).ping_fails("red10", "10.80.0.12")?;
    fabric.host(2).ping_fails("blue10", "10.80.0.11")?;
    fabric.not_reached_outside(1, "red10", "10.81.0.20")?;
    fabric.not_reached_outside(1, "green20", "10.80.0.10")
}

fn a_network_is_deleted_everywhere_once_no_container_uses_it(features: Features) -> Result<()> {
    let fabric = Fabric::new(3, features)?;
    fabric.network("shop", "")?;
    fabric.run(2, "till", "shop", "")?;
    let told = fabric.host(1).try_shoal("network delete shop")?.refused()?;
    ensure!(told.contains("till") && told.contains("h2"), "the user and its host must be named: {told}");
    fabric.host(2).docker("stop till")?;
    eventually("a stopped container to be named too", Duration::from_secs(10), || {
        let told = fabric.host(1).try_shoal("network delete shop")?.refused()?;
        ensure!(told.contains("till") && told.contains("h2"), "{told}");
        Ok(())
    })?;
    fabric.host(2).docker("rm till")?;
    eventually("the deletion to be allowed", Duration::from_secs(20), || {
        fabric.host(1).shoal("network delete shop")
    })?;
    fabric.disappears("shop")?;
    let networks = fabric.host(3).shoal_json("network list")?;
    ensure!(networks.as_array().is_some_and(Vec::is_empty), "{networks}");
    // The name is free again.
    fabric.network("shop", "")
}

fn a_host_that_was_down_catches_up(features: Features) -> Result<()> {
    let fabric = Fabric::new(3, features)?;
    fabric.network("old", "")?;
    let late = fabric.host(3);
    late.stop_dockerd()?;
    late.kill_agent()?;
    fabric.host(1).shoal("network create new --label made=meanwhile")?;
    fabric.host(1).shoal("network delete old")?;
    fabric.appears_on(fabric.host(2), "new")?;
    fabric.start_agent(late)?;
    late.start_dockerd()?;
    fabric.appears_on(late, "new")?;
    fabric.disappears_on(late, "old")?;
    ensure!(inspect(late, "new", "{{.Labels}}")? == "map[made:meanwhile]");
    fabric.run(1, "here", "new", "")?;
    fabric.run(3, "late", "new", "")?;
    fabric.host(1).ping("here", &fabric.v4(3, "late", "new")?)
}

fn pruning_on_one_host_leaves_the_network_in_use_on_another(features: Features) -> Result<()> {
    let fabric = Fabric::new(3, features)?;
    fabric.network("shop", "")?;
    fabric.run(1, "here", "shop", "")?;
    fabric.run(2, "there", "shop", "")?;
    let there = fabric.v4(2, "there", "shop")?;
    let pruned = fabric.host(3).docker("network prune -f")?;
    ensure!(pruned.contains("shop"), "{pruned}");
    fabric.host(1).ping("here", &there)?;
    fabric.host(3).shoal("network create shop")?;
    fabric.appears_on(fabric.host(3), "shop")?;
    fabric.run(3, "back", "shop", "")?;
    fabric.host(3).ping("back", &there)?;
    // Hosts that use it keep it when they prune.
    fabric.host(1).docker("network prune -f")?;
    fabric.appears("shop")
}

/// Docker keeps the old network's id in the container and does not start it; what matters is that nobody is left in
/// the dark and that a new container of that name works.
fn a_stopped_container_is_told_about_after_its_network_was_removed_and_put_back(
    features: Features,
) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("shop", "")?;
    fabric.run(1, "here", "shop", "")?;
    fabric.run(2, "till", "shop", "")?;
    let host = fabric.host(2);
    host.docker("stop till")?;
    host.docker("network rm shop")?;
    fabric.host(1).try_shoal("network delete shop")?.refused()?;
    host.shoal("network create shop")?;
    fabric.appears_on(host, "shop")?;
    if !host.try_docker("start till")?.success() {
        eventually("doctor to name the container", Duration::from_secs(20), || {
            let told = host.try_shoal("doctor")?.refused()?;
            ensure!(told.contains("till"), "{told}");
            Ok(())
        })?;
        host.docker("rm -f till")?;
        fabric.run(2, "till", "shop", "")?;
    }
    fabric.host(1).ping("here", &fabric.v4(2, "till", "shop")?)
}

const COMPOSE: &str = r#"
version: "3.5"
services:
  till:
    image: netbed/probe
    networks: [shop]
networks:
  shop:
    driver: shoal
    labels: {team: blue}
    ipam: {driver: shoal}
"#;

fn one_compose_file_runs_on_two_hosts(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    let up = |host: &Host| -> Result<String> {
        host.sh(&format!(
            "mkdir -p /run/netbed/market; cat > /run/netbed/market/docker-compose.yml <<'END'{COMPOSE}END"
        ))?;
        // Version 1 is a program of its own, version 2 a part of docker's.
        host.sh("cd /run/netbed/market; if command -v docker-compose >/dev/null; then docker-compose up -d 2>&1; else docker compose up -d 2>&1; fi")
    };
    up(fabric.host(1))?;
    fabric.appears("market_shop")?;
    up(fabric.host(2))?;
    fabric.appears("market_shop")?;
    let names = fabric.bed().on_each(|host| host.docker("ps --format {{.Names}}"))?;
    let address = fabric.v4(2, &names[1], "market_shop")?;
    fabric.host(1).ping(&names[0], &address)
}
