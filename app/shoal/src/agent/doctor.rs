//! Compares kernel, Docker and facts, and explains each difference.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use shoal_api::{Check, Doctor, Encryption, Here, HostState, Reach, Way};
use shoal_networks::EndpointDifference;
use shoal_planner::{OVERHEAD, change_text, diff, plan};
use shoal_tunnels::{Evidence, Explanation};
use shoal_types::HostName;

use super::owner::Agent;

impl Agent {
    /// Looks at everything there is to compare. Mends nothing.
    pub(crate) async fn doctor(&mut self) -> Doctor {
        let mut checks = Vec::new();
        self.check_membership(&mut checks);
        self.check_engine(&mut checks);
        self.check_kernel(&mut checks).await;
        self.check_hosts(&mut checks);
        self.check_networks(&mut checks);
        self.check_endpoints(&mut checks);
        self.check_disk(&mut checks);
        let differences = u32::try_from(checks.iter().filter(|check| !check.ok).count()).unwrap_or(u32::MAX);
        Doctor { checks, differences }
    }

    fn check_membership(&self, checks: &mut Vec<Check>) {
        let me = self.fabric.me();
        checks.push(match self.fabric.identity() {
            None => wrong(
                "membership",
                "This host belongs to no fabric.",
                "`shoal init` starts one, `shoal join ADDR TOKEN` enters one.",
            ),
            Some(_) if self.fabric.forgotten().contains(&me) => wrong(
                "membership",
                "This host was forgotten by its fabric; other hosts take nothing from it.",
                "Run `shoal leave`, then join again with a new token.",
            ),
            Some(identity) => {
                right("membership", format!("This host belongs to fabric {}.", identity.fabric.short()))
            }
        });
    }

    fn check_engine(&self, checks: &mut Vec<Check>) {
        let socket = self.parts.settings.docker_socket.display();
        checks.push(if self.engine.is_some() {
            right("Docker", format!("Docker answers on {socket}."))
        } else {
            wrong(
                "Docker",
                format!("Docker does not answer on {socket}."),
                "Start it: `systemctl start docker`.",
            )
        });
    }

    async fn check_kernel(&self, checks: &mut Vec<Check>) {
        let observed = match self.parts.kernel.observe().await {
            Ok(observed) => observed,
            Err(error) => {
                let mend = "Look at the agent's log; `systemctl restart shoal` loses no packet.";
                return checks.push(wrong(
                    "kernel",
                    format!("The kernel's state cannot be read: {error}."),
                    mend,
                ));
            }
        };
        let (wanted, _) = plan(&self.view());
        let changes = diff(&wanted, &observed);
        for change in &changes {
            let mend =
                "The agent mends this by itself within 5 seconds; if it stays, look at the agent's log.";
            checks.push(wrong(
                "kernel",
                format!("The kernel differs from the plan: {}.", change_text(change)),
                mend,
            ));
        }
        if changes.is_empty() {
            let (links, endpoints) = (observed.plan.links.len(), observed.plan.endpoints.len());
            checks.push(right("kernel", format!("{links} links and {endpoints} addresses are as planned.")));
        }
    }

    fn check_hosts(&self, checks: &mut Vec<Check>) {
        for host in self.hosts().into_iter().filter(|host| host.state != HostState::This) {
            let address = host.addresses.first().map(ToString::to_string).unwrap_or_default();
            let ports = |port: u16| format!("{} UDP port {port}", host.name);
            if host.state == HostState::Down {
                checks.push(not_heard(&host, &address));
                continue;
            }
            checks.push(match &host.quic {
                Reach::Unreachable { .. } if host.behind_nat => right(
                    ports(host.quic_port),
                    "It is behind NAT and cannot be dialled; its agent is heard through other hosts.".into(),
                ),
                Reach::Unreachable { why } => {
                    wrong(ports(host.quic_port), sentence(why), open(host.quic_port))
                }
                Reach::Ok | Reach::Unknown => {
                    right(ports(host.quic_port), "Agents talk to each other.".into())
                }
            });
            checks.push(self.check_tunnel(&host));
        }
    }

    /// Whether packets of every size pass through the tunnel to a host, and why not.
    fn check_tunnel(&self, host: &shoal_api::Host) -> Check {
        let port = host.tunnel_port.unwrap_or_default();
        let subject = format!("{} UDP port {port}", host.name);
        let why = self.explain(host);
        let around = host.wireguard.as_ref().and_then(|tunnel| around(&tunnel.way));
        if let (Reach::Ok | Reach::Unknown, Some(around)) = (&host.tunnel, around) {
            let size = host.path_mtu.map(|mtu| format!(", up to {mtu} bytes each")).unwrap_or_default();
            return right(
                subject,
                format!(
                    "The two hosts do not reach each other's tunnels, so packets go {around}{size}, sealed from end to end. \
                     Once UDP port {port} is open between them, they go there by themselves."
                ),
            );
        }
        match (&host.tunnel, explained(why, &host.name, port)) {
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

    /// Why the tunnel to a host does not carry packets.
    fn explain(&self, host: &shoal_api::Host) -> Explanation {
        let (tunnels, at) = (self.fabric.tunnels(), self.at());
        let looked_for = tunnels.looked_for(host.id, at.now);
        let path = self.paths.get(&host.id).filter(|path| path.tried);
        shoal_tunnels::explain(Evidence {
            is_up: looked_for == Some(Duration::ZERO),
            looked_for: looked_for.unwrap_or_default(),
            clashes: tunnels.is_clashing(host.id),
            quic_answers: host.quic == Reach::Ok,
            clock_behind: tunnels.serving().map(|end| end.made.since(at.wall)).unwrap_or_default(),
            nat_here: tunnels.nat(self.fabric.me()),
            nat_there: tunnels.nat(host.id),
            passes: path.map(|path| path.mtu.unwrap_or(0)),
            full: path.map_or(0, |path| path.full),
        })
    }

    fn check_networks(&self, checks: &mut Vec<Check>) {
        for network in self.network_list() {
            let subject = format!("network {}", network.name);
            checks.push(match network.here {
                Here::Present if network.encryption == Encryption::Off => right(
                    subject,
                    "Docker on this host has it. Its packets go between hosts in clear, as asked.".into(),
                ),
                Here::Present => right(subject, "Docker on this host has it.".into()),
                Here::Off => right(subject, "Docker was told to remove it from this host.".into()),
                Here::Pending => wrong(
                    subject,
                    "Docker on this host does not have it yet.",
                    "It is made by itself once Docker answers.",
                ),
                Here::Refused { why } => wrong(
                    subject,
                    sentence(&why),
                    format!("Mend the cause, then run `shoal network create {}` here.", network.name),
                ),
            });
        }
        for stranded in &self.stranded {
            let finding = format!(
                "Container {} was attached to network {}, which Docker has removed and made again since: it will not start.",
                stranded.container, stranded.network
            );
            let mend = format!(
                "`docker network disconnect -f {1} {0} && docker network connect {1} {0}`, or make the container again.",
                stranded.container, stranded.network
            );
            checks.push(wrong(format!("container {}", stranded.container), finding, mend));
        }
        for found in self.fabric.networks().findings(self.at().wall) {
            checks.push(wrong(found.subject, found.finding, found.mend));
        }
        for docker in self.fabric.networks().docker_networks() {
            if let shoal_networks::Naming::Refused(why) = &docker.naming {
                let short: String = docker.docker.chars().take(12).collect();
                let mend = format!("`docker network rm {short}` removes it.");
                checks.push(wrong(format!("Docker network {short}"), sentence(why), mend));
            }
        }
    }

    fn check_endpoints(&self, checks: &mut Vec<Check>) {
        let networks = self.fabric.networks();
        let differences = networks.endpoint_differences(self.at().now);
        for difference in &differences {
            let network = match difference {
                EndpointDifference::NotHere { network, .. }
                | EndpointDifference::OtherAddress { network, .. }
                | EndpointDifference::NotInEngine { network, .. } => *network,
            };
            let spec = networks.catalog().get(network);
            checks.push(told(
                difference,
                &spec.map_or_else(|| network.to_string(), |spec| spec.name.to_string()),
            ));
        }
        if differences.is_empty() && self.engine.is_some() {
            let count = networks.endpoints().count();
            checks.push(right(
                "endpoints",
                format!("Docker and Shoal agree on this host's {count} endpoints."),
            ));
        }
    }

    fn check_disk(&self, checks: &mut Vec<Check>) {
        let folder = self.parts.settings.state_dir.display();
        checks.push(if self.unsaved.is_empty() {
            right("state on disk", format!("Everything is kept in {folder}."))
        } else {
            let finding = format!("{} changes could not be written to {folder}.", self.unsaved.len());
            wrong(
                "state on disk",
                finding,
                "Free space on that file system; they are written within 30 seconds.",
            )
        });
    }
}

/// What to do about a port that does not answer.
fn open(port: u16) -> String {
    format!("Open UDP port {port} between the two hosts.")
}

/// In whose hands packets are that do not go from end to end.
fn around(way: &Way) -> Option<String> {
    match way {
        Way::Direct => None,
        Way::Agents => Some("over the QUIC connection of the two agents".into()),
        Way::Relay { host } => Some(format!("through the agent of host {host}")),
        Way::Broken => Some("through other agents, none of which is connected at the moment".into()),
    }
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
        Explanation::PortClosed => (
            format!("The agent of host {name} answers, and its tunnel's UDP port {port} does not."),
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
fn not_heard(host: &shoal_api::Host, address: &str) -> Check {
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

/// An endpoint on which Docker and this host differ.
fn told(difference: &EndpointDifference, network: &str) -> Check {
    let again = |container: &str| {
        format!(
            "`docker network disconnect -f {network} {container} && docker network connect {network} {container}`, or make \
             the container again."
        )
    };
    match difference {
        EndpointDifference::NotHere { attached, .. } => {
            let finding = format!(
                "Docker has container {} on network {network} (endpoint {}), and Shoal does not: it reaches nobody there.",
                attached.container,
                attached.endpoint.short()
            );
            wrong(format!("container {}", attached.container), finding, again(&attached.container))
        }
        EndpointDifference::OtherAddress { attached, here, .. } => {
            let finding = format!(
                "Docker says that container {} has {} on network {network}, Shoal gave it {}: it reaches nobody there.",
                attached.container,
                addresses(attached.v4, attached.v6),
                addresses(here.0, here.1)
            );
            wrong(format!("container {}", attached.container), finding, again(&attached.container))
        }
        EndpointDifference::NotInEngine { endpoint, container, .. } => {
            let of = container.as_ref().map(|name| format!(" of container {name}")).unwrap_or_default();
            let finding = format!(
                "Shoal has endpoint {}{of} on network {network}, and no running container of Docker's has it.",
                endpoint.short()
            );
            wrong(
                format!("endpoint {}", endpoint.short()),
                finding,
                "The agent lets it go by itself within about a minute; until then its address is not given again.",
            )
        }
    }
}

fn addresses(v4: Option<Ipv4Addr>, v6: Option<Ipv6Addr>) -> String {
    let both = [v4.map(IpAddr::V4), v6.map(IpAddr::V6)];
    let known: Vec<String> = both.into_iter().flatten().map(|address| address.to_string()).collect();
    if known.is_empty() { "no address".to_owned() } else { known.join(" and ") }
}

fn right(subject: impl Into<String>, finding: String) -> Check {
    Check { subject: subject.into(), ok: true, finding, mend: None }
}

fn wrong(subject: impl Into<String>, finding: impl Into<String>, mend: impl Into<String>) -> Check {
    Check { subject: subject.into(), ok: false, finding: finding.into(), mend: Some(mend.into()) }
}

/// A reason as a sentence.
fn sentence(reason: &str) -> String {
    let mut letters = reason.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    let end = if reason.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

#[cfg(test)]
mod tests {
    use shoal_api::Host;
    use shoal_networks::Attached;
    use shoal_types::NetworkId;

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
            (Explanation::PortClosed, "UDP port 7375 does not", "7375"),
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

    #[test]
    fn each_difference_of_an_endpoint_names_the_container_and_what_mends_it() {
        let attached = Attached {
            endpoint: "ab".repeat(32).parse().unwrap(),
            docker: "d0cce2".to_owned(),
            container: "db".to_owned(),
            v4: Some(Ipv4Addr::new(10, 9, 0, 2)),
            v6: None,
        };
        let (network, endpoint) = (NetworkId::new([1; 16]), attached.endpoint.clone());
        let again = "disconnect -f shop db && docker network connect shop db";
        let container = Some("db".to_owned());
        let here = (Some(Ipv4Addr::new(10, 9, 0, 3)), None);
        let table = [
            (EndpointDifference::NotHere { network, attached: attached.clone() }, "abababababab", again),
            (EndpointDifference::OtherAddress { network, attached, here }, "10.9.0.3", again),
            (EndpointDifference::NotInEngine { network, endpoint, container }, "abababababab", "by itself"),
        ];
        for (difference, part, mend) in table {
            let check = told(&difference, "shop");
            assert!(!check.ok && check.finding.contains("container db"), "{}", check.finding);
            assert!(check.finding.contains(part), "{}", check.finding);
            assert!(check.mend.as_ref().is_some_and(|told| told.contains(mend)), "{:?}", check.mend);
        }
    }
}
