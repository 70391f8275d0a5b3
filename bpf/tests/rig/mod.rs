//! Runs the real programs in the real kernel on packets made up here (`BPF_PROG_RUN`). Needs root.
//!
//! The kernel gives such a packet the loopback device's number, 1; so the link under test is number 1. Nothing is sent
//! anywhere: a redirect is only a verdict, and counters tell whom it was for. Links and peers are of encrypted networks
//! unless a test says otherwise.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "shared by tests that each use a part of it"
)]

pub mod packet;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use libbpf_rs::{Map, MapCore, MapFlags, Object, ObjectBuilder, ProgramInput, ProgramMut};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use shoal_abi::{
    DropKey, DropReason, Endpoint, EndpointKey, LINK_IN_CLEAR, Link, LinkCounters, PEER_IN_CLEAR, Peer,
    Plain, UnderlayAddress,
};

pub const SHOT: u32 = 2;
pub const REDIRECT: u32 = 7;

/// The link that packets under test come from, and another one.
pub const LINK: u32 = 1;
pub const OTHER_LINK: u32 = 77;
/// The host that peers are, and one that they are not.
pub const OTHER_HOST: [u8; 16] = [2; 16];
pub const THIRD_HOST: [u8; 16] = [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3];
/// A device that exists, as tunnels must: the loopback device again. And one that does not.
pub const TUNNEL: u32 = 1;
pub const GONE: u32 = 0x7fff_ffff;

pub const SHOP: u32 = 4711;
pub const OWN_V4: &str = "10.7.0.1";
pub const OWN_V6: &str = "fd07::1";
pub const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 7, 1];
pub const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 7, 3];
pub const FABRIC_MAC: [u8; 6] = *shoal_abi::FABRIC_MAC.bytes();

static TUNNEL_OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tunnel_test.bpf.o"));

/// Where fields of `struct __sk_buff` (uapi/linux/bpf.h) lie, and its size.
const MARK: usize = 8;
const GSO_SEGS: usize = 164;
const GSO_SIZE: usize = 176;
const CONTEXT: usize = 192;

/// What a run of a program gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub verdict: u32,
    pub packet: Vec<u8>,
    pub mark: u32,
}

/// Loaded programs with maps of their own.
pub struct Rig {
    object: Object,
    program: &'static str,
    _pins: Pins,
}

impl Rig {
    /// `from_container` and a link with both addresses; next to it another link, 10.7.0.3 and fd07::3; and behind the
    /// peers 10.99.0.2 and fd99::2, both of MTU 1370, 10.7.0.2 and fd07::2.
    pub fn container() -> Self {
        let rig = Self::load(shoal_abi::OBJECT, "from_container", true);
        rig.furnish();
        rig
    }

    /// The same as for a kernel without `bpf_redirect_peer`.
    pub fn container_without_redirect_peer() -> Self {
        let rig = Self::load(shoal_abi::OBJECT, "from_container", false);
        rig.furnish();
        rig
    }

    /// `from_tunnel` and the same map entries.
    pub fn tunnel() -> Self {
        let rig = Self::load(TUNNEL_OBJECT, "from_test_tunnel", true);
        rig.furnish();
        rig
    }

    /// `from_clear` and the same map entries, all of them in clear.
    pub fn clear() -> Self {
        let rig = Self::load(TUNNEL_OBJECT, "from_test_clear", true);
        rig.furnish();
        rig.set_all_in_clear();
        rig
    }

    /// `from_engine` and the same map entries. Packets say themselves where they come from.
    pub fn engine() -> Self {
        let rig = Self::load(shoal_abi::OBJECT, "from_engine", true);
        rig.furnish();
        rig
    }

    fn load(object: &[u8], program: &'static str, redirect_peer: bool) -> Self {
        let pins = Pins::mount();
        let mut builder = ObjectBuilder::default();
        builder.pin_root_path(&pins.0).expect("a path");
        let mut object = builder.open_memory(object).expect("an object");
        // The only setting there is: one byte.
        let mut settings =
            object.maps_mut().find(|map| map.name().to_string_lossy().ends_with(".rodata")).expect("it");
        settings.initial_value_mut().expect("bytes")[0] = u8::from(redirect_peer);
        let object = object.load().expect("these tests need root");
        Self { object, program, _pins: pins }
    }

    fn furnish(&self) {
        self.set_link(LINK, &own_link());
        self.set_link(OTHER_LINK, &other_link());
        self.set_peer("10.99.0.2", peer("10.99.0.1"));
        self.set_peer("fd99::2", peer("fd99::1"));
        for (address, ifindex) in
            [(OWN_V4, LINK), (OWN_V6, LINK), ("10.7.0.3", OTHER_LINK), ("fd07::3", OTHER_LINK)]
        {
            self.set_endpoint(SHOP, address, Endpoint { ifindex, ..Default::default() });
        }
        for (address, host) in [("10.7.0.2", "10.99.0.2"), ("fd07::2", "fd99::2")] {
            self.set_endpoint(SHOP, address, Endpoint { ifindex: 0, peer: shared(host) });
        }
    }

    /// Makes both links and both peers those of networks in clear.
    pub fn set_all_in_clear(&self) {
        for (ifindex, mut link) in [(LINK, own_link()), (OTHER_LINK, other_link())] {
            link.flags |= LINK_IN_CLEAR;
            self.set_link(ifindex, &link);
        }
        self.set_peer("10.99.0.2", Peer { flags: PEER_IN_CLEAR, ..peer("10.99.0.1") });
        self.set_peer("fd99::2", Peer { flags: PEER_IN_CLEAR, ..peer("fd99::1") });
    }

    /// What a peer's flags say if it is of the same kind as the program.
    pub fn way_flags(&self) -> u16 {
        if self.program == "from_test_clear" { PEER_IN_CLEAR } else { 0 }
    }

    pub fn set_peer(&self, address: &str, peer: Peer) {
        self.set("peers_2", &shared(address), &peer);
    }

    pub fn set_link(&self, ifindex: u32, link: &Link) {
        self.set("links", &ifindex, link);
        let zero = vec![LinkCounters::default().to_bytes(); libbpf_rs::num_possible_cpus().unwrap()];
        self.map("link_counters").update_percpu(&ifindex.to_bytes(), &zero, MapFlags::ANY).unwrap();
    }

    pub fn set_endpoint(&self, vni: u32, address: &str, endpoint: Endpoint) {
        self.set("endpoints", &EndpointKey { vni, address: shared(address) }, &endpoint);
    }

    pub fn set(&self, map: &str, key: &impl Plain, value: &impl Plain) {
        self.map(map).update(&key.to_bytes(), &value.to_bytes(), MapFlags::ANY).unwrap();
    }

    pub fn remove(&self, map: &str, key: &impl Plain) {
        self.map(map).delete(&key.to_bytes()).unwrap();
    }

    /// Says through which network and from which host the next packets come; :: stands for no tunnel.
    pub fn come_from(&self, vni: u32, host: &str) {
        let value = [vni.to_bytes(), shared(host).to_bytes()].concat();
        self.map("test_tunnel").update(&0_u32.to_bytes(), &value, MapFlags::ANY).unwrap();
    }

    pub fn run(&self, packet: &[u8]) -> Outcome {
        self.run_segments(packet, 0, 0).expect("the kernel takes the packet")
    }

    /// Runs with a large packet that is yet to be cut into segments.
    pub fn run_gso(&self, packet: &[u8], segments: u32, size: u32) -> Outcome {
        self.run_segments(packet, segments, size).expect("the kernel takes the packet")
    }

    /// Runs the program; `None` if the kernel refuses to make such a packet.
    pub fn run_segments(&self, packet: &[u8], segments: u32, size: u32) -> Option<Outcome> {
        let mut context = [0; CONTEXT];
        context[MARK..][..4].copy_from_slice(&0xabcd_u32.to_ne_bytes());
        context[GSO_SEGS..][..4].copy_from_slice(&segments.to_ne_bytes());
        context[GSO_SIZE..][..4].copy_from_slice(&size.to_ne_bytes());
        let mut context_out = [0; CONTEXT];
        let mut data_out = vec![0; packet.len() + 256];
        let output = self.program().test_run(ProgramInput {
            context_in: Some(&mut context),
            context_out: Some(&mut context_out),
            data_in: Some(packet),
            data_out: Some(&mut data_out),
            ..Default::default()
        });
        let output = output.ok()?;
        let mark = output.context.and_then(|bytes| bytes[MARK..].first_chunk().copied()).unwrap_or_default();
        Some(Outcome {
            verdict: output.return_value,
            packet: output.data.map(|bytes| bytes.to_vec()).unwrap_or_default(),
            mark: u32::from_ne_bytes(mark),
        })
    }

    /// Runs the program on a packet that must be dropped for one reason, counted once.
    pub fn drops(&self, packet: &[u8], reason: DropReason) {
        let before = self.lost();
        let outcome = self.run(packet);
        assert_eq!(outcome.verdict, SHOT, "{reason:?}: {outcome:?}");
        let mut expected = before;
        *expected.entry(reason).or_default() += 1;
        assert_eq!(self.lost(), expected);
    }

    /// Everything counted as lost, on the link under test or at the tunnel.
    pub fn lost(&self) -> BTreeMap<DropReason, u64> {
        let sum = |map: &str, key: Vec<u8>| -> u64 {
            let values = self.map(map).lookup_percpu(&key, MapFlags::ANY).unwrap().unwrap_or_default();
            values.iter().filter_map(|bytes| u64::from_bytes(bytes)).sum()
        };
        let count = |reason: &DropReason| {
            let key = DropKey { ifindex: LINK, reason: reason.number() };
            sum("drops", key.to_bytes()) + sum("tunnel_drops", reason.number().to_bytes())
        };
        DropReason::ALL.iter().map(|reason| (*reason, count(reason))).filter(|(_, lost)| *lost > 0).collect()
    }

    /// Packets counted as sent and as received by a link.
    pub fn carried(&self, ifindex: u32) -> (u64, u64) {
        let values = self.map("link_counters").lookup_percpu(&ifindex.to_bytes(), MapFlags::ANY).unwrap();
        let counters =
            values.unwrap_or_default().into_iter().filter_map(|bytes| LinkCounters::from_bytes(&bytes));
        counters.fold((0, 0), |(sent, received), c| (sent + c.sent_packets, received + c.received_packets))
    }

    fn map(&self, name: &str) -> Map<'_> {
        self.object.maps().find(|map| map.name() == name).expect("a map")
    }

    fn program(&self) -> ProgramMut<'_> {
        self.object.progs_mut().find(|program| program.name() == self.program).expect("a program")
    }
}

pub fn own_link() -> Link {
    link(OWN_V4, OWN_V6, OWN_MAC)
}

pub fn other_link() -> Link {
    link("10.7.0.3", "fd07::3", OTHER_MAC)
}

pub fn peer(local: &str) -> Peer {
    Peer { local: shared(local), ifindex: TUNNEL, mtu: 1370, flags: 0, host: OTHER_HOST }
}

pub fn link(v4: &str, v6: &str, mac: [u8; 6]) -> Link {
    let flags = shoal_abi::LINK_HAS_V4 | shoal_abi::LINK_HAS_V6;
    Link { vni: SHOP, flags, v4: shared(v4), v6: shared(v6), mac, mtu: 1370 }
}

pub fn shared(address: &str) -> UnderlayAddress {
    address.parse::<IpAddr>().expect("an address").into()
}

/// A bpffs for the pins of one test; unmounted when dropped.
struct Pins(PathBuf);

impl Pins {
    fn mount() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("shoal-rig-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).expect("a new folder");
        mount(Some("bpf"), &path, Some("bpf"), MsFlags::empty(), None::<&Path>)
            .expect("these tests need root");
        Self(path)
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let _gone = umount2(&self.0, MntFlags::MNT_DETACH);
        let _gone = std::fs::remove_dir(&self.0);
    }
}
