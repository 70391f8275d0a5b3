//! What stands in the way is named: the port and the host.

use std::time::Duration;

use anyhow::{Result, ensure};
use shoal_e2e::{Fabric, Features, scenarios};
use shoal_netbed::{Bed, Host, eventually};

scenarios! {
    doctor_finds_nothing_on_a_sound_fabric,
    a_port_that_does_not_answer_is_named_with_its_host,
    a_tunnel_s_port_that_is_refused_is_told_apart_from_one_that_is_silent,
    handshakes_with_a_key_that_no_host_tells_are_counted_on_both,
    a_link_in_the_middle_that_carries_less_is_told_with_the_size_that_passes,
    what_somebody_took_from_the_kernel_is_explained_or_mended,
    an_endpoint_on_which_docker_and_shoal_differ_is_explained_and_the_advice_mends_it,
}

fn doctor_finds_nothing_on_a_sound_fabric(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("shop", "")?;
    fabric.run(1, "here", "shop", "")?;
    fabric.run(2, "there", "shop", "")?;
    fabric.host(1).ping("here", &fabric.v4(2, "there", "shop")?)?;
    fabric.sound()?;
    let status = fabric.host(1).shoal("status")?;
    ensure!(!status.contains("not encrypted"), "no network is in clear:\n{status}");
    Ok(())
}

fn a_port_that_does_not_answer_is_named_with_its_host(features: Features) -> Result<()> {
    let fabric = Fabric::unjoined(Bed::builder(3), features)?;
    fabric.host(1).shoal("init")?;
    let token = fabric.token("")?;
    let member = fabric.host(1).address();
    fabric.host(1).sh("iptables -I INPUT -p udp --dport 7373 -j DROP")?;
    let told = fabric.host(2).try_shoal(&format!("join {member} {token}"))?.refused()?;
    ensure!(told.contains("7373") && told.contains(&member), "{told}");
    fabric.host(1).sh("iptables -D INPUT -p udp --dport 7373 -j DROP")?;
    fabric.host(2).shoal(&format!("join {member} {token}"))?;
    fabric.settle_among(2)?;
    fabric.host(2).sh("iptables -I INPUT -p udp --dport 7375 -j DROP")?;
    eventually("doctor to name the tunnel's port", Duration::from_secs(60), || {
        let told = fabric.host(1).try_shoal("doctor")?.refused()?;
        ensure!(told.contains("7375") && told.contains("h2"), "{told}");
        Ok(())
    })
}

/// Nothing leaves the tunnel's port either, or the handshakes that come from it would be heard.
fn a_tunnel_s_port_that_is_refused_is_told_apart_from_one_that_is_silent(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.sound()?;
    let rule = |rule: &str| fabric.host(2).sh(&format!("iptables -I {rule} && ip6tables -I {rule}"));
    rule("OUTPUT -p udp --sport 7375 -j DROP")?;
    rule("INPUT -p udp --dport 7375 -j DROP")?;
    doctor_tells(fabric.host(1), "The agent of host h2 answers, and its tunnel's UDP port 7375 is silent.")?;
    rule("INPUT -p udp --dport 7375 -j REJECT")?;
    doctor_tells(fabric.host(1), "UDP port 7375 of host h2 is refused")
}

/// While a host's agent is off, somebody gives its engine another key: it shakes hands as nobody whom the other knows,
/// and is sent handshakes made for the key that it told. An agent that runs would mend that within seconds.
fn handshakes_with_a_key_that_no_host_tells_are_counted_on_both(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.sound()?;
    let (one, two) = (fabric.host(1), fabric.host(2));
    two.kill_agent()?;
    let key = format!("set=1\nprivate_key={}\n\n", "48".repeat(32));
    let answer = two.ask_socket("/run/shoal/shoal0.sock", &key)?;
    ensure!(answer.contains("errno=0"), "{answer}");
    counts(one, "encryption: handshake_refused")?;
    eventually("the engine to count handshakes for its old key", Duration::from_secs(60), || {
        let answer = two.ask_socket("/run/shoal/shoal0.sock", "shoal_counters=1\n\n")?;
        ensure!(!answer.contains("drop_handshake_mac=0\n"), "{answer}");
        Ok(())
    })?;
    fabric.start_agent(two)?;
    counts(two, "encryption: handshake_mac")?;
    fabric.settle(2)?;
    fabric.sound()
}

/// Waits until a host's status shows a loss of a kind.
fn counts(host: &Host, loss: &str) -> Result<()> {
    eventually(&format!("{} to count: {loss}", host.name()), Duration::from_secs(60), || {
        let losses = host.shoal_json("status")?["losses"].clone();
        ensure!(losses[loss].as_u64().is_some_and(|count| count > 0), "{losses}");
        Ok(())
    })
}

/// Waits until a host's doctor tells something.
fn doctor_tells(host: &Host, finding: &str) -> Result<()> {
    eventually(&format!("doctor to tell on {}: {finding}", host.name()), Duration::from_secs(120), || {
        let told = host.try_shoal("doctor")?.refused()?;
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(told.contains(finding), "{told}");
        Ok(())
    })
}

/// Both hosts' own links carry 1500 bytes, the switch's port between them less: larger packets are lost in silence.
fn a_link_in_the_middle_that_carries_less_is_told_with_the_size_that_passes(
    features: Features,
) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.sound()?;
    fabric.bed().switch("ip link set p2 mtu 1400")?;
    for (host, other) in [(1, "h2"), (2, "h1")] {
        let full =
            format!("Packets of 1370 bytes do not pass through the tunnel to host {other}, only of up to ");
        eventually("doctor to tell the size that passes", Duration::from_secs(60), || {
            let told = fabric.host(host).try_shoal("doctor")?.refused()?;
            let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
            let size = told.split_once(&full).and_then(|(_, rest)| rest.split_once('.')?.0.parse().ok());
            ensure!(size.is_some_and(|size: u16| (1250..1300).contains(&size)), "{told}");
            ensure!(told.contains("raise its MTU to 1500"), "{told}");
            Ok(())
        })?;
    }
    let hosts = fabric.host(1).shoal_json("hosts")?;
    ensure!(!hosts.to_string().contains("unreachable"), "small packets pass: {hosts}");
    Ok(())
}

/// Somebody takes the program off a container's link: no packet passes in error, and the agent puts it back.
fn what_somebody_took_from_the_kernel_is_explained_or_mended(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("shop", "")?;
    fabric.run(1, "here", "shop", "")?;
    fabric.run(2, "there", "shop", "")?;
    let address = fabric.v4(2, "there", "shop")?;
    fabric.host(1).ping("here", &address)?;
    fabric.host(1).sh(
        "for link in $(ip -o link show | sed -n 's/^[0-9]*: \\(sh-[^:@]*\\).*/\\1/p'); do tc qdisc del dev $link clsact; done",
    )?;
    eventually("the agent to mend it", Duration::from_secs(90), || {
        fabric.host(1).exec("here", &["ping", "-c1", "-W1", &address])?.ok()
    })
    .map(drop)
}

/// The plugin is told, as if by dockerd, that a container's endpoint is gone, and of one that dockerd never made.
fn an_endpoint_on_which_docker_and_shoal_differ_is_explained_and_the_advice_mends_it(
    features: Features,
) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("shop", "")?;
    fabric.run(1, "here", "shop", "")?;
    fabric.run(2, "there", "shop", "")?;
    let (host, address) = (fabric.host(1), fabric.v4(2, "there", "shop")?);
    host.ping("here", &address)?;
    let network = host.docker("network inspect -f {{.Id}} shop")?;
    let endpoint = host.docker("inspect -f {{.NetworkSettings.Networks.shop.EndpointID}} here")?;
    for verb in ["Leave", "DeleteEndpoint"] {
        plugin(host, verb, &format!("{{\"NetworkID\":\"{network}\",\"EndpointID\":\"{endpoint}\"}}"))?;
    }
    let stray = "5a".repeat(32);
    plugin(
        host,
        "CreateEndpoint",
        &format!(
            "{{\"NetworkID\":\"{network}\",\"EndpointID\":\"{stray}\",\"Interface\":{{}},\"Options\":{{}}}}"
        ),
    )?;
    let advice = "docker network disconnect -f shop here && docker network connect shop here";
    eventually("doctor to tell both", Duration::from_secs(40), || {
        let told = host.try_shoal("doctor")?.refused()?;
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(
            told.contains("Docker has container here on network shop") && told.contains(advice),
            "{told}"
        );
        ensure!(told.contains(&format!("Shoal has endpoint {}", &stray[..12])), "{told}");
        Ok(())
    })?;
    host.sh(advice)?;
    host.ping("here", &address)?;
    eventually("doctor to be content with the container", Duration::from_secs(40), || {
        let told = host.try_shoal("doctor")?;
        ensure!(!told.stdout.contains("container here"), "{told}");
        Ok(())
    })
}

fn plugin(host: &Host, verb: &str, body: &str) -> Result<()> {
    let url = format!("http://plugin/NetworkDriver.{verb}");
    let words = ["curl", "-sS", "--unix-socket", "/run/docker/plugins/shoal.sock", "-d", body, &url];
    let answer = host.run(&words)?.ok()?;
    ensure!(!answer.contains("Err"), "{verb}: {answer}");
    Ok(())
}
