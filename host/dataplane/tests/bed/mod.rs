//! Hosts and containers as network namespaces of this machine, each host with a bpffs of its own. Needs root.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    reason = "shared by tests that each use a part of it"
)]

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns, unshare};
use shoal_dataplane::{Features, HostKernel, Options};
use shoal_links::TunnelOptions;
use shoal_plan::{
    Backend, Change, EndpointEntry, EndpointKey, Link, LinkSources, Peer, Tunnel, WireGuard, WireGuardPeer,
};
use shoal_ports::Kernel;
use shoal_types::{HostId, LinkName, MacAddr, Vni, WireGuardKey, WireGuardSecret};

/// The network of all containers in these tests, unless they say otherwise.
pub const SHOP: u32 = 4711;

/// A network namespace without a name; gone when dropped.
pub struct Namespace(File);

impl Namespace {
    pub fn new() -> Self {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
            File::open("/proc/thread-self/ns/net").expect("own namespace")
        });
        let namespace = Self(made.join().expect("a namespace"));
        namespace.ip("link set lo up");
        namespace
    }

    /// Runs on a thread inside.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).expect("enter");
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a program inside; its output if it succeeds.
    pub fn run(&self, line: &str) -> Result<String, String> {
        let mut words = line.split_whitespace();
        let program = words.next().expect("a program");
        let output =
            self.inside(|| Command::new(program).args(words).output().expect("the program is installed"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        Err(format!("{line}: {}{}", text(&output.stdout), text(&output.stderr)))
    }

    pub fn ip(&self, arguments: &str) -> String {
        self.run(&format!("ip {arguments}")).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A path that `ip link set netns` takes.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Pings once; a reply within a second.
    pub fn pings(&self, to: &str) -> bool {
        self.run(&format!("ping -n -c 1 -W 1 {to}")).is_ok()
    }
}

/// A folder for one host's bpffs, and beside it one for its tunnels; unmounted and removed when dropped.
pub struct PinFolder(PathBuf);

impl PinFolder {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("dataplane-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).expect("a new folder");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn run_dir(&self) -> PathBuf {
        self.0.with_extension("run")
    }
}

impl Drop for PinFolder {
    fn drop(&mut self) {
        let _gone = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
        let _gone = std::fs::remove_dir(&self.0);
        let _gone = std::fs::remove_dir_all(self.run_dir());
    }
}

/// A host: its namespace and its pins.
pub struct Host {
    pub namespace: Namespace,
    pub pins: PinFolder,
    pub features: Features,
    /// Whether its containers are of networks in clear.
    pub in_clear: bool,
    /// Command line of the process that encrypts in user space: the stand-in, unless it is told otherwise.
    pub engine: Vec<OsString>,
}

impl Drop for Host {
    /// A process that carries frames would keep the namespace.
    fn drop(&mut self) {
        let names = std::fs::read_dir(self.pins.run_dir()).into_iter().flatten().flatten();
        let names = names.filter_map(|entry| {
            entry
                .file_name()
                .to_str()?
                .rsplit_once('.')
                .filter(|(_, end)| ["sock", "netns"].contains(end))?
                .0
                .parse()
                .ok()
        });
        let removals: Vec<_> = names.map(Change::RemoveTunnel).collect();
        if !removals.is_empty() {
            self.kernel(|kernel| drop(kernel.apply(&removals)));
        }
    }
}

impl Host {
    pub fn new(features: Features) -> Self {
        let engine = vec![env!("CARGO_BIN_EXE_stand-in-carrier").into()];
        Self { namespace: Namespace::new(), pins: PinFolder::new(), features, in_clear: true, engine }
    }

    pub fn options(&self) -> Options {
        let tunnels = TunnelOptions { run_dir: self.pins.run_dir(), engine: self.engine.clone() };
        Options { pin_dir: self.pins.path().join("shoal"), features: self.features, tunnels }
    }

    /// Kills the process behind a tunnel.
    pub fn kill_engine(&self, device: &str) {
        let control = self.pins.run_dir().join(format!("{device}.sock"));
        let has_it = |pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).split('\0').any(|word| Path::new(word) == control)
        };
        let all = std::fs::read_dir("/proc").expect("/proc").flatten();
        let pid = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(has_it);
        let pid = nix::unistd::Pid::from_raw(pid.expect("a process"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("kill it");
        while has_it(&pid.as_raw()) {
            std::thread::yield_now();
        }
    }

    /// Opens the data plane as an agent would, works with it, and drops it again.
    pub fn kernel<T: Send>(&self, work: impl FnOnce(&mut HostKernel) -> T + Send) -> T {
        let options = self.options();
        self.namespace.inside(|| work(&mut HostKernel::open(&options).expect("the data plane opens")))
    }

    pub fn apply(&self, changes: &[Change]) {
        let failed = self.kernel(|kernel| kernel.apply(changes));
        assert!(failed.is_empty(), "{failed:?}");
    }

    /// Makes a container with addresses 10.7.0.N and fd07::N.
    pub fn container(&self, number: u8) -> Container {
        self.container_in(SHOP, number)
    }

    pub fn container_in(&self, vni: u32, number: u8) -> Container {
        let (name, mut link) = pair(vni, number);
        link.in_clear = self.in_clear;
        let container = Namespace::new();
        let mut changes = vec![Change::SetLink(name.clone(), link.clone())];
        for address in addresses(number) {
            let key = EndpointKey { vni: link.vni, address };
            changes.push(Change::SetEndpoint(key, EndpointEntry::Local(name.clone())));
        }
        self.apply(&changes);
        self.namespace.ip(&format!("link set {} netns {} name eth0", link.inner_name, container.path()));
        container.ip(&format!("address add 10.7.0.{number}/16 dev eth0"));
        container.ip(&format!("address add fd07::{number:x}/64 dev eth0"));
        container.ip("link set eth0 up");
        Container { namespace: container, number, vni: link.vni }
    }

    /// Tells this host that a container runs on another.
    pub fn learn(&self, container: &Container, host: IpAddr) {
        let entry = EndpointEntry::Remote(host);
        let keys = addresses(container.number).map(|address| EndpointKey { vni: container.vni, address });
        self.apply(&keys.map(|key| Change::SetEndpoint(key, entry.clone())));
    }
}

/// A container's namespace.
pub struct Container {
    pub namespace: Namespace,
    pub number: u8,
    pub vni: Vni,
}

impl Container {
    /// Waits until duplicate address detection is done.
    pub fn settle(&self) {
        for _ in 0..50 {
            if !self.namespace.ip("-6 address show dev eth0").contains("tentative") {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("addresses stay tentative");
    }
}

/// Sends a megabyte from one container to the other and checks that they arrive.
pub fn transfer(from: &Container, to: &Container, address: &str) {
    const LENGTH: usize = 1 << 20;
    let listener = to.namespace.inside(|| TcpListener::bind((address, 7777)).expect("a stream"));
    let received = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        listener.accept().expect("a stream").0.read_to_end(&mut bytes).expect("a stream");
        bytes
    });
    let mut stream = from.namespace.inside(|| TcpStream::connect((address, 7777)).expect("a stream"));
    let sent: Vec<u8> = (0..LENGTH).map(|at| (at / 7) as u8).collect();
    stream.write_all(&sent).expect("a stream");
    drop(stream);
    assert!(received.join().expect("a stream") == sent, "bytes were lost or changed");
}

pub fn addresses(number: u8) -> [IpAddr; 2] {
    [format!("10.7.0.{number}"), format!("fd07::{number:x}")].map(|text| text.parse().expect("an address"))
}

pub fn vni(number: u32) -> Vni {
    Vni::new(number).expect("24 bits")
}

pub fn name(text: &str) -> LinkName {
    text.parse().expect("a link's name")
}

/// The plan of a container's link.
pub fn pair(network: u32, number: u8) -> (LinkName, Link) {
    let [v4, v6] = addresses(number);
    let (IpAddr::V4(v4), IpAddr::V6(v6)) = (v4, v6) else { panic!("one of each family") };
    let link = Link {
        inner_name: name(&format!("dp-in{number}")),
        mac: MacAddr::new([2, 0, 0, 0, 7, number]),
        mtu: 1370,
        vni: vni(network),
        in_clear: true,
        sources: LinkSources { v4: Some(v4), v6: Some(v6) },
    };
    (name(&format!("dp-out{number}")), link)
}

/// What leads from one host to the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Over {
    /// VXLAN in clear.
    V4,
    V6,
    /// A TAP device and a process, "encrypted" as far as anyone here can tell.
    Engine,
    /// The kernel's WireGuard.
    Kernel,
}

impl Over {
    pub fn is_in_clear(self) -> bool {
        matches!(self, Self::V4 | Self::V6)
    }
}

/// Two hosts on one wire, each the other's peer over the same kind of tunnel.
pub fn two_hosts(features: Features, over: Over) -> (Host, Host) {
    joined((Host::new(features), Host::new(features)), (over, over))
}

/// Puts two hosts on one wire: 10.99.0.1 and .2, fd99::1 and ::2, a tunnel each, each the other's peer over it. Their
/// tunnels may be of two kinds that understand each other.
pub fn joined(mut hosts: (Host, Host), over: (Over, Over)) -> (Host, Host) {
    hosts.0.namespace.ip(&format!("link add wire type veth peer wire netns {}", hosts.1.namespace.path()));
    for (host, own, other, over) in [(&mut hosts.0, 1, 2, over.0), (&mut hosts.1, 2, 1, over.1)] {
        host.namespace.ip(&format!("address add 10.99.0.{own}/24 dev wire"));
        host.namespace.ip(&format!("address add fd99::{own}/64 dev wire nodad"));
        host.namespace.ip("link set wire up");
        host.in_clear = over.is_in_clear();
        if host.in_clear {
            host.apply(&[Change::SetTunnel(name("dp-vx"), Tunnel::Clear { port: 4790 })]);
        } else {
            let backend = if over == Over::Engine { Backend::UserSpace } else { Backend::Kernel };
            host.apply(&[
                Change::SetTunnel(name("dp-wg"), with_backend(encrypted(own), backend)),
                Change::SetWireGuardPeer(name("dp-wg"), public(other), end(other)),
            ]);
        }
        host.apply(&[Change::SetPeer(outer(other, over), peer(own, over))]);
    }
    hosts
}

/// How one of the two hosts sends to the other.
pub fn peer(own: u8, over: Over) -> Peer {
    let tunnel = name(if over.is_in_clear() { "dp-vx" } else { "dp-wg" });
    Peer { host: HostId::new([0xfe; 16]), local: outer(own, over), tunnel, mtu: 1370 }
}

/// The outer address of a host.
pub fn outer(number: u8, over: Over) -> IpAddr {
    let text = match over {
        Over::V4 => format!("10.99.0.{number}"),
        Over::V6 => format!("fd99::{number}"),
        Over::Engine | Over::Kernel => format!("240.0.0.{number}"),
    };
    text.parse().expect("an address")
}

/// An end in user space, and what others know of it.
pub struct End {
    pub tunnel: Tunnel,
    pub known: WireGuardPeer,
}

/// The end with address 240.0.0.`number` and a UDP port, on the second host but for number 1.
pub fn end_at(number: u8, port: u16) -> End {
    let address = [240, 0, 0, number].into();
    let tunnel = Tunnel::Encrypted(WireGuard {
        backend: Backend::UserSpace,
        secret: WireGuardSecret::new(key_pair(number).0),
        address,
        port,
        mtu: 1420,
    });
    let at = if number == 1 { [10, 99, 0, 1] } else { [10, 99, 0, 2] };
    let known = WireGuardPeer {
        address,
        endpoint: Some((at, port).into()),
        preshared: Some(WireGuardSecret::new([0x22; 32])),
        keepalive: Some(25),
    };
    End { tunnel, known }
}

pub fn with_backend(tunnel: Tunnel, backend: Backend) -> Tunnel {
    match tunnel {
        Tunnel::Encrypted(end) => Tunnel::Encrypted(WireGuard { backend, ..end }),
        clear @ Tunnel::Clear { .. } => clear,
    }
}

pub fn encrypted(number: u8) -> Tunnel {
    end_at(number, 7375).tunnel
}

pub fn end(number: u8) -> WireGuardPeer {
    end_at(number, 7375).known
}

/// The public key of an end.
pub fn public(number: u8) -> WireGuardKey {
    WireGuardKey::new(key_pair(number).1)
}

/// The private keys of hosts 1 and 2, with their fixed bits set as WireGuard does, and their public keys. The stand-in
/// asks for no real ones, so any other end has numbers.
fn key_pair(number: u8) -> ([u8; 32], [u8; 32]) {
    let (secret, public) = match number {
        1 => (
            "70076d0a7318a57d3c16c17251b26645df4c2f92ebc0992ac177fba51db92c6a",
            "f8a9535a2d2ff605e8e144d54f4ef5c62313a2055dbb21fddd3fd9c299eb015d",
        ),
        2 => (
            "58ab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e06b",
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
        ),
        _ => return ([0x48; 32], [number; 32]),
    };
    let byte = |text: &str, at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("two digits");
    (std::array::from_fn(|at| byte(secret, at)), std::array::from_fn(|at| byte(public, at)))
}

pub const ALL_FEATURES: Features = Features { redirect_peer: true, map_batch: true };
pub const NO_FEATURES: Features = Features { redirect_peer: false, map_batch: false };
