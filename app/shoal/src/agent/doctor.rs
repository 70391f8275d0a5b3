//! Compares kernel, Docker and facts, and explains each difference.

use shoal_api::{Check, Doctor, Here, HostState, Reach};
use shoal_planner::{change_text, diff, plan};

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
        let (wanted, _) = plan(&self.fabric.view());
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
                let finding = format!("Host {} ({address}) is not heard.", host.name);
                let mend = format!(
                    "Look whether its agent runs; `shoal forget {}` if it is gone for good.",
                    host.name
                );
                checks.push(wrong(format!("host {}", host.name), finding, mend));
            }
            let open = |port: u16| format!("Open UDP port {port} between the two hosts.");
            checks.push(match &host.quic {
                Reach::Unreachable { why } => {
                    wrong(ports(host.quic_port), sentence(why), open(host.quic_port))
                }
                Reach::Ok | Reach::Unknown => {
                    right(ports(host.quic_port), "Agents talk to each other.".into())
                }
            });
            checks.push(match (&host.tunnel, host.path_mtu) {
                (Reach::Unreachable { why }, _) => {
                    wrong(ports(host.tunnel_port), sentence(why), open(host.tunnel_port))
                }
                (Reach::Ok, Some(mtu)) => right(
                    ports(host.tunnel_port),
                    format!("Packets of up to {mtu} bytes pass through the tunnel."),
                ),
                (Reach::Ok | Reach::Unknown, _) => {
                    right(ports(host.tunnel_port), "The path is still being measured.".into())
                }
            });
        }
    }

    fn check_networks(&self, checks: &mut Vec<Check>) {
        for network in self.network_list() {
            let subject = format!("network {}", network.name);
            checks.push(match network.here {
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
