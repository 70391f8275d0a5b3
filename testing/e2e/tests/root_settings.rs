//! Every place and port that can be set is set, each to something else than usual.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use shoal_e2e::{Features, scenarios};
use shoal_netbed::{Allow, Bed, Host, Image, eventually, probe_image};

scenarios! {
    a_fabric_whose_places_and_ports_are_all_unusual_works,
}

/// Settings that say where something is. Docker looks for plugins in a folder of their name, too.
const UNUSUAL: [(&str, &str); 9] = [
    ("state_dir", "/run/elsewhere/state"),
    ("pin_dir", "/sys/fs/bpf/elsewhere"),
    ("socket", SOCKET),
    ("plugin_socket", "/run/docker/plugins/shoal/shoal.sock"),
    ("docker_socket", DOCKER_SOCKET),
    ("quic_port", "17373"),
    ("wireguard_port", "17375"),
    ("relay_port", "17377"),
    ("vxlan_port", "17374"),
];
const SOCKET: &str = "/run/elsewhere/agent.sock";
const DOCKER_SOCKET: &str = "/run/elsewhere/docker.sock";

/// The three ways to set something.
const WAYS: [&str; 3] = ["flag", "environment", "file"];

/// Over three hosts each setting is set in each of the three ways.
fn a_fabric_whose_places_and_ports_are_all_unusual_works(features: Features) -> Result<()> {
    let bed = Bed::builder(3).watched().build()?;
    for allow in [Allow::Quic(17373), Allow::WireGuard(17375), Allow::WireGuard(17376)] {
        bed.allow(allow);
    }
    let image = probe_image()?;
    bed.on_each(|host| furnish(host, &image, features))?;
    for host in bed.hosts() {
        every_setting_came_its_way(host)?;
    }
    the_command_line_finds_the_agent(&bed)?;
    shoal(bed.host(1), "init")?;
    let token = shoal(bed.host(1), "token")?.lines().last().context("no token was printed")?.to_owned();
    for host in &bed.hosts()[1..] {
        shoal(host, &format!("join {}:17373 {token}", bed.host(1).address()))?;
    }
    shoal(bed.host(1), "network create shop")?;
    bed.on_each(|host| run_container(host, &image))?;
    for (from, to) in [(1, 2), (2, 3), (3, 1)] {
        ping(bed.host(from), bed.host(to))?;
    }
    bed.on_each(nothing_is_at_the_usual_places).map(drop)
}

/// How host number `host` (`h1` and so on) is told setting number `at`.
fn way(host: &Host, at: usize) -> &'static str {
    let number: usize = host.name().trim_start_matches('h').parse().unwrap_or_default();
    WAYS[(number + at) % WAYS.len()]
}

fn furnish(host: &Host, image: &Image, features: Features) -> Result<()> {
    image.load(host)?;
    // dockerd goes on to listen on a socket that is moved.
    host.sh(&format!("mkdir /run/elsewhere; mv /run/docker.sock {DOCKER_SOCKET}"))?;
    let (mut flags, mut environment) = (Vec::new(), features.environment().to_vec());
    let variables = UNUSUAL.map(|(key, _)| format!("SHOAL_{}", key.to_uppercase()));
    for (at, (key, value)) in UNUSUAL.into_iter().enumerate() {
        match way(host, at) {
            "flag" => flags.push(format!("--{}={value}", key.replace('_', "-"))),
            "environment" => environment.push((variables[at].as_str(), value)),
            _ => {
                let line = if key.ends_with("port") { value.to_owned() } else { format!("\"{value}\"") };
                host.sh(&format!("echo '{key} = {line}' >> /etc/shoal/config.toml")).map(drop)?;
            }
        }
    }
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    host.start_agent_at(SOCKET, &flags, &environment)
}

fn every_setting_came_its_way(host: &Host) -> Result<()> {
    let status: Value = serde_json::from_str(&shoal(host, "status -o json")?)?;
    let settings = status["settings"].as_array().context("status shows no settings")?;
    for (at, (key, value)) in UNUSUAL.into_iter().enumerate() {
        let shown = settings.iter().find(|setting| setting["key"] == key);
        let shown = shown.with_context(|| format!("{key} is not shown"))?;
        ensure!(shown["value"] == value && shown["source"]["from"] == way(host, at), "{shown}");
    }
    Ok(())
}

/// By flag and by variable everywhere, by the file where it says so; else the command says where it looked.
fn the_command_line_finds_the_agent(bed: &Bed) -> Result<()> {
    for host in bed.hosts() {
        let by_variable = format!("SHOAL_SOCKET={SOCKET} \"$1\" status");
        host.run(&["sh", "-ec", &by_variable, "sh", binary(host)?.trim()])?.ok()?;
        let plain = host.try_shoal("status")?;
        match way(host, 2) {
            "file" => drop(plain.ok()?),
            _ => {
                let told = plain.refused()?;
                ensure!(told.contains("/run/shoal/agent.sock"), "{told}");
            }
        }
    }
    Ok(())
}

/// The agent's own program.
fn binary(host: &Host) -> Result<String> {
    let pid = host.agent_pid().context("the agent does not run")?;
    host.sh(&format!("readlink /proc/{pid}/exe"))
}

fn run_container(host: &Host, image: &Image) -> Result<()> {
    eventually(&format!("the network on {}", host.name()), std::time::Duration::from_secs(20), || {
        docker(host, "network inspect shop")
    })?;
    docker(host, &format!("run -d --name box --network shop {}", image.name())).map(drop)
}

fn ping(from: &Host, to: &Host) -> Result<()> {
    let format = "{{.NetworkSettings.Networks.shop.IPAddress}}";
    let address = docker(to, &format!("inspect -f {format} box"))?;
    eventually(&format!("{} to reach {}", from.name(), to.name()), std::time::Duration::from_secs(10), || {
        docker(from, &format!("exec box ping -c1 -W1 {address}"))
    })
    .map(drop)
}

fn nothing_is_at_the_usual_places(host: &Host) -> Result<()> {
    host.sh("test -z \"$(ls -A /var/lib/shoal)\"\n\
         test ! -e /sys/fs/bpf/shoal -a ! -e /run/shoal\n\
         test ! -e /run/docker/plugins/shoal.sock -a ! -e /run/docker.sock\n\
         test -n \"$(ls -A /run/elsewhere/state)\" -a -n \"$(ls -A /sys/fs/bpf/elsewhere)\"")?;
    let listening = host.sh("ss -Hlun | awk '{print $4}' | sed 's/.*://' | sort -u")?;
    let has = |port: &str| listening.lines().any(|line| line == port);
    ensure!(has("17373") && has("17375") && has("17377"), "{listening}");
    // No network is in clear, so nobody listens for one.
    ensure!(!["7373", "7374", "7375", "7377", "17374"].into_iter().any(has), "{listening}");
    Ok(())
}

fn shoal(host: &Host, arguments: &str) -> Result<String> {
    host.shoal(&format!("--socket {SOCKET} {arguments}"))
}

fn docker(host: &Host, arguments: &str) -> Result<String> {
    host.docker(&format!("-H unix://{DOCKER_SOCKET} {arguments}"))
}
