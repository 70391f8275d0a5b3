//! The other hosts: whether their ports answer and their tunnels carry packets, and why not.

use std::net::SocketAddr;
use std::time::Duration;

use shoal_api::{Check, Host, HostState, Reach, Way};
use shoal_planner::OVERHEAD;
use shoal_tunnels::{Evidence, Explanation, explain};
use shoal_types::HostName;
use tokio::task::JoinSet;

use super::{right, sentence, wrong};
use crate::agent::knock;
use crate::agent::owner::Agent;

/// A tunnel whose port does not answer: whether it is refused in words is still to be asked.
pub(super) struct Closed {
    /// Which of the checks tells of it.
    check: usize,
    places: Vec<SocketAddr>,
    name: HostName,
    port: u16,
    evidence: Evidence,
    /// How packets go all the same.
    instead: Option<String>,
}

impl Agent {
    /// Checks all other hosts. Returns what [`ask`] may know better.
    pub(super) fn check_hosts(&self, checks: &mut Vec<Check>) -> Vec<Closed> {
        let mut closed = Vec::new();
        for host in self.hosts().into_iter().filter(|host| host.state != HostState::This) {
            let address = host.addresses.first().map(ToString::to_string).unwrap_or_default();
            if host.state == HostState::Down {
                checks.push(not_heard(&host, &address));
                continue;
            }
            checks.push(check_quic(&host));
            let (port, evidence) = (host.tunnel_port.unwrap_or_default(), self.evidence(&host));
            let why = explain(evidence);
            if why == Explanation::PortClosed {
                let places = host.addresses.iter().map(|address| SocketAddr::new(*address, port)).collect();
                let (name, instead) = (host.name.clone(), instead(&host));
                closed.push(Closed { check: checks.len(), places, name, port, evidence, instead });
            }
            checks.push(check_tunnel(&host, port, why));
        }
        closed
    }

    /// What is known of the tunnel to a host.
    fn evidence(&self, host: &Host) -> Evidence {
        let (tunnels, at) = (self.fabric.tunnels(), self.at());
        let looked_for = tunnels.looked_for(host.id, at.now);
        let path = self.paths.get(&host.id).filter(|path| path.tried);
        // Agents carry the packets only after the ends were looked for in vain.
        let is_met = !tunnels.is_relayed(host.id, at.now);
        Evidence {
            is_up: is_met && looked_for == Some(Duration::ZERO),
            looked_for: if is_met { looked_for.unwrap_or_default() } else { Duration::MAX },
            clashes: tunnels.is_clashing(host.id),
            quic_answers: host.quic == Reach::Ok,
            port_refused: false,
            // An end that is heard through agents has shown its key.
            strangers: is_met && self.strangers.came_lately(at.now),
            clock_behind: tunnels.serving().map(|end| end.made.since(at.wall)).unwrap_or_default(),
            nat_here: tunnels.nat(self.fabric.me()),
            nat_there: tunnels.nat(host.id),
            passes: path.map(|path| path.mtu.unwrap_or(0)),
            full: path.map_or(0, |path| path.full),
        }
    }
}

/// Knocks at the ports that do not answer, at all of them at once, and tells of those that are refused.
pub(super) async fn ask(closed: Vec<Closed>, checks: &mut [Check]) {
    let mut knocks = JoinSet::new();
    for closed in closed {
        knocks.spawn(async move {
            let refused = knock::is_refused(&closed.places).await;
            (closed, refused)
        });
    }
    while let Some(knock) = knocks.join_next().await {
        let Ok((closed, true)) = knock else { continue };
        let why = explain(Evidence { port_refused: true, ..closed.evidence });
        let told = explained(why, &closed.name, closed.port);
        let check = checks.get_mut(closed.check);
        if let (Some(check), Some((finding, mend))) = (check, told) {
            let subject = check.subject.clone();
            *check = match closed.instead {
                Some(instead) => right(subject, format!("{finding} {instead}")),
                None => wrong(subject, finding, mend),
            };
        }
    }
}

fn check_quic(host: &Host) -> Check {
    let subject = format!("{} UDP port {}", host.name, host.quic_port);
    match &host.quic {
        Reach::Unreachable { .. } if host.behind_nat => right(
            subject,
            "It is behind NAT and cannot be dialled; its agent is heard through other hosts.".into(),
        ),
        Reach::Unreachable { why } => wrong(subject, sentence(why), open(host.quic_port)),
        Reach::Ok | Reach::Unknown => right(subject, "Agents talk to each other.".into()),
    }
}

/// Whether packets of every size pass through the tunnel to a host, and why not.
fn check_tunnel(host: &Host, port: u16, why: Explanation) -> Check {
    let subject = format!("{} UDP port {port}", host.name);
    let found = explained(why, &host.name, port);
    if let (Some(instead), Some((finding, _))) = (instead(host), &found) {
        return right(subject, format!("{finding} {instead}"));
    }
    match (&host.tunnel, found) {
        (Reach::Unreachable { .. }, Some((finding, mend))) => wrong(subject, finding, mend),
        (Reach::Unreachable { why }, None) => wrong(subject, sentence(why), open(port)),
        (Reach::Ok, Some((finding, mend))) if matches!(why, Explanation::Mtu { .. }) => {
            wrong(subject, finding, mend)
        }
        (Reach::Ok | Reach::Unknown, _) => {
            let found =
                host.path_mtu.map(|mtu| format!("Packets of up to {mtu} bytes pass through the tunnel."));
            right(subject, found.unwrap_or_else(|| "The path is still being measured.".into()))
        }
    }
}

/// What to do about a port that does not answer.
fn open(port: u16) -> String {
    format!("Open UDP port {port} between the two hosts.")
}

/// How packets go that pass and do not go from end to end.
fn instead(host: &Host) -> Option<String> {
    let around = match &host.wireguard.as_ref()?.way {
        Way::Direct => return None,
        _ if matches!(host.tunnel, Reach::Unreachable { .. }) => return None,
        Way::Agents => "over the QUIC connection of the two agents".to_owned(),
        Way::Relay { host } => format!("through the agent of host {host}"),
        Way::Broken => "through other agents, none of which is connected at the moment".to_owned(),
    };
    let size = host.path_mtu.map(|mtu| format!(", up to {mtu} bytes each")).unwrap_or_default();
    Some(format!("Packets go {around}{size}, sealed from end to end, and directly as soon as they can."))
}

/// What is wrong with the tunnel to a host, and what to do; `None`: nothing more than that nothing passes.
fn explained(why: Explanation, name: &HostName, port: u16) -> Option<(String, String)> {
    let relay = "Forward the tunnel's UDP port on one of the two routers to its host, or give one host a public address.";
    let (finding, mend) = match why {
        Explanation::Fine | Explanation::Early => return None,
        Explanation::KeyClash => (
            format!("Another host has the key or the tunnel address of host {name}."),
            "One of them changes its key by itself within a minute; if it stays, run `shoal rotate-key` on both.".into(),
        ),
        Explanation::Clock => (
            "This host's clock went back, and hosts that knew the later time refuse its handshakes.".into(),
            "Set the clock right (`timedatectl set-ntp true`); until it has caught up, only others can begin.".into(),
        ),
        Explanation::NatPerPeer => (
            format!(
                "This host and host {name} are both behind NAT, and one NAT shows another port to each host: they cannot \
                 meet."
            ),
            relay.into(),
        ),
        Explanation::NatBoth => (
            format!("This host and host {name} are both behind NAT, and neither NAT lets the other's packets in."),
            relay.into(),
        ),
        Explanation::NatOne => (
            format!("There is a NAT between this host and host {name}, and no handshake comes through it."),
            open(port),
        ),
        Explanation::PortRefused => (
            format!("UDP port {port} of host {name} is refused: nothing listens there, or a firewall rejects it."),
            format!("Look at `shoal doctor` on host {name}; if it finds nothing wrong there: {}", open(port)),
        ),
        Explanation::OtherKey => (
            format!(
                "The tunnel to host {name} does not answer, and handshakes arrive here that are made with a key or for a \
                 key that no host tells."
            ),
            format!("One of the two uses another key than it tells: run `shoal doctor`, then `shoal rotate-key`, on host {name}."),
        ),
        Explanation::PortClosed => (
            format!("The agent of host {name} answers, and its tunnel's UDP port {port} is silent."),
            format!("{} If it is open, compare the key in `shoal hosts -o json` here with `shoal status` there.", open(port)),
        ),
        Explanation::Unreached => (format!("Nothing answers at host {name}, neither its agent nor its tunnel."), open(port)),
        Explanation::Silent => (
            format!("Host {name} shakes hands, and no packet passes through the tunnel."),
            "Look at `shoal doctor` on that host; both agents must run.".into(),
        ),
        Explanation::Mtu { passes, full } => (
            format!("Packets of {full} bytes do not pass through the tunnel to host {name}, only of up to {passes}."),
            format!(
                "Something between the hosts carries less than their own links: raise its MTU to {}, or lower theirs to {}. \
                 Until then containers are told the smaller size.",
                full.saturating_add(OVERHEAD),
                passes.saturating_add(OVERHEAD)
            ),
        ),
    };
    Some((finding, mend))
}

/// A host that is down: its ports tell nothing more.
fn not_heard(host: &Host, address: &str) -> Check {
    let why = match &host.quic {
        Reach::Unreachable { why } => format!(": {why}"),
        Reach::Ok | Reach::Unknown => String::new(),
    };
    let finding = sentence(&format!("host {} ({address}) is not heard{why}", host.name));
    let tunnel = host.tunnel_port.map(|port| format!(" and {port}")).unwrap_or_default();
    let mend = format!(
        "Look whether its agent runs and is in this fabric, and whether UDP ports {}{tunnel} are open between the two hosts; \
         `shoal forget {}` if it is gone for good.",
        host.quic_port, host.name
    );
    wrong(format!("host {}", host.name), finding, mend)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_down_is_told_once_with_why_its_port_does_not_answer() {
        let why = "it accepts no connections: it is in no fabric".to_owned();
        let host: Host = serde_json::from_value(serde_json::json!({
            "id": "02".repeat(16), "name": "host-2", "addresses": ["192.0.2.2"], "state": "down",
            "quic_port": 7373, "quic": {"state": "unreachable", "why": why}, "tunnel_port": 7375,
            "tunnel": {"state": "unknown"}, "behind_nat": false, "wireguard": null, "path_mtu": null, "rtt_us": null, "last_seen_ms": null, "version": "0.1.0",
        }))
        .unwrap();
        let check = not_heard(&host, "192.0.2.2");
        let wanted = "Host host-2 (192.0.2.2) is not heard: it accepts no connections: it is in no fabric.";
        assert_eq!(check.finding, wanted);
        assert!(check.mend.is_some_and(|mend| mend.contains("7375") && mend.contains("forget host-2")));
    }

    #[test]
    fn a_tunnel_that_carries_nothing_is_explained_with_host_port_and_cure() {
        let name: HostName = "host-2".parse().unwrap();
        let table = [
            (Explanation::KeyClash, "host-2", "rotate-key"),
            (Explanation::Clock, "clock went back", "timedatectl"),
            (Explanation::NatPerPeer, "another port to each", "Forward"),
            (Explanation::NatBoth, "both behind NAT", "Forward"),
            (Explanation::NatOne, "a NAT between", "7375"),
            (Explanation::PortRefused, "UDP port 7375 of host host-2 is refused", "7375"),
            (Explanation::OtherKey, "that no host tells", "rotate-key"),
            (Explanation::PortClosed, "UDP port 7375 is silent", "7375"),
            (Explanation::Unreached, "Nothing answers at host host-2", "7375"),
            (Explanation::Silent, "no packet passes", "shoal doctor"),
            (Explanation::Mtu { passes: 1268, full: 1370 }, "only of up to 1268", "lower theirs to 1398"),
        ];
        for (why, part, cure) in table {
            let (finding, mend) = explained(why, &name, 7375).unwrap();
            assert!(finding.contains(part) && mend.contains(cure), "{finding} {mend}");
            assert!(!finding.contains("  ") && !mend.contains("  "), "{finding} {mend}");
        }
        assert_eq!(explained(Explanation::Fine, &name, 7375), None);
        assert_eq!(explained(Explanation::Early, &name, 7375), None);
    }
}
