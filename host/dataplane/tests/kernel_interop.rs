//! The kernel's WireGuard on the first host, Shoal's own process on the second, and the data plane over both. Needs
//! root, a kernel with WireGuard, and the binary `shoal` where cargo builds it; `make test-kernels` runs it on Debian's
//! kernels.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod bed;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use bed::{ALL_FEATURES, Container, Host, Over, end, joined, name, outer, public};
use shoal_plan::{Change, WireGuardPeer};
use shoal_ports::Kernel;
use shoal_types::WireGuardSecret;

/// The agent's own way of starting the process.
fn engine() -> Vec<std::ffi::OsString> {
    let here = std::env::current_exe().unwrap();
    let shoal = here.ancestors().nth(2).unwrap().join("shoal");
    assert!(shoal.exists(), "{} is missing: cargo build -p shoal", shoal.display());
    vec![shoal.into(), "wireguard".into()]
}

fn two_kinds() -> ((Host, Host), [Container; 2]) {
    let mut hosts = (Host::new(ALL_FEATURES), Host::new(ALL_FEATURES));
    hosts.1.engine = engine();
    let hosts = joined(hosts, (Over::Kernel, Over::Engine));
    let both = [hosts.0.container(1), hosts.1.container(2)];
    hosts.0.learn(&both[1], outer(2, Over::Engine));
    hosts.1.learn(&both[0], outer(1, Over::Kernel));
    both.iter().for_each(Container::settle);
    (hosts, both)
}

/// Says to each host what the other end is like.
fn introduce(hosts: &(Host, Host), change: impl Fn(u8, WireGuardPeer) -> WireGuardPeer) {
    for (host, other) in [(&hosts.0, 2), (&hosts.1, 1)] {
        host.apply(&[Change::SetWireGuardPeer(name("dp-wg"), public(other), change(other, end(other)))]);
    }
}

/// Pings both ways, over both families.
fn ping_each_other(hosts: &(Host, Host), both: &[Container; 2]) {
    for (from, to) in [(&both[0], &both[1]), (&both[1], &both[0])] {
        for target in [format!("10.7.0.{}", to.number), format!("fd07::{:x}", to.number)] {
            let pinged = from.namespace.run(&format!("ping -n -c 3 -i 0.2 -w 10 {target}"));
            let counters =
                || [&hosts.0, &hosts.1].map(|host| host.kernel(|kernel| kernel.counters().unwrap()));
            pinged.unwrap_or_else(|error| panic!("{error}{:?}", counters()));
        }
    }
}

/// Sends a stream each way, over both families.
fn transfer_both_ways(both: &[Container; 2]) {
    for (from, to) in [(&both[0], &both[1]), (&both[1], &both[0])] {
        bed::transfer(from, to, &format!("10.7.0.{}", to.number));
        bed::transfer(from, to, &format!("fd07::{:x}", to.number));
    }
}

/// One of the process's counters.
fn count(host: &Host, counter: &str) -> u64 {
    let mut stream = UnixStream::connect(host.pins.run_dir().join("dp-wg.sock")).unwrap();
    stream.write_all(b"shoal_counters=1\n\n").unwrap();
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    while !answer.ends_with(b"\n\n") {
        let length = stream.read(&mut piece).unwrap();
        assert!(length > 0, "the process hung up");
        answer.extend_from_slice(&piece[..length]);
    }
    let answer = String::from_utf8(answer).unwrap();
    let line = answer.lines().find_map(|line| line.strip_prefix(counter)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("no {counter} in {answer}")).parse().unwrap()
}

fn nothing_was_dropped(hosts: &(Host, Host)) {
    for (host, other) in [(&hosts.0, 2), (&hosts.1, 1)] {
        let counters = host.kernel(|kernel| kernel.counters().unwrap());
        assert!(counters.tunnel_drops.is_empty(), "{counters:?}");
        let status = &counters.wireguard[&(name("dp-wg"), public(other))];
        assert!(status.last_handshake.is_some() && status.received_bytes > 1_000_000, "{status:?}");
    }
}

#[test]
fn the_kernels_end_and_the_processs_understand_each_other() {
    let (hosts, both) = two_kinds();
    ping_each_other(&hosts, &both);
    transfer_both_ways(&both);
    // As large as a path may take, with everything around it.
    for (from, to) in [(&both[0], "10.7.0.2"), (&both[1], "10.7.0.1")] {
        from.namespace.run(&format!("ping -n -c 2 -W 5 -M do -s 1342 {to}")).unwrap();
    }
    assert!(
        count(&hosts.1, "super_out") > 0 && count(&hosts.1, "super_in") > 0,
        "frames larger than a packet"
    );
    nothing_was_dropped(&hosts);
}

#[test]
fn they_understand_each_other_over_an_ipv6_underlay() {
    let (hosts, both) = two_kinds();
    introduce(&hosts, |other, known| {
        let endpoint = format!("[fd99::{other}]:7375").parse().unwrap();
        WireGuardPeer { endpoint: Some(endpoint), ..known }
    });
    ping_each_other(&hosts, &both);
    transfer_both_ways(&both);
    for (host, other) in [(&hosts.0, 2), (&hosts.1, 1)] {
        let plan = host.kernel(|kernel| kernel.observe().unwrap()).plan;
        let known = &plan.wireguard[&(name("dp-wg"), public(other))];
        assert!(known.endpoint.unwrap().is_ipv6(), "{known:?}");
    }
    nothing_was_dropped(&hosts);
}

#[test]
fn an_end_with_another_preshared_key_is_not_understood_until_both_have_it() {
    let (hosts, both) = two_kinds();
    let other_secret =
        |_, known| WireGuardPeer { preshared: Some(WireGuardSecret::new([0x23; 32])), ..known };
    // Without the session that there may be already.
    hosts.0.apply(&[
        Change::RemoveWireGuardPeer(name("dp-wg"), public(2)),
        Change::SetWireGuardPeer(name("dp-wg"), public(2), other_secret(2, end(2))),
    ]);
    assert!(!both[0].namespace.pings("10.7.0.2") && !both[1].namespace.pings("10.7.0.1"));
    introduce(&hosts, other_secret);
    // Either side begins a handshake again after five seconds.
    both[0].namespace.run("ping -n -c 1 -w 20 10.7.0.2").unwrap();
    ping_each_other(&hosts, &both);
}

#[test]
fn each_end_is_found_again_when_it_was_made_anew() {
    let (hosts, both) = two_kinds();
    ping_each_other(&hosts, &both);
    hosts.1.kill_engine("dp-wg");
    hosts.1.apply(&[
        Change::SetTunnel(name("dp-wg"), bed::encrypted(2)),
        Change::SetWireGuardPeer(name("dp-wg"), public(1), end(1)),
    ]);
    both[0].namespace.run("ping -n -c 1 -w 20 10.7.0.2").unwrap();
    ping_each_other(&hosts, &both);
    hosts.0.apply(&[
        Change::RemoveTunnel(name("dp-wg")),
        Change::SetTunnel(name("dp-wg"), bed::with_backend(bed::encrypted(1), shoal_plan::Backend::Kernel)),
        Change::SetWireGuardPeer(name("dp-wg"), public(2), end(2)),
        Change::SetPeer(outer(2, Over::Engine), bed::peer(1, Over::Kernel)),
    ]);
    both[1].namespace.run("ping -n -c 1 -w 20 10.7.0.1").unwrap();
    ping_each_other(&hosts, &both);
}
