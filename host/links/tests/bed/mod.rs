//! A namespace with a folder, and tunnels in it.
#![allow(dead_code, clippy::expect_used, reason = "shared by tests that each use a part of it")]

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use shoal_links::{Device, Links, TunnelOptions, Tunnels};
use shoal_plan::{Tunnel, WireGuardPeer};
use shoal_types::{LinkName, MacAddr, WireGuardKey, WireGuardSecret};

pub(crate) struct Bed {
    pub(crate) links: Links,
    pub(crate) tunnels: Tunnels,
    options: TunnelOptions,
}

impl Bed {
    /// Runs with the stand-in for a process, in a namespace that ends with its thread.
    pub(crate) fn run(work: impl FnOnce(Bed) + Send) {
        Self::with_engine(&[env!("CARGO_BIN_EXE_stand-in-engine")], work);
    }

    pub(crate) fn with_engine(engine: &[&str], work: impl FnOnce(Bed) + Send) {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
                work(Self::here(engine));
            });
        });
    }

    /// In the namespace of the calling thread.
    pub(crate) fn here(engine: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = format!("shoal-links-{}-{number}", std::process::id());
        let engine = engine.iter().map(Into::into).collect();
        let options = TunnelOptions { run_dir: std::env::temp_dir().join(folder), engine };
        let tunnels = Tunnels::open(options.clone()).unwrap();
        Self { links: Links::open().unwrap(), tunnels, options }
    }

    pub(crate) fn run_dir(&self) -> &PathBuf {
        &self.options.run_dir
    }

    /// As an agent that starts later has it.
    pub(crate) fn another(&self) -> Tunnels {
        Tunnels::open(self.options.clone()).unwrap()
    }

    pub(crate) fn make(&self, tunnel: &Tunnel, mac: MacAddr) -> Device {
        self.tunnels.make(&self.links, &name("dp-tun"), tunnel, mac).unwrap()
    }

    pub(crate) fn read(&self) -> Result<Tunnel, String> {
        let device = self.links.find(&name("dp-tun")).unwrap().unwrap();
        self.tunnels.read(&self.links, &device).unwrap()
    }

    pub(crate) fn remove(&self) {
        self.tunnels.remove(&self.links, &name("dp-tun")).unwrap();
    }

    /// Runs `ip` in the namespace of the calling thread.
    pub(crate) fn ip(&self, arguments: &str) -> String {
        let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Number of the process of the tunnel.
    pub(crate) fn engine(&self) -> i32 {
        let control = self.options.run_dir.join("dp-tun.sock");
        let stream = std::os::unix::net::UnixStream::connect(control).unwrap();
        nix::sys::socket::getsockopt(&stream, nix::sys::socket::sockopt::PeerCredentials).unwrap().pid()
    }

    /// What the process answers.
    pub(crate) fn ask_engine(&self, request: &str) -> String {
        let mut stream =
            std::os::unix::net::UnixStream::connect(self.options.run_dir.join("dp-tun.sock")).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// What lies in the folder.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.options.run_dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    pub(crate) fn until(&self, condition: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !condition() {
            assert!(Instant::now() < end, "it does not come about");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = self.tunnels.remove(&self.links, &name("dp-tun"));
        let _ = std::fs::remove_dir_all(&self.options.run_dir);
    }
}

pub(crate) fn name(text: &str) -> LinkName {
    text.parse().unwrap()
}

/// A private key whose fixed bits are as Curve25519 wants them.
pub(crate) fn secret(seed: u8) -> WireGuardSecret {
    let mut bytes = [seed; 32];
    bytes[0] &= 0xf8;
    bytes[31] = (bytes[31] & 0x7f) | 0x40;
    WireGuardSecret::new(bytes)
}

pub(crate) fn peer(number: u8) -> WireGuardPeer {
    WireGuardPeer {
        address: Ipv4Addr::new(240, 0, 1, number),
        endpoint: None,
        preshared: None,
        keepalive: None,
    }
}

/// What both kinds of WireGuard must do.
pub(crate) fn other_ends_are_set_one_by_one_and_read_back(bed: &Bed, tunnel: &Tunnel) {
    let tun = name("dp-tun");
    let key = |number| WireGuardKey::new([number; 32]);
    let set = |number, peer: &WireGuardPeer| bed.tunnels.set_peer(&tun, tunnel, &key(number), peer).unwrap();
    let there =
        |number| bed.tunnels.peers(&tun, tunnel).unwrap().get(&key(number)).map(|told| told.0.clone());

    let full = WireGuardPeer {
        endpoint: Some("192.0.2.1:7375".parse().unwrap()),
        preshared: Some(WireGuardSecret::new([9; 32])),
        keepalive: Some(25),
        ..peer(1)
    };
    set(1, &full);
    set(2, &peer(2));
    assert_eq!((there(1), there(2)), (Some(full.clone()), Some(peer(2))));

    // Without an endpoint in the plan the one in use stays; what is not wanted any more goes.
    set(1, &peer(1));
    assert_eq!(there(1), Some(WireGuardPeer { endpoint: full.endpoint, ..peer(1) }));
    let v6 = WireGuardPeer { endpoint: Some("[2001:db8::1]:7375".parse().unwrap()), ..peer(1) };
    set(1, &v6);
    assert_eq!(there(1), Some(v6));

    // An address moves from one end to another at once, and an end gets another one.
    set(2, &peer(1));
    assert_eq!(there(2), Some(peer(1)));
    assert_eq!(there(1).map(|peer| peer.address), Some(Ipv4Addr::UNSPECIFIED));
    set(2, &peer(3));
    assert_eq!(there(2), Some(peer(3)));

    for _ in 0..2 {
        bed.tunnels.remove_peer(&tun, tunnel, &key(1)).unwrap();
        assert_eq!((there(1), there(2)), (None, Some(peer(3))));
    }
    assert_eq!(bed.tunnels.peers(&tun, tunnel).unwrap().len(), 1, "nobody else was left behind");
}
