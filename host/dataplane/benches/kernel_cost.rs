//! What Shoal's data path costs beside tunnels laid by hand: TCP between two namespaces, over VXLAN in the kernel's
//! WireGuard each time, with one MTU. Needs root and a kernel with WireGuard; `make bench-kernels` runs it on Debian's.
//!
//! ```text
//!     Shoal         container ── veth, program ── VXLAN ── wg0 ══ wg0 ── VXLAN, program ── veth ── container
//!     bridged       container ── veth ── bridge ── VXLAN ── wg0 ══ wg0 ── VXLAN ── bridge ── veth ── container
//!     bare                           namespace, VXLAN ── wg0 ══ wg0 ── VXLAN, namespace
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a measurement for people")]

#[path = "../tests/bed/mod.rs"]
mod bed;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Instant;

use bed::{ALL_FEATURES, Namespace, Over, outer, two_hosts};

/// Interleaved; a median of fewer says little.
const ROUNDS: usize = 5;

/// What a stream carries: so many times a megabyte.
const STREAM: u32 = 4;
const MEGABYTE: usize = 1_000_000;

#[test]
fn tcp_through_shoal_and_through_a_tunnel_by_hand() {
    let hosts = two_hosts(ALL_FEATURES, Over::Kernel);
    let (one, two) = (hosts.0.container(1), hosts.1.container(2));
    hosts.0.learn(&two, outer(2, Over::Kernel));
    hosts.1.learn(&one, outer(1, Over::Kernel));
    [&one, &two].into_iter().for_each(bed::Container::settle);
    let by_hand = [Namespace::new(), Namespace::new()];
    lay(&by_hand);
    let bridged = [Namespace::new(), Namespace::new()];
    bridge(&by_hand, &bridged);

    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        let these = [
            rate(&one.namespace, &two.namespace, "10.7.0.2"),
            rate(&bridged[0], &bridged[1], "10.95.0.2"),
            rate(&by_hand[0], &by_hand[1], "10.96.0.2"),
        ];
        println!("MB/s: Shoal {:.2}, bridged {:.2}, bare {:.2}", these[0], these[1], these[2]);
        // The first shakes hands and fills caches.
        if round > 0 {
            rates.iter_mut().zip(these).for_each(|(all, this)| all.push(this));
        }
    }
    let [shoal, bridged, bare] = rates.map(median);
    println!("of {ROUNDS} rounds' medians: {:.3} of bridged, {:.3} of bare", shoal / bridged, shoal / bare);
}

/// Megabytes per second of one stream, from its opening until its last byte is read.
#[allow(clippy::disallowed_methods, reason = "it measures")]
fn rate(from: &Namespace, to: &Namespace, address: &str) -> f64 {
    let listener = to.inside(|| TcpListener::bind((address, 7777)).unwrap());
    let reader = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut bytes, mut total) = (vec![0; MEGABYTE], 0);
        loop {
            match stream.read(&mut bytes).unwrap() {
                0 => return total,
                count => total += count,
            }
        }
    });
    let bytes = vec![0; MEGABYTE];
    let began = Instant::now();
    let mut stream = from.inside(|| TcpStream::connect((address, 7777)).unwrap());
    (0..STREAM).for_each(|_| stream.write_all(&bytes).unwrap());
    drop(stream);
    assert_eq!(reader.join().unwrap(), STREAM as usize * MEGABYTE);
    f64::from(STREAM) / began.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Two namespaces on one wire, each with a VXLAN device in WireGuard: 10.96.0.1 and .2.
fn lay(hosts: &[Namespace; 2]) {
    hosts[0].ip(&format!("link add wire type veth peer wire netns {}", hosts[1].path()));
    let keys = [(); 2].map(|()| {
        let secret = hosts[0].run("wg genkey").unwrap();
        let public = shell(&hosts[0], &format!("echo {} | wg pubkey", secret.trim()));
        (secret.trim().to_owned(), public.trim().to_owned())
    });
    for (host, (own, other)) in hosts.iter().zip([(1, 2), (2, 1)]) {
        let (secret, public) = (&keys[own - 1].0, &keys[other - 1].1);
        shell(
            host,
            &format!(
                "ip address add 10.98.0.{own}/24 dev wire\n\
                 ip link set wire up\n\
                 ip link add wg0 type wireguard\n\
                 echo {secret} | wg set wg0 private-key /proc/self/fd/0 listen-port 7375 peer {public} \
                     allowed-ips 10.97.0.{other}/32 endpoint 10.98.0.{other}:7375\n\
                 ip address add 10.97.0.{own}/24 dev wg0\n\
                 ip link set wg0 mtu 1420 up\n\
                 ip link add vx type vxlan id 4711 local 10.97.0.{own} remote 10.97.0.{other} dstport 4789\n\
                 ip address add 10.96.0.{own}/24 dev vx\n\
                 ip link set vx mtu 1370 up"
            ),
        );
    }
}

/// Puts a container behind a bridge on each: 10.95.0.1 and .2, over a VXLAN device of their own.
fn bridge(hosts: &[Namespace; 2], containers: &[Namespace; 2]) {
    for ((host, container), (own, other)) in hosts.iter().zip(containers).zip([(1, 2), (2, 1)]) {
        host.ip("link add br0 type bridge");
        host.ip(&format!(
            "link add vx1 type vxlan id 4712 local 10.97.0.{own} remote 10.97.0.{other} dstport 4789"
        ));
        host.ip(&format!("link add port mtu 1370 type veth peer eth0 mtu 1370 netns {}", container.path()));
        for device in ["vx1", "port"] {
            host.ip(&format!("link set {device} mtu 1370 master br0 up"));
        }
        host.ip("link set br0 up");
        container.ip(&format!("address add 10.95.0.{own}/24 dev eth0"));
        container.ip("link set eth0 up");
    }
}

fn shell(host: &Namespace, script: &str) -> String {
    let output = host.inside(|| Command::new("sh").args(["-ec", script]).output().unwrap());
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
