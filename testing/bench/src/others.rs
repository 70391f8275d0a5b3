//! Encrypted yardsticks from Debian, between the two hosts: wireguard-go and nebula, each with its own defaults.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use shoal_netbed::{Bed, Host, Running, eventually};

use crate::processors;

/// What wireguard-go takes on an underlay of 1500 bytes.
const WIREGUARD_MTU: u32 = 1420;

/// The daemons. Dropping this ends them.
#[derive(Debug)]
pub(crate) struct Others(#[expect(dead_code, reason = "kept for its drop")] Vec<Running>);

impl Others {
    /// Host `n` is 10.8.0.n and fd00:8::n by wireguard-go, 10.7.0.n by nebula.
    pub(crate) fn start(bed: &Bed) -> Result<Self> {
        let mut daemons = Vec::new();
        let (first, second) = (bed.host(1), bed.host(2));
        let keys = [key(first)?, key(second)?];
        let authority = first.folder().join("nebula").display().to_string();
        first.sh(&format!("nebula-cert ca -name bench -out-crt {authority}.crt -out-key {authority}.key"))?;
        for (number, host, other) in [(1, first, second), (2, second, first)] {
            let wireguard = host.spawn(&["wireguard-go", "-f", "wg0"])?;
            introduce(host, number, other, &keys[2 - number])?;
            let nebula = nebula(host, number, other, &authority)?;
            for daemon in [wireguard, nebula] {
                processors::of(host).keep(daemon.pid())?;
                daemons.push(daemon);
            }
        }
        for target in ["10.8.0.2", "10.7.0.2"] {
            eventually(&format!("{target} to answer"), Duration::from_secs(20), || {
                first.run(&["ping", "-c1", "-W1", target])?.ok()
            })?;
        }
        Ok(Self(daemons))
    }
}

/// Makes a host's key; its public half.
fn key(host: &Host) -> Result<String> {
    let folder = host.folder().display();
    host.sh(&format!("umask 077; wg genkey | tee {folder}/wg.key | wg pubkey"))
}

fn introduce(host: &Host, number: usize, other: &Host, public: &str) -> Result<()> {
    let what = format!("wireguard-go on {}", host.name());
    eventually(&what, Duration::from_secs(10), || host.run(&["wg", "show", "wg0"])?.ok())?;
    let (folder, peer, endpoint) = (host.folder().display(), 3 - number, other.address());
    host.sh(&format!(
        "wg set wg0 listen-port 51820 private-key {folder}/wg.key peer {public} \
             allowed-ips 10.8.0.{peer}/32,fd00:8::{peer}/128 endpoint {endpoint}:51820\n\
         ip address add 10.8.0.{number}/24 dev wg0\n\
         ip address add fd00:8::{number}/64 dev wg0 nodad\n\
         ip link set wg0 mtu {WIREGUARD_MTU} up"
    ))
    .map(drop)
}

fn nebula(host: &Host, number: usize, other: &Host, authority: &str) -> Result<Running> {
    let own = host.folder().join("nebula").display().to_string();
    let (peer, underlay) = (3 - number, other.address());
    host.sh(&format!(
        "nebula-cert sign -ca-crt {authority}.crt -ca-key {authority}.key -name h{number} \
             -ip 10.7.0.{number}/24 -out-crt {own}-host.crt -out-key {own}-host.key"
    ))?;
    let settings = format!(
        "pki: {{ca: {authority}.crt, cert: {own}-host.crt, key: {own}-host.key}}\n\
         static_host_map: {{\"10.7.0.{peer}\": [\"{underlay}:4242\"]}}\n\
         lighthouse: {{am_lighthouse: false}}\n\
         listen: {{host: 0.0.0.0, port: 4242}}\n\
         tun: {{dev: nebula1}}\n\
         logging: {{level: error}}\n\
         firewall: {{outbound: [{{port: any, proto: any, host: any}}], \
                     inbound: [{{port: any, proto: any, host: any}}]}}\n"
    );
    ensure!(!own.contains(['"', '{', ' ']), "{own} cannot stand in nebula's settings");
    fs::write(format!("{own}.yml"), settings)?;
    host.spawn(&["nebula", "-config", &format!("{own}.yml")])
}
