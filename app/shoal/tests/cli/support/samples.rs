//! What the scripted agent answers with.

use std::collections::BTreeMap;

use shoal_api::{
    AddressRange, AddressShare, Check, ClearDevice, Docker, Doctor, EncryptedEnd, Encrypter, Encryption,
    Endpoint, EndpointCounts, Endpoints, FabricInfo, Here, Host, HostState, HostTunnel, Joined, LeaseInfo,
    Network, NetworkCount, OpenToken, Reach, Relayed, Setting, SettingSource, Status, Subnet, ThisHost,
    Token, Traffic, TransportInfo, TunnelInfo, Way,
};
use shoal_types::{FabricId, HostId, NetworkId, WallTime};

const VERSION: &str = "1.2.3";

pub(crate) fn joined(hosts: u32) -> Joined {
    Joined {
        fabric: FabricId::new([0xfa; 16]),
        host: HostId::new([0x11; 16]),
        name: "host-1".parse().unwrap(),
        addresses: vec!["10.0.0.1".parse().unwrap()],
        quic_port: 7373,
        wireguard_port: 7375,
        hosts,
        notices: vec!["The clock of this host runs 3 s ahead.".to_owned()],
    }
}

pub(crate) fn token() -> Token {
    Token {
        token: "shoal1-c2VjcmV0".to_owned(),
        name: "5eed5eed".to_owned(),
        expires_at: WallTime::from_millis(1_790_000_000_000),
        addresses: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        quic_port: 7373,
    }
}

pub(crate) fn open_tokens() -> Vec<OpenToken> {
    let token = |name: &str, made_by: &str, expires_in_s| OpenToken {
        name: name.to_owned(),
        made_by: made_by.to_owned(),
        expires_at: WallTime::from_millis(1_790_000_000_000),
        expires_in_s,
    };
    vec![token("5eed5eed", "host-1", 1_790), token("0badcafe", "host-2", 86_400)]
}

/// This host, and one for each state; `settled`: every port has answered or failed to.
pub(crate) fn hosts(settled: bool) -> Vec<Host> {
    let host = |number: u8, state| Host {
        id: HostId::new([number * 0x11; 16]),
        name: format!("host-{number}").parse().unwrap(),
        addresses: vec![format!("10.0.0.{number}").parse().unwrap()],
        quic_port: 7373,
        tunnel_port: Some(7375),
        state,
        version: VERSION.to_owned(),
        path_mtu: None,
        quic: Reach::Unknown,
        tunnel: Reach::Unknown,
        behind_nat: false,
        wireguard: None,
        rtt_us: None,
        last_seen_ms: None,
    };
    let reached = Host {
        path_mtu: Some(1370),
        quic: Reach::Ok,
        tunnel: Reach::Ok,
        wireguard: Some(HostTunnel {
            key: "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=".to_owned(),
            endpoint: Some("10.0.0.2:7375".parse().unwrap()),
            endpoint_observed: false,
            way: Way::Direct,
            last_handshake_s: Some(42),
            received_bytes: 1_234_567,
            sent_bytes: 89_012,
        }),
        rtt_us: Some(480),
        last_seen_ms: Some(200),
        ..host(2, HostState::Alive)
    };
    let why = "no answer from 10.0.0.3 UDP port 7375 in 3 probes; a firewall may drop it".to_owned();
    let half = Host {
        quic: Reach::Ok,
        tunnel: if settled { Reach::Unreachable { why } } else { Reach::Unknown },
        behind_nat: true,
        rtt_us: Some(21_300),
        last_seen_ms: Some(1_400),
        ..host(3, HostState::Suspect)
    };
    let why = "no answer from 10.0.0.4 UDP port 7373".to_owned();
    let down =
        Host { quic: Reach::Unreachable { why }, last_seen_ms: Some(4_000_000), ..host(4, HostState::Down) };
    vec![host(1, HostState::This), reached, half, down, host(5, HostState::Forgotten)]
}

pub(crate) fn networks() -> Vec<Network> {
    let subnet = |prefix: &str, gateway: &str| Subnet {
        prefix: prefix.parse().unwrap(),
        gateway: gateway.parse().unwrap(),
        ip_range: None,
        reserved: BTreeMap::new(),
    };
    let shop = Network {
        name: "shop".parse().unwrap(),
        id: NetworkId::new([0xab; 16]),
        vni: 4711,
        subnets: vec![subnet("10.128.0.0/20", "10.128.0.1"), subnet("fd00:1::/64", "fd00:1::1")],
        internal: false,
        labels: [("com.docker.compose.project".to_owned(), "shop".to_owned())].into(),
        options: BTreeMap::new(),
        creator: "host-1".to_owned(),
        encryption: Encryption::On,
        endpoints_local: 2,
        endpoints_total: 12,
        absent_on: vec!["host-4".parse().unwrap()],
        here: Here::Present,
    };
    let why = "Docker's network lan here uses 10.129.0.0/20".to_owned();
    let refused = Network {
        name: "backoffice-eu".parse().unwrap(),
        id: NetworkId::new([0xcd; 16]),
        vni: 16_777_215,
        subnets: vec![Subnet {
            ip_range: Some("10.129.4.0/24".parse().unwrap()),
            reserved: [("printer".to_owned(), "10.129.0.9".parse().unwrap())].into(),
            ..subnet("10.129.0.0/20", "10.129.0.1")
        }],
        internal: true,
        labels: BTreeMap::new(),
        creator: "host-2".to_owned(),
        endpoints_local: 0,
        endpoints_total: 1,
        absent_on: Vec::new(),
        here: Here::Refused { why },
        ..shop.clone()
    };
    let off = Network {
        name: "old".parse().unwrap(),
        here: Here::Off,
        encryption: Encryption::Off,
        ..shop.clone()
    };
    vec![shop, refused, off]
}

pub(crate) fn endpoints() -> Endpoints {
    let local = Endpoint {
        network: "shop".parse().unwrap(),
        host: "host-1".parse().unwrap(),
        container: Some("web".to_owned()),
        endpoint: "a".repeat(64).parse().unwrap(),
        v4: Some("10.128.0.2".parse().unwrap()),
        v6: Some("fd00:1::2".parse().unwrap()),
        mac: "02:00:0a:80:00:02".parse().unwrap(),
        link: Some("sh-aaaaaaaaaaaa".parse().unwrap()),
        local: true,
        traffic: Some(Traffic {
            sent_packets: 1204,
            sent_bytes: 1_610_612_736,
            received_packets: 12,
            received_bytes: 900,
            drops: [("foreign_source".to_owned(), 10), ("no_endpoint".to_owned(), 2), ("ttl".to_owned(), 0)]
                .into(),
        }),
    };
    let quiet = Endpoint {
        container: None,
        endpoint: "b".repeat(64).parse().unwrap(),
        v4: Some("10.128.0.3".parse().unwrap()),
        v6: None,
        link: Some("sh-bbbbbbbbbbbb".parse().unwrap()),
        traffic: Some(Traffic::default()),
        ..local.clone()
    };
    let remote = Endpoint {
        host: "host-2".parse().unwrap(),
        container: Some("db".to_owned()),
        endpoint: "c".repeat(64).parse().unwrap(),
        v4: Some("10.128.4.2".parse().unwrap()),
        v6: None,
        link: None,
        local: false,
        traffic: None,
        ..local.clone()
    };
    let tunnel_drops = [("foreign_host".to_owned(), 3), ("unknown_network".to_owned(), 0)].into();
    Endpoints { endpoints: vec![local, quiet, remote], tunnel_drops }
}

pub(crate) fn addresses() -> Vec<AddressShare> {
    let range =
        |first: &str, last: &str| AddressRange { first: first.parse().unwrap(), last: last.parse().unwrap() };
    let own = AddressShare {
        network: "shop".parse().unwrap(),
        subnet: "10.128.0.0/20".parse().unwrap(),
        host: "host-1".parse().unwrap(),
        ranges: vec![range("10.128.0.2", "10.128.3.255"), range("10.128.8.0", "10.128.8.0")],
        owned: 1023,
        spare: 896,
        used: 2,
        resting: Some(1),
        lease: Some(LeaseInfo { left_s: Some(3480), witnesses: 2, votes: 0 }),
        forgotten: false,
        taken_from: vec!["host-4".to_owned()],
    };
    let other = AddressShare {
        host: "host-2".parse().unwrap(),
        ranges: vec![range("10.128.4.0", "10.128.7.255")],
        owned: 1024,
        spare: 960,
        used: 1,
        resting: None,
        lease: Some(LeaseInfo { left_s: Some(0), witnesses: 2, votes: 1 }),
        taken_from: Vec::new(),
        ..own.clone()
    };
    let six = AddressShare {
        subnet: "fd00:1::/64".parse().unwrap(),
        ranges: vec![range("fd00:1::1:0:0", "fd00:1::1:ffff:ffff")],
        owned: 1 << 32,
        spare: 0,
        taken_from: Vec::new(),
        ..own.clone()
    };
    vec![own, other, six]
}

pub(crate) fn doctor(well: bool) -> Doctor {
    let check = |subject: &str, ok, finding: &str, mend: Option<&str>| Check {
        subject: subject.to_owned(),
        ok,
        finding: finding.to_owned(),
        mend: mend.map(str::to_owned),
    };
    let mut checks = vec![check("tunnel device", true, "shoal0 listens on UDP port 7375", None)];
    if !well {
        let finding = "no answer in 3 probes, while port 7373 answers";
        let mend = "let UDP port 7375 from 10.0.0.1 through on host-3";
        checks.push(check("host-3 port 7375", false, finding, Some(mend)));
        checks.push(check("network shop", true, "Docker has it, with the fabric's subnets and labels", None));
    }
    let differences = u32::from(!well);
    Doctor { checks, differences }
}

pub(crate) fn status() -> Status {
    Status {
        fabric: Some(FabricInfo { id: FabricId::new([0xfa; 16]), hosts: 4, alive: 3 }),
        transport: TransportInfo {
            listen: Some("0.0.0.0:7373".parse().unwrap()),
            advertise: vec!["10.0.0.1".parse().unwrap()],
            peers: 2,
            relayed: Relayed { sent: 12, delivered: 11, passed_on: 5, copied: 3 },
        },
        tunnel: TunnelInfo {
            encrypted: Some(EncryptedEnd {
                device: "shoal0".parse().unwrap(),
                port: 7375,
                address: "240.1.2.3".parse().unwrap(),
                by: Encrypter::Kernel,
                key: "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=".to_owned(),
                key_age_s: 93_784,
                up: true,
            }),
            key_changing: false,
            clear: Some(ClearDevice { device: "shoal-clear".parse().unwrap(), port: 7374, up: true }),
            clear_networks: vec!["old".parse().unwrap()],
        },
        docker: Docker {
            reachable: false,
            why: Some("connection refused".to_owned()),
            version: None,
            ..status_alone().docker
        },
        networks: NetworkCount { total: 3, here: 1 },
        endpoints: EndpointCounts { local: 2, remote: 10 },
        losses: [("datagrams_too_large".to_owned(), 0), ("facts_refused".to_owned(), 4)].into(),
        notices: vec!["host-4 has not been heard for 1 h 6 min.".to_owned()],
        ..status_alone()
    }
}

pub(crate) fn status_alone() -> Status {
    let setting =
        |key: &str, value: &str, source| Setting { key: key.to_owned(), value: value.to_owned(), source };
    Status {
        host: ThisHost {
            id: HostId::new([0x11; 16]),
            name: "host-1".parse().unwrap(),
            version: VERSION.to_owned(),
            uptime_s: 11_525,
        },
        fabric: None,
        transport: TransportInfo {
            listen: None,
            advertise: Vec::new(),
            peers: 0,
            relayed: Relayed::default(),
        },
        tunnel: TunnelInfo { encrypted: None, key_changing: false, clear: None, clear_networks: Vec::new() },
        docker: Docker {
            socket: "/run/docker.sock".into(),
            reachable: true,
            why: None,
            version: Some("20.10.24".to_owned()),
            plugin_socket: "/run/docker/plugins/shoal.sock".into(),
        },
        networks: NetworkCount::default(),
        endpoints: EndpointCounts::default(),
        settings: vec![
            setting("advertise", "", SettingSource::Default),
            setting(
                "quic_port",
                "7373",
                SettingSource::File { path: "/etc/shoal/config.toml".into(), line: 3 },
            ),
            setting("mtu", "1400", SettingSource::Environment { variable: "SHOAL_MTU".to_owned() }),
            setting("vxlan_port", "7374", SettingSource::Flag { flag: "--vxlan-port".to_owned() }),
        ],
        losses: [("facts_refused".to_owned(), 0)].into(),
        notices: Vec::new(),
    }
}
