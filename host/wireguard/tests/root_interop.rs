//! An engine on one host; on the other Debian's wireguard-go with the kernel's VXLAN on top of it.
#![allow(clippy::unwrap_used, reason = "a test fails that way")]

mod bed;

use std::path::Path;
use std::process::Child;

use bed::{Bed, Host, MTU, transfer, until};

/// wireguard-go, ended when dropped.
struct Foreign {
    child: Child,
    /// Its control socket, where every process of the kind looks for it.
    control: String,
}

impl Foreign {
    /// Starts it on `host` with `other` as its peer, and VXLAN on top of it.
    fn start(host: &Host, other: &Host) -> Self {
        let name = format!("w{}", std::process::id() % 1_000_000);
        let child = host.command("wireguard-go").args(["-f", &name]).spawn().unwrap();
        let control = format!("/var/run/wireguard/{name}.sock");
        until("wireguard-go listens", || Path::new(&control).exists());
        let answer = bed::ask(Path::new(&control), &host.introduction(other, &other.endpoint()).text());
        assert_eq!(answer, "errno=0\n\n");
        host.run("ip", &["addr", "add", &format!("{}/32", host.address()), "dev", &name]);
        host.run("ip", &["link", "set", &name, "mtu", &MTU.to_string(), "up"]);
        host.run("ip", &["route", "add", &format!("{}/32", other.address()), "dev", &name]);
        let (own, peer) = (host.address().to_string(), other.address().to_string());
        let vxlan = ["id", "258", "local", &own, "remote", &peer, "dstport", "4789", "nolearning"];
        let link = ["link", "add", "vx0", "address", "02:73:68:6f:61:02", "mtu", "1370", "type", "vxlan"];
        host.run("ip", &[&link[..], &vxlan[..]].concat());
        host.run("ip", &["addr", "add", &format!("{}/24", host.inner()), "dev", "vx0"]);
        host.run("ip", &["link", "set", "vx0", "up"]);
        host.run("ip", &["neigh", "add", &other.inner(), "lladdr", "02:73:68:6f:61:02", "dev", "vx0"]);
        Self { child, control }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.control);
    }
}

#[test]
fn a_host_with_other_wireguard_and_the_kernels_vxlan_is_understood() {
    let mut bed = Bed::new("other");
    bed.a.start();
    let foreign = Foreign::start(&bed.b, &bed.a);
    bed.a.set(&bed.a.introduction(&bed.b, &bed.b.endpoint()));
    until("a ping comes back", || bed.a.pings(&bed.b.inner()) && bed.b.pings(&bed.a.inner()));
    transfer(&bed.a, &bed.b, &bed.b.inner(), 10_000_000);
    transfer(&bed.b, &bed.a, &bed.a.inner(), 10_000_000);
    // The largest packet fits in both directions without being cut.
    for (from, to) in [(&bed.a, &bed.b), (&bed.b, &bed.a)] {
        from.run("ping", &["-c", "1", "-W", "2", "-M", "do", "-s", "1342", &to.inner()]);
    }
    assert!(bed.a.count("super_in") > 0, "what came apart is joined");
    drop(foreign);
}
