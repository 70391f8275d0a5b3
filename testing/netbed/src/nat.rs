//! A router with NAT between a host and the switch.
//!
//! ```text
//!   switch ── p2 ── wan  router  lan ── eth0  h2
//!                   172.31.0.2   10.99.2.1    10.99.2.2
//! ```
//!
//! What comes in unasked is dropped, as a home router does: were it delivered to the router itself, Linux would
//! remember the connection and give the host's own packet to the same peer another port.

use std::process::{Child, Command};
use std::time::Duration;

use anyhow::Result;

use crate::capture::run;
use crate::host::Host;

/// How a router translates (RFC 4787's words in brackets).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NatKind {
    /// One outer port for all peers, and the tunnel's ports are open to everybody (endpoint-independent filtering).
    FullCone,
    /// One outer port for all peers, open to those that were sent to (address and port-dependent filtering).
    PortRestricted,
    /// Another outer port for each peer (address and port-dependent mapping).
    Symmetric,
}

/// A router with NAT.
#[derive(Debug)]
pub struct Router {
    holder: Child,
    number: usize,
}

impl Router {
    /// Puts a router whose namespace `holder` holds between a host and the switch. The router takes over the host's
    /// address on the switch.
    pub(crate) fn place(holder: Child, host: &Host, number: usize, kind: NatKind) -> Result<Self> {
        let router = Self { holder, number };
        let pid = router.holder.id();
        host.sh(&format!("ip link set eth0 down; ip link set eth0 netns {pid} name wan"))?;
        router.sh(&format!(
            "ip link set lo up\n\
             echo 1 > /proc/sys/net/ipv4/ip_forward\n\
             ip link add lan type veth peer name eth0 netns {host}\n\
             ip address add 10.99.{number}.1/24 dev lan\n\
             ip link set lan up\n\
             iptables -w -A INPUT -i wan -p udp -j DROP\n\
             iptables -w -A FORWARD -i wan -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n\
             iptables -w -A FORWARD -i wan -m conntrack --ctstate DNAT -j ACCEPT\n\
             iptables -w -A FORWARD -i wan -j DROP",
            host = host.pid()
        ))?;
        let inside = format!("10.99.{number}.2");
        router.sh(&match kind {
            NatKind::FullCone => format!(
                "iptables -w -t nat -A PREROUTING -i wan -p udp --dport 7375:7376 -j DNAT --to-destination {inside}\n\
                 {MASQUERADE}"
            ),
            NatKind::PortRestricted => MASQUERADE.to_owned(),
            NatKind::Symmetric => format!("{MASQUERADE} --random-fully"),
        })?;
        router.plug()?;
        host.sh(&format!(
            "ip address add {inside}/24 dev eth0; ip link set eth0 up; ip route add default via 10.99.{number}.1"
        ))?;
        Ok(router)
    }

    /// Forgets every mapping, as a router that restarts; the ports that it gives afterwards are others.
    pub fn forget(&self) -> Result<()> {
        // The kernel drops masqueraded connections with their link.
        self.sh("ip link set wan down; ip address flush dev wan")?;
        let ports = "-p udp -j MASQUERADE --to-ports 20000-29999";
        self.sh(&format!("iptables -w -t nat -I POSTROUTING -o wan {ports}"))?;
        self.plug()
    }

    fn plug(&self) -> Result<()> {
        self.sh(&format!(
            "ip address add 172.31.0.{}/24 dev wan; ip link set wan up; ip route add default via 172.31.0.254",
            self.number
        ))
    }

    /// Runs a shell script in the router's namespace.
    pub fn sh(&self, script: &str) -> Result<()> {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.holder.id().to_string(), "-n", "sh", "-ec", script]);
        run(command, format!("router {}: {script}", self.number), Duration::from_secs(10))?.ok().map(drop)
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        // The bed has killed it; a bed that is kept leaves it running.
        let _ = self.holder.try_wait();
    }
}

const MASQUERADE: &str = "iptables -w -t nat -A POSTROUTING -o wan -j MASQUERADE";
