//! Two hosts, each a network namespace, with engines on an underlay of their own.
//!
//! ```text
//!   host a                                                                        host b
//!   tap0 10.9.0.1 - engine 240.0.0.1 - u0 192.0.2.1 === u0 192.0.2.2 - engine 240.0.0.2 - tap0 10.9.0.2
//! ```
//!
//! In place of the programs, a static neighbour gives a frame the other end's tunnel address, the device's own hardware
//! address holds the VNI, and a tiny program lets in what comes out of the device.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails that way")]
#![allow(clippy::disallowed_methods, reason = "tests wait on the machine's clock")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use shoal_types::{WireGuardKey, WireGuardSecret};
use shoal_wireguard::public_key;
use shoal_wireguard::uapi::{Change, PeerChange};

pub const PORT: u16 = 7375;
pub const MTU: u16 = 1420;

/// Two hosts; removed when dropped.
pub struct Bed {
    pub a: Host,
    pub b: Host,
}

/// One host.
pub struct Host {
    pub namespace: String,
    pub number: u8,
    pub secret: WireGuardSecret,
    folder: PathBuf,
    engine: Option<Child>,
    workers: u8,
}

impl Bed {
    /// Two hosts on one wire; no engine runs yet.
    pub fn new(name: &str) -> Self {
        let name = format!("wgu{name}{}", std::process::id() % 100_000);
        let folder = std::env::temp_dir().join(&name);
        fs::create_dir_all(&folder).unwrap();
        let host = |letter: char, number: u8| Host {
            namespace: format!("{name}{letter}"),
            number,
            secret: WireGuardSecret::new([number ^ 0x5a; 32]),
            folder: folder.clone(),
            engine: None,
            workers: 1,
        };
        let bed = Self { a: host('a', 1), b: host('b', 2) };
        for host in [&bed.a, &bed.b] {
            run("ip", &["netns", "add", &host.namespace]);
        }
        let (a, b) = (&bed.a.namespace, &bed.b.namespace);
        let wire = [
            "link", "add", "u0", "netns", a, "mtu", "1500", "type", "veth", "peer", "name", "u0", "netns", b,
        ];
        run("ip", &wire);
        for host in [&bed.a, &bed.b] {
            host.run("ip", &["link", "set", "lo", "up"]);
            host.run("ip", &["addr", "add", &format!("{}/24", host.underlay()), "dev", "u0"]);
            host.run("ip", &["addr", "add", &format!("fd00:2::{}/64", host.number), "dev", "u0", "nodad"]);
            host.run("ip", &["link", "set", "u0", "up"]);
        }
        bed
    }

    /// Two hosts whose engines know each other.
    pub fn connected(name: &str) -> Self {
        let mut bed = Self::new(name);
        bed.a.start();
        bed.b.start();
        bed.introduce();
        bed
    }

    /// Tells each of the other.
    pub fn introduce(&self) {
        self.a.set(&self.a.introduction(&self.b, &self.b.endpoint()));
        self.b.set(&self.b.introduction(&self.a, &self.a.endpoint()));
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for host in [&mut self.a, &mut self.b] {
            host.kill();
            let _ = Command::new("ip").args(["netns", "del", &host.namespace]).status();
        }
        let _ = fs::remove_dir_all(&self.a.folder);
    }
}

impl Host {
    pub fn underlay(&self) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, self.number)
    }

    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(240, 0, 0, self.number)
    }

    pub fn inner(&self) -> String {
        format!("10.9.0.{}", self.number)
    }

    pub fn endpoint(&self) -> String {
        format!("{}:{PORT}", self.underlay())
    }

    pub fn key(&self) -> WireGuardKey {
        public_key(&self.secret)
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join(format!("{}.sock", self.number))
    }

    /// The engine's command line with another tunnel address.
    pub fn engine(&self, address: Ipv4Addr) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(engine_path());
        command
            .arg("tap0")
            .arg(self.socket())
            .arg(address.to_string())
            .arg(MTU.to_string())
            .arg(self.workers.to_string());
        command
    }

    /// How many workers the engine has.
    pub fn set_workers(&mut self, workers: u8) {
        self.workers = workers;
    }

    /// Starts the engine and its device.
    pub fn start(&mut self) {
        self.start_as(self.address());
    }

    pub fn start_as(&mut self, address: Ipv4Addr) {
        self.engine = Some(self.engine(address).spawn().unwrap());
        until("the engine answers", || UnixStream::connect(self.socket()).is_ok());
        let other = 3 - self.number;
        self.run("ip", &["link", "set", "tap0", "address", "02:00:00:00:01:02", "mtu", "1370"]);
        self.run("ip", &["addr", "replace", &format!("{}/24", self.inner()), "dev", "tap0"]);
        self.run("ip", &["link", "set", "tap0", "up"]);
        let neighbour = format!("10.9.0.{other}");
        let lladdr = format!("02:00:f0:00:00:{other:02x}");
        self.run("ip", &["neigh", "replace", &neighbour, "lladdr", &lladdr, "dev", "tap0"]);
        self.run("tc", &["qdisc", "replace", "dev", "tap0", "clsact"]);
        let object = program(&self.folder);
        let object = object.to_str().unwrap();
        self.run(
            "tc",
            &[
                "filter", "replace", "dev", "tap0", "ingress", "prio", "1", "handle", "1", "bpf", "da",
                "obj", object, "sec", "tc",
            ],
        );
    }

    /// Ends the engine without asking.
    pub fn kill(&mut self) {
        if let Some(mut engine) = self.engine.take() {
            let _ = engine.kill();
            let _ = engine.wait();
        }
    }

    /// Ends the engine in order.
    pub fn stop(&mut self) -> std::process::ExitStatus {
        let mut engine = self.engine.take().unwrap();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(engine.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        engine.wait().unwrap()
    }

    /// Waits until the engine has ended.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.engine.take().unwrap().wait().unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.engine.as_ref().unwrap().id()
    }

    /// Who this host is and where the other one is.
    pub fn introduction(&self, other: &Self, endpoint: &str) -> Change {
        let peer = PeerChange {
            endpoint: Some(endpoint.parse().unwrap()),
            address: Some(other.address()),
            ..PeerChange::new(other.key())
        };
        let private = Some(Some(self.secret.clone()));
        Change { private, port: Some(PORT), peers: vec![peer], ..Change::default() }
    }

    pub fn set(&self, change: &Change) {
        assert_eq!(self.ask(&change.text()), "errno=0\n\n");
    }

    pub fn ask(&self, request: &str) -> String {
        ask(&self.socket(), request)
    }

    pub fn count(&self, name: &str) -> u64 {
        let text = self.ask("shoal_counters=1\n\n");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no counter {name} in {text}")).parse().unwrap()
    }

    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, program]);
        command
    }

    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        output(self.command(program).args(arguments))
    }

    pub fn pings(&self, address: &str) -> bool {
        let mut command = self.command("ping");
        command.args(["-c", "1", "-W", "1", address]).stdout(Stdio::null()).status().unwrap().success()
    }

    /// Runs something in this host's network.
    pub fn within<R: Send + 'static>(
        &self,
        act: impl FnOnce() -> R + Send + 'static,
    ) -> thread::JoinHandle<R> {
        let path = Path::new("/run/netns").join(&self.namespace);
        thread::spawn(move || {
            setns(fs::File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            act()
        })
    }
}

/// Asks a control socket.
pub fn ask(socket: &Path, request: &str) -> String {
    shoal_wireguard::ask(socket, request, Duration::from_secs(5)).unwrap()
}

/// Sends bytes over TCP and checks that they arrive as they were.
pub fn transfer(from: &Host, to: &Host, address: &str, bytes: usize) {
    let address = format!("{address}:4000");
    let listening = address.clone();
    let receiver = to.within(move || {
        let listener = TcpListener::bind(listening).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        got
    });
    let pattern: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
    let sent = pattern.clone();
    let sender = from.within(move || {
        let mut stream = None;
        until("the other side listens", || {
            stream = TcpStream::connect(&address).ok();
            stream.is_some()
        });
        let mut stream = stream.unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(&sent).unwrap();
    });
    sender.join().unwrap();
    assert!(receiver.join().unwrap() == pattern, "the bytes arrived changed");
}

/// Waits until something is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited for: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

pub fn run(program: &str, arguments: &[&str]) {
    output(Command::new(program).args(arguments));
}

pub fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed (this needs root): {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The example, which is built beside the tests.
pub fn engine_path() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.ancestors().nth(2).unwrap().join("examples/engine");
    assert!(path.exists(), "{} is missing: build the examples", path.display());
    path
}

fn program(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bed/to_host.c");
    let object = folder.join("to_host.o");
    output(Command::new("clang").args(["-O2", "-target", "bpf", "-c"]).arg(source).arg("-o").arg(&object));
    object
}
