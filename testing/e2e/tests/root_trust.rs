//! Nothing forged gets in, and everything refused is counted.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use shoal_e2e::{Fabric, Features, scenarios};
use shoal_netbed::{Allow, Bed, Host, eventually, eventually_ok};

scenarios! {
    a_forged_source_address_is_dropped_and_counted,
    tunnel_packets_from_outside_the_fabric_are_dropped_and_counted,
    a_container_cannot_forge_its_way_into_an_encrypted_network,
    a_join_with_a_stale_wrong_or_foreign_token_is_refused_in_a_sentence_on_both_sides,
    a_peer_with_a_foreign_certificate_is_refused_and_counted,
    a_forgotten_host_is_refused,
    a_member_joins_its_fabric_again_and_keeps_its_containers,
}

fn a_forged_source_address_is_dropped_and_counted(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("shop", "--subnet 10.96.0.0/24 --ipv6 --subnet fd96::/64")?;
    fabric.run(1, "liar", "shop", "--ip 10.96.0.10 --cap-add NET_ADMIN")?;
    fabric.run(1, "beside", "shop", "--ip 10.96.0.11")?;
    fabric.run(2, "there", "shop", "--ip 10.96.0.12 --ip6 fd96::12")?;
    let host = fabric.host(1);
    host.ping("liar", "10.96.0.12")?;
    host.ping("liar", "fd96::12")?;
    let before = forged(&fabric)?;
    let lie = |address: &str, target: &str| -> Result<()> {
        host.exec("liar", &["ip", "address", "add", address, "dev", "eth0", "nodad"]).map(drop)?;
        let source = address.split('/').next().context("an address")?;
        host.exec("liar", &["ping", "-c3", "-i0.2", "-W1", "-I", source, target])?.refused().map(drop)
    };
    // Nobody's address, a neighbour's, and one of the other family.
    lie("10.96.0.200/32", "10.96.0.12")?;
    lie("10.96.0.11/32", "10.96.0.12")?;
    lie("fd96::bad/128", "fd96::12")?;
    eventually("nine forged sources to be counted", Duration::from_secs(10), || {
        let now = forged(&fabric)?;
        ensure!(now >= before + 9, "{now} now, {before} before: {}", fabric.drops(1, "liar")?);
        Ok(())
    })?;
    host.ping("liar", "10.96.0.12")
}

/// Packets of the liar's that were dropped for their source.
fn forged(fabric: &Fabric) -> Result<u64> {
    Ok(fabric.drops(1, "liar")?["forged-source"].as_u64().unwrap_or(0))
}

/// A host that is no member forges VXLAN to a host that has a network in clear and an encrypted one.
fn tunnel_packets_from_outside_the_fabric_are_dropped_and_counted(features: Features) -> Result<()> {
    let fabric = Fabric::on(Bed::builder(2).outsiders(1), features)?;
    fabric.network("shop", "--subnet 10.97.0.0/24")?;
    fabric.network("open", "--subnet 10.98.0.0/24 --plaintext")?;
    let (shop, open) = (fabric.vni("shop")?, fabric.vni("open")?);
    fabric.bed().allow(Allow::Clear { vni: open });
    for (host, name, network, address) in [
        (1, "here", "shop", "10.97.0.10"),
        (2, "there", "shop", "10.97.0.20"),
        (1, "near", "open", "10.98.0.10"),
        (2, "far", "open", "10.98.0.20"),
    ] {
        fabric.run(host, name, network, &format!("--ip {address}"))?;
    }
    fabric.host(1).ping("here", "10.97.0.20")?;
    fabric.host(1).ping("near", "10.98.0.20")?;
    let (host, outsider) = (fabric.host(1), fabric.bed().outsider(1));
    let heard = |name: &str| host.exec(name, &["cat", "/sys/class/net/eth0/statistics/rx_packets"])?.ok();
    let before = (heard("here")?, heard("near")?);
    let dropped = fabric.tunnel_drops(1, "foreign-host")?;
    let probe = shoal_netbed::probe_path()?;
    fabric.bed().allow(Allow::Udp {
        from: outsider.address().parse()?,
        to: host.address().parse()?,
        port: 7375,
        marked: false,
    });
    fabric.bed().allow(Allow::Clear { vni: shop });
    // What a host of the fabric would send, at the port of networks in clear and at WireGuard's.
    for (port, vni, source, target) in [
        ("7374", shop, "10.97.0.20", "10.97.0.10"),
        ("7374", open, "10.98.0.20", "10.98.0.10"),
        ("7375", shop, "10.97.0.20", "10.97.0.10"),
    ] {
        let to = format!("{}:{port}", host.address());
        outsider.run(&[&probe, "vxlan", &to, &vni.to_string(), source, target, "50"])?.ok()?;
    }
    eventually("a hundred drops to be counted", Duration::from_secs(10), || {
        let now = fabric.tunnel_drops(1, "foreign-host")?;
        ensure!(now >= dropped + 100, "{now} now, {dropped} before");
        Ok(())
    })?;
    ensure!((heard("here")?, heard("near")?) == before, "a forged packet reached a container");
    let (frames, marked) = fabric.bed().seen()?.of(&Allow::Clear { vni: shop });
    ensure!(
        frames == 50 && marked == 0,
        "{frames} frames of the encrypted network, all but 50 not the outsider's"
    );
    Ok(())
}

/// A container's packets to other hosts leave through Docker's gateway bridge in its host's name, and it may open raw
/// sockets: what it forges so comes from an address that is a peer's.
fn a_container_cannot_forge_its_way_into_an_encrypted_network(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("shop", "--subnet 10.97.0.0/24")?;
    fabric.network("open", "--subnet 10.98.0.0/24 --plaintext")?;
    let (shop, open) = (fabric.vni("shop")?, fabric.vni("open")?);
    let (one, two) = (fabric.host(1), fabric.host(2));
    let underlay = (one.address().parse()?, two.address().parse()?);
    fabric.run(1, "liar", "open", "--ip 10.98.0.10")?;
    fabric.run(1, "here", "shop", "--ip 10.97.0.10")?;
    fabric.run(2, "there", "shop", "--ip 10.97.0.20")?;
    fabric.bed().allow(Allow::Clear { vni: open });
    one.ping("here", "10.97.0.20")?;
    let heard = || two.exec("there", &["cat", "/sys/class/net/eth0/statistics/rx_packets"])?.ok();
    let (before, dropped) = (heard()?, fabric.tunnel_drops(2, "came-in-clear")?);
    for port in [7374, 7375] {
        // Docker puts the host's address over its containers' only.
        for from in [underlay.0, "10.97.0.10".parse()?] {
            fabric.bed().allow(Allow::Udp { from, to: underlay.1, port, marked: false });
        }
        let to = format!("{}:{port}", two.address());
        let forge = |words: &[&str]| {
            let inside = [&shop.to_string(), "10.97.0.10", "10.97.0.20", "50"];
            one.exec("liar", &[&["netbed-probe"], words, &inside[..]].concat())?.ok()
        };
        forge(&["vxlan", &to])?;
        // In its host's name, and in its neighbour's in the network.
        for from in [one.address(), "10.97.0.10".to_owned()] {
            forge(&["raw", &from, &to])?;
        }
    }
    eventually("what came in clear to be counted", Duration::from_secs(10), || {
        let now = fabric.tunnel_drops(2, "came-in-clear")?;
        ensure!(now >= dropped + 50, "{now} now, {dropped} before: {}", two.shoal("endpoints -o json")?);
        Ok(())
    })?;
    eprintln!("came in clear: {}", fabric.tunnel_drops(2, "came-in-clear")? - dropped);
    ensure!(heard()? == before, "a forged packet reached the container");
    one.ping("here", "10.97.0.20")
}

/// The wall clock, seconds.
fn seconds(host: &Host) -> Result<u64> {
    Ok(host.sh("date +%s")?.parse()?)
}

/// Refusals that a host has seen, of its own and of others.
fn refusals(host: &Host) -> Result<u64> {
    let losses = host.shoal_json("status")?["losses"].clone();
    let count = |name: &str| losses[name].as_u64().with_context(|| format!("no count of {name}: {losses}"));
    Ok(count("peers refused by this host")? + count("refusals of this host by peers")?)
}

fn a_join_with_a_stale_wrong_or_foreign_token_is_refused_in_a_sentence_on_both_sides(
    features: Features,
) -> Result<()> {
    let fabric = Fabric::unjoined(Bed::builder(3), features)?;
    let (member, stranger, joiner) = (fabric.host(1), fabric.host(2), fabric.host(3));
    member.shoal("init")?;
    stranger.shoal("init")?;
    let good = fabric.token("")?;
    let stale = fabric.token("--ttl 1s")?;
    let foreign = stranger.shoal("token")?.lines().last().context("a token")?.to_owned();
    let wrong = wrong_secret(&good)?;
    let join = |token: &str| -> Result<String> {
        joiner.try_shoal(&format!("join {} {token}", member.address()))?.refused()
    };
    for (kind, token) in [("wrong", &wrong), ("foreign", &foreign)] {
        let told = join(token)?;
        ensure!(told.to_lowercase().contains("token") || told.contains("fabric"), "{kind}: {told}");
    }
    let made = seconds(member)?;
    eventually_ok("the stale token to end", Duration::from_secs(20), || {
        seconds(member).is_ok_and(|now| now > made + 2)
    })?;
    let told = join(&stale)?;
    ensure!(told.contains("token"), "stale: {told}");
    let told = join("not-a-token")?;
    ensure!(told.contains("token"), "{told}");
    ensure!(refusals(member)? >= 2, "refused joins are counted");
    let notices = member.shoal_json("status")?["notices"].to_string();
    ensure!(
        notices.contains("refused") && notices.contains(&joiner.address()),
        "the member says nothing: {notices}"
    );
    joiner.shoal(&format!("join {} {good}", member.address())).map(drop)
}

/// The same token with one character of its secret changed, in the middle of its last half.
fn wrong_secret(token: &str) -> Result<String> {
    let at = token.len() * 4 / 5;
    let mut letters: Vec<char> = token.chars().collect();
    let letter = letters.get_mut(at).context("a token is long")?;
    *letter = if *letter == 'a' { 'b' } else { 'a' };
    Ok(letters.into_iter().collect())
}

/// A host of another fabric takes over a member's address.
fn a_peer_with_a_foreign_certificate_is_refused_and_counted(features: Features) -> Result<()> {
    let fabric = Fabric::unjoined(Bed::builder(3), features)?;
    let (one, two, foreign) = (fabric.host(1), fabric.host(2), fabric.host(3));
    one.shoal("init")?;
    foreign.shoal("init")?;
    let token = fabric.token("")?;
    two.shoal(&format!("join {} {token}", one.address()))?;
    let before = refusals(one)?;
    two.kill_agent()?;
    two.sh(&format!("ip address del {}/24 dev eth0", two.address()))?;
    foreign.sh(&format!("ip address add {}/24 dev eth0", two.address()))?;
    one.sh("ip neigh flush dev eth0")?;
    fabric.bed().allow(Allow::Pings(one.address().parse()?, two.address().parse()?));
    one.run(&["ping", "-c1", "-W2", &two.address()])?.ok()?;
    // Whoever hears the other's certificate first refuses it; both say so.
    eventually("the foreign certificate to be refused on both sides", Duration::from_secs(60), || {
        ensure!(refusals(one)? > before, "not counted: {}", one.shoal_json("hosts")?);
        for host in [one, foreign] {
            let status = host.shoal_json("status")?;
            ensure!(status["notices"].to_string().contains("belongs to another fabric"), "{status}");
        }
        Ok(())
    })?;
    let hosts = one.shoal_json("hosts")?;
    ensure!(!hosts.to_string().contains("\"h3\""), "the foreign host is no member: {hosts}");
    Ok(())
}

fn a_forgotten_host_is_refused(features: Features) -> Result<()> {
    let fabric = Fabric::new(3, features)?;
    fabric.network("shop", "")?;
    for (host, name) in [(1, "here"), (2, "beside"), (3, "there")] {
        fabric.run(host, name, "shop", "")?;
    }
    let (here, there) = (fabric.v4(1, "here", "shop")?, fabric.v4(3, "there", "shop")?);
    fabric.host(1).ping("here", &there)?;
    let keys = |host: &Host| -> Result<usize> {
        let answer = host.ask_socket("/run/shoal/shoal0.sock", "get=1\n\n")?;
        Ok(answer.lines().filter(|line| line.starts_with("public_key=")).count())
    };
    for host in fabric.bed().hosts() {
        ensure!(keys(host)? == 2, "{} does not know the keys of the others", host.name());
    }
    fabric.host(1).shoal("forget h3")?;
    for number in [1, 2] {
        eventually("the forgotten host's key to be gone", Duration::from_secs(1), || {
            let left = keys(fabric.host(number))?;
            ensure!(left == 1, "h{number} knows {left} keys");
            Ok(())
        })?;
    }
    eventually("the forgotten host's containers to be out of reach", Duration::from_secs(20), || {
        fabric.host(3).ping_fails("there", &here)?;
        fabric.host(1).ping_fails("here", &there)
    })?;
    fabric.host(1).ping("here", &fabric.v4(2, "beside", "shop")?)
}

/// What a host needs whose certificate ended while it was off: tokens and certificates cannot be made to age here.
fn a_member_joins_its_fabric_again_and_keeps_its_containers(features: Features) -> Result<()> {
    let fabric = Fabric::new(2, features)?;
    fabric.network("shop", "")?;
    fabric.run(1, "here", "shop", "")?;
    fabric.run(2, "there", "shop", "")?;
    let (here, there) = (fabric.host(1), fabric.host(2));
    let address = fabric.v4(2, "there", "shop")?;
    here.ping("here", &address)?;
    let before = there.shoal_json("status")?;
    let join = format!("join {} {}", here.address(), fabric.token("")?);
    let told = there.try_shoal(&format!("{join} --advertise {}", there.address()))?.refused()?;
    ensure!(told.contains("without --advertise"), "{told}");
    there.shoal(&join)?;
    let after = there.shoal_json("status")?;
    for part in [
        "/host/id",
        "/host/name",
        "/fabric/id",
        "/transport/advertise",
        "/endpoints",
        "/tunnel/encrypted/key",
    ] {
        ensure!(before.pointer(part).is_some(), "no {part}: {before}");
        ensure!(before.pointer(part) == after.pointer(part), "{part}: {before} {after}");
    }
    fabric.settle(2)?;
    here.ping("here", &address)?;
    there.ping("there", &fabric.v4(1, "here", "shop")?)
}
