//! Tunnels in clear and in user space, made in a network namespace of their own. Needs root. The kernel's kind is in
//! `kernel_tunnels.rs`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]
#![allow(clippy::disallowed_methods, reason = "tests wait on the machine's clock")]

mod bed;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bed::{Bed, name, peer, secret};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shoal_links::{Kind, Links};
use shoal_plan::{Backend, Tunnel, WireGuard};
use shoal_types::{MacAddr, WireGuardKey};

const MAC: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 8]);
const CLEAR: Tunnel = Tunnel::Clear { port: 4790 };

fn end() -> WireGuard {
    WireGuard {
        backend: Backend::UserSpace,
        secret: secret(7),
        address: Ipv4Addr::new(240, 0, 0, 1),
        port: 7375,
        mtu: 1420,
    }
}

fn encrypted() -> Tunnel {
    Tunnel::Encrypted(end())
}

#[test]
fn a_tunnel_in_clear_takes_its_addresses_from_each_packet_and_is_left_down() {
    Bed::run(|bed| {
        let made = bed.make(&CLEAR, MAC);
        assert_eq!(made.kind, Kind::Tunnel { port: 4790, is_external: true, socket_in: None });
        assert_eq!((made.mac, made.mtu, made.is_up, made.is_ours), (MAC, 65_000, false, true));
        assert_eq!(bed.read(), Ok(CLEAR));
        assert_eq!(bed.make(&CLEAR, MAC), made, "a second time changes nothing");
    });
}

#[test]
fn a_tunnel_in_clear_gets_another_port_by_another_device() {
    Bed::run(|bed| {
        let first = bed.make(&CLEAR, MAC);
        let second = bed.make(&Tunnel::Clear { port: 4791 }, MAC);
        assert_ne!(first.index, second.index);
        assert_eq!(bed.read(), Ok(Tunnel::Clear { port: 4791 }));
        bed.remove();
        bed.remove();
        assert_eq!(bed.links.list().unwrap(), []);
    });
}

#[test]
fn meddling_with_a_tunnel_in_clear_is_seen_and_mended() {
    Bed::run(|bed| {
        let made = bed.make(&CLEAR, MAC);
        bed.ip("link set dp-tun mtu 1400");
        assert_eq!(bed.read(), Err("MTU is 1400 instead of 65000".to_owned()));
        bed.ip("link set dp-tun address 02:00:00:00:00:99");
        assert_eq!(bed.make(&CLEAR, MAC), made);
    });
}

#[test]
fn a_device_that_somebody_else_made_is_left_alone() {
    Bed::run(|bed| {
        bed.ip("link add dp-tun type veth peer name dp-other");
        for tunnel in [CLEAR, encrypted()] {
            let refused = bed.tunnels.make(&bed.links, &name("dp-tun"), &tunnel, MAC).unwrap_err();
            assert!(refused.reason.contains("something else has made a device"), "{refused}");
        }
        bed.remove();
        assert!(bed.links.find(&name("dp-tun")).unwrap().is_some());
    });
}

#[test]
fn a_tunnel_in_user_space_is_a_device_and_a_process() {
    Bed::run(|bed| {
        let made = bed.make(&encrypted(), MAC);
        assert_eq!(made.kind, Kind::Tap { is_whole: true });
        // 20 bytes of IPv4, 8 of UDP, 8 of VXLAN, 14 of Ethernet.
        assert_eq!((made.mac, made.mtu, made.is_up, made.is_ours), (MAC, 1370, false, true));
        assert_eq!(bed.read(), Ok(encrypted()));
        let pid = bed.engine();
        assert_eq!(bed.make(&encrypted(), MAC), made, "a second time changes nothing");
        assert_eq!(bed.engine(), pid);
        assert!(bed.ip("link show dp-tun").contains("NOARP"));
        bed.links.set_up(&made).unwrap();
        assert_eq!(bed.ip("-6 addr show dev dp-tun"), "");
        bed.remove();
        bed.remove();
        assert_eq!(bed.links.list().unwrap(), []);
        assert_eq!(bed.files(), Vec::<String>::new());
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "the process is waited for");
    });
}

#[test]
fn another_key_port_or_mtu_is_set_in_place_and_another_address_takes_another_process() {
    Bed::run(|bed| {
        let made = bed.make(&encrypted(), MAC);
        let pid = bed.engine();
        let other = WireGuard { secret: secret(8), port: 7376, mtu: 1380, ..end() };
        assert_eq!(bed.make(&Tunnel::Encrypted(other.clone()), MAC).index, made.index);
        assert_eq!(bed.read(), Ok(Tunnel::Encrypted(other.clone())));
        assert_eq!(bed.engine(), pid);
        assert!(bed.ask_engine("get=1\n\n").contains("shoal_mtu=1380\n"), "the process knows the MTU too");
        let elsewhere = Tunnel::Encrypted(WireGuard { address: Ipv4Addr::new(240, 0, 0, 9), ..other });
        assert_eq!(bed.make(&elsewhere, MAC).index, made.index);
        assert_eq!(bed.read(), Ok(elsewhere));
        assert_ne!(bed.engine(), pid);
    });
}

#[test]
fn a_process_that_died_is_noticed_and_started_again_beside_the_same_device() {
    Bed::run(|bed| {
        let made = bed.make(&encrypted(), MAC);
        let pid = bed.engine();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        bed.until(|| bed.read() == Err("its process is not running".to_owned()));
        assert_eq!(bed.make(&encrypted(), MAC), made);
        assert_eq!(bed.read(), Ok(encrypted()));
        assert_ne!(bed.engine(), pid);
    });
}

#[test]
fn a_process_that_hangs_holds_nobody_up_for_long_and_is_replaced() {
    Bed::run(|bed| {
        bed.make(&encrypted(), MAC);
        let pid = bed.engine();
        kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
        let began = Instant::now();
        assert_eq!(bed.read(), Err("its process does not answer".to_owned()));
        assert!(bed.tunnels.peers(&name("dp-tun"), &encrypted()).is_err());
        assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
        bed.make(&encrypted(), MAC);
        assert_eq!(bed.read(), Ok(encrypted()));
        assert_ne!(bed.engine(), pid);
        kill(Pid::from_raw(bed.engine()), Signal::SIGSTOP).unwrap();
        bed.remove();
        assert_eq!(bed.files(), Vec::<String>::new());
    });
}

#[test]
fn whoever_comes_later_takes_over_the_process() {
    Bed::run(|bed| {
        bed.make(&encrypted(), MAC);
        let pid = bed.engine();
        let other = bed.another();
        let device = bed.links.find(&name("dp-tun")).unwrap().unwrap();
        assert_eq!(other.read(&bed.links, &device).unwrap(), Ok(encrypted()));
        other.make(&bed.links, &name("dp-tun"), &encrypted(), MAC).unwrap();
        assert_eq!(bed.engine(), pid);
    });
}

#[test]
fn what_was_made_by_half_is_completed() {
    Bed::run(|bed| {
        bed.ip("tuntap add dev dp-tun mode tap multi_queue vnet_hdr");
        let made = bed.make(&encrypted(), MAC);
        assert_eq!((made.is_ours, made.mac, made.mtu), (true, MAC, 1370));
        assert_eq!(bed.read(), Ok(encrypted()));
        let pid = bed.engine();
        bed.ip("link del dp-tun");
        let again = bed.make(&encrypted(), MAC);
        assert_ne!((again.index, bed.engine()), (made.index, pid), "the process reads from the new device");
        assert_eq!(bed.read(), Ok(encrypted()));
    });
}

#[test]
fn a_process_that_ends_at_once_is_quoted() {
    Bed::with_engine(&["/bin/sh", "-c", "echo no luck today >&2; exit 3"], |bed| {
        let refused = bed.tunnels.make(&bed.links, &name("dp-tun"), &encrypted(), MAC).unwrap_err();
        let wanted = "cannot start the process of dp-tun: it ended (exit status: 3): no luck today";
        assert_eq!(refused.to_string(), wanted);
        bed.remove();
    });
}

#[test]
fn a_tunnel_changes_its_kind_and_nothing_of_the_old_one_stays() {
    Bed::run(|bed| {
        bed.make(&encrypted(), MAC);
        bed.make(&CLEAR, MAC);
        assert_eq!((bed.read(), bed.files()), (Ok(CLEAR), Vec::new()));
        bed.make(&encrypted(), MAC);
        assert_eq!(bed.read(), Ok(encrypted()));
        bed.remove();
    });
}

#[test]
fn other_ends_are_set_one_by_one_and_read_back() {
    Bed::run(|bed| {
        bed.make(&encrypted(), MAC);
        bed::other_ends_are_set_one_by_one_and_read_back(&bed, &encrypted());
        let told = bed.tunnels.peers(&name("dp-tun"), &encrypted()).unwrap();
        assert_eq!(
            told.values().next().map(|(_, status)| (status.received_bytes, status.sent_bytes)),
            Some((7, 8))
        );
    });
}

#[test]
fn a_tunnel_in_clear_has_no_other_ends() {
    Bed::run(|bed| {
        bed.make(&CLEAR, MAC);
        assert!(bed.tunnels.peers(&name("dp-tun"), &CLEAR).unwrap().is_empty());
        let key = WireGuardKey::new([1; 32]);
        assert!(bed.tunnels.set_peer(&name("dp-tun"), &CLEAR, &key, &peer(1)).is_err());
    });
}

#[test]
fn what_the_kernel_can_is_found_by_trying() {
    let has = shoal_links::Tunnels::kernel_has_wireguard();
    let ip = "ip link add dp-probe type wireguard && ip link del dp-probe";
    let made = std::process::Command::new("unshare").args(["-n", "sh", "-c", ip]).output().unwrap();
    assert_eq!(has, made.status.success());
    assert!(Links::open().unwrap().find(&name("dp-probe")).unwrap().is_none());
}
