//! Two engines on real devices and sockets.
#![allow(clippy::disallowed_methods, reason = "tests wait on the machine's clock")]

mod bed;

use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bed::{Bed, PORT, transfer, until};
use shoal_types::WireGuardSecret;
use shoal_wireguard::public_key;
use shoal_wireguard::uapi::{Change, PeerChange};

#[test]
fn streams_pass_both_ways_as_super_packets() {
    let bed = Bed::connected("tcp");
    until("a ping comes back", || bed.a.pings(&bed.b.inner()));
    transfer(&bed.a, &bed.b, &bed.b.inner(), 20_000_000);
    transfer(&bed.b, &bed.a, &bed.a.inner(), 20_000_000);
    for host in [&bed.a, &bed.b] {
        assert!(host.count("super_out") > 0 && host.count("super_in") > 0);
        assert!(host.count("send_calls_cut") > 0);
        assert_eq!(host.count("drop_not_authentic") + host.count("drop_tunnel_malformed"), 0);
    }
}

#[test]
fn the_first_packets_wait_for_the_handshake() {
    let mut bed = Bed::new("wait");
    bed.a.start();
    bed.a.set(&bed.a.introduction(&bed.b, &bed.b.endpoint()));
    bed.b.start();
    let ping = bed.a.command("ping").args(["-c", "1", "-W", "8", &bed.b.inner()]).spawn();
    std::thread::sleep(Duration::from_millis(300));
    bed.b.set(&bed.b.introduction(&bed.a, &bed.a.endpoint()));
    assert!(ping.unwrap().wait().unwrap().success());
}

#[test]
fn an_engine_that_is_killed_and_started_again_is_back_at_once_on_the_same_device() {
    let mut bed = Bed::connected("back");
    until("a ping comes back", || bed.a.pings(&bed.b.inner()));
    let index = || bed.b.run("cat", &["/sys/class/net/tap0/ifindex"]);
    let before = index();
    bed.b.kill();
    bed.b.start();
    bed.b.set(&bed.b.introduction(&bed.a, &bed.a.endpoint()));
    let started = Instant::now();
    until("a ping comes back", || bed.a.pings(&bed.b.inner()));
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert_eq!(bed.b.run("cat", &["/sys/class/net/tap0/ifindex"]), before);
    assert!(bed.b.stop().success());
    assert!(!bed.b.socket().exists());
}

#[test]
fn a_second_engine_leaves_the_first_alone() {
    let mut bed = Bed::new("two");
    bed.a.start();
    let second = bed.a.engine(bed.a.address()).output().unwrap();
    let error = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success() && error.contains("already serves"), "{error}");
    assert!(bed.a.ask("get=1\n\n").ends_with("errno=0\n\n"));
    let mode = std::fs::metadata(bed.a.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_wrong_key_opens_nothing() {
    let mut bed = Bed::new("key");
    bed.a.start();
    bed.b.start();
    bed.a.set(&bed.a.introduction(&bed.b, &bed.b.endpoint()));
    // The other host expects somebody else at this address.
    let stranger = public_key(&WireGuardSecret::new([99; 32]));
    let peer = PeerChange { address: Some(bed.a.address()), ..PeerChange::new(stranger) };
    let change = Change { peers: vec![peer], ..bed.b.introduction(&bed.a, &bed.a.endpoint()) };
    bed.b.set(&change);
    assert!(!bed.a.pings(&bed.b.inner()));
    until("the refusal is counted", || bed.b.count("drop_handshake_refused") > 0);
    assert_eq!(bed.b.count("handshakes"), 0);
    // Nor does one with a key that is not this host's: it is not even looked into.
    let other = Change { private: Some(Some(WireGuardSecret::new([98; 32]))), ..Change::default() };
    bed.b.set(&other);
    until("the other refusal is counted", || bed.b.count("drop_handshake_mac") > 0);
}

#[test]
fn a_source_that_is_not_the_peers_is_dropped_and_counted() {
    let mut bed = Bed::new("forge");
    bed.a.start_as([240, 0, 0, 9].into());
    bed.b.start();
    bed.introduce();
    until("the forged source is counted", || {
        assert!(!bed.a.pings(&bed.b.inner()));
        bed.b.count("drop_source_forged") > 0
    });
    assert_eq!(bed.b.count("frames_in"), 0);
}

#[test]
fn a_datagram_that_comes_twice_counts_once_and_an_end_that_moves_is_followed() {
    let mut bed = Bed::new("twice");
    bed.a.start();
    bed.b.start();
    // Between the two stands somebody who sends everything twice, from a port of its own, which changes.
    let (stop, stopped) = mpsc::channel::<()>();
    let (engine, other) = (format!("127.0.0.1:{PORT}"), bed.b.endpoint());
    let between = bed.a.within(move || {
        let front = UdpSocket::bind("127.0.0.1:9000").unwrap();
        let back = [UdpSocket::bind("0.0.0.0:9001").unwrap(), UdpSocket::bind("0.0.0.0:9002").unwrap()];
        for socket in [&front, &back[0], &back[1]] {
            socket.set_nonblocking(true).unwrap();
        }
        let (mut bytes, mut sent) = ([0; 2000], 0);
        while stopped.try_recv().is_err() {
            if let Ok(length) = front.recv(&mut bytes) {
                sent += 1;
                for _ in 0..2 {
                    back[usize::from(sent > 8)].send_to(&bytes[..length], &other).unwrap();
                }
            }
            for socket in &back {
                if let Ok(length) = socket.recv(&mut bytes) {
                    front.send_to(&bytes[..length], &engine).unwrap();
                }
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    });
    bed.b.set(&bed.b.introduction(&bed.a, &bed.a.endpoint()));
    bed.a.set(&bed.a.introduction(&bed.b, "127.0.0.1:9000"));
    let endpoint = |port: u16| bed.b.ask("get=1\n\n").contains(&format!("endpoint=192.0.2.1:{port}\n"));
    until("the first place is known", || bed.a.pings(&bed.b.inner()) && (endpoint(9001) || endpoint(9002)));
    until("the second place is known", || bed.a.pings(&bed.b.inner()) && endpoint(9002));
    let answer = bed.a.run("ping", &["-c", "5", "-i", "0.1", &bed.b.inner()]);
    assert!(!answer.contains("DUP"), "{answer}");
    assert!(bed.b.count("drop_replayed") >= 5);
    stop.send(()).unwrap();
    between.join().unwrap();
}

#[test]
fn wg_shows_and_changes_the_device() {
    let bed = Bed::connected("tool");
    until("a ping comes back", || bed.a.pings(&bed.b.inner()));
    let name = &bed.a.namespace;
    let link = std::path::PathBuf::from(format!("/var/run/wireguard/{name}.sock"));
    std::fs::create_dir_all("/var/run/wireguard").unwrap();
    std::os::unix::fs::symlink(bed.a.socket(), &link).unwrap();
    let shown = std::panic::catch_unwind(|| {
        let key = bed.b.key().to_string();
        bed.a.run("wg", &["set", name, "peer", &key, "persistent-keepalive", "25"]);
        bed.a.run("wg", &["show", name])
    });
    std::fs::remove_file(&link).unwrap();
    let shown = shown.unwrap();
    for part in
        ["listening port: 7375", "192.0.2.2:7375", "240.0.0.2/32", "latest handshake", "every 25 seconds"]
    {
        assert!(shown.contains(part), "{shown}");
    }
    assert!(bed.a.pings(&bed.b.inner()), "the session goes on");
}

#[test]
fn the_underlay_may_be_ipv6_and_several_workers_share_the_port() {
    let mut bed = Bed::new("six");
    bed.a.set_workers(2);
    bed.b.set_workers(3);
    bed.a.start();
    bed.b.start();
    bed.a.set(&bed.a.introduction(&bed.b, &format!("[fd00:2::2]:{PORT}")));
    bed.b.set(&bed.b.introduction(&bed.a, &format!("[fd00:2::1]:{PORT}")));
    until("a ping comes back", || bed.a.pings(&bed.b.inner()));
    transfer(&bed.a, &bed.b, &bed.b.inner(), 5_000_000);
    assert!(bed.a.ask("get=1\n\n").contains("endpoint=[fd00:2::2]:7375\n"));
    // Another port at once, and the other end follows.
    bed.a.set(&Change { port: Some(PORT + 1), ..Change::default() });
    until("a ping comes back", || bed.a.pings(&bed.b.inner()));
    until("the port is followed", || bed.b.ask("get=1\n\n").contains("endpoint=[fd00:2::1]:7376\n"));
}

#[test]
fn a_peer_that_is_removed_is_out_at_once() {
    let bed = Bed::connected("gone");
    until("a ping comes back", || bed.a.pings(&bed.b.inner()));
    let peer = PeerChange { remove: true, ..PeerChange::new(bed.a.key()) };
    bed.b.set(&Change { peers: vec![peer], ..Change::default() });
    let before = bed.b.count("frames_in");
    assert!(!bed.a.pings(&bed.b.inner()));
    assert_eq!(bed.b.count("frames_in"), before);
    assert!(bed.b.count("drop_no_session") > 0);
}

#[test]
fn an_engine_ends_when_its_device_is_taken_away() {
    let mut bed = Bed::connected("took");
    bed.a.run("ip", &["link", "del", "tap0"]);
    assert!(!bed.a.wait().success());
    assert!(!bed.a.socket().exists());
}

#[test]
fn new_keys_are_in_force_at_once() {
    let mut bed = Bed::connected("keys");
    until("a ping comes back", || bed.a.pings(&bed.b.inner()));
    // This host's key changes, and nobody was told: nothing passes, in either direction.
    let old = bed.a.key();
    bed.a.secret = WireGuardSecret::new([77; 32]);
    bed.a.set(&Change { private: Some(Some(bed.a.secret.clone())), ..Change::default() });
    assert!(!bed.b.pings(&bed.a.inner()));
    // Told, and with a pre-shared key on both sides.
    let preshared = Some(Some(WireGuardSecret::new([5; 32])));
    let known = |change: Change| {
        let peers = change.peers.into_iter().map(|peer| PeerChange { preshared: preshared.clone(), ..peer });
        Change { peers: peers.collect(), private: None, ..change }
    };
    bed.a.set(&known(bed.a.introduction(&bed.b, &bed.b.endpoint())));
    let mut change = known(bed.b.introduction(&bed.a, &bed.a.endpoint()));
    change.peers.insert(0, PeerChange { remove: true, ..PeerChange::new(old) });
    bed.b.set(&change);
    let told = Instant::now();
    until("a ping comes back", || bed.b.pings(&bed.a.inner()));
    assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
}
