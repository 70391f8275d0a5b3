//! `shoal metrics`: everything that is counted or measured, in the OpenMetrics text format.
//!
//! For a scraper: `shoal metrics > /var/lib/node_exporter/shoal.prom` in a timer, or behind a socket unit.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use shoal_api::{
    Command, Encrypter, Encryption, Endpoints, Host, HostState, Network, Reach, Relayed, Status,
};

use super::error::CommandError;
use super::{Exit, Session};

/// What tells series of one metric apart.
type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;
type Counters = Family<Labels, Counter>;

/// Prints them.
pub(super) async fn run(session: &mut Session<'_>) -> Result<Exit, CommandError> {
    let status: Status = session.ask(&Command::Status).await?;
    let hosts: Vec<Host> = session.ask(&Command::Hosts).await?;
    let networks: Vec<Network> = session.ask(&Command::NetworkList).await?;
    let endpoints: Endpoints = session.ask(&Command::Endpoints).await?;
    let mut registry = Registry::with_prefix("shoal");
    of_this_host(&mut registry, &status);
    of_hosts(&mut registry, &hosts);
    of_networks(&mut registry, &networks);
    of_endpoints(&mut registry, &endpoints);
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|error| CommandError::failed(error.to_string()))?;
    session.say(&in_order(&text))?;
    Ok(Exit::Success)
}

/// The same with the series of each metric in order, so that two runs can be compared.
fn in_order(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    for series in lines.chunk_by_mut(|a, b| !a.starts_with('#') && !b.starts_with('#')) {
        series.sort_unstable();
    }
    lines.join("\n") + "\n"
}

fn of_this_host(registry: &mut Registry, status: &Status) {
    let info = gauges(registry, "agent_info", "This host and its agent; always 1");
    let labels = vec![("host", status.host.name.to_string()), ("version", status.host.version.clone())];
    set(&info, &labels, 1.0);
    let uptime = seconds(registry, "agent_uptime", "How long the agent has run");
    set(&uptime, &vec![], whole(status.host.uptime_s));
    let docker = gauges(registry, "docker_up", "Whether Docker answers");
    set(&docker, &vec![], yes(status.docker.reachable));
    let tunnel = gauges(registry, "tunnel_up", "Whether this host's end of the encrypted tunnel is in place");
    let age = seconds(registry, "tunnel_key_age", "How old this host's key is");
    if let Some(end) = &status.tunnel.encrypted {
        let by = match end.by {
            Encrypter::Kernel => "kernel",
            Encrypter::UserSpace => "user_space",
        };
        let labels = vec![("by", by.to_owned()), ("device", end.device.to_string())];
        set(&tunnel, &labels, yes(end.up));
        set(&age, &vec![], whole(end.key_age_s));
    }
    let relayed =
        counters(registry, "relayed_packets", "Packets of tunnels that agents carried, by what was done");
    let Relayed { sent, delivered, passed_on, copied } = status.transport.relayed;
    for (what, count) in
        [("sent", sent), ("delivered", delivered), ("passed_on", passed_on), ("copied", copied)]
    {
        add(&relayed, &vec![("what", what.to_owned())], count);
    }
    let losses = counters(registry, "losses", "What was lost since the agent started, by what");
    for (what, count) in &status.losses {
        add(&losses, &vec![("what", what.clone())], *count);
    }
}

fn of_hosts(registry: &mut Registry, hosts: &[Host]) {
    let up = gauges(registry, "host_up", "Whether a host of the fabric is heard");
    let reach = gauges(registry, "host_reached", "Whether a host answers, by way: quic or tunnel");
    let rtt = seconds(registry, "host_round_trip", "Round trip to a host over QUIC");
    let mtu = bytes(registry, "host_path_mtu", "Largest packet of a container that reaches a host");
    let handshake =
        seconds(registry, "host_handshake_age", "How long ago the last handshake with a host was");
    let received = counters(registry, "host_received_bytes", "Received from a host through the tunnel");
    let sent = counters(registry, "host_sent_bytes", "Sent to a host through the tunnel");
    for host in hosts.iter().filter(|host| host.state != HostState::This) {
        let name = || vec![("host", host.name.to_string())];
        set(&up, &name(), yes(host.state == HostState::Alive));
        for (way, state) in [("quic", &host.quic), ("tunnel", &host.tunnel)] {
            let labels = vec![("host", host.name.to_string()), ("way", way.to_owned())];
            set(&reach, &labels, yes(*state == Reach::Ok));
        }
        host.rtt_us.inspect(|micros| set(&rtt, &name(), whole(*micros) / 1e6));
        host.path_mtu.inspect(|size| set(&mtu, &name(), f64::from(*size)));
        if let Some(tunnel) = &host.wireguard {
            tunnel.last_handshake_s.inspect(|age| set(&handshake, &name(), whole(*age)));
            add(&received, &name(), tunnel.received_bytes);
            add(&sent, &name(), tunnel.sent_bytes);
        }
    }
}

fn of_networks(registry: &mut Registry, networks: &[Network]) {
    let encrypted = gauges(registry, "network_encrypted", "Whether a network is encrypted between hosts");
    let endpoints =
        gauges(registry, "network_endpoints", "Endpoints of a network, by place: here or elsewhere");
    for network in networks {
        let name = network.name.to_string();
        set(&encrypted, &vec![("network", name.clone())], yes(network.encryption == Encryption::On));
        let elsewhere = network.endpoints_total.saturating_sub(network.endpoints_local);
        for (place, count) in [("here", network.endpoints_local), ("elsewhere", elsewhere)] {
            set(&endpoints, &vec![("network", name.clone()), ("place", place.to_owned())], f64::from(count));
        }
    }
}

fn of_endpoints(registry: &mut Registry, endpoints: &Endpoints) {
    let packets = counters(registry, "endpoint_packets", "Packets of a container of this host, by direction");
    let weight = counters(registry, "endpoint_bytes", "Their bytes");
    let drops = counters(registry, "endpoint_drops", "Packets of a container of this host that were dropped");
    for endpoint in &endpoints.endpoints {
        let Some(traffic) = &endpoint.traffic else { continue };
        let container = endpoint.container.clone().unwrap_or_else(|| endpoint.endpoint.short().to_owned());
        let labels = |key, value: &str| {
            let network = ("network", endpoint.network.to_string());
            vec![network, ("container", container.clone()), (key, value.to_owned())]
        };
        add(&packets, &labels("direction", "sent"), traffic.sent_packets);
        add(&packets, &labels("direction", "received"), traffic.received_packets);
        add(&weight, &labels("direction", "sent"), traffic.sent_bytes);
        add(&weight, &labels("direction", "received"), traffic.received_bytes);
        for (reason, count) in &traffic.drops {
            add(&drops, &labels("reason", reason), *count);
        }
    }
    let lost =
        counters(registry, "tunnel_drops", "Packets dropped at the tunnel before a container was known");
    for (reason, count) in &endpoints.tunnel_drops {
        add(&lost, &vec![("reason", reason.clone())], *count);
    }
}

fn gauges(registry: &mut Registry, name: &str, help: &str) -> Gauges {
    let family = Gauges::default();
    registry.register(name, help, family.clone());
    family
}

fn seconds(registry: &mut Registry, name: &str, help: &str) -> Gauges {
    let family = Gauges::default();
    registry.register_with_unit(name, help, Unit::Seconds, family.clone());
    family
}

fn bytes(registry: &mut Registry, name: &str, help: &str) -> Gauges {
    let family = Gauges::default();
    registry.register_with_unit(name, help, Unit::Bytes, family.clone());
    family
}

fn counters(registry: &mut Registry, name: &str, help: &str) -> Counters {
    let family = Counters::default();
    registry.register(name, help, family.clone());
    family
}

fn set(family: &Gauges, labels: &Labels, value: f64) {
    family.get_or_create(labels).set(value);
}

fn add(family: &Counters, labels: &Labels, count: u64) {
    family.get_or_create(labels).inc_by(count);
}

fn yes(it: bool) -> f64 {
    f64::from(u8::from(it))
}

/// A count as the format wants it; one above 2^53 is rounded.
#[allow(clippy::cast_precision_loss, reason = "ages and times are far below 2^53")]
fn whole(count: u64) -> f64 {
    count as f64
}
