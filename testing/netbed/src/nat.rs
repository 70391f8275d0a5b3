//! A router between a host and the switch: it translates addresses, filters, or does both.
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

use anyhow::{Result, ensure};

use crate::capture::run;
use crate::host::Host;

/// How a router translates (RFC 4787's words in brackets).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NatKind {
    /// Not at all: the host keeps its address on the switch, and the router answers for it there (proxy ARP).
    None,
    /// One outer port for all peers, open to everybody once anything was sent (endpoint-independent filtering).
    FullCone,
    /// One outer port for all peers, open to addresses that were sent to (address-dependent filtering).
    AddressRestricted,
    /// One outer port for all peers, open to those that were sent to (address and port-dependent filtering).
    PortRestricted,
    /// Another outer port for each peer (address and port-dependent mapping).
    Symmetric,
}

/// A router.
#[derive(Debug)]
pub struct Router {
    holder: Child,
    number: usize,
    kind: NatKind,
    is_second: bool,
}

impl Router {
    /// Puts a router whose namespace `holder` holds between a host and the switch. It takes over the host's link to
    /// the switch and, if it translates, the host's address there.
    pub(crate) fn place(holder: Child, host: &Host, number: usize, kind: NatKind) -> Result<Self> {
        let router = Self { holder, number, kind, is_second: false };
        host.sh(&format!("ip link set eth0 down; ip link set eth0 netns {} name wan", router.holder.id()))?;
        router.sh(&format!("ip link add lan type veth peer name eth0 netns {}", host.pid()))?;
        router.furnish(host)?;
        Ok(router)
    }

    /// Puts the host's cable into another router, which has an address and a network of its own and whose `wan` is on
    /// the switch already. The host sees its link lose carrier and gets another address.
    pub(crate) fn hand_over(&self, holder: Child, host: &Host, kind: NatKind) -> Result<Self> {
        let router = Self { holder, number: self.number, kind, is_second: true };
        // A router says so if it has nobody any more to whom it could give a packet.
        self.sh(&format!(
            "ip link set lan netns {}; ip route add unreachable {}.0/24",
            router.holder.id(),
            self.inside()
        ))?;
        host.sh("ip address flush dev eth0")?;
        router.furnish(host)?;
        Ok(router)
    }

    /// Forgets every mapping, as a router that restarts; the ports that it gives afterwards are others.
    ///
    /// # Errors
    /// The kind opens fixed ports.
    pub fn forget(&self) -> Result<()> {
        ensure!(
            matches!(self.kind, NatKind::PortRestricted | NatKind::Symmetric),
            "a {:?} does not forget",
            self.kind
        );
        // The kernel drops masqueraded connections with their link.
        self.sh("ip link set wan down; ip address flush dev wan")?;
        let ports = "-p udp -j MASQUERADE --to-ports 20000-29999";
        self.sh(&format!("iptables -w -t nat -I POSTROUTING -o wan {ports}"))?;
        self.plug()
    }

    /// Lets of all UDP only the agents' QUIC pass, whoever begins, and drops the rest in silence.
    pub fn admit_only_quic(&self) -> Result<()> {
        self.fence("-I")
    }

    /// Ends [`Router::admit_only_quic`].
    pub fn admit_all(&self) -> Result<()> {
        self.fence("-D")
    }

    /// Runs a shell script in the router's namespace.
    pub fn sh(&self, script: &str) -> Result<()> {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.holder.id().to_string(), "-n", "sh", "-ec", script]);
        run(command, format!("router {}: {script}", self.number), Duration::from_secs(10))?.ok().map(drop)
    }

    /// The port's name at the switch.
    pub(crate) fn port(&self) -> String {
        format!("p{}{}", self.number, if self.is_second { "b" } else { "" })
    }

    /// Everything but its links, and the host's address behind it.
    fn furnish(&self, host: &Host) -> Result<()> {
        let translates = self.kind != NatKind::None;
        self.sh("ip link set lo up\n\
             echo 1 > /proc/sys/net/ipv4/ip_forward\n\
             iptables -w -A INPUT -i wan -p udp -j DROP")?;
        self.sh(&if translates { self.translation() } else { self.proxy() })?;
        self.plug()?;
        let (inside, switch) = (self.inside(), "172.31.0");
        let (address, gateway) = if translates {
            (format!("{inside}.2"), format!("{inside}.1"))
        } else {
            (host.address(), format!("{switch}.254"))
        };
        host.sh(&format!(
            "ip address add {address}/24 dev eth0; ip link set eth0 up; ip route add default via {gateway}"
        ))
        .map(drop)
    }

    fn translation(&self) -> String {
        let inside = self.inside();
        let masquerade = "iptables -w -t nat -A POSTROUTING -o wan -j MASQUERADE";
        // Linux translates by connection; who may open one from outside is told by whom the host has sent to.
        let open_to = |mask: &str| {
            let noted = format!("-m recent --name opened --mask {mask}");
            format!(
                "iptables -w -A FORWARD -i lan -p udp --sport {PORTS} {noted} --rdest --set\n\
                 iptables -w -t nat -A PREROUTING -i wan -p udp --dport {PORTS} {noted} --rsource --rcheck \
                 --seconds 120 -j DNAT --to-destination {inside}.2\n\
                 {masquerade}"
            )
        };
        let rules = match self.kind {
            NatKind::FullCone => open_to("0.0.0.0"),
            NatKind::AddressRestricted => open_to("255.255.255.255"),
            NatKind::Symmetric => format!("{masquerade} --random-fully"),
            NatKind::PortRestricted | NatKind::None => masquerade.to_owned(),
        };
        format!(
            "ip address add {inside}.1/24 dev lan\n\
             ip link set lan up\n\
             iptables -w -A FORWARD -i wan -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n\
             iptables -w -A FORWARD -i wan -m conntrack --ctstate DNAT -j ACCEPT\n\
             iptables -w -A FORWARD -i wan -j DROP\n\
             {rules}"
        )
    }

    /// Answers for the host on the switch and for everybody else to the host, without letting them wait.
    fn proxy(&self) -> String {
        let each = |device: &str| {
            format!(
                "echo 1 > /proc/sys/net/ipv4/conf/{device}/proxy_arp\n\
                 echo 0 > /proc/sys/net/ipv4/neigh/{device}/proxy_delay\n"
            )
        };
        format!(
            "{}{}ip link set lan up\nip route add 172.31.0.{}/32 dev lan",
            each("wan"),
            each("lan"),
            self.number
        )
    }

    fn plug(&self) -> Result<()> {
        self.sh(&format!(
            "ip address add 172.31.0.{}/24 dev wan; ip link set wan up; ip route add default via 172.31.0.254",
            self.outer()
        ))
    }

    fn fence(&self, how: &str) -> Result<()> {
        // Each rule goes before the others, so the last one is the first to be asked.
        let rules = [
            "-p udp -j DROP",
            "-p udp --dport 7373 -j ACCEPT",
            "-p udp --sport 7373 -m conntrack --ctstate ESTABLISHED -j ACCEPT",
        ];
        rules.iter().try_for_each(|rule| self.sh(&format!("iptables -w {how} FORWARD {rule}")))
    }

    /// The last part of its address on the switch: a host's is at most 200.
    fn outer(&self) -> usize {
        let is_host_s = self.kind != NatKind::None && !self.is_second;
        if is_host_s { self.number } else { 200 + self.number }
    }

    /// The first three parts of the addresses behind it.
    fn inside(&self) -> String {
        format!("10.{}.{}", if self.is_second { 98 } else { 99 }, self.number)
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        // The bed has killed it; a bed that is kept leaves it running.
        let _ = self.holder.try_wait();
    }
}

/// The ports of the agents and their tunnels, which cones open.
const PORTS: &str = "7373:7376";
