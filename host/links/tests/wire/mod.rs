//! Two hosts with a wire between them, and a listener on it.
#![allow(clippy::expect_used, reason = "helpers of tests")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};
use shoal_links::Device;
use shoal_plan::{Backend, Tunnel, WireGuard, WireGuardPeer};
use shoal_types::{MacAddr, WireGuardKey, WireGuardSecret};

use crate::bed::{Bed, name};

/// Hardware address of a host's tunnel. Each has its own: VXLAN drops what seems to come from its own device.
fn mac(number: u8) -> MacAddr {
    MacAddr::new([2, 0, 0, 0, 0, number])
}

/// UDP port of WireGuard on the underlay.
pub(crate) const PORT: u16 = 7375;

/// What containers say; it must never be seen on the wire.
const MARKER: &[u8] = b"shoal-marker-that-nobody-may-read";

pub(crate) struct Host {
    home: File,
    bed: Mutex<Bed>,
    pub(crate) underlay: IpAddr,
    pub(crate) inner: Ipv4Addr,
    pub(crate) tunnel: Tunnel,
    pub(crate) mac: MacAddr,
    pub(crate) key: WireGuardKey,
    outer: Ipv4Addr,
}

/// Private keys with their fixed bits set, and the public keys that belong to them.
pub(crate) fn key_pair(number: u8) -> (WireGuardSecret, WireGuardKey) {
    let (secret, key) = match number {
        1 => (
            "70076d0a7318a57d3c16c17251b26645df4c2f92ebc0992ac177fba51db92c6a",
            "f8a9535a2d2ff605e8e144d54f4ef5c62313a2055dbb21fddd3fd9c299eb015d",
        ),
        _ => (
            "58ab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e06b",
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
        ),
    };
    let bytes = |text: &str| {
        let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
        std::array::from_fn(byte)
    };
    (WireGuardSecret::new(bytes(secret)), WireGuardKey::new(bytes(key)))
}

/// A key for each number.
pub(crate) fn many(number: u8) -> WireGuardKey {
    WireGuardKey::new(std::array::from_fn(|at| if at == 0 { number } else { 9 }))
}

/// Two hosts that reach each other over a bridge in a namespace of its own, where somebody listens, and have no tunnel
/// yet.
pub(crate) fn two_hosts() -> (Host, Host, Wire) {
    let (first, second, between) = (Host::new(1), Host::new(2), Host::new(3));
    // With snooping the bridge has something of its own to say.
    between.run("ip link add dp-bridge up type bridge mcast_snooping 0");
    for (port, host) in [("dp-one", &first), ("dp-two", &second)] {
        between.run(&format!("ip link add {port} type veth peer name dp-out netns {}", host.path()));
        between.run(&format!("ip link set {port} master dp-bridge up"));
        host.run(&format!("ip addr add {}/24 dev dp-out", host.underlay));
        host.run("ip link set dp-out up");
    }
    let wire = Wire::listen(between);
    (first, second, wire)
}

impl Host {
    fn new(number: u8) -> Self {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
            // Docker switches it on, and a namespace made later takes it over.
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
            std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").unwrap();
            let bed = Bed::here(&["/bin/false"]);
            (File::open("/proc/thread-self/ns/net").unwrap(), bed)
        });
        let (home, bed) = made.join().expect("a namespace");
        let (secret, key) = key_pair(number);
        let outer = Ipv4Addr::new(240, 0, 0, number);
        let end = WireGuard { backend: Backend::Kernel, secret, address: outer, port: PORT, mtu: 1420 };
        Self {
            home,
            bed: Mutex::new(bed),
            underlay: Ipv4Addr::new(10, 99, 0, number).into(),
            inner: Ipv4Addr::new(10, 7, 0, number),
            tunnel: Tunnel::Encrypted(end),
            mac: mac(number),
            key,
            outer,
        }
    }

    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce(&Bed) -> T + Send) -> T {
        self.within_home(|| work(&self.bed.lock().unwrap_or_else(std::sync::PoisonError::into_inner)))
    }

    fn within_home<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.home, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a program on the host.
    pub(crate) fn run(&self, line: &str) -> String {
        let mut words = line.split(' ');
        let program = words.next().unwrap();
        let output = self.within_home(|| Command::new(program).args(words).output().unwrap());
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a program in the namespace behind the tunnel.
    pub(crate) fn within(&self, line: &str) -> String {
        self.run(&format!("nsenter --net={} {line}", self.namespace().display()))
    }

    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.home.as_raw_fd())
    }

    pub(crate) fn namespace(&self) -> PathBuf {
        self.inside(|bed| bed.run_dir().join("dp-tun.netns"))
    }

    pub(crate) fn device(&self) -> Device {
        self.inside(|bed| bed.links.find(&name("dp-tun")).unwrap().unwrap())
    }

    pub(crate) fn read(&self) -> Result<Tunnel, String> {
        self.inside(Bed::read)
    }

    /// Makes the tunnel, gives it an address of a container and leads to the others through it.
    pub(crate) fn furnish(&self) {
        self.mend();
        let other = if self.inner.octets()[3] == 1 { 2 } else { 1 };
        self.lead(other);
    }

    /// Makes the tunnel what it should be and checks that it is.
    pub(crate) fn mend(&self) {
        self.inside(|bed| {
            let device = bed.make(&self.tunnel, self.mac);
            bed.links.set_up(&device).unwrap();
        });
        assert_eq!(self.read(), Ok(self.tunnel.clone()));
    }

    pub(crate) fn lead_to(&self, other: &Self) {
        self.lead(other.inner.octets()[3]);
    }

    /// What programs do elsewhere, done by a route: it says the outer addresses and the network of each packet.
    fn lead(&self, other: u8) {
        self.run(&format!("ip addr replace {}/32 dev dp-tun", self.inner));
        self.run(&format!("ip neigh replace 10.7.0.{other} lladdr {} dev dp-tun nud permanent", mac(other)));
        let encap = format!("encap ip id 4711 src {} dst 240.0.0.{other}", self.outer);
        self.run(&format!(
            "ip route replace 10.7.0.{other}/32 {encap} dev dp-tun src {} mtu 1370",
            self.inner
        ));
    }

    /// Makes the other end known.
    pub(crate) fn learn(&self, other: &Self) {
        let peer = WireGuardPeer {
            address: other.outer,
            endpoint: Some((other.underlay, PORT).into()),
            preshared: Some(WireGuardSecret::new([5; 32])),
            keepalive: None,
        };
        self.inside(|bed| {
            bed.tunnels.set_peer(&name("dp-tun"), &self.tunnel, &other.key, &peer).unwrap();
            let told = bed.tunnels.peers(&name("dp-tun"), &self.tunnel).unwrap();
            assert!(peer.is_met_by(&told[&other.key].0));
        });
    }

    /// Three pings; the first one waits for the handshake.
    pub(crate) fn pings(&self, other: &Self) -> bool {
        let line = format!("ping -n -c 3 -i 0.2 -W 2 -p 73686f616c {}", other.inner);
        let ping = || Command::new("ping").args(line.split(' ').skip(1)).output().unwrap();
        let output = self.within_home(ping);
        String::from_utf8_lossy(&output.stdout).contains(" 3 received")
    }

    /// Sends two megabytes full of the marker over TCP.
    pub(crate) fn transfer(&self, other: &Self) {
        let listener = other.within_home(|| TcpListener::bind((other.inner, 7777)).unwrap());
        let mut sender = self.within_home(|| TcpStream::connect((other.inner, 7777)).unwrap());
        let sent = MARKER.repeat((2 << 20) / MARKER.len());
        let received = std::thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                let mut bytes = Vec::new();
                listener.accept().unwrap().0.read_to_end(&mut bytes).unwrap();
                bytes
            });
            sender.write_all(&sent).unwrap();
            sender.shutdown(std::net::Shutdown::Write).unwrap();
            receiver.join().unwrap()
        });
        assert!(received == sent, "bytes were lost or changed");
    }

    /// Everything in which a needless change would show.
    pub(crate) fn fingerprint(&self) -> String {
        let peers = self.inside(|bed| bed.tunnels.peers(&name("dp-tun"), &self.tunnel).unwrap());
        let keys: Vec<_> = peers.into_iter().map(|(key, (peer, _))| (key, peer)).collect();
        let outside = self.run("ip -o -d link show dp-tun");
        let inside = self.within("ip -o -d link show")
            + &self.within("ip -o addr show dev wg0")
            + &self.within("ip route");
        format!("{outside}{inside}{keys:?}")
    }
}

/// Hears every frame between the hosts.
pub(crate) struct Wire {
    frames: Arc<Mutex<Vec<Vec<u8>>>>,
    _between: Host,
}

impl Wire {
    fn listen(between: Host) -> Self {
        let open = || {
            let flags = SockFlag::SOCK_CLOEXEC;
            socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).unwrap()
        };
        let socket = between.within_home(open);
        let frames: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let heard = frames.clone();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 17];
            while let Ok(count) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                heard.lock().unwrap().push(buffer[..count].to_vec());
            }
        });
        Self { frames, _between: between }
    }

    /// What was heard so far, a moment's grace included.
    pub(crate) fn frames(&self) -> Vec<Vec<u8>> {
        std::thread::sleep(Duration::from_millis(200));
        self.frames.lock().unwrap().clone()
    }

    pub(crate) fn forget(&self) {
        std::thread::sleep(Duration::from_millis(200));
        self.frames.lock().unwrap().clear();
    }
}

const ETHERNET: usize = 14;

fn is_ipv4(frame: &[u8], protocol: u8) -> bool {
    frame[12..14] == [8, 0] && frame[ETHERNET + 9] == protocol
}

pub(crate) fn is_wireguard(frame: &[u8]) -> bool {
    let ports = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    is_ipv4(frame, 17) && [ports(ETHERNET + 20), ports(ETHERNET + 22)].contains(&PORT)
}

/// A host's answer to WireGuard that finds nobody there any more.
fn is_unreachable(frame: &[u8]) -> bool {
    is_ipv4(frame, 1) && frame[ETHERNET + 20] == 3
}

/// Fails if a frame is anything but WireGuard and ARP, or holds what somebody said inside.
pub(crate) fn only_wireguard(frames: &[Vec<u8>]) {
    let is_arp = |frame: &[u8]| frame[12..14] == [8, 6];
    for frame in frames {
        assert!(is_wireguard(frame) || is_arp(frame) || is_unreachable(frame), "on the wire: {frame:02x?}");
        for said in [MARKER, b"shoalshoal"] {
            assert!(
                !frame.windows(said.len()).any(|part| part == said),
                "in clear on the wire: {frame:02x?}"
            );
        }
    }
}

/// Fails if anything but ARP came from a host.
pub(crate) fn silence(frames: &[Vec<u8>], host: &Host) {
    only_wireguard(frames);
    let IpAddr::V4(source) = host.underlay else { panic!("the wire has IPv4 addresses") };
    let is_from =
        |frame: &&Vec<u8>| frame[12..14] == [8, 0] && frame[ETHERNET + 12..ETHERNET + 16] == source.octets();
    if let Some(frame) = frames.iter().filter(|frame| !is_unreachable(frame)).find(is_from) {
        panic!("this left without a tunnel: {frame:02x?}");
    }
}
