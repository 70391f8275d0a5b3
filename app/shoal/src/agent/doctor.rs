//! Compares kernel, Docker and facts, and explains each difference.

mod hosts;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use shoal_api::{Check, Doctor, Encryption, Here};
use shoal_networks::EndpointDifference;
use shoal_plan::Observed;
use shoal_planner::{diff, link_names};
use shoal_ports::KernelError;

use super::audit::difference_text;
use super::commands::Reply;
use super::owner::Agent;
use super::projection::{self, Look};

/// A flush that takes longer is told of.
const DISK_SILENT: Duration = Duration::from_secs(2);

impl Agent {
    /// Looks at everything there is to compare, the kernel as it was observed, and answers. Mends nothing.
    pub(crate) fn doctor(&mut self, look: Look, observed: Result<Observed, KernelError>, reply: Reply) {
        let mut checks = Vec::new();
        self.check_membership(&mut checks);
        self.check_engine(&mut checks);
        self.check_kernel(look, observed, &mut checks);
        let closed = self.check_hosts(&mut checks);
        self.check_addresses(&mut checks);
        self.check_networks(&mut checks);
        self.check_endpoints(&mut checks);
        self.check_disk(&mut checks);
        // Refusals take their time, for which the agent does not wait.
        tokio::spawn(async move {
            hosts::ask(closed, &mut checks).await;
            let differences = checks.iter().filter(|check| !check.ok).count();
            let differences = u32::try_from(differences).unwrap_or(u32::MAX);
            let _ = reply.send(Ok(Doctor { checks, differences }.into()));
        });
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

    fn check_kernel(&mut self, look: Look, observed: Result<Observed, KernelError>, checks: &mut Vec<Check>) {
        let observed = match observed {
            Ok(observed) => self.kernel.seen(look, observed),
            Err(error) => {
                self.kernel.seen_nothing(look);
                let mend = "Look at the agent's log; `systemctl restart shoal` loses no packet.";
                return checks.push(wrong(
                    "kernel",
                    format!("The kernel's state cannot be read: {error}."),
                    mend,
                ));
            }
        };
        let wanted = projection::wanted(&self.view());
        let mut changes = diff(&wanted, &observed);
        // What is about to be sent is no difference.
        let coming = self.kernel.changes_to(&wanted);
        changes.retain(|change| !coming.contains(change));
        for change in &changes {
            let mend =
                "The agent mends this by itself within 5 seconds; if it stays, look at the agent's log.";
            checks.push(wrong(
                "kernel",
                format!("The kernel differs from the plan: {}.", difference_text(change, &observed)),
                mend,
            ));
        }
        if changes.is_empty() {
            let (links, endpoints) = (observed.plan.links.len(), observed.plan.endpoints.len());
            let mended = self.mended_text();
            checks.push(right(
                "kernel",
                format!("{links} links and {endpoints} addresses are as planned.{mended}"),
            ));
        }
        self.check_inner_ends(&observed, checks);
    }

    /// What somebody else has changed in the kernel since the agent started.
    fn mended_text(&self) -> String {
        let Some((when, difference)) = &self.last_mended else { return String::new() };
        let (count, ago) = (self.tally.kernel_mended, self.at().now.since(*when).as_secs());
        format!(" Differences mended since the agent started: {count}, the last {ago} s ago: {difference}.")
    }

    /// A pair that was deleted took the container's end with it: the agent makes a pair again, but what is inside a
    /// container is Docker's.
    fn check_inner_ends(&self, observed: &Observed, checks: &mut Vec<Check>) {
        let networks = self.fabric.networks();
        for endpoint in networks.endpoints() {
            let (link, _) = link_names(&endpoint.endpoint);
            let Some(container) = endpoint.container.as_ref().filter(|_| observed.unmoved.contains(&link))
            else {
                continue;
            };
            let network = networks.catalog().get(endpoint.network);
            let network = network.map_or_else(|| endpoint.network.to_string(), |spec| spec.name.to_string());
            let finding = format!(
                "The link of container {container} on network {network} was deleted, and the container's end with it: it \
                 reaches nobody there."
            );
            checks.push(wrong(format!("container {container}"), finding, attach_again(&network, container)));
        }
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
        let refused = self.ledger.refused();
        let silent = self.disk_silent_for().filter(|silent| *silent > DISK_SILENT);
        checks.push(if let Some(silent) = silent {
            let finding = format!(
                "A write to {folder} has been under way for {} s; calls are refused.",
                silent.as_secs()
            );
            wrong(
                "state on disk",
                finding,
                "Look at the disk and the kernel's log; containers that run are not touched.",
            )
        } else if refused == 0 {
            right("state on disk", format!("Everything is kept in {folder}."))
        } else {
            let finding = format!("{refused} changes could not be written to {folder}.");
            wrong(
                "state on disk",
                finding,
                "Free space on that file system; they are written within 30 seconds.",
            )
        });
    }
}

/// An endpoint on which Docker and this host differ.
fn told(difference: &EndpointDifference, network: &str) -> Check {
    let again = |container: &str| attach_again(network, container);
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

fn attach_again(network: &str, container: &str) -> String {
    format!(
        "`docker network disconnect -f {network} {container} && docker network connect {network} {container}`, or make \
         the container again."
    )
}

fn addresses(v4: Option<Ipv4Addr>, v6: Option<Ipv6Addr>) -> String {
    let both = [v4.map(IpAddr::V4), v6.map(IpAddr::V6)];
    let known: Vec<String> = both.into_iter().flatten().map(|address| address.to_string()).collect();
    if known.is_empty() { "no address".to_owned() } else { known.join(" and ") }
}

pub(super) fn right(subject: impl Into<String>, finding: String) -> Check {
    Check { subject: subject.into(), ok: true, finding, mend: None }
}

pub(super) fn wrong(
    subject: impl Into<String>,
    finding: impl Into<String>,
    mend: impl Into<String>,
) -> Check {
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
    use shoal_networks::Attached;
    use shoal_types::NetworkId;

    use super::*;

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
